//! What the tests beside the modules share.

use std::io::Write;

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_protocol::keys::Master;
use kith_protocol::secret::Secret;

use crate::blob::Staged;
use crate::disk::SimulatedDisk;
use crate::{Disk, Options, Store};

pub(crate) fn options() -> Options {
    Options { cache_bytes: 1 << 20, passphrase: None }
}

/// Somebody's address; another one for every number.
pub(crate) fn address(number: u8) -> Address {
    Master::from_seed(&Secret::new([number; 32])).address()
}

/// A store in memory with one account, whose address is number 1.
pub(crate) fn store() -> (Store, AccountId) {
    let store = Store::open_on(Disk::Simulated(SimulatedDisk::default()), options()).unwrap();
    let account = store.add_account("alice", address(1), b"a long password").unwrap().id;
    (store, account)
}

pub(crate) fn staged(store: &Store, bytes: &[u8]) -> Staged {
    let mut stage = store.stage().unwrap();
    stage.write_all(bytes).unwrap();
    stage.finish().unwrap()
}

/// Every invariant holds.
pub(crate) fn check(store: &Store) {
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:#?}");
}
