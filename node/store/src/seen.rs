//! Envelopes that were dealt with lately: they are not fetched again.

use kith_protocol::ids::EnvelopeId;
use redb::{ReadableTable, ReadableTableMetadata};

use crate::schema::{SEEN, SEEN_BY_AGE};
use crate::{Store, StoreError, Transaction};

/// How long an envelope is remembered, ms: 25 hours, one more than a relay keeps what was fetched.
const REMEMBERED_MS: i64 = 25 * 3_600_000;
/// Envelopes remembered at most.
const SEEN_MAX: u64 = 4096;
/// How many old ones go for each that comes. The clock may lie: so few that a wrong one does not empty the table.
const FORGOTTEN_AT_ONCE: usize = 4;

impl Store {
    /// The envelopes that were dealt with lately, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn seen(&self) -> Result<Vec<EnvelopeId>, StoreError> {
        self.read(|reader| {
            let mut seen = Vec::new();
            for found in reader.table(SEEN_BY_AGE)?.iter()? {
                seen.push(EnvelopeId(found?.0.value().1));
            }
            Ok(seen)
        })
    }
}

impl Transaction<'_> {
    /// Remembers an envelope as dealt with at that wall time, in ms. Some that are older than 25 hours go, and the oldest where there are
    /// too many.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remember_seen(&mut self, envelope: &EnvelopeId, wall_ms: i64) -> Result<(), StoreError> {
        let mut seen = self.table(SEEN)?;
        let mut by_age = self.table(SEEN_BY_AGE)?;
        let before = seen.insert(envelope.0, wall_ms)?.map(|found| found.value());
        if let Some(before) = before {
            by_age.remove((before, envelope.0))?;
        }
        by_age.insert((wall_ms, envelope.0), ())?;
        let mut old = Vec::new();
        for found in by_age.range(..(wall_ms.saturating_sub(REMEMBERED_MS), [0; 32]))?.take(FORGOTTEN_AT_ONCE) {
            old.push(found?.0.value());
        }
        let beyond = usize::try_from(seen.len()?.saturating_sub(SEEN_MAX)).unwrap_or(0);
        if beyond > old.len() {
            old = by_age.iter()?.take(beyond).map(|found| Ok(found?.0.value())).collect::<Result<_, StoreError>>()?;
        }
        for (age, envelope) in old {
            by_age.remove((age, envelope))?;
            seen.remove(envelope)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, store};

    const HOUR: i64 = 3_600_000;

    fn name(number: u32) -> EnvelopeId {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        EnvelopeId(name)
    }

    #[test]
    fn envelopes_are_remembered_for_a_day_oldest_first() {
        let (store, _) = store();
        store
            .write(|transaction| {
                for (number, hour) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5)] {
                    transaction.remember_seen(&name(number), hour * HOUR)?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(store.seen().unwrap(), [2, 3, 1, 4].map(name));
        store.write(|transaction| transaction.remember_seen(&name(5), 28 * HOUR + 1)).unwrap();
        assert_eq!(store.seen().unwrap(), [1, 4, 5].map(name));
        check(&store);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (store, _) = store();
        store.write(|transaction| (0..4100).try_for_each(|number| transaction.remember_seen(&name(number), 7))).unwrap();
        let seen = store.seen().unwrap();
        assert_eq!((seen.len(), seen[0]), (4096, name(4)));
    }
}
