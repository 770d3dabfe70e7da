//! The life of a letter, from the queue to its fate.

use kith_protocol::event::{EntryKind, Event, Fate, Ladder, LetterKind, Problem};

use crate::world::{DAY, HOUR, MINUTE, SECOND, World};

#[test]
fn a_mail_to_a_node_that_is_there_arrives_in_a_second() {
    let mut world = World::acquainted(2, 1);
    world.run(MINUTE);
    world.submit(0, 1);
    world.run(SECOND);
    world.check_all_delivered();
    assert_eq!(world.nodes[1].disk.entries.len(), 0, "the receipt's own entry ended");
}

#[test]
fn a_mail_waits_for_a_recipient_who_comes_back() {
    let mut world = World::acquainted(2, 2);
    world.crash(1);
    for _ in 0..20 {
        world.submit(0, 1);
    }
    world.run(3 * DAY);
    assert!(world.mails.iter().all(|mail| world.nodes[0].disk.delays.get(&mail.entry) == Some(&1)));
    world.boot(1);
    world.run(20 * SECOND);
    world.check_all_delivered();
}

#[test]
fn a_sender_killed_after_submission_delivers_once_started_again() {
    for wait in 0..200 {
        let mut world = World::acquainted(2, 3 + wait);
        world.run(MINUTE);
        world.submit(0, 1);
        world.run(wait);
        world.crash(0);
        world.run(MINUTE);
        world.boot(0);
        world.run(2 * MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn a_recipient_killed_at_any_moment_files_once() {
    for wait in 0..300 {
        let mut world = World::acquainted(2, 1000 + wait);
        world.run(MINUTE);
        world.submit(0, 1);
        world.run(wait);
        world.crash(1);
        world.run(MINUTE);
        world.boot(1);
        world.run(2 * MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn after_thirty_days_the_sender_is_told_once() {
    let mut world = World::acquainted(2, 4);
    world.run(MINUTE);
    world.crash(1);
    let entry = world.submit(0, 1);
    world.run(DAY - MINUTE);
    assert_eq!(world.nodes[0].disk.delays.get(&entry), None);
    world.run(2 * MINUTE);
    assert_eq!(world.nodes[0].disk.delays.get(&entry), Some(&1));
    world.run(29 * DAY - 2 * MINUTE);
    assert!(world.fates(0, entry).is_empty());
    world.run(2 * MINUTE);
    assert_eq!(world.fates(0, entry), [Fate::Failed(Problem::Unreachable)]);
    world.boot(1);
    world.run(DAY);
    assert_eq!(world.fates(0, entry).len(), 1);
}

#[test]
fn a_month_of_sleep_leaves_time_to_deliver() {
    let mut world = World::acquainted(2, 5);
    world.run(MINUTE);
    world.parted.insert((0, 1));
    world.part(0, 1);
    let entry = world.submit(0, 1);
    world.run(MINUTE);
    world.sleep(0, 31 * DAY);
    world.run(31 * DAY + MINUTE);
    assert!(world.fates(0, entry).is_empty() && world.nodes[0].disk.delays.is_empty());
    world.parted.clear();
    world.tell(0, 0, Event::NetworkChanged);
    world.run(MINUTE);
    world.check_all_delivered();
    assert!(world.nodes[0].disk.delays.is_empty(), "delivered in time: nothing to tell");
}

#[test]
fn a_letter_without_a_receipt_is_sealed_anew_to_the_weeks_key() {
    let mut world = World::acquainted(2, 6);
    world.run(MINUTE);
    let entry = world.submit(0, 1);
    // The recipient's disk is lost together with its receipt after it said that it has the letter.
    while world.nodes[0].disk.entries[&entry].progress.handed_at_age_ms.is_none() {
        world.run(1);
    }
    world.crash(1);
    world.nodes[1].disk.known.clear();
    world.nodes[1].disk.entries.clear();
    let first = world.nodes[0].disk.entries[&entry].progress.sealed.clone().unwrap();
    assert_eq!(first.ladder, Ladder::Best);
    world.run(25 * HOUR);
    let second = world.nodes[0].disk.entries[&entry].progress.sealed.clone().unwrap();
    assert_eq!(second.ladder, Ladder::Weekly);
    assert_ne!(first.envelope, second.envelope);
    world.boot(1);
    world.run(MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_new_generation_of_keys_gets_a_new_envelope() {
    let mut world = World::acquainted(2, 7);
    world.crash(1);
    let entry = world.submit(0, 1);
    world.run(MINUTE);
    let first = world.nodes[0].disk.entries[&entry].progress.sealed.clone().unwrap();
    world.versions[1] = (2, 1);
    let card = world.card(0, 1);
    world.nodes[0].disk.cards.insert(card.address, card.clone());
    world.tell(0, 0, Event::CardLearned(card));
    world.run(MINUTE);
    let second = world.nodes[0].disk.entries[&entry].progress.sealed.clone().unwrap();
    assert_eq!((first.card, second.card), ((1, 1), (2, 1)));
}

#[test]
fn an_unreachable_node_costs_few_attempts() {
    let mut world = World::acquainted(2, 8);
    world.crash(1);
    for _ in 0..100 {
        world.submit(0, 1);
    }
    world.run(DAY);
    assert_eq!(world.nodes[0].offers, 0);
    assert!(world.nodes[0].lookups < 30, "{} look-ups", world.nodes[0].lookups);
}

#[test]
fn handed_letters_are_not_offered_again_after_a_restart() {
    let mut world = World::acquainted(2, 9);
    world.run(MINUTE);
    let entry = world.submit(0, 1);
    while world.nodes[0].disk.entries[&entry].progress.handed_at_age_ms.is_none() {
        world.run(1);
    }
    world.crash(1);
    world.crash(0);
    let offers = world.nodes[0].offers;
    world.boot(0);
    world.run(2 * HOUR);
    assert_eq!(world.nodes[0].offers, offers);
    world.boot(1);
    world.run(MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_withdrawn_entry_ends_without_a_word() {
    let mut world = World::acquainted(2, 10);
    world.crash(1);
    let entry = world.submit(0, 1);
    world.run(HOUR);
    world.nodes[0].disk.entries.remove(&entry);
    world.tell(0, 0, Event::Cancelled(entry));
    world.run(40 * DAY);
    assert!(world.fates(0, entry).is_empty() && world.nodes[0].disk.delays.is_empty());
    world.boot(1);
    world.run(MINUTE);
    assert!(!world.is_filed(&world.mails[0]));
}

#[test]
fn mails_to_one_person_keep_their_order() {
    let mut world = World::acquainted(2, 11);
    world.config.offers_per_peer = 1;
    world.crash(0);
    world.boot(0);
    world.crash(1);
    for _ in 0..50 {
        world.submit(0, 1);
        world.run(SECOND);
    }
    world.boot(1);
    world.run(MINUTE);
    world.check_all_delivered();
    let confirmed = world.envelopes.values().map(|content| match &content.kind {
        LetterKind::Receipt(mails) => mails.len(),
        LetterKind::Mail | LetterKind::Card | LetterKind::Relay(_) => 0,
    });
    assert_eq!(confirmed.sum::<usize>(), 50);
    assert!(world.nodes[1].disk.entries.values().all(|entry| entry.kind == EntryKind::Mail));
}

#[test]
fn a_person_who_asks_gets_an_attempt_at_once() {
    let mut world = World::acquainted(2, 12);
    world.crash(1);
    let entry = world.submit(0, 1);
    world.run(9 * HOUR);
    world.parted.insert((0, 1));
    world.boot(1);
    world.run(MINUTE);
    world.parted.clear();
    world.tell(0, 0, Event::RetryAsked(entry));
    world.run(5 * SECOND);
    world.check_all_delivered();
}

#[test]
fn a_network_that_flaps_is_tried_again_with_restraint() {
    let mut world = World::acquainted(2, 13);
    world.crash(1);
    world.submit(0, 1);
    world.run(MINUTE);
    let before = world.nodes[0].connects;
    for _ in 0..600 {
        world.tell(0, 0, Event::NetworkChanged);
        world.run(100);
    }
    assert!(world.nodes[0].connects - before <= 7, "{} attempts in a minute", world.nodes[0].connects - before);
}

#[test]
fn what_went_wrong_is_on_disk_for_people_to_see() {
    let mut world = World::acquainted(2, 14);
    world.crash(1);
    let entry = world.submit(0, 1);
    world.run(MINUTE);
    assert_eq!(world.nodes[0].disk.entries[&entry].progress.last_problem, Some(Problem::Unreachable));
}
