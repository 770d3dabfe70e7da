//! The fold: an account's log → its folders, placements and flags.
//!
//! A folder is a tag; a message in a folder is one *dot* of that tag, an element of an observed-remove set. The dot is (folder id,
//! UID): both are given once and never again, so that a removal names exactly the additions that were observed, and putting
//! the message there again is a new dot. Flags are a set a dot, changed by what to add and what to remove. The same fold gives
//! the views of `kith repair` and what `kith verify` compares the tables with.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use crate::StoreError;
use crate::folder::Flags;
use crate::log::{Added, Created, Entry, Flagged, FolderChange, Removed, Tags};

/// An account's mailbox as its log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mailbox {
    /// By folder id.
    pub(crate) folders: BTreeMap<u64, FolderView>,
    /// Subscribed names.
    pub(crate) subscriptions: BTreeSet<String>,
    /// Offsets of `Store` entries that are there.
    pub(crate) records: BTreeMap<u64, Record>,
    /// Entries that make no sense after those before them, and why.
    pub(crate) contradictions: Vec<(u64, &'static str)>,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FolderView {
    pub(crate) name: String,
    pub(crate) uid_validity: u32,
    pub(crate) special: Option<u8>,
    pub(crate) selectable: bool,
    /// The highest UID ever given, 0 for none.
    pub(crate) uid_last: u32,
    pub(crate) mod_seq: u64,
    /// The dots, by UID.
    pub(crate) placements: BTreeMap<u32, Dot>,
    /// UID → MODSEQ at which it went.
    pub(crate) vanished: BTreeMap<u32, u64>,
}

/// A message in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dot {
    pub(crate) record: u64,
    pub(crate) mod_seq: u64,
    pub(crate) saved: i64,
    pub(crate) system: u8,
    pub(crate) keywords: BTreeSet<String>,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) hash: [u8; 32],
    pub(crate) size: u64,
    pub(crate) date: i64,
    pub(crate) zone: i16,
    /// Dots that it has.
    pub(crate) placements: u32,
}

/// A log, folded.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub(crate) mailbox: Mailbox,
    /// Entries read, and the offset of the last.
    pub(crate) entries: u64,
    pub(crate) last: u64,
    /// Offsets of entries that do not decode; they are left out.
    pub(crate) damaged: Vec<u64>,
}

/// Folds an account's log.
pub(crate) fn fold(log: &impl ReadableTable<(u32, u64), &'static [u8]>, account: u32) -> Result<Fold, StoreError> {
    let mut fold = Fold::default();
    for row in log.range((account, 0)..=(account, u64::MAX))? {
        let (key, value) = row?;
        let offset = key.value().1;
        match Entry::decode(account, offset, value.value()) {
            Ok(entry) => fold.mailbox.apply(offset, &entry),
            Err(_) => fold.damaged.push(offset),
        }
        fold.entries += 1;
        fold.last = offset;
    }
    Ok(fold)
}

impl Mailbox {
    /// What an entry changes.
    pub(crate) fn apply(&mut self, offset: u64, entry: &Entry) {
        match entry {
            Entry::Store(arrival) => {
                let record =
                    Record { hash: arrival.hash, size: arrival.size, date: arrival.date, zone: arrival.zone, placements: 0 };
                self.records.insert(offset, record);
                let added = Added {
                    record: offset,
                    folder: arrival.folder,
                    uid: arrival.uid,
                    system: arrival.system,
                    keywords: arrival.keywords.clone(),
                };
                self.add(offset, arrival.clock, &added);
            }
            Entry::Send(_) => {}
            Entry::Tags(Tags { clock, added, flagged, removed }) => {
                for added in added {
                    self.add(offset, *clock, added);
                }
                if let Some(flagged) = flagged {
                    self.flag(offset, flagged);
                }
                if let Some(removed) = removed {
                    self.remove(offset, removed);
                }
            }
            Entry::Folder(change) => self.change_folder(offset, change),
            Entry::Scrub(offsets) => {
                for gone in offsets {
                    if self.records.remove(gone).is_some_and(|record| record.placements > 0) {
                        self.contradictions.push((offset, "scrubs a message that a folder still shows"));
                    }
                }
            }
        }
    }

    fn add(&mut self, offset: u64, clock: i64, added: &Added) {
        let Some(folder) = self.folders.get_mut(&added.folder) else {
            self.contradictions.push((offset, "fills a folder that is not there"));
            return;
        };
        folder.uid_last = folder.uid_last.max(added.uid);
        folder.mod_seq = offset;
        let Some(record) = self.records.get_mut(&added.record) else {
            // Its message was scrubbed later, hence the dot removed later: the removal tells the UID again.
            return;
        };
        record.placements += 1;
        folder.placements.insert(
            added.uid,
            Dot {
                record: added.record,
                mod_seq: offset,
                saved: clock,
                system: added.system,
                keywords: added.keywords.iter().cloned().collect(),
            },
        );
    }

    fn flag(&mut self, offset: u64, flagged: &Flagged) {
        let Some(folder) = self.folders.get_mut(&flagged.folder) else {
            self.contradictions.push((offset, "flags in a folder that is not there"));
            return;
        };
        folder.mod_seq = offset;
        for (first, last) in &flagged.uids {
            for (_, dot) in folder.placements.range_mut(first..=last) {
                dot.mod_seq = offset;
                dot.system = (dot.system | flagged.set) & !flagged.clear;
                dot.keywords.retain(|keyword| !flagged.remove.contains(keyword));
                dot.keywords.extend(flagged.add.iter().cloned());
            }
        }
    }

    fn remove(&mut self, offset: u64, removed: &Removed) {
        let Some(folder) = self.folders.get_mut(&removed.folder) else {
            self.contradictions.push((offset, "empties a folder that is not there"));
            return;
        };
        folder.mod_seq = offset;
        for (first, last) in &removed.uids {
            folder.uid_last = folder.uid_last.max(*last);
            for uid in *first..=*last {
                if let Some(dot) = folder.placements.remove(&uid)
                    && let Some(record) = self.records.get_mut(&dot.record)
                {
                    record.placements -= 1;
                }
                folder.vanished.insert(uid, offset);
            }
        }
    }

    fn change_folder(&mut self, offset: u64, change: &FolderChange) {
        match change {
            FolderChange::Created(Created { id, name, uid_validity, special, selectable }) => {
                let view = FolderView {
                    name: name.clone(),
                    uid_validity: *uid_validity,
                    special: *special,
                    selectable: *selectable,
                    uid_last: 0,
                    mod_seq: offset,
                    placements: BTreeMap::new(),
                    vanished: BTreeMap::new(),
                };
                self.folders.insert(*id, view);
            }
            FolderChange::Renamed(id, name) => {
                if let Some(folder) = self.folders.get_mut(id) {
                    folder.name.clone_from(name);
                }
            }
            FolderChange::Selectable(id, selectable) => {
                if let Some(folder) = self.folders.get_mut(id) {
                    folder.selectable = *selectable;
                }
            }
            FolderChange::Deleted(id) => {
                if self.folders.remove(id).is_some_and(|folder| !folder.placements.is_empty()) {
                    self.contradictions.push((offset, "deletes a folder that is not empty"));
                }
            }
            FolderChange::Subscribed(name, true) => {
                self.subscriptions.insert(name.clone());
            }
            FolderChange::Subscribed(name, false) => {
                self.subscriptions.remove(name);
            }
        }
    }
}

impl FolderView {
    /// (messages, of these unseen, their bytes)
    pub(crate) fn counts(&self, records: &BTreeMap<u64, Record>) -> (u32, u32, u64) {
        let unseen = self.placements.values().filter(|dot| dot.system & Flags::SEEN == 0).count();
        let bytes = self.placements.values().filter_map(|dot| records.get(&dot.record)).map(|record| record.size).sum();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (count(self.placements.len()), count(unseen), bytes)
    }
}
