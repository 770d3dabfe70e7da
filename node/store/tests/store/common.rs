//! What the store's tests share.

use std::io::Write;

use kith_protocol::ids::AccountId;
use kith_store::disk::SimulatedDisk;
use kith_store::folder::Flags;
use kith_store::mailbox::Filing;
use kith_store::{Disk, OpenError, Options, Store};

/// The account that tests use.
pub(crate) const ALICE: AccountId = AccountId(1);

pub(crate) fn options() -> Options {
    Options { cache_bytes: 4 << 20, passphrase: None }
}

pub(crate) fn open_disk(disk: &SimulatedDisk) -> Result<Store, OpenError> {
    Store::open_on(Disk::Simulated(disk.clone()), options())
}

pub(crate) fn open(disk: &SimulatedDisk) -> Store {
    open_disk(disk).unwrap()
}

/// Stages bytes and makes a filing of them, without flags.
pub(crate) fn filing_of(store: &Store, bytes: &[u8]) -> Filing {
    let mut stage = store.stage().unwrap();
    stage.write_all(bytes).unwrap();
    Filing { blob: stage.finish().unwrap(), flags: Flags::default(), internal_date: 7, internal_zone: 60 }
}

/// Every invariant holds: what every test with a store ends with.
pub(crate) fn check(store: &Store) {
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:#?}");
}
