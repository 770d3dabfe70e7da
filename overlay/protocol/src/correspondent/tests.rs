//! Reply keys and seeds through the life of a correspondence.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::event::Wall;
use crate::ids::MailId;
use crate::letter::Kind;

const DAY: i64 = 86_400_000;

fn address(seed: u8) -> Address {
    Address::from_key(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()).unwrap()
}

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn head(keys: Vec<ReplyKey>, stamps: Option<Stamps>) -> Head {
    let mut head = Head::new(MailId([1; 16]), Wall(0), address(2), b"card", Kind::Mail, 0).unwrap();
    head.reply_keys = keys;
    head.stamps = stamps;
    head
}

#[test]
fn no_more_keys_are_issued_than_may_be_out() {
    let mut bob = Correspondent::new(address(2));
    let counts: Vec<_> = (0..6).map(|seed| bob.issue(1, Wall(0), &mut rng(seed)).len()).collect();
    assert_eq!(counts, [2, 2, 2, 2, 0, 0]);
    let spent = *bob.issued_keys().next().unwrap();
    assert!(bob.spend(&spent) && !bob.spend(&spent));
    assert!(bob.reply_secret(&spent).is_none());
    assert_eq!(bob.issue(1, Wall(0), &mut rng(9)).len(), 1);
}

#[test]
fn unused_keys_age_out_on_both_sides() {
    let mut alice = Correspondent::new(address(1));
    let mut bob = Correspondent::new(address(2));
    let keys = bob.issue(1, Wall(0), &mut rng(1));
    alice.learn(&[7; 32], &head(keys, None), Proof::FirstContact, Wall(0));
    assert!(alice.clone().take_reply_key(&[7; 32], Wall(28 * DAY)).is_some());
    assert!(alice.clone().take_reply_key(&[7; 32], Wall(28 * DAY + 1)).is_none());
    bob.expire(Wall(60 * DAY));
    assert_eq!(bob.issued_keys().count(), 2);
    bob.expire(Wall(60 * DAY + 1));
    assert_eq!(bob.issued_keys().count(), 0);
    // A clock that was set back erases nothing.
    alice.expire(Wall(-1000 * DAY));
    assert!(alice.take_reply_key(&[7; 32], Wall(0)).is_some());
}

#[test]
fn the_newest_key_of_the_device_is_taken_and_never_comes_back() {
    let mut alice = Correspondent::new(address(1));
    let mut bob = Correspondent::new(address(2));
    let keys = bob.issue(1, Wall(0), &mut rng(1));
    let letter = head(keys.clone(), None);
    alice.learn(&[7; 32], &letter, Proof::FirstContact, Wall(0));
    assert_eq!(alice.take_reply_key(&[8; 32], Wall(0)), None);
    assert_eq!(alice.take_reply_key(&[7; 32], Wall(0)), Some(keys[1].clone()));
    alice.learn(&[7; 32], &letter, Proof::FirstContact, Wall(0));
    assert_eq!(alice.take_reply_key(&[7; 32], Wall(0)), Some(keys[0].clone()));
    assert_eq!(alice.take_reply_key(&[7; 32], Wall(0)), None);
}

#[test]
fn unusable_keys_are_not_learned() {
    let mut alice = Correspondent::new(address(1));
    let low = ReplyKey { id: KeyId([1; 8]), public: [0; 32], secret: Secret::new([1; 32]) };
    let nameless = ReplyKey { id: KeyId::WEEKLY, public: noise::public_key(&[3; 32]), secret: Secret::new([1; 32]) };
    alice.learn(&[7; 32], &head(vec![low, nameless], None), Proof::FirstContact, Wall(0));
    assert_eq!(alice.take_reply_key(&[7; 32], Wall(0)), None);
}

#[test]
fn the_fullest_row_reads_back_within_its_limit() {
    let mut alice = Correspondent::new(address(1));
    alice.issue(1, Wall(i64::MAX), &mut rng(1));
    while !alice.issue(1, Wall(i64::MAX), &mut rng(alice.issued.len() as u8)).is_empty() {}
    for letter in 0..200_u8 {
        let mut bob = Correspondent::new(address(2));
        let stamps = bob.offer(&mut rng(letter));
        let keys = bob.issue(1, Wall(0), &mut rng(letter));
        alice.learn(&[letter % 11; 32], &head(keys, stamps), Proof::FirstContact, Wall(i64::MAX));
    }
    assert_eq!(alice.held.len(), HELD_KEYS_MAX);
    for device in (0..11).cycle().take(HELD_KEYS_MAX * 2) {
        alice.take_reply_key(&[device; 32], Wall(i64::MAX));
    }
    for letter in 0..200_u8 {
        let keys = Correspondent::new(address(2)).issue(1, Wall(0), &mut rng(letter.wrapping_add(100)));
        alice.learn(&[letter % 11; 32], &head(keys, None), Proof::FirstContact, Wall(i64::MAX));
    }
    alice.offer(&mut rng(1));
    alice.offered = alice.given.clone();
    assert_eq!(alice.used.len(), USED_KEY_IDS_MAX);
    let row = alice.encode().unwrap();
    assert!(row.len() <= CORRESPONDENT_BYTES_MAX, "{}", row.len());
    assert_eq!(Correspondent::decode(&row), Ok(alice));
}

#[test]
fn a_forged_or_missing_mac_of_an_established_contact_is_no_proof() {
    let (us, mut bob) = (address(1), Correspondent::new(address(2)));
    let seed = bob.offer(&mut rng(1)).unwrap().seed;
    let mac = *letter::contact_mac(&seed, &us, &[5; 32]).as_bytes();
    assert_eq!(bob.prove(&us, &[5; 32], None), Proof::FirstContact);
    assert_eq!(bob.prove(&us, &[5; 32], Some(&mac)), Proof::Contact);
    bob.learn(&[7; 32], &head(Vec::new(), None), Proof::Contact, Wall(0));
    assert_eq!(bob.offer(&mut rng(2)), None, "what is proven to be there is not sent again");
    assert_eq!(bob.prove(&us, &[5; 32], Some(&mac)), Proof::Contact);
    assert_eq!(bob.prove(&us, &[6; 32], Some(&mac)), Proof::KeysReset);
    assert_eq!(bob.prove(&address(3), &[5; 32], Some(&mac)), Proof::KeysReset);
    assert_eq!(bob.prove(&us, &[5; 32], Some(&[0; 32])), Proof::KeysReset);
    assert_eq!(bob.prove(&us, &[5; 32], None), Proof::KeysReset);
}

#[test]
fn a_letter_judged_before_the_contact_was_proven_brings_nothing_afterwards() {
    let mut bob = Correspondent::new(address(2));
    bob.learn(&[7; 32], &head(Vec::new(), None), Proof::Contact, Wall(0));
    let before = bob.clone();
    let mut stranger = Correspondent::new(address(1));
    let late = head(stranger.issue(1, Wall(0), &mut rng(3)), stranger.offer(&mut rng(4)));
    bob.learn(&[7; 32], &late, Proof::FirstContact, Wall(0));
    assert_eq!(bob, before);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let mut bob = Correspondent::new(address(2));
    bob.offer(&mut rng(1));
    bob.issue(1, Wall(0), &mut rng(1));
    let secret = bob.given.as_ref().unwrap().expose();
    let shown = format!("{bob:?}");
    assert!(!shown.contains(&format!("{secret:?}")) && shown.contains("Secret(…)"));
}

proptest! {
    #[test]
    fn arbitrary_rows_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(row) = Correspondent::decode(&bytes) {
            prop_assert_eq!(row.encode().unwrap().to_vec(), bytes);
        }
    }
}
