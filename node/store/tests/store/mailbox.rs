//! What IMAP and POP3 rely on: UIDs, MODSEQs, counts, copies, names.

use std::io::Read;

use kith_store::disk::SimulatedDisk;
use kith_store::folder::{FlagChange, Flags, FolderId, ModSeq, Uid, Use};
use kith_store::{Store, StoreError};

use crate::common::{ALICE, check, filing_of as filing, open};

fn store() -> (SimulatedDisk, Store) {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap();
    (disk, store)
}

fn inbox(store: &Store) -> FolderId {
    store.folder_by_name(ALICE, "inbox").unwrap().unwrap().id
}

fn flags(system: u8, keywords: &[&str]) -> Flags {
    Flags { system, keywords: keywords.iter().map(|name| std::sync::Arc::from(*name)).collect() }
}

fn uids(numbers: &[u32]) -> Vec<(Uid, Uid)> {
    numbers.iter().map(|number| (Uid(*number), Uid(*number))).collect()
}

#[test]
fn filed_message_reads_back_byte_for_byte_after_reopening() {
    let (disk, store) = store();
    let small = b"Subject: small\r\n\r\nhello\r\n".to_vec();
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let folder = inbox(&store);
    let filed = store.file(ALICE, folder, vec![filing(&store, &small), filing(&store, &large)]).unwrap();
    assert_eq!(filed.iter().map(|message| message.uid.0).collect::<Vec<_>>(), [1, 2]);
    drop(store);
    let store = open(&disk);
    assert_eq!(store.messages(ALICE, folder, Uid(1), Uid(u32::MAX), 10).unwrap(), filed);
    for (message, bytes) in filed.iter().zip([&small, &large]) {
        let mut read = Vec::new();
        store.blob(&message.hash).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(&read, bytes);
        assert_eq!(message.size, bytes.len() as u64);
    }
    check(&store);
}

#[test]
fn copies_have_flags_of_their_own_and_bytes_go_with_the_last() {
    let (_disk, store) = store();
    let folder = inbox(&store);
    let archive = store.create_folder(ALICE, "Archive/2026", None).unwrap().id;
    let hash = store.file(ALICE, folder, vec![filing(&store, b"one")]).unwrap()[0].hash;
    assert_eq!(store.copy(ALICE, folder, uids(&[1]), archive).unwrap(), [(Uid(1), Uid(1))]);
    store.change_flags(ALICE, archive, uids(&[1]), FlagChange::Add, flags(Flags::SEEN, &["$label1"]), None).unwrap();
    assert_eq!(store.messages(ALICE, folder, Uid(1), Uid(9), 9).unwrap()[0].flags, Flags::default());
    assert_eq!(store.remove(ALICE, folder, uids(&[1])).unwrap(), [Uid(1)]);
    assert_eq!(store.blob_bytes(&hash, 10).unwrap(), b"one");
    store.change_flags(ALICE, archive, uids(&[1]), FlagChange::Add, flags(Flags::DELETED, &[]), None).unwrap();
    assert_eq!(store.expunge(ALICE, archive, None).unwrap(), [Uid(1)]);
    assert_eq!(store.blob_bytes(&hash, 10), Err(StoreError::NotFound("the message")));
    check(&store);
}

#[test]
fn changes_tell_exactly_what_changed_and_what_vanished() {
    let (_disk, store) = store();
    let folder = inbox(&store);
    store.file(ALICE, folder, (0..5).map(|n: u8| filing(&store, &[n])).collect()).unwrap();
    let before = store.folder(ALICE, folder).unwrap().unwrap().mod_seq;
    assert_eq!(store.changes(ALICE, folder, before).unwrap().changed, []);
    store.change_flags(ALICE, folder, uids(&[2]), FlagChange::Add, flags(Flags::SEEN, &[]), None).unwrap();
    store.change_flags(ALICE, folder, uids(&[2]), FlagChange::Add, flags(Flags::SEEN, &[]), None).unwrap();
    store.remove(ALICE, folder, uids(&[4])).unwrap();
    let changes = store.changes(ALICE, folder, before).unwrap();
    assert_eq!(changes.changed.iter().map(|message| message.uid.0).collect::<Vec<_>>(), [2]);
    assert_eq!(changes.vanished, [Uid(4)]);
    assert_eq!(changes.mod_seq, store.folder(ALICE, folder).unwrap().unwrap().mod_seq);
    let stale = store.change_flags(ALICE, folder, uids(&[1, 2]), FlagChange::Replace, flags(0, &["x"]), Some(before)).unwrap();
    assert_eq!(stale.modified, [Uid(2)]);
    assert_eq!(stale.messages[0].flags, flags(0, &["x"]));
    assert!(store.changes(ALICE, folder, ModSeq(u64::MAX)).unwrap().vanished.is_empty());
    check(&store);
}

#[test]
fn uids_are_not_given_twice_and_uid_validity_grows() {
    let (_disk, store) = store();
    let folder = store.create_folder(ALICE, "a", None).unwrap();
    store.file(ALICE, folder.id, vec![filing(&store, b"x")]).unwrap();
    store.remove(ALICE, folder.id, uids(&[1])).unwrap();
    assert_eq!(store.file(ALICE, folder.id, vec![filing(&store, b"x")]).unwrap()[0].uid, Uid(2));
    store.delete_folder(ALICE, "a").unwrap();
    let again = store.create_folder(ALICE, "a", None).unwrap();
    assert!(again.uid_validity > folder.uid_validity);
    assert_ne!(again.id, folder.id);
    check(&store);
}

#[test]
fn renaming_inbox_moves_its_messages_and_keeps_it() {
    let (_disk, store) = store();
    store.file(ALICE, inbox(&store), vec![filing(&store, b"x")]).unwrap();
    store.rename_folder(ALICE, "INBOX", "old").unwrap();
    assert_eq!(store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().messages, 0);
    assert_eq!(store.folder_by_name(ALICE, "old").unwrap().unwrap().messages, 1);
    check(&store);
}

#[test]
fn renaming_and_deleting_respect_the_hierarchy() {
    let (_disk, store) = store();
    store.create_folder(ALICE, "a/b/c", None).unwrap();
    store.rename_folder(ALICE, "a", "x/y").unwrap();
    let names: Vec<_> = store.folders(ALICE).unwrap().into_iter().map(|folder| folder.name).collect();
    assert_eq!(names, ["INBOX", "x", "x/y", "x/y/b", "x/y/b/c"]);
    store.delete_folder(ALICE, "x/y/b").unwrap();
    assert!(!store.folder_by_name(ALICE, "x/y/b").unwrap().unwrap().selectable);
    assert!(store.delete_folder(ALICE, "INBOX").is_err());
    assert!(store.create_folder(ALICE, "x//z", None).is_err());
    assert!(store.rename_folder(ALICE, "x", "x/z").is_err());
    check(&store);
}

#[test]
fn recent_is_claimed_once() {
    let (_disk, store) = store();
    let folder = inbox(&store);
    store.file(ALICE, folder, vec![filing(&store, b"1"), filing(&store, b"2")]).unwrap();
    assert_eq!(store.claim_recent(ALICE, folder).unwrap(), Uid(1));
    assert_eq!(store.claim_recent(ALICE, folder).unwrap(), Uid(3));
    check(&store);
}
