//! All keys of an account on this node together: made once, kept as rows, turned over every week, shown to others as cards and records.
//!
//! Rows, each under `‹account id›/` in the store's secret rows:
//!
//! | row | what |
//! |---|---|
//! | `seed` | [`Seed`]: only until the person has written the words down |
//! | `certificate` | the account certificate, signed bytes |
//! | `sheet` | [`EpochSheet`] |
//! | `operations` | [`Operations`] |
//! | `device` | [`DeviceKey`] |
//! | `backup` | [`BackupKey`] |
//! | `issue` | number and time of the last card |
//! | `queue/‹peer in hexadecimal›` | [`QueueKey`] of the queue at that node |
//! | `prekey/‹week›` | [`crate::prekey::Prekey`] |

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::blinding::{WEEK_MS, week_of};
use crate::card::{Card, CardContent, CardError, Issued, Policy, Work};
use crate::certificate::{AccountCertificate, CertificateError, EpochSheet};
use crate::codec::{DecodeError, EncodeError};
use crate::event::{Place, Wall};
use crate::hosting::{Ask, Request, volunteer_queue, volunteer_weeks};
use crate::ids::{PeerId, QueueName};
use crate::keys::{BackupKey, DeviceKey, Operations, QueueKey, Row, Seed, VERSION};
use crate::limits::{CARD_AGE_MS_MAX, CARD_PLACES_MAX};
use crate::prekey::{Changes, Prekeys};
use crate::record::{self, BuildError, Record};
use crate::signed::Verified;

/// Queues that an account may have a key for: the card's, and those of the card before.
const QUEUES_MAX: usize = 2 * CARD_PLACES_MAX;

/// A row to write: its name behind `‹account id›/`, and its bytes.
pub type NamedRow = (String, Zeroizing<Vec<u8>>);

/// Why the keys of an account cannot be read back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountError {
    /// A row is missing.
    #[error("the row {0} of the account is missing")]
    Missing(&'static str),
    /// A row is damaged, or of another version.
    #[error("the row {name} of the account is damaged: {source}")]
    Damaged {
        /// Which.
        name: String,
        /// How.
        source: DecodeError,
    },
    /// The certificate does not hold.
    #[error("the certificate of the account does not hold: {0}")]
    Certificate(#[from] CertificateError),
    /// The rows do not belong together.
    #[error("the keys of the account do not belong together")]
    Mismatch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct LastIssue {
    version: u8,
    number: u64,
    records: Wall,
}

impl Row for LastIssue {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The keys of an account on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountKeys {
    certificate: Verified<AccountCertificate>,
    sheet: EpochSheet,
    operations: Operations,
    device: DeviceKey,
    backup: BackupKey,
    issue: LastIssue,
    queues: BTreeMap<PeerId, QueueKey>,
    /// The weekly keys.
    pub prekeys: Prekeys,
}

impl AccountKeys {
    /// Makes a new account: the seed for the person to write down, and everything else for the node.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn create(wall: Wall, rng: &mut impl CryptoRng) -> Result<(Seed, Self), EncodeError> {
        let seed = Seed::generate(rng);
        let this = Self::restore(&seed, None, wall, rng)?;
        Ok((seed, this))
    }

    /// Takes an account over from its words: a new generation with new keys, which wins over the old ones everywhere. `known` is the greatest
    /// generation that its cards or records have been seen with; look it up before.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn restore(seed: &Seed, known: Option<u32>, wall: Wall, rng: &mut impl CryptoRng) -> Result<Self, EncodeError> {
        let master = seed.master();
        let operations = Operations::generate(known.map_or(1, |known| known.saturating_add(1)), rng);
        let mut prekeys = Prekeys::default();
        let changes = prekeys.rotate(wall, rng);
        debug_assert_eq!(changes.written, [week_of(wall)]);
        Ok(Self {
            certificate: AccountCertificate::sign(&master, &operations, wall)?,
            sheet: EpochSheet::sign(&master, &operations, wall),
            operations,
            device: DeviceKey::generate(1, rng),
            backup: master.backup().clone(),
            issue: LastIssue { version: VERSION, ..LastIssue::default() },
            queues: BTreeMap::new(),
            prekeys,
        })
    }

    /// All rows, for the transaction that makes the account.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn rows(&self) -> Result<Vec<NamedRow>, EncodeError> {
        let mut rows = vec![
            ("certificate".to_owned(), Zeroizing::new(self.certificate.bytes().to_vec())),
            ("sheet".to_owned(), self.sheet.to_row()?),
            ("operations".to_owned(), self.operations.to_row()?),
            ("device".to_owned(), self.device.to_row()?),
            ("backup".to_owned(), self.backup.to_row()?),
            self.issue_row()?,
        ];
        for (peer, key) in &self.queues {
            rows.push((queue_row_name(peer), key.to_row()?));
        }
        for week in self.prekeys.weeks() {
            rows.extend(self.prekey_row(week)?);
        }
        Ok(rows)
    }

    /// The row that every [`AccountKeys::card`] and [`AccountKeys::records`] changes: to be written before their result leaves the node.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn issue_row(&self) -> Result<NamedRow, EncodeError> {
        Ok(("issue".to_owned(), self.issue.to_row()?))
    }

    /// The row of a prekey that changed; `None` when there is none.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn prekey_row(&self, week: u32) -> Result<Option<NamedRow>, EncodeError> {
        Ok(self.prekeys.row(week)?.map(|row| (prekey_row_name(week), row)))
    }

    /// The row of the queue key at a node; `None` when there is none.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn queue_row(&self, peer: &PeerId) -> Result<Option<NamedRow>, EncodeError> {
        self.queues.get(peer).map(|key| Ok((queue_row_name(peer), key.to_row()?))).transpose()
    }

    /// Reads the rows back: `(name behind the account id, bytes)`, in any order. Rows of other names are left alone.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn from_rows(address: &Address, rows: &[NamedRow]) -> Result<Self, AccountError> {
        let find = |wanted: &'static str| {
            rows.iter().find(|(name, _)| name == wanted).map(|(_, row)| row.as_slice()).ok_or(AccountError::Missing(wanted))
        };
        let mut queues = BTreeMap::new();
        for (name, row) in rows {
            if let Some(peer) = name.strip_prefix("queue/") {
                let peer = peer_of_hex(peer).ok_or_else(|| damaged(name)(DecodeError::Malformed))?;
                queues.insert(peer, QueueKey::from_row(row).map_err(damaged(name))?);
            }
        }
        let prekeys = rows.iter().filter(|(name, _)| name.starts_with("prekey/")).map(|(_, row)| row.as_slice());
        let this = Self {
            certificate: AccountCertificate::verify(address, find("certificate")?)?,
            sheet: EpochSheet::from_row(find("sheet")?).map_err(damaged("sheet"))?,
            operations: Operations::from_row(find("operations")?).map_err(damaged("operations"))?,
            device: DeviceKey::from_row(find("device")?).map_err(damaged("device"))?,
            backup: BackupKey::from_row(find("backup")?).map_err(damaged("backup"))?,
            issue: LastIssue::from_row(find("issue")?).map_err(damaged("issue"))?,
            queues,
            prekeys: Prekeys::from_rows(prekeys).map_err(damaged("prekey"))?,
        };
        let generation = this.operations.generation;
        let fits = this.certificate.operations == this.operations.public()
            && this.certificate.backup == this.backup.hash()
            && this.certificate.generation == generation
            && this.sheet.generation == generation;
        if fits { Ok(this) } else { Err(AccountError::Mismatch) }
    }

    /// The account's address.
    pub fn address(&self) -> &Address {
        &self.certificate.address
    }

    /// The generation of its operations key.
    pub fn generation(&self) -> u32 {
        self.operations.generation
    }

    /// The static key of this node, for sealing.
    pub fn device(&self) -> &DeviceKey {
        &self.device
    }

    /// What backups are sealed to.
    pub fn backup(&self) -> &BackupKey {
        &self.backup
    }

    /// Weeks until the words are needed again.
    pub fn weeks_left(&self, wall: Wall) -> u32 {
        self.sheet.weeks_left(wall)
    }

    /// The key of the queue at a node, made if there is none; `None` when there are too many already. A new one is to be written
    /// ([`AccountKeys::queue_row`]) before its name is told to anybody.
    pub fn queue(&mut self, peer: PeerId, rng: &mut impl CryptoRng) -> Option<&QueueKey> {
        if self.queues.len() >= QUEUES_MAX && !self.queues.contains_key(&peer) {
            return None;
        }
        Some(self.queues.entry(peer).or_insert_with(|| QueueKey::generate(rng)))
    }

    /// The queues that there are keys for.
    pub fn queues(&self) -> impl Iterator<Item = (&PeerId, &QueueKey)> {
        self.queues.iter()
    }

    /// Proves a request to the node that keeps one of our queues: a relay's, or a volunteer's of a week in which letters may wait there, or did a week ago.
    ///
    /// # Errors
    /// [`EncodeError`]: the request breaks its own rules, or the queue is none of ours.
    pub fn ask(
        &self,
        queue: &QueueName,
        request: &Request,
        relay: &PeerId,
        owner: &PeerId,
        nonce: &[u8; 32],
        wall: Wall,
    ) -> Result<Ask, EncodeError> {
        if let Some(key) = self.queues.values().find(|key| key.name() == *queue) {
            return Ask::sign(key, request, relay, owner, nonce);
        }
        // The queue may have been named a while ago, before a week went out of sight.
        let before = Wall(wall.0.saturating_sub(WEEK_MS));
        let mut weeks = volunteer_weeks(wall).chain(volunteer_weeks(before));
        let week = weeks.find(|week| self.volunteer_queue(*week).as_ref() == Some(queue)).ok_or(EncodeError)?;
        Ask::sign_volunteered(&self.operations, week, request, relay, owner, nonce)
    }

    /// The queue that volunteers keep for this account in a week.
    pub fn volunteer_queue(&self, week: u32) -> Option<QueueName> {
        volunteer_queue(&self.operations.public(), week)
    }

    /// The queues that volunteers keep for this account in the weeks in which letters may wait there, in the order of [`volunteer_weeks`].
    pub fn volunteer_queues(&self, wall: Wall) -> impl Iterator<Item = (u32, QueueName)> + '_ {
        volunteer_weeks(wall).filter_map(|week| Some((week, self.volunteer_queue(week)?)))
    }

    /// Forgets the queue at a node. Tells whether there was one, whose row is to be erased.
    pub fn forget_queue(&mut self, peer: &PeerId) -> bool {
        self.queues.remove(peer).is_some()
    }

    /// Makes the prekey of a new week if one is due; the card is to be issued anew if anything is written.
    pub fn rotate(&mut self, wall: Wall, rng: &mut impl CryptoRng) -> Changes {
        self.prekeys.rotate(wall, rng)
    }

    /// Signs a new card, valid from now for 60 days, and not beyond the certificate.
    ///
    /// # Errors
    /// [`CardError`]: the places break the rules; [`CardError::Expired`] when the certificate has run out and the words are needed;
    /// [`CardError::TooEarly`] while the clock shows a time before the account was made.
    pub fn card(&mut self, places: &[Place], policy: Policy, work: Option<Work>, wall: Wall) -> Result<Issued, CardError> {
        if !self.certificate.holds_at(wall) {
            return Err(if wall > self.certificate.not_after { CardError::Expired } else { CardError::TooEarly });
        }
        let prekey = self.prekeys.newest().ok_or(CardError::Rules("no prekey"))?;
        // Grows although the clock went back; and starts beyond what a forgotten node of the same generation had.
        let seconds = u64::try_from(wall.0 / 1000).unwrap_or(0);
        let issue = seconds.max(self.issue.number.saturating_add(1));
        let content = CardContent {
            issue,
            not_before: wall,
            not_after: Wall(wall.0.saturating_add(CARD_AGE_MS_MAX).min(self.certificate.not_after.0).max(wall.0)),
            devices: &[(self.device.id, self.device.public(), prekey.week, prekey.public())],
            places,
            policy,
            work,
            moved_to: None,
        };
        let issued = Card::issue(&self.certificate, &self.operations, &content)?;
        self.issue.number = issue;
        Ok(issued)
    }

    /// Signs the records of this week and the 8 to come. `card` is the public form of the last issue.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn records(&mut self, card: &Card, wall: Wall, rng: &mut impl CryptoRng) -> Result<Vec<Record>, BuildError> {
        // Newer than the last ones within the same weeks, although the clock went back a little.
        let behind = self.issue.records.0.saturating_sub(wall.0);
        let wall = if (0..WEEK_MS).contains(&behind) { Wall(self.issue.records.0.saturating_add(1000)) } else { wall };
        let records = record::build(&self.operations, &self.sheet, card, wall, rng)?;
        self.issue.records = wall;
        Ok(records)
    }
}

fn damaged(name: &str) -> impl FnOnce(DecodeError) -> AccountError {
    let name = name.to_owned();
    move |source| AccountError::Damaged { name, source }
}

/// The name of a prekey's row, behind the account id.
pub fn prekey_row_name(week: u32) -> String {
    format!("prekey/{week}")
}

/// The name of a queue key's row, behind the account id.
pub fn queue_row_name(peer: &PeerId) -> String {
    let hex: String = peer.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("queue/{hex}")
}

fn peer_of_hex(text: &str) -> Option<PeerId> {
    let mut peer = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (index, byte) in peer.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(PeerId(peer))
}

#[cfg(test)]
mod tests;
