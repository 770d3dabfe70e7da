//! Conversations with the POP3 session, each for one rule, in `dialogues/`; and any bytes whatever.

use std::io::Write;
use std::path::Path;

use kith_connection::{Credentials, LoginRefusal};
use kith_pop3::{Session, Transport};
use kith_store::account::Account;
use kith_store::folder::{Flags, Uid};
use kith_store::mailbox::Filing;
use proptest::prelude::*;

use crate::dialogue::{Scene, converse, play_all};
use crate::home::Home;

/// What lies in mum's inbox at the start of each conversation.
const MAILS: [&[u8]; 3] = [
    b"From: dad@kith.alt\r\nSubject: dots\r\n\r\n.\r\n..\r\n.text\r\nend\r\n",
    b"Subject: no line end\r\n\r\nlast",
    b"Subject: large\r\n\r\n",
];

pub(crate) struct Inbox<'a> {
    home: &'a Home,
    remote: bool,
}

impl<'a> Inbox<'a> {
    pub(crate) fn new(home: &'a Home) -> Self {
        let inbox = home.store.folder_by_name(home.mum.id, "INBOX").unwrap().unwrap();
        home.store.remove(home.mum.id, inbox.id, vec![(Uid(1), Uid(u32::MAX))]).unwrap();
        for mail in MAILS {
            file(home, mail);
        }
        Self { home, remote: false }
    }

    fn open(&self) -> Session {
        Session::new(self.home.store.clone(), Transport { encrypted: false, can_start_tls: true, loopback: !self.remote })
    }

    /// Says this to a new session.
    fn say(&self, talk: &str) -> String {
        let (said, _) = converse(&mut self.open(), talk.as_bytes(), usize::MAX, |credentials| self.home.login(credentials));
        String::from_utf8(said).unwrap()
    }
}

fn file(home: &Home, mail: &[u8]) {
    let mut stage = home.store.stage().unwrap();
    stage.write_all(mail).unwrap();
    let filing = Filing { blob: stage.finish().unwrap(), flags: Flags::default(), internal_date: 0, internal_zone: 0 };
    let inbox = home.store.folder_by_name(home.mum.id, "INBOX").unwrap().unwrap();
    home.store.file(home.mum.id, inbox.id, vec![filing]).unwrap();
}

impl Scene for Inbox<'_> {
    type Session = Session;

    fn session(&mut self, remote: bool) -> Session {
        self.remote = remote;
        self.open()
    }

    fn login(&self, credentials: &Credentials) -> Result<Account, LoginRefusal> {
        self.home.login(credentials)
    }

    /// What is left in the inbox.
    fn mails(&self) -> Vec<Vec<u8>> {
        let store = &self.home.store;
        let inbox = store.folder_by_name(self.home.mum.id, "INBOX").unwrap().unwrap();
        let messages = store.messages(self.home.mum.id, inbox.id, Uid(1), Uid(u32::MAX), 100).unwrap();
        messages.iter().map(|message| store.blob_bytes(&message.hash, 1 << 20).unwrap()).collect()
    }
}

const LOGIN: &str = "USER mum\r\nPASS secret\r\n";

#[test]
fn conversations_go_as_written() {
    let home = Home::new();
    play_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues"), || Inbox::new(&home));
}

#[test]
fn two_sessions_do_not_disturb_each_other() {
    let home = Home::new();
    let inbox = Inbox::new(&home);
    let (mut first, login) = (inbox.open(), |credentials: &Credentials| inbox.home.login(credentials));
    converse(&mut first, format!("{LOGIN}DELE 2\r\n").as_bytes(), usize::MAX, login);
    let names = inbox.say(&format!("{LOGIN}UIDL\r\n"));
    assert_eq!(names.lines().filter(|line| line.contains('.') && line.len() > 1 && !line.starts_with('+')).count(), 3, "{names}");
    assert!(inbox.say(&format!("{LOGIN}DELE 1\r\nQUIT\r\n")).ends_with("+OK Goodbye\r\n"));
    let (said, _) = converse(&mut first, b"STAT\r\nRETR 1\r\nRETR 3\r\nQUIT\r\n", usize::MAX, login);
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("+OK 2 ") && said.ends_with("+OK Goodbye\r\n"), "{said}");
    assert_eq!(inbox.mails(), [MAILS[2]]);
    let later = inbox.say(&format!("{LOGIN}UIDL 1\r\n"));
    let name = later.lines().last().unwrap().strip_prefix("+OK 1 ").unwrap();
    assert!(names.contains(&format!("3 {name}\r\n")), "a name is the same in every session: {names} {later}");
}

#[test]
fn names_survive_a_restart() {
    let mut home = Home::new();
    let names = Inbox::new(&home).say(&format!("{LOGIN}UIDL\r\n"));
    home.reopen();
    let session = Session::new(home.store.clone(), Transport { encrypted: true, can_start_tls: false, loopback: true });
    let (said, _) =
        converse(&mut { session }, format!("{LOGIN}UIDL\r\n").as_bytes(), usize::MAX, |credentials| home.login(credentials));
    assert_eq!(String::from_utf8(said).unwrap(), names);
}

#[test]
fn without_quit_nothing_is_deleted() {
    let home = Home::new();
    let inbox = Inbox::new(&home);
    inbox.say(&format!("{LOGIN}DELE 1\r\nDELE 2\r\nDELE 3\r\n"));
    assert_eq!(inbox.mails().len(), 3);
}

#[test]
fn nobody_sees_another_ones_mail() {
    let home = Home::new();
    let inbox = Inbox::new(&home);
    assert!(inbox.say("USER dad\r\nPASS hidden\r\nSTAT\r\nRETR 1\r\n").ends_with("+OK 0 0\r\n-ERR There is no such message\r\n"));
}

#[test]
fn a_large_mail_streams_byte_for_byte() {
    let home = Home::new();
    let inbox = Inbox::new(&home);
    let large: Vec<u8> =
        (0..40_000u32).flat_map(|line| format!("{}{line}\r\n", if line % 3 == 0 { "." } else { "" }).into_bytes()).collect();
    file(&home, &large);
    let said = inbox.say(&format!("{LOGIN}RETR 4\r\n"));
    let start = said.find(" bytes\r\n").unwrap();
    let wire = &said[said[start + 1..].find(" bytes\r\n").unwrap() + start + 1 + " bytes\r\n".len()..];
    let body: String =
        wire.strip_suffix(".\r\n").unwrap().split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
    assert!(body.as_bytes() == large, "the mail differs");
}

fn any_talk() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just(b"USER mum\r\nPASS secret\r\n".to_vec()),
        Just(b"AUTH PLAIN\r\n".to_vec()),
        Just(b"STAT\r\nLIST\r\nUIDL\r\n".to_vec()),
        "(RETR|DELE|LIST|UIDL) [0-4]\r\n".prop_map(String::into_bytes),
        "TOP [0-4] [0-4]\r\n".prop_map(String::into_bytes),
        Just(b"RSET\r\nNOOP\r\nCAPA\r\n".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(words, 0..20).prop_map(|words| words.concat())
}

#[test]
fn chunking_changes_nothing_and_nothing_panics() {
    let home = Home::new();
    let inbox = Inbox::new(&home);
    let hear = |talk: &[u8], chunk| converse(&mut inbox.open(), talk, chunk, |credentials| inbox.home.login(credentials));
    proptest!(ProptestConfig::with_cases(64), |(talk in any_talk(), chunk in 1usize..40)| {
        prop_assert_eq!(hear(&talk, chunk), hear(&talk, usize::MAX));
    });
}
