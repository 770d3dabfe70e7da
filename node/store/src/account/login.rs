//! Passwords of an account, one for each mail program if wanted: checked, listed with their last use, withdrawn.
//!
//! All passwords of an account share a salt, so that checking one takes the same time however many there are.

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use super::password::{LABEL_BYTES_MAX, PASSWORD_BYTES_MAX, PasswordHash};
use super::{ACCOUNT, Account, LoginError, PASSWORDS_MAX};
use crate::feed::Topic;
use crate::schema::{ACCOUNTS, META, PASSWORDS};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// How exactly the last use is known, in seconds: a busy program does not write to the disk with every login.
pub const USED_EVERY_SECONDS: u64 = 60 * 60;

const PASSWORD: &str = "the password";

/// A password for mail programs, without what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramPassword {
    /// Which program it is for; unique within the account.
    pub label: String,
    /// When it was set, Unix seconds; `None` for one of an older Kith.
    pub made: Option<u64>,
    /// When somebody logged in with it last, Unix seconds, to within [`USED_EVERY_SECONDS`]; `None` for never.
    pub used: Option<u64>,
}

/// Which password let somebody in: good for as long as that password is neither withdrawn nor changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pass {
    account: AccountId,
    label: String,
    row: [u8; 32],
}

/// Who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The account.
    pub account: Account,
    /// By which password.
    pub pass: Pass,
}

impl Pass {
    pub(super) fn account(&self) -> AccountId {
        self.account
    }

    fn of(account: AccountId, label: &str, row: &[u8]) -> Self {
        Self { account, label: label.to_owned(), row: *blake3::hash(row).as_bytes() }
    }
}

/// Where [`META`] has when a password was set, and when it was used.
fn made_key(id: AccountId, label: &str) -> String {
    format!("password/{}/made/{label}", id.0)
}

fn used_key(id: AccountId, label: &str) -> String {
    format!("password/{}/used/{label}", id.0)
}

fn rows(reader: &Reader, id: AccountId) -> Result<Vec<(Pass, PasswordHash)>, StoreError> {
    let mut rows = Vec::new();
    for row in reader.table(PASSWORDS)?.range((id.0, "")..(id.0 + 1, ""))? {
        let (key, value) = row?;
        rows.push((Pass::of(id, key.value().1, value.value()), PasswordHash::decode(value.value())?));
    }
    Ok(rows)
}

impl Store {
    /// Checks a password: argon2id, blocking, up to a second on a small machine; a recent success is remembered (keyed hash, in memory, bounded) so
    /// that a client's many connections are cheap. Notes the use.
    ///
    /// # Errors
    /// [`LoginError`]; an unknown name costs the same time as a wrong password.
    pub fn admit(&self, login: &str, password: &[u8]) -> Result<Admitted, LoginError> {
        let unavailable = |_: StoreError| LoginError::Unavailable;
        let account = self.account_by_login(login).map_err(unavailable)?;
        let Some(account) = account.filter(|_| password.len() <= PASSWORD_BYTES_MAX) else {
            PasswordHash::spend_the_same_time();
            return Err(LoginError::Wrong);
        };
        let remembered = &self.core().remembered;
        // Whoever is remembered may have been so after the password went, by a login that was under way.
        if let Some(pass) = remembered.knows(account.id, password)
            && self.is_good(&pass).map_err(unavailable)?
        {
            self.note_use(&pass);
            return Ok(Admitted { account, pass });
        }
        let known = self.read(|reader| rows(reader, account.id)).map_err(unavailable)?;
        match PasswordHash::find(&known, password) {
            Some(pass) => {
                let pass = pass.clone();
                remembered.remember(password, &pass);
                self.note_use(&pass);
                Ok(Admitted { account, pass })
            }
            None => Err(LoginError::Wrong),
        }
    }

    /// As [`Store::admit`], where only the account matters.
    ///
    /// # Errors
    /// As [`Store::admit`].
    pub fn login(&self, login: &str, password: &[u8]) -> Result<Account, LoginError> {
        self.admit(login, password).map(|admitted| admitted.account)
    }

    /// Whether the password that let somebody in is still what it was.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn is_good(&self, pass: &Pass) -> Result<bool, StoreError> {
        self.read(|reader| {
            let row = reader.table(PASSWORDS)?.get((pass.account.0, pass.label.as_str()))?;
            Ok(row.is_some_and(|row| Pass::of(pass.account, &pass.label, row.value()) == *pass))
        })
    }

    /// Whoever has the right password gets in, also where the disk takes no note of it.
    fn note_use(&self, pass: &Pass) {
        let key = used_key(pass.account, &pass.label);
        let now = u64::try_from(self.core().disk.now()).unwrap_or(0);
        let noted = self.read(|reader| Ok(reader.table(META)?.get(key.as_str())?.map(|row| row.value())));
        if !noted.is_ok_and(|noted| noted.is_none_or(|noted| now < noted || now - noted >= USED_EVERY_SECONDS)) {
            return;
        }
        let pass = pass.clone();
        let written = self.write(move |transaction| {
            let there = transaction.view(PASSWORDS)?.get((pass.account.0, pass.label.as_str()))?.is_some();
            if there {
                transaction.table(META)?.insert(used_key(pass.account, &pass.label).as_str(), now)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::debug!(%error, "a password's use could not be noted");
        }
    }

    /// The account's passwords, by label.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn passwords(&self, id: AccountId) -> Result<Vec<ProgramPassword>, StoreError> {
        self.read(|reader| {
            let meta = reader.table(META)?;
            let number = |key: String| -> Result<Option<u64>, StoreError> { Ok(meta.get(key.as_str())?.map(|row| row.value())) };
            let mut passwords = Vec::new();
            for (pass, _) in rows(reader, id)? {
                let (made, used) = (number(made_key(id, &pass.label))?, number(used_key(id, &pass.label))?);
                passwords.push(ProgramPassword { label: pass.label, made, used });
            }
            Ok(passwords)
        })
    }

    /// Replaces (or adds, for a new label) a password for mail programs. Labels: up to [`LABEL_BYTES_MAX`] printable ASCII characters; the first
    /// password's is [`super::FIRST_LABEL`]. Who is logged in with the old one is noticed by [`Store::is_good`], as [`Topic::People`] says.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_password(&self, id: AccountId, label: &str, password: &[u8]) -> Result<(), StoreError> {
        self.put_password(id, label, password, false)
    }

    /// Adds a password for a program that has none yet.
    ///
    /// # Errors
    /// `Exists` where the label is taken; as [`Store::set_password`].
    pub fn add_password(&self, id: AccountId, label: &str, password: &[u8]) -> Result<(), StoreError> {
        self.put_password(id, label, password, true)
    }

    fn put_password(&self, id: AccountId, label: &str, password: &[u8], must_be_new: bool) -> Result<(), StoreError> {
        let known = self.read(|reader| rows(reader, id))?;
        let other = known.iter().find(|(pass, _)| pass.label != label).map(|(_, hash)| hash);
        let hash = match other {
            Some(other) => PasswordHash::with_salt_of(other, password)?,
            None => PasswordHash::of(password)?,
        };
        let label = label.to_owned();
        self.write(move |transaction| {
            if must_be_new && transaction.view(PASSWORDS)?.get((id.0, label.as_str()))?.is_some() {
                return Err(StoreError::Exists("a password of that name"));
            }
            transaction.set_password(id, &label, &hash)
        })?;
        self.core().remembered.forget(id);
        Ok(())
    }

    /// Withdraws a password. The last one may go too: then nobody can log in until a new one is set.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_password(&self, id: AccountId, label: &str) -> Result<(), StoreError> {
        let label = label.to_owned();
        self.write(move |transaction| {
            let found = transaction.table(PASSWORDS)?.remove((id.0, label.as_str()))?.is_some();
            if !found {
                return Err(StoreError::NotFound(PASSWORD));
            }
            let mut meta = transaction.table(META)?;
            meta.remove(made_key(id, &label).as_str())?;
            meta.remove(used_key(id, &label).as_str())?;
            drop(meta);
            transaction.touch(Topic::People);
            Ok(())
        })?;
        self.core().remembered.forget(id);
        Ok(())
    }
}

impl Transaction<'_> {
    /// Replaces or adds a password.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn set_password(&mut self, id: AccountId, label: &str, password: &PasswordHash) -> Result<(), StoreError> {
        let printable = label.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || !printable || label.trim() != label {
            return Err(StoreError::Invalid(format!("a password's name has 1 to {LABEL_BYTES_MAX} printable characters")));
        }
        if self.view(ACCOUNTS)?.get(id.0)?.is_none() {
            return Err(StoreError::NotFound(ACCOUNT));
        }
        let row = password.encode()?;
        let mut table = self.table(PASSWORDS)?;
        table.insert((id.0, label), row.as_slice())?;
        if table.range((id.0, "")..(id.0 + 1, ""))?.count() > PASSWORDS_MAX {
            return Err(StoreError::Invalid(format!("an account has at most {PASSWORDS_MAX} passwords")));
        }
        drop(table);
        let now = u64::try_from(self.now()).unwrap_or(0);
        let mut meta = self.table(META)?;
        meta.insert(made_key(id, label).as_str(), now)?;
        meta.remove(used_key(id, label).as_str())?;
        drop(meta);
        self.touch(Topic::People);
        Ok(())
    }

    /// Removes all passwords of an account that goes.
    pub(super) fn remove_passwords(&mut self, id: AccountId) -> Result<(), StoreError> {
        self.table(PASSWORDS)?.retain_in((id.0, "")..(id.0 + 1, ""), |_, _| false)?;
        let prefix = format!("password/{}/", id.0);
        // Labels are printable, so that this is behind all of them.
        let end = format!("{prefix}\u{7f}");
        self.table(META)?.retain_in(prefix.as_str()..end.as_str(), |_, _| false)?;
        Ok(())
    }
}
