//! What a search tells: SEARCH, ESEARCH, SORT and THREAD responses, and what it saves for `$`.

use super::{Purpose, SearchJob, Session};
use crate::command::{Numbering, SearchReturn};
use crate::response::{number, put};
use crate::set::{InOrder, Ranges};
use crate::sorting::sorted;
use crate::threading::threads;

impl Session {
    /// A search that failed has found nothing (RFC 5182 §2.1).
    pub(super) fn save_nothing(&mut self, job: &SearchJob) {
        if job.search.returns.is_some_and(|returns| returns.save)
            && let Some(selected) = &mut self.selected
        {
            selected.saved = Ranges::default();
        }
    }

    pub(super) fn tell_found(&mut self, job: &mut SearchJob) {
        let Some(selected) = &mut self.selected else { return };
        let out = &mut self.out;
        let found = std::mem::take(&mut job.found);
        let (index, places) = job.gathered();
        let uids = match &job.purpose {
            Purpose::Search => found,
            Purpose::Sort(criteria) => sorted(index, places, criteria),
            Purpose::Thread(algorithm) => {
                put!(out, "* THREAD ");
                let number = |uid| match job.numbering {
                    Numbering::Uid => uid,
                    Numbering::Sequence => selected.view.sequence(kith_store::folder::Uid(uid)).unwrap_or(uid),
                };
                threads(index, places, *algorithm).write(out, number);
                if out.ends_with(b" ") {
                    out.pop();
                }
                return put!(out, "\r\n");
            }
        };
        if let Some(returns) = job.search.returns.filter(|returns| returns.save) {
            selected.saved = saved(&uids, returns);
        }
        let shown: Vec<u32> = match job.numbering {
            Numbering::Uid => uids,
            Numbering::Sequence => {
                uids.into_iter().filter_map(|uid| selected.view.sequence(kith_store::folder::Uid(uid))).collect()
            }
        };
        let Some(returns) = job.search.returns else {
            out.extend_from_slice(if job.is_sort() { b"* SORT" } else { b"* SEARCH" });
            for shown in &shown {
                out.push(b' ');
                number(out, (*shown).into());
            }
            if job.wants_mod_seq && !shown.is_empty() {
                put!(out, " (MODSEQ {})", job.highest.0);
            }
            return put!(out, "\r\n");
        };
        // RFC 5182 §2.1: who only saves is told nothing.
        let says = returns.min || returns.max || returns.all || returns.count || returns.partial.is_some();
        if says {
            put!(out, "* ESEARCH (TAG \"{}\")", job.tag);
            if job.numbering == Numbering::Uid {
                put!(out, " UID");
            }
            write_returns(out, job, &shown, returns);
            put!(out, "\r\n");
        }
    }
}

/// RFC 5182 §2.1, RFC 9394 §3.1: just the ends or the page where nothing else was asked for.
fn saved(uids: &[u32], returns: SearchReturn) -> Ranges {
    let some = returns.min || returns.max || returns.partial.is_some();
    let mut kept: Vec<u32> = if some && !returns.all && !returns.count {
        let ends = [uids.first().filter(|_| returns.min), uids.last().filter(|_| returns.max)];
        let page = returns.partial.map(|page| page.slice(uids.len()));
        let page = page.and_then(|(from, to)| uids.get(from..to)).unwrap_or_default();
        ends.into_iter().flatten().chain(page).copied().collect()
    } else {
        uids.to_vec()
    };
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().collect()
}

fn write_returns(out: &mut Vec<u8>, job: &SearchJob, shown: &[u32], returns: SearchReturn) {
    if let (Some(first), Some(last)) = (shown.first(), shown.last()) {
        if returns.min {
            put!(out, " MIN {first}");
        }
        if returns.max {
            put!(out, " MAX {last}");
        }
        if returns.all {
            put!(out, " ALL {}", InOrder(shown));
        }
        if job.wants_mod_seq {
            // RFC 7162 §3.1.5: of what is told, if only the ends are.
            let mod_seq = match (returns.all || returns.count || returns.partial.is_some(), returns.min, returns.max) {
                (true, ..) => job.highest,
                (false, true, false) => job.first,
                (false, false, true) => job.latest,
                (false, ..) => job.first.max(job.latest),
            };
            put!(out, " MODSEQ {}", mod_seq.0);
        }
    }
    if returns.count {
        put!(out, " COUNT {}", shown.len());
    }
    if let Some(page) = returns.partial {
        let (from, to) = page.slice(shown.len());
        match shown.get(from..to) {
            Some(some) if !some.is_empty() => put!(out, " PARTIAL ({page} {})", InOrder(some)),
            _ => put!(out, " PARTIAL ({page} NIL)"),
        }
    }
}
