//! Excerpts of headers, kept beside the log so that lists, searches and orders of many messages open none of them.
//!
//! A row is written with the message; for messages of an older store, and after a repair, when it is asked for first.

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use crate::folder::Message;
use crate::header::Excerpt;
use crate::row::{self, Kind};
use crate::schema::{EXCERPTS, LOG};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// Bytes of messages that one call opens at most where rows are missing; what is left is answered with an empty excerpt.
const OPENED_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) fn encode((account, record): (u32, u64), excerpt: &Excerpt) -> Vec<u8> {
    row::stamp(Kind::Excerpt, [account.into(), record, 0], excerpt.encode())
}

/// `None` for a row that is damaged.
pub(crate) fn decode((account, record): (u32, u64), row: &[u8]) -> Option<Excerpt> {
    row::open(Kind::Excerpt, [account.into(), record, 0], row).ok().and_then(Excerpt::decode)
}

/// Rows between the first and the last that are asked for, for each of these, up to which it is cheaper to read through them all than to look
/// each up.
const SPARSE_MAX: u64 = 4;

impl Reader {
    /// The rows that are there. A damaged one counts as missing: the message itself can be asked.
    fn excerpts(&self, account: AccountId, messages: &[Message]) -> Result<Vec<Option<Excerpt>>, StoreError> {
        let table = self.table(EXCERPTS)?;
        let mut found = Vec::with_capacity(messages.len());
        let records = || messages.iter().map(|message| message.record);
        let (Some(first), Some(last)) = (records().min(), records().max()) else { return Ok(found) };
        if last - first < SPARSE_MAX * messages.len() as u64 && records().is_sorted() {
            let mut rows = table.range((account.0, first)..=(account.0, last))?;
            let mut next = rows.next().transpose()?;
            for record in records() {
                while next.as_ref().is_some_and(|(key, _)| key.value().1 < record) {
                    next = rows.next().transpose()?;
                }
                let row = next.as_ref().filter(|(key, _)| key.value().1 == record);
                found.push(row.and_then(|(key, row)| decode(key.value(), row.value())));
            }
            return Ok(found);
        }
        for record in records() {
            let key = (account.0, record);
            found.push(table.get(key)?.and_then(|row| decode(key, row.value())));
        }
        Ok(found)
    }
}

impl Store {
    /// Excerpts of these messages' headers, in the same order; without bytes where none is kept, or not yet. Those that were missing are written
    /// down sooner or later, as far as there is room: nobody waits for that.
    ///
    /// # Errors
    /// [`StoreError`] from below; that a single message cannot be read is none.
    pub fn excerpts(&self, account: AccountId, messages: &[Message]) -> Result<Vec<Excerpt>, StoreError> {
        let found = self.read(|reader| reader.excerpts(account, messages))?;
        let mut missing = Vec::new();
        let mut opened = 0;
        let mut excerpts = Vec::with_capacity(messages.len());
        for (message, excerpt) in messages.iter().zip(found) {
            if excerpt.is_none() && opened < OPENED_BYTES_MAX {
                opened += message.size;
                if let Ok(mut reader) = self.blob(&message.hash)
                    && let Ok(excerpt) = Excerpt::read(&mut reader)
                {
                    missing.push((message.record, excerpt.clone()));
                    excerpts.push(excerpt);
                    continue;
                }
            }
            excerpts.push(excerpt.unwrap_or_default());
        }
        if !missing.is_empty() {
            self.write_later(move |transaction| transaction.put_excerpts(account, &missing));
        }
        Ok(excerpts)
    }
}

impl Transaction<'_> {
    /// Keeps the excerpts of messages, by their `Store` entries, that are there still.
    fn put_excerpts(&mut self, account: AccountId, excerpts: &[(u64, Excerpt)]) -> Result<(), StoreError> {
        self.need_room()?;
        let log = self.view(LOG)?;
        let mut table = self.table(EXCERPTS)?;
        for (record, excerpt) in excerpts {
            let key = (account.0, *record);
            if log.get(key)?.is_some() {
                table.insert(key, encode(key, excerpt).as_slice())?;
            }
        }
        Ok(())
    }

    /// Keeps the excerpt of a message that is being filed.
    pub(crate) fn put_excerpt(&mut self, account: AccountId, record: u64, excerpt: &Excerpt) -> Result<(), StoreError> {
        let key = (account.0, record);
        self.table(EXCERPTS)?.insert(key, encode(key, excerpt).as_slice())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redb::ReadableTableMetadata as _;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::folder::{Flags, FolderId, Uid, Use};
    use crate::mailbox::Filing;
    use crate::repair::repair_on;
    use crate::testing::{address, check, options, staged};
    use crate::verify::Place;
    use crate::{Disk, testing};

    fn file(store: &Store, account: AccountId, bytes: &[u8]) -> Message {
        let filing = Filing { blob: staged(store, bytes), flags: Flags::default(), internal_date: 7, internal_zone: 0 };
        store.write(move |transaction| transaction.deliver(account, Use::Inbox, &filing)).unwrap()
    }

    /// How many there are once the writer has done what came before: it does one thing after the other.
    fn rows(store: &Store) -> u64 {
        store.write(|_| Ok(())).unwrap();
        store.read(|reader| Ok(reader.table(EXCERPTS)?.len()?)).unwrap()
    }

    fn forget(store: &Store) {
        store.write(|transaction| Ok(transaction.table(EXCERPTS)?.retain(|_, _| false)?)).unwrap();
    }

    fn inbox(store: &Store, account: AccountId) -> FolderId {
        store.folder_by_name(account, "INBOX").unwrap().unwrap().id
    }

    fn large(field: &str) -> Vec<u8> {
        format!("{field}\r\nX: y\r\n\r\n{}", "To: body\r\n".repeat(8_000)).into_bytes()
    }

    #[test]
    fn excerpts_are_kept_with_messages_small_and_large_and_go_with_the_last_copy() {
        let (store, account) = testing::store();
        let mails = [b"Subject: a\r\nX: y\r\n\r\nTo: body".to_vec(), large("to: b@c"), b"no header".to_vec()];
        let messages: Vec<_> = mails.iter().map(|mail| file(&store, account, mail)).collect();
        assert_eq!(rows(&store), 3);
        let excerpts = store.excerpts(account, &messages).unwrap();
        let said: Vec<_> = excerpts.iter().map(|excerpt| excerpt.header().unwrap()).collect();
        assert_eq!(said, [&b"Subject: a\r\n"[..], b"to: b@c\r\n", b""]);
        let archive = store.folder_by_name(account, "Archive").unwrap().unwrap().id;
        let range = |uid| vec![(Uid(uid), Uid(uid))];
        store.copy(account, inbox(&store, account), range(1), archive).unwrap();
        store.remove(account, inbox(&store, account), range(1)).unwrap();
        let copy = store.messages(account, archive, Uid(1), Uid(1), 1).unwrap();
        assert_eq!(store.excerpts(account, &copy).unwrap(), excerpts[..1]);
        store.remove(account, archive, range(1)).unwrap();
        assert_eq!(rows(&store), 2);
        check(&store);
        store.remove_account(account).unwrap();
        assert_eq!(rows(&store), 0);
        check(&store);
    }

    #[test]
    fn missing_rows_are_written_when_they_are_asked_for() {
        let (store, account) = testing::store();
        let messages = [file(&store, account, b"Subject: a\r\n\r\n"), file(&store, account, &large("Cc: d"))];
        let kept = store.excerpts(account, &messages).unwrap();
        forget(&store);
        check(&store);
        assert_eq!(store.excerpts(account, &messages).unwrap(), kept);
        assert_eq!(rows(&store), 2);
        assert_eq!(store.excerpts(account, &messages).unwrap(), kept);
        check(&store);
        // Somebody asks for a message that is gone meanwhile: nothing is left behind.
        forget(&store);
        store.remove(account, inbox(&store, account), vec![(Uid(1), Uid(1))]).unwrap();
        assert_eq!(store.excerpts(account, &messages[..1]).unwrap(), [Excerpt::default()]);
        let late = vec![(messages[0].record, kept[0].clone())];
        store.write(move |transaction| transaction.put_excerpts(account, &late)).unwrap();
        assert_eq!(rows(&store), 0);
    }

    #[test]
    fn who_asks_for_missing_rows_waits_for_no_sync() {
        let disk = SimulatedDisk::default();
        let store = Store::open_on(Disk::Simulated(disk.clone()), options()).unwrap();
        let account = store.add_account("alice", address(1), b"a long password").unwrap().id;
        let message = file(&store, account, b"Subject: a\r\n\r\n");
        let kept = store.excerpts(account, std::slice::from_ref(&message)).unwrap();
        forget(&store);
        disk.hold_syncs();
        assert_eq!(store.excerpts(account, &[message]).unwrap(), kept);
        disk.wait_until_held();
        disk.release_syncs();
        assert_eq!(rows(&store), 1);
        check(&store);
    }

    #[test]
    fn damaged_and_wrong_rows_are_told_by_verify_and_forgotten_by_repair() {
        let disk = Disk::Simulated(SimulatedDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        let account = store.add_account("alice", address(1), b"a long password").unwrap().id;
        let message = file(&store, account, b"Subject: a\r\n\r\n");
        let right = store.excerpts(account, std::slice::from_ref(&message)).unwrap();
        let other = Excerpt::read(&mut &b"Subject: b\r\n\r\n"[..]).unwrap();
        let wrong = encode((account.0, message.record), &other);
        let strange = encode((account.0, 1_000), &other);
        for (record, row) in [(message.record, wrong), (message.record, vec![1, 2, 3]), (1_000, strange)] {
            store
                .write(move |transaction| {
                    transaction.table(EXCERPTS)?.insert((account.0, record), row.as_slice())?;
                    Ok(())
                })
                .unwrap();
            let report = store.verify(&mut |_| {}).unwrap();
            assert!(report.problems.iter().any(|problem| problem.place == Place::View), "{report:#?}");
        }
        assert_eq!(store.excerpts(account, std::slice::from_ref(&message)).unwrap(), right);
        store.close();
        assert!(repair_on(&disk, options(), &mut |_| {}).unwrap().report.is_sound());
        let store = Store::open_on(disk, options()).unwrap();
        assert_eq!(rows(&store), 0);
        assert_eq!(store.excerpts(account, &[message]).unwrap(), right);
        check(&store);
    }

    #[test]
    fn one_call_opens_a_bounded_number_of_bytes() {
        let (store, account) = testing::store();
        let body = vec![b'x'; usize::try_from(OPENED_BYTES_MAX).unwrap() / 2];
        let messages: Vec<_> =
            (0..4).map(|n| file(&store, account, &[format!("Subject: {n}\r\n\r\n").as_bytes(), &body].concat())).collect();
        forget(&store);
        for done in [2, 4] {
            let excerpts = store.excerpts(account, &messages).unwrap();
            assert_eq!(excerpts.iter().filter(|excerpt| excerpt.header().is_some()).count(), done);
            assert_eq!(rows(&store), done as u64);
        }
    }
}
