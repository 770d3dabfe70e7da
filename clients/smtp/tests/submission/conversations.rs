//! Conversations with the submission session, each for one rule, in `dialogues/`; and any bytes whatever.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use kith_connection::{Credentials, LoginRefusal};
use kith_protocol::ids::AccountId;
use kith_smtp::{Session, Transport};
use kith_store::account::Account;
use proptest::prelude::*;

use crate::desk::Desk;
use crate::dialogue::{Scene, converse, play_all};
use crate::home::Home;

static HOME: LazyLock<Home> = LazyLock::new(Home::new);

struct Submission(Arc<Desk>);

impl Submission {
    fn new() -> Self {
        Self(Desk::new(&HOME))
    }
}

impl Scene for Submission {
    type Session = Session;

    fn session(&mut self, remote: bool) -> Session {
        let desk: Arc<Desk> = Arc::clone(&self.0);
        Session::new(HOME.store.clone(), desk, Transport { encrypted: false, can_start_tls: true, loopback: !remote })
    }

    fn login(&self, credentials: &Credentials) -> Result<Account, LoginRefusal> {
        HOME.login(credentials)
    }

    fn mails(&self) -> Vec<Vec<u8>> {
        self.0.mails()
    }
}

/// What the session says to a logged-in client's bytes.
fn say(scene: &mut Submission, talk: &[u8], chunk: usize) -> (String, bool) {
    let mut session = scene.session(false);
    let (said, ended) = converse(&mut session, talk, chunk, |credentials| HOME.login(credentials));
    (String::from_utf8(said).unwrap(), ended)
}

const HELLO: &str = "EHLO x\r\nAUTH PLAIN AG11bQBzZWNyZXQ=\r\nMAIL FROM:<mum@kith.alt>";

#[test]
fn conversations_go_as_written() {
    play_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues"), Submission::new);
}

#[test]
fn what_dsn_asks_for_reaches_the_queue() {
    let mut scene = Submission::new();
    let talk = format!(
        "{HELLO} RET=FULL ENVID=QQ+2B314\r\nRCPT TO:<dad@kith.alt> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;dad+2Bx@kith.alt\r\nRCPT TO:<Dad@Kith.Alt>\r\n\
         RCPT TO:<mum@kith.alt>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n"
    );
    say(&mut scene, talk.as_bytes(), usize::MAX);
    let [mail] = scene.0.taken().try_into().unwrap();
    assert_eq!((mail.envid.as_deref(), mail.ret_full, mail.reverse_path.as_str()), (Some("QQ+314"), true, "mum@kith.alt"));
    let [dad, mum] = mail.recipients.try_into().unwrap();
    assert_eq!(dad.orcpt.as_deref(), Some("rfc822;dad+x@kith.alt"));
    let notify = dad.notify.unwrap();
    assert_eq!((notify.success, notify.failure, notify.delay), (true, false, true));
    assert_eq!((mum.notify, mum.orcpt, mail.account.id == AccountId(0)), (None, None, false));
}

#[test]
fn a_mail_arrives_byte_for_byte() {
    let mut body: Vec<u8> = (0..=255u8).filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    body.extend("\r\nvery long ".bytes().chain([b'x'; 5000]).chain("\r\n.\r\n..\r\n.x\r\n\r\n".bytes()));
    let mail = [b"From: mum@kith.alt\r\nDate: x\r\nMessage-ID: <a>\r\n\r\n".as_slice(), &body].concat();
    let mut scene = Submission::new();
    let mut by_data = format!("{HELLO}\r\nRCPT TO:<dad@kith.alt>\r\nDATA\r\n").into_bytes();
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        by_data.extend(line.first().filter(|first| **first == b'.'));
        by_data.extend(line);
    }
    by_data.extend(b".\r\n");
    let mut by_chunks = format!("{HELLO}\r\nRCPT TO:<dad@kith.alt>\r\n").into_bytes();
    for chunk in mail.chunks(1000) {
        by_chunks.extend([format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat());
    }
    by_chunks.extend(b"BDAT 0 LAST\r\n");
    for (talk, chunk) in [(&by_data, 7), (&by_chunks, 7), (&by_data, 8192), (&by_chunks, 8192)] {
        let (said, _) = say(&mut scene, talk, chunk);
        assert!(said.contains("250 2.6.0"), "{said}");
        assert_eq!(scene.mails().last(), Some(&mail));
    }
}

#[test]
fn what_was_answered_250_is_there_after_a_restart() {
    let mut home = Home::new();
    let mut session =
        Session::new(home.store.clone(), Desk::new(&home), Transport { encrypted: true, can_start_tls: false, loopback: false });
    let talk = format!("{HELLO}\r\nRCPT TO:<dad@kith.alt>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n");
    let (said, _) = converse(&mut session, talk.as_bytes(), usize::MAX, |credentials| home.login(credentials));
    assert!(String::from_utf8(said).unwrap().contains("250 2.6.0"));
    drop(session);
    home.reopen();
    assert_eq!(home.store.folder_by_name(home.dad.id, "INBOX").unwrap().unwrap().messages, 1);
}

#[test]
fn a_mail_that_turns_out_too_large_is_refused_and_the_session_goes_on() {
    let mut scene = Submission::new();
    let line = format!("{}\r\n", "x".repeat(998));
    let mail = format!("Subject: x\r\n\r\n{}", line.repeat(301));
    let talk = format!("{HELLO}\r\nRCPT TO:<dad@kith.alt>\r\nDATA\r\n{mail}.\r\nNOOP\r\n");
    let (said, ended) = say(&mut scene, talk.as_bytes(), 4096);
    assert!(
        said.contains("\r\n552 5.3.4 The mail is larger than the limit of 300000 bytes")
            && said.ends_with("250 2.0.0 Here I am\r\n")
            && !ended,
        "{said}"
    );
    let endless = format!("X: {}\r\n", "y".repeat(990)).repeat(280);
    let talk = format!("{HELLO}\r\nRCPT TO:<dad@kith.alt>\r\nDATA\r\n{endless}\r\n.\r\nNOOP\r\n");
    let (said, _) = say(&mut scene, talk.as_bytes(), 4096);
    assert!(said.contains("\r\n552 5.3.4 the header") && said.ends_with("250 2.0.0 Here I am\r\n"), "{said}");
    assert!(scene.mails().is_empty());
}

#[test]
fn recipients_have_a_limit() {
    let mut scene = Submission::new();
    let same = "RCPT TO:<dad@kith.alt>\r\n".repeat(1500);
    let (said, ended) = say(&mut scene, format!("{HELLO}\r\n{same}").as_bytes(), 9999);
    assert!(!ended && !said.contains("\r\n452 "), "the same one again and again is one");
    let many: String = (1000..=2000).map(|number| format!("RCPT TO:<member{number}@kith.alt>\r\n")).collect();
    let (said, ended) = say(&mut scene, format!("{HELLO}\r\n{many}").as_bytes(), 9999);
    assert_eq!((said.matches("\r\n250 2.1.5 ").count(), said.matches("\r\n452 4.5.3 ").count(), ended), (1000, 1, false));
}

fn any_talk() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just(b"EHLO x\r\nAUTH PLAIN AG11bQBzZWNyZXQ=\r\nMAIL FROM:<mum@kith.alt>\r\n".to_vec()),
        Just(b"AUTH PLAIN AG11bQBzZWNyZXQ=\r\n".to_vec()),
        Just(b"MAIL FROM:<mum@kith.alt>\r\n".to_vec()),
        Just(b"RCPT TO:<dad@kith.alt>\r\n".to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"BDAT 5\r\n".to_vec()),
        Just(b"BDAT 3 LAST\r\n".to_vec()),
        Just(b".\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"AUTH LOGIN\r\n".to_vec()),
        Just(b"RSET\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        "[A-Z]{1,4}: [a-z@.]{0,9}\r\n".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(words, 0..20).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunking_changes_nothing_and_nothing_panics(talk in any_talk(), chunk in 1usize..40) {
        let hear = |chunk| {
            let mut scene = Submission::new();
            let mut session = scene.session(false);
            let heard = converse(&mut session, &talk, chunk, |credentials| HOME.login(credentials));
            (heard, scene.mails())
        };
        prop_assert_eq!(hear(chunk), hear(usize::MAX));
    }
}
