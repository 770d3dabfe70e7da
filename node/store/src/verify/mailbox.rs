//! One account's views, compared with what its log says.

use std::collections::{BTreeMap, BTreeSet};

use kith_protocol::ids::AccountId;

use super::{Check, Place};
use crate::StoreError;
use crate::folder::{FolderRow, Placement};
use crate::mailbox::excerpts::decode;
use crate::mailbox::gists::is_sound;
use crate::mailbox::{CHANGED, Keywords, VANISHED};
use crate::schema::{CHANGES, COPIES, EXCERPTS, FOLDER_NAMES, FOLDERS, GISTS, HISTORY, LOG, LOG_END, PLACEMENTS, SUBSCRIPTIONS};
use crate::store::Reader;
use crate::tags::{Fold, Mailbox, fold};

impl Check<'_> {
    pub(super) fn mailbox(&mut self, reader: &Reader, account: u32) -> Result<(), StoreError> {
        let Fold { mailbox, entries, last, damaged } = fold(&reader.table(LOG)?, account)?;
        self.report.entries += entries;
        self.step(entries);
        for offset in damaged {
            self.report.problem(Place::Log, format!("entry {offset} of account {account} is damaged"));
        }
        let end = reader.table(LOG_END)?.get(account)?.map_or(1, |row| row.value());
        if end <= last {
            self.report.problem(Place::Log, format!("the log of account {account} is longer than its end says"));
        }
        for (offset, why) in &mailbox.contradictions {
            self.report.problem(Place::Log, format!("entry {offset} of account {account} {why}"));
        }
        for (offset, record) in &mailbox.records {
            *self.mentions.entry(record.hash).or_default() += 1;
            if record.placements == 0 {
                self.report
                    .problem(Place::Log, format!("message {offset} of account {account} is in no folder and was not scrubbed"));
            }
        }
        self.folders(reader, account, &mailbox)?;
        self.names(reader, account, &mailbox)?;
        self.placements(reader, account, &mailbox)?;
        self.changes(reader, account, &mailbox)?;
        self.copies(reader, account, &mailbox)?;
        self.excerpts(reader, account, &mailbox)?;
        self.gists(reader, account, &mailbox)
    }

    /// Those that are there: each belongs to a message and can be read. What they say is compared when the message is.
    fn excerpts(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut wrong = 0_u64;
        for row in reader.table(EXCERPTS)?.range((account, 0)..=(account, u64::MAX))? {
            let (key, value) = row?;
            let key = key.value();
            let holds = match (mailbox.records.get(&key.1), decode(key, value.value())) {
                (Some(record), Some(excerpt)) => {
                    let said = *blake3::hash(&excerpt.encode()).as_bytes();
                    *self.excerpts.entry(record.hash).or_insert(said) == said
                }
                _ => false,
            };
            wrong += u64::from(!holds);
        }
        if wrong > 0 {
            let text = format!("account {account}: {wrong} excerpts are damaged, or of no message, or contradict each other");
            self.report.problem(Place::View, text);
        }
        Ok(())
    }

    /// Those that are there: each belongs to a message and can be read. What they say is for those who made them.
    fn gists(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut wrong = 0_u64;
        for row in reader.table(GISTS)?.range((account, 0, 0)..=(account, u8::MAX, u64::MAX))? {
            let (key, value) = row?;
            let key = key.value();
            wrong += u64::from(!mailbox.records.contains_key(&key.2) || !is_sound(key, value.value()));
        }
        if wrong > 0 {
            self.report.problem(Place::View, format!("account {account}: {wrong} gists are damaged, or of no message"));
        }
        Ok(())
    }

    fn folders(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut missing: BTreeSet<_> = mailbox.folders.keys().copied().collect();
        for row in reader.table(FOLDERS)?.range((account, 0)..=(account, u64::MAX))? {
            let (key, value) = row?;
            let id = key.value().1;
            self.report.folders += 1;
            missing.remove(&id);
            let (Ok(row), Some(view)) = (FolderRow::decode(account, id, value.value()), mailbox.folders.get(&id)) else {
                self.report.problem(Place::View, format!("folder {id} of account {account} is damaged, or not in the log"));
                continue;
            };
            let (messages, unseen, bytes) = view.counts(&mailbox.records);
            let expected = FolderRow {
                name: view.name.clone(),
                uid_validity: view.uid_validity,
                uid_next: view.uid_last.saturating_add(1),
                mod_seq: view.mod_seq,
                messages,
                unseen,
                bytes,
                recent_from: row.recent_from.min(view.uid_last.saturating_add(1)),
                special: view.special,
                selectable: view.selectable,
            };
            if row != expected {
                self.report.problem(Place::View, format!("folder {id} of account {account} does not say what the log says"));
            }
        }
        for id in missing {
            self.report.problem(Place::View, format!("folder {id} of account {account} is missing"));
        }
        Ok(())
    }

    fn names(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut names = BTreeMap::new();
        for row in reader.table(FOLDER_NAMES)?.range((account, "")..)? {
            let (key, id) = row?;
            let (owner, name) = key.value();
            if owner != account {
                break;
            }
            names.insert(name.to_owned(), id.value());
        }
        let expected: BTreeMap<_, _> = mailbox.folders.iter().map(|(id, view)| (view.name.clone(), *id)).collect();
        if names != expected {
            self.report.problem(Place::View, format!("the folders' names of account {account} are not those of the log"));
        }
        let mut subscriptions = BTreeSet::new();
        for row in reader.table(SUBSCRIPTIONS)?.range((account, "")..)? {
            let (key, _) = row?;
            let (owner, name) = key.value();
            if owner != account {
                break;
            }
            subscriptions.insert(name.to_owned());
        }
        if subscriptions != mailbox.subscriptions {
            self.report.problem(Place::View, format!("the subscriptions of account {account} are not those of the log"));
        }
        Ok(())
    }

    fn placements(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let keywords = Keywords::read(reader, AccountId(account))?;
        let mut count = 0;
        let mut wrong = 0_u64;
        for row in reader.table(PLACEMENTS)?.range((account, 0, 0)..=(account, u64::MAX, u32::MAX))? {
            let (key, value) = row?;
            let key = key.value();
            count += 1;
            let dot = mailbox.folders.get(&key.1).and_then(|folder| folder.placements.get(&key.2));
            let record = dot.and_then(|dot| mailbox.records.get(&dot.record));
            let holds = match (Placement::decode(key, value.value()), dot, record) {
                (Ok(row), Some(dot), Some(record)) => {
                    let names: BTreeSet<_> = keywords.names(&row.keywords).iter().map(ToString::to_string).collect();
                    let bits = row.keywords.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
                    (row.record, row.mod_seq, row.saved, row.system) == (dot.record, dot.mod_seq, dot.saved, dot.system)
                        && (row.hash, row.size, row.date, row.zone) == (record.hash, record.size, record.date, record.zone)
                        && names == dot.keywords
                        && bits == names.len()
                }
                _ => false,
            };
            wrong += u64::from(!holds);
        }
        self.report.messages += count;
        let expected: usize = mailbox.folders.values().map(|folder| folder.placements.len()).sum();
        if wrong > 0 || count != expected as u64 {
            let text = format!("account {account}: of {count} messages {wrong} are not what the log says, which has {expected}");
            self.report.problem(Place::View, text);
        }
        Ok(())
    }

    fn changes(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut forgotten = BTreeMap::new();
        let mut vanished: BTreeMap<u64, u64> = BTreeMap::new();
        for row in reader.table(HISTORY)?.range((account, 0)..=(account, u64::MAX))? {
            let (key, value) = row?;
            forgotten.insert(key.value().1, value.value());
        }
        let remembered = |folder: u64, mod_seq: u64| forgotten.get(&folder).is_none_or(|(until, _)| mod_seq > *until);
        let (mut count, mut wrong) = (0, 0_u64);
        for row in reader.table(CHANGES)?.range((account, 0, 0, 0)..=(account, u64::MAX, u64::MAX, u32::MAX))? {
            let (key, what) = row?;
            let (_, folder, mod_seq, uid) = key.value();
            count += 1;
            let holds = mailbox.folders.get(&folder).is_some_and(|view| {
                let known = match what.value() {
                    CHANGED => view.placements.get(&uid).map(|dot| dot.mod_seq),
                    _ => view.vanished.get(&uid).copied().filter(|mod_seq| remembered(folder, *mod_seq)),
                };
                known == Some(mod_seq)
            });
            *vanished.entry(folder).or_default() += u64::from(what.value() == VANISHED);
            wrong += u64::from(!holds);
        }
        wrong += forgotten
            .iter()
            .filter(|(folder, (_, count))| {
                !mailbox.folders.contains_key(folder) || vanished.get(folder).copied().unwrap_or(0) != *count
            })
            .count() as u64;
        let expected: usize = mailbox
            .folders
            .iter()
            .map(|(id, view)| view.placements.len() + view.vanished.values().filter(|mod_seq| remembered(*id, **mod_seq)).count())
            .sum();
        if wrong > 0 || count != expected as u64 {
            let text = format!("account {account}: of {count} changes {wrong} are not what the log says, which has {expected}");
            self.report.problem(Place::View, text);
        }
        Ok(())
    }

    fn copies(&mut self, reader: &Reader, account: u32, mailbox: &Mailbox) -> Result<(), StoreError> {
        let mut copies = BTreeMap::new();
        for row in reader.table(COPIES)?.range((account, 0)..=(account, u64::MAX))? {
            let (key, count) = row?;
            copies.insert(key.value().1, count.value());
        }
        let expected: BTreeMap<_, _> = mailbox
            .records
            .iter()
            .filter(|(_, record)| record.placements > 1)
            .map(|(key, record)| (*key, record.placements))
            .collect();
        if copies != expected {
            self.report.problem(Place::View, format!("the copies of account {account} are not counted as the log says"));
        }
        Ok(())
    }
}
