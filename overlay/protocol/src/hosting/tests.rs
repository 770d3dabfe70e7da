//! Requests hold for one relay, one node and one nonce; statements for one envelope in one queue.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

const RELAY: PeerId = PeerId([1; 32]);
const OWNER: PeerId = PeerId([2; 32]);
const NONCE: [u8; 32] = [3; 32];

fn key() -> QueueKey {
    QueueKey::generate(&mut ChaCha8Rng::seed_from_u64(1))
}

fn requests() -> impl Strategy<Value = Request> {
    let strangers = prop_oneof![Just(Strangers::Welcome), Just(Strangers::Work), Just(Strangers::Closed)];
    let marks = proptest::collection::btree_set(any::<[u8; MARK_BYTES]>(), 0..40);
    let record = (any::<[u8; 32]>(), proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(key, record)| (ByteBuf::from(key.to_vec()), ByteBuf::from(record)));
    let hints = proptest::collection::vec("[!-~]{1,60}", 0..=PLACE_ADDRESSES_MAX);
    let siblings = (any::<[u8; 32]>(), any::<[u8; 16]>(), hints).prop_map(|(peer, queue, addresses)| Place {
        peer: PeerId(peer),
        queue: QueueName(queue),
        kind: PlaceKind::Relay,
        addresses,
    });
    prop_oneof![
        any::<[u8; 32]>().prop_map(|token| Request::Host { token }),
        (strangers, any::<[u8; 16]>(), any::<u32>()).prop_map(|(strangers, tag, effort)| Request::Collect {
            strangers,
            tag,
            effort
        }),
        (any::<u32>(), any::<u32>(), marks).prop_map(|(week, part, marks)| Request::Marks {
            week,
            part,
            marks: ByteBuf::from(marks.into_iter().flatten().collect::<Vec<u8>>()),
        }),
        proptest::collection::vec(record, 0..=RECORDS_MAX).prop_map(|records| Request::Records { records }),
        Just(Request::Leave),
        proptest::collection::vec(siblings, 0..=SIBLINGS_MAX).prop_map(|places| Request::Siblings { places }),
    ]
}

proptest! {
    #[test]
    fn a_request_holds_where_it_was_meant_and_nowhere_else(request in requests(), other: [u8; 32]) {
        let ask = Ask::sign(&key(), &request, &RELAY, &OWNER, &NONCE).unwrap();
        prop_assert_eq!(ask.verify(&RELAY, &OWNER, &NONCE), Some((key().name(), request)));
        prop_assert_eq!(ask.verify(&PeerId(other), &OWNER, &NONCE), None);
        prop_assert_eq!(ask.verify(&RELAY, &PeerId(other), &NONCE), None);
        prop_assert_eq!(ask.verify(&RELAY, &OWNER, &other), None);
    }

    #[test]
    fn an_altered_request_is_refused(request in requests(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut ask = Ask::sign(&key(), &request, &RELAY, &OWNER, &NONCE).unwrap();
        let at = at.index(ask.request.len());
        ask.request[at] ^= 1 << bit;
        prop_assert_eq!(ask.verify(&RELAY, &OWNER, &NONCE), None);
    }

    #[test]
    fn foreign_bytes_are_no_request_or_a_canonical_one(bytes: Vec<u8>) {
        if let Some(request) = Request::decode(&bytes) {
            prop_assert_eq!(request.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn a_statement_is_about_one_envelope_in_one_queue(seed: [u8; 32], envelope: [u8; 32], queue: [u8; 16], size: u64, until: u32) {
        let relay = PeerId(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes());
        let (envelope, queue) = (EnvelopeId(envelope), QueueName(queue));
        let signature = NodeKey::from_seed(&seed).stored(&queue, &envelope, size, until);
        prop_assert!(verify_stored(&relay, &queue, &envelope, size, until, &signature));
        prop_assert!(!verify_stored(&relay, &QueueName([0xab; 16]), &envelope, size, until, &signature));
        prop_assert!(!verify_stored(&relay, &queue, &EnvelopeId([0xab; 32]), size, until, &signature));
        prop_assert!(!verify_stored(&relay, &queue, &envelope, size ^ 1, until, &signature));
        prop_assert!(!verify_stored(&relay, &queue, &envelope, size, until ^ 1, &signature));
        prop_assert!(!verify_stored(&OWNER, &queue, &envelope, size, until, &signature));
    }

    #[test]
    fn a_challenge_is_about_a_group_of_the_envelope(nonce: [u8; 16], size in 1_u64..100_000_000) {
        let range = challenged(&nonce, size);
        prop_assert!(range.start < range.end && range.end <= size && range.end - range.start <= GROUP_BYTES);
        prop_assert_eq!(range.start % GROUP_BYTES, 0);
    }
}

#[test]
fn marks_out_of_order_are_no_request() {
    for marks in [[[2; 16], [1; 16]].concat(), [[1; 16], [1; 16]].concat(), vec![1; 15]] {
        assert!(Request::Marks { week: 1, part: 0, marks: ByteBuf::from(marks) }.encode().is_err());
    }
}

#[test]
fn the_weeks_of_volunteers_cover_what_they_keep_and_clocks_that_differ() {
    use crate::blinding::{WEEK_MS, week_start};
    const HOUR: i64 = 3_600_000;
    let begin = week_start(3000).0;
    let weeks = |wall: i64| volunteer_weeks(Wall(wall)).collect::<Vec<_>>();
    assert_eq!(weeks(begin + 84 * HOUR), [3000, 2999, 2998]);
    assert_eq!(weeks(begin + HOUR), [3000, 2999, 2998, 2997]);
    assert_eq!(weeks(begin + WEEK_MS - HOUR), [3000, 2999, 2998, 3001]);
    for hour in 0..168 {
        let now = begin + hour * HOUR;
        let weeks = weeks(now);
        assert!(weeks.len() <= VOLUNTEER_WEEKS_MAX && weeks[0] == 3000);
        for ago in 0..=14 * 24 {
            for wrong in [-36, 0, 36] {
                // As the sender's clock, which is wrong by that much, said when the letter was left.
                let left = now - ago * HOUR + wrong * HOUR;
                assert!(
                    weeks.contains(&week_of(Wall(left))),
                    "{hour} hours into the week, left {ago} hours ago, {wrong} hours wrong"
                );
            }
        }
    }
    for wall in [i64::MIN, 0, i64::MAX] {
        assert!((1..=VOLUNTEER_WEEKS_MAX).contains(&weeks(wall).len()));
    }
}
