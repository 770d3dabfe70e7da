//! P1: whatever was acknowledged is there after a power failure, at every moment and whatever the disk made of unsynced writes.

use std::collections::BTreeMap;

use kith_protocol::ids::EntryId;
use kith_store::Store;
use kith_store::disk::{Crash, SimulatedDisk};
use kith_store::folder::{FlagChange, Flags, FolderId, Message, Uid, Use};
use kith_store::mailbox::{Gist, NewGist};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::common::{ALICE, check, filing_of, open, open_disk, submission_of};

/// What the store must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    /// (folder, UID) → (bytes, flags).
    mailbox: BTreeMap<(u64, u32), (Vec<u8>, u8)>,
    /// Queue entry → bytes.
    queue: BTreeMap<u64, Vec<u8>>,
}

/// One step of a person's day; the model follows when it has been acknowledged.
fn step(store: &Store, folders: &[FolderId], model: &mut Model, rng: &mut ChaCha8Rng) {
    let folder = folders[rng.random_range(0..folders.len())];
    if rng.random_range(0..8) == 0 {
        return keep_gists(store, folder, rng);
    }
    if rng.random_range(0..3) == 0 {
        return step_of_the_queue(store, model, rng);
    }
    let model = &mut model.mailbox;
    let known: Vec<u32> = model.keys().filter(|(id, _)| *id == folder.0).map(|(_, uid)| *uid).collect();
    let pick = known.get(rng.random_range(0..known.len().max(1))).copied();
    match (rng.random_range(0..10), pick) {
        (0..=4, _) | (_, None) => {
            let size = if rng.random_range(0..12) == 0 { 70_000 } else { rng.random_range(1..9_000) };
            let mut bytes = vec![0; size];
            rng.fill_bytes(&mut bytes);
            let message = store.file(ALICE, folder, vec![filing_of(store, &bytes)]).unwrap().remove(0);
            model.insert((folder.0, message.uid.0), (bytes, 0));
        }
        (5 | 6, Some(uid)) => {
            let flags = Flags { system: Flags::SEEN, keywords: vec!["$label1".into()] };
            store.change_flags(ALICE, folder, vec![(Uid(uid), Uid(uid))], FlagChange::Add, flags, None).unwrap();
            model.get_mut(&(folder.0, uid)).unwrap().1 |= Flags::SEEN;
        }
        (7, Some(uid)) => {
            let to = folders[rng.random_range(0..folders.len())];
            let pairs = store.move_messages(ALICE, folder, vec![(Uid(uid), Uid(uid))], to).unwrap();
            let moved = model.remove(&(folder.0, uid)).unwrap();
            model.insert((to.0, pairs[0].1.0), moved);
        }
        (8, Some(uid)) => {
            let to = folders[rng.random_range(0..folders.len())];
            let pairs = store.copy(ALICE, folder, vec![(Uid(uid), Uid(uid))], to).unwrap();
            let copied = model[&(folder.0, uid)].clone();
            model.insert((to.0, pairs[0].1.0), copied);
        }
        (_, Some(uid)) => {
            store.remove(ALICE, folder, vec![(Uid(uid), Uid(uid))]).unwrap();
            model.remove(&(folder.0, uid));
        }
    }
}

/// What a reader of mail might work out of a message.
fn gist(message: &Message, kind: Gist) -> NewGist {
    NewGist { account: ALICE, kind, record: message.record, bytes: message.hash.0.into() }
}

/// Somebody reads the folder: what is worked out is kept sooner or later, and changes nothing that anybody sees.
fn keep_gists(store: &Store, folder: FolderId, rng: &mut ChaCha8Rng) {
    let messages = store.messages(ALICE, folder, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    let kind = Gist::ALL[rng.random_range(0..Gist::ALL.len())];
    store.keep_gists(messages.iter().map(|message| gist(message, kind)).collect());
    // The writer does one thing after the other.
    store.write(|_| Ok(())).unwrap();
}

/// A mail is submitted, or one of the queue meets its fate.
fn step_of_the_queue(store: &Store, model: &mut Model, rng: &mut ChaCha8Rng) {
    let oldest = model.queue.keys().next().copied();
    if let (Some(id), 0) = (oldest, rng.random_range(0..3)) {
        store.write(move |transaction| transaction.remove_entry(EntryId(id))).unwrap();
        model.queue.remove(&id);
        return;
    }
    let mut bytes = vec![0; if rng.random_range(0..8) == 0 { 70_000 } else { 4_000 }];
    rng.fill_bytes(&mut bytes);
    let ids = store.submit(submission_of(store, &bytes)).unwrap();
    model.queue.insert(ids[0].0, bytes);
}

/// The whole store as it tells it.
fn contents(store: &Store) -> Model {
    let mut model = Model::default();
    for entry in store.queue().unwrap() {
        model.queue.insert(entry.id.0, store.blob_bytes(&entry.blob.unwrap().0, u64::MAX).unwrap());
    }
    for folder in store.folders(ALICE).unwrap() {
        for message in store.messages(ALICE, folder.id, Uid(1), Uid(u32::MAX), usize::MAX).unwrap() {
            let bytes = store.blob_bytes(&message.hash, u64::MAX).unwrap();
            for kind in Gist::ALL {
                let gists = store.gists(ALICE, kind, std::slice::from_ref(&message)).unwrap();
                assert!(gists.find(0).is_none_or(|kept| *kept == *gist(&message, kind).bytes));
            }
            model.mailbox.insert((folder.id.0, message.uid.0), (bytes, message.flags.system));
        }
    }
    model
}

/// Runs workloads, crashes at every recorded change, and checks that each image holds the last acknowledged state or the next one.
fn crash_everywhere(seed: u64, images_wanted: usize, steps: usize) {
    let (mut images, mut small) = (0, false);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    while images < images_wanted {
        let disk = SimulatedDisk::new();
        // On every other disk, a small one, the journal is so short that it begins anew now and then.
        small = !small;
        disk.set_capacity(small.then_some(8 << 20));
        let store = open(&disk);
        let folders = vec![
            store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id,
            store.create_folder(ALICE, "Archive", Some(Use::Archive)).unwrap().id,
        ];
        let replay = disk.fork();
        disk.record();
        let mut model = Model::default();
        // states[i]: (changes recorded when it was acknowledged, what it holds)
        let mut states = vec![(0, model.clone())];
        for _ in 0..steps {
            step(&store, &folders, &mut model, &mut rng);
            states.push((disk.recorded(), model.clone()));
        }
        let record = disk.take_record();
        drop(store);
        for (index, operation) in record.iter().enumerate() {
            replay.apply(operation);
            let how = [Crash::Kept, Crash::Lost, Crash::Subset, Crash::Torn][rng.random_range(0..4)];
            let image = replay.crash(how, &mut |bound| rng.random_range(0..bound));
            image.record();
            let store = open_disk(&image).unwrap_or_else(|error| panic!("seed {seed} image {images} {how:?}: {error}"));
            let acknowledged = states.iter().rposition(|(at, _)| *at <= index + 1).unwrap();
            let found = contents(&store);
            let allowed = states[acknowledged..].iter().take(2).any(|(_, state)| *state == found);
            assert!(allowed, "seed {seed} image {images} {how:?}: neither the acknowledged state nor the next one");
            if rng.random_range(0..8) == 0 {
                check(&store);
                let _ = store.sweep().unwrap();
            }
            // A second crash, in the middle of the recovery or just after it.
            if rng.random_range(0..8) == 0 {
                let again = image.crash(Crash::Torn, &mut |bound| rng.random_range(0..bound));
                drop(store);
                assert_eq!(contents(&open(&again)), found, "seed {seed} image {images}: the second crash");
            }
            images += 1;
        }
    }
}

#[test]
fn acknowledged_changes_survive_a_power_failure_at_any_moment() {
    crash_everywhere(1, 5_000, 40);
}

#[test]
#[ignore = "the long form of the test above: minutes"]
fn acknowledged_changes_survive_a_million_power_failures() {
    for seed in 100..300 {
        crash_everywhere(seed, 5_000, 40);
    }
}

#[test]
fn power_failure_while_the_store_is_made_leaves_a_store_or_none() {
    let disk = SimulatedDisk::new();
    let replay = disk.fork();
    disk.record();
    drop(open(&disk));
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for operation in disk.take_record() {
        replay.apply(&operation);
        for how in [Crash::Kept, Crash::Lost, Crash::Subset, Crash::Torn] {
            let image = replay.crash(how, &mut |bound| rng.random_range(0..bound));
            check(&open(&image));
        }
    }
}
