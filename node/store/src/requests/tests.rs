//! Strangers wait until a person decides; people who are welcome do not.

use super::*;
use crate::blob::BlobHash;
use crate::contact::{Contact, Grade};
use crate::folder::Flags;
use crate::queue::{Notify, QueuedRecipient, Submission};
use crate::testing::{address, check, staged, store};

/// Delivers a stranger's mail and gives its hash.
fn come(store: &Store, account: AccountId, from: u8, mail: u8, at_ms: i64) -> BlobHash {
    let blob = staged(store, &[from, mail]);
    let hash = blob.hash;
    let filing = Filing { blob, flags: Flags::default(), internal_date: 1, internal_zone: 0 };
    let (from, mid) = (address(from), MailId([mail; 16]));
    store.write(move |transaction| transaction.deliver_request(account, &from, &mid, &filing, at_ms).map(drop)).unwrap();
    hash
}

fn mails(store: &Store, account: AccountId, folder: &str) -> Vec<BlobHash> {
    let folder = store.folder_by_name(account, folder).unwrap().unwrap().id;
    let messages = store.messages(account, folder, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    messages.iter().map(|message| message.hash).collect()
}

fn accept(store: &Store, account: AccountId, from: u8) -> Vec<MailId> {
    store.write(move |transaction| transaction.accept_requests(account, &address(from))).unwrap()
}

fn refuse(store: &Store, account: AccountId, from: u8) -> u32 {
    store.write(move |transaction| transaction.refuse_requests(account, &address(from))).unwrap()
}

#[test]
fn stranger_waits_until_accepted() {
    let (store, alice) = store();
    let (one, two) = (come(&store, alice, 2, 8, 10), come(&store, alice, 2, 5, 30));
    let other = come(&store, alice, 3, 8, 20);
    let waiting = |from, mails, newest_ms| Request { address: address(from), mails, newest_ms };
    assert_eq!(store.requests(alice).unwrap(), [waiting(2, 2, 30), waiting(3, 1, 20)]);
    assert_eq!(store.requests_waiting(alice).unwrap(), 3);
    assert!(store.folder_by_name(alice, REQUESTS_FOLDER).unwrap().unwrap().subscribed);
    assert_eq!(accept(&store, alice, 2), [MailId([8; 16]), MailId([5; 16])]);
    assert_eq!((mails(&store, alice, "INBOX"), mails(&store, alice, REQUESTS_FOLDER)), (vec![one, two], vec![other]));
    assert_eq!(accept(&store, alice, 2), []);
    assert_eq!(store.requests(alice).unwrap(), [waiting(3, 1, 20)]);
    check(&store);
}

#[test]
fn refused_mails_are_gone() {
    let (store, alice) = store();
    let hash = come(&store, alice, 2, 8, 10);
    come(&store, alice, 2, 9, 10);
    assert_eq!(refuse(&store, alice, 2), 2);
    assert_eq!(refuse(&store, alice, 2), 0);
    assert_eq!(mails(&store, alice, REQUESTS_FOLDER), []);
    assert!(matches!(store.blob(&hash), Err(StoreError::NotFound(_))));
    assert_eq!(store.requests_waiting(alice).unwrap(), 0);
    check(&store);
}

#[test]
fn what_a_mail_program_moved_or_removed_is_decided() {
    let (store, alice) = store();
    for mail in 0..4 {
        come(&store, alice, 2, mail, 10);
    }
    let requests = store.folder_by_name(alice, REQUESTS_FOLDER).unwrap().unwrap().id;
    let archive = store.folder_by_name(alice, "Archive").unwrap().unwrap().id;
    store.move_messages(alice, requests, vec![(Uid(1), Uid(1))], archive).unwrap();
    store.remove(alice, requests, vec![(Uid(3), Uid(3))]).unwrap();
    store.rename_folder(alice, REQUESTS_FOLDER, "Strangers").unwrap();
    assert_eq!(store.requests_waiting(alice).unwrap(), 2);
    assert_eq!(accept(&store, alice, 2), [MailId([1; 16]), MailId([3; 16])]);
    assert_eq!(mails(&store, alice, "Archive").len(), 1);
    come(&store, alice, 2, 9, 10);
    store.delete_folder(alice, REQUESTS_FOLDER).unwrap();
    assert_eq!((store.requests(alice).unwrap(), refuse(&store, alice, 2)), (Vec::new(), 0));
    come(&store, alice, 2, 9, 10);
    assert_eq!(store.requests_waiting(alice).unwrap(), 1);
    check(&store);
}

#[test]
fn oldest_request_becomes_a_mail_like_any_other() {
    let (store, alice) = store();
    let blob = staged(&store, b"a mail");
    store
        .write(move |transaction| {
            for number in 0..1002_u16 {
                let mut mid = MailId([0; 16]);
                mid.0[14..].copy_from_slice(&(2000 - number).to_be_bytes());
                let filing = Filing { blob: blob.clone(), flags: Flags::default(), internal_date: 1, internal_zone: 0 };
                transaction.deliver_request(alice, &address(2), &mid, &filing, i64::from(number))?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(store.requests_waiting(alice).unwrap(), 1000);
    accept(&store, alice, 2);
    assert_eq!((mails(&store, alice, "INBOX").len(), mails(&store, alice, REQUESTS_FOLDER).len()), (1000, 2));
    check(&store);
}

fn accepted(store: &Store) -> Vec<Address> {
    store.accepted().unwrap().into_iter().map(|(_, address)| address).collect()
}

#[test]
fn contacts_and_accepted_people_may_write_unless_blocked() {
    let (store, alice) = store();
    let contact = Contact {
        account: alice,
        name: "bob".to_owned(),
        address: address(2),
        emails: Vec::new(),
        grade: Grade::Unknown,
        added: 1,
    };
    store.put_contact(contact).unwrap();
    let told = move |work: fn(&mut Transaction<'_>, AccountId) -> Result<(), StoreError>| {
        store.write(move |transaction| work(transaction, alice)).unwrap();
        check(&store);
        (accepted(&store).contains(&address(2)), accepted(&store).contains(&address(3)), store.blocked(alice).unwrap().len())
    };
    assert_eq!(told(|_, _| Ok(())), (true, false, 0));
    assert_eq!(told(|transaction, alice| transaction.accept(alice, &address(3))), (true, true, 0));
    assert_eq!(told(|transaction, alice| transaction.block(alice, &address(2))), (false, true, 1));
    assert_eq!(told(|transaction, alice| transaction.block(alice, &address(3))), (false, false, 2));
    assert_eq!(told(|transaction, alice| transaction.unblock(alice, &address(2)).map(drop)), (true, false, 1));
    assert_eq!(told(|transaction, alice| transaction.accept(alice, &address(3))), (true, true, 0));
    assert_eq!(told(|transaction, alice| transaction.unaccept(alice, &address(3)).map(drop)), (true, false, 0));
    assert_eq!(told(|transaction, alice| transaction.unaccept(alice, &address(2)).map(drop)), (true, false, 0));
}

#[test]
fn whoever_is_written_to_may_answer_unless_blocked() {
    let (store, alice) = store();
    store.write(move |transaction| transaction.block(alice, &address(3))).unwrap();
    let notify = Notify { success: false, failure: true, delay: true };
    let recipient = |number| QueuedRecipient { address: address(number), typed: String::new(), notify, orcpt: None };
    let submission = Submission {
        account: alice,
        mail: staged(&store, b"hello"),
        mid: MailId([1; 16]),
        submitted_ms: 1,
        recipients: vec![recipient(2), recipient(3)],
        household: Vec::new(),
        legacy: Vec::new(),
        letters: Vec::new(),
        envid: None,
        ret_full: false,
    };
    store.submit(submission).unwrap();
    assert_eq!(store.accepted().unwrap(), [(alice, address(2))]);
    assert!(store.is_blocked(alice, &address(3)).unwrap() && !store.is_blocked(alice, &address(2)).unwrap());
    store.write(move |transaction| transaction.unblock(alice, &address(3)).map(drop)).unwrap();
    assert_eq!(accepted(&store), [address(2)]);
    check(&store);
}

#[test]
fn removed_account_leaves_nobody_waiting() {
    let (store, alice) = store();
    come(&store, alice, 2, 1, 1);
    store
        .write(move |transaction| {
            transaction.accept(alice, &address(3))?;
            transaction.block(alice, &address(4))
        })
        .unwrap();
    store.remove_account(alice).unwrap();
    assert_eq!((store.requests(alice).unwrap().len(), store.accepted().unwrap().len()), (0, 0));
    assert_eq!(store.blocked(alice).unwrap(), []);
    check(&store);
}
