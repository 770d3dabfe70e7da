//! Messages that are needed soon. Small ones are opened several at a time, and the next of them by a thread of its own while these are dealt with: where a
//! machine has a core to spare, reading and parsing do not wait for each other.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kith_store::blob::{BlobHash, BlobReader, INLINE_BYTES_MAX, Unchecked};
use kith_store::folder::Message;
use kith_store::{Store, StoreError};

use crate::limits::TOGETHER_BYTES;

/// Messages that are read at a time, at most.
const TOGETHER_MAX: usize = 32;
/// How often the thread may be ahead by as many. It is the more seldom put to sleep the farther it is ahead.
const COMING_MAX: usize = 3;
/// What may wait for the thread; sessions beyond read for themselves.
const WAITING_MAX: usize = 12;

/// `None` in the place of what has to be opened by itself.
type Answer = Result<Vec<Option<Unchecked>>, StoreError>;

/// What is to be read, and who wants to know.
struct Job {
    store: Store,
    hashes: Vec<BlobHash>,
    reply: SyncSender<Answer>,
}

/// The thread that reads ahead, for all sessions. It begins when it is first of use, and ends with the port and its last session.
#[derive(Default)]
pub(crate) struct Readahead {
    jobs: OnceLock<Option<SyncSender<Job>>>,
}

impl Readahead {
    /// Begins to read these. `None` where the thread has enough to do, or there is none.
    fn begin(&self, store: &Store, hashes: Vec<BlobHash>) -> Option<Receiver<Answer>> {
        let jobs = self.jobs.get_or_init(|| start().inspect_err(|error| tracing::warn!(%error, "nothing is read ahead")).ok());
        let (reply, answer) = sync_channel(1);
        jobs.as_ref()?.try_send(Job { store: store.clone(), hashes, reply }).ok()?;
        Some(answer)
    }
}

fn start() -> io::Result<SyncSender<Job>> {
    let (sender, jobs) = sync_channel::<Job>(WAITING_MAX);
    std::thread::Builder::new().name("kith-readahead".to_owned()).spawn(move || {
        for Job { store, hashes, reply } in jobs {
            // Whoever asked may have no use for it any more.
            drop(reply.send(store.small_blobs(&hashes)));
        }
    })?;
    Ok(sender)
}

/// Opens the messages of a page, one after the other.
#[derive(Default)]
pub(crate) struct PageReader {
    /// Some that follow each other.
    read: VecDeque<Option<Unchecked>>,
    /// The place of the first of them in the page.
    from: usize,
    /// The place after the one that was asked for last.
    after: usize,
    /// Those that the thread reads.
    coming: VecDeque<(Range<usize>, Receiver<Answer>)>,
}

impl PageReader {
    /// Opens the message at `at` of a page, with some that follow it. The places asked for ascend; passing some over is allowed.
    ///
    /// # Errors
    /// As [`Store::blob`].
    pub(crate) fn open(
        &mut self,
        readahead: &Readahead,
        store: &Store,
        page: &[Message],
        at: usize,
    ) -> Result<BlobReader, StoreError> {
        let Some(message) = page.get(at) else { return Err(StoreError::NotFound("the message")) };
        let follows = at == self.after;
        self.after = at + 1;
        self.pass_over(at);
        if self.read.is_empty() {
            self.next(if follows { Some(readahead) } else { None }, store, page, at);
            self.pass_over(at);
        }
        let read = if self.from == at { self.read.pop_front() } else { None };
        self.from += usize::from(read.is_some());
        match read.flatten() {
            Some(message) => message.check(),
            None => store.blob(&message.hash),
        }
    }

    fn pass_over(&mut self, at: usize) {
        while self.from < at && self.read.pop_front().is_some() {
            self.from += 1;
        }
    }

    /// Those among which the one at `at` is: it alone, and nothing is read ahead, where others were passed over. Where some cannot be read together, each is
    /// opened by itself: one damaged message must not hide the others.
    fn next(&mut self, readahead: Option<&Readahead>, store: &Store, page: &[Message], at: usize) {
        while self.coming.front().is_some_and(|(places, _)| places.end <= at) {
            self.coming.pop_front();
        }
        let coming = self.coming.pop_front();
        let afresh = || if readahead.is_some() { together(page, at) } else { at..at + 1 };
        let places = coming.as_ref().map_or_else(afresh, |(places, _)| places.clone());
        if let Some(readahead) = readahead {
            // Before anything is waited for.
            self.begin_more(readahead, store, page, places.end);
        }
        let read = coming.and_then(|(_, answer)| answer.recv().ok());
        let read = read.unwrap_or_else(|| store.small_blobs(&hashes(page, places.clone())));
        self.from = places.start;
        self.read = read.map_or_else(|_| places.map(|_| None).collect(), VecDeque::from);
    }

    /// Keeps the thread busy, from `next` on or with what follows that which it reads already.
    fn begin_more(&mut self, readahead: &Readahead, store: &Store, page: &[Message], next: usize) {
        let mut next = self.coming.back().map_or(next, |(places, _)| places.end);
        while self.coming.len() < COMING_MAX && next < page.len() {
            let places = together(page, next);
            next = places.end;
            let Some(coming) = readahead.begin(store, hashes(page, places.clone())) else { break };
            self.coming.push_back((places, coming));
        }
    }
}

/// Which messages are read together, from there on.
fn together(page: &[Message], from: usize) -> Range<usize> {
    let mut bytes = 0;
    let fit = page.iter().skip(from).take(TOGETHER_MAX).take_while(|message| {
        // Large ones are opened when it is their turn.
        bytes += if message.size <= INLINE_BYTES_MAX { message.size } else { 0 };
        bytes <= TOGETHER_BYTES
    });
    from..from + fit.count().max(1)
}

fn hashes(page: &[Message], places: Range<usize>) -> Vec<BlobHash> {
    page.get(places).into_iter().flatten().map(|message| message.hash).collect()
}
