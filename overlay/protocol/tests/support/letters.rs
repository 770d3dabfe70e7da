//! What a party of the tests does with letters.

use std::io::Cursor;

use kith_protocol::correspondent::Proof;
use kith_protocol::event::Ladder;
use kith_protocol::ids::MailId;
use kith_protocol::letter::Kind;
use kith_protocol::seal::{Content, Device, OpenError, OpenKeys, OpenedLetter, SealError, SealRequest, Sealed, open, seal};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::party::{NOW, Party};

impl Party {
    /// Seals a letter to `to` from the first device.
    pub(crate) fn seal(
        &mut self,
        to: &[Device],
        kind: Kind,
        content: &[u8],
        ladder: Ladder,
        seed: u8,
    ) -> Result<(Vec<u8>, Sealed), SealError> {
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
            answers: 0,
            date: NOW,
            now: NOW,
        };
        let sealed = seal(request, Content::of(content), &mut out, &mut ChaCha20Rng::from_seed([seed; 32]))?;
        Ok((out.into_inner(), sealed))
    }

    /// Opens an envelope at one of the devices.
    pub(crate) fn open(&self, device: usize, envelope: &[u8]) -> Result<(OpenedLetter, Vec<u8>), OpenError> {
        let keys = OpenKeys { address: self.address, prekeys: &[self.nodes[device].prekey()] };
        let mut content = Vec::new();
        let opened = open(&keys, |id| self.other.reply_secret(id), Cursor::new(envelope), envelope.len() as u64, &mut content)?;
        Ok((opened, content))
    }

    /// Opens, proves and learns as a node does that files the letter.
    pub(crate) fn receive(&mut self, envelope: &[u8]) -> (Proof, Vec<u8>) {
        let (letter, content) = self.open(0, envelope).unwrap();
        let proof = self.other.prove(&self.address, &letter.letter_hash, letter.head.mac.as_ref());
        self.other.learn(&letter.sender, &letter.head, proof, NOW);
        if let Some(id) = letter.reply_key {
            assert!(self.other.spend(&id));
        }
        (proof, content)
    }
}
