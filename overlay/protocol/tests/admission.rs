//! Who may leave letters with a relay, and what cannot be filled by others: one core, deposits one after the other.

use std::sync::Arc;

use kith_protocol::card::Strangers;
use kith_protocol::delivery::{Config, Delivery};
use kith_protocol::event::{
    Answer, Effect, Event, HeldKind, HostedQueue, LaterReason, Now, RefusedReason, Snapshot, Ticket, Write,
};
use kith_protocol::ids::{EnvelopeId, PeerId, QueueName, Token};
use kith_protocol::keys::queue_name;
use kith_protocol::work::{Solver, Work};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const CELL: u64 = 16_000;
const TAG: [u8; 16] = [5; 16];
const EFFORT: u32 = 3;

struct Relay {
    core: Delivery,
    rng: ChaCha8Rng,
    next: u64,
    now: Now,
    held: Vec<(EnvelopeId, HeldKind)>,
}

fn queue(number: u8) -> QueueName {
    queue_name(&[number; 32])
}

/// A mailbox for so many cells.
fn mailbox(number: u8, cells: u64, strangers: Strangers) -> HostedQueue {
    let (queue, key) = (queue(number), [number; 32]);
    HostedQueue {
        queue,
        key,
        bytes: cells * CELL,
        count: 512,
        largest: 4 * CELL,
        strangers,
        tag: TAG,
        effort: EFFORT,
        siblings: Arc::default(),
    }
}

fn stamped(number: u64) -> Ticket {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&number.to_le_bytes());
    Ticket { deposit: true, stamp: Some(mark), ..Ticket::default() }
}

fn work(tag: [u8; 16], envelope: EnvelopeId, effort: u32) -> Work {
    let mut solver = Solver::new(tag, envelope, effort, [0; 16]);
    loop {
        if let Some(work) = solver.step() {
            return work;
        }
    }
}

impl Relay {
    fn new(hosted: Vec<HostedQueue>, config: Config) -> Self {
        let now = Now::default();
        let core = Delivery::restore(config, Snapshot { hosted, ..Snapshot::default() }, now);
        Self { core, rng: ChaCha8Rng::seed_from_u64(1), next: 0, now, held: Vec::new() }
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle(event, self.now, &mut self.rng, &mut effects);
        effects
    }

    fn name(&mut self) -> (Token, EnvelopeId) {
        self.next += 1;
        (Token(self.next), EnvelopeId(*blake3::hash(&self.next.to_le_bytes()).as_bytes()))
    }

    /// Leaves an envelope, or is told why not.
    fn deposit(&mut self, peer: u8, number: u8, size: u64, ticket: impl FnOnce(EnvelopeId) -> Ticket) -> Answer {
        let (token, envelope) = self.name();
        self.deposit_as(token, envelope, peer, number, size, ticket(envelope))
    }

    fn deposit_as(&mut self, token: Token, envelope: EnvelopeId, peer: u8, number: u8, size: u64, ticket: Ticket) -> Answer {
        let peer = PeerId([peer; 32]);
        let effects = self.tell(Event::OfferReceived { token, peer, queue: queue(number), envelope, size, ticket });
        let answer = answer_to(token, &effects).expect("every offer is answered");
        self.forget(&effects);
        if answer != Answer::Send {
            return answer;
        }
        let effects = self.tell(Event::BodyReceived { token });
        let [Effect::Commit { batch, writes, then }] = &effects[..] else { panic!("a commit: {effects:?}") };
        let held = writes.iter().find_map(|write| match write {
            Write::Hold { held, .. } => Some((held.envelope, held.kind.clone())),
            _ => None,
        });
        self.held.extend(held);
        self.tell(Event::Durable(*batch));
        answer_to(token, then).expect("the end is said with the commit")
    }

    /// What is let go makes room.
    fn forget(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Commit { batch, writes, .. } = effect else { continue };
            for write in writes {
                if let Write::Forget(gone) = write {
                    self.held.retain(|(envelope, _)| !gone.contains(envelope));
                }
            }
            self.tell(Event::Durable(*batch));
        }
    }
}

fn answer_to(token: Token, effects: &[Effect]) -> Option<Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Answer { token: of, answer } if *of == token => Some(*answer),
        _ => None,
    })
}

fn is_stored(answer: &Answer) -> bool {
    matches!(answer, Answer::Stored { .. })
}

#[test]
fn a_stamp_admits_and_without_one_the_price_is_named() {
    let mut relay = Relay::new(vec![mailbox(1, 64, Strangers::Work)], Config::default());
    assert!(is_stored(&relay.deposit(9, 1, CELL, |_| stamped(1))));
    let nothing = |_| Ticket { deposit: true, ..Ticket::default() };
    assert_eq!(relay.deposit(9, 1, CELL, nothing), Answer::Refused(RefusedReason::Price(EFFORT)));
    assert_eq!(relay.held.len(), 1);
    assert_eq!(relay.held[0].1, HeldKind::Contact);
}

#[test]
fn work_counts_for_its_envelope_its_tag_and_its_effort() {
    let mut relay = Relay::new(vec![mailbox(1, 64, Strangers::Work)], Config::default());
    let with = |work| Ticket { deposit: true, work: Some(work), ..Ticket::default() };
    assert!(is_stored(&relay.deposit(9, 1, CELL, |envelope| with(work(TAG, envelope, EFFORT)))));
    let price = Answer::Refused(RefusedReason::Price(EFFORT));
    assert_eq!(relay.deposit(9, 1, CELL, |_| with(work(TAG, EnvelopeId([1; 32]), EFFORT))), price, "for another envelope");
    assert_eq!(relay.deposit(9, 1, CELL, |envelope| with(work([6; 16], envelope, EFFORT))), price, "for another mailbox");
    assert_eq!(relay.deposit(9, 1, CELL, |envelope| with(work(TAG, envelope, EFFORT - 1))), price, "too little");
    let boast = |envelope| Work { effort: EFFORT + 1, ..work(TAG, envelope, EFFORT) };
    assert_eq!(relay.deposit(9, 1, CELL, |envelope| with(boast(envelope))), price, "said to be more than it is");
}

#[test]
fn one_stamp_admits_one_letter_even_while_the_first_is_on_its_way() {
    let mut relay = Relay::new(vec![mailbox(1, 64, Strangers::Work)], Config::default());
    let (token, envelope) = relay.name();
    let offer = Event::OfferReceived { token, peer: PeerId([9; 32]), queue: queue(1), envelope, size: CELL, ticket: stamped(1) };
    assert_eq!(answer_to(token, &relay.tell(offer)), Some(Answer::Send));
    assert_eq!(relay.deposit(9, 1, CELL, |_| stamped(1)), Answer::Refused(RefusedReason::Price(EFFORT)));
}

#[test]
fn strangers_have_twenty_slots_and_more_work_takes_the_place_of_less() {
    let config = Config { deposits_per_minute: 1000, ..Config::default() };
    let slots = config.requests_max;
    let mut relay = Relay::new(vec![mailbox(1, 512, Strangers::Work)], config);
    let mut deposit = |effort| {
        relay.deposit(9, 1, CELL, |envelope| Ticket {
            deposit: true,
            work: Some(work(TAG, envelope, effort)),
            ..Ticket::default()
        })
    };
    for _ in 0..slots {
        assert!(is_stored(&deposit(EFFORT)));
    }
    let Answer::Refused(RefusedReason::Price(higher)) = deposit(EFFORT) else { panic!("the slots are taken") };
    assert!(higher > EFFORT);
    assert!(is_stored(&deposit(higher)));
    assert_eq!(relay.held.len(), slots);
    assert!(relay.held.iter().any(|(_, kind)| *kind == HeldKind::Stranger(higher)));
}

#[test]
fn strangers_never_take_the_room_of_contacts() {
    let config = Config { deposits_per_minute: 1000, ..Config::default() };
    let mut relay = Relay::new(vec![mailbox(1, 40, Strangers::Work)], config);
    let worked = |envelope| Ticket { deposit: true, work: Some(work(TAG, envelope, EFFORT)), ..Ticket::default() };
    let taken = (0..20).filter(|_| is_stored(&relay.deposit(9, 1, CELL, worked))).count();
    assert_eq!(taken, 4, "a tenth of the mailbox");
    for number in 0..36 {
        assert!(is_stored(&relay.deposit(9, 1, CELL, |_| stamped(number))), "{number}");
    }
    assert!(matches!(relay.deposit(9, 1, CELL, |_| stamped(99)), Answer::Later { reason: LaterReason::Quota, .. }));
}

#[test]
fn a_full_mailbox_is_no_reason_to_turn_others_away() {
    let hosted = vec![mailbox(1, 2, Strangers::Welcome), mailbox(2, 2, Strangers::Welcome)];
    let mut relay = Relay::new(hosted, Config::default());
    let plain = |_| Ticket { deposit: true, ..Ticket::default() };
    assert!(is_stored(&relay.deposit(9, 1, CELL, plain)) && is_stored(&relay.deposit(9, 1, CELL, plain)));
    assert!(matches!(relay.deposit(9, 1, CELL, plain), Answer::Later { reason: LaterReason::Quota, .. }));
    assert!(is_stored(&relay.deposit(9, 2, CELL, plain)));
    assert_eq!(relay.deposit(9, 2, 8 * CELL, plain), Answer::Refused(RefusedReason::TooLarge));
    assert_eq!(relay.deposit(9, 3, CELL, plain), Answer::Refused(RefusedReason::Unknown), "nobody's mailbox");
}

#[test]
fn all_mailboxes_together_have_a_bound() {
    let config = Config { hosting_bytes_max: 3 * CELL, ..Config::default() };
    let mut relay = Relay::new(vec![mailbox(1, 64, Strangers::Welcome), mailbox(2, 64, Strangers::Welcome)], config);
    let plain = |_| Ticket { deposit: true, ..Ticket::default() };
    let taken = (0..10).filter(|number| is_stored(&relay.deposit(9, 1 + number % 2, CELL, plain))).count();
    assert_eq!(taken, 3);
    assert!(matches!(relay.deposit(9, 1, CELL, plain), Answer::Later { reason: LaterReason::Full, .. }));
}

#[test]
fn a_peer_without_stamps_may_come_now_and_then_only_and_hinders_nobody_else() {
    let config = Config::default();
    let limit = config.deposits_per_minute;
    let mut relay = Relay::new(vec![mailbox(1, 512, Strangers::Work)], config);
    let nothing = |_| Ticket { deposit: true, ..Ticket::default() };
    let refused = (0..2 * limit).filter(|_| relay.deposit(9, 1, CELL, nothing) == Answer::Refused(RefusedReason::Price(EFFORT)));
    assert_eq!(u32::try_from(refused.count()).unwrap(), limit);
    assert!(matches!(relay.deposit(9, 1, CELL, nothing), Answer::Later { reason: LaterReason::Busy, .. }));
    assert!(is_stored(&relay.deposit(9, 1, CELL, |_| stamped(1))), "a contact's letter by way of the same peer");
    assert_eq!(relay.deposit(8, 1, CELL, nothing), Answer::Refused(RefusedReason::Price(EFFORT)));
    relay.now.mono.0 += 61_000;
    assert_eq!(relay.deposit(9, 1, CELL, nothing), Answer::Refused(RefusedReason::Price(EFFORT)));
}

#[test]
fn a_deposit_that_comes_again_is_said_to_be_stored_and_takes_no_room() {
    let mut relay = Relay::new(vec![mailbox(1, 1, Strangers::Welcome), mailbox(2, 1, Strangers::Welcome)], Config::default());
    let (first, envelope) = relay.name();
    let plain = Ticket { deposit: true, ..Ticket::default() };
    assert!(is_stored(&relay.deposit_as(first, envelope, 9, 1, CELL, plain.clone())));
    assert!(is_stored(&relay.deposit_as(Token(1000), envelope, 8, 1, CELL, plain.clone())));
    assert_eq!(relay.held.len(), 1);
    // Whoever knows an envelope's name learns nothing of where else it lies.
    assert_eq!(relay.deposit_as(Token(1001), envelope, 8, 2, CELL, plain), Answer::Refused(RefusedReason::Unknown));
}
