//! What sealing and opening cost: `cargo bench -p kith-protocol --bench seal`.
//!
//! The yardstick for large mail is the cipher and the hash alone over the same bytes, in chunks of 64 KiB in memory.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_types, reason = "a benchmark measures time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

use std::io::Cursor;
use std::time::Instant;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use kith_protocol::correspondent::Correspondent;
use kith_protocol::event::Ladder;
use kith_protocol::ids::MailId;
use kith_protocol::letter::Kind;
use kith_protocol::seal::{Content, OpenKeys, SealRequest, open, seal};
use party::{NOW, Party};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

#[path = "../tests/support/party.rs"]
mod party;

/// The shortest of some runs, in ms: the one that the machine disturbed least.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

fn cipher_and_hash(bytes: &mut [u8]) {
    let cipher = ChaCha20Poly1305::new(&[1; 32].into());
    let mut hasher = blake3::Hasher::new();
    for chunk in bytes.chunks_mut(65_536) {
        let tag = cipher.encrypt_inout_detached(&[0; 12].into(), &[], InOutBuf::from(&mut *chunk));
        hasher.update(chunk);
        std::hint::black_box(tag).ok();
    }
    std::hint::black_box(hasher.finalize());
}

fn measure(name: &str, length: usize, runs: usize) {
    let mail: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
    let hash = *blake3::hash(&mail).as_bytes();
    let bob = Party::new(2, 1, 1);
    let devices = bob.devices();
    let mut alice = Party::new(1, 1, 2);
    let mut out = Cursor::new(Vec::with_capacity(length * 2 + 32_000));
    let sealing = best(runs, || {
        out.get_mut().clear();
        out.set_position(0);
        alice.other = Correspondent::new(bob.address);
        let request = SealRequest {
            device: &alice.nodes[0].device,
            from: alice.address,
            card: &[0xca; 1800],
            devices: &devices,
            correspondent: &mut alice.other,
            ladder: Ladder::Best,
            mid: MailId([1; 16]),
            kind: Kind::Mail,
            answers: 0,
            date: NOW,
            now: NOW,
        };
        let content = Content { from: mail.as_slice(), length: length as u64, hash };
        let sealed = seal(request, content, &mut out, &mut ChaCha20Rng::from_seed([3; 32]));
        std::hint::black_box(sealed).expect("the letter can be sealed");
    });
    let envelope = out.into_inner();
    let prekeys = [bob.nodes[0].prekey()];
    let keys = OpenKeys { address: bob.address, prekeys: &prekeys };
    let mut content = Vec::with_capacity(length);
    let opening = best(runs, || {
        content.clear();
        let opened = open(&keys, |_| None, Cursor::new(&envelope), envelope.len() as u64, &mut content);
        std::hint::black_box(opened).expect("the letter opens");
    });
    let mut bytes = mail.clone();
    let alone = best(runs, || cipher_and_hash(&mut bytes));
    bytes.resize(envelope.len(), 0);
    let padded = best(runs, || cipher_and_hash(&mut bytes));
    println!(
        "{name} in {} bytes: seal {sealing:.2} ms, open {opening:.2} ms; cipher and hash alone over the mail {alone:.2} ms (ratio {:.2}, {:.2}), \
         over the envelope {padded:.2} ms (ratio {:.2}, {:.2})",
        envelope.len(),
        alone / sealing,
        alone / opening,
        padded / sealing,
        padded / opening
    );
}

fn main() {
    measure("4 KB mail", 4_000, 200);
    measure("10 MB mail", 10_000_000, 15);
}
