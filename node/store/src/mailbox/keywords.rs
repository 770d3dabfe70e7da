//! Keywords: names outside, bits of an account's table inside.

use std::collections::BTreeMap;
use std::sync::Arc;

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use crate::folder::{Flags, KeywordBits};
use crate::schema::KEYWORDS;
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// A keyword has at most so many bytes.
pub const KEYWORD_BYTES_MAX: usize = 64;
/// A message has at most so many keywords.
pub const KEYWORDS_MAX: usize = 64;

/// An account's table of keywords: slot → name as first spelled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keywords(BTreeMap<u8, Arc<str>>);

impl Keywords {
    fn load(table: &impl ReadableTable<(u32, u8), &'static str>, account: AccountId) -> Result<Self, StoreError> {
        let mut slots = BTreeMap::new();
        for row in table.range((account.0, 0)..=(account.0, u8::MAX))? {
            let (key, name) = row?;
            slots.insert(key.value().1, Arc::from(name.value()));
        }
        Ok(Self(slots))
    }

    pub(crate) fn read(reader: &Reader, account: AccountId) -> Result<Self, StoreError> {
        Self::load(&reader.table(KEYWORDS)?, account)
    }

    /// The names of set bits, sorted. A bit without a name is left out: `kith verify` reports it.
    pub(crate) fn names(&self, bits: &KeywordBits) -> Vec<Arc<str>> {
        if *bits == [0; 32] {
            return Vec::new();
        }
        let set = |slot: u8| bits.get(usize::from(slot / 8)).is_some_and(|byte| byte & (1 << (slot % 8)) != 0);
        let mut names: Vec<_> = self.0.iter().filter(|(slot, _)| set(**slot)).map(|(_, name)| Arc::clone(name)).collect();
        names.sort_unstable();
        names
    }

    fn slot(&self, name: &str) -> Option<u8> {
        self.0.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(slot, _)| *slot)
    }

    /// The bits of these names, as far as they are known.
    pub(crate) fn bits(&self, names: &[Arc<str>]) -> KeywordBits {
        let mut bits = [0; 32];
        for slot in names.iter().filter_map(|name| self.slot(name)) {
            if let Some(byte) = bits.get_mut(usize::from(slot / 8)) {
                *byte |= 1 << (slot % 8);
            }
        }
        bits
    }
}

/// Refuses flags that no message can have: unknown system bits, keywords that are not atoms, too many of them.
pub(crate) fn check_flags(flags: &Flags) -> Result<(), StoreError> {
    let invalid = |why: &str| Err(StoreError::Invalid(why.to_owned()));
    if flags.system > Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED | Flags::DELETED | Flags::DRAFT {
        return invalid("there is no such system flag");
    }
    if flags.keywords.len() > KEYWORDS_MAX {
        return invalid("a message has at most 64 keywords");
    }
    if !flags.keywords.iter().all(|keyword| is_keyword(keyword)) {
        return invalid("a keyword is an atom of at most 64 bytes");
    }
    Ok(())
}

/// RFC 3501 §9 `flag-keyword`, bounded.
fn is_keyword(text: &str) -> bool {
    let atom = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
    !text.is_empty() && text.len() <= KEYWORD_BYTES_MAX && text.bytes().all(atom)
}

impl Store {
    /// The keywords that messages of the account have or had, sorted: what FLAGS and PERMANENTFLAGS list.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn keywords(&self, account: AccountId) -> Result<Vec<Arc<str>>, StoreError> {
        self.read(|reader| Ok(Keywords::read(reader, account)?.names(&[u8::MAX; 32])))
    }
}

impl Transaction<'_> {
    /// The account's table as it is.
    pub(crate) fn keywords(&self, account: AccountId) -> Result<Keywords, StoreError> {
        Keywords::load(&*self.view(KEYWORDS)?, account)
    }

    /// The account's table with these names in it.
    ///
    /// # Errors
    /// `Invalid` when the account's 256 slots are used up.
    pub(crate) fn keywords_with(&mut self, account: AccountId, names: &[Arc<str>]) -> Result<Keywords, StoreError> {
        let mut keywords = self.keywords(account)?;
        for name in names {
            if keywords.slot(name).is_some() {
                continue;
            }
            let free = (0..=u8::MAX).find(|slot| !keywords.0.contains_key(slot));
            let slot = free.ok_or_else(|| StoreError::Invalid("an account has at most 256 different keywords".to_owned()))?;
            self.table(KEYWORDS)?.insert((account.0, slot), &**name)?;
            keywords.0.insert(slot, Arc::clone(name));
        }
        Ok(keywords)
    }
}
