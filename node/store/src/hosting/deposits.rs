//! What the owner of a hosted queue leaves here: marks of unspent stamps, and records for the directory.

use kith_protocol::hosting::MARK_BYTES;
use kith_protocol::ids::QueueName;
use kith_protocol::limits::RECORD_BYTES_MAX;
use redb::ReadableTable;
use serde_bytes::ByteBuf;

use crate::schema::{KEPT_RECORDS, MARKS};
use crate::{Store, StoreError, Transaction};

/// Marks of one week of a queue at most.
pub const WEEK_MARKS_MAX: usize = 16_384;
/// Weeks of marks of a queue at most; the oldest go.
pub const MARK_WEEKS_MAX: usize = 10;
/// Records of a queue at most; those that were put first go.
pub const KEPT_RECORDS_MAX: usize = 40;
/// The kind of number that records get.
const NUMBERS: &str = "kept_record";

/// A record that is kept for others: queue, directory key, record.
pub type KeptRecord = (QueueName, Vec<u8>, Vec<u8>);

type MarkKey = ([u8; 16], u32, [u8; 16]);

/// The keys of a queue's marks in these weeks.
fn marks_of(queue: &QueueName, weeks: std::ops::RangeInclusive<u32>) -> std::ops::RangeInclusive<MarkKey> {
    (queue.0, *weeks.start(), [0; 16])..=(queue.0, *weeks.end(), [255; 16])
}

fn records_of(queue: &QueueName) -> std::ops::RangeInclusive<([u8; 16], [u8; 32])> {
    (queue.0, [0; 32])..=(queue.0, [255; 32])
}

/// The weeks that a queue has marks of, ascending.
fn weeks_of(table: &impl ReadableTable<MarkKey, ()>, queue: &QueueName) -> Result<Vec<u32>, StoreError> {
    let mut weeks = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        let Some(found) = table.range(marks_of(queue, first..=u32::MAX))?.next() else { break };
        let week = found?.0.value().1;
        weeks.push(week);
        from = week.checked_add(1);
    }
    Ok(weeks)
}

impl Store {
    /// Whether this is the mark of an unspent stamp of a queue, of that week or one beside it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn has_mark(&self, queue: &QueueName, mark: &[u8; 16], week: u32) -> Result<bool, StoreError> {
        self.read(|reader| {
            let table = reader.table(MARKS)?;
            for week in week.saturating_sub(1)..=week.saturating_add(1) {
                if table.get((queue.0, week, *mark))?.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The records that are kept for others, by queue and key.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn kept_records(&self) -> Result<Vec<KeptRecord>, StoreError> {
        self.read(|reader| {
            let mut records = Vec::new();
            for found in reader.table(KEPT_RECORDS)?.iter()? {
                let (key, value) = found?;
                let (queue, key) = key.value();
                records.push((QueueName(queue), key.to_vec(), value.value().1.to_vec()));
            }
            Ok(records)
        })
    }
}

impl Transaction<'_> {
    fn need_hosted(&self, queue: &QueueName) -> Result<(), StoreError> {
        if self.is_hosted(queue)? { Ok(()) } else { Err(StoreError::NotFound("the mailbox")) }
    }

    /// Adds marks of a week's stamps, [`MARK_BYTES`] each; part 0 takes the place of what was known of that week. Of more than
    /// [`MARK_WEEKS_MAX`] weeks the oldest go.
    ///
    /// # Errors
    /// `NotFound` where the queue is not hosted; `DiskFull`; `Invalid` for bytes left over or beyond [`WEEK_MARKS_MAX`].
    pub fn put_marks(&mut self, queue: &QueueName, week: u32, part: u32, marks: &[u8]) -> Result<(), StoreError> {
        let (marks, rest) = marks.as_chunks::<MARK_BYTES>();
        if !rest.is_empty() {
            return Err(StoreError::Invalid(format!("a stamp's mark has {MARK_BYTES} bytes")));
        }
        self.need_room()?;
        self.need_hosted(queue)?;
        let mut table = self.table(MARKS)?;
        if part == 0 {
            table.retain_in(marks_of(queue, week..=week), |_, ()| false)?;
        }
        for mark in marks {
            table.insert((queue.0, week, *mark), ())?;
        }
        if table.range(marks_of(queue, week..=week))?.count() > WEEK_MARKS_MAX {
            return Err(StoreError::Invalid(format!("a week has at most {WEEK_MARKS_MAX} stamps")));
        }
        let weeks = weeks_of(&*table, queue)?;
        for old in weeks.iter().take(weeks.len().saturating_sub(MARK_WEEKS_MAX)) {
            table.retain_in(marks_of(queue, *old..=*old), |_, ()| false)?;
        }
        Ok(())
    }

    /// Takes a mark out of every week.
    pub(super) fn spend_mark(&mut self, queue: &QueueName, mark: &[u8; 16]) -> Result<(), StoreError> {
        let mut table = self.table(MARKS)?;
        for week in weeks_of(&*table, queue)? {
            table.remove((queue.0, week, *mark))?;
        }
        Ok(())
    }

    /// Keeps records for the directory: (key of 32 bytes, record). One of the same key is replaced; of more than [`KEPT_RECORDS_MAX`]
    /// those go that were put first.
    ///
    /// # Errors
    /// `NotFound` where the queue is not hosted; `DiskFull`; `Invalid` for a key or record that cannot be one, or too many at once.
    pub fn put_kept_records(&mut self, queue: &QueueName, records: &[(ByteBuf, ByteBuf)]) -> Result<(), StoreError> {
        self.need_room()?;
        self.need_hosted(queue)?;
        if records.len() > KEPT_RECORDS_MAX {
            return Err(StoreError::Invalid(format!("a mailbox has at most {KEPT_RECORDS_MAX} records")));
        }
        for (key, record) in records {
            let key = <[u8; 32]>::try_from(key.as_slice()).ok().filter(|_| record.len() <= RECORD_BYTES_MAX);
            let key = key.ok_or_else(|| StoreError::Invalid("this is no record of the directory".to_owned()))?;
            let number = self.next_number(NUMBERS)?;
            self.table(KEPT_RECORDS)?.insert((queue.0, key), (number, record.as_slice()))?;
        }
        let mut table = self.table(KEPT_RECORDS)?;
        let mut kept = Vec::new();
        for found in table.range(records_of(queue))? {
            let (key, value) = found?;
            kept.push((value.value().0, key.value()));
        }
        kept.sort_unstable();
        for (_, key) in kept.iter().take(kept.len().saturating_sub(KEPT_RECORDS_MAX)) {
            table.remove(*key)?;
        }
        Ok(())
    }

    pub(super) fn remove_deposits(&mut self, queue: &QueueName) -> Result<(), StoreError> {
        self.table(MARKS)?.retain_in(marks_of(queue, 0..=u32::MAX), |_, ()| false)?;
        self.table(KEPT_RECORDS)?.retain_in(records_of(queue), |_, _| false)?;
        Ok(())
    }
}
