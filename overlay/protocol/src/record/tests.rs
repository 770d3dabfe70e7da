//! Records that storing nodes keep, and those they refuse.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::account::AccountKeys;
use crate::card::{Issued, Policy};

const WALL: Wall = Wall(1_795_212_000_000);

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn account(seed: u8) -> AccountKeys {
    AccountKeys::create(WALL, &mut rng(seed)).unwrap().1
}

fn issue(account: &mut AccountKeys, wall: Wall) -> Issued {
    account.card(&[], Policy::default(), None, wall).unwrap()
}

fn records(account: &mut AccountKeys, wall: Wall) -> Vec<Record> {
    let card = issue(account, wall).public;
    account.records(&card, wall, &mut rng(9)).unwrap()
}

fn after(days: i64) -> Wall {
    Wall(WALL.0 + days * 86_400_000)
}

#[test]
fn nine_weeks_of_records_store_and_open() {
    let mut account = account(1);
    let card = issue(&mut account, WALL).public;
    let records = account.records(&card, WALL, &mut rng(9)).unwrap();
    assert_eq!(records.len(), 9);
    for (ahead, record) in records.iter().enumerate() {
        let week = week_of(WALL) + ahead as u32;
        assert_eq!((record.week, &record.keys), (week, &directory_keys(account.address(), week)));
        assert!(record.value.len() < 2_500, "{}", record.value.len());
        for key in &record.keys {
            let stored = check_stored(key, &record.value, WALL, None).unwrap();
            assert_eq!((stored.generation, stored.expires), (1, week_start(week + 2)));
            assert_eq!(check_stored(key, &record.value, WALL, Some(&record.value)), Ok(stored));
        }
        assert_eq!(open(account.address(), &record.value, WALL).unwrap(), card);
    }
}

#[test]
fn a_record_of_eight_devices_fits() {
    assert_eq!(HEADER_BYTES + NONCE_BYTES + PADDED_BYTES[5] + TAG_BYTES + SIGNATURE_BYTES, 11_514);
}

#[test]
fn storing_nodes_take_newer_records_only() {
    let mut account = account(1);
    let first = records(&mut account, WALL).remove(0);
    let second = records(&mut account, Wall(WALL.0 + 1000)).remove(0);
    let key = &first.keys[1];
    assert!(check_stored(key, &second.value, WALL, Some(&first.value)).is_ok());
    assert_eq!(check_stored(key, &first.value, WALL, Some(&second.value)), Err(RecordError::Stale));
}

#[test]
fn a_restored_account_wins_over_the_stolen_node() {
    let (seed, mut stolen) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let mut restored = AccountKeys::restore(&seed, Some(1), WALL, &mut rng(2)).unwrap();
    let late = records(&mut stolen, after(1)).remove(0);
    let new = records(&mut restored, WALL).remove(0);
    assert_eq!(late.keys, new.keys);
    assert!(check_stored(&new.keys[0], &new.value, after(1), Some(&late.value)).is_ok());
    assert_eq!(check_stored(&late.keys[0], &late.value, after(1), Some(&new.value)), Err(RecordError::Stale));
    let best = best(stolen.address(), [late.value.as_slice(), &new.value, b"junk"], after(1)).unwrap();
    assert_eq!(best.order().0, 2);
}

#[test]
fn records_have_their_week_and_their_key() {
    let mut account = account(1);
    let all = records(&mut account, WALL);
    let (now, last) = (&all[0], &all[8]);
    let check = |record: &Record, wall| check_stored(&record.keys[0], &record.value, wall, None).map(drop);
    assert_eq!(check(now, after(7)), Ok(()));
    assert_eq!(check(now, after(14)), Err(RecordError::WrongWeek));
    assert_eq!(check(last, WALL), Ok(()));
    assert_eq!(check(last, after(-7)), Err(RecordError::WrongWeek));
    assert_eq!(check_stored(&last.keys[0], &now.value, WALL, None), Err(RecordError::WrongKey));
    assert_eq!(check_stored(b"", &now.value, WALL, None), Err(RecordError::WrongKey));
    assert_eq!(check_stored(&now.keys[0], &[0; RECORD_BYTES_MAX + 1], WALL, None), Err(RecordError::Malformed));
}

#[test]
fn whoever_lacks_the_address_or_the_keys_gets_nowhere() {
    let (mut owner, mut other) = (account(1), account(2));
    let record = records(&mut owner, WALL).remove(0);
    assert_eq!(open(other.address(), &record.value, WALL), Err(OpenRecordError::NotTheirs));
    assert!(!record.value.windows(32).any(|window| window == owner.address().key()));
    // Another owner's card, sealed as if it were this address's: the blinded key gives it away.
    let foreign = records(&mut other, WALL).remove(0);
    let mut mixed = record.value.clone();
    mixed[16..48].copy_from_slice(&foreign.value[16..48]);
    assert_eq!(check_stored(&foreign.keys[0], &mixed, WALL, None), Err(RecordError::Forged));
}

#[test]
fn cards_with_address_hints_do_not_go_into_the_directory() {
    let mut account = account(1);
    let private = issue(&mut account, WALL).private;
    assert_eq!(account.records(&private, WALL, &mut rng(9)), Err(BuildError::Mismatch));
}

#[test]
fn sequences_of_two_weeks_do_not_show_one_signing() {
    let account = account(1);
    let shift = |week| i64::from(sequence(account.address(), week, WALL)) - (WALL.0 - week_start(week).0) / 1000;
    assert_ne!(shift(2967), shift(2968));
    assert_eq!(sequence(account.address(), 2968, Wall(i64::MIN)), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_bit_is_stored_or_opened(bit: prop::sample::Index) {
        let mut account = account(1);
        let record = records(&mut account, WALL).remove(0);
        let mut value = record.value.clone();
        let bit = bit.index(value.len() * 8);
        value[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(check_stored(&record.keys[0], &value, WALL, None).is_err());
        prop_assert!(open(account.address(), &value, WALL).is_err());
        // A held record of any shape does no harm.
        let _ = check_stored(&record.keys[0], &record.value, WALL, Some(&value));
    }

    #[test]
    fn arbitrary_bytes_never_panic(key: Vec<u8>, front in prop::collection::vec(any::<u8>(), 0..200), size in 0_usize..13_000, wall: i64) {
        let mut value = [&MAGIC[..], &front].concat();
        value.resize(size.max(4), 0);
        prop_assert!(check_stored(&key, &value, Wall(wall), None).is_err());
        prop_assert!(open(account(1).address(), &value, Wall(wall)).is_err());
    }

    #[test]
    fn the_best_card_does_not_depend_on_the_order(swap: bool) {
        let mut account = account(1);
        let (first, second) = (records(&mut account, WALL).remove(0), records(&mut account, WALL).remove(0));
        let mut values = [first.value.as_slice(), &second.value, &first.value[1..]];
        if swap {
            values.reverse();
        }
        let found = best(account.address(), values, WALL).unwrap();
        prop_assert_eq!(found, open(account.address(), &second.value, WALL).unwrap());
    }
}
