//! What the store's tests share.

use std::io::Write;

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::ids::{AccountId, MailId};
use kith_store::disk::SimulatedDisk;
use kith_store::folder::Flags;
use kith_store::mailbox::Filing;
use kith_store::queue::{Notify, QueuedRecipient, Submission};
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

/// Somebody's address: the curve's base point.
pub(crate) fn somebody() -> Address {
    let mut cbor = vec![0x58, 32, 0x58];
    cbor.extend([0x66; 31]);
    codec::decode(&cbor, cbor.len()).unwrap()
}

/// A mail for one recipient over the overlay.
pub(crate) fn submission_of(store: &Store, bytes: &[u8]) -> Submission {
    let notify = Notify { success: false, failure: true, delay: true };
    let recipient = QueuedRecipient { address: somebody(), typed: "bob@kith.alt".to_owned(), notify, orcpt: None };
    Submission {
        account: ALICE,
        mail: filing_of(store, bytes).blob,
        mid: MailId([7; 16]),
        submitted_ms: 1,
        recipients: vec![recipient],
        household: Vec::new(),
        legacy: Vec::new(),
        letters: Vec::new(),
        envid: None,
        ret_full: false,
    }
}
