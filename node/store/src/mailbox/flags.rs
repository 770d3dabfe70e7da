//! STORE: flags of placements, added, removed or replaced, if they have not changed since.

use kith_protocol::ids::AccountId;

use crate::folder::{FlagChange, Flags, FolderId, KeywordBits, ModSeq, Placement, Uid};
use crate::log::{ENTRY_RANGES_MAX, Entry, Flagged, Tags};
use crate::mailbox::filing::{CHANGED, runs};
use crate::mailbox::keywords::{KEYWORDS_MAX, Keywords, check_flags};
use crate::mailbox::{Stored, UidRanges};
use crate::schema::{CHANGES, PLACEMENTS};
use crate::{StoreError, Transaction};

/// What a STORE does to each message.
struct Delta {
    set: u8,
    clear: u8,
    add: KeywordBits,
    remove: KeywordBits,
}

/// Every system flag.
const SYSTEM: u8 = Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED | Flags::DELETED | Flags::DRAFT;

impl Delta {
    fn new(change: FlagChange, system: u8, keywords: KeywordBits) -> Self {
        match change {
            FlagChange::Add => Self { set: system, clear: 0, add: keywords, remove: [0; 32] },
            FlagChange::Remove => Self { set: 0, clear: system, add: [0; 32], remove: keywords },
            FlagChange::Replace => {
                Self { set: system, clear: SYSTEM & !system, add: keywords, remove: keywords.map(|byte| !byte) }
            }
        }
    }

    fn apply(&self, placement: &Placement) -> (u8, KeywordBits) {
        let mut keywords = placement.keywords;
        for ((byte, add), remove) in keywords.iter_mut().zip(&self.add).zip(&self.remove) {
            *byte = (*byte | add) & !remove;
        }
        ((placement.system | self.set) & !self.clear, keywords)
    }
}

impl Transaction<'_> {
    pub(crate) fn change_flags(
        &mut self,
        account: AccountId,
        folder: FolderId,
        uids: &UidRanges,
        change: FlagChange,
        flags: &Flags,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Stored, StoreError> {
        check_flags(flags)?;
        self.folder_row(account, folder.0)?;
        let mut found = self.find(account, folder, uids)?;
        let keywords = match change {
            FlagChange::Remove => self.keywords(account)?,
            FlagChange::Replace | FlagChange::Add if found.is_empty() => self.keywords(account)?,
            FlagChange::Replace | FlagChange::Add => self.keywords_with(account, &flags.keywords)?,
        };
        let delta = Delta::new(change, flags.system, keywords.bits(&flags.keywords));
        let before = found.iter().map(|(_, placement)| ModSeq(placement.mod_seq)).collect();
        let mut stored = Stored { before, ..Stored::default() };
        let mut changed = Vec::new();
        for (index, (uid, placement)) in found.iter().enumerate() {
            if unchanged_since.is_some_and(|since| placement.mod_seq > since.0) {
                stored.modified.push(Uid(*uid));
                continue;
            }
            let (system, bits) = delta.apply(placement);
            if bits.iter().map(|byte| byte.count_ones()).sum::<u32>() as usize > KEYWORDS_MAX {
                return Err(StoreError::Invalid("a message has at most 64 keywords".to_owned()));
            }
            if (system, bits) != (placement.system, placement.keywords) {
                changed.push((index, system, bits));
            }
        }
        for chunk in changed.chunks(ENTRY_RANGES_MAX) {
            self.flag(account, folder, &mut found, chunk, &delta, &keywords)?;
        }
        stored.messages = found.iter().map(|(uid, placement)| placement.message(*uid, &keywords)).collect();
        Ok(stored)
    }

    /// Writes changed flags as one entry.
    fn flag(
        &mut self,
        account: AccountId,
        folder: FolderId,
        found: &mut [(u32, Placement)],
        chunk: &[(usize, u8, KeywordBits)],
        delta: &Delta,
        keywords: &Keywords,
    ) -> Result<(), StoreError> {
        let mut observed = [0; 32];
        for (_, placement) in chunk.iter().filter_map(|(index, ..)| found.get(*index)) {
            for (seen, byte) in observed.iter_mut().zip(&placement.keywords) {
                *seen |= byte;
            }
        }
        // Only what was observed is removed, as the set's rule asks.
        let mut remove = delta.remove;
        for (byte, seen) in remove.iter_mut().zip(&observed) {
            *byte &= seen;
        }
        let names = |bits: &KeywordBits| keywords.names(bits).iter().map(ToString::to_string).collect();
        let flagged = Flagged {
            folder: folder.0,
            uids: runs(chunk.iter().filter_map(|(index, ..)| found.get(*index)).map(|(uid, _)| *uid)),
            set: delta.set,
            clear: delta.clear,
            add: names(&delta.add),
            remove: names(&remove),
        };
        let tags = Tags { clock: self.now(), added: Vec::new(), flagged: Some(flagged), removed: None };
        let mod_seq = self.append(account, &Entry::Tags(tags))?.0;
        let mut row = self.folder_row(account, folder.0)?;
        row.mod_seq = mod_seq;
        let mut placements = self.table(PLACEMENTS)?;
        let mut changes = self.table(CHANGES)?;
        for (index, system, bits) in chunk {
            let Some((uid, placement)) = found.get_mut(*index) else { continue };
            let unseen = |system: u8| u32::from(system & Flags::SEEN == 0);
            row.unseen = (row.unseen + unseen(*system)).saturating_sub(unseen(placement.system));
            changes.remove((account.0, folder.0, placement.mod_seq, *uid))?;
            changes.insert((account.0, folder.0, mod_seq, *uid), CHANGED)?;
            (placement.mod_seq, placement.system, placement.keywords) = (mod_seq, *system, *bits);
            let key = (account.0, folder.0, *uid);
            placements.insert(key, placement.encode(key).as_slice())?;
        }
        drop((placements, changes));
        self.put_folder_row(account, folder.0, &row)
    }
}
