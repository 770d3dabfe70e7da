//! Frozen addresses, keys, certificates, cards and records: one seed gives these bytes for ever, and what was written by this version reads for ever.
//!
//! `KITH_WRITE_VECTORS=1` writes the file anew: only for a new version of a format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use kith_protocol::account::AccountKeys;
use kith_protocol::blinding::{blind_public, week_of};
use kith_protocol::card::{Card, Policy};
use kith_protocol::certificate::{AccountCertificate, Tombstone};
use kith_protocol::event::{Place, Wall};
use kith_protocol::ids::{PeerId, QueueName};
use kith_protocol::keys::{Seed, queue_name};
use kith_protocol::record::{self, check_stored};
use kith_protocol::secret::Secret;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/identity.json");
/// 2026-11-20T22:00:00Z.
const WALL: Wall = Wall(1_795_212_000_000);

fn account(byte: u8) -> Value {
    let mut rng = ChaCha20Rng::from_seed([byte; 32]);
    let seed = Seed::new(Secret::new([byte; 32]));
    let master = seed.master();
    let mut keys = AccountKeys::restore(&seed, None, WALL, &mut rng).unwrap();
    let place = Place {
        peer: PeerId([0x11; 32]),
        queue: QueueName([0x22; 16]),
        kind: kith_protocol::event::PlaceKind::Home,
        addresses: vec!["/ip4/192.0.2.1/tcp/4190".into()],
    };
    let issued = keys.card(&[place], Policy::default(), None, WALL).unwrap();
    let records = keys.records(&issued.public, WALL, &mut rng).unwrap();
    let rows = keys.rows().unwrap();
    let row = |wanted: &str| hex::encode(&*rows.iter().find(|(name, _)| name == wanted).unwrap().1);
    let week = week_of(WALL);
    json!({
        "seed": hex::encode([byte; 32]),
        "words": *seed.words(),
        "master_public": hex::encode(master.address().key()),
        "address": master.address().to_string(),
        "qr": master.address().qr_text(),
        "backup_x25519": hex::encode(master.backup().x25519),
        "backup_hash": hex::encode(master.backup().hash()),
        "wall_ms": WALL.0,
        "week": week,
        "blinded_master": hex::encode(blind_public(master.address().key(), week).unwrap()),
        "directory_keys": record::directory_keys(&master.address(), week).map(hex::encode),
        "operations_row": row("operations"),
        "device_row": row("device"),
        "prekey_row": row(&format!("prekey/{week}")),
        "sheet_row_blake3": blake3::hash(&hex::decode(row("sheet")).unwrap()).to_hex().to_string(),
        "certificate": row("certificate"),
        "card_public": hex::encode(issued.public.bytes()),
        "card_private": hex::encode(issued.private.bytes()),
        "record": hex::encode(&records[0].value),
        "record_of_the_last_week_blake3": blake3::hash(&records[8].value).to_hex().to_string(),
        "tombstone": hex::encode(Tombstone::sign(&master, None).unwrap().bytes()),
        "queue_of_the_master_key": hex::encode(queue_name(master.address().key()).as_bytes()),
    })
}

#[test]
fn frozen_identities_are_written_to_the_byte() {
    let now = json!({ "version": 1, "accounts": [account(1), account(0x7f)] });
    if std::env::var_os("KITH_WRITE_VECTORS").is_some() {
        std::fs::write(PATH, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let frozen: Value = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
    assert_eq!(frozen["accounts"].as_array().unwrap().len(), 2);
    for (frozen, now) in frozen["accounts"].as_array().unwrap().iter().zip(now["accounts"].as_array().unwrap()) {
        for (field, value) in frozen.as_object().unwrap() {
            assert_eq!(Some(value), now.get(field), "{field}");
        }
    }
}

#[test]
fn frozen_identities_read() {
    let frozen: Value = serde_json::from_str(&std::fs::read_to_string(PATH).unwrap()).unwrap();
    for account in frozen["accounts"].as_array().unwrap() {
        let bytes = |field: &str| hex::decode(account[field].as_str().unwrap()).unwrap();
        let address = account["address"].as_str().unwrap().parse().unwrap();
        let certificate = AccountCertificate::verify(&address, &bytes("certificate")).unwrap();
        let public = Card::verify(&address, &bytes("card_public"), WALL).unwrap();
        let private = Card::verify(&address, &bytes("card_private"), WALL).unwrap();
        assert_eq!((certificate.generation, public.order().0, private.order().1 - public.order().1), (1, 1, 1));
        let key = hex::decode(account["directory_keys"][0].as_str().unwrap()).unwrap();
        assert!(check_stored(&key, &bytes("record"), WALL, None).is_ok());
        assert_eq!(record::open(&address, &bytes("record"), WALL).unwrap(), public);
        assert_eq!(Tombstone::verify(&address, &bytes("tombstone")).unwrap().moved_to, None);
    }
}
