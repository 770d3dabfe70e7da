//! What an authority of the world gave: kept whole or not at all, shown for its name and its time.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::super::{Certificates, Names};
use super::*;

const NOW: u64 = 1_795_000_000;
const NOW_S: i64 = NOW as i64;

fn at(seconds: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(NOW_S + seconds).unwrap())
}

fn pem(name: &str, begins: i64, ends: i64) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    super::super::leaf::set_life(&mut params, NOW_S + begins, NOW_S + ends);
    format!("{}{}", key.serialize_pem(), params.self_signed(&key).unwrap().pem())
}

fn open(home: &std::path::Path) -> Arc<Certificates> {
    Arc::new(Certificates::open(home, &Names::loopback(), at(0)).unwrap())
}

#[test]
fn a_given_certificate_is_shown_for_its_name_and_its_time_and_the_nodes_own_for_all_else() {
    let home = tempfile::tempdir().unwrap();
    let certificates = open(home.path());
    let own = certificates.choose(None, at(0));
    let shown = |name: &str, seconds: i64| !Arc::ptr_eq(&certificates.choose(Some(name), at(seconds)), &own);
    assert!(!shown("mail.near.test", 0));
    let validity = certificates.take_given("mail.near.test", &pem("mail.near.test", -100, 100)).unwrap();
    assert_eq!((validity.begins, validity.ends), (NOW_S - 100, NOW_S + 100));
    assert!(shown("mail.near.test", 0) && shown("MAIL.near.test", 100));
    for (name, seconds) in
        [("localhost", 0), ("near.test", 0), ("kith-attic.local", 0), ("mail.near.test", 101), ("mail.near.test", -101)]
    {
        assert!(!shown(name, seconds), "{name} {seconds}");
    }
    // The next one is shown at once.
    let before = certificates.choose(Some("mail.near.test"), at(0));
    certificates.take_given("mail.near.test", &pem("mail.near.test", -10, 200)).unwrap();
    assert!(shown("mail.near.test", 101) && !Arc::ptr_eq(&before, &certificates.choose(Some("mail.near.test"), at(0))));
}

#[test]
fn what_was_given_survives_a_restart_and_is_for_its_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    open(home.path()).take_given("mail.near.test", &pem("mail.near.test", -100, 100)).unwrap();
    let again = open(home.path());
    assert!(again.show_given("other.near.test").unwrap().is_none());
    assert_eq!(again.show_given("mail.near.test").unwrap().unwrap().ends, NOW_S + 100);
    let folder = home.path().join("tls/given");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("mail.near.test.pem"))), (0o700, 0o600));
}

#[test]
fn what_does_not_fit_is_refused_and_what_was_there_stays() {
    let home = tempfile::tempdir().unwrap();
    let certificates = open(home.path());
    let good = pem("mail.near.test", -100, 100);
    certificates.take_given("mail.near.test", &good).unwrap();
    let file = home.path().join("tls/given/mail.near.test.pem");
    let (key, chain) = good.split_at(good.find("-----BEGIN CERTIFICATE").unwrap());
    let other = pem("mail.near.test", -100, 100);
    let (other_key, _) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
    for bad in [pem("elsewhere.test", -1, 1), String::new(), key.to_owned(), chain.to_owned(), format!("{other_key}{chain}")] {
        assert!(certificates.take_given("mail.near.test", &bad).is_err(), "{bad}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), good);
    }
    for name in ["../leaf", "", "a", "a/b.c", ".x", "x..y"] {
        assert!(certificates.take_given(name, &good).is_err(), "{name}");
    }
    // A file that something else has damaged: told, and left for whoever wants to look.
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(open(home.path()).show_given("mail.near.test"), Err(CertificateError::Damaged { .. })));
}
