//! P7: no space, and a disk that fails, at every single operation.

use kith_store::disk::{Crash, Fault, FaultKind, SimulatedDisk};
use kith_store::folder::{FolderId, Uid, Use};
use kith_store::{Store, StoreError};

use crate::common::{ALICE, check, filing_of, open, open_disk};

const LARGE: usize = 70_000;

fn prepared() -> (SimulatedDisk, FolderId) {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    let inbox = store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id;
    for number in 0..10_u8 {
        store.file(ALICE, inbox, vec![filing_of(&store, &[number; 2000])]).unwrap();
    }
    store.close();
    (disk, inbox)
}

/// A mail of that size, or why not.
fn file(store: &Store, inbox: FolderId, size: usize) -> Result<Uid, StoreError> {
    file_of(store, inbox, &vec![7; size])
}

fn file_of(store: &Store, inbox: FolderId, mail: &[u8]) -> Result<Uid, StoreError> {
    use std::io::Write;
    let mut stage = store.stage()?;
    stage.write_all(mail).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::DiskFull,
        _ => StoreError::Broken(error.to_string()),
    })?;
    let blob = stage.finish()?;
    let filing = kith_store::mailbox::Filing { blob, ..filing_of(store, b"") };
    Ok(store.file(ALICE, inbox, vec![filing])?[0].uid)
}

/// What a session with a failing disk acknowledged: (mails filed, mails removed).
fn session(store: &Store, inbox: FolderId, outcomes: &mut Vec<StoreError>) -> (Vec<Uid>, Vec<Uid>) {
    let (mut filed, mut removed) = (Vec::new(), Vec::new());
    for round in 1..=4 {
        for size in [3000, LARGE] {
            match file(store, inbox, size) {
                Ok(uid) => filed.push(uid),
                Err(error) => outcomes.push(error),
            }
        }
        match store.remove(ALICE, inbox, vec![(Uid(round), Uid(round))]) {
            Ok(gone) => removed.extend(gone),
            Err(error) => outcomes.push(error),
        }
    }
    (filed, removed)
}

fn fail_everywhere(kind: FaultKind, times: u64) {
    for after in 0.. {
        let (disk, inbox) = prepared();
        let store = open(&disk);
        disk.set_fault(Some(Fault { after, kind, times }));
        let mut errors = Vec::new();
        let (filed, removed) = session(&store, inbox, &mut errors);
        let met = disk.fault_met();
        disk.set_fault(None);
        for error in &errors {
            assert!(matches!(error, StoreError::DiskFull | StoreError::Broken(_)), "at {after}: {error:?}");
        }
        // Full once, usable again, without a restart; whatever else failed, a new handle has what was acknowledged.
        let only_full = errors.iter().all(|error| *error == StoreError::DiskFull);
        let mut expected = None;
        if only_full {
            assert!(file(&store, inbox, 3000).is_ok(), "at {after}: {errors:?}");
            expected = Some(10 + filed.len() + 1 - removed.len());
        }
        drop(store);
        let store = open_disk(&disk).unwrap_or_else(|error| panic!("at {after}: {error}"));
        check(&store);
        let there = store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
        assert!(expected.is_none_or(|expected| there.len() == expected), "at {after}: {errors:?}");
        for uid in &filed {
            assert_eq!(there.iter().any(|message| message.uid == *uid), !removed.contains(uid), "at {after}");
        }
        for uid in &removed {
            assert!(there.iter().all(|message| message.uid != *uid), "at {after}");
        }
        if !met {
            return;
        }
    }
}

#[test]
fn no_space_at_any_operation_loses_nothing_and_passes() {
    fail_everywhere(FaultKind::NoSpace, 1);
    fail_everywhere(FaultKind::NoSpace, 3);
}

#[test]
fn io_error_at_any_operation_loses_nothing() {
    fail_everywhere(FaultKind::Io, 1);
}

/// Somebody else takes all space at every single change: what was acknowledged is read at once, by the same handle and by another one, mail is removed,
/// and everything goes on when there is space again.
#[test]
fn a_disk_that_others_fill_at_any_moment_keeps_nobody_from_reading() {
    for after in 0.. {
        let (disk, inbox) = prepared();
        disk.set_capacity(Some(64 << 20));
        let store = open(&disk);
        assert!(disk.contents("reserve").is_none_or(|bytes| bytes.len() == 4 << 20));
        disk.fill_after(after);
        let mut errors = Vec::new();
        let (filed, removed) = session(&store, inbox, &mut errors);
        let passed = disk.is_to_be_filled();
        for error in &errors {
            assert_eq!(*error, StoreError::DiskFull, "at {after}");
        }
        let readable = |store: &Store| {
            let there = store
                .messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX)
                .unwrap_or_else(|error| panic!("at {after}: {error}"));
            assert_eq!(there.len(), 10 + filed.len() - removed.len(), "at {after}: {errors:?}");
            for message in &there {
                assert_eq!(store.blob_bytes(&message.hash, u64::MAX).unwrap().len() as u64, message.size);
            }
            there.first().map(|message| message.uid)
        };
        readable(&store);
        check(&store);
        // As after a power failure while the disk is full.
        let again = disk.crash(Crash::Kept, &mut |_| 0);
        again.set_capacity(Some(again.paths().iter().map(|path| again.contents(path).unwrap().len() as u64).sum()));
        let reserved = again.contents("reserve").is_some_and(|bytes| bytes.len() == 4 << 20);
        let other = open_disk(&again).unwrap_or_else(|error| panic!("at {after}: {error}"));
        let first = readable(&other).unwrap();
        match other.remove(ALICE, inbox, vec![(first, first)]) {
            Ok(gone) => assert_eq!(gone, [first], "at {after}"),
            // What was set aside is used up, or was never there: reading goes on.
            Err(error) => {
                assert!(error == StoreError::DiskFull && !reserved, "at {after}: {error}");
                readable(&other);
            }
        }
        drop(other);
        disk.set_capacity(Some(64 << 20));
        file(&store, inbox, 3000).unwrap_or_else(|error| panic!("at {after}: {error}"));
        check(&store);
        if passed {
            assert!(errors.is_empty() && after > 20, "at {after}: {errors:?}");
            return;
        }
    }
}

#[test]
fn space_is_set_aside_given_up_for_a_turn_and_set_aside_again() {
    let (disk, inbox) = prepared();
    disk.set_capacity(Some(64 << 20));
    let store = open(&disk);
    store.write(|_| Ok(())).unwrap();
    assert_eq!(disk.contents("reserve").unwrap().len(), 4 << 20);
    for _ in 0..20 {
        file(&store, inbox, 9_000).unwrap();
    }
    disk.fill_after(0);
    assert_eq!(file(&store, inbox, LARGE), Err(StoreError::DiskFull));
    let filed = store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap().len();
    assert_eq!(filed, 30);
    store.remove(ALICE, inbox, vec![(Uid(1), Uid(4))]).unwrap();
    check(&store);
    disk.set_capacity(Some(64 << 20));
    store.close();
    let store = open(&disk);
    store.write(|_| Ok(())).unwrap();
    assert_eq!(disk.contents("reserve").unwrap().len(), 4 << 20);
    assert_eq!(store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap().len(), 26);
}

#[test]
fn full_disk_refuses_mail_and_still_reads_and_removes() {
    let (disk, inbox) = prepared();
    let store = open(&disk);
    // So small a disk as to be full soon, with a reserve in which the database can still grow by its smallest step.
    disk.set_capacity(Some(disk.paths().iter().map(|path| disk.contents(path).unwrap().len() as u64).sum::<u64>() + 4_000_000));
    let mut filed = 0_u8;
    let refused = loop {
        match file_of(&store, inbox, &[filed; LARGE]) {
            Ok(_) => filed += 1,
            Err(error) => break error,
        }
        assert!(filed < 100);
    };
    assert_eq!(refused, StoreError::DiskFull);
    assert_eq!(refused.class(), kith_store::Class::Temporary);
    assert_eq!(store.messages(ALICE, inbox, Uid(1), Uid(9), 9).unwrap().len(), 9);
    assert_eq!(store.remove(ALICE, inbox, vec![(Uid(1), Uid(9))]).unwrap().len(), 9);
    disk.set_capacity(None);
    file(&store, inbox, LARGE).unwrap();
    check(&store);
}

/// A disk on which not even a removal succeeds: whoever asks is told so, and nothing is tried for ever.
#[test]
fn what_was_set_aside_and_cannot_be_given_up_is_no_reason_to_try_again() {
    let (disk, inbox) = prepared();
    disk.set_capacity(Some(64 << 20));
    let store = open(&disk);
    store.write(|_| Ok(())).unwrap();
    disk.set_fault(Some(Fault { after: 0, kind: FaultKind::NoSpace, times: u64::MAX }));
    assert_eq!(store.remove(ALICE, inbox, vec![(Uid(1), Uid(4))]), Err(StoreError::DiskFull));
    assert_eq!(disk.contents("reserve").unwrap().len(), 4 << 20);
    disk.set_fault(None);
    assert_eq!(store.remove(ALICE, inbox, vec![(Uid(1), Uid(4))]).unwrap().len(), 4);
    check(&store);
}
