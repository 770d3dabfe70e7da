//! Letters that have come: what makes a delivery happen once.

use kith_protocol::address::Address;
use kith_protocol::ids::{AccountId, MailId};
use redb::ReadableTable;

use crate::schema::{LETTERS, LETTERS_BY_AGE};
use crate::{StoreError, Transaction};

/// How long a letter is remembered, ms: 400 days.
const REMEMBERED_MS: i64 = 400 * 24 * 3600 * 1000;
/// How many old ones go for each that comes. The clock may lie by years: so few that a wrong one does not empty the table.
const FORGOTTEN_AT_ONCE: usize = 2;

impl crate::Store {
    /// Whether a letter of a sender was received before.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn known_letter(&self, account: AccountId, from: &Address, mid: &MailId) -> Result<bool, StoreError> {
        self.read(|reader| Ok(reader.table(LETTERS)?.get((account.0, *from.key(), mid.0))?.is_some()))
    }
}

impl Transaction<'_> {
    /// Remembers a letter of a sender as received; `false` if it was known already (kept 400 days).
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remember_letter(
        &mut self,
        account: AccountId,
        from: &Address,
        mid: &MailId,
        wall_ms: i64,
    ) -> Result<bool, StoreError> {
        let key = (account.0, *from.key(), mid.0);
        if self.view(LETTERS)?.get(key)?.is_some() {
            return Ok(false);
        }
        self.table(LETTERS)?.insert(key, wall_ms)?;
        let mut by_age = self.table(LETTERS_BY_AGE)?;
        by_age.insert((wall_ms, key.0, key.1, key.2), ())?;
        let mut old = Vec::new();
        for row in by_age.range(..(wall_ms.saturating_sub(REMEMBERED_MS), 0, [0; 32], [0; 16]))?.take(FORGOTTEN_AT_ONCE) {
            old.push(row?.0.value());
        }
        for old in &old {
            by_age.remove(*old)?;
        }
        drop(by_age);
        let mut letters = self.table(LETTERS)?;
        for (_, account, from, mid) in old {
            letters.remove((account, from, mid))?;
        }
        Ok(true)
    }
}
