//! What people rely on: the authority stays, the leaf fits, keys are private.

use std::fs;
use std::net::IpAddr;

use super::*;

const DAY_TIME: Duration = Duration::from_secs(DAY as u64);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn lan_names() -> Names {
    let mut names = Names::loopback();
    assert!(names.add_address("192.168.7.9".parse().unwrap()));
    assert!(names.add_host("RaspberryPi.local"));
    names
}

#[test]
fn the_authority_is_made_once_and_the_leaf_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let first = Certificates::open(home.path(), &lan_names(), now()).unwrap();
    let second = Certificates::open(home.path(), &lan_names(), now() + DAY_TIME).unwrap();
    assert_eq!(first.authority_fingerprint(), second.authority_fingerprint());
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.fingerprint().to_string().len(), 95);
}

#[test]
fn the_leaf_renews_itself_and_keeps_older_names() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(home.path(), &lan_names(), now()).unwrap();
    let (authority, leaf) = (certificates.authority_fingerprint(), certificates.fingerprint());
    assert!(!certificates.renew_if_due(&Names::loopback(), now() + DAY_TIME * 300).unwrap());
    assert!(certificates.renew_if_due(&Names::loopback(), now() + DAY_TIME * 340).unwrap());
    assert_ne!(certificates.fingerprint(), leaf);
    assert_eq!(certificates.authority_fingerprint(), authority);
    assert!(!certificates.renew_if_due(&lan_names(), now() + DAY_TIME * 341).unwrap(), "older names are still there");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_runs_for_years_renews_its_leaf_by_itself_under_the_same_authority() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), now()).unwrap());
    let (authority, mut leaf) = (certificates.authority_fingerprint(), certificates.fingerprint());
    let begun = tokio::time::Instant::now();
    let (trigger, stop) = crate::shutdown();
    // One second of the loop's time is half a day of the clock's.
    let clock = move || now() + DAY_TIME / 2 * u32::try_from(begun.elapsed().as_secs()).unwrap();
    let keeper = tokio::spawn(Arc::clone(&certificates).keep_renewed(Names::loopback, clock, stop));
    let mut renewals = 0;
    while begun.elapsed() < Duration::from_secs(2 * 5 * 365) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let shown = certificates.fingerprint();
        renewals += u32::from(std::mem::replace(&mut leaf, shown) != shown);
        let leaf = certificates.leaf.read().unwrap().pair.certificate.clone();
        let ends = x509_parser::parse_x509_certificate(&leaf).unwrap().1.validity().not_after.timestamp();
        assert!(ends > seconds(clock()), "what the ports show has run out");
    }
    assert!((4..=7).contains(&renewals), "{renewals}");
    assert_eq!(certificates.authority_fingerprint(), authority);
    trigger.fire();
    keeper.await.unwrap();
}

#[test]
fn a_lost_authority_is_never_replaced_by_another() {
    let home = tempfile::tempdir().unwrap();
    let first = Certificates::open(home.path(), &Names::loopback(), now()).unwrap().authority_fingerprint();
    assert_eq!(Authority::of(home.path()).unwrap().map(|authority| authority.fingerprint), Some(first));
    let path = home.path().join("tls/authority.pem");
    let kept = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        assert!(matches!(Certificates::open(home.path(), &Names::loopback(), now()), Err(CertificateError::Missing { .. })));
        assert!(!path.exists());
    }
    fs::write(&path, kept).unwrap();
    assert_eq!(Certificates::open(home.path(), &Names::loopback(), now()).unwrap().authority_fingerprint(), first);
}

#[test]
fn a_new_address_makes_a_new_leaf() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(home.path(), &Names::loopback(), now()).unwrap();
    assert!(certificates.renew_if_due(&lan_names(), now()).unwrap());
}

#[test]
fn clocks_that_jump_do_no_harm() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(home.path(), &Names::loopback(), UNIX_EPOCH).unwrap();
    assert!(certificates.renew_if_due(&Names::loopback(), now()).is_ok());
    let far = UNIX_EPOCH + DAY_TIME * 365 * 100;
    certificates.renew_if_due(&Names::loopback(), far).unwrap();
    let broken = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 1000);
    certificates.renew_if_due(&Names::loopback(), broken).unwrap();
    assert!(certificates.renew_if_due(&Names::loopback(), now()).is_ok());
}

#[test]
fn the_authority_vouches_for_its_leaf_and_its_names_only() {
    let home = tempfile::tempdir().unwrap();
    let certificates = Arc::new(Certificates::open(home.path(), &lan_names(), now()).unwrap());
    certificates.server_config().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificates.authority_der().clone()).unwrap();
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let verifier = verifier.build().unwrap();
    let check = |name: &str| {
        use rustls::client::danger::ServerCertVerifier;
        let leaf = certificates.leaf.read().unwrap().pair.certificate.clone();
        let time = rustls_pki_types::UnixTime::since_unix_epoch(now().duration_since(UNIX_EPOCH).unwrap());
        verifier.verify_server_cert(&leaf, &[], &name.to_owned().try_into().unwrap(), &[], time)
    };
    for name in ["localhost", "127.0.0.1", "::1", "raspberrypi.local", "192.168.7.9"] {
        check(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(check("example.org").is_err());
}

#[test]
fn public_names_cannot_be_asked_for() {
    let mut names = Names::loopback();
    for host in ["example.org", "local.example.org", "notlocal", ".local", "a_b.local", ""] {
        assert!(!names.add_host(host), "{host}");
    }
    for address in ["8.8.8.8", "2001:db8::1", "0.0.0.0", "::", "172.32.0.1"] {
        assert!(!names.add_address(address.parse::<IpAddr>().unwrap()), "{address}");
    }
    for address in ["172.31.0.1", "fd00::1", "fe80::1", "100.64.3.4"] {
        assert!(names.add_address(address.parse::<IpAddr>().unwrap()), "{address}");
    }
    for last in 0..=255 {
        names.add_address(IpAddr::from([10, 0, 0, last]));
    }
    assert!(names.iter().count() <= names::NAMES_MAX);
}

#[test]
fn something_damaged_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    drop(Certificates::open(home.path(), &Names::loopback(), now()).unwrap());
    let path = home.path().join("tls/authority.pem");
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    assert!(matches!(Certificates::open(home.path(), &Names::loopback(), now()), Err(CertificateError::Damaged { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "-----BEGIN CERTIFICATE-----\nAAAA\n");
}

#[cfg(unix)]
#[test]
fn keys_are_readable_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let certificates = Certificates::open(home.path(), &Names::loopback(), now()).unwrap();
    let mode = |name: &str| fs::metadata(home.path().join("tls").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("authority.pem"), mode("leaf.pem"), mode(""), mode("authority.crt")), (0o600, 0o600, 0o700, 0o600));
    assert!(!certificates.authority_pem().contains("PRIVATE"));
    assert!(!fs::read_to_string(home.path().join("tls/authority.crt")).unwrap().contains("PRIVATE"));
}

#[test]
fn who_asks_hears_how_much_of_the_authoritys_ten_years_is_left() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(Authority::of(home.path()).unwrap(), None);
    let certificates = Certificates::open(home.path(), &Names::loopback(), now()).unwrap();
    let authority = Authority::of(home.path()).unwrap().unwrap();
    assert_eq!(authority.fingerprint, certificates.authority_fingerprint());
    let after = |days: u32| authority.days_left(now() + DAY_TIME * days);
    assert_eq!((after(0), after(3_650), after(3_652), after(3_653), after(3_654)), (3_653, 3, 1, 0, -1));
    assert_eq!(authority.days_left(now() + DAY_TIME * 3_653 + Duration::from_secs(1)), -1);
}
