//! What went over the networks beside envelopes: how many messages, by kind, and how many questions to the directory, each of which is many messages.

use kith_protocol::event::{OwnerAsk, Way};

use crate::names::Content;

/// Kinds of messages, each with its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// An offer of a mail to a node of its recipient.
    MailHome,
    /// To one that is to keep it, or carry it on.
    MailDeposit,
    /// From one that kept it to its owner.
    MailPush,
    /// From one that keeps it to another one, or that carries it on.
    MailOnward,
    /// The same of receipts, and of cards.
    ReceiptHome,
    ReceiptDeposit,
    ReceiptPush,
    ReceiptOnward,
    /// Whether a copy is there.
    Audit,
    /// An owner asks for what is kept.
    Collect,
    /// Everything else that owners ask of those who keep their letters.
    Upkeep,
    /// An offer of what is too large for the only way there is: nothing is sent, both machines are awake for it.
    NoWay,
    /// A card is looked up.
    Lookup,
    /// A card is published.
    Publication,
    /// Volunteers are looked for, near a recipient's key or one's own.
    Search,
}

impl Kind {
    /// All of them, in their order, with their names in a table of figures.
    const NAMES: [(Self, &'static str); 15] = [
        (Self::MailHome, "offers of mails to the recipient"),
        (Self::MailDeposit, "mails left with others"),
        (Self::MailPush, "mails offered by those who keep them"),
        (Self::MailOnward, "mails passed on"),
        (Self::ReceiptHome, "offers of receipts to the recipient"),
        (Self::ReceiptDeposit, "receipts left with others"),
        (Self::ReceiptPush, "receipts offered by those who keep them"),
        (Self::ReceiptOnward, "receipts passed on"),
        (Self::Audit, "questions whether a copy is there"),
        (Self::Collect, "owners who ask for what is kept"),
        (Self::Upkeep, "owners who bring relays up to date"),
        (Self::NoWay, "offers of what is too large for the way there is"),
        (Self::Lookup, "look-ups of cards"),
        (Self::Publication, "cards published"),
        (Self::Search, "searches for volunteers"),
    ];

    /// What an offer is.
    pub(super) fn of_offer(way: &Way, content: Content) -> Self {
        let mail = matches!(content, Content::Mail(_));
        match (way, mail) {
            (Way::Letter { deposit: false, .. }, true) => Self::MailHome,
            (Way::Letter { deposit: false, .. }, false) => Self::ReceiptHome,
            (Way::Letter { .. }, true) => Self::MailDeposit,
            (Way::Letter { .. }, false) => Self::ReceiptDeposit,
            (Way::Push, true) => Self::MailPush,
            (Way::Push, false) => Self::ReceiptPush,
            (Way::Onward { .. }, true) => Self::MailOnward,
            (Way::Onward { .. }, false) => Self::ReceiptOnward,
        }
    }

    /// What an owner asks.
    pub(super) fn of_ask(what: OwnerAsk) -> Self {
        match what {
            OwnerAsk::Collect => Self::Collect,
            OwnerAsk::Host | OwnerAsk::Leave | OwnerAsk::Siblings | OwnerAsk::Marks | OwnerAsk::Records => Self::Upkeep,
        }
    }
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control([u64; Kind::NAMES.len()]);

impl Control {
    pub(super) fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Each kind's name, and how many there were.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::NAMES.iter().map(|(kind, name)| (*name, self.0[*kind as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_place() {
        assert!((0..).zip(Kind::NAMES).all(|(place, (kind, _))| kind as usize == place));
    }
}
