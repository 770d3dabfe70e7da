//! Every size, count and age of the protocol, in one place, with the relations between them asserted at compile time.

/// Bytes of a directory record, at most (PROTOCOL.md).
pub const RECORD_BYTES_MAX: usize = 12 * 1024;
/// Bytes of a card, at most.
pub const CARD_BYTES_MAX: usize = 11 * 1024;
/// Bytes of an account certificate, at most, signature included.
pub const CERTIFICATE_BYTES_MAX: usize = 256;
/// Bytes of a tombstone, at most, signature included.
pub const TOMBSTONE_BYTES_MAX: usize = 160;
/// Weeks that the epoch sheet, and with it the account certificate, covers.
pub const SHEET_WEEKS: u32 = 104;
/// A card is valid for this long at most: 60 days, in ms.
pub const CARD_AGE_MS_MAX: i64 = 60 * 86_400_000;
/// Records are signed for the current week and this many more.
pub const RECORD_WEEKS_AHEAD: u32 = 8;
/// Bytes of a secret row, at most.
pub const SECRET_ROW_BYTES_MAX: usize = 64 * 1024;
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
/// Bytes of a letter's head, at most: a card and some 1,200 bytes more. With it and a full receipt, a letter still fits into one cell.
pub const HEAD_BYTES_MAX: usize = 12_800;
/// Bytes of an envelope, at most: the largest mail with the largest head, rounded up to a size that envelopes have.
pub const ENVELOPE_BYTES_MAX: u64 = 3_328 * 16_000;
/// Letters that one receipt may name.
pub const RECEIPT_MAILS_MAX: usize = 64;
/// Bytes of a receipt's content, at most.
pub const RECEIPT_BYTES_MAX: usize = 1_200;
/// Bytes in front of a mail between a person and a contact's gateway, at most, without their length.
pub const FORWARD_BYTES_MAX: usize = 4_096;
/// Fresh reply keys for each letter that a letter answers, and in one that answers none.
pub const REPLY_KEYS_EACH: usize = 2;
/// Reply keys in one letter: a receipt for several letters brings as many as those would have had.
pub const LETTER_REPLY_KEYS_MAX: usize = ISSUED_KEYS_MAX;
/// Reply keys that may be out to one correspondent.
pub const ISSUED_KEYS_MAX: usize = 8;
/// Unused, an issued reply key is erased after this long: 60 days, in ms. The letters that may need it live half as long.
pub const ISSUED_KEY_AGE_MS_MAX: i64 = 60 * 86_400_000;
/// Reply keys held of one device of a correspondent.
pub const HELD_KEYS_PER_DEVICE_MAX: usize = 8;
/// Reply keys held of one correspondent.
pub const HELD_KEYS_MAX: usize = 64;
/// A reply key is not sealed to when it was learned longer ago than this: 28 days, in ms, so that a letter that takes its 30 days meets the key alive.
pub const HELD_KEY_AGE_MS_MAX: i64 = 28 * 86_400_000;
/// Names of used reply keys that are remembered, so that a replayed letter cannot bring them back.
pub const USED_KEY_IDS_MAX: usize = 64;
/// Bytes of what is kept about one correspondent, at most.
pub const CORRESPONDENT_BYTES_MAX: usize = 16 * 1024;
/// Stamps a week and node that are believed of what a contact says it accepts.
pub const STAMP_QUOTA_MAX: u16 = 1024;
/// Stamps that a contact may spend a week and node.
pub const STAMP_QUOTA: u16 = 64;
/// Weekly prekeys that may be alive at a time.
pub const PREKEYS_MAX: usize = 4;
/// Bytes of a wire frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(CARD_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(CARD_BYTES_MAX + 1_200 < HEAD_BYTES_MAX);
// Tags cost 16 bytes in 65,536, the slots of eight devices 9,920.
const _: () = assert!(MAIL_BYTES_MAX + MAIL_BYTES_MAX / 4_096 + HEAD_BYTES_MAX as u64 + 10_000 < ENVELOPE_BYTES_MAX);
// A receipt with the largest head still fits into one cell of one slot (envelope.rs).
const _: () = assert!(4 + HEAD_BYTES_MAX + RECEIPT_BYTES_MAX <= 14_692);
