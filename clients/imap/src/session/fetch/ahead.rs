//! Messages that are sent next, with what the store has at hand of them.

use kith_store::account::AccountId;
use kith_store::blob::BlobReader;
use kith_store::folder::Message;
use kith_store::header::Excerpt;
use kith_store::mailbox::{Gist, Gists};
use kith_store::{Store, StoreError};

use super::super::Shared;
use super::item::{Asked, Takes};
use crate::gist::listed;
use crate::readahead::PageReader;
use crate::structure::Kept;

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
    reader: PageReader,
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

    /// The bytes of the next one.
    pub(super) fn open(&mut self, shared: &Shared) -> Result<BlobReader, StoreError> {
        self.reader.open(&shared.readahead, &shared.store, &self.messages, self.at)
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
