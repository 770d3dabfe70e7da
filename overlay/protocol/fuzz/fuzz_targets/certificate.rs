//! Arbitrary bytes as an account certificate, a tombstone and an epoch sheet; the first 32 are the address's key.
#![no_main]

use kith_protocol::address::Address;
use kith_protocol::certificate::{AccountCertificate, EpochSheet, Tombstone};
use kith_protocol::event::Wall;
use kith_protocol::keys::Row;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sheet) = EpochSheet::from_row(bytes) {
        let _ = (sheet.signature(sheet.first_week), sheet.weeks_left(Wall(0)));
    }
    let Some((key, signed)) = bytes.split_first_chunk::<32>() else { return };
    let Ok(address) = Address::from_key(*key) else { return };
    if let Ok(certificate) = AccountCertificate::verify(&address, signed) {
        assert_eq!(certificate.bytes(), signed);
        assert!(certificate.not_before <= certificate.not_after);
    }
    let _ = Tombstone::verify(&address, signed);
});
