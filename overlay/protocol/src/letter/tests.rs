//! Heads that read back, and heads that are none.

use proptest::prelude::*;

use super::*;

fn address() -> Address {
    Address::from_key(ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes()).unwrap()
}

fn head() -> Head {
    Head::new(MailId([1; 16]), Wall(1_790_000_000_000), address(), b"card", Kind::Mail, 1_000).unwrap()
}

fn full() -> Head {
    let mut head = head();
    head.card = ByteBuf::from(vec![7; CARD_BYTES_MAX]);
    head.reply_keys = vec![ReplyKey { id: KeyId([9; 8]), public: [8; 32], secret: Secret::new([7; 32]) }; LETTER_REPLY_KEYS_MAX];
    head.stamps = Some(Stamps { seed: Secret::new([6; 32]), quota: 16 });
    head.mac = Some([5; 32]);
    head
}

#[test]
fn heads_read_back_with_and_without_what_is_optional() {
    for head in [head(), full(), Head { stamps: None, ..full() }, Head { extension: Some(ByteBuf::from(*b"later")), ..head() }] {
        let bytes = head.encode().unwrap();
        assert_eq!(Head::decode(&bytes), Ok(head));
    }
}

#[test]
fn the_largest_card_leaves_room_for_all_else() {
    assert!(full().encode().unwrap().len() + 200 <= HEAD_BYTES_MAX);
}

#[test]
fn a_smaller_head_is_frozen() {
    // Keys 6 (stamps), 10 (mac) and 11 (extension) are absent.
    let bytes = head().encode().unwrap();
    let expected = format!(
        "a9000101500101010101010101010101010101010102{}035820{}0444636172640580070008000919{:04x}",
        "1b000001a0c4506c00",
        hex::encode(address().key()),
        1_000
    );
    assert_eq!(hex::encode(&*bytes), expected);
}

#[test]
fn what_this_version_does_not_know_is_named() {
    let with = |change: fn(&mut Head)| {
        let mut head = head();
        change(&mut head);
        Head::decode(&codec::encode(&head).unwrap())
    };
    assert_eq!(with(|head| head.kind = 3), Err(HeadError::UnknownKind(3)));
    assert_eq!(with(|head| head.compression = 1), Err(HeadError::UnknownCompression(1)));
    assert_eq!(with(|head| head.version = 2), Err(HeadError::Malformed));
    assert_eq!(with(|head| head.length = MAIL_BYTES_MAX + 1), Err(HeadError::TooLong));
    assert_eq!(with(|head| head.card = ByteBuf::from(vec![0; CARD_BYTES_MAX + 1])), Err(HeadError::TooLong));
    assert_eq!(
        with(|head| head.reply_keys = vec![full().reply_keys[0].clone(); LETTER_REPLY_KEYS_MAX + 1]),
        Err(HeadError::TooLong)
    );
    assert_eq!(with(|head| (head.kind, head.length) = (2, 1)), Err(HeadError::TooLong));
    assert_eq!(with(|head| head.extension = Some(ByteBuf::from(vec![0; HEAD_BYTES_MAX]))), Err(HeadError::Malformed));
}

#[test]
fn the_mac_covers_head_content_and_recipient_but_not_itself() {
    let bare = Head { mac: None, ..full() };
    assert_eq!(full().letter_hash(&[1; 32]), bare.letter_hash(&[1; 32]));
    assert_ne!(full().letter_hash(&[1; 32]), full().letter_hash(&[2; 32]));
    assert_ne!(full().letter_hash(&[1; 32]), Head { mid: MailId([2; 16]), ..full() }.letter_hash(&[1; 32]));
    assert_ne!(full().letter_hash(&[1; 32]), Head { stamps: None, ..full() }.letter_hash(&[1; 32]));
}

proptest! {
    #[test]
    fn arbitrary_heads_never_panic_and_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(head) = Head::decode(&bytes) {
            prop_assert_eq!(head.encode().unwrap().to_vec(), bytes);
        }
    }

    #[test]
    fn damaged_heads_never_panic(at in 0_usize..200, byte in any::<u8>()) {
        let mut bytes = full().encode().unwrap().to_vec();
        let at = if at < 100 { at } else { bytes.len() - (at - 99) };
        bytes[at] = byte;
        if let Ok(head) = Head::decode(&bytes) {
            prop_assert_eq!(head.encode().unwrap().to_vec(), bytes);
        }
    }
}
