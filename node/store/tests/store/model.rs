//! The mailbox against a reference of fifty lines: any sequence of what mail programs do, with restarts in between.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::disk::SimulatedDisk;
use kith_store::folder::{FlagChange, Flags, FolderId, Message, ModSeq, Uid};
use kith_store::header::Excerpt;
use kith_store::mailbox::{Gist, NewGist};
use kith_store::{Store, StoreError};
use proptest::prelude::*;

use crate::common::{ALICE, check, filing_of, open};

/// Folder names that operations choose from.
const NAMES: [&str; 5] = ["INBOX", "a", "a/b", "c", "c/d/e"];
const KEYWORDS: [&str; 3] = ["$label1", "NonJunk", "x"];

#[derive(Clone, Debug)]
enum Step {
    File(usize, u8),
    Flags(usize, (u32, u32), u8, u8, u8),
    Copy(usize, (u32, u32), usize),
    Move(usize, (u32, u32), usize),
    Expunge(usize),
    Remove(usize, (u32, u32)),
    Create(usize),
    Rename(usize, usize),
    Delete(usize),
    Keep(usize, u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let folder = || 0..NAMES.len();
    let range = || (1_u32..12, 0_u32..4).prop_map(|(first, more)| (first, first + more));
    let step = prop_oneof![
        6 => (folder(), any::<u8>()).prop_map(|(folder, byte)| Step::File(folder, byte % 8)),
        4 => (folder(), range(), 0_u8..3, 0_u8..32, 0_u8..8).prop_map(|(f, r, change, system, bits)| Step::Flags(f, r, change, system, bits)),
        2 => (folder(), range(), folder()).prop_map(|(from, range, to)| Step::Copy(from, range, to)),
        2 => (folder(), range(), folder()).prop_map(|(from, range, to)| Step::Move(from, range, to)),
        1 => folder().prop_map(Step::Expunge),
        2 => (folder(), range()).prop_map(|(folder, range)| Step::Remove(folder, range)),
        2 => folder().prop_map(Step::Create),
        1 => (folder(), folder()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => folder().prop_map(Step::Delete),
        2 => (folder(), 0_u8..8).prop_map(|(folder, kinds)| Step::Keep(folder, kinds)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a message is: its bytes, system flags, keywords.
type Mail = (Vec<u8>, u8, BTreeSet<String>);
/// A folder's messages by UID.
type View = BTreeMap<u32, Mail>;

/// The reference: a folder's next UID and messages; names are whatever the store says it has.
#[derive(Clone, Debug, Default)]
struct Reference {
    folders: BTreeMap<u64, (u32, View)>,
}

impl Reference {
    fn put(&mut self, folder: u64, mail: Mail) -> u32 {
        let (next, view) = self.folders.get_mut(&folder).unwrap();
        view.insert(*next, mail);
        *next += 1;
        *next - 1
    }

    fn range(&self, folder: u64, (first, last): (u32, u32)) -> Vec<(u32, Mail)> {
        self.folders[&folder].1.range(first..=last).map(|(uid, mail)| (*uid, mail.clone())).collect()
    }
}

/// A folder as the store tells it.
fn view(store: &Store, folder: FolderId) -> View {
    let mail = |message: &kith_store::folder::Message| {
        let keywords = message.flags.keywords.iter().map(ToString::to_string).collect();
        (store.blob_bytes(&message.hash, 100).unwrap(), message.flags.system, keywords)
    };
    let messages = store.messages(ALICE, folder, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    for (message, excerpt) in messages.iter().zip(store.excerpts(ALICE, &messages).unwrap()) {
        let bytes = store.blob_bytes(&message.hash, 100).unwrap();
        assert_eq!(excerpt, Excerpt::read(&mut &*bytes).unwrap());
    }
    gists_are_of_their_messages(store, &messages);
    messages.iter().map(|message| (message.uid.0, mail(message))).collect()
}

/// What a reader of mail might work out of a message.
fn gist(message: &Message, kind: Gist) -> NewGist {
    NewGist { account: ALICE, kind, record: message.record, bytes: [&message.hash.0[..], &[kind as u8]].concat().into() }
}

fn gists_are_of_their_messages(store: &Store, messages: &[Message]) {
    for kind in Gist::ALL {
        let gists = store.gists(ALICE, kind, messages).unwrap();
        for (index, message) in messages.iter().enumerate() {
            assert!(gists.find(index).is_none_or(|kept| *kept == *gist(message, kind).bytes));
        }
    }
}

fn id_of(store: &Store, name: usize) -> Option<FolderId> {
    let folder = store.folder_by_name(ALICE, NAMES[name]).unwrap()?;
    folder.selectable.then_some(folder.id)
}

fn perform(store: &mut Store, disk: &SimulatedDisk, model: &mut Reference, step: Step) {
    let ranges = |(first, last): (u32, u32)| vec![(Uid(first), Uid(last))];
    match step {
        Step::File(name, byte) => {
            let Some(id) = id_of(store, name) else { return };
            let bytes = format!("To: a{byte}@b\r\n").into_bytes();
            let uid = store.file(ALICE, id, vec![filing_of(store, &bytes)]).unwrap()[0].uid;
            assert_eq!(model.put(id.0, (bytes, 0, BTreeSet::new())), uid.0);
        }
        Step::Flags(name, range, change, system, bits) => {
            let Some(id) = id_of(store, name) else { return };
            let chosen: Vec<&str> = (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| KEYWORDS[bit]).collect();
            let flags = Flags { system, keywords: chosen.iter().map(|name| (*name).into()).collect() };
            let change = [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][usize::from(change)];
            store.change_flags(ALICE, id, ranges(range), change, flags, None).unwrap();
            for (_, (_, known, keywords)) in model.folders.get_mut(&id.0).unwrap().1.range_mut(range.0..=range.1) {
                let chosen = chosen.iter().map(ToString::to_string);
                match change {
                    FlagChange::Replace => (*known, *keywords) = (system, chosen.collect()),
                    FlagChange::Add => (*known |= system, keywords.extend(chosen)).1,
                    FlagChange::Remove => {
                        *known &= !system;
                        chosen.for_each(|name| drop(keywords.take(&name)));
                    }
                }
            }
        }
        Step::Copy(from, range, to) | Step::Move(from, range, to) => {
            let (Some(source), Some(target)) = (id_of(store, from), id_of(store, to)) else { return };
            let mails = model.range(source.0, range);
            let pairs = if matches!(step, Step::Copy(..)) {
                store.copy(ALICE, source, ranges(range), target).unwrap()
            } else {
                mails.iter().for_each(|(uid, _)| drop(model.folders.get_mut(&source.0).unwrap().1.remove(uid)));
                store.move_messages(ALICE, source, ranges(range), target).unwrap()
            };
            let expected: Vec<_> = mails.into_iter().map(|(uid, mail)| (Uid(uid), Uid(model.put(target.0, mail)))).collect();
            assert_eq!(pairs, expected);
        }
        Step::Expunge(name) => {
            let Some(id) = id_of(store, name) else { return };
            store.expunge(ALICE, id, None).unwrap();
            model.folders.get_mut(&id.0).unwrap().1.retain(|_, (_, system, _)| *system & Flags::DELETED == 0);
        }
        Step::Remove(name, range) => {
            let Some(id) = id_of(store, name) else { return };
            store.remove(ALICE, id, ranges(range)).unwrap();
            model.folders.get_mut(&id.0).unwrap().1.retain(|uid, _| !(range.0..=range.1).contains(uid));
        }
        Step::Create(name) => match store.create_folder(ALICE, NAMES[name], None) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => panic!("{error}"),
        },
        Step::Rename(from, to) => {
            let inbox = store.folder_by_name(ALICE, "INBOX").unwrap().unwrap().id;
            if store.rename_folder(ALICE, NAMES[from], NAMES[to]).is_ok() && NAMES[from] == "INBOX" {
                let mails = std::mem::take(&mut model.folders.get_mut(&inbox.0).unwrap().1);
                let target = id_of(store, to).unwrap();
                model.folders.entry(target.0).or_insert((1, View::new()));
                for mail in mails.into_values() {
                    model.put(target.0, mail);
                }
            }
        }
        Step::Delete(name) => {
            let id = id_of(store, name);
            if store.delete_folder(ALICE, NAMES[name]).is_ok()
                && let Some(id) = id
            {
                model.folders.get_mut(&id.0).unwrap().1.clear();
            }
        }
        Step::Keep(name, kinds) => {
            let Some(id) = id_of(store, name) else { return };
            let messages = store.messages(ALICE, id, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
            let wanted: Vec<Gist> = Gist::ALL.into_iter().filter(|kind| kinds >> (*kind as u8 - 1) & 1 == 1).collect();
            store.keep_gists(wanted.iter().flat_map(|kind| messages.iter().map(|message| gist(message, *kind))).collect());
            // The writer does one thing after the other.
            store.write(|_| Ok(())).unwrap();
            for kind in wanted {
                let gists = store.gists(ALICE, kind, &messages).unwrap();
                assert!((0..messages.len()).all(|index| gists.find(index).is_some()));
            }
        }
        Step::Reopen => {
            store.close();
            *store = open(disk);
        }
    }
    // Folders come and go by names; their messages are the reference's business.
    let there: BTreeSet<u64> = store.folders(ALICE).unwrap().iter().map(|folder| folder.id.0).collect();
    model.folders.retain(|id, _| there.contains(id));
    for id in there {
        model.folders.entry(id).or_insert((1, View::new()));
    }
}

/// A client that applies `changes` to what it knew then knows what there is.
fn catches_up(store: &Store, folder: FolderId, since: ModSeq, mut known: View, now: &View) {
    let changes = store.changes(ALICE, folder, since).unwrap();
    for message in &changes.changed {
        assert!(message.mod_seq > since && message.mod_seq <= changes.mod_seq);
        known.insert(message.uid.0, now[&message.uid.0].clone());
    }
    for uid in &changes.vanished {
        assert!(!now.contains_key(&uid.0));
        known.remove(&uid.0);
    }
    assert_eq!(&known, now);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn mailbox_does_what_the_reference_does(steps in steps()) {
        let disk = SimulatedDisk::new();
        let mut store = open(&disk);
        let mut model = Reference::default();
        store.create_folder(ALICE, "INBOX", None).unwrap();
        let mut validities: BTreeMap<u64, u32> = BTreeMap::new();
        let mut history: Vec<(FolderId, ModSeq, View)> = Vec::new();
        for step in std::iter::once(Step::Create(0)).chain(steps) {
            perform(&mut store, &disk, &mut model, step);
            for folder in store.folders(ALICE).unwrap() {
                let (next, expected) = &model.folders[&folder.id.0];
                let now = view(&store, folder.id);
                prop_assert_eq!(&now, expected);
                prop_assert_eq!(folder.uid_next.0, *next);
                prop_assert_eq!(folder.messages as usize, now.len());
                prop_assert_eq!(folder.unseen as usize, now.values().filter(|(_, system, _)| system & Flags::SEEN == 0).count());
                prop_assert_eq!(folder.bytes as usize, 10 * now.len());
                prop_assert_eq!(*validities.entry(folder.id.0).or_insert(folder.uid_validity), folder.uid_validity);
                for (_, since, known) in history.iter().filter(|(id, ..)| *id == folder.id) {
                    catches_up(&store, folder.id, *since, known.clone(), &now);
                }
                history.push((folder.id, folder.mod_seq, now));
            }
        }
        let distinct: BTreeSet<_> = validities.values().collect();
        prop_assert_eq!(distinct.len(), validities.len());
        check(&store);
    }
}
