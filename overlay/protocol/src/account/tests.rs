//! An account from its words, and from its rows.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::event::{Mono, Now};
use crate::ids::QueueName;

const WALL: Wall = Wall(1_795_000_000_000);

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn place(peer: u8) -> Place {
    Place {
        peer: PeerId([peer; 32]),
        queue: QueueName([peer; 16]),
        kind: crate::event::PlaceKind::Home,
        addresses: vec!["/ip4/203.0.113.7/tcp/4190".into()],
    }
}

#[test]
fn an_account_reads_back_from_its_rows() {
    let (seed, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    account.queue(PeerId([5; 32]), &mut rng(2)).unwrap();
    account.card(&[place(5)], Policy::default(), None, WALL).unwrap();
    let mut rows = account.rows().unwrap();
    rows.reverse();
    let again = AccountKeys::from_rows(account.address(), &rows).unwrap();
    assert_eq!(again, account);
    assert_eq!(again.address(), &seed.master().address());
    for missing in ["certificate", "sheet", "operations", "device", "backup", "issue"] {
        let rows: Vec<_> = rows.iter().filter(|(name, _)| name != missing).cloned().collect();
        assert_eq!(AccountKeys::from_rows(account.address(), &rows), Err(AccountError::Missing(missing)));
    }
}

#[test]
fn rows_of_two_accounts_do_not_mix() {
    let (_, one) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let (_, two) = AccountKeys::create(WALL, &mut rng(2)).unwrap();
    for foreign in ["certificate", "operations", "backup"] {
        let mut rows = one.rows().unwrap();
        rows.retain(|(name, _)| name != foreign);
        rows.extend(two.rows().unwrap().into_iter().filter(|(name, _)| name == foreign));
        assert!(AccountKeys::from_rows(one.address(), &rows).is_err(), "{foreign}");
    }
}

#[test]
fn the_words_bring_the_address_back_with_a_generation_that_wins() {
    let (seed, mut old) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let words = seed.words();
    let again = Seed::new(crate::phrase::seed(&words).unwrap());
    let mut new = AccountKeys::restore(&again, Some(old.generation()), WALL, &mut rng(9)).unwrap();
    assert_eq!(new.address(), old.address());
    assert_eq!(new.generation(), 2);
    let later = Wall(WALL.0 + 86_400_000);
    let old_card = old.card(&[place(5)], Policy::default(), None, later).unwrap().public;
    let new_card = new.card(&[place(5)], Policy::default(), None, WALL).unwrap().public;
    assert!(new_card.is_newer(&old_card) && old_card.is_rollback_of(&new_card));
    assert_ne!(new.device().public(), old.device().public());
}

#[test]
fn cards_and_records_grow_although_the_clock_goes_back() {
    let (_, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let before = Wall(WALL.0 - 3_600_000);
    let first = account.card(&[], Policy::default(), None, WALL).unwrap();
    let second = account.card(&[], Policy::default(), None, before).unwrap();
    assert!(second.public.is_newer(&first.private));
    let early = account.records(&second.public, WALL, &mut rng(3)).unwrap();
    let late = account.records(&second.public, before, &mut rng(4)).unwrap();
    for (early, late) in early.iter().zip(&late) {
        assert!(record::check_stored(&late.keys[0], &late.value, WALL, Some(&early.value)).is_ok());
        assert_eq!(record::check_stored(&early.keys[0], &early.value, WALL, Some(&late.value)), Err(record::RecordError::Stale));
    }
}

#[test]
fn a_year_of_weeks_needs_no_words_and_keeps_few_keys() {
    let (_, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let mut random = rng(2);
    let mut now = Now { mono: Mono(0), wall: WALL };
    account.prekeys.published(week_of(WALL), WALL);
    for day in 0..365 {
        account.prekeys.age(now);
        let changes = account.rotate(now.wall, &mut random);
        if !changes.is_empty() {
            let card = account.card(&[place(1)], Policy::default(), None, now.wall).unwrap();
            let week = card.public.device_weeks().next().unwrap().2;
            assert_eq!(week, week_of(now.wall));
            assert_eq!(account.records(&card.public, now.wall, &mut random).unwrap().len(), 9, "day {day}");
            account.prekeys.published(week, now.wall);
        }
        assert!(account.prekeys.expand().len() <= crate::limits::PREKEYS_MAX);
        now.mono.0 += 86_400_000;
        now.wall.0 += 86_400_000;
    }
    assert_eq!(account.prekeys.newest().unwrap().week, week_of(Wall(now.wall.0 - 86_400_000)));
    assert_eq!(account.weeks_left(now.wall), 103 - (week_of(now.wall) - week_of(WALL)));
}

#[test]
fn the_sheet_runs_out_loudly() {
    let (_, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let card = account.card(&[], Policy::default(), None, WALL).unwrap().public;
    let end = Wall(WALL.0 + 105 * 604_800_000);
    assert_eq!(account.records(&card, end, &mut rng(2)), Err(BuildError::SheetRunOut));
    assert_eq!(account.card(&[], Policy::default(), None, end), Err(CardError::Expired));
    assert_eq!(account.weeks_left(end), 0);
}

#[test]
fn nothing_that_is_shown_for_debugging_is_secret() {
    let (seed, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    account.queue(PeerId([5; 32]), &mut rng(2)).unwrap();
    let shown = format!("{seed:?} {account:?}");
    // A secret would show as a list of 32 numbers; what is left of those are public keys, hashes and signatures.
    assert!(shown.contains("seed: Secret(…)") && shown.contains("key: Secret(…)") && shown.contains("kem_d: Secret(…)"));
}

#[test]
fn the_number_of_queues_is_bounded() {
    let (_, mut account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    for peer in 0..QUEUES_MAX as u8 {
        assert!(account.queue(PeerId([peer; 32]), &mut rng(peer)).is_some());
    }
    assert!(account.queue(PeerId([99; 32]), &mut rng(99)).is_none());
    assert!(account.queue(PeerId([0; 32]), &mut rng(99)).is_some());
    assert!(account.forget_queue(&PeerId([0; 32])) && !account.forget_queue(&PeerId([0; 32])));
}

#[test]
fn an_owner_proves_itself_for_all_weeks_in_which_volunteers_may_have_something() {
    let (_, account) = AccountKeys::create(WALL, &mut rng(1)).unwrap();
    let (relay, owner, nonce) = (PeerId([1; 32]), PeerId([2; 32]), [3; 32]);
    let ask = |queue: &QueueName, wall| account.ask(queue, &Request::Leave, &relay, &owner, &nonce, wall);
    let queues: Vec<_> = account.volunteer_queues(WALL).collect();
    assert!(queues.len() >= 3 && queues.contains(&(week_of(WALL) - 2, account.volunteer_queue(week_of(WALL) - 2).unwrap())));
    for (_, queue) in &queues {
        let asked = ask(queue, WALL).unwrap();
        assert_eq!(crate::keys::queue_name(&asked.key), *queue);
        assert!(ask(queue, Wall(WALL.0 + WEEK_MS)).is_ok(), "it was named a while ago");
    }
    let before = account.volunteer_queue(week_of(WALL) - 10).unwrap();
    assert_eq!(ask(&before, WALL), Err(EncodeError));
}
