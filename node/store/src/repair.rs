//! `kith repair`: everything that can be read goes to a fresh database, the views are rebuilt from the log.
//!
//! The damaged file and its journal are copied aside first (`store.redb.damaged-<Unix seconds>`), the repaired one is complete and checked before it
//! takes the place of the other: a crash in between leaves the home as it was. What a damaged log has lost is told again from the
//! views, as far as their rows stand; messages whose bytes are gone are taken out of their folders and counted.

mod hosting;
mod people;
mod rebuild;

use std::path::Path;

use redb::{Database, ReadableDatabase};

use crate::disk::{Backend, Disk, Watch};
use crate::journal::{Found, JOURNAL, TurnKey};
use crate::schema::{self, Copied, meta};
use crate::store::{self, guarded, of_io, of_store};
use crate::verify::{Progress, Report};
use crate::{OpenError, Options, Store, StoreError, migrate};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Where the file is that was found, relative to the home.
    pub kept_as: String,
    /// Rows that were copied.
    pub rows: u64,
    /// Tables of which some rows could not be read.
    pub incomplete: Vec<&'static str>,
    /// Log entries that could not be read, or made no sense any more.
    pub entries_lost: u64,
    /// Folders and messages that the log had lost and a view still had.
    pub told_again: u64,
    /// Placements of messages whose bytes are gone.
    pub messages_lost: u64,
    /// Queue entries that could not be read, or whose mail is gone.
    pub queued_lost: u64,
    /// Letters kept for others that could not be read, or whose bytes are gone.
    pub held_lost: u64,
    /// What `verify` says of the result.
    pub report: Report,
}

/// Repairs the store of a home that no other process has open.
///
/// # Errors
/// [`OpenError::Busy`]; [`OpenError::Damaged`] where nothing at all can be read; the home is then as it was, and a backup the way on.
pub fn repair(home: &Path, options: Options, progress: &mut dyn FnMut(Progress)) -> Result<RepairReport, OpenError> {
    repair_on(&Disk::real(home), options, progress)
}

/// [`repair`] on any disk.
///
/// # Errors
/// As [`repair`].
pub fn repair_on(disk: &Disk, options: Options, progress: &mut dyn FnMut(Progress)) -> Result<RepairReport, OpenError> {
    let io = |error: std::io::Error| of_io(disk, &error);
    let lock = store::lock(disk)?;
    let kept_as = format!("{}-{}", schema::DATABASE_DAMAGED, disk.now());
    copy(disk, schema::DATABASE, &kept_as).map_err(io)?;
    if disk.exists(JOURNAL).map_err(io)? {
        copy(disk, JOURNAL, &format!("{JOURNAL}.damaged-{}", disk.now())).map_err(io)?;
    }
    let copied = salvage(disk, options.cache_bytes).map_err(|error| of_store(disk, error))?;
    let mut repaired = RepairReport { kept_as, ..RepairReport::default() };
    for Copied { table, rows, complete } in copied {
        repaired.rows += rows;
        if !complete {
            repaired.incomplete.push(table);
        }
    }
    let store = Store::open_file(disk.clone(), options, lock, schema::DATABASE_REPAIRED)?;
    let outcome = store.write(rebuild::rebuild).and_then(|rebuilt| {
        repaired.entries_lost = rebuilt.entries_lost;
        repaired.told_again = rebuilt.told_again;
        repaired.messages_lost = rebuilt.messages_lost;
        repaired.queued_lost = rebuilt.queued_lost;
        repaired.held_lost = rebuilt.held_lost;
        store.verify(progress)
    });
    repaired.report = outcome.map_err(|error| of_store(disk, error))?;
    store.close();
    disk.rename(schema::DATABASE_REPAIRED, schema::DATABASE).map_err(io)?;
    disk.sync_dir("").map_err(io)?;
    Ok(repaired)
}

/// Copies what can be read into a new file.
fn salvage(disk: &Disk, cache_bytes: usize) -> Result<Vec<Copied>, StoreError> {
    let io = |error: std::io::Error| StoreError::of_io(&error);
    let source = Backend::new(disk.open(schema::DATABASE).map_err(io)?, Watch::default());
    let source = guarded(|| Ok(Database::builder().set_cache_size(cache_bytes).create_with_backend(source)?))?;
    store::create(disk, cache_bytes, schema::DATABASE_REPAIRED)?;
    let target = Backend::new(disk.open(schema::DATABASE_REPAIRED).map_err(io)?, Watch::default());
    let target = Database::builder().set_cache_size(cache_bytes).create_with_backend(target)?;
    let reading = guarded(|| Ok(source.begin_read()?))?;
    let found = guarded(|| Ok(reading.open_table(schema::META)?.get(meta::FORMAT)?.map(|row| row.value())));
    if let Ok(Some(found)) = found
        && migrate::is_newer(found)
    {
        return Err(StoreError::damaged(format!("nothing, it has format {found}: use a newer kith")));
    }
    let mut writing = target.begin_write()?;
    writing.set_quick_repair(true);
    let mut copied = schema::copy_all(&reading, &writing)?;
    if let Ok(Some(found)) = found {
        copied.iter_mut().filter(|copied| migrate::may_lack(found, copied.table)).for_each(|copied| copied.complete = true);
    }
    // Rows that the file had not got yet go over what it has.
    match guarded(|| TurnKey::read(&reading.open_table(schema::META)?)) {
        Ok(Some(key)) => {
            let journal = Found::of(disk, key)?;
            let complete = guarded(|| journal.put(&writing)).is_ok() && !journal.gap;
            copied.push(Copied { table: JOURNAL, rows: 0, complete });
        }
        Ok(None) => {}
        Err(_) => copied.push(Copied { table: JOURNAL, rows: 0, complete: false }),
    }
    // A damaged number must not keep the repaired store shut.
    writing.open_table(schema::META)?.insert(meta::FORMAT, schema::FORMAT)?;
    TurnKey::renew(&writing)?;
    writing.commit()?;
    if copied.iter().all(|table| table.rows == 0) {
        return Err(StoreError::damaged("nothing in it can be read: put back a backup"));
    }
    drop(reading);
    // Closing a damaged database may meet the damage once more; what was copied is safe by then.
    drop(guarded(move || {
        drop(source);
        Ok(())
    }));
    Ok(copied)
}

fn copy(disk: &Disk, from: &str, to: &str) -> std::io::Result<()> {
    let (source, target) = (disk.open(from)?, disk.create(to)?);
    let mut piece = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let count = source.read_at(position, &mut piece)?;
        if count == 0 {
            break;
        }
        target.write_all_at(position, piece.get(..count).unwrap_or_default())?;
        position += count as u64;
    }
    target.sync()?;
    disk.sync_dir("")
}
