//! FETCH (RFC 3501 §6.4.5): messages page by page, items one after the other, bodies in chunks from the disk.

mod ahead;
mod decoding;
mod item;

use std::collections::VecDeque;
use std::io::{Seek as _, SeekFrom};

use kith_store::blob::BlobReader;
use kith_store::folder::{FlagChange, Flags, Message, ModSeq, Uid};
use kith_store::mailbox::NewGist;

use self::ahead::{Ahead, Known, Wanted};
use self::item::{Asked, Rest};
use super::change::{expunges_after, lost_in};
use super::update::Then;
use super::{Completion, Doing, Outcome, Refused, Session, refusal};
use crate::command::{Access, Fetch, FetchItem, Numbering, Page};
use crate::gist::Haste;
use crate::limits::{EXCERPT_MESSAGES, GISTS_TOGETHER, PAGE_MESSAGES};
use crate::response::{number, put};
use crate::set::Ranges;

/// Messages whose `\Seen` is set by one commit before they are sent.
const SEEN_MESSAGES: usize = 32;
/// Message bytes that go to the output at a time.
const CHUNK_BYTES: u64 = 16 * 1024;

/// A FETCH under way.
pub(super) struct FetchJob {
    ending: Ending,
    numbering: Numbering,
    items: Vec<Asked>,
    /// What of it the store may have at hand.
    wanted: Wanted,
    changed_since: Option<ModSeq>,
    /// Still to be read from the store.
    ranges: VecDeque<(Uid, Uid)>,
    /// Read and not yet sent.
    ahead: Ahead,
    /// Where the view has the next one.
    near: usize,
    /// Worked out, to be kept.
    new: Vec<NewGist>,
    /// Messages of which something was worked out.
    worked_out: usize,
    current: Option<Current>,
    sets_seen: bool,
    /// Those of the page whose `\Seen` was set by this command.
    seen_now: Vec<Uid>,
    completion: Completion,
}

/// What comes at its end.
enum Ending {
    /// What is new is told first, then the command of this tag ends.
    WithNews(String),
    /// Straight after.
    Bare(Then),
}

/// The message of the page that is being sent.
struct Current {
    source: item::Source,
    /// Items that have been begun.
    begun: usize,
    /// FLAGS are added since `\Seen` was set by this command.
    seen_now: bool,
    /// Bytes that are on their way.
    stream: Option<Stream>,
}

/// A literal's bytes, of which some are left.
enum Stream {
    Bytes { reader: BlobReader, left: u64 },
    Decoded(decoding::Decoding<BlobReader>),
}

impl Session {
    pub(super) fn fetch(&mut self, tag: &str, numbering: Numbering, fetch: Fetch) -> Outcome {
        let Fetch { set, mut items, changed_since, vanished, page } = fetch;
        if page.is_some() && numbering != Numbering::Uid {
            return Err(Completion::bad("PARTIAL goes with UID FETCH").into());
        }
        if vanished && (numbering != Numbering::Uid || !self.enabled.qresync) {
            return Err(Completion::bad("VANISHED goes with UID FETCH, once QRESYNC is enabled").into());
        }
        let ranges = self.ranges(numbering, &set)?;
        let selected = self.selected()?;
        let missing = numbering == Numbering::Sequence && selected.view.has_losses() && lost_in(&selected.view, &ranges);
        let mut ranges: VecDeque<_> = selected.view.pieces(&ranges, usize::MAX).into_iter().flatten().collect();
        if let Some(page) = page {
            ranges = self.page_of(page, ranges, changed_since)?;
        }
        let selected = self.selected()?;
        let writable = selected.access == Access::ReadWrite;
        let sets_seen = writable && items.iter().any(item::sets_seen);
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        self.enabled.condstore |= items.contains(&FetchItem::ModSeq);
        // UID comes first, whoever asked for it where.
        if numbering == Numbering::Uid || items.contains(&FetchItem::Uid) {
            items.retain(|item| *item != FetchItem::Uid);
            items.insert(0, FetchItem::Uid);
        }
        let completion = if missing {
            Completion::no("EXPUNGEISSUED", "Some of the messages are gone")
        } else {
            Completion::ok("FETCH completed")
        };
        if vanished && let Some(since) = changed_since {
            // `*` reaches as far as UIDs were ever given: what vanished may have been the last.
            let asked = if set.is_saved() { self.selected()?.saved.clone() } else { set.resolve(self.uid_last()?) };
            let vanished = self.vanished_since(since, &asked, 0)?;
            self.tell_vanished_earlier(&vanished);
        }
        let ending = Ending::WithNews(tag.to_owned());
        let mut job = FetchJob::new(ending, numbering, items, ranges, completion);
        (job.changed_since, job.sets_seen) = (changed_since, sets_seen);
        Ok(Doing::Fetching(Box::new(job)))
    }

    /// The page of those messages (RFC 9394 §3.2); of those that changed, where only such are asked for.
    fn page_of(
        &self,
        page: Page,
        ranges: VecDeque<(Uid, Uid)>,
        changed_since: Option<ModSeq>,
    ) -> Result<VecDeque<(Uid, Uid)>, Refused> {
        let selected = self.selected()?;
        let within = ranges_of(&ranges.into_iter().collect::<Vec<_>>());
        let mut uids: Vec<u32> = selected.view.uids().iter().copied().filter(|uid| within.contains(*uid)).collect();
        if let Some(since) = changed_since {
            let changes = self.store().changes(self.account_id()?, selected.folder, since)?;
            let changed: Ranges = changes.changed.iter().map(|message| message.uid.0).collect();
            uids.retain(|uid| changed.contains(*uid));
        }
        let (from, to) = page.slice(uids.len());
        let chosen: Ranges = uids.get(from..to).unwrap_or_default().iter().copied().collect();
        Ok(chosen.as_slice().iter().map(|&(from, to)| (Uid(from), Uid(to))).collect())
    }

    /// Tells items of some messages as the last part of something else.
    pub(super) fn fetch_flags(&self, ranges: VecDeque<(Uid, Uid)>, items: Vec<FetchItem>, then: Then) -> Doing {
        let completion = Completion::ok("FETCH completed");
        Doing::Fetching(Box::new(FetchJob::new(Ending::Bare(then), Numbering::Uid, items, ranges, completion)))
    }

    /// What a client that watches wants to know of new messages; none of it sets `\Seen`.
    pub(super) fn fetch_new(&self, first: Uid, mut items: Vec<FetchItem>, then: Then) -> Doing {
        let last = self.selected.as_ref().map_or(0, |selected| selected.view.last_uid());
        items.retain(|item| *item != FetchItem::Uid);
        items.insert(0, FetchItem::Uid);
        self.fetch_flags(VecDeque::from([(first, Uid(last))]), items, then)
    }

    pub(super) fn fetch_on(&mut self, mut job: Box<FetchJob>) -> Doing {
        while self.out.len() < self.room {
            match self.fetch_more(&mut job) {
                Ok(More::ToCome) => {}
                Ok(More::Done) => {
                    let haste = if job.worked_out >= GISTS_TOGETHER { Haste::Last } else { Haste::None };
                    self.shared.gists.take(self.store(), &mut job.new, haste);
                    return match job.ending {
                        Ending::WithNews(tag) => self.finish(tag, job.completion, expunges_after(job.numbering)),
                        Ending::Bare(then) => self.go_on(then),
                    };
                }
                Err(Refused(completion)) => {
                    if job.current.is_some() {
                        // A response was cut off in its middle: nothing that follows could be understood.
                        tracing::warn!("a message could not be read to its end");
                        self.ended = true;
                        return Doing::Nothing;
                    }
                    job.completion = completion;
                }
            }
        }
        Doing::Fetching(job)
    }

    fn fetch_more(&mut self, job: &mut FetchJob) -> Result<More, Refused> {
        if let Some(current) = &mut job.current {
            if let Some(stream) = &mut current.stream {
                if !send_chunk(&mut self.out, stream, self.room)? {
                    current.stream = None;
                }
                return Ok(More::ToCome);
            }
            let index = current.begun;
            current.begun += 1;
            match (job.items.get(index), job.ahead.now()) {
                (Some(asked), Some(known)) => self.send_item(current, known, asked, index)?,
                _ => self.end_message(job)?,
            }
            return Ok(More::ToCome);
        }
        self.send_known(job)?;
        if job.ahead.now().is_some() {
            job.current = self.begin_response(job)?;
            if job.current.is_none() {
                job.ahead.advance();
            }
            return Ok(More::ToCome);
        }
        let Some((from, to)) = job.ranges.pop_front() else { return Ok(More::Done) };
        self.read_page(job, from, to)?;
        Ok(More::ToCome)
    }

    fn read_page(&mut self, job: &mut FetchJob, from: Uid, to: Uid) -> Result<(), Refused> {
        let account = self.account_id()?;
        let folder = self.selected()?.folder;
        let limit = match (job.sets_seen, job.wanted.any()) {
            (true, _) => SEEN_MESSAGES,
            (false, true) => EXCERPT_MESSAGES,
            (false, false) => PAGE_MESSAGES,
        };
        let mut page = self.store().messages(account, folder, from, to, limit)?;
        if page.len() == limit
            && let Some(after) = page.last().and_then(|last| last.uid.0.checked_add(1)).filter(|after| *after <= to.0)
        {
            job.ranges.push_front((Uid(after), to));
        }
        page.retain(|message| job.changed_since.is_none_or(|since| message.mod_seq > since));
        if job.sets_seen {
            job.seen_now = self.set_seen(&mut page)?;
        }
        self.shared.gists.take_much(self.store(), &mut job.new);
        job.ahead = Ahead::read(self.store(), account, page, job.wanted)?;
        Ok(())
    }

    /// RFC 3501 §6.4.5: fetching a body without PEEK sets `\Seen`.
    fn set_seen(&mut self, page: &mut [Message]) -> Result<Vec<Uid>, Refused> {
        let unseen: Vec<(Uid, Uid)> = page
            .iter()
            .filter(|message| message.flags.system & Flags::SEEN == 0)
            .map(|message| (message.uid, message.uid))
            .collect();
        if unseen.is_empty() {
            return Ok(Vec::new());
        }
        let account = self.account_id()?;
        let folder = self.selected()?.folder;
        let seen = Flags { system: Flags::SEEN, keywords: Vec::new() };
        let stored = self.store().change_flags(account, folder, unseen, FlagChange::Add, seen, None)?;
        let mut seen_now = Vec::with_capacity(stored.messages.len());
        for changed in stored.messages {
            if let Some(message) = page.iter_mut().find(|message| message.uid == changed.uid) {
                seen_now.push(changed.uid);
                *message = changed;
            }
        }
        Ok(seen_now)
    }

    /// Sends messages of the page as long as the store has at hand all that is asked of them, and there is room.
    fn send_known(&mut self, job: &mut FetchJob) -> Result<(), Refused> {
        if job.sets_seen {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        let view = &self.selected()?.view;
        while out.len() < self.room
            && let Some(known) = job.ahead.now()
            && !job.items.iter().any(|asked| asked.needs_bytes(known))
        {
            if let Some(place) = view.sequence_near(known.message.uid, &mut job.near) {
                let recent = view.recent(known.message.uid);
                begin(&mut out, place);
                for (index, asked) in job.items.iter().enumerate() {
                    if index > 0 {
                        out.push(b' ');
                    }
                    asked.write_known(&mut out, known, recent);
                }
                out.extend_from_slice(b")\r\n");
            }
            job.ahead.advance();
        }
        self.out = out;
        Ok(())
    }

    /// `* n FETCH (`; `None` where the client does not know the message, or it cannot be opened.
    fn begin_response(&mut self, job: &mut FetchJob) -> Result<Option<Current>, Refused> {
        let Some(known) = job.ahead.now() else { return Ok(None) };
        let Some(place) = self.selected()?.view.sequence_near(known.message.uid, &mut job.near) else { return Ok(None) };
        let reader = if job.items.iter().any(|asked| asked.needs_bytes(known)) {
            match job.ahead.open(&self.shared) {
                Ok(reader) => Some(reader),
                // One damaged message must not hide the others.
                Err(error) => {
                    job.completion = refusal(&error);
                    return Ok(None);
                }
            }
        } else {
            None
        };
        let Some(Known { message, .. }) = job.ahead.now() else { return Ok(None) };
        let seen_now = job.seen_now.contains(&message.uid);
        if seen_now {
            // It is told with the body, and need not be told again.
            self.selected_mut()?.view.tell(message.uid, message.mod_seq);
        }
        let mut source = item::Source::new(reader);
        if source.is_undecodable(message, &job.items, &self.shared.structures).map_err(unreadable)? {
            job.completion = Completion::no("UNKNOWN-CTE", "The transfer encoding of a part is not known here");
            return Ok(None);
        }
        begin(&mut self.out, place);
        Ok(Some(Current { source, begun: 0, seen_now, stream: None }))
    }

    fn send_item(&mut self, current: &mut Current, known: Known<'_>, asked: &Asked, index: usize) -> Result<(), Refused> {
        if index > 0 {
            self.out.push(b' ');
        }
        let recent = self.selected()?.view.recent(known.message.uid);
        let structures = &self.shared.structures;
        current.stream = match current.source.write(&mut self.out, known, asked, recent, structures).map_err(unreadable)? {
            Rest::Nothing => None,
            Rest::Bytes(span) => {
                let mut reader = self.open_again(&current.source, known.message)?;
                reader.seek(SeekFrom::Start(span.start)).map_err(unreadable)?;
                Some(Stream::Bytes { reader, left: span.len() })
            }
            Rest::Decoded(encoded, skip, take) => {
                let reader = self.open_again(&current.source, known.message)?;
                Some(Stream::Decoded(decoding::Decoding::new(reader, encoded, skip, take).map_err(unreadable)?))
            }
        };
        Ok(())
    }

    /// A reader of its own for what is streamed.
    fn open_again(&self, source: &item::Source, message: &Message) -> Result<BlobReader, Refused> {
        match source.again() {
            Some(reader) => Ok(reader),
            None => Ok(self.store().blob(&message.hash)?),
        }
    }

    /// The message that was being sent is told to its end.
    fn end_message(&mut self, job: &mut FetchJob) -> Result<(), Refused> {
        let account = self.account_id()?;
        if let Some((current, known)) = job.current.take().zip(job.ahead.now()) {
            self.end_response(&current, known.message, &job.items);
            let new = current.source.worked_out(account, known.message.record);
            job.worked_out += usize::from(!new.is_empty());
            job.new.extend(new);
        }
        job.ahead.advance();
        Ok(())
    }

    fn end_response(&mut self, current: &Current, message: &Message, items: &[Asked]) {
        let asks = |item: &FetchItem| items.iter().any(|asked| asked.item == *item);
        if current.seen_now && !asks(&FetchItem::Flags) {
            let recent = self.selected.as_ref().map_or(crate::flag::Recent::No, |selected| selected.view.recent(message.uid));
            put!(&mut self.out, " FLAGS (");
            crate::flag::write(&mut self.out, &message.flags, recent);
            put!(&mut self.out, ")");
            if self.enabled.condstore && !asks(&FetchItem::ModSeq) {
                put!(&mut self.out, " MODSEQ ({})", message.mod_seq.0);
            }
        }
        put!(&mut self.out, ")\r\n");
    }
}

impl FetchJob {
    fn new(
        ending: Ending,
        numbering: Numbering,
        items: Vec<FetchItem>,
        ranges: VecDeque<(Uid, Uid)>,
        completion: Completion,
    ) -> Self {
        let items: Vec<_> = items.into_iter().map(Asked::new).collect();
        Self {
            ending,
            numbering,
            wanted: Wanted::of(&items),
            items,
            changed_since: None,
            ranges,
            ahead: Ahead::default(),
            near: 0,
            new: Vec::new(),
            worked_out: 0,
            current: None,
            sets_seen: false,
            seen_now: Vec::new(),
            completion,
        }
    }
}

fn begin(out: &mut Vec<u8>, place: u32) {
    out.extend_from_slice(b"* ");
    number(out, place.into());
    out.extend_from_slice(b" FETCH (");
}

fn ranges_of(ranges: &[(Uid, Uid)]) -> Ranges {
    ranges.iter().map(|&(from, to)| (from.0, to.0)).collect()
}

enum More {
    ToCome,
    Done,
}

fn unreadable(error: std::io::Error) -> Refused {
    tracing::warn!(%error, "a message cannot be read");
    Refused(Completion::no("UNAVAILABLE", "A message cannot be read at the moment"))
}

/// Whether there is more.
fn send_chunk(out: &mut Vec<u8>, stream: &mut Stream, room: usize) -> Result<bool, Refused> {
    let (reader, left) = match stream {
        Stream::Bytes { reader, left } => (reader, left),
        Stream::Decoded(decoding) => return decoding.next(out).map_err(unreadable),
    };
    let size = usize::try_from((*left).min(CHUNK_BYTES)).unwrap_or_default();
    out.reserve_exact((room + size).saturating_sub(out.len()));
    if reader.append_to(out, size).map_err(unreadable)? < size {
        return Err(unreadable(std::io::ErrorKind::UnexpectedEof.into()));
    }
    *left -= size as u64;
    Ok(*left > 0)
}
