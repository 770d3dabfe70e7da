//! What is worked out of messages and kept in the store: the header fields that lists show, and gists on their way there.
//!
//! The structure's is written by `structure/describe.rs`, that of the keys by `keys.rs`.

use std::sync::{Mutex, PoisonError};

use kith_store::Store;
use kith_store::header::Excerpt;
use kith_store::mailbox::{GIST_BYTES_MAX, NewGist};

use crate::limits::{GISTS_BYTES, GISTS_TOGETHER};
use crate::structure::fields;

/// What stands in front of a listing. A greater one with every change of [`LISTED`].
const LISTING_VERSION: u8 = 1;

/// The fields that mail programs list beside those of an excerpt.
const LISTED: [&str; 22] = [
    "Received",
    "Content-Type",
    "Priority",
    "X-Priority",
    "Importance",
    "Newsgroups",
    "MIME-Version",
    "Content-Transfer-Encoding",
    "Content-Description",
    "Lines",
    "List-Id",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "Delivered-To",
    "X-Original-To",
    "X-Label",
    "X-Spam-Status",
    "Disposition-Notification-To",
    "Auto-Submitted",
    "X-K9mail-Identity",
    "Chat-Version",
];

/// Would a field of this name be in a listing?
pub(crate) fn is_listed(name: &str) -> bool {
    Excerpt::covers(name) || LISTED.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// The listing of a header: the fields that are in one byte for byte and in their order, as a gist; `None` where it is too large.
pub(crate) fn listing(header: &[u8]) -> Option<Box<[u8]>> {
    let mut gist = vec![LISTING_VERSION];
    for field in fields(header) {
        if std::str::from_utf8(field.name).is_ok_and(is_listed) {
            gist.extend_from_slice(field.raw);
            if gist.len() > GIST_BYTES_MAX {
                return None;
            }
        }
    }
    Some(gist.into_boxed_slice())
}

/// A listing that was kept, as a header of its own; `None` where it is of another version.
pub(crate) fn listed(gist: &[u8]) -> Option<&[u8]> {
    gist.strip_prefix(&[LISTING_VERSION])
}

/// Gists that wait until there are enough of them: one message that is read causes no writing.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Vec<NewGist>>);

/// Whether gists are written although they are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Not yet.
    None,
    /// Many messages have been read, these last.
    Last,
}

impl Waiting {
    /// Takes in what one command has worked out so far, where it is much.
    pub(crate) fn take_much(&self, store: &Store, new: &mut Vec<NewGist>) {
        if new.iter().map(|gist| gist.bytes.len()).sum::<usize>() >= GISTS_BYTES {
            self.take(store, new, Haste::None);
        }
    }

    /// Takes them in, and hands all that wait to the store where they are enough.
    pub(crate) fn take(&self, store: &Store, new: &mut Vec<NewGist>, haste: Haste) {
        if new.is_empty() {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.append(new);
        if waiting.len() >= GISTS_TOGETHER || haste == Haste::Last {
            let all = std::mem::take(&mut *waiting);
            drop(waiting);
            store.keep_gists(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_the_header_without_the_rest() {
        let header = b"Received: a\r\n b\r\nX-Other: c\r\nSUBJECT : d\r\n e: f\r\nnonsense\r\nreceived: g\nContent-Type: h";
        let gist = listing(header).unwrap();
        assert_eq!(listed(&gist), Some(&b"Received: a\r\n b\r\nSUBJECT : d\r\n e: f\r\nreceived: g\nContent-Type: h"[..]));
        assert_eq!(listed(b""), None);
        assert_eq!(listed(&[LISTING_VERSION + 1]), None);
        assert_eq!(listing(format!("To: {}\r\n", "x".repeat(GIST_BYTES_MAX)).as_bytes()), None);
    }
}
