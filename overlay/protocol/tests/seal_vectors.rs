//! Frozen envelopes: what was sealed by this version opens for ever, and one seed gives the same bytes.
//!
//! `KITH_WRITE_VECTORS=1` writes the file anew: only for a new version of the format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use kith_protocol::correspondent::Proof;
use kith_protocol::event::Ladder;
use kith_protocol::ids::MailId;
use kith_protocol::letter::Kind;
use kith_protocol::receipt::{Receipt, State};
use party::Party;
use serde_json::{Value, json};

#[path = "support/letters.rs"]
mod letters;
#[path = "support/party.rs"]
mod party;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/envelopes.json");

/// Seals one letter and describes it so that a stranger's implementation can open it.
fn case(name: &str, from: &mut Party, to: &mut Party, kind: Kind, content: &[u8], seed: u8) -> Value {
    let (envelope, sealed) = from.seal(&to.devices(), kind, content, Ladder::Best, seed).unwrap();
    let (letter, _) = to.open(0, &envelope).unwrap();
    let reply = letter.reply_key.and_then(|id| to.other.reply_secret(&id).map(|secret| (id, secret)));
    let (proof, opened) = to.receive(&envelope);
    assert_eq!(opened, content);
    let node = &to.nodes[0];
    json!({
        "name": name,
        "recipient": hex::encode(to.address.key()),
        "weekly_secret": hex::encode(node.weekly),
        "kem_seed": hex::encode(node.kem_seed),
        "reply_key": reply.map(|(id, key)| json!({
            "id": hex::encode(id.as_bytes()),
            "private": hex::encode(key.private.expose()),
            "secret": hex::encode(key.secret.expose()),
        })),
        "sender": hex::encode(letter.sender),
        "head": hex::encode(&*letter.head.encode().unwrap()),
        "content": hex::encode(content),
        "letter_hash": hex::encode(letter.letter_hash),
        "proven_contact": proof == Proof::Contact,
        "size": sealed.size,
        "envelope_id": hex::encode(sealed.envelope.as_bytes()),
        // One envelope in full is enough for whoever wants to open it; the others are told apart by their hash.
        "envelope": (sealed.size == 16_000).then(|| hex::encode(&envelope)),
    })
}

fn cases() -> Vec<Value> {
    let (mut alice, mut bob) = (Party::new(1, 1, 2), Party::new(2, 1, 1));
    let mut home = Party::new(3, 3, 1);
    let mut to_home = Party::new(1, 1, 3);
    let mail = b"From: a@kith.alt\r\nSubject: first\r\n\r\nHello.\r\n";
    let large: Vec<u8> = (0..150_000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
    let first = case("a first mail, sealed to the weekly prekey", &mut alice, &mut bob, Kind::Mail, mail, 11);
    let receipt = Receipt::new(vec![MailId([11; 16])], State::Stored).unwrap().encode().unwrap();
    vec![
        first,
        case("its receipt, sealed to a reply key, with contact mac", &mut bob, &mut alice, Kind::Receipt, &receipt, 12),
        case("three devices in four slots, three chunks", &mut to_home, &mut home, Kind::Mail, &large, 13),
    ]
    .into_iter()
    .map(|mut case| {
        if case["envelope"].is_null() {
            case["content"] = json!("bytes (i*7 + i/251) mod 256 for i in 0..150000");
        }
        case
    })
    .collect()
}

#[test]
fn frozen_envelopes_are_sealed_and_opened_to_the_byte() {
    let now = json!({ "version": 1, "cases": cases() });
    if std::env::var_os("KITH_WRITE_VECTORS").is_some() {
        std::fs::write(PATH, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let frozen: Value = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
    assert_eq!(frozen["cases"].as_array().unwrap().len(), 3);
    for (frozen, now) in frozen["cases"].as_array().unwrap().iter().zip(now["cases"].as_array().unwrap()) {
        for (field, value) in frozen.as_object().unwrap() {
            assert_eq!(Some(value), now.get(field), "{} of {}", field, frozen["name"]);
        }
    }
}
