//! Certificates and sheets against wrong keys, wrong weeks and hostile bytes.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::blinding::blind_public;
use crate::keys::Seed;

const WALL: Wall = Wall(1_795_000_000_000);

fn keys(seed: u8) -> (Master, Operations) {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    (Seed::generate(&mut rng).master(), Operations::generate(1, &mut rng))
}

#[test]
fn a_certificate_holds_for_its_address_and_its_time() {
    let (master, operations) = keys(1);
    let certificate = AccountCertificate::sign(&master, &operations, WALL).unwrap();
    assert!(certificate.bytes().len() <= CERTIFICATE_BYTES_MAX, "{}", certificate.bytes().len());
    assert_eq!(AccountCertificate::verify(&master.address(), certificate.bytes()), Ok(certificate.clone()));
    assert!(AccountCertificate::verify(&keys(2).0.address(), certificate.bytes()).is_err());
    assert!(certificate.holds_at(WALL) && certificate.holds_at(Wall(WALL.0 + 103 * WEEK_MS)));
    assert!(!certificate.holds_at(Wall(WALL.0 + 104 * WEEK_MS)) && !certificate.holds_at(Wall(0)));
}

#[test]
fn certificates_that_break_the_rules_are_refused_though_signed() {
    let (master, operations) = keys(1);
    let good = AccountCertificate::sign(&master, &operations, WALL).unwrap();
    let refused = |change: &dyn Fn(&mut AccountCertificate)| {
        let mut certificate = AccountCertificate::clone(&good);
        change(&mut certificate);
        let signed = Verified::sign(master.signing(), contexts::ACCOUNT, certificate).unwrap();
        AccountCertificate::verify(&master.address(), signed.bytes()) == Err(CertificateError::Rules)
    };
    assert!(refused(&|certificate| certificate.version = 2));
    assert!(refused(&|certificate| certificate.address = keys(2).0.address()));
    assert!(refused(&|certificate| certificate.not_after.0 += 1));
    assert!(refused(&|certificate| certificate.not_after.0 = certificate.not_before.0 - 1));
    assert!(refused(&|certificate| (certificate.not_before, certificate.not_after) = (Wall(i64::MIN), Wall(i64::MAX))));
    assert!(!refused(&|certificate| certificate.generation = u32::MAX));
}

#[test]
fn every_week_of_the_sheet_verifies_under_the_blinded_key_alone() {
    let (master, operations) = keys(1);
    let sheet = EpochSheet::sign(&master, &operations, WALL);
    assert_eq!(sheet.to_row().unwrap().len(), 6_656 + 13);
    assert_eq!(EpochSheet::from_row(&sheet.to_row().unwrap()), Ok(sheet.clone()));
    for week in [0, 1, 52, 103].map(|ahead| week_of(WALL) + ahead) {
        let blinded = blind_public(master.address().key(), week).unwrap();
        let record_key = operations.blinded(week).public();
        let signature = sheet.signature(week).unwrap();
        assert!(verify_epoch(&blinded, week, 1, &record_key, &signature));
        assert!(!verify_epoch(&blinded, week, 2, &record_key, &signature));
        assert!(!verify_epoch(&blinded, week + 1, 1, &record_key, &signature));
        assert!(!verify_epoch(&blinded, week, 1, &operations.blinded(week + 1).public(), &signature));
    }
    assert!(sheet.signature(week_of(WALL) - 1).is_none() && sheet.signature(week_of(WALL) + SHEET_WEEKS).is_none());
    assert_eq!(sheet.weeks_left(WALL), 103);
}

#[test]
fn a_tombstone_is_its_owners_and_small() {
    let (master, other) = (keys(1).0, keys(2).0);
    for moved_to in [None, Some(other.address())] {
        let stone = Tombstone::sign(&master, moved_to).unwrap();
        assert!(stone.bytes().len() <= TOMBSTONE_BYTES_MAX);
        assert_eq!(Tombstone::verify(&master.address(), stone.bytes()).unwrap().moved_to, moved_to);
        assert!(Tombstone::verify(&other.address(), stone.bytes()).is_err());
        // A certificate's signature is not a tombstone's.
        assert!(AccountCertificate::verify(&master.address(), stone.bytes()).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let address = keys(1).0.address();
        prop_assert!(AccountCertificate::verify(&address, &bytes).is_err());
        prop_assert!(Tombstone::verify(&address, &bytes).is_err());
        let _ = EpochSheet::from_row(&bytes).map(|sheet| (sheet.signature(0), sheet.weeks_left(WALL)));
    }
}
