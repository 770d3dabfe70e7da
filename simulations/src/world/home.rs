//! What a node keeps: the seam between the world and a disk, which is modelled here, or is the store that ships.

use std::cell::Cell;
use std::collections::BTreeMap;

use kith_protocol::address::Address;
use kith_protocol::envelope::CELL_BYTES;
use kith_protocol::event::{CommitProblem, Entry, Fate, HeldEnvelope, HostedQueue, Problem, Wall, Write};
use kith_protocol::ids::{EntryId, EnvelopeId, MailId, PeerId};

use crate::names::{self, Addresses, Sealed};

/// What a node finds when it starts.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) entries: Vec<Entry>,
    pub(crate) hosted: Vec<HostedQueue>,
    pub(crate) held: Vec<HeldEnvelope>,
    pub(crate) hosting_clock: (u64, Wall),
    /// Relays that have agreed.
    pub(crate) granted: Vec<u32>,
    pub(crate) seen: Vec<EnvelopeId>,
    /// Volunteers that were found last.
    pub(crate) volunteers: Vec<PeerId>,
    /// Whose cards it knows, and since when.
    pub(crate) cards: Vec<(u32, Wall)>,
    /// What commits of the dead process have changed of which it did not know whether they are durable.
    pub(crate) facts: Vec<Fact>,
}

/// What a commit has changed, as far as anybody beside the core cares.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A letter of the node's own was queued.
    Queued(Box<Entry>),
    /// A mail is in the mailbox.
    Filed(u64),
    /// A mail's entry has ended.
    Ended(u64, Ending),
    /// The sender was told that a mail takes long.
    Noticed(u64),
    /// A copy of so many bytes is kept for somebody.
    Held(u64),
    /// It is kept no more: its bytes, and for how many ms it was there.
    Forgot(u64, u64),
}

/// What the sender is told at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Delivered,
    /// Their node took it, and did not confirm it.
    Unconfirmed,
    Failed,
}

impl Ending {
    pub(crate) fn of(fate: &Fate) -> Self {
        match fate {
            Fate::Delivered | Fate::HandedOver => Self::Delivered,
            Fate::Failed(Problem::NoReceipt) => Self::Unconfirmed,
            Fate::Failed(_) => Self::Failed,
        }
    }
}

/// The moment of a commit, and what it needs of the world.
pub(crate) struct Moment<'a> {
    /// Since the beginning, in ms.
    pub(crate) now: u64,
    pub(crate) wall: Wall,
    pub(crate) envelopes: &'a Envelopes,
    /// The last number given to a letter or envelope.
    pub(crate) serial: &'a Cell<u64>,
    /// Everybody's address: making one is not for nothing.
    pub(crate) addresses: &'a Addresses,
}

impl Moment<'_> {
    /// The address of a node.
    pub(crate) fn address(&self, node: u32) -> Address {
        self.addresses.of_node(node)
    }
}

/// The disk of a node.
pub(crate) trait Home: std::fmt::Debug {
    /// Everything, for a start.
    fn kept(&mut self, wall: Wall) -> Result<Kept, CommitProblem>;
    /// Queues an entry; its id is ignored and given.
    fn enqueue(&mut self, entry: Entry) -> Result<Entry, CommitProblem>;
    /// All of it or nothing; durable when it returns.
    fn write(&mut self, writes: &[Write], moment: &Moment<'_>, facts: &mut Vec<Fact>) -> Result<(), CommitProblem>;
    /// An entry of the queue; `None` where there is none.
    ///
    /// # Errors
    /// The disk cannot be read now.
    fn entry(&self, id: EntryId) -> Result<Option<Entry>, CommitProblem>;
    /// The letter that carries this mail to them, while it is queued.
    fn letter(&self, recipient: &Address, mail: u64) -> Option<MailId>;
    /// Whether a letter of that name was filed.
    fn has_filed(&self, from: &Address, mid: &MailId) -> bool;
    /// Whether this envelope is kept for somebody; `None`: the disk cannot be read.
    fn holds(&self, envelope: &EnvelopeId) -> Option<bool>;
    /// A card is known from now on.
    fn learn(&mut self, of: u32, wall: Wall);
    /// The mailbox of somebody is kept here.
    fn host(&mut self, rules: HostedQueue);
    /// The power fails, perhaps while this was being written. `below(n)` gives a number below `n`.
    fn crash(&mut self, _now: u64, _halfway: Option<(&[Write], &Moment<'_>)>, _below: &mut dyn FnMut(u64) -> u64) {}
    /// Something is wrong with the disk, or is not any more.
    fn ail(&mut self, _ailment: Ailment, _below: &mut dyn FnMut(u64) -> u64) {}
    /// Looks through the whole disk: the subjects of what is in the inbox, or what does not hold.
    fn inspect(&mut self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// What is wrong with a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ailment {
    /// Nothing.
    None,
    /// It is nearly full.
    Full,
    /// One of its next operations fails.
    Failing,
}

/// What envelopes are called, and what is in them. In the large their names say it; where a store hashes them there is a table.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    hashed: Option<BTreeMap<EnvelopeId, (Sealed, u64, u64)>>,
    /// Mails that receipts confirm beside the one that the name says, by the numbers of their envelopes, which only ever grow.
    confirmed: Vec<(u64, u32)>,
}

impl Envelopes {
    /// Envelopes with bytes, whose names are their hashes.
    pub(crate) fn with_bytes() -> Self {
        Self { hashed: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Names a new envelope.
    pub(crate) fn seal(&mut self, sealed: &Sealed, serial: u64, size: u64) -> EnvelopeId {
        let Some(table) = &mut self.hashed else { return names::envelope(sealed, serial) };
        let id = EnvelopeId(*blake3::hash(&bytes_of(serial, size)).as_bytes());
        table.insert(id, (*sealed, serial, size));
        id
    }

    /// The receipt that was sealed last, in the envelope of this number, confirms these mails, too.
    pub(crate) fn confirm(&mut self, serial: u64, mails: impl Iterator<Item = u64>) {
        self.confirmed.extend(mails.filter_map(|mail| Some((serial, u32::try_from(mail).ok()?))));
    }

    /// Which mails a receipt confirms beside the one that its name says.
    pub(crate) fn confirmed(&self, envelope: &EnvelopeId) -> impl Iterator<Item = u64> {
        let serial = match &self.hashed {
            Some(table) => table.get(envelope).map_or(0, |(_, serial, _)| *serial),
            None => names::serial(envelope),
        };
        let first = self.confirmed.partition_point(|(of, _)| *of < serial);
        self.confirmed[first..].iter().take_while(move |(of, _)| *of == serial).map(|(_, mail)| u64::from(*mail))
    }

    /// What is in one.
    pub(crate) fn opened(&self, envelope: &EnvelopeId) -> Sealed {
        match &self.hashed {
            Some(table) => table.get(envelope).map_or_else(|| names::opened(envelope), |(sealed, ..)| *sealed),
            None => names::opened(envelope),
        }
    }

    /// The bytes of one; empty where it is nothing but a name.
    pub(crate) fn bytes(&self, envelope: &EnvelopeId) -> Vec<u8> {
        let known = self.hashed.as_ref().and_then(|table| table.get(envelope));
        known.map_or_else(Vec::new, |(_, serial, size)| bytes_of(*serial, *size))
    }
}

fn bytes_of(serial: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0x5a; usize::try_from(size).unwrap_or(0)];
    if let Some(start) = bytes.get_mut(..8) {
        start.copy_from_slice(&serial.to_le_bytes());
    }
    bytes
}

/// The bytes of the envelope of a mail of so many bytes: sealed, filled up.
pub(crate) fn sealed_bytes(mail: u64) -> u64 {
    let cells = (mail + 3_000).div_ceil(CELL_BYTES);
    // The next power of two, or one and a half times one.
    let power = cells.next_power_of_two();
    let between = power / 4 * 3;
    CELL_BYTES * if between >= cells && between > 0 { between } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Content;

    #[test]
    fn envelopes_have_the_sizes_of_the_specification() {
        let cells: Vec<u64> =
            [1_u64, 13_000, 13_001, 40_000, 50_000, 90_000, 150_000].map(|mail| sealed_bytes(mail) / CELL_BYTES).into();
        assert_eq!(cells, [1, 1, 2, 3, 4, 6, 12]);
        assert!((0..2_000_000).step_by(777).all(|mail| kith_protocol::envelope::is_size(sealed_bytes(mail))));
    }

    #[test]
    fn an_envelope_says_what_is_in_it_by_name_or_by_table() {
        let content = Content::Mail(7);
        let sealed = Sealed { from: 1, to: 2, mid: names::mail_id(content, 3), content };
        for mut envelopes in [Envelopes::default(), Envelopes::with_bytes()] {
            let id = envelopes.seal(&sealed, 9, CELL_BYTES);
            assert_eq!(envelopes.opened(&id), sealed);
        }
        for mut envelopes in [Envelopes::default(), Envelopes::with_bytes()] {
            let ids = [4, 9, 12].map(|serial| envelopes.seal(&sealed, serial, CELL_BYTES));
            envelopes.confirm(4, [5, 6].into_iter());
            envelopes.confirm(12, [8].into_iter());
            assert_eq!(ids.map(|id| envelopes.confirmed(&id).collect::<Vec<u64>>()), [vec![5, 6], vec![], vec![8]]);
        }
        let mut hashed = Envelopes::with_bytes();
        let id = hashed.seal(&sealed, 9, CELL_BYTES);
        assert_eq!(blake3::hash(&hashed.bytes(&id)).as_bytes(), &id.0);
    }
}
