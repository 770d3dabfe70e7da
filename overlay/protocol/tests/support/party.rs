//! Somebody with an address, devices and prekeys, for tests that seal and open.

use std::io::Cursor;

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::correspondent::Correspondent;
use kith_protocol::event::{Ladder, Wall};
use kith_protocol::ids::MailId;
use kith_protocol::kem;
use kith_protocol::letter::Kind;
use kith_protocol::noise;
use kith_protocol::seal::{Content, Device, OpenError, OpenKeys, OpenedLetter, Prekey, SealError, SealRequest, Sealed, open, seal};
use kith_protocol::secret::Secret;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

pub const NOW: Wall = Wall(1_790_000_000_000);

/// The address of a party whose key is made from one byte.
pub fn address(seed: u8) -> Address {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
    codec::decode(&codec::encode(&serde_bytes::ByteArray::new(key.to_bytes())).unwrap(), 64).unwrap()
}

/// One device: its static secret and its prekeys.
pub struct Node {
    pub device: [u8; 32],
    pub weekly: [u8; 32],
    pub kem_seed: [u8; 64],
}

impl Node {
    pub fn prekey(&self) -> Prekey {
        Prekey::new(Secret::new(self.weekly), &self.kem_seed)
    }

    pub fn public(&self) -> Device {
        Device {
            identity: noise::public_key(&self.device),
            weekly: noise::public_key(&self.weekly),
            kem: Box::new(kem::SecretKey::from_seed(&self.kem_seed).public()),
        }
    }
}

/// A mailbox with as many devices as wanted; what it knows of the other party.
pub struct Party {
    pub address: Address,
    pub nodes: Vec<Node>,
    pub other: Correspondent,
}

impl Party {
    pub fn new(seed: u8, devices: usize, other: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let nodes = (0..devices)
            .map(|_| {
                let mut node = Node { device: [0; 32], weekly: [0; 32], kem_seed: [0; 64] };
                rng.fill_bytes(&mut node.device);
                rng.fill_bytes(&mut node.weekly);
                rng.fill_bytes(&mut node.kem_seed);
                node
            })
            .collect();
        Self { address: address(seed), nodes, other: Correspondent::new(address(other)) }
    }

    pub fn devices(&self) -> Vec<Device> {
        self.nodes.iter().map(Node::public).collect()
    }

    /// Seals a letter to `to` from the first device.
    pub fn seal(&mut self, to: &[Device], kind: Kind, content: &[u8], ladder: Ladder, seed: u8) -> Result<(Vec<u8>, Sealed), SealError> {
        let mut out = Cursor::new(Vec::new());
        let request = SealRequest {
            device: &self.nodes[0].device,
            from: self.address,
            card: &[0xca; 1800],
            devices: to,
            correspondent: &mut self.other,
            ladder,
            mid: MailId([seed; 16]),
            kind,
            date: NOW,
            now: NOW,
        };
        let sealed = seal(request, Content::of(content), &mut out, &mut ChaCha20Rng::from_seed([seed; 32]))?;
        Ok((out.into_inner(), sealed))
    }

    /// Opens an envelope at one of the devices.
    pub fn open(&self, device: usize, envelope: &[u8]) -> Result<(OpenedLetter, Vec<u8>), OpenError> {
        let keys = OpenKeys { address: self.address, prekeys: &[self.nodes[device].prekey()] };
        let mut content = Vec::new();
        let opened =
            open(&keys, |id| self.other.reply_secret(id), Cursor::new(envelope), envelope.len() as u64, &mut content)?;
        Ok((opened, content))
    }

    /// Opens, proves and learns as a node does that files the letter.
    pub fn receive(&mut self, envelope: &[u8]) -> (kith_protocol::correspondent::Proof, Vec<u8>) {
        let (letter, content) = self.open(0, envelope).unwrap();
        let proof = self.other.prove(&self.address, &letter.letter_hash, letter.head.mac.as_ref());
        self.other.learn(&letter.sender, &letter.head, proof, NOW);
        if let Some(id) = letter.reply_key {
            assert!(self.other.spend(&id));
        }
        (proof, content)
    }
}
