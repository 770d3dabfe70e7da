//! What is in the journal alone counts like what is in the database; what is left there from before counts for nothing.

use std::time::{Duration, Instant};

use kith_store::disk::{Crash, Operation, SimulatedDisk};
use kith_store::folder::{FolderId, Uid, Use};
use kith_store::repair::repair_on;
use kith_store::{Disk, OpenError, Store};

use crate::common::{ALICE, check, filing_of, open, open_disk, options};

const JOURNAL: &str = "journal";
const PAGE: usize = 4096;

fn store() -> (SimulatedDisk, Store, FolderId) {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap();
    store.close();
    let store = open(&disk);
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    (disk, store, inbox)
}

fn file(store: &Store, inbox: FolderId, count: u8) {
    for number in 0..count {
        store.file(ALICE, inbox, vec![filing_of(store, &[number; 3000])]).unwrap();
    }
}

fn uids(store: &Store, inbox: FolderId) -> Vec<u32> {
    store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap().iter().map(|message| message.uid.0).collect()
}

/// The disk after a power failure that took nothing.
fn after_a_power_failure(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.crash(Crash::Kept, &mut |_| 0)
}

#[test]
fn mail_costs_one_write_and_one_sync() {
    let (disk, store, inbox) = store();
    // With the first one the database file grows by a step.
    file(&store, inbox, 1);
    let filing = filing_of(&store, &[7; 3000]);
    disk.record();
    store.file(ALICE, inbox, vec![filing]).unwrap();
    let record = disk.take_record();
    let written: usize =
        record.iter().map(|operation| if let Operation::Write(_, _, bytes) = operation { bytes.len() } else { 0 }).sum();
    assert!(matches!(record[..], [Operation::Write(..), Operation::Sync(_)]), "{} changes", record.len());
    assert!(written < 4500, "{written} bytes for a mail of 3000");
    assert_eq!(uids(&open(&disk.crash(Crash::Lost, &mut |_| 0)), inbox), [1, 2]);
    check(&store);
}

#[test]
fn damaged_record_with_others_behind_it_is_noticed_and_the_rest_is_saved() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 5);
    let whole = after_a_power_failure(&disk);
    assert_eq!(uids(&open(&whole.fork()), inbox), [1, 2, 3, 4, 5]);
    for record in 0..4 {
        for place in [1, 5, 9, 20, 1000] {
            let image = whole.fork();
            let mut bytes = image.contents(JOURNAL).unwrap();
            bytes[record * PAGE + place] ^= 8;
            image.damage(JOURNAL, bytes);
            assert!(matches!(open_disk(&image), Err(OpenError::Damaged { .. })), "record {record}, byte {place}");
            let repaired = repair_on(&Disk::Simulated(image.clone()), options(), &mut |_| {}).unwrap();
            assert_eq!(repaired.incomplete, [JOURNAL]);
            assert!(repaired.report.is_sound(), "{repaired:#?}");
            let store = open(&image);
            assert!(uids(&store, inbox).len() >= 4, "{:?}", uids(&store, inbox));
            check(&store);
        }
    }
}

#[test]
fn last_record_that_does_not_stand_was_never_answered_for() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 3);
    let image = after_a_power_failure(&disk);
    let bytes = image.contents(JOURNAL).unwrap();
    image.damage(JOURNAL, bytes[..2 * PAGE + 2000].to_vec());
    let store = open(&image);
    assert_eq!(uids(&store, inbox), [1, 2]);
    // What is written next takes its place.
    file(&store, inbox, 1);
    let again = open(&after_a_power_failure(&image));
    assert_eq!(uids(&again, inbox), [1, 2, 3]);
    check(&again);
}

#[test]
fn repair_of_a_sound_store_keeps_what_only_the_journal_has() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 3);
    let image = after_a_power_failure(&disk);
    let repaired = repair_on(&Disk::Simulated(image.clone()), options(), &mut |_| {}).unwrap();
    assert!(repaired.report.is_sound() && repaired.incomplete.is_empty(), "{repaired:#?}");
    assert_eq!(uids(&open(&image), inbox), [1, 2, 3]);
}

#[test]
fn what_an_earlier_turn_left_counts_for_nothing() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 3);
    store.close();
    let store = open(&disk);
    store.remove(ALICE, inbox, vec![(Uid(1), Uid(2))]).unwrap();
    store.close();
    // Shorter than what it had before, so that the rest of that still stands behind it.
    let store = open(&disk);
    store.subscribe(ALICE, "x", true).unwrap();
    let again = open(&after_a_power_failure(&disk));
    assert_eq!(uids(&again, inbox), [3]);
    check(&again);
}

#[test]
fn what_only_the_journal_has_is_read_on_a_full_disk() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 5);
    let image = after_a_power_failure(&disk);
    let used = image.paths().iter().map(|path| image.contents(path).unwrap().len() as u64).sum();
    image.set_capacity(Some(used));
    let store = open(&image);
    assert_eq!(uids(&store, inbox), [1, 2, 3, 4, 5]);
    check(&store);
}

#[test]
fn what_is_too_much_for_the_journal_is_as_durable() {
    let (disk, store, inbox) = store();
    file(&store, inbox, 2);
    let filings: Vec<_> = (0..100).map(|number| filing_of(&store, &[number; 60_000])).collect();
    store.file(ALICE, inbox, filings).unwrap();
    let lost = open(&disk.crash(Crash::Lost, &mut |_| 0));
    assert_eq!(uids(&lost, inbox).len(), 102);
    file(&store, inbox, 2);
    let lost = open(&disk.crash(Crash::Lost, &mut |_| 0));
    assert_eq!(uids(&lost, inbox).len(), 104);
    check(&lost);
}

#[test]
fn when_it_is_quiet_the_database_takes_everything_in() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), options()).unwrap();
    let inbox = store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id;
    file(&store, inbox, 3);
    // A copy without the journal, taken while the store is open and nobody writes.
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < until, "nothing was taken in");
        std::thread::sleep(Duration::from_millis(500));
        let copy = tempfile::tempdir().unwrap();
        for name in ["store.redb", "keys"] {
            std::fs::copy(home.path().join(name), copy.path().join(name)).unwrap();
        }
        let Ok(copied) = Store::open(copy.path(), options()) else { continue };
        if copied.folder_by_name(ALICE, "INBOX").unwrap().is_some() && uids(&copied, inbox) == [1, 2, 3] {
            return;
        }
    }
}
