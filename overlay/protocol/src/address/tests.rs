//! Addresses, mistyped and pasted ones included.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn address(seed: u8) -> Address {
    Address::from_key(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()).unwrap()
}

/// BIP-350, "Test vectors": strings whose checksum is right, and some whose is not.
#[test]
fn checksum_engine_is_bip_350() {
    let residue = |text: &str| {
        let lower = text.to_lowercase();
        let (hrp, data) = lower.rsplit_once('1').unwrap();
        let mut engine = engine(hrp).unwrap();
        for character in data.chars() {
            engine.input_fe(Fe32::from_char(character).unwrap());
        }
        *engine.residue()
    };
    for valid in [
        "A1LQFN3A",
        "a1lqfn3a",
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
        "?1v759aa",
    ] {
        assert_eq!(residue(valid), 0x2bc8_30a3, "{valid}");
    }
    for invalid in ["M1VUXWEZ", "A1LQFN3Q", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryy"] {
        assert_ne!(residue(invalid), 0x2bc8_30a3, "{invalid}");
    }
}

#[test]
fn every_form_reads_back() {
    for seed in 0..40 {
        let address = address(seed);
        let text = address.to_string();
        assert_eq!(text.len(), ADDRESS_CHARS);
        assert!(text.starts_with(['q', 'p']));
        assert_eq!(Address::parse(&text), Ok(address));
        assert_eq!(Address::parse(&text.to_uppercase()), Ok(address));
        assert_eq!(Address::parse_uri(&address.uri()), Ok(address));
        assert_eq!(Address::parse_uri(&address.qr_text()), Ok(address));
        let own = MailAddress::parse(&address.mail()).unwrap();
        assert_eq!(own, MailAddress { target: MailTarget::Mailbox(address), tag: None });
        let label = MailAddress::parse(&format!("Shop@{}.KITH.alt.", text.to_uppercase())).unwrap();
        assert_eq!(label, MailAddress { target: MailTarget::Mailbox(address), tag: Some("Shop".into()) });
        let tagged = MailAddress::parse(&format!("{text}+list@kith.alt")).unwrap();
        assert_eq!(tagged.tag.as_deref(), Some("list"));
    }
}

#[test]
fn up_to_four_wrong_characters_never_pass() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let text = address(7).to_string().into_bytes();
    for round in 0..10_000 {
        let mut wrong = text.clone();
        for _ in 0..1 + round % 4 {
            let place = rng.next_u32() as usize % ADDRESS_CHARS;
            wrong[place] = ALPHABET[rng.next_u32() as usize % 32];
        }
        if wrong != text {
            assert_eq!(Address::parse(core::str::from_utf8(&wrong).unwrap()), Err(AddressError::Checksum));
        }
    }
}

#[test]
fn swapped_neighbours_never_pass() {
    for seed in 0..20 {
        let text = address(seed).to_string().into_bytes();
        for place in 0..ADDRESS_CHARS - 1 {
            let mut wrong = text.clone();
            wrong.swap(place, place + 1);
            if wrong != text {
                assert_eq!(Address::parse(core::str::from_utf8(&wrong).unwrap()), Err(AddressError::Checksum));
            }
        }
    }
}

#[test]
fn mistakes_are_named_in_sentences() {
    let text = address(7).to_string();
    let said = |wrong: &str| Address::parse(wrong).unwrap_err().to_string();
    assert_eq!(said(&text[1..]), "the address has 57 characters and must have 58: one is missing");
    assert_eq!(said(&format!("{text}qq")), "the address has 60 characters and must have 58: 2 are too many");
    assert!(said(&format!("{}b{}", &text[..4], &text[5..])).starts_with("the character 'b' at place 5 is in no address"));
    assert!(said(&format!("ä{}", &text[1..])).starts_with("the character 'ä' at place 1"));
    let other = MailAddress::parse(&format!("{}@other.alt", under("other.alt", address(7).key()))).unwrap_err();
    assert_eq!(other.to_string(), "the address belongs to the network other.alt, not to kith.alt");
    assert_eq!(Address::parse(&under("other.alt", address(7).key())), Err(AddressError::Checksum));
}

/// What [`Address`] displays, for any domain and any key.
fn under(domain: &str, key: &[u8; 32]) -> String {
    let bits: Vec<u8> = [0; 4].into_iter().chain(key.iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1))).collect();
    let mut engine = engine(domain).unwrap();
    let mut text = String::new();
    for group in bits.chunks(5) {
        let symbol = Fe32::try_from(group.iter().fold(0, |value, bit| value << 1 | bit)).unwrap();
        engine.input_fe(symbol);
        text.push(symbol.to_char());
    }
    engine.input_target_residue();
    text.extend((0..6).rev().map(|i| ALPHABET[(engine.residue() >> (5 * i)) as usize & 31] as char));
    text
}

#[test]
fn points_that_are_no_keys_are_refused() {
    let hex = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
    for (what, key) in [
        ("the identity", hex("0100000000000000000000000000000000000000000000000000000000000000")),
        ("the identity, written otherwise", hex("0100000000000000000000000000000000000000000000000000000000000080")),
        ("order 2", hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")),
        ("order 4", [0; 32]),
        ("order 8", hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")),
        ("not on the curve", hex("0200000000000000000000000000000000000000000000000000000000000000")),
        ("not reduced", hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")),
    ] {
        assert_eq!(Address::parse(&under(DOMAIN, &key)), Err(AddressError::Key), "{what}");
        assert!(crate::codec::decode::<Address>(&[&[0x58, 32][..], &key].concat(), 64).is_err(), "{what}");
    }
    // What was found sound once is not looked at again; of what begins like it, every bit is.
    assert_eq!(Address::from_key(*address(3).key()), Ok(address(3)));
    for bit in 8..256 {
        let mut other = *address(3).key();
        other[bit / 8] ^= 1 << (bit % 8);
        let point = CompressedEdwardsY(other).decompress();
        let sound = point.is_some_and(|point| point.compress().0 == other && point.is_torsion_free() && !point.is_identity());
        assert_eq!(Address::from_key(other).is_ok(), sound, "bit {bit}");
    }
    // A sound key plus a point of order 2: the same mailbox under a second address, if it were taken.
    let sound = CompressedEdwardsY(*address(3).key()).decompress().unwrap();
    let torsion =
        CompressedEdwardsY(hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")).decompress().unwrap();
    assert_eq!(Address::from_key((sound + torsion).compress().0), Err(AddressError::Key));
}

#[test]
fn later_versions_are_named() {
    let text = address(7).to_string();
    for first in "zry9x8gf".chars() {
        let mut engine = engine(DOMAIN).unwrap();
        let mut later = format!("{first}{}", &text[1..52]);
        later.chars().for_each(|character| engine.input_fe(Fe32::from_char(character).unwrap()));
        engine.input_target_residue();
        later.extend((0..6).rev().map(|i| ALPHABET[(engine.residue() >> (5 * i)) as usize & 31] as char));
        assert!(matches!(Address::parse(&later), Err(AddressError::Version { .. })));
    }
}

#[test]
fn what_people_paste_is_understood() {
    // Many addresses, so that every look-alike occurs.
    for seed in 0..20 {
        let address = address(seed);
        let text = address.to_string();
        let eights = text.matches('8').count() + text.matches('6').count();
        let mut pasted = vec![
            format!(" <{}>\r\n", address.mail()),
            format!("mailto:{}", address.mail()),
            address.qr_text(),
            format!("{}\u{ad}\u{200b} {}-\u{feff}{}", &text[..9], &text[9..30], &text[30..]),
            format!("{}=\r\n{}", &text[..20], &text[20..]),
            text.replace('0', "O").replace('l', "1"),
            text.replace('l', "I"),
        ];
        if eights <= 8 {
            pasted.push(text.replace(['8', '6'], "b"));
        }
        for text in pasted {
            assert_eq!(Address::parse_pasted(&text), Ok(address), "{text:?}");
        }
        assert!(Address::parse(&format!("{text} ")).is_err());
    }
}

#[test]
fn names_and_the_rest_of_the_world_are_told_apart() {
    let parse = |text: &str| MailAddress::parse(text).map(|address| address.target);
    assert_eq!(parse("Anna@KITH.ALT"), Ok(MailTarget::Name("anna".into())));
    assert_eq!(parse("anna@example.org"), Ok(MailTarget::Foreign));
    assert_eq!(parse("anna@notkith.alt"), Ok(MailTarget::Foreign));
    assert_eq!(parse("anna"), Err(AddressError::Form));
    assert_eq!(parse("@kith.alt"), Err(AddressError::Form));
    assert_eq!(parse("x@mistyped.kith.alt"), Err(AddressError::Length { count: 8 }));
    assert!(matches!(parse(&format!("{}@kith.alt", "q".repeat(40))), Err(AddressError::Length { count: 40 })));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}", pasted in "[0-9a-z@.+<>=\u{ad} ]{50,70}") {
        let _ = Address::parse(&text);
        let _ = Address::parse_uri(&text);
        let _ = Address::parse_pasted(&text);
        let _ = Address::parse_pasted(&pasted);
        let _ = MailAddress::parse(&text);
        let _ = MailAddress::parse(&pasted);
    }

    #[test]
    fn what_is_read_is_what_is_written(seed: [u8; 32]) {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let address = Address::from_key(key).unwrap();
        prop_assert_eq!(address.to_string(), under(DOMAIN, &key));
        prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        let bytes = crate::codec::encode(&address).unwrap();
        prop_assert_eq!(crate::codec::decode::<Address>(&bytes, 64), Ok(address));
    }
}
