//! Messages that are sent next, with what the store has at hand of them.

use std::collections::VecDeque;

use kith_store::account::AccountId;
use kith_store::blob::BlobReader;
use kith_store::folder::Message;
use kith_store::header::Excerpt;
use kith_store::mailbox::{Gist, Gists};
use kith_store::{Store, StoreError};

use super::item::{Asked, Takes};
use crate::gist::listed;
use crate::limits::AHEAD_BYTES;
use crate::structure::Kept;

/// Messages that are opened at a time.
const AHEAD_MESSAGES: usize = 32;

/// What is asked of messages that the store may have at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    excerpts: bool,
    structures: bool,
    listings: bool,
}

impl Wanted {
    pub(super) fn of(items: &[Asked]) -> Self {
        let takes = |what| items.iter().any(|asked| asked.takes == what);
        Self { excerpts: takes(Takes::Excerpt), structures: takes(Takes::Structure), listings: takes(Takes::Listing) }
    }

    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

/// Some messages, of which one is next.
#[derive(Default)]
pub(super) struct Ahead {
    messages: Vec<Message>,
    excerpts: Vec<Excerpt>,
    structures: Gists,
    listings: Gists,
    at: usize,
    /// The bytes of some of those that follow; the first of them is at `opened_at`.
    opened: VecDeque<Option<BlobReader>>,
    opened_at: usize,
}

/// A message, and what is at hand of it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) message: &'a Message,
    /// A header with just the fields of an excerpt.
    pub(super) excerpt: Option<&'a [u8]>,
    pub(super) structure: Option<Kept<'a>>,
    /// A header with just the fields of a listing.
    pub(super) listing: Option<&'a [u8]>,
}

impl Ahead {
    pub(super) fn read(store: &Store, account: AccountId, messages: Vec<Message>, wanted: Wanted) -> Result<Self, StoreError> {
        let excerpts = if wanted.excerpts { store.excerpts(account, &messages)? } else { Vec::new() };
        let gists = |kind, wanted| if wanted { store.gists(account, kind, &messages) } else { Ok(Gists::default()) };
        let structures = gists(Gist::Structure, wanted.structures)?;
        let listings = gists(Gist::Listing, wanted.listings)?;
        Ok(Self { messages, excerpts, structures, listings, ..Self::default() })
    }

    /// The bytes of the next one: small ones are opened several at a time.
    pub(super) fn open(&mut self, store: &Store) -> Result<BlobReader, StoreError> {
        let Some(message) = self.messages.get(self.at) else { return Err(StoreError::NotFound("the message")) };
        while self.opened_at < self.at && self.opened.pop_front().is_some() {
            self.opened_at += 1;
        }
        if self.opened.is_empty() {
            let hashes = self.messages.iter().skip(self.at).take(AHEAD_MESSAGES).map(|message| &message.hash);
            self.opened = store.small_blobs(hashes, AHEAD_BYTES)?.into();
            self.opened_at = self.at;
        }
        let opened = if self.opened_at == self.at { self.opened.pop_front() } else { None };
        self.opened_at += usize::from(opened.is_some());
        match opened.flatten() {
            Some(reader) => Ok(reader),
            None => store.blob(&message.hash),
        }
    }

    /// The next one.
    pub(super) fn now(&self) -> Option<Known<'_>> {
        Some(Known {
            message: self.messages.get(self.at)?,
            excerpt: self.excerpts.get(self.at).and_then(Excerpt::header),
            structure: self.structures.find(self.at).and_then(Kept::read),
            listing: self.listings.find(self.at).and_then(listed),
        })
    }

    /// It is dealt with.
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }
}
