//! Formats of the store: which one a file has, and how this Kith comes to serve it.
//!
//! Format 1 had no tables for what is kept for others, for strangers' mails and for envelopes seen; format 2 adds them, empty, and
//! changes nothing else. A store of a newer format is left alone: serving it could lose what it says.

use std::path::Path;

use redb::Database;

use crate::StoreError;
use crate::error::OpenError;
use crate::schema::{self, FORMAT, meta};

/// The first format, which lacks [`ADDED_BY_2`].
const FIRST: u64 = 1;
/// Tables that came with format 2.
const ADDED_BY_2: [&str; 12] = [
    "permits",
    "hosted",
    "held",
    "marks",
    "kept_records",
    "relays",
    "relay_talk",
    "requests",
    "accepted",
    "blocked",
    "seen",
    "seen_by_age",
];

/// Refuses what cannot be served; `true` for a store that [`upgrade`] has to bring up first.
pub(crate) fn check(home: &Path, found: u64) -> Result<bool, OpenError> {
    match found {
        FORMAT => Ok(false),
        FIRST => Ok(true),
        0 => Err(OpenError::Damaged { home: home.to_path_buf(), what: "format 0 has never existed".to_owned() }),
        _ => Err(OpenError::Newer { home: home.to_path_buf(), found, known: FORMAT }),
    }
}

/// Brings a store of the first format up, in one commit: a crash leaves the old format or the new one.
pub(crate) fn upgrade(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    schema::create_all(&transaction)?;
    transaction.open_table(schema::META)?.insert(meta::FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// Whether a store of that format is whole without this table.
pub(crate) fn may_lack(found: u64, table: &str) -> bool {
    found == FIRST && ADDED_BY_2.contains(&table)
}

/// No format will have so great a number; a damaged row may.
const FORMAT_MAX: u64 = 1000;

/// Whether a number is that of a newer Kith's store rather than a damaged one.
pub(crate) fn is_newer(found: u64) -> bool {
    found > FORMAT && found < FORMAT_MAX
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase, TableHandle};

    use super::*;
    use crate::disk::{Backend, SimulatedDisk, Watch};
    use crate::repair::repair_on;
    use crate::testing::{check, options};
    use crate::{Disk, Store};

    /// A closed store as the first format left it: without the new tables.
    fn old_store() -> Disk {
        let disk = Disk::Simulated(SimulatedDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        store.write(|transaction| transaction.put_secret("node/peer", b"hidden")).unwrap();
        store.close();
        let backend = Backend::new(disk.open(schema::DATABASE).unwrap(), Watch::default());
        let database = Database::builder().create_with_backend(backend).unwrap();
        let transaction = database.begin_write().unwrap();
        let added: Vec<_> = transaction.list_tables().unwrap().filter(|table| ADDED_BY_2.contains(&table.name())).collect();
        assert_eq!(added.len(), ADDED_BY_2.len());
        for table in added {
            transaction.delete_table(table).unwrap();
        }
        transaction.open_table(schema::META).unwrap().insert(meta::FORMAT, FIRST).unwrap();
        transaction.commit().unwrap();
        disk
    }

    #[test]
    fn store_of_the_first_format_opens_and_works() {
        let disk = old_store();
        for _ in 0..2 {
            let store = Store::open_on(disk.clone(), options()).unwrap();
            assert_eq!(&*store.secret("node/peer").unwrap().unwrap(), b"hidden");
            assert_eq!(store.hosted().unwrap(), []);
            store.write(|transaction| transaction.put_hosting_clock(7, -1)).unwrap();
            assert_eq!(store.hosting_clock().unwrap(), (7, -1));
            check(&store);
            store.close();
        }
        let backend = Backend::new(disk.open(schema::DATABASE).unwrap(), Watch::default());
        let database = Database::builder().create_with_backend(backend).unwrap();
        let format = database.begin_read().unwrap().open_table(schema::META).unwrap().get(meta::FORMAT).unwrap();
        assert_eq!(format.unwrap().value(), FORMAT);
    }

    #[test]
    fn store_of_the_first_format_is_repaired_without_a_loss() {
        let repaired = repair_on(&old_store(), options(), &mut |_| {}).unwrap();
        assert_eq!(repaired.incomplete, Vec::<&str>::new());
        assert!(repaired.report.is_sound(), "{repaired:#?}");
    }
}
