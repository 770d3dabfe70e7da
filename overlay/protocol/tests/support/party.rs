//! Somebody with an address, devices and prekeys, for tests and benchmarks that seal and open.

use kith_protocol::address::Address;
use kith_protocol::correspondent::Correspondent;
use kith_protocol::event::Wall;
use kith_protocol::kem;
use kith_protocol::noise;
use kith_protocol::seal::{Device, Prekey};
use kith_protocol::secret::Secret;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

pub(crate) const NOW: Wall = Wall(1_790_000_000_000);

/// The address of a party whose key is made from one byte.
pub(crate) fn address(seed: u8) -> Address {
    Address::from_key(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()).unwrap()
}

/// One device: its static secret and its prekeys.
pub(crate) struct Node {
    pub(crate) device: [u8; 32],
    pub(crate) weekly: [u8; 32],
    pub(crate) kem_seed: [u8; 64],
}

impl Node {
    pub(crate) fn prekey(&self) -> Prekey {
        Prekey::new(Secret::new(self.weekly), &self.kem_seed)
    }

    pub(crate) fn public(&self) -> Device {
        Device {
            identity: noise::public_key(&self.device),
            weekly: noise::public_key(&self.weekly),
            kem: Box::new(kem::SecretKey::from_seed(&self.kem_seed).public()),
        }
    }
}

/// A mailbox with as many devices as wanted; what it knows of the other party.
pub(crate) struct Party {
    pub(crate) address: Address,
    pub(crate) nodes: Vec<Node>,
    pub(crate) other: Correspondent,
}

impl Party {
    pub(crate) fn new(seed: u8, devices: usize, other: u8) -> Self {
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

    pub(crate) fn devices(&self) -> Vec<Device> {
        self.nodes.iter().map(Node::public).collect()
    }
}
