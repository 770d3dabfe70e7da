//! Every size, count and depth that a client can drive, in one place.

/// Largest message that APPEND takes, and what APPENDLIMIT says: 50 MB.
pub const MESSAGE_BYTES_MAX: u64 = 50 * 1024 * 1024;

/// Folders that NOTIFY watches in one session.
pub(crate) const NOTIFY_FOLDERS_MAX: usize = 1_000;
/// Messages of one APPEND (RFC 3502). Small ones wait in memory until the last has come.
pub(crate) const APPEND_MESSAGES_MAX: usize = 32;

/// Bytes of one command, small literals included, before the login: a login needs little, and strangers get no more.
pub(crate) const COMMAND_BYTES_BEFORE_LOGIN: usize = 8 * 1024;
/// Bytes of one command, small literals included, once logged in. RFC 2683 §3.2.1.5 asks for 8,000 at least; long UID sets need more.
pub(crate) const COMMAND_BYTES: usize = 64 * 1024;
/// Non-synchronising literals up to here are read past when they are refused; a larger one ends the session.
pub(crate) const DISCARD_BYTES_MAX: u64 = 4 * MESSAGE_BYTES_MAX;

/// Bytes of output after which a session pauses. While they are written it works out as many more.
pub(crate) const OUTPUT_BYTES: usize = 64 * 1024;
/// As many as that, by and by, for a client that takes them as fast as they are worked out: threads take turns less often.
pub(crate) const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of small messages that are opened together. A session has four times as many in memory: those that are sent or searched, and those ahead of them.
pub(crate) const TOGETHER_BYTES: u64 = 128 * 1024;
/// Bytes of a buffer that a session keeps while it has nothing to say.
pub(crate) const OUTPUT_BYTES_IDLE: usize = 4 * 1024;
/// Bytes of input that a session holds unread before it asks for no more.
pub(crate) const INPUT_BYTES: usize = 64 * 1024;

/// Commands that make no sense before the session ends.
pub(crate) const BAD_COMMANDS_MAX: u32 = 100;
/// Failed logins before the session ends.
pub(crate) const FAILED_LOGINS_MAX: u32 = 5;

/// Parentheses, NOTs and ORs inside each other in a search.
pub(crate) const SEARCH_DEPTH_MAX: usize = 32;
/// Keys of one search.
pub(crate) const SEARCH_KEYS_MAX: usize = 1_000;
/// Ranges in one sequence set.
pub(crate) const SET_RANGES_MAX: usize = 20_000;
/// Items of one FETCH, header names of one section, flags of one STORE, patterns of one LIST, pairs of one ID.
pub(crate) const ITEMS_MAX: usize = 256;
/// Numbers in a section's part path (`1.2.3`).
pub(crate) const PART_PATH_MAX: usize = 64;

/// Messages read from the store at a time.
pub(crate) const PAGE_MESSAGES: usize = 512;
/// Of these, messages whose headers' excerpts are in memory at a time, 4 KiB each at most.
pub(crate) const EXCERPT_MESSAGES: usize = 256;
/// UIDs changed by one commit of a STORE.
pub(crate) const STORE_MESSAGES: usize = 8_192;
/// Message bytes that one step of a search may read before the session pauses.
pub(crate) const SEARCH_STEP_BYTES: u64 = 4 * 1024 * 1024;
/// Messages that one step of a search may look at before the session pauses.
pub(crate) const SEARCH_STEP_MESSAGES: usize = 4_096;

/// Bytes of a header that are looked into; what lies beyond is carried and fetched, but no field in it is found.
pub(crate) const HEADER_BYTES_MAX: usize = 256 * 1024;
/// The same for the header of a part inside a message.
pub(crate) const PART_HEADER_BYTES_MAX: usize = 32 * 1024;
/// Parts of one message that get a number; what follows belongs to the last.
pub(crate) const PARTS_MAX: usize = 1_000;
/// Multiparts and messages inside each other; deeper ones are shown as one opaque part.
pub(crate) const PART_DEPTH_MAX: usize = 32;
/// Bytes that all the part headers of one message may add to its BODYSTRUCTURE.
pub(crate) const STRUCTURE_BYTES_MAX: usize = 1024 * 1024;
/// Addresses shown of one header field.
pub(crate) const ADDRESSES_MAX: usize = 1_000;
/// Decoded text that a search looks through, a part.
pub(crate) const SEARCH_TEXT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of parsed structures that all sessions share.
pub(crate) const STRUCTURE_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of indexes of folders (see `index.rs`) that all sessions share.
pub(crate) const INDEX_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Changes of a folder up to which its index is brought up; after more it is made anew.
pub(crate) const INDEX_CHANGES_MAX: usize = 1_000;
/// What was worked out of so many messages is written together; less waits.
pub(crate) const GISTS_TOGETHER: usize = 64;
/// Bytes that one command works out before they are written; less waits for its end, so that its answer does not share the machine with the writing.
pub(crate) const GISTS_BYTES: usize = 4 * 1024 * 1024;

/// Keywords that FLAGS and PERMANENTFLAGS name; others work and stay unnamed.
pub(crate) const KEYWORDS_SHOWN_MAX: usize = 200;
/// Bytes of a keyword.
pub(crate) const KEYWORD_BYTES_MAX: usize = 64;

const _: () = assert!(COMMAND_BYTES_BEFORE_LOGIN < COMMAND_BYTES);
const _: () = assert!(COMMAND_BYTES <= INPUT_BYTES);
const _: () = assert!(PART_HEADER_BYTES_MAX <= HEADER_BYTES_MAX);
