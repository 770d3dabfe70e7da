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
