//! People who are never online at the same time: what relays, volunteers and one's own relay make of it.

use kith_protocol::event::{CardInfo, Counter, Event, Fate, HeldKind, OpenProblem, PlaceKind};

use crate::world::{DAY, HOUR, MINUTE, SECOND, World, peer};

/// Anna, Bob, and others that keep letters.
const ANNA: usize = 0;
const BOB: usize = 1;

/// Two people and `relays` nodes, which keep letters for both.
fn with_relays(relays: usize, seed: u64) -> World {
    let mut world = World::new(2 + relays, seed);
    let all: Vec<usize> = (2..2 + relays).collect();
    (world.relays[ANNA], world.relays[BOB]) = (all.clone(), all);
    world.introduce();
    for node in 0..2 + relays {
        world.boot(node);
    }
    world.run(MINUTE);
    world
}

/// One is up for a while, then the other, never both.
fn take_turns(world: &mut World, first: usize, second: usize, ms: u64) {
    world.crash(second);
    world.boot(first);
    world.run(ms);
    world.crash(first);
    world.boot(second);
    world.run(ms);
}

#[test]
fn mail_and_receipt_cross_between_people_who_never_meet() {
    for seed in 0..20 {
        let mut world = with_relays(1, seed);
        world.crash(BOB);
        let entry = world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        assert_eq!(world.copies(ANNA, entry), [(peer(2), PlaceKind::Relay)], "left with the relay in time, seed {seed}");
        world.crash(ANNA);
        world.boot(BOB);
        world.run(MINUTE);
        assert!(world.is_filed(&world.mails[0]), "collected, seed {seed}");
        world.crash(BOB);
        world.boot(ANNA);
        world.run(MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn two_relays_keep_a_copy_each_and_one_of_them_may_die() {
    for seed in 0..20 {
        let mut world = with_relays(2, seed);
        world.crash(BOB);
        let entry = world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        assert_eq!(world.copies(ANNA, entry).len(), 2, "seed {seed}");
        world.crash(2 + usize::try_from(seed % 2).unwrap());
        take_turns(&mut world, BOB, ANNA, 2 * MINUTE);
        world.check_all_delivered();
    }
}

/// Both push as soon as Bob is there. What the second one offers is taken or known when the first one is done: it need not come again.
#[test]
fn two_relays_that_push_the_same_letter_offer_it_once_each() {
    for seed in 0..20 {
        let mut world = with_relays(2, seed);
        world.crash(BOB);
        world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        world.crash(ANNA);
        let offers = |world: &World| world.nodes[2].offers + world.nodes[3].offers;
        let before = offers(&world);
        world.boot(BOB);
        world.run(20 * SECOND);
        assert!(world.is_filed(&world.mails[0]), "seed {seed}");
        assert_eq!(offers(&world) - before, 2, "seed {seed}");
    }
}

/// The first relay loses its power at some moment of its push.
#[test]
fn what_the_first_relay_does_not_finish_the_second_one_brings_at_once() {
    for seed in 0..40 {
        let mut world = with_relays(2, seed);
        world.crash(BOB);
        world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        world.crash(ANNA);
        world.boot(BOB);
        world.run(25 * seed);
        world.crash(2);
        world.run(15 * SECOND);
        assert!(world.is_filed(&world.mails[0]), "seed {seed}");
        world.boot(2);
        world.boot(ANNA);
        world.run(MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn the_recipients_own_node_is_tried_first() {
    let mut world = with_relays(2, 7);
    let entry = world.submit(ANNA, BOB);
    world.run(2 * SECOND);
    assert!(world.nodes[2].disk.held.is_empty() && world.nodes[3].disk.held.is_empty());
    assert_eq!(world.fates(ANNA, entry), [Fate::Delivered]);
}

#[test]
fn what_was_collected_stays_with_the_relay_for_a_day() {
    let mut world = with_relays(1, 8);
    world.crash(BOB);
    world.submit(ANNA, BOB);
    world.run(10 * SECOND);
    world.boot(BOB);
    world.run(HOUR);
    let held = |world: &World| world.nodes[2].disk.held.len();
    assert_eq!(held(&world), 1, "a copy of grace");
    world.run(DAY + HOUR);
    assert_eq!(held(&world), 0);
    world.check_all_delivered();
}

#[test]
fn a_recipient_whose_disk_lied_is_given_again_what_it_had_acknowledged() {
    for direct in [false, true] {
        let mut world = with_relays(1, 9);
        let before = world.nodes[BOB].disk.clone();
        if !direct {
            world.crash(BOB);
        }
        world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        world.boot(BOB);
        world.run(10 * MINUTE);
        world.check_all_delivered();
        world.crash(BOB);
        world.nodes[BOB].disk = before;
        assert!(!world.is_filed(&world.mails[0]));
        world.boot(BOB);
        world.run(10 * MINUTE);
        assert!(world.is_filed(&world.mails[0]), "direct: {direct}");
    }
}

/// Whenever he comes: while the relay is being asked, too, which has no room and says to come again in an hour.
#[test]
fn who_comes_while_a_relay_without_room_is_asked_has_the_letter_at_once() {
    for ms in (0..8 * SECOND).step_by(10) {
        let mut world = with_relays(1, 12);
        world.crash(BOB);
        world.crash(2);
        world.nodes[2].disk.hosted.values_mut().for_each(|rules| rules.count = 0);
        world.boot(2);
        world.run(MINUTE);
        world.submit(ANNA, BOB);
        world.run(ms);
        world.boot(BOB);
        world.connect(ANNA, BOB);
        world.run(MINUTE);
        assert!(world.is_filed(&world.mails[0]), "he came after {ms} ms");
    }
}

/// Whenever a newer card comes: while the relay is being asked, too.
#[test]
fn a_card_with_his_own_node_that_comes_while_a_relay_without_room_is_asked_counts_at_once() {
    for ms in (0..8 * SECOND).step_by(10) {
        let mut world = with_relays(1, 13);
        let mut card = world.card(ANNA, BOB);
        let hidden = card.places.iter().filter(|place| place.kind != PlaceKind::Home).cloned().collect();
        world.crash(ANNA);
        world.crash(2);
        world.nodes[ANNA].disk.cards.insert(card.address, CardInfo { places: hidden, ..card.clone() });
        world.nodes[2].disk.hosted.values_mut().for_each(|rules| rules.count = 0);
        world.boot(2);
        world.boot(ANNA);
        world.run(MINUTE);
        world.submit(ANNA, BOB);
        world.run(ms);
        card.sequence += 1;
        world.tell(ANNA, 0, Event::CardLearned(card));
        world.run(MINUTE);
        assert!(world.is_filed(&world.mails[0]), "it came after {ms} ms");
    }
}

/// What lay with a node is the only envelope from then on: it is not sealed anew, neither for want of a receipt nor since the relay has lost it.
#[test]
fn a_fleeting_mail_is_sealed_once_and_arrives_though_the_relay_lost_it() {
    let mut world = with_relays(1, 11);
    let before = world.nodes[2].disk.clone();
    world.crash(BOB);
    let entry = world.submit_fleeting(ANNA, BOB);
    let sealed = |world: &World| world.nodes[ANNA].disk.entries[&entry].progress.sealed.clone().unwrap();
    world.run(10 * SECOND);
    assert!(world.nodes[ANNA].disk.entries[&entry].progress.only);
    let first = sealed(&world);
    world.crash(ANNA);
    world.boot(ANNA);
    world.crash(2);
    world.nodes[2].disk = before;
    world.boot(2);
    world.run(3 * DAY);
    assert_eq!(sealed(&world), first);
    world.boot(BOB);
    world.run(30 * HOUR);
    world.check_all_delivered();
}

#[test]
fn a_relay_restored_from_an_older_disk_loses_nothing_for_good() {
    let mut world = with_relays(2, 10);
    let before = [2, 3].map(|relay| world.nodes[relay].disk.clone());
    world.crash(BOB);
    world.submit(ANNA, BOB);
    world.run(10 * SECOND);
    // Both at once: one alone would have it from the other.
    [2, 3].into_iter().for_each(|relay| world.crash(relay));
    for (relay, disk) in [2, 3].into_iter().zip(before) {
        world.nodes[relay].disk = disk;
        world.boot(relay);
    }
    // Anna's node asks the relays whether they still have it, finds that they do not, and leaves it there again.
    world.run(30 * HOUR);
    assert!(world.nodes[ANNA].counters.contains_key(&Counter::RelayLied));
    take_turns(&mut world, BOB, ANNA, 10 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn relays_that_lie_about_storing_are_noticed_and_survived() {
    for seed in 0..10 {
        let mut world = with_relays(3, seed);
        world.nodes[2].liar = true;
        for _ in 0..10 {
            world.crash(BOB);
            world.submit(ANNA, BOB);
            world.run(20 * HOUR);
            world.boot(BOB);
            world.run(10 * MINUTE);
        }
        world.run(2 * DAY);
        world.check_all_delivered();
        assert!(world.nodes[ANNA].counters.contains_key(&Counter::RelayLied), "seed {seed}");
    }
}

#[test]
fn volunteers_keep_mail_for_those_without_relays() {
    let mut world = World::new(6, 11);
    world.volunteers = vec![2, 3, 4, 5];
    world.introduce();
    (world.config.volunteer_bytes, world.config.volunteer_effort) = (1 << 20, 0);
    for node in 0..6 {
        world.boot(node);
    }
    world.run(MINUTE);
    world.crash(BOB);
    let entry = world.submit(ANNA, BOB);
    world.run(MINUTE);
    let copies = world.copies(ANNA, entry);
    assert_eq!(copies.len(), 3, "{copies:?}");
    assert!(copies.iter().all(|(_, kind)| *kind == PlaceKind::Volunteer));
    // One of them goes away for good: another one takes its place within hours.
    let gone = (2..6).find(|node| peer(*node) == copies[0].0).unwrap();
    world.crash(gone);
    world.run(12 * HOUR);
    let copies = world.copies(ANNA, entry);
    assert_eq!(copies.len(), 3);
    assert!(copies.iter().all(|(at, _)| *at != peer(gone)));
    world.crash(ANNA);
    world.boot(BOB);
    world.run(2 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "Bob asks the volunteers near his own place");
    world.crash(BOB);
    world.boot(ANNA);
    world.run(2 * MINUTE);
    world.check_all_delivered();
}

/// Bob's two relays are laptops. Anna meets the one, Bob meets the other, and they meet each other.
#[test]
fn relays_that_are_seldom_on_pass_on_to_each_other_what_waits() {
    let mut world = World::new(4, 5);
    world.relays[BOB] = vec![2, 3];
    world.introduce();
    for node in [ANNA, BOB, 2, 3] {
        world.boot(node);
    }
    world.run(5 * MINUTE);
    [BOB, 3].into_iter().for_each(|node| world.crash(node));
    let entry = world.submit(ANNA, BOB);
    world.run(5 * MINUTE);
    assert_eq!(world.copies(ANNA, entry), [(peer(2), PlaceKind::Relay)]);
    world.crash(ANNA);
    world.boot(3);
    world.run(5 * MINUTE);
    world.crash(2);
    world.boot(BOB);
    world.run(5 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "the second relay had it from the first one");
    world.boot(ANNA);
    world.boot(2);
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

/// More waits at the first relay than the second one takes at once.
#[test]
fn a_relay_that_is_busy_is_passed_the_rest_a_moment_later() {
    const LETTERS: usize = 40;
    let mut world = World::new(4, 16);
    world.relays[BOB] = vec![2, 3];
    world.introduce();
    for node in [ANNA, BOB, 2, 3] {
        world.boot(node);
    }
    world.run(5 * MINUTE);
    [BOB, 3].into_iter().for_each(|node| world.crash(node));
    for _ in 0..LETTERS {
        world.submit(ANNA, BOB);
    }
    world.run(5 * MINUTE);
    assert_eq!(world.nodes[2].disk.held.len(), LETTERS);
    world.crash(ANNA);
    world.config.receptions_per_peer = 3;
    world.boot(3);
    world.run(5 * MINUTE);
    assert_eq!(world.nodes[3].disk.held.len(), LETTERS, "all of them, though three at a time were too many");
    world.crash(2);
    world.boot(BOB);
    world.run(5 * MINUTE);
    world.boot(ANNA);
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

/// Anna's relays are laptops, and so is Bob's. She meets the first of hers, which meets the second, which meets Bob's.
#[test]
fn whichever_of_ones_own_relays_meets_the_recipients_leaves_the_letter_there() {
    let mut world = World::new(5, 17);
    (world.relays[ANNA], world.relays[BOB]) = (vec![2, 3], vec![4]);
    world.introduce();
    (0..5).for_each(|node| world.boot(node));
    world.run(5 * MINUTE);
    [BOB, 3, 4].into_iter().for_each(|node| world.crash(node));
    let entry = world.submit(ANNA, BOB);
    world.run(5 * MINUTE);
    assert_eq!(world.copies(ANNA, entry), [(peer(2), PlaceKind::Carrier)]);
    world.crash(ANNA);
    world.boot(3);
    world.run(5 * MINUTE);
    world.crash(2);
    world.boot(4);
    world.run(10 * MINUTE);
    world.crash(3);
    world.boot(BOB);
    world.run(5 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "from one of Anna's relays to the other, to Bob's, to Bob");
    [ANNA, 2, 3].into_iter().for_each(|node| world.boot(node));
    world.run(HOUR);
    world.check_all_delivered();
}

#[test]
fn machines_that_are_seldom_on_keep_more_copies_than_those_that_are_always_on() {
    for (hours, copies) in [(1, 4), (21, 2)] {
        let mut world = with_relays(4, 6);
        world.crash(BOB);
        // A machine that has been up for a day is likely to stay up.
        world.run(hours * HOUR);
        let entry = world.submit(ANNA, BOB);
        world.run(MINUTE);
        assert_eq!(world.copies(ANNA, entry).len(), copies, "relays that are up for {hours} h");
        world.boot(BOB);
        world.run(MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn a_letter_that_only_laptops_keep_goes_to_ones_own_relays_too() {
    let mut world = World::new(6, 8);
    (world.relays[ANNA], world.relays[BOB]) = (vec![3, 4], vec![2, 5]);
    world.introduce();
    [BOB, 2, 3, 5].into_iter().for_each(|node| world.boot(node));
    world.boot(ANNA);
    world.run(5 * MINUTE);
    [BOB, 5].into_iter().for_each(|node| world.crash(node));
    let entry = world.submit(ANNA, BOB);
    world.run(5 * MINUTE);
    assert_eq!(world.copies(ANNA, entry), [(peer(2), PlaceKind::Relay), (peer(3), PlaceKind::Carrier)]);
    world.boot(4);
    world.run(2 * HOUR);
    assert_eq!(world.copies(ANNA, entry).len(), 3, "the second one, as soon as it is there");
    [ANNA, 2, 3].into_iter().for_each(|node| world.crash(node));
    world.boot(5);
    world.run(10 * MINUTE);
    world.crash(4);
    world.boot(BOB);
    world.run(10 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "from the carrier to Bob's other relay to Bob");
    [ANNA, 2, 3, 4].into_iter().for_each(|node| world.boot(node));
    world.run(HOUR);
    world.check_all_delivered();
}

/// Four of Bob's relays have it, and none of them is on when he is.
#[test]
fn what_as_many_laptops_keep_as_should_goes_to_ones_own_relays_all_the_same() {
    let mut world = World::new(8, 9);
    (world.relays[ANNA], world.relays[BOB]) = (vec![6, 7], vec![2, 3, 4, 5]);
    world.introduce();
    [BOB, 2, 3, 4, 5, 6, 7].into_iter().for_each(|node| world.boot(node));
    world.boot(ANNA);
    world.run(5 * MINUTE);
    [BOB, 7].into_iter().for_each(|node| world.crash(node));
    let entry = world.submit(ANNA, BOB);
    world.run(5 * MINUTE);
    let kinds = |world: &World, kind| world.copies(ANNA, entry).iter().filter(|(_, copy)| *copy == kind).count();
    assert_eq!((kinds(&world, PlaceKind::Relay), kinds(&world, PlaceKind::Carrier)), (4, 1), "hers that is there");
    [2, 3, 4, 5, 6].into_iter().for_each(|node| world.crash(node));
    world.boot(7);
    world.run(2 * HOUR);
    assert_eq!((kinds(&world, PlaceKind::Relay), kinds(&world, PlaceKind::Carrier)), (4, 2), "the other one when it comes");
    world.crash(ANNA);
    world.boot(BOB);
    world.run(HOUR);
    assert!(world.is_filed(&world.mails[0]), "from her relay to him");
    [ANNA, 2, 3, 4, 5, 6].into_iter().for_each(|node| world.boot(node));
    world.run(HOUR);
    world.check_all_delivered();
}

/// Volunteers stand in no card: nobody is connected to them before, and their coming up is what a letter waits for.
#[test]
fn volunteers_that_nobody_knows_are_connected_to_and_keep_mail() {
    const CAROL: usize = 2;
    let mut world = World::new(7, 11);
    world.volunteers = vec![3, 4, 5, 6];
    world.introduce();
    for node in 0..7 {
        world.nodes[node]
            .disk
            .cards
            .retain(|address, _| (0..3).any(|known| *address == crate::world::address(known)) && node < 3);
    }
    (world.config.volunteer_bytes, world.config.volunteer_effort) = (1 << 20, 0);
    for node in 0..7 {
        world.boot(node);
    }
    world.run(MINUTE);
    world.crash(BOB);
    let entry = world.submit(ANNA, BOB);
    world.run(MINUTE);
    assert_eq!(world.copies(ANNA, entry).len(), 3);
    world.crash(ANNA);
    world.run(8 * DAY);
    world.crash(CAROL);
    world.boot(CAROL);
    world.boot(BOB);
    world.run(2 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "a week is not too long");
}

#[test]
fn a_volunteer_passes_on_at_once_to_an_owner_who_is_there() {
    let mut world = World::new(3, 15);
    world.volunteers = vec![2];
    world.introduce();
    (world.config.volunteer_bytes, world.config.volunteer_effort) = (1 << 20, 0);
    world.boot(2);
    world.boot(BOB);
    world.run(MINUTE);
    // Bob has asked the volunteer, which had nothing; nobody but the volunteer gets through to him.
    world.parted.insert((ANNA, BOB));
    world.boot(ANNA);
    world.submit(ANNA, BOB);
    world.run(MINUTE);
    assert!(world.is_filed(&world.mails[0]));
}

/// Anna's mail is with her own relay, which has carried it on to Bob while she sleeps.
fn carried_while_she_sleeps() -> World {
    let mut world = World::new(3, 12);
    world.relays[ANNA] = vec![2];
    world.introduce();
    world.boot(2);
    world.boot(ANNA);
    world.run(MINUTE);
    let entry = world.submit(ANNA, BOB);
    world.run(MINUTE);
    assert_eq!(world.copies(ANNA, entry), [(peer(2), PlaceKind::Carrier)]);
    world.crash(ANNA);
    world.boot(BOB);
    world.run(10 * MINUTE);
    assert!(world.is_filed(&world.mails[0]), "carried on while Anna sleeps");
    world
}

#[test]
fn ones_own_relay_carries_on_what_nobody_else_takes() {
    let mut world = carried_while_she_sleeps();
    take_turns(&mut world, ANNA, BOB, HOUR);
    world.boot(ANNA);
    world.run(HOUR);
    world.check_all_delivered();
}

/// What her relay has carried on stays there for a day, and is sealed for Bob: Anna, who starts anew meanwhile, could make nothing of it.
#[test]
fn what_ones_own_relay_has_carried_on_is_not_shown_to_oneself() {
    let mut world = carried_while_she_sleeps();
    world.crash(BOB);
    world.boot(ANNA);
    world.run(HOUR);
    assert_eq!(world.nodes[ANNA].counters.get(&Counter::Dropped(OpenProblem::NotForUs)), None);
    assert!(world.nodes[2].disk.held.values().any(|held| matches!(held.kind, HeldKind::Onward(_))), "it is there");
}

/// The relay that carries his mail is nobody whom Bob knows but by Anna's card, and dials him seldom by then.
#[test]
fn who_has_no_relay_has_what_contacts_relays_carry_for_him_as_soon_as_he_starts() {
    for seed in 0..20 {
        let mut world = World::new(3, seed);
        world.relays[ANNA] = vec![2];
        world.introduce();
        let known = [ANNA, BOB].map(crate::world::address);
        world.nodes[BOB].disk.cards.retain(|address, _| known.contains(address));
        world.boot(2);
        world.boot(ANNA);
        world.run(MINUTE);
        world.submit(ANNA, BOB);
        world.run(MINUTE);
        world.crash(ANNA);
        world.run(DAY);
        world.boot(BOB);
        world.run(20 * SECOND);
        assert!(world.is_filed(&world.mails[0]), "seed {seed}");
    }
}

#[test]
fn a_full_mailbox_refuses_and_loses_nothing() {
    let mut world = with_relays(1, 13);
    world.crash(BOB);
    // The world grants 1 MiB: 65 envelopes of 16,000 bytes.
    for _ in 0..80 {
        world.submit(ANNA, BOB);
    }
    world.run(5 * MINUTE);
    assert!(world.nodes[2].disk.held.len() <= 65);
    for _ in 0..8 {
        take_turns(&mut world, BOB, ANNA, 3 * HOUR);
    }
    world.boot(BOB);
    world.run(2 * DAY);
    world.check_all_delivered();
}
