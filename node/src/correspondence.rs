//! What the sealing and the committing thread share: the state kept for each correspondent, seeds for those to come, and opened letters that wait for
//! their commit.
//!
//! The state in memory is the newest; `changed_correspondents` gives what the next commit must write. After a commit that failed the rows on
//! the disk are the truth again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_protocol::address::Address;
use kith_protocol::correspondent::{Correspondent, Proof, ReplySecret};
use kith_protocol::event::Now;
use kith_protocol::forward::Outward;
use kith_protocol::ids::{AccountId, KeyId, MailId, PeerId, Token};
use kith_protocol::letter::Head;
use kith_protocol::secret::Secret;
use kith_protocol::stamp::{SPARE_SEEDS, Stamp};
use kith_protocol::talk::Talk;
use kith_store::blob::Staged;
use kith_store::contact::KnownCard;
use kith_store::folder::Use;
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

/// A mail that came in a letter.
#[derive(Clone, Debug)]
pub enum TakenMail {
    /// To be filed, with the node's lines above it, into this folder unless it is a stranger's.
    Filing(Filing, Use),
    /// To be sent on in the clear, if its sender may do that here.
    Outward(Outward, Staged),
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
    /// What it brings for a person; `None` for node-written letters.
    pub mail: Option<TakenMail>,
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

/// Seeds that nobody has yet. Their marks are with the relays, so that the first letter of a new contact is let in at once, and the relays do not see that
/// there is a new one.
#[derive(Default)]
struct Spares {
    seeds: VecDeque<Secret>,
    changed: bool,
    /// Seeds that were given since the relays were last told; their marks were those of spares.
    given: usize,
}

impl Spares {
    fn decode(row: &[u8]) -> Self {
        let (seeds, _) = row.as_chunks::<32>();
        Self { seeds: seeds.iter().take(SPARE_SEEDS).map(|seed| Secret::new(*seed)).collect(), ..Self::default() }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(32 * SPARE_SEEDS));
        self.seeds.iter().for_each(|seed| bytes.extend_from_slice(seed.expose()));
        bytes
    }

    fn fill(&mut self) {
        while self.seeds.len() < SPARE_SEEDS {
            self.seeds.push_back(Secret::generate(&mut rand::rng()));
            self.changed = true;
        }
    }
}

/// The name, within an account, of the row with the seeds that nobody has yet.
pub const SPARES_ROW: &str = "spares";

#[derive(Default)]
struct State {
    kept: BTreeMap<Key, Kept>,
    spares: BTreeMap<AccountId, Spares>,
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
        if let Some(row) = self.store.secret(&format!("{}/{SPARES_ROW}", account.0))? {
            self.lock().spares.insert(account, Spares::decode(&row));
        }
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
        state.spares.remove(&account);
        state.issued.retain(|(owner, _), _| *owner != account);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from [`Shared::correspondent`] to [`Shared::sealed`].
    pub fn pen(&self) -> MutexGuard<'_, ()> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state kept for a correspondent; fresh where there is none. Whoever has no seed yet has one reserved.
    pub fn correspondent(&self, account: AccountId, address: Address) -> Correspondent {
        let mut state = self.lock();
        let kept = state.kept.get(&(account, address));
        let mut correspondent = kept.map_or_else(|| Correspondent::new(address), |kept| kept.correspondent.clone());
        let spares = state.spares.entry(account).or_default();
        spares.fill();
        if let Some(seed) = spares.seeds.front() {
            correspondent.reserve(seed);
        }
        correspondent
    }

    /// Replaces the state after a letter was sealed: the next commit writes it.
    pub fn sealed(&self, account: AccountId, mut correspondent: Correspondent) {
        let mut state = self.lock();
        if let Some(kept) = state.kept.get(&(account, *correspondent.address())) {
            correspondent.merge_stamps(&kept.correspondent);
        }
        let spares = state.spares.entry(account).or_default();
        if spares.seeds.front().is_some_and(|seed| correspondent.given_seed() == Some(seed)) {
            spares.seeds.pop_front();
            spares.fill();
            (spares.changed, spares.given) = (true, spares.given + 1);
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

    /// The seeds that nobody has yet, for the relays to be told of all marks.
    pub fn spare_seeds(&self, account: AccountId) -> Vec<Secret> {
        let mut state = self.lock();
        let spares = state.spares.entry(account).or_default();
        spares.fill();
        spares.given = 0;
        spares.seeds.iter().cloned().collect()
    }

    /// Whether so many seeds were given since the relays were told that soon a new contact's stamps would be unknown to them. Says so once.
    pub fn runs_short(&self, account: AccountId) -> bool {
        let mut state = self.lock();
        let Some(spares) = state.spares.get_mut(&account) else { return false };
        let short = spares.given >= SPARE_SEEDS / 2;
        if short {
            spares.given = 0;
        }
        short
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
        for (account, spares) in state.spares.iter_mut().filter(|(_, spares)| spares.changed) {
            spares.changed = false;
            rows.push((format!("{}/{SPARES_ROW}", account.0), spares.encode()));
        }
        rows
    }

    /// The commit with these rows has ended. After a failure the disk's rows count: a key that was to be erased must still open its letter.
    pub fn correspondents_written(&self, rows: &[Row], durable: bool) {
        if durable {
            return;
        }
        for (name, _) in rows {
            if let Some(account) = name.strip_suffix(&format!("/{SPARES_ROW}")).and_then(|number| number.parse().ok()) {
                // A seed that is lost with a letter that never left is no loss.
                self.lock().spares.entry(AccountId(account)).or_default().changed = true;
                continue;
            }
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

#[cfg(test)]
mod tests {
    use kith_store::Options;

    use super::*;

    const ACCOUNT: AccountId = AccountId(1);
    /// Keys of ed25519's published vectors.
    const PEOPLE: [&str; 2] = [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ];

    fn address(number: usize) -> Address {
        Address::from_key(hex::decode(PEOPLE[number]).unwrap().try_into().unwrap()).unwrap()
    }

    fn shared() -> (tempfile::TempDir, Shared) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Options { cache_bytes: 1024 * 1024, passphrase: None }).unwrap();
        (home, Shared::open(store).unwrap())
    }

    #[test]
    fn a_new_contact_is_given_a_seed_whose_marks_are_told_already() {
        let (_home, shared) = shared();
        let told = shared.spare_seeds(ACCOUNT);
        assert_eq!(told.len(), SPARE_SEEDS);
        let first = shared.correspondent(ACCOUNT, address(0));
        assert!(told.contains(first.given_seed().unwrap()));
        shared.sealed(ACCOUNT, first.clone());
        let second = shared.correspondent(ACCOUNT, address(1));
        assert!(told.contains(second.given_seed().unwrap()));
        assert_ne!(first.given_seed(), second.given_seed());
        assert_eq!(shared.correspondent(ACCOUNT, address(0)).given_seed(), first.given_seed());
        assert_eq!(shared.spare_seeds(ACCOUNT).len(), SPARE_SEEDS);
    }

    #[test]
    fn the_relays_are_told_before_the_spares_run_out() {
        let (_home, shared) = shared();
        shared.spare_seeds(ACCOUNT);
        shared.sealed(ACCOUNT, shared.correspondent(ACCOUNT, address(0)));
        shared.sealed(ACCOUNT, shared.correspondent(ACCOUNT, address(1)));
        assert!(!shared.runs_short(ACCOUNT));
        shared.lock().spares.get_mut(&ACCOUNT).unwrap().given = SPARE_SEEDS / 2;
        assert!(shared.runs_short(ACCOUNT) && !shared.runs_short(ACCOUNT));
    }

    #[test]
    fn spares_are_the_same_after_a_restart() {
        let (_home, shared) = shared();
        let spares = shared.spare_seeds(ACCOUNT);
        let rows = shared.changed_correspondents();
        assert_eq!(rows.len(), 1);
        let read = Spares::decode(&rows[0].1);
        assert_eq!(Vec::from(read.seeds), spares);
        shared.correspondents_written(&rows, true);
        assert!(shared.changed_correspondents().is_empty());
    }
}
