//! A home with a real store and two people, `mum` and `dad`, whose passwords are `secret` and `hidden`.

use std::sync::OnceLock;

use kith_connection::{Credentials, LoginRefusal};
use kith_protocol::address::Address;
use kith_store::account::{Account, PasswordHash};
use kith_store::disk::{Disk, SimulatedDisk};
use kith_store::{Options, Store};

/// A store in a folder that goes away with it.
pub(crate) struct Home {
    pub(crate) store: Store,
    pub(crate) mum: Account,
    pub(crate) dad: Account,
    folder: tempfile::TempDir,
}

const OPTIONS: Options = Options { cache_bytes: 4 << 20, passphrase: None };

/// The two people's passwords.
static HASHES: OnceLock<[PasswordHash; 2]> = OnceLock::new();

/// Public keys of RFC 8032 §7.1, tests 1 and 2.
const KEYS: [&str; 2] = [
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
];

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(Disk::real(folder.path()), folder)
    }

    /// A home on a disk that fails as a test wants it to.
    pub(crate) fn simulated(disk: &SimulatedDisk) -> Self {
        Self::on(Disk::Simulated(disk.clone()), tempfile::tempdir().unwrap())
    }

    fn on(disk: Disk, folder: tempfile::TempDir) -> Self {
        let store = Store::open_on(disk, OPTIONS).unwrap();
        let [mum, dad] = KEYS.map(|key| {
            let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).unwrap()).collect();
            Address::from_key(bytes.try_into().unwrap()).unwrap()
        });
        let add = |name: &'static str, address, hash: PasswordHash| {
            store.write(move |transaction| transaction.add_account(name, address, &hash)).unwrap()
        };
        // The work of hashing is done once for all homes.
        let [secret, hidden] = HASHES.get_or_init(|| [b"secret", b"hidden"].map(|password| PasswordHash::of(password).unwrap()));
        let mum = add("mum", mum, secret.clone());
        let dad = add("dad", dad, hidden.clone());
        Self { store, mum, dad, folder }
    }

    /// The store's folder.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Closes the store and opens it again, as a node that restarts does.
    pub(crate) fn reopen(&mut self) {
        self.store.close();
        self.store = Store::open(self.folder.path(), OPTIONS).unwrap();
    }

    /// Lets them in without argon2's work, which conversations without a socket do not need.
    pub(crate) fn login(&self, credentials: &Credentials) -> Result<Account, LoginRefusal> {
        match (credentials.name.as_str(), credentials.password.as_slice()) {
            ("mum", b"secret") => Ok(self.mum.clone()),
            ("dad", b"hidden") => Ok(self.dad.clone()),
            ("busy", _) => Err(LoginRefusal::TooMany),
            _ => Err(LoginRefusal::Wrong),
        }
    }
}
