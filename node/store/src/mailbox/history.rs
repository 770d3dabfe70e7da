//! What vanished from a folder, and for how long that is known: the last [`HISTORY_UIDS_MAX`] UIDs at most, half as many at least.
//!
//! Whoever asks for changes since a moment that is forgotten is told so (see [`super::Changes::forgotten`]) and compares UIDs instead.

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use crate::folder::{FolderId, ModSeq, Uid};
use crate::mailbox::filing::VANISHED;
use crate::schema::{CHANGES, HISTORY};
use crate::store::Reader;
use crate::{StoreError, Transaction};

/// Vanished UIDs that are remembered of a folder at most; the older half goes when they are more.
pub const HISTORY_UIDS_MAX: u64 = 16_384;

impl Reader {
    /// Up to which MODSEQ it is forgotten what vanished.
    pub(crate) fn forgotten(&self, account: AccountId, folder: FolderId) -> Result<ModSeq, StoreError> {
        Ok(ModSeq(self.table(HISTORY)?.get((account.0, folder.0))?.map_or(0, |row| row.value().0)))
    }
}

impl Reader {
    /// What vanished after a moment, and how far back that is known.
    pub(crate) fn vanished(&self, account: AccountId, folder: FolderId, since: ModSeq) -> Result<(Vec<Uid>, ModSeq), StoreError> {
        let first = (account.0, folder.0, since.0.saturating_add(1), 0);
        let mut uids = Vec::new();
        for row in self.table(CHANGES)?.range(first..=(account.0, folder.0, u64::MAX, u32::MAX))? {
            let (key, what) = row?;
            if what.value() == VANISHED {
                uids.push(Uid(key.value().3));
            }
        }
        uids.sort_unstable();
        Ok((uids, self.forgotten(account, folder)?))
    }
}

impl Transaction<'_> {
    /// Counts UIDs whose rows of `CHANGES` have just been written; forgets the oldest where they are too many.
    pub(crate) fn count_vanished(&mut self, account: AccountId, folder: FolderId, new: u64) -> Result<(), StoreError> {
        let known = self.view(HISTORY)?.get((account.0, folder.0))?.map(|row| row.value());
        let (mut forgotten, mut count) = match known {
            Some((forgotten, count)) => (forgotten, count + new),
            None => (0, self.vanished(account, folder, usize::MAX)?.len() as u64),
        };
        if count > HISTORY_UIDS_MAX {
            let surplus = usize::try_from(count - HISTORY_UIDS_MAX / 2).unwrap_or(usize::MAX);
            let oldest = self.vanished(account, folder, surplus)?;
            let mut changes = self.table(CHANGES)?;
            for (mod_seq, uid) in &oldest {
                changes.remove((account.0, folder.0, *mod_seq, *uid))?;
                forgotten = *mod_seq;
            }
            count = count.saturating_sub(oldest.len() as u64);
        }
        self.table(HISTORY)?.insert((account.0, folder.0), (forgotten, count))?;
        Ok(())
    }

    /// The oldest of what vanished: so many, and whatever went with the last of them.
    fn vanished(&self, account: AccountId, folder: FolderId, least: usize) -> Result<Vec<(u64, u32)>, StoreError> {
        let mut oldest: Vec<(u64, u32)> = Vec::new();
        let range = (account.0, folder.0, 0, 0)..=(account.0, folder.0, u64::MAX, u32::MAX);
        for row in self.view(CHANGES)?.range(range)? {
            let (key, what) = row?;
            let (_, _, mod_seq, uid) = key.value();
            if what.value() != VANISHED {
                continue;
            }
            if oldest.len() >= least && oldest.last().is_some_and(|(last, _)| *last != mod_seq) {
                break;
            }
            oldest.push((mod_seq, uid));
        }
        Ok(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Flags, INBOX};
    use crate::mailbox::Filing;
    use crate::testing::{check, staged, store};

    #[test]
    fn the_oldest_of_what_vanished_is_forgotten_and_said_to_be() {
        let (store, account) = store();
        let inbox = store.folder_by_name(account, INBOX).unwrap().unwrap().id;
        let blob = staged(&store, b"x");
        let filing = Filing { blob, flags: Flags::default(), internal_date: 7, internal_zone: 0 };
        let all = u32::try_from(HISTORY_UIDS_MAX).unwrap() + 1_000;
        store.write(move |transaction| (0..all).try_for_each(|_| transaction.file(account, inbox, &filing).map(drop))).unwrap();
        let filled = store.folder(account, inbox).unwrap().unwrap().mod_seq;
        let remove = |from, to| store.remove(account, inbox, vec![(Uid(from), Uid(to))]).unwrap();
        remove(1, all - 1_000);
        let changes = store.changes(account, inbox, filled).unwrap();
        assert_eq!((changes.forgotten, changes.vanished.len()), (ModSeq(0), all as usize - 1_000));
        let before = changes.mod_seq;
        remove(all - 999, all - 1);
        let changes = store.changes(account, inbox, before).unwrap();
        assert!(changes.forgotten <= before && changes.vanished.len() == 999, "what is new is known");
        let changes = store.changes(account, inbox, filled).unwrap();
        assert_eq!(store.vanished(account, inbox, filled).unwrap(), (changes.vanished.clone(), changes.forgotten));
        assert!(changes.forgotten > filled, "what is old is said to be forgotten");
        assert!(
            changes.vanished.len() as u64 >= HISTORY_UIDS_MAX / 2 - 5_000 && changes.vanished.len() as u64 <= HISTORY_UIDS_MAX
        );
        assert_eq!(changes.vanished.last(), Some(&Uid(all - 1)));
        check(&store);
        store.delete_folder(account, "Junk").unwrap();
        check(&store);
    }
}
