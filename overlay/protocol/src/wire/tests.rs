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

fn offers() -> impl Strategy<Value = Offer> {
    let stamp = proptest::option::of(any::<[u8; 16]>().prop_map(Stamp));
    let work =
        proptest::option::of((any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u32>()).prop_map(|(nonce, solution, effort)| Work {
            nonce,
            solution,
            effort,
        }));
    (any::<[u8; 32]>(), any::<u64>(), any::<[u8; 16]>(), stamp, work).prop_map(|(envelope, size, queue, stamp, work)| Offer {
        envelope: EnvelopeId(envelope),
        size,
        queue: QueueName(queue),
        stamp,
        work,
        onward: Vec::new(),
    })
}

fn onward() -> impl Strategy<Value = Vec<Onward>> {
    let place = (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<bool>(), vec("[!-~]{1,60}", 0..=PLACE_ADDRESSES_MAX));
    let place = place.prop_map(|(peer, queue, deposit, addresses)| Onward {
        peer: PeerId(peer),
        queue: QueueName(queue),
        deposit,
        addresses,
    });
    vec(place, 0..=ONWARD_MAX)
}

fn grants() -> impl Strategy<Value = Grant> {
    (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>())
        .prop_map(|(bytes, count, largest, used_bytes, used_count)| Grant { bytes, count, largest, used_bytes, used_count })
}

fn messages() -> impl Strategy<Value = Message> {
    let later =
        prop_oneof![Just(LaterReason::Busy), Just(LaterReason::Full), Just(LaterReason::InProgress), Just(LaterReason::Quota)];
    let refused = prop_oneof![
        Just(RefusedReason::Unknown),
        Just(RefusedReason::TooLarge),
        Just(RefusedReason::Malformed),
        Just(RefusedReason::Closed),
        any::<u32>().prop_map(RefusedReason::Price)
    ];
    let ext = proptest::option::of(vec(any::<u8>(), 0..=EXT_BYTES_MAX).prop_map(ByteBuf::from));
    let signature = || (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(a, b)| <[u8; 64]>::try_from([a, b].concat()).unwrap());
    let reply = prop_oneof![
        grants().prop_map(Reply::Granted),
        Just(Reply::Done),
        Just(Reply::Unknown),
        Just(Reply::Unproven),
        Just(Reply::Busy)
    ];
    prop_oneof![
        (any::<u8>(), any::<u64>(), any::<[u8; 32]>(), ext).prop_map(|(version, features, nonce, ext)| Message::Hello(Hello {
            version,
            features,
            nonce,
            ext
        })),
        offers().prop_map(Message::Offer),
        (offers(), onward()).prop_map(|(offer, onward)| Message::Deposit(Offer { onward, ..offer })),
        Just(Message::Have),
        ranges().prop_map(|missing| Message::Send(Send { missing })),
        (later, any::<u32>()).prop_map(|(reason, after_s)| Message::Later(Later { reason, after_s })),
        refused.prop_map(|reason| Message::Refused(Refused { reason })),
        (any::<u32>(), signature(), any::<bool>()).prop_map(|(until_s, signature, seldom)| Message::Stored(Stored {
            until_s,
            signature,
            seldom
        })),
        (any::<[u8; 32]>(), signature(), vec(any::<u8>(), 0..300)).prop_map(|(key, signature, request)| Message::Ask(Ask {
            key,
            signature,
            request: ByteBuf::from(request)
        })),
        reply.prop_map(Message::Reply),
        any::<[u8; 32]>().prop_map(|hash| Message::Proof(Proof { hash })),
        (any::<[u8; 32]>(), any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(envelope, queue, nonce)| {
            Message::Audit(Audit { envelope: EnvelopeId(envelope), queue: QueueName(queue), nonce })
        }),
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
    let hello = payload(&Message::Hello(Hello { version: 1, features: 0, nonce: [5; 32], ext: None }));
    assert_eq!(hello, [&[0, 0xa3, 0, 1, 1, 0, 2, 0x58, 32][..], &[5; 32]].concat());
    assert_eq!(payload(&Message::Send(Send { missing: vec![(0, 7)] })), [3, 0xa1, 0, 0x81, 0x82, 0, 7]);
    assert_eq!(payload(&Message::Later(Later { reason: LaterReason::Full, after_s: 60 })), [4, 0xa2, 0, 1, 1, 0x18, 60]);
    assert_eq!(payload(&Message::Refused(Refused { reason: RefusedReason::Unknown })), [5, 0xa1, 0, 0]);
    let bare =
        Offer { envelope: EnvelopeId([7; 32]), size: 5, queue: QueueName([9; 16]), stamp: None, work: None, onward: Vec::new() };
    let expected = [&[1, 0xa3, 0, 0x58, 32][..], &[7; 32], &[1, 5, 2, 0x50], &[9; 16]].concat();
    assert_eq!(payload(&Message::Offer(bare.clone())), expected);
    let stamped = Offer { stamp: Some(Stamp([3; 16])), ..bare };
    let expected = [&[9, 0xa4, 0, 0x58, 32][..], &[7; 32], &[1, 5, 2, 0x50], &[9; 16], &[3, 0x50], &[3; 16]].concat();
    assert_eq!(payload(&Message::Deposit(stamped)), expected);
    assert_eq!(payload(&Message::Refused(Refused { reason: RefusedReason::Price(7000) })), [5, 0xa2, 0, 3, 1, 0x19, 0x1b, 0x58]);
    assert_eq!(payload(&Message::Refused(Refused { reason: RefusedReason::Closed })), [5, 0xa1, 0, 4]);
    assert_eq!(payload(&Message::Reply(Reply::Done)), [10, 0xa1, 0, 1]);
    let granted =
        payload(&Message::Reply(Reply::Granted(Grant { bytes: 1, count: 2, largest: 3, used_bytes: 4, used_count: 5 })));
    assert_eq!(granted, [10, 0xa2, 0, 0, 1, 0xa5, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
    let stored = payload(&Message::Stored(Stored { until_s: 9, signature: [1; 64], seldom: true }));
    assert_eq!(stored, [&[6, 0xa3, 0, 9, 1, 0x58, 64][..], &[1; 64], &[2, 0xf5]].concat());
}

#[test]
fn numbers_of_no_message_are_refused() {
    for number in [7, 13, 14, 23, 255] {
        assert_eq!(Message::from_payload(&[number, 0xa0]), Err(WireError::Unknown(number)));
    }
}

#[test]
fn an_offer_to_the_recipient_is_carried_nowhere() {
    let onward = vec![Onward { peer: PeerId([1; 32]), queue: QueueName([2; 16]), deposit: true, addresses: Vec::new() }];
    let offer = Offer { envelope: EnvelopeId([7; 32]), size: 5, queue: QueueName([9; 16]), stamp: None, work: None, onward };
    assert!(Message::Offer(offer.clone()).to_frame().is_err());
    let mut bytes = payload(&Message::Deposit(offer));
    bytes[0] = 1;
    assert_eq!(Message::from_payload(&bytes), Err(WireError::Rules(1)));
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
