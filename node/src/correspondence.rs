//! What the sealing and the committing thread share: the state kept for each correspondent, and opened letters that wait for their commit.
//!
//! The state in memory is the newest; `changed_correspondents` gives what the next commit must write. After a commit that failed the rows on
//! the disk are the truth again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_protocol::address::Address;
use kith_protocol::correspondent::{Correspondent, Proof, ReplySecret};
use kith_protocol::event::Now;
use kith_protocol::ids::{AccountId, KeyId, MailId, PeerId, Token};
use kith_protocol::letter::Head;
use kith_protocol::secret::Secret;
use kith_protocol::stamp::Stamp;
use kith_protocol::talk::Talk;
use kith_store::contact::KnownCard;
use kith_store::mailbox::Filing;
use kith_store::{Store, StoreError};
use zeroize::Zeroizing;

/// A correspondent's row that a commit writes: its name and bytes.
pub type Row = (String, Zeroizing<Vec<u8>>);

type Key = (AccountId, Address);

/// What an opened letter brings for its correspondent.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The static key that sealed it.
    pub device: [u8; 32],
    /// Its head: reply keys, seed.
    pub head: Head,
    /// What its mac proves.
    pub proof: Proof,
    /// Its device still is the sender's: a removed one changes nothing that is known.
    pub listed: bool,
    /// The reply key that it spends.
    pub spent: Option<KeyId>,
}

/// An opened letter that waits for its commit.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whose it is.
    pub account: AccountId,
    /// Who wrote it.
    pub from: Address,
    /// Its name.
    pub mid: MailId,
    /// The mail with the node's lines above it; `None` for node-written letters.
    pub filing: Option<Filing>,
    /// What it says about keeping mail, where it is a word about that from a contact.
    pub talk: Option<Talk>,
    /// The sender's card, where it is newer than what is known.
    pub card: Option<KnownCard>,
    /// What it brings.
    pub learned: Learned,
}

struct Kept {
    correspondent: Correspondent,
    changed: bool,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<Key, Kept>,
    /// Which correspondent an issued reply key was given to.
    issued: BTreeMap<(AccountId, KeyId), Address>,
    taken: BTreeMap<Token, Taken>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    store: Store,
    state: Arc<Mutex<State>>,
    /// Held while a letter is sealed with a copy of a correspondent's state, so that nothing learned meanwhile is overwritten.
    pen: Arc<Mutex<()>>,
}

/// The name of a correspondent's secret row.
fn row_name((account, address): &Key) -> String {
    format!("{}/contact/{}", account.0, hex::encode(address.key()))
}

impl Shared {
    /// Reads every correspondent of every account: their reply keys must be found by name.
    ///
    /// # Errors
    /// The store cannot be read, or a row is damaged.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let shared = Self { store, state: Arc::default(), pen: Arc::default() };
        for account in shared.store.accounts()? {
            shared.load_account(account.id)?;
        }
        Ok(shared)
    }

    fn load_account(&self, account: AccountId) -> Result<(), StoreError> {
        for name in self.store.secret_names(&format!("{}/contact/", account.0))? {
            let row = self.store.secret(&name)?.unwrap_or_default();
            let correspondent = Correspondent::decode(&row).map_err(|_| StoreError::Damaged(format!("the secret row {name}")))?;
            let mut state = self.lock();
            keep(&mut state, account, correspondent, false);
        }
        Ok(())
    }

    /// Forgets everything of an account that was removed.
    pub fn forget_account(&self, account: AccountId) {
        let mut state = self.lock();
        state.kept.retain(|(owner, _), _| *owner != account);
        state.issued.retain(|(owner, _), _| *owner != account);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from [`Shared::correspondent`] to [`Shared::sealed`].
    pub fn pen(&self) -> MutexGuard<'_, ()> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state kept for a correspondent; fresh where there is none.
    pub fn correspondent(&self, account: AccountId, address: Address) -> Correspondent {
        self.lock().kept.get(&(account, address)).map_or_else(|| Correspondent::new(address), |kept| kept.correspondent.clone())
    }

    /// Replaces the state after a letter was sealed: the next commit writes it.
    pub fn sealed(&self, account: AccountId, mut correspondent: Correspondent) {
        let mut state = self.lock();
        if let Some(kept) = state.kept.get(&(account, *correspondent.address())) {
            correspondent.merge_stamps(&kept.correspondent);
        }
        keep(&mut state, account, correspondent, true);
    }

    /// The secret half of a reply key that the account issued.
    pub fn reply_secret(&self, account: AccountId, id: &KeyId) -> Option<ReplySecret> {
        let state = self.lock();
        let address = state.issued.get(&(account, *id))?;
        state.kept.get(&(account, *address))?.correspondent.reply_secret(id)
    }

    /// A stamp for one letter to a correspondent, at one of the nodes that keep their letters.
    pub fn take_stamp(&self, account: AccountId, address: Address, relay: &PeerId, week: u32) -> Option<Stamp> {
        // Without the pen, which may be held for as long as a large letter is sealed: `sealed` takes over what was used meanwhile.
        let mut state = self.lock();
        let kept = state.kept.get_mut(&(account, address))?;
        let stamp = kept.correspondent.take_stamp(relay, week);
        kept.changed |= stamp.is_some();
        stamp
    }

    /// The seeds that the account gave, and to whom.
    pub fn given_seeds(&self, account: AccountId) -> Vec<(Address, Secret)> {
        let state = self.lock();
        let of_account = state.kept.iter().filter(|((owner, _), _)| *owner == account);
        of_account.filter_map(|((_, address), kept)| Some((*address, kept.correspondent.given_seed()?.clone()))).collect()
    }

    /// Keeps an opened letter until its commit.
    pub fn opened(&self, token: Token, taken: Taken) {
        self.lock().taken.insert(token, taken);
    }

    /// An opened letter; stays until [`Shared::forget`].
    pub fn taken(&self, token: Token) -> Option<Taken> {
        self.lock().taken.get(&token).cloned()
    }

    /// The offer is answered for good.
    pub fn forget(&self, token: Token) {
        self.lock().taken.remove(&token);
    }

    /// Takes over what a letter brings, as part of the commit that files it.
    pub fn learn(&self, account: AccountId, from: Address, learned: &Learned, now: Now) {
        let _pen = self.pen();
        let mut state = self.lock();
        let key = (account, from);
        let mut correspondent = state.kept.get(&key).map_or_else(|| Correspondent::new(from), |kept| kept.correspondent.clone());
        if learned.listed {
            correspondent.learn(&learned.device, &learned.head, learned.proof, now.wall);
        }
        if let Some(spent) = &learned.spent {
            correspondent.spend(spent);
            state.issued.remove(&(account, *spent));
        }
        keep(&mut state, account, correspondent, true);
    }

    /// What the next commit must write.
    pub fn changed_correspondents(&self) -> Vec<Row> {
        let mut state = self.lock();
        let mut rows = Vec::new();
        for (key, kept) in state.kept.iter_mut().filter(|(_, kept)| kept.changed) {
            match kept.correspondent.encode() {
                Ok(bytes) => {
                    kept.changed = false;
                    rows.push((row_name(key), bytes));
                }
                Err(error) => tracing::error!(%error, "the state of a correspondent cannot be written"),
            }
        }
        rows
    }

    /// The commit with these rows has ended. After a failure the disk's rows count: a key that was to be erased must still open its letter.
    pub fn correspondents_written(&self, rows: &[Row], durable: bool) {
        if durable {
            return;
        }
        for (name, _) in rows {
            let mut parts = name.split("/contact/");
            let account = parts.next().and_then(|number| number.parse().ok()).map(AccountId);
            let Some(account) = account else { continue };
            let row = self.store.secret(name).ok().flatten();
            let mut state = self.lock();
            match row.and_then(|row| Correspondent::decode(&row).ok()) {
                Some(correspondent) => keep(&mut state, account, correspondent, false),
                None => state.kept.retain(|key, _| row_name(key) != *name),
            }
        }
    }
}

fn keep(state: &mut State, account: AccountId, correspondent: Correspondent, changed: bool) {
    let address = *correspondent.address();
    state.issued.extend(correspondent.issued_keys().map(|id| ((account, *id), address)));
    let kept = state.kept.entry((account, address)).or_insert_with(|| Kept { correspondent: correspondent.clone(), changed });
    kept.correspondent = correspondent;
    kept.changed |= changed;
}
