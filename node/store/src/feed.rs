//! The change feed: how an idling mail program and the engine learn of commits. No callbacks: numbers that grow, and a listener to wait on.

use event_listener::EventListener;
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
}

impl crate::Store {
    /// How often this topic has changed since the store was opened. Ask after `listen`, then wait: nothing is missed.
    pub fn position(&self, _topic: Topic) -> u64 {
        todo!()
    }
    /// A listener that wakes (async with `.await`, or `.wait_timeout()`) at the next change after this call, right after the commit.
    pub fn listen(&self, _topic: Topic) -> EventListener {
        todo!()
    }
}
