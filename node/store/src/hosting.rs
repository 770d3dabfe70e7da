//! What this node keeps for others: whom it agreed to keep letters for, and by which rules.
//!
//! A *permit* is a promise of room to whoever shows its token; the first queue that does is its only one from then on. A *hosted* queue is
//! somebody's mailbox here. Its letters are in `hosting/held.rs`, its stamps and records in `hosting/deposits.rs`.

mod deposits;
mod held;

use kith_protocol::address::Address;
use kith_protocol::event::HostedQueue;
use kith_protocol::ids::{AccountId, QueueName};
use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};

pub use deposits::{KEPT_RECORDS_MAX, KeptRecord, MARK_WEEKS_MAX, WEEK_MARKS_MAX};
pub(crate) use held::HELD_ENVELOPE;
pub use held::{HELD_RANGE_BYTES_MAX, HeldBytes};

use crate::schema::{HOSTED, META, PERMITS, meta};
use crate::{Store, StoreError, Transaction, row};

/// Permits of a node at most.
pub const PERMITS_MAX: u64 = 1024;
/// Hosted queues of a node at most.
pub const HOSTED_MAX: u64 = 1024;
/// Bytes of a permit's or relay's label at most.
pub const LABEL_BYTES_MAX: usize = 256;

pub(crate) const PERMIT: &str = "a permit";
pub(crate) const HOSTED_QUEUE: &str = "a hosted mailbox";

/// Room promised to whoever shows the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// What opens it: a secret between the node and the person.
    #[serde(with = "serde_bytes")]
    pub token: [u8; 32],
    /// Who of the household gave it.
    pub account: AccountId,
    /// To whom, where that is known.
    pub address: Option<Address>,
    /// The petname, or what was typed: at most [`LABEL_BYTES_MAX`] bytes.
    pub label: String,
    /// Bytes of envelopes kept at most.
    pub bytes: u64,
    /// Envelopes kept at most.
    pub count: u32,
    /// Bytes of the largest envelope taken.
    pub largest: u64,
    /// Whose it is, once it was used.
    pub queue: Option<QueueName>,
    /// Wall ms.
    pub created_ms: i64,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token, which is a secret.
        f.debug_struct("Permit").field("account", &self.account).field("queue", &self.queue).finish_non_exhaustive()
    }
}

pub(crate) fn check_label(label: &str) -> Result<(), StoreError> {
    if label.len() <= LABEL_BYTES_MAX {
        return Ok(());
    }
    Err(StoreError::Invalid(format!("a label has at most {LABEL_BYTES_MAX} bytes")))
}

impl Store {
    /// All permits, by token.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn permits(&self) -> Result<Vec<Permit>, StoreError> {
        self.read(|reader| {
            let mut permits = Vec::new();
            for found in reader.table(PERMITS)?.iter()? {
                permits.push(row::decode(found?.1.value(), PERMIT)?);
            }
            Ok(permits)
        })
    }

    /// The permit of a token.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn permit(&self, token: &[u8; 32]) -> Result<Option<Permit>, StoreError> {
        self.read(|reader| reader.table(PERMITS)?.get(token)?.map(|found| row::decode(found.value(), PERMIT)).transpose())
    }

    /// The mailboxes of others that letters are kept for, by queue.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn hosted(&self) -> Result<Vec<HostedQueue>, StoreError> {
        self.read(|reader| {
            let mut hosted = Vec::new();
            for found in reader.table(HOSTED)?.iter()? {
                hosted.push(row::decode(found?.1.value(), HOSTED_QUEUE)?);
            }
            Ok(hosted)
        })
    }

    /// How far the clock of what is kept had come, in ms, and the wall ms of that moment; zeros where it never ran.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn hosting_clock(&self) -> Result<(u64, i64), StoreError> {
        self.read(|reader| {
            let table = reader.table(META)?;
            let number = |name| -> Result<u64, StoreError> { Ok(table.get(name)?.map_or(0, |found| found.value())) };
            Ok((number(meta::HOSTING_PASSED)?, number(meta::HOSTING_WALL)?.cast_signed()))
        })
    }
}

impl Transaction<'_> {
    /// Adds or replaces (by token) a permit.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` for a long label or beyond [`PERMITS_MAX`].
    pub fn put_permit(&mut self, permit: &Permit) -> Result<(), StoreError> {
        check_label(&permit.label)?;
        self.need_account(permit.account)?;
        let bytes = row::encode(permit, PERMIT)?;
        let mut table = self.table(PERMITS)?;
        table.insert(permit.token, bytes.as_slice())?;
        if table.len()? > PERMITS_MAX {
            return Err(StoreError::Invalid(format!("a node gives at most {PERMITS_MAX} permits; withdraw one first")));
        }
        Ok(())
    }

    /// Withdraws a permit; `false` where there is none. The mailbox that used it stays until [`Transaction::unhost`].
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_permit(&mut self, token: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.table(PERMITS)?.remove(token)?.is_some())
    }

    /// Withdraws the permits that an account gave.
    pub(crate) fn remove_permits(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.table(PERMITS)?.retain(|_, bytes| !row::decode::<Permit>(bytes, PERMIT).is_ok_and(|it| it.account == account))?;
        Ok(())
    }

    /// Keeps letters for this queue from now on, or by these rules from now on. With a ticket the permit of that token is this queue's
    /// from now on.
    ///
    /// # Errors
    /// `Invalid` when there is no such permit or it is another queue's, or beyond [`HOSTED_MAX`].
    pub fn host(&mut self, rules: &HostedQueue, ticket: Option<&[u8; 32]>) -> Result<(), StoreError> {
        if let Some(token) = ticket {
            self.bind(token, &rules.queue)?;
        }
        let bytes = row::encode(rules, HOSTED_QUEUE)?;
        let mut table = self.table(HOSTED)?;
        table.insert(rules.queue.0, bytes.as_slice())?;
        if table.len()? > HOSTED_MAX {
            return Err(StoreError::Invalid(format!("a node keeps letters for at most {HOSTED_MAX} mailboxes")));
        }
        Ok(())
    }

    fn bind(&mut self, token: &[u8; 32], queue: &QueueName) -> Result<(), StoreError> {
        let refused = || StoreError::Invalid("the token is unknown here, or another mailbox's".to_owned());
        let found = self.view(PERMITS)?.get(token)?.map(|found| row::decode::<Permit>(found.value(), PERMIT)).transpose()?;
        let permit = found.filter(|permit| permit.queue.is_none_or(|bound| bound == *queue)).ok_or_else(refused)?;
        if permit.queue.is_none() {
            let bound = row::encode(&Permit { queue: Some(*queue), ..permit }, PERMIT)?;
            self.table(PERMITS)?.insert(token, bound.as_slice())?;
        }
        Ok(())
    }

    /// Whether letters are kept for a queue.
    pub(crate) fn is_hosted(&self, queue: &QueueName) -> Result<bool, StoreError> {
        Ok(self.view(HOSTED)?.get(queue.0)?.is_some())
    }

    /// Hosts a queue no more: its letters, stamps and records go. A permit stays bound to it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn unhost(&mut self, queue: &QueueName) -> Result<(), StoreError> {
        self.table(HOSTED)?.remove(queue.0)?;
        self.forget_held_for(queue)?;
        self.remove_deposits(queue)
    }

    /// Remembers how far the clock of what is kept has come, in ms, and the wall ms of that moment.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn put_hosting_clock(&mut self, passed_ms: u64, at_wall_ms: i64) -> Result<(), StoreError> {
        let mut table = self.table(META)?;
        table.insert(meta::HOSTING_PASSED, passed_ms)?;
        table.insert(meta::HOSTING_WALL, at_wall_ms.cast_unsigned())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
