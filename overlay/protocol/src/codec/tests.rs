//! What the strict codec takes and what it refuses.

use proptest::prelude::*;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use super::*;

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Object {
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent: Option<u32>,
    bytes: ByteBuf,
    list: Vec<u16>,
    text: String,
}

fn read(bytes: &[u8]) -> Result<Object, DecodeError> {
    decode(bytes, 1 << 21)
}

fn sample() -> Object {
    Object { number: 23, absent: None, bytes: ByteBuf::from([1, 2]), list: vec![3], text: "x".into() }
}

#[test]
fn the_bytes_are_a_map_with_ascending_numbers() {
    // Key 1 is absent; the numbers behind it stay.
    assert_eq!(hex::encode(encode(&sample()).unwrap()), "a4001702420102038103046178");
    assert_eq!(read(&encode(&sample()).unwrap()), Ok(sample()));
}

#[test]
fn there_is_one_way_to_write_an_object() {
    for (what, text) in [
        ("a number longer than needed", "a400181702420102038103046178"),
        ("keys in another order", "a4024201020017038103046178"),
        ("a key twice", "a5001700170242010203810304 6178"),
        ("a map without end", "bf001702420102038103046178ff"),
        ("an array without end", "a400170242010203 9f03ff046178"),
        ("bytes in pieces", "a40017025f41014102ff038103046178"),
        ("text in pieces", "a400170242010203810304 7f6178ff"),
        ("an array in place of the map", "8517f642010281036178"),
        ("a key by its name", "a4666e756d6265721702420102038103046178"),
        ("an absent value written", "a5001701f602420102038103046178"),
        ("an unknown key", "a5001702420102038103046178 05 00"),
        ("a tag", "c1a4001702420102038103046178"),
        ("a longer length of the map", "b804001702420102038103046178"),
        ("something after the end", "a400170242010203810304617800"),
        ("a floating number", "a400f94dc002420102038103046178"),
        ("text that is no UTF-8", "a40017024201020381030461ff"),
        ("an end that is missing", "a40017024201020381030461"),
        ("nothing", ""),
    ] {
        let bytes = hex::decode(text.replace(' ', "")).unwrap();
        assert!(matches!(read(&bytes), Err(DecodeError::Malformed | DecodeError::NotCanonical)), "{what}: {:?}", read(&bytes));
    }
}

#[test]
fn bombs_are_refused_without_using_memory_or_stack() {
    // Deep nesting of arrays, tags and endless arrays, a megabyte of each.
    for byte in [0x81, 0xc1, 0x9f, 0xa1, 0xbf, 0x5f] {
        assert_eq!(read(&vec![byte; 1 << 20]), Err(DecodeError::Malformed));
    }
    // Announced lengths of 2^63: bytes, text, an array and a map.
    for (key, major) in [(2, 0x5b), (4, 0x7b), (3, 0x9b), (0, 0xbb)] {
        let bytes = [&[0xa4, key, major, 0x80][..], &[0; 7]].concat();
        assert_eq!(read(&bytes), Err(DecodeError::Malformed));
        assert_eq!(read(&bytes[2..]), Err(DecodeError::Malformed));
    }
    assert_eq!(decode::<Object>(&[0; 9], 8), Err(DecodeError::TooLong { size: 9, limit: 8 }));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(number: u64, absent: Option<u32>, bytes: Vec<u8>, list: Vec<u16>, text: String) {
        let object = Object { number, absent, bytes: ByteBuf::from(bytes), list, text };
        prop_assert_eq!(read(&encode(&object).unwrap()), Ok(object));
    }

    #[test]
    fn what_is_read_was_written_so(bytes in prop::collection::vec(any::<u8>(), 0..64), cut: prop::sample::Index, replaced: u8) {
        let mut near = encode(&sample()).unwrap();
        let place = cut.index(near.len());
        near[place] = replaced;
        for bytes in [bytes, near] {
            if let Ok(object) = read(&bytes) {
                prop_assert_eq!(encode(&object).unwrap(), bytes);
            }
        }
    }
}
