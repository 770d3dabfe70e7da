//! Messages put into folders and taken out of them: delivery, APPEND, COPY, MOVE, EXPUNGE.

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use crate::blob::BlobHash;
use crate::folder::{Flags, FolderId, FolderRow, Message, Placement, Uid, Use};
use crate::log::{Added, Arrival, ENTRY_ADDED_MAX, ENTRY_RANGES_MAX, Entry, Removed, Tags};
use crate::mailbox::keywords::check_flags;
use crate::mailbox::{Filing, UidRanges};
use crate::schema::{CHANGES, COPIES, PLACEMENTS};
use crate::{StoreError, Transaction};

/// Values of `CHANGES`.
pub(crate) const CHANGED: u8 = 0;
pub(crate) const VANISHED: u8 = 1;

/// Placements of one folder, by UID.
type Found = Vec<(u32, Placement)>;

impl Transaction<'_> {
    /// Files one message into the account's folder of that use (inbox delivery, notices).
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], `NotFound` for an unknown account, `Invalid` for impossible flags.
    pub fn deliver(&mut self, account: AccountId, into: Use, filing: &Filing) -> Result<Message, StoreError> {
        let folder = self.folder_for(account, into)?;
        self.file(account, folder, filing)
    }

    /// Files one message into a folder.
    ///
    /// # Errors
    /// As [`Transaction::deliver`].
    pub fn file(&mut self, account: AccountId, folder: FolderId, filing: &Filing) -> Result<Message, StoreError> {
        self.need_room()?;
        check_flags(&filing.flags)?;
        let mut row = self.selectable_row(account, folder)?;
        let uid = next_uid(&mut row)?;
        let keywords = self.keywords_with(account, &filing.flags.keywords)?;
        let bits = keywords.bits(&filing.flags.keywords);
        let arrival = Arrival {
            hash: filing.blob.hash.0,
            size: filing.blob.size,
            date: filing.internal_date,
            zone: filing.internal_zone,
            clock: self.now(),
            folder: folder.0,
            uid,
            system: filing.flags.system,
            keywords: keywords.names(&bits).iter().map(ToString::to_string).collect(),
        };
        let placement = Placement {
            record: self.log_end(account)?,
            mod_seq: self.log_end(account)?,
            hash: arrival.hash,
            size: arrival.size,
            date: arrival.date,
            zone: arrival.zone,
            saved: arrival.clock,
            system: arrival.system,
            keywords: bits,
        };
        self.append(account, &Entry::Store(arrival))?;
        self.mention(&filing.blob)?;
        self.put_excerpt(account, placement.record, filing.blob.excerpt())?;
        self.place(account, folder, &mut row, uid, &placement)?;
        self.put_folder_row(account, folder.0, &row)?;
        Ok(placement.message(uid, &keywords))
    }

    /// A folder that can hold messages.
    fn selectable_row(&self, account: AccountId, folder: FolderId) -> Result<FolderRow, StoreError> {
        let row = self.folder_row(account, folder.0)?;
        if row.selectable { Ok(row) } else { Err(StoreError::NotFound("the folder")) }
    }

    /// Writes a new placement and counts it.
    fn place(
        &mut self,
        account: AccountId,
        folder: FolderId,
        row: &mut FolderRow,
        uid: u32,
        placement: &Placement,
    ) -> Result<(), StoreError> {
        let key = (account.0, folder.0, uid);
        self.table(PLACEMENTS)?.insert(key, placement.encode(key).as_slice())?;
        self.table(CHANGES)?.insert((account.0, folder.0, placement.mod_seq, uid), CHANGED)?;
        row.mod_seq = placement.mod_seq;
        row.messages += 1;
        row.unseen += u32::from(placement.system & Flags::SEEN == 0);
        row.bytes += placement.size;
        Ok(())
    }

    /// The placements of these ranges that exist, by UID.
    pub(crate) fn find(&self, account: AccountId, folder: FolderId, uids: &UidRanges) -> Result<Found, StoreError> {
        let placements = self.view(PLACEMENTS)?;
        let mut found = Vec::new();
        for (first, last) in uids {
            for row in placements.range((account.0, folder.0, first.0)..=(account.0, folder.0, last.0))? {
                let (key, value) = row?;
                let key = key.value();
                found.push((key.2, Placement::decode(key, value.value())?));
            }
        }
        Ok(found)
    }

    /// COPY: pairs of source and new UID.
    pub(crate) fn copy(
        &mut self,
        account: AccountId,
        from: FolderId,
        uids: &UidRanges,
        to: FolderId,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        self.need_room()?;
        self.folder_row(account, from.0)?;
        let found = self.find(account, from, uids)?;
        let mut pairs = Vec::with_capacity(found.len());
        for chunk in found.chunks(ENTRY_ADDED_MAX) {
            pairs.extend(self.add(account, to, chunk, None)?);
            let mut copies = self.table(COPIES)?;
            for (_, placement) in chunk {
                let key = (account.0, placement.record);
                let count = copies.get(key)?.map_or(1, |row| row.value()) + 1;
                copies.insert(key, count)?;
            }
        }
        Ok(pairs)
    }

    /// MOVE: the dots change, the messages stay as they are.
    pub(crate) fn move_messages(
        &mut self,
        account: AccountId,
        from: FolderId,
        uids: &UidRanges,
        to: FolderId,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        self.folder_row(account, from.0)?;
        let found = self.find(account, from, uids)?;
        let mut pairs = Vec::with_capacity(found.len());
        for chunk in found.chunks(ENTRY_ADDED_MAX) {
            pairs.extend(self.add(account, to, chunk, Some(from))?);
        }
        Ok(pairs)
    }

    pub(crate) fn move_all(&mut self, account: AccountId, from: FolderId, to: FolderId) -> Result<(), StoreError> {
        self.move_messages(account, from, &vec![(Uid(1), Uid(u32::MAX))], to)?;
        Ok(())
    }

    /// Gives messages new placements in a folder, taking the old ones out of `moved_from`, as one entry.
    fn add(
        &mut self,
        account: AccountId,
        to: FolderId,
        found: &[(u32, Placement)],
        moved_from: Option<FolderId>,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let mut row = self.selectable_row(account, to)?;
        let keywords = self.keywords(account)?;
        let clock = self.now();
        let mut added = Vec::with_capacity(found.len());
        for (_, placement) in found {
            added.push(Added {
                record: placement.record,
                folder: to.0,
                uid: next_uid(&mut row)?,
                system: placement.system,
                keywords: keywords.names(&placement.keywords).iter().map(ToString::to_string).collect(),
            });
        }
        let pairs: Vec<_> = found.iter().zip(&added).map(|((uid, _), added)| (Uid(*uid), Uid(added.uid))).collect();
        let removed = moved_from.map(|from| Removed { folder: from.0, uids: runs(found.iter().map(|(uid, _)| *uid)) });
        let mod_seq = self.append(account, &Entry::Tags(Tags { clock, added, flagged: None, removed }))?;
        for ((_, placement), (_, uid)) in found.iter().zip(&pairs) {
            let placement = Placement { mod_seq: mod_seq.0, saved: clock, ..placement.clone() };
            self.place(account, to, &mut row, uid.0, &placement)?;
        }
        self.put_folder_row(account, to.0, &row)?;
        if let Some(from) = moved_from {
            self.displace(account, from, found, mod_seq.0)?;
        }
        Ok(pairs)
    }

    /// EXPUNGE and QUIT: placements go; a message without any goes with them.
    pub(crate) fn take_out(
        &mut self,
        account: AccountId,
        folder: FolderId,
        found: &[(u32, Placement)],
    ) -> Result<(), StoreError> {
        for chunk in found.chunks(ENTRY_RANGES_MAX) {
            let removed = Some(Removed { folder: folder.0, uids: runs(chunk.iter().map(|(uid, _)| *uid)) });
            let tags = Tags { clock: self.now(), added: Vec::new(), flagged: None, removed };
            let mod_seq = self.append(account, &Entry::Tags(tags))?;
            self.displace(account, folder, chunk, mod_seq.0)?;
            let mut gone = Vec::new();
            for (_, placement) in chunk {
                if self.was_last(account, placement.record)? {
                    self.unmention(&BlobHash(placement.hash))?;
                    gone.push(placement.record);
                }
            }
            self.scrub(account, gone)?;
        }
        Ok(())
    }

    pub(crate) fn remove_all(&mut self, account: AccountId, folder: FolderId) -> Result<(), StoreError> {
        let found = self.find(account, folder, &vec![(Uid(1), Uid(u32::MAX))])?;
        self.take_out(account, folder, &found)
    }

    /// Removes placements' rows, notes that they vanished, and counts.
    fn displace(
        &mut self,
        account: AccountId,
        folder: FolderId,
        found: &[(u32, Placement)],
        mod_seq: u64,
    ) -> Result<(), StoreError> {
        let mut row = self.folder_row(account, folder.0)?;
        let mut placements = self.table(PLACEMENTS)?;
        let mut changes = self.table(CHANGES)?;
        for (uid, placement) in found {
            placements.remove((account.0, folder.0, *uid))?;
            changes.remove((account.0, folder.0, placement.mod_seq, *uid))?;
            changes.insert((account.0, folder.0, mod_seq, *uid), VANISHED)?;
            row.messages = row.messages.saturating_sub(1);
            row.unseen = row.unseen.saturating_sub(u32::from(placement.system & Flags::SEEN == 0));
            row.bytes = row.bytes.saturating_sub(placement.size);
        }
        drop((placements, changes));
        row.mod_seq = mod_seq;
        self.put_folder_row(account, folder.0, &row)?;
        self.count_vanished(account, folder, found.len() as u64)
    }

    /// Takes one placement of a message off its count; whether it was the last.
    fn was_last(&mut self, account: AccountId, record: u64) -> Result<bool, StoreError> {
        let key = (account.0, record);
        let count = self.view(COPIES)?.get(key)?.map(|row| row.value());
        match count {
            None => return Ok(true),
            Some(count) if count > 2 => self.table(COPIES)?.insert(key, count - 1).map(drop)?,
            Some(_) => self.table(COPIES)?.remove(key).map(drop)?,
        }
        Ok(false)
    }
}

fn next_uid(row: &mut FolderRow) -> Result<u32, StoreError> {
    let uid = row.uid_next;
    // The greatest number stays unused, so that UIDNEXT is always a number.
    row.uid_next = uid.checked_add(1).ok_or_else(|| StoreError::Invalid("the folder's UIDs are used up".to_owned()))?;
    Ok(uid)
}

/// Ascending numbers as inclusive ranges of neighbours.
pub(crate) fn runs(uids: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    runs
}
