//! P8: a damaged database is detected, never served; the rest is saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_protocol::card::Strangers;
use kith_protocol::event::{HeldEnvelope, HeldKind, HostedQueue};
use kith_protocol::ids::{EnvelopeId, QueueName};
use kith_store::disk::SimulatedDisk;
use kith_store::folder::{FlagChange, Flags, Message, Uid};
use kith_store::header::Excerpt;
use kith_store::mailbox::{Gist, NewGist};
use kith_store::repair::repair_on;
use kith_store::{Disk, OpenError, Store, StoreError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;

use crate::common::{ALICE, check, filing_of, open, open_disk, options, somebody, submission_of};

const DATABASE: &str = "store.redb";
const PAGE: usize = 4096;

/// (folder id, UID) → (hash, system flags).
type Contents = BTreeMap<(u64, u32), (Vec<u8>, u8)>;

/// A closed store with some hundred mails, a few of them large.
fn sample() -> (SimulatedDisk, Contents) {
    let disk = SimulatedDisk::new();
    let store = open(&disk);
    assert_eq!(store.add_account("alice", somebody(), b"a long password").unwrap().id, ALICE);
    let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
    let archive = store.folder_by_name(ALICE, "Archive").unwrap().unwrap().id;
    let mut filings = Vec::new();
    for number in 0_u32..120 {
        let size = if number % 40 == 0 { 70_000 } else { 300 + 40 * number as usize };
        let text = format!("Subject: {number}\r\n\r\n").into_bytes();
        let text: Vec<u8> = text.into_iter().chain(number.to_le_bytes().into_iter().cycle()).take(size).collect();
        filings.push(filing_of(&store, &text));
    }
    store.file(ALICE, inbox, filings).unwrap();
    let range = |from, to| vec![(Uid(from), Uid(to))];
    let flags = Flags { system: Flags::SEEN, keywords: vec!["$label1".into()] };
    store.change_flags(ALICE, inbox, range(10, 50), FlagChange::Add, flags, None).unwrap();
    store.copy(ALICE, inbox, range(20, 30), archive).unwrap();
    store.remove(ALICE, inbox, range(25, 35)).unwrap();
    store.submit(submission_of(&store, b"to be sent")).unwrap();
    store.write(|transaction| transaction.put_secret("node/peer", b"hidden")).unwrap();
    keep_for_others(&store);
    for folder in [inbox, archive] {
        let messages = store.messages(ALICE, folder, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
        store.keep_gists(Gist::ALL.iter().flat_map(|kind| messages.iter().map(|message| gist(message, *kind))).collect());
    }
    check(&store);
    let contents = read(&store).unwrap();
    store.close();
    (disk, contents)
}

/// What a reader of mail might work out of a message.
fn gist(message: &Message, kind: Gist) -> NewGist {
    NewGist { account: ALICE, kind, record: message.record, bytes: message.hash.0.repeat(usize::from(kind as u8)).into() }
}

/// How many are kept of all messages.
fn kept_gists(store: &Store) -> usize {
    let messages = store.folders(ALICE).unwrap().into_iter();
    let messages = messages.flat_map(|folder| store.messages(ALICE, folder.id, Uid(1), Uid(u32::MAX), usize::MAX).unwrap());
    let messages: Vec<_> = messages.collect();
    let found = |kind| store.gists(ALICE, kind, &messages).unwrap();
    Gist::ALL.into_iter().map(|kind| (0..messages.len()).filter(|index| found(kind).find(*index).is_some()).count()).sum()
}

/// Hosts a mailbox and keeps a small and a large letter for it.
fn keep_for_others(store: &Store) {
    let queue = QueueName([5; 16]);
    let rules = HostedQueue {
        queue,
        key: [5; 32],
        bytes: 1 << 30,
        count: 1000,
        largest: 1 << 20,
        strangers: Strangers::Welcome,
        tag: [0; 16],
        effort: 0,
        siblings: Arc::default(),
    };
    let letters = [filing_of(store, &[5; 700]).blob, filing_of(store, &[6; 70_000]).blob];
    store
        .write(move |transaction| {
            transaction.host(&rules, None)?;
            transaction.put_marks(&queue, 7, 0, &[3; 16])?;
            transaction.put_kept_records(&queue, &[(ByteBuf::from(vec![8; 32]), ByteBuf::from(vec![9; 500]))])?;
            for letter in &letters {
                let envelope = EnvelopeId(letter.hash.0);
                let kind = HeldKind::Stranger(20);
                let held = HeldEnvelope { envelope, queue, size: letter.size, kind, since_ms: 1, acked_ms: None };
                transaction.hold(&held, letter, None)?;
                transaction.remember_seen(&envelope, 7)?;
            }
            transaction.accept(ALICE, &somebody())
        })
        .unwrap();
}

/// Everything that is kept for others.
fn kept(store: &Store) -> (Vec<HostedQueue>, Vec<HeldEnvelope>, Vec<EnvelopeId>, usize, usize) {
    let (records, accepted) = (store.kept_records().unwrap().len(), store.accepted().unwrap().len());
    (store.hosted().unwrap(), store.held().unwrap(), store.seen().unwrap(), records, accepted)
}

/// Everything, or the first error.
fn read(store: &Store) -> Result<Contents, StoreError> {
    let mut contents = Contents::new();
    for folder in store.folders(ALICE)? {
        for message in store.messages(ALICE, folder.id, Uid(1), Uid(u32::MAX), usize::MAX)? {
            let bytes = store.blob_bytes(&message.hash, u64::MAX)?;
            contents.insert((folder.id.0, message.uid.0), (bytes, message.flags.system));
        }
        store.changes(ALICE, folder.id, kith_store::folder::ModSeq(0))?;
    }
    Ok(contents)
}

/// Whatever a damaged store hands out one by one is right.
fn nothing_wrong_is_served(store: &Store, truth: &Contents) {
    let Ok(folders) = store.folders(ALICE) else { return };
    for folder in folders {
        for uid in 1..=120 {
            let Ok(messages) = store.messages(ALICE, folder.id, Uid(uid), Uid(uid), 1) else { continue };
            for message in messages {
                let (bytes, system) = &truth[&(folder.id.0, message.uid.0)];
                assert_eq!(message.flags.system, *system);
                for excerpt in store.excerpts(ALICE, std::slice::from_ref(&message)).unwrap_or_default() {
                    assert!(excerpt == Excerpt::default() || excerpt == Excerpt::read(&mut &**bytes).unwrap());
                }
                for kind in Gist::ALL {
                    let gists = store.gists(ALICE, kind, std::slice::from_ref(&message)).unwrap_or_default();
                    assert!(gists.find(0).is_none_or(|kept| *kept == *gist(&message, kind).bytes));
                }
                if let Ok(served) = store.blob_bytes(&message.hash, u64::MAX) {
                    assert_eq!(&served, bytes);
                }
            }
        }
    }
}

/// Opens a damaged image and uses it; true if the damage showed.
fn damage_shows(disk: &SimulatedDisk, truth: &Contents) -> bool {
    let store = match open_disk(disk) {
        Ok(store) => store,
        Err(OpenError::Damaged { .. } | OpenError::Io { .. } | OpenError::Newer { .. }) => return true,
        Err(other) => panic!("{other}"),
    };
    nothing_wrong_is_served(&store, truth);
    let read = read(&store);
    let report = store.verify(&mut |_| {});
    let sound = report.as_ref().is_ok_and(kith_store::verify::Report::is_sound);
    if let Ok(contents) = &read
        && contents != truth
    {
        assert!(!sound, "something is missing and nobody says so");
    }
    // Writing into a damaged store may fail; it must not bring anything down.
    let _ = store.create_folder(ALICE, "new", None);
    read.is_err() || !sound
}

#[test]
fn no_flipped_bit_makes_the_store_serve_a_wrong_mail() {
    let (disk, truth) = sample();
    let bytes = disk.contents(DATABASE).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut shown = 0;
    for page in 0..bytes.len() / PAGE {
        let image = disk.fork();
        let mut damaged = bytes.clone();
        damaged[page * PAGE + rng.random_range(0..PAGE)] ^= 1 << rng.random_range(0..8);
        image.damage(DATABASE, damaged);
        shown += usize::from(damage_shows(&image, &truth));
    }
    assert!(shown > 0);
}

#[test]
fn no_truncation_makes_the_store_serve_a_wrong_mail() {
    let (disk, truth) = sample();
    let bytes = disk.contents(DATABASE).unwrap();
    for page in 0..bytes.len() / PAGE {
        let image = disk.fork();
        image.damage(DATABASE, bytes[..page * PAGE].to_vec());
        damage_shows(&image, &truth);
    }
}

#[test]
fn damaged_blob_file_is_not_served() {
    let (disk, _) = sample();
    for path in disk.paths().into_iter().filter(|path| path.starts_with("blobs/")) {
        let image = disk.fork();
        let mut bytes = image.contents(&path).unwrap();
        bytes[40_000] ^= 4;
        image.damage(&path, bytes);
        let store = open(&image);
        let held = store.held().unwrap().into_iter().map(|held| store.held_bytes(&held.envelope));
        let served = read(&store).map(drop).and_then(|()| held.collect::<Result<Vec<_>, _>>().map(drop));
        assert!(matches!(served, Err(StoreError::Damaged(_))));
        assert_eq!(store.verify(&mut |_| {}).unwrap().problems.len(), 1);
    }
}

#[test]
fn repair_of_a_sound_store_changes_nothing_a_person_sees() {
    let (disk, truth) = sample();
    let before = kept(&open(&disk));
    assert_eq!(kept_gists(&open(&disk)), Gist::ALL.len() * truth.len());
    assert_eq!((before.0.len(), before.1.len(), before.2.len(), before.3, before.4), (1, 2, 2, 1, 1));
    let repaired = repair_on(&Disk::Simulated(disk.clone()), options(), &mut |_| {}).unwrap();
    assert!(repaired.report.is_sound(), "{repaired:#?}");
    assert_eq!((repaired.entries_lost, repaired.told_again, repaired.messages_lost), (0, 0, 0));
    assert_eq!((repaired.queued_lost, repaired.held_lost), (0, 0));
    let store = open(&disk);
    assert_eq!(read(&store).unwrap(), truth);
    assert_eq!(kept(&store), before);
    // They can be worked out again, and are.
    assert_eq!(kept_gists(&store), 0);
    assert!(store.has_mark(&QueueName([5; 16]), &[3; 16], 7).unwrap());
    check(&store);
}

#[test]
fn repair_saves_the_rest_of_a_damaged_store() {
    let (disk, truth) = sample();
    let bytes = disk.contents(DATABASE).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (mut tried, mut hopeless, mut saved) = (0, 0, 0);
    for page in 0..bytes.len() / PAGE {
        let image = disk.fork();
        let mut damaged = bytes.clone();
        damaged[page * PAGE + rng.random_range(0..PAGE)] ^= 1 << rng.random_range(0..8);
        image.damage(DATABASE, damaged);
        if !damage_shows(&image.fork(), &truth) {
            continue;
        }
        tried += 1;
        let Ok(repaired) = repair_on(&Disk::Simulated(image.clone()), options(), &mut |_| {}) else {
            // What cannot even be opened stays where it was, for a backup to replace.
            assert!(image.contents(DATABASE).is_some());
            hopeless += 1;
            continue;
        };
        assert!(repaired.report.is_sound(), "page {page}: {repaired:#?}");
        let store = open(&image);
        let contents = read(&store).unwrap();
        saved += contents.keys().filter(|key| truth.contains_key(key)).count();
        for (key, (bytes, _)) in &contents {
            if let Some((known, _)) = truth.get(key) {
                assert_eq!(bytes, known, "page {page}");
            }
        }
        check(&store);
    }
    let share = saved * 100 / ((tried - hopeless) * truth.len());
    assert!(hopeless * 10 <= tried && share >= 90, "{hopeless} of {tried}, {share} %");
}
