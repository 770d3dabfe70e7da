//! Relays and what people ask and offer each other about them.

use super::*;
use crate::testing::{address, check, store};

fn relay(account: AccountId, number: u8) -> Relay {
    Relay {
        account,
        peer: PeerId([number; 32]),
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".to_owned()],
        address: Some(address(2)),
        label: "bob".to_owned(),
        token: [9; 32],
        granted: None,
        added_ms: 5,
        told: BTreeMap::new(),
    }
}

fn talk(account: AccountId, kind: TalkKind) -> Talk {
    Talk { account, address: address(2), kind, bytes: 1 << 30, token: [7; 32], peer: None, addresses: Vec::new(), at_ms: 3 }
}

#[test]
fn what_a_relay_was_told_is_known_until_it_changes_or_the_relay_hosts_anew() {
    let (store, alice) = store();
    let peer = PeerId([1; 32]);
    let knows = |what, hash| store.relay_knows(alice, &peer, what, &hash).unwrap();
    store
        .write(move |transaction| {
            transaction.put_relay(&relay(alice, 1))?;
            transaction.relay_told(alice, &peer, 0, [7; 32])?;
            transaction.relay_told(alice, &peer, 1, [8; 32])?;
            transaction.relay_told(alice, &PeerId([2; 32]), 1, [8; 32])
        })
        .unwrap();
    assert!(knows(0, [7; 32]) && knows(1, [8; 32]));
    assert!(!knows(0, [8; 32]) && !knows(2, [7; 32]));
    store.write(move |transaction| transaction.relay_told(alice, &peer, 0, [9; 32])).unwrap();
    assert!(!knows(0, [7; 32]) && knows(0, [9; 32]));
    store.write(move |transaction| transaction.relay_knows_nothing(alice, &peer)).unwrap();
    assert!(!knows(0, [9; 32]) && !knows(1, [8; 32]));
    assert_eq!(store.relays().unwrap(), [relay(alice, 1)]);
}

#[test]
fn relay_is_used_until_it_is_left() {
    let (store, alice) = store();
    let grant = Grant { bytes: 9, count: 8, largest: 7, used_bytes: 6, used_count: 5 };
    store
        .write(move |transaction| {
            transaction.put_relay(&relay(alice, 1))?;
            transaction.put_relay(&relay(alice, 2))?;
            transaction.grant_relay(alice, &PeerId([2; 32]), &grant)?;
            transaction.grant_relay(alice, &PeerId([3; 32]), &grant)
        })
        .unwrap();
    let granted = Relay { granted: Some(grant), ..relay(alice, 2) };
    assert_eq!(store.relays().unwrap(), [relay(alice, 1), granted.clone()]);
    let left = store.write(move |transaction| {
        Ok([transaction.remove_relay(alice, &PeerId([1; 32]))?, transaction.remove_relay(alice, &PeerId([1; 32]))?])
    });
    assert_eq!(left, Ok([true, false]));
    assert_eq!(store.relays_of(alice).unwrap(), [granted]);
    assert_eq!(store.relays_of(AccountId(2)).unwrap(), []);
    check(&store);
}

#[test]
fn account_has_five_relays_at_most() {
    let (store, alice) = store();
    store.write(move |transaction| (0..5).try_for_each(|number| transaction.put_relay(&relay(alice, number)))).unwrap();
    let one_more = store.write(move |transaction| transaction.put_relay(&relay(alice, 5)));
    assert!(matches!(one_more, Err(StoreError::Invalid(_))));
    assert_eq!(store.relays().unwrap().len(), 5);
    store.write(move |transaction| transaction.put_relay(&relay(alice, 4))).unwrap();
    let of_nobody = store.write(|transaction| transaction.put_relay(&relay(AccountId(9), 1)));
    assert!(matches!(of_nobody, Err(StoreError::NotFound(_))));
}

#[test]
fn request_and_offer_of_one_person_stand_side_by_side() {
    let (store, alice) = store();
    store
        .write(move |transaction| {
            transaction.put_talk(&talk(alice, TalkKind::OfferedUs))?;
            transaction.put_talk(&talk(alice, TalkKind::AskedUs))?;
            transaction.put_talk(&talk(alice, TalkKind::AskedUs))
        })
        .unwrap();
    assert_eq!(store.talks(alice).unwrap(), [talk(alice, TalkKind::AskedUs), talk(alice, TalkKind::OfferedUs)]);
    let removed = store.write(move |transaction| {
        let remove = |transaction: &mut Transaction<'_>| transaction.remove_talk(alice, &address(2), TalkKind::AskedUs);
        Ok([remove(transaction)?, remove(transaction)?])
    });
    assert_eq!(removed, Ok([true, false]));
    assert_eq!(store.talks(alice).unwrap(), [talk(alice, TalkKind::OfferedUs)]);
    check(&store);
}

#[test]
fn tokens_are_not_shown_by_debug() {
    let shown = format!("{:?} {:?}", relay(AccountId(1), 1), talk(AccountId(1), TalkKind::OfferedUs));
    assert!(!shown.contains("9, 9") && !shown.contains("7, 7"), "{shown}");
}

#[test]
fn volunteers_replace_those_before_and_go_with_their_account() {
    let (store, alice) = store();
    let bob = store.add_account("bob", address(3), b"a long password").unwrap().id;
    let peers = |numbers: &[u8]| numbers.iter().map(|number| PeerId([*number; 32])).collect::<Vec<_>>();
    let put = |account, numbers: &[u8]| {
        let found = peers(numbers);
        store.write(move |transaction| transaction.put_volunteers(account, &found))
    };
    assert_eq!(store.volunteers().unwrap(), []);
    put(alice, &[3, 1, 2]).unwrap();
    put(bob, &[9]).unwrap();
    assert_eq!(store.volunteers().unwrap(), [(alice, peers(&[3, 1, 2])), (bob, peers(&[9]))]);
    put(alice, &[4, 3]).unwrap();
    assert_eq!(store.volunteers().unwrap(), [(alice, peers(&[4, 3])), (bob, peers(&[9]))]);
    let many: Vec<u8> = (0..=u8::try_from(REMEMBERED_MAX).unwrap()).collect();
    assert!(matches!(put(alice, &many), Err(StoreError::Invalid(_))));
    put(alice, &many[1..]).unwrap();
    check(&store);
    store.remove_account(alice).unwrap();
    // A search that was under way then comes too late.
    put(alice, &[5]).unwrap();
    assert_eq!(store.volunteers().unwrap(), [(bob, peers(&[9]))]);
    check(&store);
}

#[test]
fn relays_and_requests_for_them_go_with_their_account() {
    let (store, alice) = store();
    let bob = store.add_account("bob", address(3), b"a long password").unwrap().id;
    store
        .write(move |transaction| {
            for account in [alice, bob] {
                transaction.put_relay(&relay(account, 1))?;
                transaction.put_talk(&talk(account, TalkKind::WeAsked))?;
            }
            Ok(())
        })
        .unwrap();
    store.remove_account(alice).unwrap();
    assert_eq!(store.relays().unwrap(), [relay(bob, 1)]);
    assert_eq!((store.talks(alice).unwrap().len(), store.talks(bob).unwrap().len()), (0, 1));
    check(&store);
}
