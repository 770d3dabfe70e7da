//! P2 and the group: nothing is answered before it is durable, and nobody is disturbed by his neighbour.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::Listener;
use kith_protocol::event::Progress;
use kith_store::disk::{Crash, Fault, FaultKind, SimulatedDisk};
use kith_store::feed::Topic;
use kith_store::folder::{Uid, Use};
use kith_store::{Disk, OpenError, Store, StoreError};

use crate::common::{ALICE, check, filing_of, open, open_disk, options, submission_of};

fn store() -> (SimulatedDisk, Store) {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap();
    (disk, store)
}

#[test]
fn nothing_returns_before_the_sync() {
    let (disk, store) = store();
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    let filing = filing_of(&store, b"mail");
    disk.hold_syncs();
    let returned = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (seen, store) = (Arc::clone(&returned), store.clone());
        let writing = scope.spawn(move || {
            store.file(ALICE, inbox, vec![filing]).unwrap();
            seen.fetch_add(1, Ordering::SeqCst);
        });
        disk.wait_until_held();
        assert_eq!(returned.load(Ordering::SeqCst), 0);
        assert!(!writing.is_finished());
        disk.release_syncs();
        writing.join().unwrap();
    });
    let lost = disk.crash(Crash::Lost, &mut |_| 0);
    assert_eq!(open(&lost).folder(ALICE, inbox).unwrap().unwrap().messages, 1);
    check(&store);
}

#[test]
fn failing_job_leaves_nothing_and_disturbs_nobody() {
    let (disk, store) = store();
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    let filings: Vec<_> = (0..20_u8).map(|number| filing_of(&store, &[number; 100])).collect();
    // Everything gathers behind one held commit, hence becomes one group.
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.subscribe(ALICE, "x", true));
        disk.wait_until_held();
        let writers: Vec<_> = filings
            .into_iter()
            .enumerate()
            .map(|(number, filing)| {
                let store = &store;
                scope.spawn(move || {
                    store.write(move |transaction| {
                        let message = transaction.file(ALICE, inbox, &filing)?;
                        if number % 3 == 0 { Err(StoreError::Invalid(number.to_string())) } else { Ok(message.uid) }
                    })
                })
            })
            .collect();
        disk.release_syncs();
        first.join().unwrap().unwrap();
        for (number, writer) in writers.into_iter().enumerate() {
            let outcome = writer.join().unwrap();
            assert_eq!(outcome.is_err(), number % 3 == 0, "{outcome:?}");
        }
    });
    let messages = store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    assert_eq!(messages.iter().map(|message| message.uid.0).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    check(&store);
}

#[test]
fn panicking_job_fails_alone() {
    let (_disk, store) = store();
    let outcome: Result<(), _> = store.write(|_| panic!("a bug"));
    assert!(outcome.is_err());
    store.subscribe(ALICE, "x", true).unwrap();
    check(&store);
}

#[test]
fn waiting_jobs_share_one_commit() {
    let (disk, store) = store();
    disk.record();
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.subscribe(ALICE, "first", true));
        disk.wait_until_held();
        let before = disk.recorded();
        let others: Vec<_> = (0..50)
            .map(|number| {
                let store = &store;
                scope.spawn(move || store.subscribe(ALICE, &format!("n{number}"), true))
            })
            .collect();
        assert_eq!(disk.recorded(), before);
        disk.release_syncs();
        first.join().unwrap().unwrap();
        for other in others {
            other.join().unwrap().unwrap();
        }
    });
    let syncs = disk.take_record().iter().filter(|change| matches!(change, kith_store::disk::Operation::Sync(_))).count();
    assert!(syncs < 50, "{syncs} syncs for 51 jobs");
    check(&store);
}

#[test]
fn failed_sync_is_fatal_for_the_handle() {
    let (disk, store) = store();
    // Find the sync: fail each operation of a commit in turn until the handle dies, and see that it stays dead.
    let broken = (0..100).find(|after| {
        disk.set_fault(Some(Fault { after: *after, kind: FaultKind::Io, times: 1 }));
        matches!(store.subscribe(ALICE, &format!("n{after}"), true), Err(StoreError::Broken(_)))
    });
    disk.set_fault(None);
    assert!(broken.is_some());
    assert!(matches!(store.subscribe(ALICE, "later", true), Err(StoreError::Broken(_))));
    assert!(matches!(store.folders(ALICE), Err(StoreError::Broken(_))));
    drop(store);
    check(&open(&disk));
}

#[test]
fn feed_tells_of_a_commit_and_of_nothing_else() {
    let (_disk, store) = store();
    let topic = Topic::Mailbox(ALICE);
    let listener = store.listen(topic);
    let before = store.position(topic);
    store.subscribe(ALICE, "x", true).unwrap();
    assert!(listener.wait_timeout(std::time::Duration::from_secs(10)).is_some());
    assert_eq!(store.position(topic), before + 1);
    store.subscribe(ALICE, "x", true).unwrap();
    assert!(store.create_folder(ALICE, "INBOX", None).is_err());
    assert_eq!(store.position(topic), before + 1);
    assert_eq!(store.position(Topic::Queue), 0);
}

#[test]
fn second_store_on_a_home_is_told_that_it_is_busy() {
    let (disk, store) = store();
    assert!(matches!(open_disk(&disk), Err(OpenError::Busy { .. })));
    store.close();
    assert!(matches!(store.folders(ALICE), Err(StoreError::Broken(_))));
    assert!(matches!(store.subscribe(ALICE, "x", true), Err(StoreError::Broken(_))));
    check(&open(&disk));
}

#[test]
fn home_on_a_real_disk_is_private_locked_and_reopens() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let store = Store::open(&home, crate::common::options()).unwrap();
    let inbox = store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id;
    store.file(ALICE, inbox, vec![filing_of(&store, b"small"), filing_of(&store, &[1; 200_000])]).unwrap();
    assert!(matches!(Store::open(&home, crate::common::options()), Err(OpenError::Busy { .. })));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    assert_eq!(mode(&home.join("store.redb")), 0o600);
    assert_eq!(mode(&home.join("blobs")), 0o700);
    drop(store);
    let report = kith_store::verify::verify(&home, crate::common::options(), &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.messages, report.blobs), (2, 2));
}

#[test]
fn what_an_only_envelope_was_sealed_from_goes_with_that_word() {
    let (disk, store) = store();
    let twice = [b"small".to_vec(), vec![3; 100_000]].map(|bytes| {
        let ids =
            [store.submit(submission_of(&store, &bytes)).unwrap()[0], store.submit(submission_of(&store, &bytes)).unwrap()[0]];
        for (id, left) in ids.into_iter().zip([1, 0]) {
            let only = Progress { only: true, ..Progress::default() };
            store.write(move |transaction| transaction.put_progress(id, &only)).unwrap();
            // A second word changes nothing.
            let only = Progress { only: true, attempts: 2, ..Progress::default() };
            store.write(move |transaction| transaction.put_progress(id, &only)).unwrap();
            let others = store.queue().unwrap().iter().filter(|entry| ids.contains(&entry.id) && entry.blob.is_some()).count();
            assert_eq!(others, left);
        }
        ids
    });
    check(&store);
    store.close();
    assert!(disk.paths().iter().all(|path| !path.starts_with("blobs/")));
    let store = open(&disk);
    let queue = store.queue().unwrap();
    assert!(queue.len() == 4 && queue.iter().all(|entry| entry.blob.is_none() && entry.progress.attempts == 2));
    for id in twice.into_iter().flatten() {
        store.write(move |transaction| transaction.remove_entry(id).map(drop)).unwrap();
    }
    check(&store);
}

#[test]
fn forgotten_bytes_go_at_once_unless_somebody_holds_or_mentions_them() {
    let (disk, store) = store();
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    let files = || disk.paths().iter().filter(|path| path.starts_with("blobs/") && path.len() > 20).count();
    filing_of(&store, &[1; 100_000]).blob.forget();
    assert_eq!(files(), 0);
    let held = filing_of(&store, &[2; 100_000]);
    held.blob.clone().forget();
    assert_eq!(files(), 1);
    store.file(ALICE, inbox, vec![held.clone()]).unwrap();
    held.blob.forget();
    assert_eq!((files(), store.sweep().unwrap()), (1, 0));
    // However few they are, they may have a file of their own.
    let mut stage = store.stage().unwrap();
    std::io::Write::write_all(&mut stage, b"few").unwrap();
    let few = stage.finish_apart().unwrap();
    assert_eq!(files(), 2);
    few.forget();
    assert_eq!(files(), 1);
}

#[test]
fn abandoned_large_mail_is_swept_and_a_waiting_one_is_not() {
    let (disk, store) = store();
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    drop(filing_of(&store, &[1; 100_000]));
    let waiting = filing_of(&store, &[2; 100_000]);
    assert_eq!(store.sweep().unwrap(), 1);
    assert_eq!(store.blob_bytes(&waiting.blob.hash, 1 << 20).unwrap().len(), 100_000);
    store.file(ALICE, inbox, vec![waiting]).unwrap();
    assert_eq!(store.sweep().unwrap(), 0);
    store.remove(ALICE, inbox, vec![(Uid(1), Uid(1))]).unwrap();
    // The file goes right after the answer: closing waits for it.
    store.close();
    assert!(disk.paths().iter().all(|path| !path.starts_with("blobs/")));
    check(&open(&disk));
}

#[test]
fn readers_and_writers_at_once_see_whole_commits() {
    let (_disk, store) = store();
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..30_u8 {
                        let pair = [filing_of(store, &[writer, round]), filing_of(store, &[writer, round, 1])];
                        let filed = store.file(ALICE, inbox, pair.into()).unwrap();
                        if round % 3 == 0 {
                            store.remove(ALICE, inbox, vec![(filed[0].uid, filed[1].uid)]).unwrap();
                        }
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let messages = store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
            assert_eq!(messages.len() % 2, 0);
            check(&store);
        }
    });
    assert_eq!(store.folder(ALICE, inbox).unwrap().unwrap().messages, 4 * 20 * 2);
    check(&store);
}

/// What a simulation relies on: nothing goes on beside it.
#[test]
fn a_store_in_step_has_done_all_when_a_write_returns() {
    let disk = SimulatedDisk::new();
    let store = Store::open_in_step(Disk::Simulated(disk.clone()), options()).unwrap();
    let inbox = store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id;
    let files = || disk.paths().into_iter().filter(|path| path.starts_with("blobs/")).count();
    for number in 0..20_u8 {
        let filed = store.file(ALICE, inbox, vec![filing_of(&store, &[number; 70_000])]).unwrap();
        assert_eq!(files(), 1);
        store.remove(ALICE, inbox, vec![(filed[0].uid, filed[0].uid)]).unwrap();
        assert_eq!(files(), 0, "what nobody mentions any more is removed by then");
    }
    check(&store);
    store.close();
    assert!(matches!(store.write(|_| Ok(())), Err(StoreError::Broken(_))));
    // What the journal held is in the database.
    let store = Store::open_in_step(Disk::Simulated(disk.crash(Crash::Lost, &mut |_| 0)), options()).unwrap();
    assert_eq!(store.folder(ALICE, inbox).unwrap().unwrap().uid_next, Uid(21));
    check(&store);
}
