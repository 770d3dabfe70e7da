//! Letters that have come: what makes a delivery happen once.

use kith_protocol::address::Address;
use kith_protocol::ids::{AccountId, MailId};
use redb::ReadableTable;

use crate::schema::{LETTERS, LETTERS_BY_AGE, META, meta};
use crate::{StoreError, Transaction};

/// How long a letter is remembered, ms: 400 days.
const REMEMBERED_MS: i64 = 400 * DAY_MS;
/// How many old ones go for each that comes.
const FORGOTTEN_AT_ONCE: usize = 2;
/// What the clock that letters are dated by moves on at most from one letter to the next, whatever the wall's says, ms: a day.
const DAY_MS: i64 = 24 * 3600 * 1000;

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
        let date = self.letters_clock(wall_ms)?;
        self.table(LETTERS)?.insert(key, date)?;
        let mut by_age = self.table(LETTERS_BY_AGE)?;
        by_age.insert((date, key.0, key.1, key.2), ())?;
        let mut old = Vec::new();
        for row in by_age.range(..(date.saturating_sub(REMEMBERED_MS), 0, [0; 32], [0; 16]))?.take(FORGOTTEN_AT_ONCE) {
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

    /// The clock that letters are dated by: it follows the wall's, forwards only and by a day at most from letter to letter. A wall clock that jumps by
    /// years and back must not make anything old that came yesterday.
    fn letters_clock(&mut self, wall_ms: i64) -> Result<i64, StoreError> {
        let newest = self.view(LETTERS_BY_AGE)?.last()?.map(|(row, _)| row.value().0);
        let mut table = self.table(META)?;
        let read = |name: &str| table.get(name).map(|found| found.map(|found| found.value().cast_signed()));
        // A store from before this clock: where its letters end, it begins.
        let (last, clock) = (read(meta::LETTERS_WALL)?, read(meta::LETTERS_CLOCK)?.or(newest));
        let passed = wall_ms.saturating_sub(last.unwrap_or(wall_ms)).clamp(0, DAY_MS);
        let clock = clock.unwrap_or(wall_ms).saturating_add(passed);
        table.insert(meta::LETTERS_WALL, wall_ms.cast_unsigned())?;
        table.insert(meta::LETTERS_CLOCK, clock.cast_unsigned())?;
        Ok(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{address, check, store};

    const YEAR: i64 = 365 * DAY_MS;
    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_clock_that_jumps_by_years_makes_nobody_forget_what_came() {
        for jump in [10 * YEAR, -10 * YEAR] {
            let (store, account) = store();
            let from = address(2);
            let remember = |name: u8, at: i64| {
                store.write(move |transaction| transaction.remember_letter(account, &from, &MailId([name; 16]), at)).unwrap()
            };
            assert!(remember(1, NOW));
            for (name, at) in [(2, NOW + jump), (3, NOW + jump + 1), (4, NOW + 2), (5, NOW + 3)] {
                assert!(remember(name, at));
            }
            for name in 1..=5 {
                assert!(!remember(name, NOW + 10), "letter {name} was forgotten after a jump of {jump} ms");
            }
            check(&store);
        }
    }

    #[test]
    fn letters_of_two_years_ago_are_forgotten() {
        let (store, account) = store();
        let from = address(2);
        let remember = |name: u16, at: i64| {
            let mut mid = [0; 16];
            mid[..2].copy_from_slice(&name.to_le_bytes());
            store.write(move |transaction| transaction.remember_letter(account, &from, &MailId(mid), at)).unwrap()
        };
        (0..800).for_each(|day| assert!(remember(day, NOW + i64::from(day) * DAY_MS)));
        assert!(remember(0, NOW + 800 * DAY_MS), "the first is new again");
        assert!(!remember(500, NOW + 800 * DAY_MS));
        check(&store);
    }
}
