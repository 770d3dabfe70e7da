//! Ordinary e-mail beside the overlay: who has which ordinary address, whose an address is, and by which way mail leaves in the clear.

pub mod arrival;
pub(crate) mod certificates;
pub mod clear;
pub mod composing;
pub mod door;
pub mod fetcher;
pub mod outgoing;
pub mod sender;
pub mod setup;
pub mod sharing;
pub mod table;
pub(crate) mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kith_gateway::domain::Domain;
use kith_gateway::domain::lookalike::{Lookalike, lookalike};
use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_store::account::Account;
use kith_store::routes::Clear;
use kith_store::{Store, StoreError};

use crate::config::GatewayConfig;
use crate::config::gateway::Provider;

/// What the node knows of ordinary e-mail: its settings, and the store's table.
#[derive(Debug, Default)]
pub struct Gateway {
    config: GatewayConfig,
    domains: BTreeSet<String>,
    /// Grows when a person asks that everything be tried: what rests because of failures is tried again.
    forgiven: AtomicU64,
    /// What a person has to mend, by account: wrong passwords and the like.
    troubles: Mutex<BTreeMap<String, String>>,
}

/// By which way an account's mail reaches ordinary addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// By the provider of this account.
    Provider(String),
    /// To the mail servers of the world.
    Direct,
    /// By the gateway of a contact.
    Contact(Address),
}

impl Gateway {
    /// What the settings say.
    pub fn new(config: GatewayConfig) -> Self {
        let domains = config.domains.iter().cloned().collect();
        Self { config, domains, ..Self::default() }
    }

    /// A person wants everything tried now.
    pub fn forgive(&self) {
        self.forgiven.fetch_add(1, Ordering::Relaxed);
    }

    /// What a provider said last: something to mend, or nothing.
    pub fn heard(&self, account: &str, trouble: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => {
                if troubles.insert(account.to_owned(), trouble).is_none() {
                    tracing::warn!("a provider refuses the user name or password; `kith status` says which");
                }
            }
            None => {
                troubles.remove(account);
            }
        }
    }

    /// What a person has to mend, by account.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a person wanted that.
    pub fn forgiven(&self) -> u64 {
        self.forgiven.load(Ordering::Relaxed)
    }

    /// The settings.
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// Whether mail for this domain (lower case) comes in here.
    pub fn is_own(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// What the node calls itself to other mail servers.
    pub fn hello(&self) -> String {
        match (self.config.hello.as_str(), self.config.domains.first()) {
            ("", Some(domain)) => format!("mail.{domain}"),
            ("", None) => "localhost".to_owned(),
            (hello, _) => hello.to_owned(),
        }
    }

    /// An account's mailbox somewhere else.
    pub fn provider(&self, account: &Account) -> Option<&Provider> {
        self.config.provider.get(&account.name)
    }

    /// The account whose mailbox somewhere else has this address (lower case), without regard to `+tag`.
    fn provider_of(&self, store: &Store, email: &str) -> Result<Option<Account>, StoreError> {
        let plain = table::without_tag(email);
        let found = self.config.provider.iter().find(|(_, provider)| {
            let address = provider.address.to_lowercase();
            address == email || address == plain
        });
        found.map_or(Ok(None), |(name, _)| store.account_by_login(name))
    }

    /// Whose an ordinary address is: by the table, by the household's names in our domains, by a provider's address. `None` for everybody else's.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn whose(&self, store: &Store, email: &str) -> Result<Option<Address>, StoreError> {
        let Some((local, domain)) = email.rsplit_once('@') else { return Ok(None) };
        let own = self.is_own(domain);
        for pattern in table::patterns(local, domain, own) {
            if let Some(route) = store.route(&pattern)? {
                return Ok(Some(route.address));
            }
        }
        if own {
            let name = table::untagged(local);
            if let Some(account) = store.account_by_login(name)? {
                return Ok(Some(account.address));
            }
            if let Some(address) = self.key_of(store, name)? {
                return Ok(Some(address));
            }
            if matches!(name, "postmaster" | "abuse" | "mailer-daemon") {
                return Ok(self.postmaster(store)?.map(|account| account.address));
            }
            return Ok(store.route(&table::catch_all(domain))?.map(|route| route.address));
        }
        Ok(self.provider_of(store, email)?.map(|account| account.address))
    }

    /// The account that an ordinary address leads to, in whatever form it is written: whoever has an address can log in by it, as they are used to from
    /// mail servers.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn account_of(&self, store: &Store, address: &str) -> Result<Option<Account>, StoreError> {
        let Some((local, domain)) = address.trim().rsplit_once('@') else { return Ok(None) };
        let Ok(domain) = Domain::parse(domain) else { return Ok(None) };
        let found = self.whose(store, &format!("{}@{domain}", local.to_lowercase()))?;
        found.map_or(Ok(None), |address| store.account_by_address(&address))
    }

    /// A key as a local part: of the household, and of contacts, so that whoever stood in To beside an ordinary recipient can be answered.
    fn key_of(&self, store: &Store, local: &str) -> Result<Option<Address>, StoreError> {
        let Ok(address) = Address::parse(local) else { return Ok(None) };
        if store.account_by_address(&address)?.is_some() {
            return Ok(Some(address));
        }
        for account in store.accounts()? {
            if store.contact_by_address(account.id, &address)?.is_some() {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// Who gets mail to postmaster.
    fn postmaster(&self, store: &Store) -> Result<Option<Account>, StoreError> {
        if self.config.postmaster.is_empty() {
            return Ok(store.accounts()?.into_iter().next());
        }
        store.account_by_login(&self.config.postmaster)
    }

    /// The ordinary address that an account sends from where it has not said: its provider's, what the table says, or its name in our domain.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn identity(&self, store: &Store, account: &Account) -> Result<Option<String>, StoreError> {
        if let Some(provider) = self.provider(account) {
            return Ok(Some(provider.address.clone()));
        }
        let Some(domain) = self.config.domains.first() else { return Ok(None) };
        let plain = format!("{}@{domain}", account.name);
        if self.whose(store, &plain)? == Some(account.address) {
            return Ok(Some(plain));
        }
        self.alias(store, &account.address)
    }

    /// An address in our domains that leads to this key.
    pub(crate) fn alias(&self, store: &Store, address: &Address) -> Result<Option<String>, StoreError> {
        let Some(domain) = self.config.domains.first() else { return Ok(None) };
        for (pattern, route) in store.routes()? {
            if route.address != *address {
                continue;
            }
            match pattern.rsplit_once('@') {
                None => return Ok(Some(format!("{pattern}@{domain}"))),
                Some((local, domain)) if !local.is_empty() && self.is_own(domain) => return Ok(Some(pattern)),
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// An ordinary address under which this key can be answered, for a mail of `sender`: the contact's own, an alias, or the key in our domain.
    /// `None` where there is no such thing.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn answerable(&self, store: &Store, sender: AccountId, address: &Address) -> Result<Option<String>, StoreError> {
        if let Some(account) = store.account_by_address(address)? {
            return self.identity(store, &account);
        }
        let contact = store.contact_by_address(sender, address)?;
        if let Some(email) = contact.as_ref().and_then(|contact| contact.emails.first()) {
            return Ok(Some(email.clone()));
        }
        if let Some(alias) = self.alias(store, address)? {
            return Ok(Some(alias));
        }
        let domain = self.config.domains.first().filter(|_| self.config.mx != "off" && contact.is_some());
        Ok(domain.map(|domain| format!("{address}@{domain}")))
    }

    /// May this account write as an ordinary address?
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn owns(&self, store: &Store, account: &Account, email: &str) -> Result<bool, StoreError> {
        Ok(self.whose(store, &email.to_lowercase())? == Some(account.address))
    }

    /// By which way an account's mail leaves in the clear.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn way_out(&self, store: &Store, account: &Account) -> Result<Option<WayOut>, StoreError> {
        if self.provider(account).is_some_and(|provider| !provider.smtp.is_empty()) {
            return Ok(Some(WayOut::Provider(account.name.clone())));
        }
        if self.config.direct && self.identity(store, account)?.is_some() {
            return Ok(Some(WayOut::Direct));
        }
        let shared = store.gateway_people(account.id)?.into_iter().find(|(_, sharing)| sharing.we_may);
        Ok(shared.map(|(address, _)| WayOut::Contact(address)))
    }

    /// What about the domain of an ordinary address could deceive the sender: letters of another script, or the looks of a domain that they know.
    /// Nothing, where a rule of theirs speaks of the address or its domain, or they have written to it before.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn deception(&self, store: &Store, account: &Account, email: &str) -> Result<Option<String>, StoreError> {
        let Some(domain) = email.rsplit_once('@').and_then(|(_, domain)| Domain::parse(domain).ok()) else { return Ok(None) };
        let pattern = format!("@{}", email.rsplit_once('@').map_or("", |(_, domain)| domain));
        let rules = store.clear_rules(account.id)?;
        if rules.iter().any(|(about, _)| *about == email || *about == pattern) || clear::has_written_to(store, account.id, email)?
        {
            return Ok(None);
        }
        Ok(lookalike(&domain, &self.known_domains(store, account)?).map(|found| found.to_string()))
    }

    /// Whether a domain looks like one that an account knows, and is another.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn imitates(&self, store: &Store, account: &Account, domain: &str) -> Result<bool, StoreError> {
        let Ok(domain) = Domain::parse(domain) else { return Ok(false) };
        let found = lookalike(&domain, &self.known_domains(store, account)?);
        Ok(matches!(found, Some(Lookalike::Imitates { .. })))
    }

    /// The domains of an account's contacts, and our own.
    fn known_domains(&self, store: &Store, account: &Account) -> Result<BTreeSet<Domain>, StoreError> {
        let contacts = store.contacts(account.id)?;
        let emails = contacts.iter().flat_map(|contact| &contact.emails).filter_map(|email| email.rsplit_once('@'));
        let domains = emails.map(|(_, domain)| domain).chain(self.domains.iter().map(String::as_str));
        Ok(domains.filter_map(|text| Domain::parse(text).ok()).collect())
    }

    /// Whether an account's mail to an ordinary address may leave in the clear.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn clear(&self, store: &Store, account: AccountId, email: &str) -> Result<Clear, StoreError> {
        Ok(store.clear_rule(account, email)?.unwrap_or_else(|| self.config.clear.into()))
    }
}
