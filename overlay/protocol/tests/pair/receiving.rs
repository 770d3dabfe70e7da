//! What comes in from others, honest or not.

use kith_protocol::card::Strangers;
use kith_protocol::delivery::{Config, Delivery};
use kith_protocol::envelope::CELL_BYTES;
use kith_protocol::event::{
    Answer, Counter, Effect, Event, LaterReason, LetterKind, Mono, Now, OpenProblem, OwnAccount, Snapshot, Ticket, Wall,
};
use kith_protocol::ids::{EnvelopeId, MailId, PeerId, Token};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::{ACCOUNT, Content, HOUR, MINUTE, STRANGER, World, address, queue};

#[test]
fn forged_receipts_have_no_effect() {
    let mut world = World::acquainted(2, 20);
    world.crash(1);
    for _ in 0..10 {
        world.submit(0, 1);
    }
    world.run(MINUTE);
    let waiting = world.nodes[0].disk.entries.len();
    let forgeries = 100_000;
    for round in 0..forgeries {
        let mail = &world.mails[round % 10];
        // From somebody else about a mail that waits, or from the right person about a mail that does not exist.
        let (from, named) = if world.rng.random() { (2 + round % 4, mail.mid) } else { (1, MailId(world.rng.random())) };
        let mid = MailId(world.rng.random());
        let forged = world.forge(Content { from, to: 0, mid, kind: LetterKind::Receipt(vec![named]), opens: Ok(()) });
        world.inject(forged, 0);
        world.run(200);
    }
    assert_eq!(world.nodes[0].disk.entries.len(), waiting);
    assert!(world.nodes[0].disk.fates.is_empty());
    assert_eq!(world.nodes[0].counters[&Counter::BogusReceipt], u32::try_from(forgeries).unwrap());
}

/// Three peers offer the same envelope at once; of the first two the streams break.
#[test]
fn whoever_has_gone_while_it_waited_for_another_one_is_not_told_to_send() {
    const WALL: i64 = 1_795_000_000_000;
    let (account, queue, envelope) = (ACCOUNT, queue(1), EnvelopeId([9; 32]));
    let snapshot = Snapshot { accounts: vec![OwnAccount { account, address: address(1), queue }], ..Snapshot::default() };
    let at = |ms: u64| Now { mono: Mono(ms), wall: Wall(WALL.saturating_add_unsigned(ms)) };
    let config = Config { strangers: Strangers::Welcome, ..Config::default() };
    let (mut core, mut rng) = (Delivery::restore(config, snapshot, at(0)), ChaCha8Rng::seed_from_u64(1));
    let mut answers = |event, ms| {
        let mut effects = Vec::new();
        core.handle(event, at(ms), &mut rng, &mut effects);
        let answer = |effect: &Effect| match effect {
            Effect::Answer { token, answer } => Some((token.0, *answer)),
            _ => None,
        };
        effects.iter().filter_map(answer).collect::<Vec<_>>()
    };
    let offer = |number: u8| {
        let (token, peer) = (Token(number.into()), PeerId([number; 32]));
        Event::OfferReceived { token, peer, queue, envelope, size: CELL_BYTES, ticket: Ticket::default() }
    };
    assert_eq!(answers(offer(1), 1), [(1, Answer::Send)]);
    assert_eq!(answers(offer(2), 2), []);
    assert_eq!(answers(offer(3), 3), []);
    assert_eq!(answers(Event::BodyBroken { token: Token(2) }, 4), []);
    assert_eq!(answers(Event::BodyBroken { token: Token(1) }, 5), [(3, Answer::Send)]);
    // One that waits in vain is put off.
    assert_eq!(answers(offer(4), 6), []);
    let later = Answer::Later { reason: LaterReason::InProgress, after_s: 10 };
    assert_eq!(answers(Event::Tick, 30_000), [(4, later)]);
}

#[test]
fn what_comes_again_is_filed_once() {
    let mut world = World::acquainted(2, 21);
    world.run(MINUTE);
    for _ in 0..20 {
        world.submit(0, 1);
    }
    world.run(MINUTE);
    world.check_all_delivered();
    let sent: Vec<_> = world.envelopes.iter().map(|(envelope, content)| (*envelope, content.to)).collect();
    for round in 0..10 {
        for (envelope, to) in &sent {
            world.inject(*envelope, *to);
        }
        world.run(HOUR);
        if round == 5 {
            // Nothing is remembered in memory: the store's own memory decides.
            world.crash(1);
            world.boot(1);
        }
    }
    assert_eq!(world.nodes[1].disk.known.len(), 20);
    world.check_all_delivered();
}

#[test]
fn an_envelope_that_opens_to_nothing_is_counted_and_not_filed() {
    for problem in [OpenProblem::NotForUs, OpenProblem::Malformed, OpenProblem::WrongSender] {
        let mut world = World::acquainted(2, 22);
        for _ in 0..10 {
            let mid = MailId(world.rng.random());
            let forged = world.forge(Content { from: 0, to: 1, mid, kind: LetterKind::Mail, opens: Err(problem) });
            world.inject(forged, 1);
            world.run(1000);
        }
        assert!(world.nodes[1].disk.known.is_empty());
        assert_eq!(world.nodes[1].counters[&Counter::Dropped(problem)], 10);
        assert!(world.nodes[1].dropped.is_empty(), "ten mistakes are forgiven");
    }
}

#[test]
fn a_peer_that_goes_on_sending_nonsense_is_dropped() {
    let mut world = World::acquainted(2, 23);
    for _ in 0..20 {
        let mid = MailId(world.rng.random());
        let forged = world.forge(Content { from: 0, to: 1, mid, kind: LetterKind::Mail, opens: Err(OpenProblem::NotForUs) });
        world.inject(forged, 1);
        world.run(1000);
    }
    assert_eq!(world.nodes[1].dropped, [STRANGER]);
}

#[test]
fn a_full_disk_keeps_nothing_and_recovers_by_itself() {
    let mut world = World::acquainted(2, 24);
    world.run(MINUTE);
    world.nodes[1].disk_full = true;
    world.submit(0, 1);
    world.run(HOUR);
    assert!(!world.is_filed(&world.mails[0]) && world.fates(0, world.mails[0].entry).is_empty());
    world.nodes[1].disk_full = false;
    world.run(HOUR);
    world.check_all_delivered();
}

#[test]
fn a_full_disk_at_the_sender_offers_nothing_and_recovers_by_itself() {
    let mut world = World::acquainted(2, 25);
    world.run(MINUTE);
    world.nodes[0].disk_full = true;
    world.submit(0, 1);
    world.run(HOUR);
    assert_eq!(world.nodes[0].offers, 0);
    world.nodes[0].disk_full = false;
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_thousand_mails_at_once_arrive_within_the_bounds() {
    let mut world = World::acquainted(2, 26);
    world.run(MINUTE);
    for _ in 0..1000 {
        world.submit(0, 1);
    }
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_removed_account_takes_no_more_mail() {
    let mut world = World::acquainted(2, 27);
    world.run(MINUTE);
    world.tell(1, 0, Event::AccountRemoved(kith_protocol::ids::AccountId(1)));
    world.submit(0, 1);
    world.run(HOUR);
    assert!(!world.is_filed(&world.mails[0]));
    assert!(world.nodes[1].counters[&Counter::OfferRefused] > 0);
}
