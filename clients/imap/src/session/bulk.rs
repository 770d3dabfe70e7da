//! COPY, MOVE and EXPUNGE, of any number of messages (RFC 3501 §6.4.3 and §6.4.7, RFC 4315, RFC 6851).
//!
//! MOVE and EXPUNGE go piece by piece, each a commit of its own, so that nobody else waits for long. COPY is one commit: all of it happens or
//! nothing does. Whoever waits for many messages is told that it goes on (RFC 9585).

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use kith_store::StoreError;
use kith_store::folder::{FolderId, Uid};

use super::update::Expunges;
use super::{Completion, Doing, Outcome, Refused, Session};
use crate::command::{Mailbox, Numbering};
use crate::limits::STORE_MESSAGES;
use crate::response::put;
use crate::set::{InOrder, SequenceSet};

/// Seconds between two words on how far something has come (RFC 9585 §4 asks for no more than one in ten).
const PROGRESS_SECONDS: i64 = 10;
/// How long a session waits for a large copy before it looks after its connection.
const COPY_LOOK: Duration = Duration::from_secs(1);

/// Pairs of source and new UID.
type Pairs = Vec<(Uid, Uid)>;

/// When a client last heard of what takes long.
pub(super) struct Told(i64);

/// What becomes of the messages.
enum Removal {
    Expunge,
    /// Into this folder, of this UIDVALIDITY; what has arrived there.
    Move(FolderId, u32, Pairs),
}

/// A MOVE or an EXPUNGE under way.
pub(super) struct RemovalJob {
    tag: String,
    removal: Removal,
    pieces: std::vec::IntoIter<Vec<(Uid, Uid)>>,
    done: usize,
    all: usize,
    told: Told,
}

/// A COPY of many under way, on a thread of its own.
pub(super) struct CopyJob {
    tag: String,
    uid_validity: u32,
    outcome: Receiver<Result<Pairs, StoreError>>,
    told: Told,
}

impl Session {
    /// From now on.
    pub(super) fn told_now(&self) -> Told {
        Told((self.now)())
    }

    /// RFC 9585: how many of how many are done, where that is known.
    pub(super) fn tell_progress(&mut self, told: &mut Told, tag: &str, state: Option<(usize, usize)>) {
        let now = (self.now)();
        if now - told.0 < PROGRESS_SECONDS {
            return;
        }
        told.0 = now;
        match state {
            Some((done, all)) => put!(&mut self.out, "* OK [INPROGRESS (\"{tag}\" {done} {all})] Still at it\r\n"),
            None => put!(&mut self.out, "* OK [INPROGRESS (\"{tag}\" NIL NIL)] Still at it\r\n"),
        }
    }

    pub(super) fn copy(&mut self, tag: &str, numbering: Numbering, set: &SequenceSet, target: &Mailbox) -> Outcome {
        let account = self.account_id()?;
        let ranges = self.known_ranges(numbering, set)?;
        let target = self.target_folder(target)?;
        let selected = self.selected()?;
        let from = selected.folder;
        if selected.view.pieces(&ranges, STORE_MESSAGES).len() <= 1 {
            let pairs = self.store().copy(account, from, ranges, target.id)?;
            return Ok(self.copied(tag.to_owned(), target.uid_validity, Ok(pairs)));
        }
        let (answer, outcome) = sync_channel(1);
        let store = self.store().clone();
        let work = move || {
            // Whoever asked may have hung up; the messages are copied all the same.
            let _ = answer.send(store.copy(account, from, ranges, target.id));
        };
        std::thread::Builder::new().name("kith-copy".to_owned()).spawn(work).map_err(|error| {
            tracing::warn!(%error, "no thread for a large copy");
            Completion::no("UNAVAILABLE", "This is too much at the moment; try again later")
        })?;
        let told = self.told_now();
        Ok(Doing::Copying(Box::new(CopyJob { tag: tag.to_owned(), uid_validity: target.uid_validity, outcome, told })))
    }

    pub(super) fn copy_on(&mut self, mut job: Box<CopyJob>) -> Doing {
        let outcome = match job.outcome.recv_timeout(COPY_LOOK) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                let tag = std::mem::take(&mut job.tag);
                self.tell_progress(&mut job.told, &tag, None);
                job.tag = tag;
                return Doing::Copying(job);
            }
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Broken("a copy ended by a fault of ours".to_owned())),
        };
        self.copied(job.tag, job.uid_validity, outcome)
    }

    fn copied(&mut self, tag: String, uid_validity: u32, outcome: Result<Pairs, StoreError>) -> Doing {
        let completion = match outcome {
            Err(error) => super::refusal(&error),
            Ok(pairs) => {
                let completion = Completion::ok("COPY completed");
                match copy_uid(uid_validity, &pairs) {
                    Some(code) => completion.with_code(code),
                    None => completion,
                }
            }
        };
        self.finish(tag, completion, Expunges::Told)
    }

    pub(super) fn move_messages(&mut self, tag: &str, numbering: Numbering, set: &SequenceSet, target: &Mailbox) -> Outcome {
        self.writable()?;
        let ranges = self.known_ranges(numbering, set)?;
        let target = self.target_folder(target)?;
        let pieces = self.selected()?.view.pieces(&ranges, STORE_MESSAGES);
        Ok(self.removing(tag, Removal::Move(target.id, target.uid_validity, Vec::new()), pieces))
    }

    pub(super) fn expunge(&mut self, tag: &str, uids: Option<&SequenceSet>) -> Outcome {
        self.writable()?;
        let pieces = match uids {
            Some(set) => {
                let ranges = self.known_ranges(Numbering::Uid, set)?;
                self.selected()?.view.pieces(&ranges, STORE_MESSAGES)
            }
            None => self.everything()?,
        };
        Ok(self.removing(tag, Removal::Expunge, pieces))
    }

    /// All UIDs, those too that the client has not been told of, in pieces.
    fn everything(&self) -> Result<Vec<Vec<(Uid, Uid)>>, Refused> {
        let uids = self.selected()?.view.uids();
        let mut pieces = Vec::new();
        let mut from = 1;
        for last in uids.chunks(STORE_MESSAGES).filter_map(<[u32]>::last) {
            pieces.push(vec![(Uid(from), Uid(*last))]);
            from = last.saturating_add(1);
        }
        // What came meanwhile belongs to the last piece.
        match pieces.last_mut().and_then(|piece| piece.last_mut()) {
            Some((_, last)) => *last = Uid(u32::MAX),
            None => pieces.push(vec![(Uid(1), Uid(u32::MAX))]),
        }
        Ok(pieces)
    }

    fn removing(&self, tag: &str, removal: Removal, pieces: Vec<Vec<(Uid, Uid)>>) -> Doing {
        let all = pieces.len();
        let told = self.told_now();
        Doing::Removing(Box::new(RemovalJob { tag: tag.to_owned(), removal, pieces: pieces.into_iter(), done: 0, all, told }))
    }

    pub(super) fn removing_on(&mut self, mut job: Box<RemovalJob>) -> Doing {
        let completion = match job.pieces.next() {
            Some(piece) => match self.remove_piece(&mut job.removal, piece) {
                Ok(()) => {
                    job.done += 1;
                    if job.done < job.all {
                        let (done, all) = (job.done * STORE_MESSAGES, job.all * STORE_MESSAGES);
                        self.tell_progress(&mut job.told, &job.tag, Some((done, all)));
                    }
                    return Doing::Removing(job);
                }
                // What is moved or gone by now is told all the same.
                Err(Refused(completion)) => completion,
            },
            None => Completion::ok(match job.removal {
                Removal::Expunge => "EXPUNGE completed",
                Removal::Move(..) => "MOVE completed",
            }),
        };
        if let Removal::Move(_, uid_validity, pairs) = &job.removal {
            // RFC 6851 §4.3: the UIDs are told before the messages go.
            if let Some(code) = copy_uid(*uid_validity, pairs) {
                Completion::ok("Moved").with_code(code).write(&mut self.out, "*");
            }
        }
        self.finish_removal(job.tag, completion)
    }

    fn remove_piece(&mut self, removal: &mut Removal, piece: Vec<(Uid, Uid)>) -> Result<(), Refused> {
        let account = self.account_id()?;
        let from = self.selected()?.folder;
        let gone: Vec<Uid> = match removal {
            Removal::Expunge => self.store().expunge(account, from, Some(piece))?,
            Removal::Move(target, _, pairs) => {
                let moved = self.store().move_messages(account, from, piece, *target)?;
                let gone = moved.iter().map(|(uid, _)| *uid).collect();
                pairs.extend(moved);
                gone
            }
        };
        let view = &mut self.selected_mut()?.view;
        for uid in gone {
            view.lose(uid);
        }
        Ok(())
    }

    /// A set as UID ranges, without messages that the client has not been told of.
    fn known_ranges(&self, numbering: Numbering, set: &SequenceSet) -> Result<Vec<(Uid, Uid)>, Refused> {
        let ranges = self.ranges(numbering, set)?;
        Ok(self.selected()?.view.pieces(&ranges, usize::MAX).into_iter().flatten().collect())
    }
}

/// `COPYUID`; `None` where nothing was copied.
fn copy_uid(uid_validity: u32, pairs: &[(Uid, Uid)]) -> Option<String> {
    let (from, to): (Vec<u32>, Vec<u32>) = pairs.iter().map(|(from, to)| (from.0, to.0)).unzip();
    (!pairs.is_empty()).then(|| format!("COPYUID {uid_validity} {} {}", InOrder(&from), InOrder(&to)))
}
