//! Formats of the store: which one a file has, and how this Kith comes to serve it.
//!
//! Format 1 had no tables for what is kept for others, for strangers' mails and for envelopes seen; format 2 adds them, empty. Format 3
//! adds the table that says how much of what vanished from a folder is forgotten: nothing, at first. Format 4 adds the gateway's tables, empty,
//! and excerpts of headers: none, at first; they are written when somebody asks for them. Format 5 adds gists of messages in the same way, and keeps
//! what was written last in a journal (`journal.rs`), which an older Kith would not look at. Format 6 adds the
//! table of volunteers that were found, empty. A store of a newer format is left alone: serving it
//! could lose what it says.

use std::path::Path;

use redb::Database;

use crate::StoreError;
use crate::error::OpenError;
use crate::journal::TurnKey;
use crate::schema::{self, FORMAT, meta};

/// The first format, which lacks everything in [`ADDED`].
const FIRST: u64 = 1;
/// Tables that came later, and with which format.
const ADDED: [(u64, &[&str]); 5] = [
    (
        2,
        &[
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
        ],
    ),
    (3, &["history"]),
    (
        4,
        &[
            "legacy",
            "legacy_progress",
            "routes",
            "clear_rules",
            "clear_sent",
            "gateway_people",
            "suggestions",
            "gateway_rows",
            "excerpts",
        ],
    ),
    (5, &["gists"]),
    (6, &["volunteers"]),
];

/// Refuses what cannot be served; `true` for a store that [`upgrade`] has to bring up first.
pub(crate) fn check(home: &Path, found: u64) -> Result<bool, OpenError> {
    match found {
        FORMAT => Ok(false),
        FIRST..FORMAT => Ok(true),
        0 => Err(OpenError::Damaged { home: home.to_path_buf(), what: "format 0 has never existed".to_owned() }),
        _ => Err(OpenError::Newer { home: home.to_path_buf(), found, known: FORMAT }),
    }
}

/// Brings a store of an older format up, in one commit: a crash leaves the old format or the new one.
pub(crate) fn upgrade(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    schema::create_all(&transaction)?;
    transaction.open_table(schema::META)?.insert(meta::FORMAT, FORMAT)?;
    TurnKey::renew(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Whether a store of that format is whole without this table.
pub(crate) fn may_lack(found: u64, table: &str) -> bool {
    ADDED.iter().any(|(format, tables)| found < *format && tables.contains(&table))
}

/// No format will have so great a number; a damaged row may.
const FORMAT_MAX: u64 = 1000;

/// Whether a number is that of a newer Kith's store rather than a damaged one.
pub(crate) fn is_newer(found: u64) -> bool {
    found > FORMAT && found < FORMAT_MAX
}

#[cfg(test)]
mod tests {
    use kith_protocol::ids::AccountId;
    use redb::{ReadableDatabase, TableHandle};

    use super::*;
    use crate::disk::{Backend, SimulatedDisk, Watch};
    use crate::folder::{Flags, FolderId, ModSeq, Uid};
    use crate::mailbox::Filing;
    use crate::repair::repair_on;
    use crate::testing::{address, check, options, staged};
    use crate::{Disk, Store};

    /// A closed store as an older format left it, without the tables that came later; one mail of two has been removed.
    fn old_store(format: u64) -> Disk {
        let disk = Disk::Simulated(SimulatedDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        store.write(|transaction| transaction.put_secret("node/peer", b"hidden")).unwrap();
        let account = store.add_account("alice", address(1), b"a long password").unwrap().id;
        let inbox = store.folder_by_name(account, "INBOX").unwrap().unwrap().id;
        file(&store, account, inbox);
        file(&store, account, inbox);
        store.remove(account, inbox, vec![(Uid(1), Uid(1))]).unwrap();
        store.close();
        let backend = Backend::new(disk.open(schema::DATABASE).unwrap(), Watch::default());
        let database = Database::builder().create_with_backend(backend).unwrap();
        let transaction = database.begin_write().unwrap();
        let later = transaction.list_tables().unwrap().filter(|table| may_lack(format, table.name())).collect::<Vec<_>>();
        let expected: usize = ADDED.iter().filter(|(added, _)| *added > format).map(|(_, tables)| tables.len()).sum();
        assert_eq!(later.len(), expected);
        for table in later {
            transaction.delete_table(table).unwrap();
        }
        transaction.open_table(schema::META).unwrap().insert(meta::FORMAT, format).unwrap();
        transaction.commit().unwrap();
        disk
    }

    fn file(store: &Store, account: AccountId, folder: FolderId) {
        let blob = staged(store, b"Subject: x\r\n\r\n");
        let filing = Filing { blob, flags: Flags::default(), internal_date: 7, internal_zone: 0 };
        store.file(account, folder, vec![filing]).unwrap();
    }

    #[test]
    fn store_of_an_older_format_opens_and_works() {
        for format in FIRST..FORMAT {
            let disk = old_store(format);
            for uid in 2..4 {
                let store = Store::open_on(disk.clone(), options()).unwrap();
                assert_eq!(&*store.secret("node/peer").unwrap().unwrap(), b"hidden");
                assert_eq!(store.hosted().unwrap(), []);
                store.write(|transaction| transaction.put_hosting_clock(7, -1)).unwrap();
                assert_eq!(store.hosting_clock().unwrap(), (7, -1));
                let account = store.accounts().unwrap()[0].id;
                let inbox = store.folder_by_name(account, "INBOX").unwrap().unwrap().id;
                let old = store.messages(account, inbox, Uid(1), Uid(9), 9).unwrap();
                for excerpt in store.excerpts(account, &old).unwrap() {
                    assert_eq!(excerpt.header(), Some(&b"Subject: x\r\n"[..]));
                }
                check(&store);
                file(&store, account, inbox);
                store.remove(account, inbox, vec![(Uid(uid), Uid(uid))]).unwrap();
                let changes = store.changes(account, inbox, ModSeq(0)).unwrap();
                assert_eq!(changes.vanished, (1..=uid).map(Uid).collect::<Vec<_>>());
                check(&store);
                store.close();
            }
            let backend = Backend::new(disk.open(schema::DATABASE).unwrap(), Watch::default());
            let database = Database::builder().create_with_backend(backend).unwrap();
            let found = database.begin_read().unwrap().open_table(schema::META).unwrap().get(meta::FORMAT).unwrap();
            assert_eq!(found.unwrap().value(), FORMAT);
        }
    }

    #[test]
    fn store_of_an_older_format_is_repaired_without_a_loss() {
        for format in FIRST..FORMAT {
            let repaired = repair_on(&old_store(format), options(), &mut |_| {}).unwrap();
            assert_eq!(repaired.incomplete, Vec::<&str>::new());
            assert!(repaired.report.is_sound(), "{repaired:#?}");
        }
    }
}
