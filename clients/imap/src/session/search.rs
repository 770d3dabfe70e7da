//! SEARCH, SORT and THREAD (RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 5256, RFC 7162 §3.1.5, RFC 9394): page by page, what is cheap to know
//! before what has to be read.

mod answer;
mod indexing;
mod matching;

use std::sync::Arc;

use kith_store::folder::{ModSeq, Uid};
use kith_store::mailbox::NewGist;

use super::bulk::Told;
use super::change::expunges_after;
use super::{Completion, Doing, Outcome, Refused, Session};
use crate::command::{Charset, Criterion, Numbering, Search, SearchKey, SearchReturn};
use crate::index::Index;
use crate::limits::{EXCERPT_MESSAGES, PAGE_MESSAGES, SEARCH_STEP_BYTES, SEARCH_STEP_MESSAGES};
use crate::readahead::PageReader;
use crate::set::Ranges;
use crate::sorting::SortKey;
use crate::threading::Algorithm;
use indexing::Began;

/// What the search is for.
pub(super) enum Purpose {
    Search,
    Sort(Vec<Criterion>),
    Thread(Algorithm),
}

impl Purpose {
    /// Whether the keys of what is found are looked at.
    fn reads_keys(&self) -> bool {
        match self {
            Self::Search => false,
            Self::Sort(criteria) => criteria.iter().any(|criterion| !matches!(criterion.key, SortKey::Arrival | SortKey::Size)),
            Self::Thread(_) => true,
        }
    }
}

/// A SEARCH, SORT or THREAD under way.
pub(super) struct SearchJob {
    tag: String,
    numbering: Numbering,
    purpose: Purpose,
    search: Search,
    /// The UID that is looked at next; `None` when all have been.
    next: Option<Uid>,
    last: Uid,
    /// UIDs, ascending.
    found: Vec<u32>,
    /// Highest MODSEQ of those found, of the first and of the last of them.
    highest: ModSeq,
    first: ModSeq,
    latest: ModSeq,
    wants_mod_seq: bool,
    /// Messages are looked at by their keys: to sort or thread them, or to tell when they were sent.
    wants_keys: bool,
    /// Nothing else is asked of them, so that the index of the folder has all that it takes.
    by_keys: bool,
    /// That index.
    shared: Option<Arc<Index>>,
    /// Without one: what was found, or everything that was looked at where that may become the folder's index.
    gathered: Index,
    /// Where in either what was found is.
    places: Vec<usize>,
    /// What the folder was when the search began.
    began: Began,
    /// Worked out, to be kept.
    new: Vec<NewGist>,
    /// Messages of which something was worked out.
    worked_out: usize,
    told: Told,
}

impl Session {
    pub(super) fn search(&mut self, tag: &str, numbering: Numbering, mut search: Search, purpose: Purpose) -> Outcome {
        self.selected()?;
        if search.charset == Charset::Unknown {
            return Err(Refused(Completion::no("BADCHARSET (UTF-8 US-ASCII)", "This charset is not known here")));
        }
        if self.enabled.utf8 && search.charset_named && matches!(purpose, Purpose::Search) {
            return Err(Completion::bad("Once UTF8=ACCEPT is enabled a search names no charset (RFC 6855 §3)").into());
        }
        if self.enabled.rev2 && matches!(purpose, Purpose::Search) && search.returns.is_none() {
            search.returns = Some(SearchReturn { all: true, ..SearchReturn::default() });
        }
        let wants_mod_seq = search.keys.iter().any(matching::names_mod_seq);
        self.enabled.condstore |= wants_mod_seq;
        search.keys = search.keys.into_iter().map(|key| self.with_uids(key)).collect::<Result<_, _>>()?;
        let (first, last) = self.span(&search.keys)?;
        let wants_keys = purpose.reads_keys() || search.keys.iter().any(matching::reads_keys);
        let (began, shared) = if wants_keys { self.begin_by_keys()? } else { (Began::default(), None) };
        let by_keys = wants_keys && search.keys.iter().all(matching::is_by_keys);
        let job = SearchJob {
            tag: tag.to_owned(),
            numbering,
            purpose,
            search,
            next: Some(first),
            last,
            found: Vec::new(),
            highest: ModSeq(0),
            first: ModSeq(0),
            latest: ModSeq(0),
            wants_mod_seq,
            wants_keys,
            by_keys,
            shared,
            gathered: Index::default(),
            places: Vec::new(),
            began,
            new: Vec::new(),
            worked_out: 0,
            told: self.told_now(),
        };
        Ok(Doing::Searching(Box::new(job)))
    }

    /// A key with its sets as UIDs.
    fn with_uids(&self, key: SearchKey) -> Result<SearchKey, Refused> {
        let among = |numbering, set: &_| -> Result<SearchKey, Refused> {
            let ranges: Ranges = self.ranges(numbering, set)?.into_iter().map(|(from, to)| (from.0, to.0)).collect();
            Ok(SearchKey::Among(ranges))
        };
        Ok(match key {
            SearchKey::Sequence(set) => among(Numbering::Sequence, &set)?,
            SearchKey::Uid(set) => among(Numbering::Uid, &set)?,
            SearchKey::Not(key) => SearchKey::Not(Box::new(self.with_uids(*key)?)),
            SearchKey::Or(one, other) => SearchKey::Or(Box::new(self.with_uids(*one)?), Box::new(self.with_uids(*other)?)),
            SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(|key| self.with_uids(key)).collect::<Result<_, _>>()?),
            key => key,
        })
    }

    /// The UIDs within which anything can be found.
    fn span(&self, keys: &[SearchKey]) -> Result<(Uid, Uid), Refused> {
        let mut span = (1, self.selected()?.view.last_uid());
        for key in keys {
            if let SearchKey::Among(ranges) = key {
                let ends = ranges.as_slice().first().zip(ranges.as_slice().last());
                span = ends.map_or((1, 0), |(first, last)| (span.0.max(first.0), span.1.min(last.1)));
            }
        }
        Ok((Uid(span.0), Uid(span.1)))
    }

    pub(super) fn search_on(&mut self, mut job: Box<SearchJob>) -> Doing {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(from) = job.next {
            if messages >= SEARCH_STEP_MESSAGES || bytes >= SEARCH_STEP_BYTES {
                self.tell_searched(&mut job);
                return Doing::Searching(job);
            }
            match self.search_page(&mut job, from) {
                Ok((looked_at, read)) => {
                    messages += looked_at;
                    bytes += read;
                }
                Err(Refused(completion)) => {
                    self.save_nothing(&job);
                    let expunges = expunges_after(job.numbering);
                    return self.finish(job.tag, completion, expunges);
                }
            }
        }
        let completion = Completion::ok(match job.purpose {
            Purpose::Search => "SEARCH completed",
            Purpose::Sort(..) => "SORT completed",
            Purpose::Thread(..) => "THREAD completed",
        });
        self.tell_found(&mut job);
        self.end_by_keys(*job, completion)
    }

    /// Lets what was gathered be of use to others.
    fn end_by_keys(&mut self, mut job: SearchJob, completion: Completion) -> Doing {
        self.keep_worked_out(&mut job, true);
        self.share_gathered(job.began, std::mem::take(&mut job.gathered));
        let expunges = expunges_after(job.numbering);
        self.finish(job.tag, completion, expunges)
    }

    /// How many messages have been looked at, of how many.
    fn tell_searched(&mut self, job: &mut SearchJob) {
        let Some((next, selected)) = job.next.zip(self.selected.as_ref()) else { return };
        let done = selected.view.uids().partition_point(|uid| *uid < next.0);
        let all = selected.view.len();
        self.tell_progress(&mut job.told, &job.tag, Some((done, all)));
    }

    /// Looks at some messages; gives how many, and how many bytes were read for that.
    fn search_page(&mut self, job: &mut SearchJob, from: Uid) -> Result<(usize, u64), Refused> {
        let account = self.account_id()?;
        let folder = self.selected()?.folder;
        if from > job.last {
            job.next = None;
            return Ok((0, 0));
        }
        if job.by_keys
            && let Some(index) = job.shared.clone()
        {
            return self.search_index(job, &index, from);
        }
        let page = self.store().messages(account, folder, from, job.last, PAGE_MESSAGES)?;
        let looked_at = page.len();
        job.next = page.last().filter(|_| looked_at == PAGE_MESSAGES).and_then(|last| last.uid.0.checked_add(1)).map(Uid);
        let mut candidates = Vec::new();
        let mut near = 0;
        for message in page {
            if self.selected()?.view.sequence_near(message.uid, &mut near).is_some()
                && self.may_match(&job.search.keys, &message)?
            {
                candidates.push(message);
            }
        }
        let wants_excerpts = job.search.keys.iter().any(matching::reads_header);
        let gathers_all = job.by_keys && job.began.can_be_shared();
        let opens_all = matching::reads_all_texts(&job.search.keys);
        let mut read = 0;
        for some in candidates.chunks(EXCERPT_MESSAGES) {
            let all_bytes = self.known_of(account, some, wants_excerpts, job.wants_keys, job.shared.as_deref())?;
            let mut reader = PageReader::default();
            for (place, (message, mut bytes)) in some.iter().zip(all_bytes).enumerate() {
                // A page of large messages is left in its middle, so that one session does not hold a thread for long.
                if read >= SEARCH_STEP_BYTES {
                    job.next = Some(message.uid);
                    self.keep_worked_out(job, false);
                    return Ok((looked_at, read));
                }
                if opens_all {
                    bytes.reader = reader.open(&self.shared.readahead, self.store(), some, place).ok();
                }
                let matches = self.matches_rest(&job.search.keys, message, &mut bytes)?;
                if matches {
                    if job.found.is_empty() {
                        job.first = message.mod_seq;
                    }
                    job.latest = message.mod_seq;
                    job.highest = job.highest.max(message.mod_seq);
                    job.found.push(message.uid.0);
                }
                if gathers_all || matches && !matches!(job.purpose, Purpose::Search) {
                    self.gather(job, message, &mut bytes, matches)?;
                }
                if let Some(new) = bytes.new_gist(account, message) {
                    job.new.push(new);
                    job.worked_out += 1;
                }
                read += bytes.read;
            }
        }
        self.keep_worked_out(job, false);
        Ok((looked_at, read))
    }
}
