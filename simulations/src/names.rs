//! Names that say what they stand for, so that no table of a million of them is needed.

use std::collections::HashMap;

use ed25519_dalek::SigningKey;
use kith_protocol::address::Address;
use kith_protocol::ids::{EnvelopeId, MailId, PeerId, QueueName};
use kith_protocol::keys::queue_name;

fn number(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    let count = bytes.len().min(4);
    four[..count].copy_from_slice(&bytes[..count]);
    u32::from_le_bytes(four)
}

/// A node's peer.
#[must_use]
pub fn peer(node: u32) -> PeerId {
    let mut bytes = [b'p'; 32];
    bytes[..4].copy_from_slice(&node.to_le_bytes());
    PeerId(bytes)
}

/// The node of a peer.
#[must_use]
pub fn node_of_peer(peer: &PeerId) -> u32 {
    number(peer.as_bytes())
}

/// A person's address: that of a real key.
#[must_use]
pub fn address(node: u32) -> Address {
    let mut secret = [b'a'; 32];
    secret[..4].copy_from_slice(&node.to_le_bytes());
    Address::of_secret(&SigningKey::from_bytes(&secret))
}

/// Everybody's address, and whose it is: keys do not say.
#[derive(Debug)]
pub struct Addresses {
    all: Vec<Address>,
    /// By the first bytes of the key, which are random. Only looked up, never walked through.
    nodes: HashMap<u64, u32>,
}

impl Addresses {
    /// Those of so many nodes. Making a key takes some 20 µs: all cores share it.
    #[must_use]
    pub fn of(count: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let part = (count as usize).div_ceil(cores).max(1);
        let numbers: Vec<u32> = (0..count).collect();
        let parts: Vec<Vec<Address>> = std::thread::scope(|scope| {
            let make = |part: &[u32]| part.iter().copied().map(address).collect();
            let running: Vec<_> = numbers.chunks(part).map(|part| scope.spawn(move || make(part))).collect();
            running.into_iter().map(|part| part.join().unwrap_or_default()).collect()
        });
        let all = parts.concat();
        let nodes = (0..).zip(&all).map(|(node, address)| (start(address), node)).collect();
        Self { all, nodes }
    }

    /// The address of a node.
    #[must_use]
    pub fn of_node(&self, node: u32) -> Address {
        self.all.get(node as usize).copied().unwrap_or_else(|| address(node))
    }

    /// The node of an address; the last number there is for one that is nobody's.
    #[must_use]
    pub fn node(&self, address: &Address) -> u32 {
        self.nodes.get(&start(address)).copied().unwrap_or(u32::MAX)
    }
}

fn start(address: &Address) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&address.key()[..8]);
    u64::from_le_bytes(bytes)
}

/// A person's queue at the own node.
#[must_use]
pub fn queue(node: u32) -> QueueName {
    let mut bytes = [b'q'; 16];
    bytes[..4].copy_from_slice(&node.to_le_bytes());
    QueueName(bytes)
}

/// The key of a person's queue at another node.
#[must_use]
pub fn queue_key(of: u32, at: u32) -> [u8; 32] {
    let mut key = [b'k'; 32];
    key[..4].copy_from_slice(&of.to_le_bytes());
    key[4..8].copy_from_slice(&at.to_le_bytes());
    key
}

/// A person's queue at another node.
#[must_use]
pub fn queue_at(of: u32, at: u32) -> QueueName {
    queue_name(&queue_key(of, at))
}

/// What is in a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// This mail of the run.
    Mail(u64),
    /// A receipt for it.
    Receipt(u64),
    /// A card.
    Card,
}

/// A letter's name.
#[must_use]
pub fn mail_id(content: Content, serial: u64) -> MailId {
    let (kind, mail) = parts(content);
    let mut bytes = [0; 16];
    bytes[0] = kind;
    bytes[1..8].copy_from_slice(&mail.to_le_bytes()[..7]);
    bytes[8..].copy_from_slice(&serial.to_le_bytes());
    MailId(bytes)
}

/// The mail of a letter's name.
#[must_use]
pub fn mail_of(mid: &MailId) -> u64 {
    let mut bytes = [0; 8];
    bytes[..7].copy_from_slice(&mid.as_bytes()[1..8]);
    u64::from_le_bytes(bytes)
}

/// An envelope: who sealed it for whom, and what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The sender's node.
    pub from: u32,
    /// The recipient's.
    pub to: u32,
    /// Of the letter.
    pub mid: MailId,
    /// What is in it.
    pub content: Content,
}

fn parts(content: Content) -> (u8, u64) {
    match content {
        Content::Mail(mail) => (1, mail),
        Content::Receipt(mail) => (2, mail),
        Content::Card => (3, 0),
    }
}

/// The envelope's name; `serial` sets apart what is sealed anew.
#[must_use]
pub fn envelope(sealed: &Sealed, serial: u64) -> EnvelopeId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&sealed.from.to_le_bytes());
    bytes[4..8].copy_from_slice(&sealed.to.to_le_bytes());
    bytes[8..16].copy_from_slice(&serial.to_le_bytes());
    bytes[16..].copy_from_slice(sealed.mid.as_bytes());
    EnvelopeId(bytes)
}

/// What sets an envelope apart from others of the same letter.
#[must_use]
pub fn serial(envelope: &EnvelopeId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&envelope.as_bytes()[8..16]);
    u64::from_le_bytes(bytes)
}

/// What an envelope's name says of it.
#[must_use]
pub fn opened(envelope: &EnvelopeId) -> Sealed {
    let bytes = envelope.as_bytes();
    let mut mid = [0; 16];
    mid.copy_from_slice(&bytes[16..]);
    let mid = MailId(mid);
    let content = match mid.as_bytes()[0] {
        1 => Content::Mail(mail_of(&mid)),
        2 => Content::Receipt(mail_of(&mid)),
        _ => Content::Card,
    };
    Sealed { from: number(&bytes[..4]), to: number(&bytes[4..8]), mid, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for() {
        for node in [0, 1, 77, 1_000_000] {
            assert_eq!(node_of_peer(&peer(node)), node);
        }
        let addresses = Addresses::of(100);
        assert!(
            (0..100).all(|node| addresses.node(&addresses.of_node(node)) == node && addresses.of_node(node) == address(node))
        );
        for content in [Content::Mail(12_345_678_901), Content::Receipt(3), Content::Card] {
            let sealed = Sealed { from: 5, to: 900_000, mid: mail_id(content, 99), content };
            assert_eq!((opened(&envelope(&sealed, 4)), serial(&envelope(&sealed, 4))), (sealed, 4));
        }
    }
}
