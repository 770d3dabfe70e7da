//! QRESYNC (RFC 7162 §3.2): what has happened to a folder since a client saw it last, told at once.
//!
//! What vanished is told exactly as far back as the store remembers ([`kith_store::mailbox::HISTORY_UIDS_MAX`]); a client that was away
//! for longer is told every UID that it may know and that is not there.

use kith_store::folder::{ModSeq, Uid};

use super::update::Then;
use super::{Completion, Outcome, Refused, Session};
use crate::command::{FetchItem, Resync};
use crate::response::put;
use crate::set::Ranges;

impl Session {
    /// The last part of a SELECT: `VANISHED (EARLIER)`, then the flags of what changed.
    pub(super) fn resync(&mut self, tag: &str, resync: &Resync, changed: &Ranges, completion: Completion) -> Outcome {
        let last = self.uid_last()?;
        let known = resync.known.as_ref().map_or_else(|| Ranges::all(last), |known| known.resolve(0));
        let vanished = self.vanished_since(resync.mod_seq, &known, self.matching(resync)?)?;
        self.tell_vanished_earlier(&vanished);
        let changed = changed.intersect(&known_or_new(&known, last));
        let ranges = changed.as_slice().iter().map(|&(from, to)| (Uid(from), Uid(to))).collect();
        let items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::ModSeq];
        Ok(self.fetch_flags(ranges, items, Then::End(tag.to_owned(), completion)))
    }

    pub(super) fn tell_vanished_earlier(&mut self, vanished: &Ranges) {
        if !vanished.is_empty() {
            put!(&mut self.out, "* VANISHED (EARLIER) {vanished}\r\n");
        }
    }

    /// Those of `known` that vanished since then. Up to the UID `intact` the client has everything right, and needs no telling where that is
    /// not remembered exactly.
    pub(super) fn vanished_since(&self, since: ModSeq, known: &Ranges, intact: u32) -> Result<Ranges, Refused> {
        let account = self.account_id()?;
        let selected = self.selected()?;
        let (vanished, forgotten) = self.store().vanished(account, selected.folder, since)?;
        let gone = if forgotten > since {
            Ranges::gaps(selected.view.uids(), self.uid_last()?).after(intact)
        } else {
            // What the view still counts is told as news, when its number goes.
            vanished.into_iter().filter(|uid| selected.view.sequence(*uid).is_none()).map(|uid| uid.0).collect()
        };
        Ok(gone.intersect(known))
    }

    /// The highest UID ever given in the selected folder.
    pub(super) fn uid_last(&self) -> Result<u32, Refused> {
        let account = self.account_id()?;
        let selected = self.selected()?;
        let next = self.store().folder(account, selected.folder)?.map_or(1, |folder| folder.uid_next.0);
        Ok(next.saturating_sub(1).max(selected.view.last_uid()))
    }

    /// The greatest UID up to which the client's numbers are right still (RFC 7162 §3.2.5.2): nothing before it can have vanished.
    fn matching(&self, resync: &Resync) -> Result<u32, Refused> {
        let Some((numbers, uids)) = &resync.matched else { return Ok(0) };
        let view = &self.selected()?.view;
        let (numbers, uids) = (numbers.resolve(0), uids.resolve(0));
        let right = |(number, uid): &(u32, u32)| view.sequence(Uid(*uid)) == Some(*number);
        Ok(numbers.numbers().zip(uids.numbers()).take_while(right).last().map_or(0, |(_, uid)| uid))
    }
}

/// A client is told of changes of what it knows, and of what came after that.
fn known_or_new(known: &Ranges, last: u32) -> Ranges {
    let top = known.as_slice().last().map_or(0, |range| range.1);
    let mut ranges: Vec<(u32, u32)> = known.as_slice().to_vec();
    if top < last {
        ranges.push((top.saturating_add(1), last));
    }
    ranges.into_iter().collect()
}
