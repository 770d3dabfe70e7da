//! Every size, count and age of the protocol, in one place, with the relations between them asserted at compile time.

/// Bytes of a directory record, at most (PROTOCOL.md).
pub const RECORD_BYTES_MAX: usize = 12 * 1024;
/// Bytes of a card, at most.
pub const CARD_BYTES_MAX: usize = 11 * 1024;
/// Devices a card may list.
pub const CARD_DEVICES_MAX: usize = 8;
/// Places (relays) a card may list.
pub const CARD_PLACES_MAX: usize = 5;
/// Address hints of one place.
pub const PLACE_ADDRESSES_MAX: usize = 4;
/// Bytes of one address hint.
pub const PLACE_ADDRESS_BYTES_MAX: usize = 128;
/// Bytes of MIME in one letter.
pub const MAIL_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// Bytes of a letter's head, at most: a card and some 700 bytes more. With it and a full receipt, a letter still fits into one cell.
pub const HEAD_BYTES_MAX: usize = 12 * 1024;
/// Bytes of an envelope, at most: the largest mail with the largest head, rounded up to a size that envelopes have.
pub const ENVELOPE_BYTES_MAX: u64 = 3_328 * 16_000;
/// Bytes of a wire frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(CARD_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(CARD_BYTES_MAX + 700 < HEAD_BYTES_MAX);
// Tags cost 16 bytes in 65,536, the slots of eight devices 9,920.
const _: () = assert!(MAIL_BYTES_MAX + MAIL_BYTES_MAX / 4_096 + HEAD_BYTES_MAX as u64 + 10_000 < ENVELOPE_BYTES_MAX);
