//! Frames round-trip, foreign bytes never panic, and every breach has its own error.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn payload(message: &Message) -> Vec<u8> {
    let frame = message.to_frame().unwrap();
    let (length, payload) = frame.split_first_chunk::<LENGTH_BYTES>().unwrap();
    assert_eq!(payload_length(*length).unwrap(), payload.len());
    payload.to_vec()
}

fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
    vec((1_u32..1000, 1_u32..1000), 0..40).prop_map(|steps| {
        let mut at = 0;
        steps
            .into_iter()
            .map(|(gap, length)| {
                let start = at + gap;
                at = start + length;
                (start, at)
            })
            .collect()
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let later = prop_oneof![Just(LaterReason::Busy), Just(LaterReason::Full), Just(LaterReason::InProgress)];
    let refused = prop_oneof![Just(RefusedReason::Unknown), Just(RefusedReason::TooLarge), Just(RefusedReason::Malformed)];
    let ext = proptest::option::of(vec(any::<u8>(), 0..=EXT_BYTES_MAX).prop_map(ByteBuf::from));
    prop_oneof![
        (any::<u8>(), any::<u64>(), ext).prop_map(|(version, features, ext)| Message::Hello(Hello { version, features, ext })),
        (any::<[u8; 32]>(), any::<u64>(), any::<[u8; 16]>()).prop_map(|(envelope, size, queue)| {
            Message::Offer(Offer { envelope: EnvelopeId(envelope), size, queue: QueueName(queue) })
        }),
        Just(Message::Have),
        ranges().prop_map(|missing| Message::Send(Send { missing })),
        (later, any::<u32>()).prop_map(|(reason, after_s)| Message::Later(Later { reason, after_s })),
        refused.prop_map(|reason| Message::Refused(Refused { reason })),
    ]
}

proptest! {
    #[test]
    fn every_message_reads_back_as_written(message in messages()) {
        prop_assert_eq!(Message::from_payload(&payload(&message)), Ok(message));
    }

    #[test]
    fn foreign_bytes_are_refused_or_canonical(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::from_payload(&bytes) {
            prop_assert_eq!(payload(&message), bytes);
        }
    }

    #[test]
    fn one_changed_bit_never_yields_the_same_message(message in messages(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = payload(&message);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Message::from_payload(&bytes), Ok(message));
    }
}

#[test]
fn frames_are_these_bytes() {
    assert_eq!(payload(&Message::Have), [2, 0xa0]);
    assert_eq!(payload(&Message::Hello(Hello { version: 1, features: 0, ext: None })), [0, 0xa2, 0, 1, 1, 0]);
    assert_eq!(payload(&Message::Send(Send { missing: vec![(0, 7)] })), [3, 0xa1, 0, 0x81, 0x82, 0, 7]);
    assert_eq!(payload(&Message::Later(Later { reason: LaterReason::Full, after_s: 60 })), [4, 0xa2, 0, 1, 1, 0x18, 60]);
    assert_eq!(payload(&Message::Refused(Refused { reason: RefusedReason::Unknown })), [5, 0xa1, 0, 0]);
    let offer = payload(&Message::Offer(Offer { envelope: EnvelopeId([7; 32]), size: 5, queue: QueueName([9; 16]) }));
    let expected = [&[1, 0xa3, 0, 0x58, 32][..], &[7; 32], &[1, 5, 2, 0x50], &[9; 16]].concat();
    assert_eq!(offer, expected);
}

#[test]
fn messages_of_relays_are_not_spoken_yet() {
    for number in [reserved::HOST, reserved::DEPOSIT, reserved::COLLECT, reserved::ACK, reserved::AUDIT, 6, 23, 255] {
        assert_eq!(Message::from_payload(&[number, 0xa0]), Err(WireError::Unknown(number)));
    }
}

#[test]
fn ranges_must_ascend_with_gaps() {
    for missing in [vec![(3, 3)], vec![(4, 3)], vec![(0, 2), (2, 4)], vec![(5, 6), (0, 1)]] {
        assert_eq!(Message::Send(Send { missing }).to_frame(), Err(EncodeError));
    }
    assert_eq!(Message::from_payload(&[3, 0xa1, 0, 0x81, 0x82, 3, 3]), Err(WireError::Rules(3)));
}

#[test]
fn lengths_outside_the_limits_are_refused() {
    assert_eq!(payload_length([0; 4]), Err(WireError::Length(0)));
    assert_eq!(payload_length([0, 1, 0, 1]), Err(WireError::Length(65_537)));
    assert_eq!(payload_length([0, 1, 0, 0]), Ok(65_536));
    assert_eq!(Message::from_payload(&[]), Err(WireError::Length(0)));
}
