//! Folders: made, renamed, deleted, subscribed.

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use crate::folder::{self, Folder, FolderId, FolderRow, INBOX, Use};
use crate::log::{Created, Entry, FolderChange};
use crate::schema::{CHANGES, COPIES, EXCERPTS, FOLDER_NAMES, FOLDERS, HISTORY, KEYWORDS, PLACEMENTS, SUBSCRIPTIONS};
use crate::{StoreError, Transaction};

/// Folders of an account at most.
pub const FOLDERS_MAX: usize = 10_000;

const FOLDER: &str = "the folder";

impl Transaction<'_> {
    /// INBOX, Drafts, Sent, Archive, Junk and Trash, with their uses, subscribed.
    pub(crate) fn create_default_folders(&mut self, account: AccountId) -> Result<(), StoreError> {
        for (special, name) in Use::ALL {
            self.create_folder(account, name, Some(special))?;
            self.subscribe(account, name, true)?;
        }
        Ok(())
    }

    pub(crate) fn folder_id(&self, account: AccountId, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.view(FOLDER_NAMES)?.get((account.0, name))?.map(|row| row.value()))
    }

    pub(crate) fn folder_row(&self, account: AccountId, id: u64) -> Result<FolderRow, StoreError> {
        let folders = self.view(FOLDERS)?;
        let row = folders.get((account.0, id))?.ok_or(StoreError::NotFound(FOLDER))?;
        FolderRow::decode(account.0, id, row.value())
    }

    pub(crate) fn put_folder_row(&mut self, account: AccountId, id: u64, row: &FolderRow) -> Result<(), StoreError> {
        self.table(FOLDERS)?.insert((account.0, id), row.encode(account.0, id)?.as_slice())?;
        Ok(())
    }

    /// Ids and rows of the account, by id.
    pub(crate) fn folder_rows(&self, account: AccountId) -> Result<Vec<(u64, FolderRow)>, StoreError> {
        let mut rows = Vec::new();
        for row in self.view(FOLDERS)?.range((account.0, 0)..=(account.0, u64::MAX))? {
            let (key, value) = row?;
            let id = key.value().1;
            rows.push((id, FolderRow::decode(account.0, id, value.value())?));
        }
        Ok(rows)
    }

    pub(crate) fn create_folder(&mut self, account: AccountId, name: &str, special: Option<Use>) -> Result<Folder, StoreError> {
        let name = folder::normalise(name)?;
        let known = self.folder_id(account, &name)?;
        if let Some(id) = known {
            // A bare level becomes a folder; its UIDs go on where they were.
            let mut row = self.folder_row(account, id)?;
            if row.selectable || special.is_some() {
                return Err(StoreError::Exists(FOLDER));
            }
            row.selectable = true;
            self.append(account, &Entry::Folder(FolderChange::Selectable(id, true)))?;
            self.put_folder_row(account, id, &row)?;
            return Ok(row.folder(id, self.is_subscribed(account, &name)?));
        }
        let rows = self.folder_rows(account)?;
        if rows.len() + folder::NAME_LEVELS_MAX > FOLDERS_MAX {
            return Err(StoreError::Invalid("an account has at most 10,000 folders".to_owned()));
        }
        if special.is_some_and(|special| rows.iter().any(|(_, row)| row.special == Some(special.code()))) {
            return Err(StoreError::Exists("a folder for that use"));
        }
        self.create_parents(account, &name)?;
        self.make_folder(account, &name, special)
    }

    /// Missing levels above a name become folders.
    fn create_parents(&mut self, account: AccountId, name: &str) -> Result<(), StoreError> {
        for (end, _) in name.match_indices('/') {
            let parent = name.get(..end).unwrap_or_default();
            if self.folder_id(account, parent)?.is_none() {
                self.make_folder(account, parent, None)?;
            }
        }
        Ok(())
    }

    fn make_folder(&mut self, account: AccountId, name: &str, special: Option<Use>) -> Result<Folder, StoreError> {
        let id = self.next_number(&format!("folder/{}", account.0))?;
        let uid_validity = self.next_uid_validity(account)?;
        let special = special.map(Use::code);
        let created = Created { id, name: name.to_owned(), uid_validity, special, selectable: true };
        let mod_seq = self.append(account, &Entry::Folder(FolderChange::Created(created)))?;
        let row = FolderRow {
            name: name.to_owned(),
            uid_validity,
            uid_next: 1,
            mod_seq: mod_seq.0,
            messages: 0,
            unseen: 0,
            bytes: 0,
            recent_from: 1,
            special,
            selectable: true,
        };
        self.put_folder_row(account, id, &row)?;
        self.table(FOLDER_NAMES)?.insert((account.0, name), id)?;
        self.table(HISTORY)?.insert((account.0, id), (0, 0))?;
        Ok(row.folder(id, self.is_subscribed(account, name)?))
    }

    /// Greater than any the account has had, and near the clock, so that a store made anew does not repeat those of a lost one.
    fn next_uid_validity(&mut self, account: AccountId) -> Result<u32, StoreError> {
        let kind = format!("uid_validity/{}", account.0);
        let last = self.view(crate::schema::META)?.get(kind.as_str())?.map_or(0, |row| row.value());
        let clock = u64::try_from(self.now()).unwrap_or(0);
        let next = u32::try_from((last + 1).max(clock)).or_else(|_| u32::try_from(last + 1));
        let next = next.map_err(|_| StoreError::Invalid("an account's UIDVALIDITY is used up".to_owned()))?;
        self.table(crate::schema::META)?.insert(kind.as_str(), u64::from(next))?;
        Ok(next)
    }

    pub(crate) fn rename_folder(&mut self, account: AccountId, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (folder::normalise(from)?, folder::normalise(to)?);
        let id = self.folder_id(account, &from)?.ok_or(StoreError::NotFound(FOLDER))?;
        if self.folder_id(account, &to)?.is_some() {
            return Err(StoreError::Exists(FOLDER));
        }
        if from == INBOX {
            let target = self.create_folder(account, &to, None)?;
            self.move_all(account, FolderId(id), target.id)?;
            return Ok(());
        }
        let below = format!("{from}/");
        if to.starts_with(&below) {
            return Err(StoreError::Invalid("a folder cannot move into itself".to_owned()));
        }
        let mut renames = Vec::new();
        for (id, row) in self.folder_rows(account)? {
            let rest = if row.name == from { Some("") } else { row.name.strip_prefix(&below) };
            let Some(rest) = rest else { continue };
            let name = if rest.is_empty() { to.clone() } else { format!("{to}/{rest}") };
            let name = folder::normalise(&name)?;
            if self.folder_id(account, &name)?.is_some() {
                return Err(StoreError::Exists(FOLDER));
            }
            renames.push((id, row, name));
        }
        self.create_parents(account, &to)?;
        for (id, mut row, name) in renames {
            self.append(account, &Entry::Folder(FolderChange::Renamed(id, name.clone())))?;
            let mut names = self.table(FOLDER_NAMES)?;
            names.remove((account.0, row.name.as_str()))?;
            names.insert((account.0, name.as_str()), id)?;
            drop(names);
            row.name = name;
            self.put_folder_row(account, id, &row)?;
        }
        Ok(())
    }

    pub(crate) fn delete_folder(&mut self, account: AccountId, name: &str) -> Result<(), StoreError> {
        let name = folder::normalise(name)?;
        if name == INBOX {
            return Err(StoreError::Invalid("INBOX cannot be deleted".to_owned()));
        }
        let id = self.folder_id(account, &name)?.ok_or(StoreError::NotFound(FOLDER))?;
        let below = format!("{name}/");
        let has_children = self.folder_rows(account)?.iter().any(|(_, row)| row.name.starts_with(&below));
        if has_children && !self.folder_row(account, id)?.selectable {
            return Err(StoreError::Invalid("the folder has folders below it".to_owned()));
        }
        self.remove_all(account, FolderId(id))?;
        if has_children {
            self.append(account, &Entry::Folder(FolderChange::Selectable(id, false)))?;
            let mut row = self.folder_row(account, id)?;
            row.selectable = false;
            return self.put_folder_row(account, id, &row);
        }
        self.append(account, &Entry::Folder(FolderChange::Deleted(id)))?;
        self.table(FOLDERS)?.remove((account.0, id))?;
        self.table(FOLDER_NAMES)?.remove((account.0, name.as_str()))?;
        self.table(CHANGES)?.retain_in((account.0, id, 0, 0)..=(account.0, id, u64::MAX, u32::MAX), |_, _| false)?;
        self.table(HISTORY)?.remove((account.0, id))?;
        Ok(())
    }

    pub(crate) fn subscribe(&mut self, account: AccountId, name: &str, on: bool) -> Result<(), StoreError> {
        let name = folder::normalise(name)?;
        if self.is_subscribed(account, &name)? == on {
            return Ok(());
        }
        self.append(account, &Entry::Folder(FolderChange::Subscribed(name.clone(), on)))?;
        let mut subscriptions = self.table(SUBSCRIPTIONS)?;
        if on {
            subscriptions.insert((account.0, name.as_str()), ())?;
        } else {
            subscriptions.remove((account.0, name.as_str()))?;
        }
        Ok(())
    }

    fn is_subscribed(&self, account: AccountId, name: &str) -> Result<bool, StoreError> {
        Ok(self.view(SUBSCRIPTIONS)?.get((account.0, name))?.is_some())
    }

    /// The account's folder of that use; made where a person deleted it.
    pub(crate) fn folder_for(&mut self, account: AccountId, special: Use) -> Result<FolderId, StoreError> {
        if special == Use::Inbox {
            return self.folder_id(account, INBOX)?.map(FolderId).ok_or(StoreError::NotFound(FOLDER));
        }
        let rows = self.folder_rows(account)?;
        let usable = |row: &FolderRow| row.selectable && row.special == Some(special.code());
        if let Some((id, _)) = rows.iter().find(|(_, row)| usable(row)) {
            return Ok(FolderId(*id));
        }
        let name = Use::ALL.iter().find(|(known, _)| *known == special).map_or(INBOX, |(_, name)| *name);
        if let Some((id, _)) = rows.iter().find(|(_, row)| row.selectable && row.name == name) {
            return Ok(FolderId(*id));
        }
        let taken = rows.iter().any(|(_, row)| row.special == Some(special.code()) || row.name == name);
        Ok(self.create_folder(account, name, (!taken).then_some(special))?.id)
    }

    /// Forgets every view of an account's mailbox.
    pub(crate) fn clear_views(&mut self, account: AccountId) -> Result<(), StoreError> {
        let id = account.0;
        self.table(FOLDERS)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        self.table(PLACEMENTS)?.retain_in((id, 0, 0)..=(id, u64::MAX, u32::MAX), |_, _| false)?;
        self.table(CHANGES)?.retain_in((id, 0, 0, 0)..=(id, u64::MAX, u64::MAX, u32::MAX), |_, _| false)?;
        self.table(HISTORY)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        self.table(COPIES)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        self.table(EXCERPTS)?.retain_in((id, 0)..=(id, u64::MAX), |_, _| false)?;
        self.clear_gists(account)?;
        self.table(KEYWORDS)?.retain_in((id, 0)..=(id, u8::MAX), |_, _| false)?;
        let until = id.checked_add(1);
        let from = (id, "");
        match until {
            Some(until) => {
                self.table(FOLDER_NAMES)?.retain_in(from..(until, ""), |_, _| false)?;
                self.table(SUBSCRIPTIONS)?.retain_in(from..(until, ""), |_, ()| false)?;
            }
            None => {
                self.table(FOLDER_NAMES)?.retain_in(from.., |_, _| false)?;
                self.table(SUBSCRIPTIONS)?.retain_in(from.., |_, ()| false)?;
            }
        }
        Ok(())
    }
}
