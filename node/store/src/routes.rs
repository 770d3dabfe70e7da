//! The gateway's table: whose an ordinary address is, whether mail may leave in the clear, who may send by whose gateway, and what the
//! gateway remembers of the world.

use std::ops::Range;

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::feed::Topic;
use crate::schema::{CLEAR_RULES, GATEWAY_PEOPLE, GATEWAY_ROWS, ROUTES, SUGGESTIONS};
use crate::{Store, StoreError, Transaction, row};

pub(crate) const ROUTE: &str = "a row of the gateway's table";

/// Rows of the table at most.
pub const ROUTES_MAX: usize = 20_000;
/// Rules of an account at most.
pub const RULES_MAX: usize = 2_000;
/// People that an account shares gateways with at most.
pub const GATEWAY_PEOPLE_MAX: usize = 256;
/// Suggestions that wait for an account's word at most; the oldest goes.
pub const SUGGESTIONS_MAX: usize = 200;
/// Rows that the gateway remembers at most.
pub const ROWS_MAX: u64 = 100_000;
/// The longest pattern, address or note, in bytes.
const TEXT_BYTES_MAX: usize = 320;

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Who gets what comes for it.
    pub address: Address,
    /// What a person noted: whom the alias was given to.
    pub note: String,
    /// Wall ms.
    pub added_ms: i64,
}

/// Whether an account's mail may leave in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// No: it is refused.
    Never,
    /// It waits for the person's word.
    Ask,
    /// Yes.
    Always,
}

impl Clear {
    /// What stands for it in rows; never changes.
    fn code(self) -> u8 {
        match self {
            Self::Never => 0,
            Self::Ask => 1,
            Self::Always => 2,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            2 => Self::Always,
            1 => Self::Ask,
            // What cannot be read sends nothing in the clear.
            _ => Self::Never,
        }
    }
}

/// What an account and somebody else agreed on about gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// They may send by our gateway.
    pub they_may: bool,
    /// They let us send by theirs, and we do.
    pub we_may: bool,
}

impl Sharing {
    fn code(self) -> u8 {
        u8::from(self.they_may) | u8::from(self.we_may) << 1
    }

    fn of(code: u8) -> Self {
        Self { they_may: code & 1 != 0, we_may: code & 2 != 0 }
    }
}

/// Somebody's Kith address, as an ordinary mail with a valid signature offered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The mail's sender.
    pub email: String,
    /// What it offered.
    pub address: Address,
    /// Wall ms.
    pub at_ms: i64,
}

fn names_of(account: AccountId) -> Range<(u32, &'static str)> {
    (account.0, "")..(account.0 + 1, "")
}

fn check_text(text: &str) -> Result<(), StoreError> {
    let fine = text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    if fine { Ok(()) } else { Err(StoreError::Invalid(format!("at most {TEXT_BYTES_MAX} bytes, without control characters"))) }
}

fn key(bytes: [u8; 32]) -> Result<Address, StoreError> {
    Address::from_key(bytes).map_err(|_| StoreError::damaged("the key of a person"))
}

impl Store {
    /// The table, by pattern.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn routes(&self) -> Result<Vec<(String, Route)>, StoreError> {
        self.read(|reader| {
            let mut routes = Vec::new();
            for found in reader.table(ROUTES)?.iter()? {
                let (pattern, value) = found?;
                routes.push((pattern.value().to_owned(), row::decode(value.value(), ROUTE)?));
            }
            Ok(routes)
        })
    }

    /// One row of it, by its exact pattern.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn route(&self, pattern: &str) -> Result<Option<Route>, StoreError> {
        self.read(|reader| reader.table(ROUTES)?.get(pattern)?.map(|found| row::decode(found.value(), ROUTE)).transpose())
    }

    /// What an account says of mail that would leave in the clear to this address: of the address, else its domain, else in general.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn clear_rule(&self, account: AccountId, email: &str) -> Result<Option<Clear>, StoreError> {
        let domain = email.rsplit_once('@').map_or_else(String::new, |(_, domain)| format!("@{domain}"));
        self.read(|reader| {
            let rules = reader.table(CLEAR_RULES)?;
            for pattern in [email, &domain, ""] {
                if let Some(found) = rules.get((account.0, pattern))? {
                    return Ok(Some(Clear::of(found.value())));
                }
            }
            Ok(None)
        })
    }

    /// All that an account says about it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn clear_rules(&self, account: AccountId) -> Result<Vec<(String, Clear)>, StoreError> {
        self.read(|reader| {
            let mut rules = Vec::new();
            for found in reader.table(CLEAR_RULES)?.range(names_of(account))? {
                let (key, value) = found?;
                rules.push((key.value().1.to_owned(), Clear::of(value.value())));
            }
            Ok(rules)
        })
    }

    /// Whom an account shares gateways with.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gateway_people(&self, account: AccountId) -> Result<Vec<(Address, Sharing)>, StoreError> {
        self.read(|reader| {
            let mut people = Vec::new();
            for found in reader.table(GATEWAY_PEOPLE)?.range((account.0, [0; 32])..=(account.0, [255; 32]))? {
                let (found_key, value) = found?;
                people.push((key(found_key.value().1)?, Sharing::of(value.value())));
            }
            Ok(people)
        })
    }

    /// What an account and somebody agreed on.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gateway_sharing(&self, account: AccountId, address: &Address) -> Result<Sharing, StoreError> {
        self.read(|reader| {
            let found = reader.table(GATEWAY_PEOPLE)?.get((account.0, *address.key()))?;
            Ok(found.map_or_else(Sharing::default, |found| Sharing::of(found.value())))
        })
    }

    /// What waits for an account's word.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn suggestions(&self, account: AccountId) -> Result<Vec<Suggestion>, StoreError> {
        self.read(|reader| {
            let mut suggestions = Vec::new();
            for found in reader.table(SUGGESTIONS)?.range(names_of(account))? {
                let (name, value) = found?;
                let (bytes, at_ms) = value.value();
                suggestions.push(Suggestion { email: name.value().1.to_owned(), address: key(bytes)?, at_ms });
            }
            Ok(suggestions)
        })
    }

    /// What the gateway remembers of one kind.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gateway_rows(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(|reader| {
            let mut rows = Vec::new();
            for found in reader.table(GATEWAY_ROWS)?.range((kind, "")..)? {
                let (key, value) = found?;
                if key.value().0 != kind {
                    break;
                }
                rows.push((key.value().1.to_owned(), value.value().to_vec()));
            }
            Ok(rows)
        })
    }

    /// One thing that it remembers.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gateway_row(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|reader| Ok(reader.table(GATEWAY_ROWS)?.get((kind, key))?.map(|found| found.value().to_vec())))
    }
}

impl Transaction<'_> {
    /// Adds or replaces a row of the table. The pattern is lower case.
    ///
    /// # Errors
    /// `Invalid` for a long pattern or note, or beyond [`ROUTES_MAX`].
    pub fn put_route(&mut self, pattern: &str, route: &Route) -> Result<(), StoreError> {
        check_text(pattern)?;
        check_text(&route.note)?;
        let bytes = row::encode(route, ROUTE)?;
        let mut table = self.table(ROUTES)?;
        if table.get(pattern)?.is_none() && table.iter()?.count() >= ROUTES_MAX {
            return Err(StoreError::Invalid(format!("the table has {ROUTES_MAX} rows; remove some first")));
        }
        table.insert(pattern, bytes.as_slice())?;
        drop(table);
        self.touch(Topic::People);
        Ok(())
    }

    /// Removes a row of it; `false` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_route(&mut self, pattern: &str) -> Result<bool, StoreError> {
        let there = self.table(ROUTES)?.remove(pattern)?.is_some();
        self.touch(Topic::People);
        Ok(there)
    }

    /// Says whether mail to an address, a domain (`@domain`) or anybody (empty) may leave in the clear; `None` takes that back.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` for a long pattern or beyond [`RULES_MAX`].
    pub fn put_clear_rule(&mut self, account: AccountId, pattern: &str, rule: Option<Clear>) -> Result<(), StoreError> {
        check_text(pattern)?;
        self.need_account(account)?;
        let mut table = self.table(CLEAR_RULES)?;
        let Some(rule) = rule else {
            table.remove((account.0, pattern))?;
            return Ok(());
        };
        if table.get((account.0, pattern))?.is_none() && table.range(names_of(account))?.count() >= RULES_MAX {
            return Err(StoreError::Invalid(format!("an account has at most {RULES_MAX} rules; remove some first")));
        }
        table.insert((account.0, pattern), rule.code())?;
        Ok(())
    }

    /// Notes what an account and somebody agreed on; nothing at all removes the row.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` beyond [`GATEWAY_PEOPLE_MAX`].
    pub fn put_gateway_sharing(&mut self, account: AccountId, address: &Address, sharing: Sharing) -> Result<(), StoreError> {
        self.need_account(account)?;
        let mut table = self.table(GATEWAY_PEOPLE)?;
        let at = (account.0, *address.key());
        if sharing == Sharing::default() {
            table.remove(at)?;
            return Ok(());
        }
        let all = (account.0, [0; 32])..=(account.0, [255; 32]);
        if table.get(at)?.is_none() && table.range(all)?.count() >= GATEWAY_PEOPLE_MAX {
            return Err(StoreError::Invalid(format!("gateways are shared with at most {GATEWAY_PEOPLE_MAX} people")));
        }
        table.insert(at, sharing.code())?;
        Ok(())
    }

    /// Keeps a suggestion until the person decides.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` for a long address.
    pub fn put_suggestion(&mut self, account: AccountId, suggestion: &Suggestion) -> Result<(), StoreError> {
        check_text(&suggestion.email)?;
        self.need_account(account)?;
        let mut table = self.table(SUGGESTIONS)?;
        let mut known = Vec::new();
        for found in table.range(names_of(account))? {
            let (name, value) = found?;
            known.push((value.value().1, name.value().1.to_owned()));
        }
        let is_new = !known.iter().any(|(_, email)| *email == suggestion.email);
        if is_new
            && known.len() >= SUGGESTIONS_MAX
            && let Some((_, oldest)) = known.into_iter().min()
        {
            table.remove((account.0, oldest.as_str()))?;
        }
        table.insert((account.0, suggestion.email.as_str()), (*suggestion.address.key(), suggestion.at_ms))?;
        Ok(())
    }

    /// Removes a suggestion: taken, or not wanted. `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_suggestion(&mut self, account: AccountId, email: &str) -> Result<Option<Suggestion>, StoreError> {
        let found = self.table(SUGGESTIONS)?.remove((account.0, email))?.map(|found| found.value());
        found.map(|(bytes, at_ms)| Ok(Suggestion { email: email.to_owned(), address: key(bytes)?, at_ms })).transpose()
    }

    /// Remembers something for the gateway; `None` forgets it. A kind that begins with `<account>/` goes with that account.
    ///
    /// # Errors
    /// `Invalid` for a row beyond 16 KiB, or a new one where there are [`ROWS_MAX`].
    pub fn put_gateway_row(&mut self, kind: &str, key: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
        let mut table = self.table(GATEWAY_ROWS)?;
        let Some(value) = value else {
            table.remove((kind, key))?;
            return Ok(());
        };
        if value.len() > row::CBOR_BYTES_MAX {
            return Err(StoreError::Invalid("the row is too long".into()));
        }
        if table.get((kind, key))?.is_none() && table.len()? >= ROWS_MAX {
            return Err(StoreError::Invalid(format!("the gateway remembers at most {ROWS_MAX} things")));
        }
        table.insert((kind, key), value)?;
        Ok(())
    }

    /// Removes what an account alone says and is said of it. Rows of the table that led to it go too: mail for them is refused from then on.
    pub(crate) fn remove_gateway_of(&mut self, account: &Account) -> Result<(), StoreError> {
        let id = account.id;
        self.table(CLEAR_RULES)?.retain_in(names_of(id), |_, _| false)?;
        self.table(SUGGESTIONS)?.retain_in(names_of(id), |_, _| false)?;
        self.table(GATEWAY_PEOPLE)?.retain_in((id.0, [0; 32])..=(id.0, [255; 32]), |_, _| false)?;
        // `0` is what follows `/`.
        let (first, end) = (format!("{}/", id.0), format!("{}0", id.0));
        self.table(GATEWAY_ROWS)?.retain_in((first.as_str(), "")..(end.as_str(), ""), |_, _| false)?;
        self.table(ROUTES)?
            .retain(|_, bytes| row::decode::<Route>(bytes, ROUTE).is_ok_and(|route| route.address != account.address))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, check, store};

    #[test]
    fn the_closest_rule_decides() {
        let (store, anna) = store();
        let rule = |email: &str| store.clear_rule(anna, email).unwrap();
        assert_eq!(rule("a@b.c"), None);
        for (pattern, said) in [("", Clear::Ask), ("@b.c", Clear::Never), ("a@b.c", Clear::Always)] {
            store.write(move |transaction| transaction.put_clear_rule(anna, pattern, Some(said))).unwrap();
        }
        assert_eq!((rule("a@b.c"), rule("x@b.c"), rule("x@y.z")), (Some(Clear::Always), Some(Clear::Never), Some(Clear::Ask)));
        store.write(move |transaction| transaction.put_clear_rule(anna, "a@b.c", None)).unwrap();
        assert_eq!(rule("a@b.c"), Some(Clear::Never));
    }

    #[test]
    fn what_led_to_an_account_goes_with_it() {
        let (store, anna) = store();
        let route = |to| Route { address: to, note: String::new(), added_ms: 1 };
        store.write(move |transaction| transaction.put_route("anna@b.c", &route(address(1)))).unwrap();
        store.write(move |transaction| transaction.put_route("bob@b.c", &route(address(2)))).unwrap();
        let both = Sharing { they_may: true, we_may: true };
        store.write(move |transaction| transaction.put_gateway_sharing(anna, &address(2), both)).unwrap();
        assert_eq!(store.gateway_people(anna).unwrap(), [(address(2), both)]);
        check(&store);
        let own = format!("{}/told", anna.0);
        let (kind, next) = (own.clone(), format!("{}0/told", anna.0));
        store.write(move |transaction| transaction.put_gateway_row(&kind, "carol@b.c", Some(b""))).unwrap();
        let kind = next.clone();
        store.write(move |transaction| transaction.put_gateway_row(&kind, "carol@b.c", Some(b""))).unwrap();
        store.remove_account(anna).unwrap();
        let told = [own, next].map(|kind| store.gateway_rows(&kind).unwrap().len());
        assert_eq!(told, [0, 1], "whom it wrote to is nobody's business any more");
        let left: Vec<String> = store.routes().unwrap().into_iter().map(|(pattern, _)| pattern).collect();
        assert_eq!(left, ["bob@b.c"]);
        assert_eq!(store.gateway_people(anna).unwrap(), []);
        check(&store);
    }

    #[test]
    fn suggestions_wait_and_the_oldest_goes() {
        let (store, anna) = store();
        let many = i64::try_from(SUGGESTIONS_MAX).unwrap();
        store
            .write(move |transaction| {
                (0..=many).try_for_each(|at_ms| {
                    let suggestion = Suggestion { email: format!("{at_ms}@b.c"), address: address(2), at_ms };
                    transaction.put_suggestion(anna, &suggestion)
                })
            })
            .unwrap();
        assert_eq!(store.suggestions(anna).unwrap().len(), SUGGESTIONS_MAX);
        assert_eq!(store.write(move |transaction| transaction.remove_suggestion(anna, "0@b.c")).unwrap(), None);
        assert!(store.write(move |transaction| transaction.remove_suggestion(anna, "1@b.c")).unwrap().is_some());
    }

    #[test]
    fn what_the_gateway_remembers_is_kept_by_kind() {
        let (store, _) = store();
        store.write(|transaction| transaction.put_gateway_row("grey", "1", Some(b"x"))).unwrap();
        store.write(|transaction| transaction.put_gateway_row("grez", "1", Some(b"y"))).unwrap();
        assert_eq!(store.gateway_rows("grey").unwrap(), [("1".to_owned(), b"x".to_vec())]);
        store.write(|transaction| transaction.put_gateway_row("grey", "1", None)).unwrap();
        assert_eq!(store.gateway_row("grey", "1").unwrap(), None);
    }
}
