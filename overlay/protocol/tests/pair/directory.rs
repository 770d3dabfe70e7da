//! Cards: asked for when missing, renewed, never taken back.

use kith_protocol::event::{Event, Fate, Problem};

use crate::world::{DAY, HOUR, MINUTE, SECOND, World, address};

fn strangers(seed: u64) -> World {
    let mut world = World::new(2, seed);
    world.boot(0);
    world.boot(1);
    world
}

#[test]
fn a_card_is_looked_up_and_the_mail_goes() {
    let mut world = strangers(30);
    world.run(MINUTE);
    world.submit(0, 1);
    world.run(5 * SECOND);
    world.check_all_delivered();
    assert_eq!(world.nodes[0].lookups, 1);
}

#[test]
fn without_a_card_the_sender_is_told_why() {
    let mut world = strangers(31);
    world.directory_up = false;
    let entry = world.submit(0, 1);
    world.run(31 * DAY);
    assert_eq!(world.fates(0, entry), [Fate::Failed(Problem::NoCard)]);
}

#[test]
fn a_card_that_is_learned_sets_the_mail_going() {
    let mut world = strangers(32);
    world.directory_up = false;
    world.submit(0, 1);
    world.run(5 * HOUR);
    let card = world.card(0, 1);
    world.nodes[0].disk.cards.insert(card.address, card.clone());
    world.tell(0, 0, Event::CardLearned(card));
    world.run(5 * SECOND);
    assert!(world.is_filed(&world.mails[0]));
}

#[test]
fn many_mails_to_one_address_ask_once() {
    let mut world = strangers(33);
    world.run(MINUTE);
    for _ in 0..50 {
        world.submit(0, 1);
    }
    world.run(MINUTE);
    world.check_all_delivered();
    assert_eq!(world.nodes[0].lookups, 1);
}

#[test]
fn an_older_card_changes_nothing() {
    let mut world = World::acquainted(2, 34);
    world.run(MINUTE);
    let mut old = world.card(0, 1);
    (old.generation, old.sequence) = (0, 99);
    old.places = [].into();
    world.tell(0, 0, Event::CardLearned(old));
    world.submit(0, 1);
    world.run(5 * SECOND);
    world.check_all_delivered();
    assert_eq!(world.nodes[0].disk.cards[&address(1)].generation, 1);
}
