//! Conversations with the IMAP session, each for one rule, in `dialogues/`; and any bytes whatever.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../connection/tests/support/dialogue.rs"]
mod dialogue;
#[expect(dead_code, reason = "no conversation here restarts the node or breaks its disk")]
#[path = "../../connection/tests/support/home.rs"]
mod home;

use std::path::Path;

use kith_connection::{Credentials, LoginRefusal};
use kith_imap::{Link, Session, Shared, Without};
use kith_store::account::Account;
use kith_store::disk::SimulatedDisk;
use proptest::prelude::*;

use crate::dialogue::{Scene, converse, play_all};
use crate::home::Home;

struct House(Home);

/// What dad's program cannot bear.
fn without() -> Without {
    Without::parse(["dad QRESYNC COMPRESS=DEFLATE"]).unwrap()
}

fn open(home: &Home, remote: bool) -> Session {
    Session::new(Shared::new(home.store.clone(), without()), Link { may_log_in: !remote, can_start_tls: remote }, || {
        1_795_000_000
    })
}

impl Scene for House {
    type Session = Session;

    fn session(&mut self, remote: bool) -> Session {
        open(&self.0, remote)
    }

    fn login(&self, credentials: &Credentials) -> Result<Account, LoginRefusal> {
        self.0.login(credentials)
    }

    fn mails(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

#[test]
fn conversations_go_as_written() {
    play_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues"), || {
        House(Home::simulated(&SimulatedDisk::default()))
    });
}

/// None of these changes the store, so that a second hearing finds what the first did.
fn any_talk() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just(b"a LOGIN mum secret\r\n".to_vec()),
        Just(b"b LOGIN {3+}\r\nmum {6}\r\nsecret\r\n".to_vec()),
        Just(b"c EXAMINE INBOX\r\nd NOOP\r\n".to_vec()),
        Just(b"e FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)\r\nf SEARCH ALL\r\n".to_vec()),
        Just(b"g LIST \"\" * RETURN (SPECIAL-USE)\r\nh IDLE\r\nDONE\r\n".to_vec()),
        Just(b"{".to_vec()),
        Just(b"\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(words, 0..16).prop_map(|words| words.concat())
}

#[test]
fn chunking_changes_nothing_and_nothing_panics() {
    let home = Home::new();
    let hear = |talk: &[u8], chunk| converse(&mut open(&home, false), talk, chunk, |credentials| home.login(credentials));
    proptest!(ProptestConfig::with_cases(48), |(talk in any_talk(), chunk in 1usize..40)| {
        prop_assert_eq!(hear(&talk, chunk), hear(&talk, usize::MAX));
    });
}

/// Commands as programs send them; every line of the answers must be IMAP to somebody else's parser too.
const TALK: &str = "a LOGIN mum secret\r\nb LIST \"\" *\r\nc LSUB \"\" *\r\nd STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)\r\n\
    e APPEND INBOX (\\Seen $label1) \"17-Jul-1996 02:44:25 -0700\" {51+}\r\nFrom: A <a@b.c>\r\nSubject: \"x\" {3}\r\n\r\nbody text\r\n\r\n\r\n\
    f SELECT INBOX\r\ng FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)\r\nh FETCH 1 FULL\r\n\
    i FETCH 1 (BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)] BODY.PEEK[TEXT]<0.4>)\r\nj SEARCH ALL\r\nk UID SEARCH UNSEEN\r\n\
    l STORE 1 +FLAGS (\\Deleted)\r\nm UID COPY 1 Archive\r\nn EXPUNGE\r\no CREATE Work/2026\r\np NOOP\r\nq BOGUS\r\nr LOGOUT\r\n";

#[test]
fn what_is_answered_is_imap_to_another_parser_too() {
    use imap_codec::ResponseCodec;
    use imap_codec::decode::Decoder as _;

    let home = Home::new();
    let (said, _) = converse(&mut open(&home, false), TALK.as_bytes(), usize::MAX, |credentials| home.login(credentials));
    // The greeting is a grammar of its own.
    let end = said.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut rest = &said[end..];
    let mut responses = 0;
    while !rest.is_empty() {
        match ResponseCodec::default().decode(rest) {
            Ok((after, _)) => rest = after,
            Err(error) => panic!("{error:?} at {}", String::from_utf8_lossy(&rest[..rest.len().min(300)])),
        }
        responses += 1;
    }
    assert!(responses > 40, "{responses} responses:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn what_another_parser_takes_for_a_command_is_one_here_too() {
    use imap_codec::CommandCodec;
    use imap_codec::decode::Decoder as _;

    for line in [
        "a CAPABILITY",
        "a NOOP",
        "a LOGOUT",
        "a STARTTLS",
        "a LOGIN mum secret",
        "a LOGIN \"m u\" \"s\\\"x\"",
        "a AUTHENTICATE PLAIN",
        "a SELECT INBOX",
        "a SELECT \"a b\"",
        "a EXAMINE inbox",
        "a CREATE x/y",
        "a DELETE x",
        "a RENAME x y",
        "a SUBSCRIBE x",
        "a UNSUBSCRIBE x",
        "a LIST \"\" *",
        "a LIST \"\" %",
        "a LSUB \"\" \"*\"",
        "a STATUS x (MESSAGES UNSEEN)",
        "a CHECK",
        "a CLOSE",
        "a EXPUNGE",
        "a UID EXPUNGE 1:3",
        "a SEARCH ALL",
        "a SEARCH 1:* NOT DELETED",
        "a SEARCH OR FROM x (SEEN SINCE 1-Feb-1994)",
        "a SEARCH CHARSET UTF-8 TEXT x",
        "a FETCH 1 FAST",
        "a FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        "a FETCH 1 BODY.PEEK[1.2.MIME]<0.100>",
        "a UID FETCH 1:* (UID FLAGS)",
        "a STORE 2:4 +FLAGS (\\Deleted)",
        "a STORE 1 FLAGS.SILENT ()",
        "a COPY 2:4 MEETING",
        "a UID MOVE 42:69 foo",
        "a IDLE",
        "a ENABLE CONDSTORE",
        "a ID NIL",
        "a ID (\"name\" \"x\")",
        "a NAMESPACE",
        "a UNSELECT",
        "a FETCH 1 (FLAGS) (CHANGEDSINCE 12)",
    ] {
        assert!(CommandCodec::default().decode(format!("{line}\r\n").as_bytes()).is_ok(), "the oracle does not know {line}");
        assert!(kith_imap::command::parse(line.as_bytes()).is_ok(), "{line}");
    }
}
