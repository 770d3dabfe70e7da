//! Accounts, passwords, contacts, cards and secrets: only their owner gets at them, and what is erased is gone.

use kith_protocol::address::Address;
use kith_store::account::{LoginError, generate_password};
use kith_store::contact::{Contact, Grade, KnownCard};
use kith_store::disk::SimulatedDisk;
use kith_store::{Disk, OpenError, Options, Store, StoreError};

use crate::common::{check, open, open_disk, options, somebody};

/// Somebody else's address: the double of the base point.
fn somebody_else() -> Address {
    let mut key = [0; 32];
    let text = "c9a3f86aae465f0e56513864510f3997561fa2c9e85ea21dc2292309f3cd6022";
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    }
    Address::from_key(key).unwrap()
}

fn contact(store: &Store, account: &str, name: &str, address: Address, emails: &[&str]) -> Result<(), StoreError> {
    store.put_contact(Contact {
        account: store.account_by_login(account).unwrap().unwrap().id,
        name: name.to_owned(),
        address,
        emails: emails.iter().map(|email| (*email).to_owned()).collect(),
        grade: Grade::Unknown,
        added: 1,
    })
}

#[test]
fn an_account_is_found_by_every_name_it_has_and_only_with_its_password() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let made = store.add_account("Alice", somebody(), b"secret").unwrap();
    assert_eq!(made.name, "alice");
    let key = made.address.to_string();
    for login in ["alice", "ALICE", "alice@kith.alt", &key, &key.to_uppercase(), &format!("{key}@Kith.Alt")] {
        assert_eq!(store.login(login, b"secret").unwrap().id, made.id, "{login}");
    }
    for (login, password) in
        [("alice", "Secret"), ("alice", ""), ("bob", "secret"), ("", "secret"), ("alice@example.org", "secret")]
    {
        assert_eq!(store.login(login, password.as_bytes()), Err(LoginError::Wrong), "{login}");
    }
    assert_eq!(store.folders(made.id).unwrap().len(), 6);
    assert_eq!(store.add_account("alice", somebody_else(), b"x"), Err(StoreError::Exists("an account with this name")));
    assert_eq!(store.add_account("carol", somebody(), b"x"), Err(StoreError::Exists("an account with this address")));
    for name in ["", "a b", "ü", ".a", "a..b", &"a".repeat(33)] {
        assert!(matches!(store.add_account(name, somebody_else(), b"x"), Err(StoreError::Invalid(_))), "{name}");
    }
    check(&store);
}

#[test]
fn a_changed_or_withdrawn_password_is_refused_at_once() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let alice = store.add_account("alice", somebody(), b"first").unwrap().id;
    store.login("alice", b"first").unwrap();
    store.set_password(alice, "default", b"second").unwrap();
    assert_eq!(store.login("alice", b"first"), Err(LoginError::Wrong));
    store.set_password(alice, "phone", b"third").unwrap();
    store.login("alice", b"second").unwrap();
    store.login("alice", b"third").unwrap();
    let labels: Vec<String> = store.passwords(alice).unwrap().into_iter().map(|password| password.label).collect();
    assert_eq!(labels, ["default", "phone"]);
    store.remove_password(alice, "phone").unwrap();
    assert_eq!(store.login("alice", b"third"), Err(LoginError::Wrong));
}

#[test]
fn each_program_can_have_a_password_of_its_own_that_says_when_it_was_used() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let alice = store.add_account("alice", somebody(), b"first").unwrap().id;
    let bob = store.add_account("bob", somebody_else(), b"first").unwrap().id;
    store.add_password(alice, "phone", b"second").unwrap();
    assert_eq!(store.add_password(alice, "phone", b"third"), Err(StoreError::Exists("a password of that name")));
    for label in ["", " phone", "a\tb", "ü", &"x".repeat(33)] {
        assert!(matches!(store.add_password(alice, label, b"x"), Err(StoreError::Invalid(_))), "{label}");
    }
    let used = |id| -> Vec<(String, bool, bool)> {
        let passwords = store.passwords(id).unwrap().into_iter();
        passwords.map(|password| (password.label, password.made.is_some(), password.used.is_some())).collect()
    };
    assert_eq!(used(alice), [("default".to_owned(), true, false), ("phone".to_owned(), true, false)]);
    let by_phone = store.admit("alice", b"second").unwrap();
    let by_default = store.admit("alice@kith.alt", b"first").unwrap();
    assert_eq!(used(alice), [("default".to_owned(), true, true), ("phone".to_owned(), true, true)]);
    assert_eq!(used(bob), [("default".to_owned(), true, false)]);
    store.set_password(alice, "default", b"other").unwrap();
    assert!(!store.is_good(&by_default.pass).unwrap());
    assert!(store.is_good(&by_phone.pass).unwrap());
    store.remove_password(alice, "phone").unwrap();
    assert!(!store.is_good(&by_phone.pass).unwrap());
    store.remove_account(alice).unwrap();
    assert_eq!(used(alice), []);
    store.admit("bob", b"first").unwrap();
    check(&store);
}

#[test]
fn checking_takes_as_long_with_many_passwords_as_with_one() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let alice = store.add_account("alice", somebody(), b"first").unwrap().id;
    let time = || {
        let begun = std::time::Instant::now();
        assert_eq!(store.login("alice", b"wrong"), Err(LoginError::Wrong));
        begun.elapsed()
    };
    let one = (0..3).map(|_| time()).min().unwrap();
    for number in 0..12 {
        store.add_password(alice, &format!("program {number}"), format!("secret {number}").as_bytes()).unwrap();
    }
    let many = (0..3).map(|_| time()).min().unwrap();
    assert!(many < one * 4, "{many:?} with 13 passwords, {one:?} with one");
    assert_eq!(store.login("alice", b"secret 7").unwrap().id, alice);
}

#[test]
fn generated_passwords_differ_and_can_be_typed() {
    let (one, other) = (generate_password().unwrap(), generate_password().unwrap());
    assert_ne!(*one, *other);
    assert_eq!(one.len(), 23);
    assert!(one.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'));
}

#[test]
fn contacts_are_found_by_name_key_and_email_of_their_account_alone() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let alice = store.add_account("alice", somebody(), b"x").unwrap().id;
    let bob = store.add_account("bob", somebody_else(), b"x").unwrap().id;
    contact(&store, "alice", "Mum", somebody_else(), &["Mum@Example.org"]).unwrap();
    assert_eq!(store.contact_by_name(alice, "mum").unwrap().unwrap().emails, ["mum@example.org"]);
    assert_eq!(store.contact_by_email(alice, "MUM@example.ORG").unwrap().unwrap().name, "mum");
    assert_eq!(store.contact_by_address(alice, &somebody_else()).unwrap().unwrap().name, "mum");
    assert_eq!(store.contact_by_name(bob, "mum").unwrap(), None);
    assert_eq!(store.contact_by_email(bob, "mum@example.org").unwrap(), None);
    assert!(matches!(contact(&store, "alice", "dad", somebody_else(), &[]), Err(StoreError::Exists(_))));
    assert!(matches!(contact(&store, "alice", "dad", somebody(), &["mum@example.org"]), Err(StoreError::Exists(_))));
    contact(&store, "alice", "mum", somebody_else(), &["new@example.org"]).unwrap();
    assert_eq!(store.contact_by_email(alice, "mum@example.org").unwrap(), None);
    check(&store);
    store.remove_contact(alice, "MUM").unwrap();
    assert_eq!(store.contacts(alice).unwrap(), []);
    check(&store);
}

#[test]
fn a_card_never_goes_back() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let card = |generation, sequence| KnownCard { address: somebody(), generation, sequence, learned_ms: 1, bytes: vec![7] };
    let put = |card: KnownCard| store.write(move |transaction| transaction.put_card(&card)).unwrap();
    assert!(put(card(1, 5)));
    assert!(!put(card(1, 5)) && !put(card(1, 4)) && !put(card(0, 9)));
    assert!(put(card(2, 0)));
    assert_eq!(store.card(&somebody()).unwrap().unwrap(), card(2, 0));
}

#[test]
fn a_removed_account_leaves_nothing_behind() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let alice = store.add_account("alice", somebody(), b"x").unwrap().id;
    contact(&store, "alice", "mum", somebody_else(), &["mum@example.org"]).unwrap();
    store.write(move |transaction| transaction.put_secret(&format!("{}/operations", alice.0), b"key")).unwrap();
    store.submit(crate::common::submission_of(&store, b"mail")).unwrap();
    store.remove_account(alice).unwrap();
    assert_eq!(store.accounts().unwrap(), []);
    assert_eq!(store.queue().unwrap(), []);
    assert_eq!(store.secret_names("").unwrap(), Vec::<String>::new());
    assert_eq!(store.login("alice", b"x"), Err(LoginError::Wrong));
    let again = store.add_account("alice", somebody(), b"y").unwrap().id;
    assert_ne!(again, alice, "a number is never given twice");
    assert_eq!(store.contacts(again).unwrap(), []);
    check(&store);
}

#[test]
fn secrets_are_not_on_the_disk_as_they_are_and_survive_a_new_day_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), options()).unwrap();
    let secret = b"a canary that must not be found on any page of the disk";
    store.write(move |transaction| transaction.put_secret("1/operations", secret)).unwrap();
    let old_keys = std::fs::read(folder.path().join("keys")).unwrap();
    assert_eq!(old_keys.len(), 4096);
    assert!(store.rotate_day_key(i64::from(u32::MAX)).unwrap());
    assert!(!store.rotate_day_key(0).unwrap(), "a clock that went back changes nothing");
    assert_eq!(store.secret("1/operations").unwrap().unwrap().as_slice(), secret);
    assert_ne!(std::fs::read(folder.path().join("keys")).unwrap(), old_keys);
    store.write(|transaction| transaction.erase_secret("1/operations")).unwrap();
    assert_eq!(store.secret("1/operations").unwrap(), None);
    store.close();
    let database = std::fs::read(folder.path().join("store.redb")).unwrap();
    assert!(!database.windows(secret.len()).any(|bytes| bytes == secret));
}

#[test]
fn a_passphrase_is_asked_for_and_a_wrong_one_changes_nothing() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    store.write(|transaction| transaction.put_secret("node/peer", b"seed")).unwrap();
    store.set_passphrase(Some(b"correct horse")).unwrap();
    store.close();
    let with = |passphrase: &[u8]| {
        let passphrase = Some(zeroize::Zeroizing::new(passphrase.to_vec()));
        Store::open_on(Disk::Simulated(disk.clone()), Options { passphrase, ..options() })
    };
    assert!(matches!(open_disk(&disk), Err(OpenError::Locked { .. })));
    assert!(matches!(with(b"wrong"), Err(OpenError::Locked { .. })));
    let store = with(b"correct horse").unwrap();
    assert_eq!(store.secret("node/peer").unwrap().unwrap().as_slice(), b"seed");
    store.set_passphrase(None).unwrap();
    store.close();
    assert_eq!(open(&disk).secret("node/peer").unwrap().unwrap().as_slice(), b"seed");
}

#[test]
fn a_missing_key_file_is_said_and_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), options()).unwrap();
    store.write(|transaction| transaction.put_secret("node/peer", b"seed")).unwrap();
    store.close();
    std::fs::rename(folder.path().join("keys"), folder.path().join("elsewhere")).unwrap();
    let error = Store::open(folder.path(), options()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    std::fs::rename(folder.path().join("elsewhere"), folder.path().join("keys")).unwrap();
    assert_eq!(Store::open(folder.path(), options()).unwrap().secret("node/peer").unwrap().unwrap().as_slice(), b"seed");
}

#[test]
fn secret_names_are_listed_by_prefix() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    for name in ["1/prekey/1", "1/prekey/2", "1/prekeys", "11/prekey/1"] {
        store.write(move |transaction| transaction.put_secret(name, b"x")).unwrap();
    }
    assert_eq!(store.secret_names("1/prekey/").unwrap(), ["1/prekey/1", "1/prekey/2"]);
}
