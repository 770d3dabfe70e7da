//! Conversations with the MX session, each for one rule, in `mx_dialogues/`; and any bytes whatever.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use kith_connection::{Credentials, LoginRefusal, Session as _};
use kith_smtp::{Mx, Session, Transport};
use kith_store::account::Account;
use proptest::prelude::*;

use crate::desk::MxDesk;
use crate::dialogue::{Scene, converse, play_all};
use crate::home::Home;

static HOME: LazyLock<Home> = LazyLock::new(Home::new);

struct Outside(Arc<MxDesk>);

impl Outside {
    fn new() -> Self {
        Self(MxDesk::new(&HOME))
    }

    fn session_from(&self, ip: IpAddr) -> Session<Mx> {
        let desk: Arc<MxDesk> = Arc::clone(&self.0);
        let transport = Transport { encrypted: false, can_start_tls: true, loopback: false };
        Session::for_mx(HOME.store.clone(), desk, transport, ip)
    }
}

impl Scene for Outside {
    type Session = Session<Mx>;

    fn session(&mut self, _remote: bool) -> Session<Mx> {
        self.session_from(IpAddr::from([192, 0, 2, 7]))
    }

    fn login(&self, _credentials: &Credentials) -> Result<Account, LoginRefusal> {
        panic!("nobody logs in here");
    }

    fn mails(&self) -> Vec<Vec<u8>> {
        self.0.mails()
    }
}

fn say(scene: &mut Outside, talk: &[u8], chunk: usize) -> (String, bool) {
    let mut session = scene.session(false);
    // What comes behind EHLO waits for its answer.
    let hello = if talk.starts_with(HELLO.as_bytes()) { HELLO.len() } else { 0 };
    let (hello, rest) = talk.split_at(hello);
    let (mut said, _) = converse(&mut session, hello, chunk, |_| Err(LoginRefusal::Wrong));
    let (more, ended) = converse(&mut session, rest, chunk, |_| Err(LoginRefusal::Wrong));
    said.extend(more);
    (String::from_utf8(said).unwrap(), ended)
}

const HELLO: &str = "EHLO a.example\r\n";

#[test]
fn conversations_go_as_written() {
    play_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mx_dialogues"), Outside::new);
}

#[test]
fn whoever_is_not_served_hears_that_alone() {
    let scene = Outside::new();
    let mut session = scene.session_from("::ffff:203.0.113.9".parse().unwrap());
    let mut output = bytes::BytesMut::new();
    session.greet(&mut output);
    assert_eq!(&output[..], b"554 5.7.1 Not from there\r\n");
    let (said, ended) = converse(&mut session, b"EHLO x\r\nMAIL FROM:<>\r\n", 99, |_| Err(LoginRefusal::Wrong));
    assert_eq!((said.as_slice(), ended), (&b""[..], true));
}

#[test]
fn the_envelope_reaches_the_policy() {
    let mut scene = Outside::new();
    let talk = format!(
        "{HELLO}MAIL FROM:<Anna@Example.org> SIZE=10 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<Mum@kith.test>\r\nRCPT TO:<mum@KITH.test>\r\n\
         RCPT TO:<dad@kith.test>\r\nBDAT 17 LAST\r\nSubject: x\r\n\r\nhi\n"
    );
    let (said, _) = say(&mut scene, talk.as_bytes(), 9999);
    assert!(said.contains("550 5.5.2"), "a lone LF at the end is refused: {said}");
    let talk = talk.replace("BDAT 17", "BDAT 18").replace("hi\n", "hi\r\n");
    let (said, _) = say(&mut scene, talk.as_bytes(), 9999);
    assert!(said.contains("250 2.6.0 Mail accepted as mail1"), "{said}");
    let [mail] = scene.0.taken().try_into().unwrap();
    assert_eq!((mail.reverse_path.as_str(), mail.smtputf8, mail.recipients.len()), ("Anna@Example.org", true, 2));
    assert_eq!((mail.peer.ip, mail.peer.helo.as_str()), (IpAddr::from([192, 0, 2, 7]), "a.example"));
    assert_eq!((mail.peer.extended, mail.peer.encrypted, mail.recipients[0].typed.as_str()), (true, false, "Mum@kith.test"));
    let [bytes] = scene.mails().try_into().unwrap();
    assert_eq!(&bytes[mail.received_bytes..], b"Subject: x\r\n\r\nhi\r\n");
    assert!(bytes.starts_with(b"Received: from a.example ([192.0.2.7])\r\n\tby mx.kith.test with UTF8SMTP id "));
    assert!(!String::from_utf8_lossy(&bytes).contains("for <"), "two recipients must not learn of each other");
}

#[test]
fn a_hundred_thousand_recipients_cost_little() {
    let mut scene = Outside::new();
    let many: String = (0..100_000).map(|number| format!("RCPT TO:<member{}@kith.test>\r\n", number + 1000)).collect();
    let (said, ended) = say(&mut scene, format!("{HELLO}MAIL FROM:<a@b.example>\r\n{many}").as_bytes(), 9999);
    assert!(ended && said.ends_with("421 4.7.0 Too many recipients by far; goodbye\r\n"));
    assert_eq!((said.matches("\r\n250 2.1.5 ").count(), said.matches("\r\n452 4.5.3 ").count()), (100, 1000));
    assert_eq!(scene.0.asked(), 100);
    // The same ones again and again over many mails end at the limit of mails.
    let again = "MAIL FROM:<a@b.example>\r\nRCPT TO:<mum@kith.test>\r\nRSET\r\n".repeat(1000);
    let (said, ended) = say(&mut scene, format!("{HELLO}{again}").as_bytes(), 9999);
    assert!(ended && said.ends_with("421 4.7.0 100 mails have come this way; connect again for more\r\n"));
}

#[test]
fn who_searches_for_addresses_is_sent_away() {
    let mut scene = Outside::new();
    let names: String = (0..1000).map(|number| format!("RCPT TO:<name{number}@kith.test>\r\n")).collect();
    let (said, ended) = say(&mut scene, format!("{HELLO}MAIL FROM:<a@b.example>\r\n{names}").as_bytes(), 9999);
    assert!(ended && said.ends_with("421 4.7.0 Too many recipients who are not here; goodbye\r\n"), "{said}");
    assert_eq!(scene.0.asked(), 10);
    // Over several mails it counts on.
    let name = "MAIL FROM:<a@b.example>\r\nRCPT TO:<no@kith.test>\r\nRSET\r\n".repeat(20);
    assert!(say(&mut scene, format!("{HELLO}{name}").as_bytes(), 9999).1);
}

#[test]
fn endless_lines_and_headers_fill_nothing() {
    let mut scene = Outside::new();
    let (said, ended) = say(&mut scene, &b"X".repeat(5_000_000), 65_536);
    assert!(said.len() < 4096 && !ended, "{}", said.len());
    let lines = "Y".repeat(3000) + "\r\n";
    let (said, ended) = say(&mut scene, lines.repeat(100).as_bytes(), 9999);
    assert!(ended && said.ends_with("421 4.7.0 Too many commands that make no sense; goodbye\r\n"), "{said}");
    let begin = format!("{HELLO}MAIL FROM:<a@b.example>\r\nRCPT TO:<mum@kith.test>\r\n");
    let endless = format!("X: {}\r\n", "y".repeat(990)).repeat(280);
    let size = endless.len() + 2;
    let (said, _) = say(&mut scene, format!("{begin}BDAT {size} LAST\r\n{endless}\r\nNOOP\r\n").as_bytes(), 4096);
    assert!(said.contains("\r\n552 5.3.4 the header") && said.ends_with("250 2.0.0 Here I am\r\n"), "{said}");
    assert!(scene.mails().is_empty());
}

fn any_talk() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just(b"HELO x\r\n".to_vec()),
        Just(b"MAIL FROM:<>\r\n".to_vec()),
        Just(b"MAIL FROM:<a@b.example>\r\n".to_vec()),
        Just(b"RCPT TO:<dad@kith.test>\r\n".to_vec()),
        Just(b"RCPT TO:<who@kith.test>\r\n".to_vec()),
        Just(b"BDAT 5\r\n".to_vec()),
        Just(b"BDAT 3 LAST\r\n".to_vec()),
        Just(b".\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"RSET\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        "[A-Z]{1,4}: [a-z@.]{0,9}\r\n".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(words, 0..20).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn how_bytes_are_cut_changes_nothing_and_nothing_panics(talk in any_talk(), chunk in 1usize..40) {
        // Commands that must come last in a group are the exception: what comes behind them is seen or not.
        let talk = [b"EHLO x\r\n".to_vec(), talk].concat();
        let hear = |chunk| {
            let scene = Outside::new();
            let mut session = scene.session_from(IpAddr::from([192, 0, 2, 7]));
            let (hello, rest) = talk.split_at(8);
            let login = |_: &Credentials| Err(LoginRefusal::Wrong);
            let mut heard = vec![converse(&mut session, hello, 8, login)];
            if !rest.windows(4).any(|word| word.eq_ignore_ascii_case(b"HELO") || word.eq_ignore_ascii_case(b"DATA")) {
                heard.push(converse(&mut session, rest, chunk, login));
            }
            (heard, scene.0.mails())
        };
        prop_assert_eq!(hear(chunk), hear(usize::MAX));
    }
}
