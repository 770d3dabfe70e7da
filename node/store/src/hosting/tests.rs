//! What is kept for others is kept, bounded, and gone when it is let go.

use std::sync::Arc;

use kith_protocol::card::Strangers;
use kith_protocol::event::{HeldEnvelope, HeldKind};
use kith_protocol::ids::EnvelopeId;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::Disk;
use crate::blob::{BlobHash, INLINE_BYTES_MAX, Staged};
use crate::disk::SimulatedDisk;
use crate::repair::repair_on;
use crate::testing::{address, check, options, staged, store};
use crate::verify::Place;

fn permit(account: AccountId, token: u8) -> Permit {
    Permit {
        token: [token; 32],
        account,
        address: Some(address(2)),
        label: "bob".to_owned(),
        bytes: 1 << 30,
        count: 1000,
        largest: 1 << 20,
        queue: None,
        created_ms: 5,
    }
}

fn queue(number: u8) -> QueueName {
    QueueName([number; 16])
}

fn rules(number: u8) -> HostedQueue {
    HostedQueue {
        queue: queue(number),
        key: [number; 32],
        bytes: 1 << 30,
        count: 1000,
        largest: 1 << 20,
        strangers: Strangers::Work,
        tag: [3; 16],
        effort: 20,
        siblings: Arc::default(),
    }
}

fn held(number: u8, bytes: &Staged, kind: HeldKind) -> HeldEnvelope {
    let envelope = EnvelopeId(bytes.hash.0);
    HeldEnvelope { envelope, queue: queue(number), size: bytes.size, kind, since_ms: 11, acked_ms: None }
}

/// A letter of so many bytes.
fn letter(number: u8, size: u64) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap() ^ number).collect()
}

/// Hosts the queue and keeps a letter for it.
fn keep(store: &Store, number: u8, size: u64) -> EnvelopeId {
    let bytes = staged(store, &letter(number, size));
    let row = held(number, &bytes, HeldKind::Contact);
    let name = row.envelope;
    store
        .write(move |transaction| {
            transaction.host(&rules(number), None)?;
            transaction.hold(&row, &bytes, None)
        })
        .unwrap();
    name
}

#[test]
fn permit_is_the_first_queues_alone() {
    let (store, alice) = store();
    store.write(move |transaction| transaction.put_permit(&permit(alice, 7))).unwrap();
    let ask = |number, token: u8| store.write(move |transaction| transaction.host(&rules(number), Some(&[token; 32])));
    assert!(matches!(ask(1, 8), Err(StoreError::Invalid(_))));
    ask(1, 7).unwrap();
    ask(1, 7).unwrap();
    assert!(matches!(ask(2, 7), Err(StoreError::Invalid(_))));
    assert_eq!(store.hosted().unwrap(), [rules(1)]);
    store.write(|transaction| transaction.unhost(&queue(1))).unwrap();
    assert_eq!(store.permit(&[7; 32]).unwrap(), Some(Permit { queue: Some(queue(1)), ..permit(alice, 7) }));
    assert!(matches!(ask(2, 7), Err(StoreError::Invalid(_))));
    ask(1, 7).unwrap();
    check(&store);
}

#[test]
fn permits_are_bounded_and_go_with_who_gave_them() {
    let (store, alice) = store();
    let numbered = move |number: u16| {
        let mut permit = permit(alice, 0);
        permit.token[..2].copy_from_slice(&number.to_be_bytes());
        permit
    };
    store.write(move |transaction| (0..1024).try_for_each(|number| transaction.put_permit(&numbered(number)))).unwrap();
    let beyond = store.write(move |transaction| transaction.put_permit(&numbered(1024)));
    assert!(matches!(beyond, Err(StoreError::Invalid(_))));
    assert_eq!(store.permits().unwrap().len(), 1024);
    assert_eq!(store.write(move |transaction| transaction.remove_permit(&numbered(3).token)), Ok(true));
    assert_eq!(store.write(move |transaction| transaction.remove_permit(&numbered(3).token)), Ok(false));
    let long = Permit { label: "x".repeat(257), ..permit(alice, 1) };
    assert!(matches!(store.write(move |transaction| transaction.put_permit(&long)), Err(StoreError::Invalid(_))));
    keep(&store, 1, 100);
    store.remove_account(alice).unwrap();
    assert_eq!((store.permits().unwrap().len(), store.held().unwrap().len()), (0, 1));
    check(&store);
}

#[test]
fn letter_is_kept_until_it_is_forgotten() {
    let (store, _) = store();
    let name = keep(&store, 1, 3000);
    keep(&store, 1, 3000);
    for at_ms in [20, 30] {
        store.write(move |transaction| transaction.ack_held(&name, at_ms)).unwrap();
    }
    assert_eq!(store.held().unwrap().iter().map(|held| held.acked_ms).collect::<Vec<_>>(), [Some(20)]);
    assert_eq!(store.held_bytes(&name).unwrap(), HeldBytes::Inline(letter(1, 3000)));
    assert_eq!(store.held_range(&name, 100..300).unwrap(), letter(1, 3000)[100..300]);
    for range in [0..3001, 3001..3001, 0..HELD_RANGE_BYTES_MAX + 1] {
        assert!(matches!(store.held_range(&name, range), Err(StoreError::Invalid(_))));
    }
    check(&store);
    let report = store.verify(&mut |_| {}).unwrap();
    assert_eq!((report.held, report.blobs, report.bytes), (1, 1, 3000));
    store.write(move |transaction| transaction.forget_held(&[name, name])).unwrap();
    store.write(move |transaction| transaction.ack_held(&name, 40)).unwrap();
    assert_eq!(store.held_bytes(&name), Err(StoreError::NotFound("the letter")));
    assert_eq!(store.verify(&mut |_| {}).unwrap().blobs, 0);
}

#[test]
fn letter_for_nobody_here_is_refused_unless_volunteered() {
    let (store, _) = store();
    let bytes = staged(&store, b"a letter");
    let refused = held(1, &bytes, HeldKind::Stranger(20));
    let copy = bytes.clone();
    let outcome = store.write(move |transaction| transaction.hold(&refused, &copy, None));
    assert_eq!(outcome, Err(StoreError::NotFound("the mailbox")));
    let kept = held(1, &bytes, HeldKind::Volunteer(20));
    let other = HeldEnvelope { envelope: EnvelopeId([1; 32]), ..kept.clone() };
    let copy = bytes.clone();
    assert!(matches!(store.write(move |transaction| transaction.hold(&other, &copy, None)), Err(StoreError::Invalid(_))));
    store.write(move |transaction| transaction.hold(&kept, &bytes, None)).unwrap();
    check(&store);
}

#[test]
fn stamp_is_good_once_and_for_its_weeks() {
    let (store, _) = store();
    let (one, other) = ([1; 16], [2; 16]);
    let put = |week, part, marks: Vec<u8>| store.write(move |transaction| transaction.put_marks(&queue(1), week, part, &marks));
    assert_eq!(put(5, 0, one.to_vec()), Err(StoreError::NotFound("the mailbox")));
    store.write(|transaction| transaction.host(&rules(1), None)).unwrap();
    assert!(matches!(put(5, 0, vec![1; 17]), Err(StoreError::Invalid(_))));
    put(5, 0, one.to_vec()).unwrap();
    put(5, 1, other.to_vec()).unwrap();
    put(6, 0, one.to_vec()).unwrap();
    let found = |mark, week| store.has_mark(&queue(1), mark, week).unwrap();
    assert_eq!([3, 4, 5, 6, 7, 8].map(|week| found(&one, week)), [false, true, true, true, true, false]);
    assert!(!store.has_mark(&queue(2), &one, 5).unwrap());
    let bytes = staged(&store, b"a letter");
    let row = held(1, &bytes, HeldKind::Contact);
    store.write(move |transaction| transaction.hold(&row, &bytes, Some(&one))).unwrap();
    assert_eq!((found(&one, 5), found(&other, 5)), (false, true));
    put(5, 0, Vec::new()).unwrap();
    assert!(!found(&other, 5));
    check(&store);
}

#[test]
fn marks_are_bounded_by_week_and_weeks() {
    let (store, _) = store();
    store.write(|transaction| transaction.host(&rules(1), None)).unwrap();
    let many = |count: u32| -> Vec<u8> {
        (0..count).flat_map(|number| [number.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat()).collect()
    };
    let full = many(16_384);
    store.write(move |transaction| transaction.put_marks(&queue(1), 9, 0, &full)).unwrap();
    let beyond = store.write(|transaction| transaction.put_marks(&queue(1), 9, 1, &[255; 16]));
    assert!(matches!(beyond, Err(StoreError::Invalid(_))));
    for week in [20, 11, u32::MAX, 12, 13, 14, 15, 16, 17, 18] {
        store.write(move |transaction| transaction.put_marks(&queue(1), week, 0, &[4; 16])).unwrap();
    }
    let found = |mark, week| store.has_mark(&queue(1), mark, week).unwrap();
    assert_eq!((found(&[0; 16], 9), found(&[4; 16], 11), found(&[4; 16], u32::MAX)), (false, true, true));
    store.write(|transaction| transaction.unhost(&queue(1))).unwrap();
    assert!(!found(&[4; 16], 11));
    check(&store);
}

#[test]
fn newest_records_are_kept() {
    let (store, _) = store();
    let record = |number: u8| (ByteBuf::from(vec![number; 32]), ByteBuf::from(vec![number; 100]));
    let refused = store.write(move |transaction| transaction.put_kept_records(&queue(1), &[record(1)]));
    assert_eq!(refused, Err(StoreError::NotFound("the mailbox")));
    store.write(|transaction| transaction.host(&rules(1), None)).unwrap();
    for first in (1..=200).step_by(4) {
        let some: Vec<_> = (first..first + 4).map(record).collect();
        store.write(move |transaction| transaction.put_kept_records(&queue(1), &some)).unwrap();
    }
    store.write(move |transaction| transaction.put_kept_records(&queue(1), &[record(161), record(1)])).unwrap();
    let kept = store.kept_records().unwrap();
    assert_eq!(kept.len(), KEPT_RECORDS_MAX);
    assert_eq!(kept[0], (queue(1), vec![1; 32], vec![1; 100]));
    // 162 was put before 161 was put again, so it went.
    assert_eq!((kept[1].1[0], kept[2].1[0]), (161, 163));
    let short = (ByteBuf::from(vec![1; 31]), ByteBuf::new());
    let refused = store.write(move |transaction| transaction.put_kept_records(&queue(1), std::slice::from_ref(&short)));
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    check(&store);
    store.write(|transaction| transaction.unhost(&queue(1))).unwrap();
    assert_eq!(store.kept_records().unwrap(), []);
}

#[test]
fn received_file_becomes_a_kept_letter_and_a_file_to_send() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), options()).unwrap();
    store.write(|transaction| transaction.host(&rules(1), None)).unwrap();
    for size in [0, 100, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 300_000] {
        let received = store.spool().join("received");
        let stage = || {
            std::fs::write(&received, letter(1, size)).unwrap();
            let bytes = store.stage_file(&received).unwrap();
            assert!(!received.exists());
            bytes
        };
        let bytes = stage();
        assert_eq!((bytes.size, bytes.hash.0), (size, *blake3::hash(&letter(1, size)).as_bytes()));
        // The same bytes once more take the place of themselves.
        let again = stage();
        let row = held(1, &bytes, HeldKind::Contact);
        let name = row.envelope;
        store.write(move |transaction| transaction.hold(&row, &again, None)).unwrap();
        let file = store.held_export(&name, &store.spool().join("to-send")).unwrap();
        assert_eq!(file.starts_with(home.path().join("blobs")), size > INLINE_BYTES_MAX);
        assert_eq!(std::fs::read(file).unwrap(), letter(1, size));
    }
    check(&store);
    assert_eq!(std::fs::read_dir(home.path().join("staging")).unwrap().count(), 0);
    assert!(matches!(store.stage_file(&home.path().join("nothing")), Err(StoreError::NotFound(_))));
    assert!(matches!(store.stage_file(home.path()), Err(StoreError::NotFound(_))));
    store.write(|transaction| transaction.unhost(&queue(1))).unwrap();
    store.sweep().unwrap();
    let report = store.verify(&mut |_| {}).unwrap();
    assert_eq!((report.blobs, report.unmentioned), (0, 0));
}

#[test]
fn full_disk_refuses_letters_and_lets_them_go() {
    let disk = SimulatedDisk::default();
    let store = Store::open_on(Disk::Simulated(disk.clone()), options()).unwrap();
    let name = keep(&store, 1, 100);
    let bytes = staged(&store, b"another letter");
    let used: u64 = disk.paths().iter().map(|path| disk.contents(path).unwrap().len() as u64).sum();
    disk.set_capacity(Some(used + used / 64));
    let row = held(1, &bytes, HeldKind::Contact);
    assert_eq!(store.write(move |transaction| transaction.hold(&row, &bytes, None)), Err(StoreError::DiskFull));
    store.write(move |transaction| transaction.ack_held(&name, 1)).unwrap();
    store.write(move |transaction| transaction.forget_held(&[name])).unwrap();
    check(&store);
}

#[test]
fn repair_lets_letters_go_whose_bytes_are_damaged() {
    let disk = SimulatedDisk::default();
    let store = Store::open_on(Disk::Simulated(disk.clone()), options()).unwrap();
    let (lost, whole) = (keep(&store, 1, 100_000), keep(&store, 1, 200));
    store.close();
    let path = BlobHash(lost.0).path();
    disk.damage(&path, vec![7; 100_000]);
    let repaired = repair_on(&Disk::Simulated(disk.clone()), options(), &mut |_| {}).unwrap();
    assert!(repaired.report.is_sound() && repaired.held_lost == 1, "{repaired:#?}");
    let store = Store::open_on(Disk::Simulated(disk), options()).unwrap();
    assert_eq!(store.held().unwrap().iter().map(|held| held.envelope).collect::<Vec<_>>(), [whole]);
    assert_eq!(store.held_bytes(&whole).unwrap(), HeldBytes::Inline(letter(1, 200)));
}

#[test]
fn verify_tells_of_letters_and_stamps_that_belong_to_nobody() {
    let (store, _) = store();
    keep(&store, 1, 200);
    store
        .write(|transaction| {
            transaction.put_marks(&queue(1), 1, 0, &[1; 16])?;
            // As no call of the store does it.
            transaction.table(HOSTED)?.remove(queue(1).0).map(drop)?;
            transaction.mention_stored(&BlobHash(*blake3::hash(&letter(1, 200)).as_bytes()))
        })
        .unwrap();
    let report = store.verify(&mut |_| {}).unwrap();
    let places: Vec<_> = report.problems.iter().map(|problem| problem.place).collect();
    assert_eq!(places, [Place::Hosting, Place::Hosting, Place::View]);
}

#[derive(Clone, Debug)]
enum Step {
    Hold { queue: u8, letter: u8, large: bool, volunteer: bool },
    Ack(usize),
    Forget(usize, usize),
    Unhost(u8),
    Host(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let hold = (0..3_u8, 0..6_u8, proptest::bool::weighted(0.3), proptest::bool::weighted(0.2));
    let step = prop_oneof![
        4 => hold.prop_map(|(queue, letter, large, volunteer)| Step::Hold { queue, letter, large, volunteer }),
        1 => (0..8_usize).prop_map(Step::Ack),
        2 => (0..8_usize, 0..8_usize).prop_map(|(one, other)| Step::Forget(one, other)),
        1 => (0..3_u8).prop_map(Step::Unhost),
        2 => (0..3_u8).prop_map(Step::Host),
    ];
    proptest::collection::vec(step, 1..30)
}

fn take(store: &Store, step: Step) {
    let held_now: Vec<EnvelopeId> = store.held().unwrap().iter().map(|held| held.envelope).collect();
    let named = |index: usize| held_now.get(index).copied().unwrap_or(EnvelopeId([0; 32]));
    let outcome = match step {
        Step::Hold { queue, letter: number, large, volunteer } => {
            let bytes = staged(store, &letter(number, if large { INLINE_BYTES_MAX + 9 } else { 50 }));
            let row = held(queue, &bytes, if volunteer { HeldKind::Volunteer(7) } else { HeldKind::Contact });
            store.write(move |transaction| transaction.hold(&row, &bytes, None))
        }
        Step::Ack(index) => {
            let name = named(index);
            store.write(move |transaction| transaction.ack_held(&name, 9))
        }
        Step::Forget(one, other) => {
            let names = [named(one), named(other)];
            store.write(move |transaction| transaction.forget_held(&names))
        }
        Step::Unhost(number) => store.write(move |transaction| transaction.unhost(&queue(number))),
        Step::Host(number) => store.write(move |transaction| transaction.host(&rules(number), None)),
    };
    assert!(matches!(outcome, Ok(()) | Err(StoreError::NotFound("the mailbox"))), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_kept_and_forgotten_no_byte_is_lost_or_left(steps in steps()) {
        let disk = Disk::Simulated(SimulatedDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        for step in steps {
            take(&store, step);
            // What was refused was staged all the same, and files go after the answer.
            store.sweep().unwrap();
            let report = store.verify(&mut |_| {}).unwrap();
            prop_assert!(report.is_sound() && report.unmentioned == 0 && report.held == report.blobs, "{report:#?}");
            prop_assert_eq!(report.bytes, store.held().unwrap().iter().map(|held| held.size).sum::<u64>());
        }
        let before = store.held().unwrap();
        store.close();
        drop(store);
        let repaired = repair_on(&disk, options(), &mut |_| {}).unwrap();
        prop_assert!(repaired.report.is_sound() && repaired.held_lost == 0, "{repaired:#?}");
        let store = Store::open_on(disk, options()).unwrap();
        prop_assert_eq!(store.held().unwrap(), before.clone());
        let names: Vec<_> = before.iter().map(|held| held.envelope).collect();
        store.write(move |transaction| transaction.forget_held(&names)).unwrap();
        store.sweep().unwrap();
        let report = store.verify(&mut |_| {}).unwrap();
        prop_assert_eq!((report.is_sound(), report.blobs, report.unmentioned), (true, 0, 0));
    }
}
