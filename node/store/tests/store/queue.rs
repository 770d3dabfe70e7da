//! The queue's rows.

use kith_protocol::event::{EntryKind, Progress};
use kith_protocol::ids::{EntryId, MailId};
use kith_store::Store;
use kith_store::disk::SimulatedDisk;
use kith_store::queue::{Form, Notify, QueueEntry};

use crate::common::{ALICE, check, open, somebody};

fn receipt(store: &Store, of: u8) -> EntryId {
    let entry = QueueEntry {
        id: EntryId(0),
        account: ALICE,
        kind: EntryKind::Receipt(MailId([of; 16])),
        also: Vec::new(),
        form: Form::Mail,
        mid: MailId([100 + of; 16]),
        recipient: somebody(),
        typed: String::new(),
        blob: None,
        submitted_ms: 1,
        notify: Notify { success: false, failure: false, delay: false },
        orcpt: None,
        envid: None,
        ret_full: false,
        progress: Progress::default(),
    };
    store.write(move |transaction| transaction.enqueue(&entry)).unwrap()
}

fn confirmed(store: &Store, id: EntryId) -> Vec<u8> {
    store.queue_entry(id).unwrap().unwrap().confirms().map(|mid| mid.as_bytes()[0]).collect()
}

#[test]
fn one_receipt_takes_over_what_others_confirm() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let ids: Vec<EntryId> = (1..=5).map(|of| receipt(&store, of)).collect();
    let (first, last) = (ids[0], ids[4]);
    // One of them is gone already.
    store.write(move |transaction| transaction.remove_entry(EntryId(3))).unwrap();
    let from = vec![ids[1], ids[2], ids[3]];
    store.write(move |transaction| transaction.gather_receipts(first, &from)).unwrap();
    assert_eq!(confirmed(&store, first), [1, 2, 4]);
    assert_eq!(store.queue().unwrap().len(), 2);
    // What was taken over is taken over with it, and a restart knows it all.
    store.write(move |transaction| transaction.gather_receipts(last, &[first])).unwrap();
    drop(store);
    let store = open(&disk);
    assert_eq!(confirmed(&store, last), [5, 1, 2, 4]);
    assert_eq!(store.queue().unwrap().len(), 1);
    check(&store);
}

#[test]
fn a_receipt_that_was_withdrawn_takes_over_nothing_and_holds_nothing_up() {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let ids: Vec<EntryId> = (1..=2).map(|of| receipt(&store, of)).collect();
    let (first, second) = (ids[0], ids[1]);
    store.write(move |transaction| transaction.remove_entry(first)).unwrap();
    store.write(move |transaction| transaction.gather_receipts(first, &[second])).unwrap();
    assert!(store.queue().unwrap().is_empty());
    check(&store);
}
