//! What a session has told its client of the selected folder: which message has which number (RFC 3501 §2.3.1.2).
//!
//! The store moves on; the client's numbers change only when it is told, and a message that is gone keeps its number until
//! `EXPUNGE` may be said (RFC 3501 §5.5 and §7.4.1). Four bytes a message: 100,000 take 400 KB.

use std::collections::{BTreeSet, HashMap};

use kith_store::folder::{ModSeq, Uid};

use crate::flag::Recent;
use crate::set::{Ranges, SequenceSet};

/// Sequence numbers and UIDs of one folder as its client knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Ascending; the message with sequence number n is at n - 1.
    uids: Vec<u32>,
    /// UIDs that are `\Recent` in this session.
    recent: Ranges,
    /// Gone from the store, not yet from the client.
    gone: BTreeSet<u32>,
    /// What this session has told of its own changes since it last caught up.
    told: HashMap<u32, ModSeq>,
}

/// A sequence number that the folder does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no message with that number")]
pub(crate) struct NoSuchMessage;

impl View {
    /// Messages as the client counts them.
    pub(crate) fn len(&self) -> usize {
        self.uids.len()
    }

    /// The largest UID the client knows of; 0 if there is none.
    pub(crate) fn last_uid(&self) -> u32 {
        self.uids.last().copied().unwrap_or(0)
    }

    /// The number of a message.
    pub(crate) fn sequence(&self, uid: Uid) -> Option<u32> {
        let index = self.uids.binary_search(&uid.0).ok()?;
        u32::try_from(index + 1).ok()
    }

    /// The number of a message, looked for first where `near` is; that moves on to the next one. For many messages in their order.
    pub(crate) fn sequence_near(&self, uid: Uid, near: &mut usize) -> Option<u32> {
        if self.uids.get(*near) != Some(&uid.0) {
            *near = self.uids.binary_search(&uid.0).ok()?;
        }
        *near += 1;
        u32::try_from(*near).ok()
    }

    /// All UIDs, ascending.
    pub(crate) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// Takes a message in; those that are not new are passed over.
    pub(crate) fn append(&mut self, uid: Uid) {
        if uid.0 > self.last_uid() {
            self.uids.push(uid.0);
        }
    }

    /// From here on, `uid` counts as `\Recent` in this session.
    pub(crate) fn mark_recent(&mut self, uid: u32) {
        self.recent.push(uid);
    }

    /// Whether it does.
    pub(crate) fn recent(&self, uid: Uid) -> Recent {
        if self.recent.contains(uid.0) { Recent::Yes } else { Recent::No }
    }

    /// How many do.
    pub(crate) fn recent_count(&self) -> usize {
        let inside =
            |&(from, to): &(u32, u32)| self.uids.partition_point(|&uid| uid <= to) - self.uids.partition_point(|&uid| uid < from);
        self.recent.as_slice().iter().map(inside).sum()
    }

    /// The store no longer has it.
    pub(crate) fn lose(&mut self, uid: Uid) {
        if self.uids.binary_search(&uid.0).is_ok() {
            self.gone.insert(uid.0);
        }
    }

    /// Is something gone that the client still counts?
    pub(crate) fn has_losses(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Is this one gone, though the client still counts it?
    pub(crate) fn is_lost(&self, uid: Uid) -> bool {
        self.gone.contains(&uid.0)
    }

    /// Stops counting what is gone. Gives the UIDs for `VANISHED` (RFC 7162 §3.2.10).
    pub(crate) fn settle_uids(&mut self) -> Ranges {
        let gone = std::mem::take(&mut self.gone);
        if !gone.is_empty() {
            self.uids.retain(|uid| !gone.contains(uid));
        }
        gone.into_iter().collect()
    }

    /// Everything that is not among `there` is gone.
    pub(crate) fn keep_only(&mut self, there: &Ranges) {
        self.gone.extend(self.uids.iter().copied().filter(|uid| !there.contains(*uid)));
    }

    /// Stops counting what is gone. Gives the numbers for `EXPUNGE` in the order in which they must be said: each is right after those before it.
    pub(crate) fn settle(&mut self) -> Vec<u32> {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() {
            return Vec::new();
        }
        let mut numbers = Vec::with_capacity(gone.len());
        let mut kept = 0_u32;
        self.uids.retain(|uid| {
            let keep = !gone.contains(uid);
            if keep {
                kept = kept.saturating_add(1);
            } else {
                numbers.push(kept.saturating_add(1));
            }
            keep
        });
        numbers
    }

    /// The client has heard of this state of a message.
    pub(crate) fn tell(&mut self, uid: Uid, mod_seq: ModSeq) {
        self.told.insert(uid.0, mod_seq);
    }

    /// Has it?
    pub(crate) fn was_told(&self, uid: Uid, mod_seq: ModSeq) -> bool {
        self.told.get(&uid.0).is_some_and(|told| *told >= mod_seq)
    }

    /// The session has caught up: what it told before is behind it.
    pub(crate) fn caught_up(&mut self) {
        self.told = HashMap::new();
    }

    /// A set of sequence numbers as UID ranges.
    ///
    /// # Errors
    /// A number above the last one.
    pub(crate) fn by_sequence(&self, set: &SequenceSet) -> Result<Vec<(Uid, Uid)>, NoSuchMessage> {
        let last = u32::try_from(self.uids.len()).unwrap_or(u32::MAX);
        if set.largest().is_some_and(|largest| largest > last) && !(last == 0 && set.resolve(0).is_empty()) {
            return Err(NoSuchMessage);
        }
        Ok(self.uid_ranges(&set.resolve(last)))
    }

    /// Ranges of sequence numbers as UID ranges; numbers that do not exist are left out.
    fn uid_ranges(&self, sequences: &Ranges) -> Vec<(Uid, Uid)> {
        let uid = |sequence: u32| {
            let index = usize::try_from(sequence).ok()?.min(self.uids.len()).checked_sub(1)?;
            self.uids.get(index).copied().map(Uid)
        };
        let exists = |from: u32| usize::try_from(from).is_ok_and(|from| from <= self.uids.len());
        let ranges = sequences.as_slice().iter().filter(|range| exists(range.0));
        ranges.filter_map(|&(from, to)| Some((uid(from)?, uid(to)?))).collect()
    }

    /// A set of UIDs as UID ranges.
    pub(crate) fn by_uid(&self, set: &SequenceSet) -> Vec<(Uid, Uid)> {
        let ranges = set.resolve(self.last_uid());
        ranges.as_slice().iter().map(|&(from, to)| (Uid(from), Uid(to))).collect()
    }

    /// These ranges cut down to the messages that the client knows of, in pieces of at most `most` messages each.
    pub(crate) fn pieces(&self, ranges: &[(Uid, Uid)], most: usize) -> Vec<Vec<(Uid, Uid)>> {
        let mut pieces = Vec::new();
        let mut piece: Vec<(Uid, Uid)> = Vec::new();
        let mut room = most;
        for &(from, to) in ranges {
            let mut start = self.uids.partition_point(|&uid| uid < from.0);
            let end = self.uids.partition_point(|&uid| uid <= to.0);
            while start < end {
                let stop = end.min(start.saturating_add(room));
                if let (Some(&first), Some(&last)) = (self.uids.get(start), self.uids.get(stop - 1)) {
                    piece.push((Uid(first), Uid(last)));
                }
                room -= stop - start;
                start = stop;
                if room == 0 {
                    pieces.push(std::mem::take(&mut piece));
                    room = most;
                }
            }
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Cursor;

    fn view(uids: &[u32]) -> View {
        let mut view = View::default();
        for &uid in uids {
            view.append(Uid(uid));
        }
        view
    }

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn losses_keep_their_numbers_until_settled() {
        let mut view = view(&[10, 20, 30, 40, 50]);
        for uid in [20, 30, 50, 99] {
            view.lose(Uid(uid));
        }
        assert_eq!(view.sequence(Uid(40)), Some(4));
        assert_eq!(view.settle(), [2, 2, 3]);
        assert_eq!(view.uids(), [10, 40]);
        assert!(!view.has_losses());
    }

    #[test]
    fn numbers_are_the_same_wherever_they_are_looked_for() {
        let view = view(&[10, 20, 30, 40]);
        let mut near = 0;
        for uid in [10, 20, 25, 30, 10, 99, 40, 40, 0] {
            assert_eq!(view.sequence_near(Uid(uid), &mut near), view.sequence(Uid(uid)), "{uid}");
        }
    }

    #[test]
    fn numbers_beyond_the_folder_are_refused() {
        let full = view(&[10, 20, 30]);
        assert_eq!(full.by_sequence(&set("2:*")).unwrap(), [(Uid(20), Uid(30))]);
        assert!(full.by_sequence(&set("4")).is_err());
        assert!(full.by_sequence(&set("2:4")).is_err());
        let empty = view(&[]);
        assert_eq!(empty.by_sequence(&set("1:*")), Ok(vec![]));
        assert_eq!(empty.by_sequence(&set("*")), Ok(vec![]));
        assert!(empty.by_sequence(&set("1")).is_err());
        assert_eq!(full.by_uid(&set("25:*")), [(Uid(25), Uid(30))]);
        assert_eq!(full.by_uid(&set("31:*")), [(Uid(30), Uid(31))]);
    }

    #[test]
    fn pieces_hold_every_message_once() {
        let view = view(&[1, 2, 3, 7, 8, 9, 20]);
        let pieces = view.pieces(&[(Uid(1), Uid(8)), (Uid(15), Uid(100))], 2);
        assert_eq!(pieces, [vec![(Uid(1), Uid(2))], vec![(Uid(3), Uid(7))], vec![(Uid(8), Uid(8)), (Uid(20), Uid(20))]]);
    }

    #[test]
    fn recent_counts_what_is_still_there() {
        let mut view = view(&[1, 2, 3]);
        view.mark_recent(2);
        view.mark_recent(3);
        view.lose(Uid(2));
        assert_eq!(view.recent_count(), 2);
        view.settle();
        assert_eq!(view.recent_count(), 1);
    }
}
