//! The change feed: how an idling mail program and the engine learn of commits. No callbacks: numbers that grow, and a listener to wait on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use event_listener::{Event, EventListener};
use kith_protocol::ids::AccountId;

/// What to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// An account's mailbox: mails, flags, folders.
    Mailbox(AccountId),
    /// The queue: new, withdrawn or hurried entries.
    Queue,
    /// Accounts and contacts.
    People,
    /// Mail for ordinary addresses: new, withdrawn, released or hurried entries.
    Legacy,
}

/// One counter and one event a topic. As many as there are accounts, and three.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    topics: Mutex<BTreeMap<Topic, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    position: u64,
    event: Event,
}

impl Feed {
    fn topics(&self) -> MutexGuard<'_, BTreeMap<Topic, Line>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a commit that touched these and wakes who listens.
    pub(crate) fn publish(&self, touched: &BTreeSet<Topic>) {
        let mut topics = self.topics();
        for topic in touched {
            let line = topics.entry(*topic).or_default();
            line.position += 1;
            line.event.notify(usize::MAX);
        }
    }
}

impl crate::Store {
    /// How often this topic has changed since the store was opened. Ask after `listen`, then wait: nothing is missed.
    pub fn position(&self, topic: Topic) -> u64 {
        self.core().feed.topics().get(&topic).map_or(0, |line| line.position)
    }

    /// A listener that wakes (async with `.await`, or `.wait_timeout()`) at the next change after this call, right after the commit.
    pub fn listen(&self, topic: Topic) -> EventListener {
        self.core().feed.topics().entry(topic).or_default().event.listen()
    }
}
