//! Servers that hang, lie about sizes and send junk: bounded, and told by their type.

use std::time::{Duration, Instant};

use kith_gateway::fetch::imap::{self, Listed, Position};
use kith_gateway::fetch::{Account, Afterwards, Begin, FetchError, Login, Protocol, Security, pop3};
use kith_gateway::secret::SecretSource;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_millis(700);

/// A server that answers what begins with a word by a text (`{tag}` is the command's), and then says nothing more; the first text is the greeting.
async fn server(script: &[(&'static str, Vec<u8>)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = script.to_vec();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let mut heard = Vec::new();
                let mut buffer = [0; 4096];
                for (wanted, answer) in script {
                    let mut tag = String::new();
                    while !wanted.is_empty() {
                        if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                            let line = String::from_utf8(heard.drain(..=end).collect::<Vec<u8>>()).unwrap();
                            if line.contains(wanted) {
                                tag = line.split(' ').next().unwrap().to_owned();
                                break;
                            }
                            continue;
                        }
                        match stream.read(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(count) => heard.extend_from_slice(&buffer[..count]),
                        }
                    }
                    let answer = match std::str::from_utf8(&answer) {
                        Ok(text) => text.replace("{tag}", &tag).into_bytes(),
                        Err(_) => answer,
                    };
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_secs(20)).await;
            });
        }
    });
    port
}

fn account(protocol: Protocol, port: u16) -> Account {
    Account {
        protocol,
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        security: Security::None,
        user: "anna".to_owned(),
        login: Login::Password,
        secret: SecretSource::Command(["echo", "secret"].map(str::to_owned).to_vec()),
        folders: Vec::new(),
        afterwards: Afterwards::Delete,
        begin: Begin::All,
        size_limit: 10_000,
        authority: None,
    }
}

async fn connect(port: u16) -> Result<imap::Session, FetchError> {
    imap::Session::connect_within(&account(Protocol::Imap, port), PATIENCE, PATIENCE).await
}

const CAPABILITY: &str = "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS\r\n{tag} OK\r\n";

fn logged_in(rest: &[(&'static str, &[u8])]) -> Vec<(&'static str, Vec<u8>)> {
    let mut script = vec![
        ("", b"* OK hi\r\n".to_vec()),
        ("CAPABILITY", CAPABILITY.into()),
        ("AUTHENTICATE PLAIN AGFubmEAc2VjcmV0", b"{tag} OK\r\n".to_vec()),
        ("CAPABILITY", CAPABILITY.into()),
    ];
    script.extend(rest.iter().map(|(wanted, answer)| (*wanted, answer.to_vec())));
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_hang_or_send_lines_without_end_are_left() {
    let start = Instant::now();
    let silent = server(&[]).await;
    assert!(matches!(connect(silent).await, Err(FetchError::Silent(_))));
    let endless = server(&[("", vec![b'x'; 10 << 20])]).await;
    assert!(matches!(connect(endless).await, Err(FetchError::Nonsense { .. })));
    let junk = server(&[("", b"\xff\xfe\0\r\n".to_vec())]).await;
    assert!(matches!(connect(junk).await, Err(FetchError::Nonsense { .. })));
    let busy = server(&[("", b"* BYE come later\r\n".to_vec())]).await;
    assert!(matches!(connect(busy).await, Err(FetchError::Later { .. })));
    let hung = server(&[("", b"* OK hi\r\n".to_vec()), ("CAPABILITY", b"* CAPABILITY X\r\n".to_vec())]).await;
    assert!(matches!(connect(hung).await, Err(FetchError::Silent(_))));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_that_are_lies_are_bounded() {
    let port = server(&logged_in(&[
        ("SELECT", b"* OK [UIDVALIDITY 1]\r\n{tag} OK\r\n"),
        ("UID FETCH 1:*", b"* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 20000)\r\n{tag} OK\r\n"),
        ("UID FETCH 1 ", b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\nxxxx"),
    ]))
    .await;
    let mut session = connect(port).await.unwrap();
    let position = session.open("INBOX", None).await.unwrap().position;
    let listed = session.list(&position).await.unwrap();
    assert_eq!(listed.len(), 2);
    let mut sink = Vec::new();
    assert!(matches!(session.body(&listed[1], &mut sink).await, Err(FetchError::TooLarge { size: 20_000 })));
    assert!(matches!(session.body(&listed[0], &mut sink).await, Err(FetchError::TooLarge { size: 99_999_999_999 })));
    assert!(sink.is_empty());
    // A literal that nobody asked for, larger than the memory.
    let port = server(&logged_in(&[("SELECT", b"* OK {88888888888}\r\nxxxx")])).await;
    let mut session = connect(port).await.unwrap();
    assert!(matches!(session.open("INBOX", None).await, Err(FetchError::Nonsense { .. })));
    // A mail that stops in its middle.
    let port = server(&logged_in(&[("UID FETCH", b"* 1 FETCH (UID 1 BODY[] {100}\r\nxxxx")])).await;
    let mut session = connect(port).await.unwrap();
    let mail = Listed { uid: 1, size: 100, seen: false };
    assert!(matches!(session.body(&mail, &mut Vec::new()).await, Err(FetchError::Silent(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_is_too_long_and_old_mails_do_not_come_again() {
    let mut many = String::new();
    for number in 1..120_000 {
        many += &format!("* {number} FETCH (UID {} RFC822.SIZE 5)\r\n", 200_000 - number);
    }
    many += "{tag} OK\r\n";
    let port = server(&logged_in(&[
        ("UID FETCH 5:*", many.as_bytes()),
        ("UID FETCH 200000:*", b"* 1 FETCH (UID 199999)\r\n{tag} OK\r\n"),
    ]))
    .await;
    let mut session = connect(port).await.unwrap();
    let position = Position { folder: "INBOX".into(), uid_validity: 1, last_uid: 4, owed: Vec::new() };
    let listed = session.list(&position).await.unwrap();
    assert_eq!((listed.len(), listed[0].uid), (imap::LISTED_MAX, 80_001), "the first ones by UID, whatever their order");
    let behind = Position { last_uid: 199_999, ..position };
    assert!(session.list(&behind).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_by_xoauth2_and_its_refusal_is_typed() {
    let response = "AUTHENTICATE XOAUTH2 dXNlcj1hbm5hAWF1dGg9QmVhcmVyIHNlY3JldAEB";
    let script = vec![
        ("", b"* OK hi\r\n".to_vec()),
        ("CAPABILITY", CAPABILITY.into()),
        (response, b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n".to_vec()),
        ("\r\n", b"k2 NO [AUTHENTICATIONFAILED] expired\r\n".to_vec()),
    ];
    let port = server(&script).await;
    let account = Account { login: Login::Xoauth2, ..account(Protocol::Imap, port) };
    let failed = imap::Session::connect_within(&account, PATIENCE, PATIENCE).await.unwrap_err();
    assert!(matches!(&failed, FetchError::Credentials { said, .. } if said.contains("expired")), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_is_not_one_that_knows_us_not() {
    for (said, is_for_now) in
        [("[LIMIT] enough", true), ("[ALERT] Too many simultaneous connections. (Failure)", true), ("no", false)]
    {
        let mut script = logged_in(&[]);
        script[2].1 = format!("{{tag}} NO {said}\r\n").into_bytes();
        let failed = connect(server(&script).await).await.unwrap_err();
        assert_eq!(matches!(failed, FetchError::Later { .. }), is_for_now, "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_trickles_is_one_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(b"*").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let start = Instant::now();
    assert!(matches!(connect(port).await, Err(FetchError::Silent(_))));
    assert!(start.elapsed() < PATIENCE * 3, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_encryption_no_password_goes_out() {
    let plain = server(&[("", b"* OK hi\r\n".to_vec()), ("STARTTLS", b"{tag} BAD what\r\n".to_vec())]).await;
    let starttls = Account { security: Security::Starttls, ..account(Protocol::Imap, plain) };
    let failed = imap::Session::connect_within(&starttls, PATIENCE, PATIENCE).await.unwrap_err();
    assert!(matches!(failed, FetchError::NoTls(_)), "{failed:?}");
    // Words that somebody in between put behind the consent.
    let injected =
        server(&[("", b"* OK hi\r\n".to_vec()), ("STARTTLS", b"{tag} OK\r\n* CAPABILITY IMAP4rev1\r\n".to_vec())]).await;
    let starttls = Account { security: Security::Starttls, ..account(Protocol::Imap, injected) };
    let failed = imap::Session::connect_within(&starttls, PATIENCE, PATIENCE).await.unwrap_err();
    assert!(matches!(failed, FetchError::Nonsense { .. }), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_idle_is_asked_now_and_then() {
    let port = server(&logged_in(&[("NOOP", b"{tag} OK\r\n"), ("NOOP", b"* 3 EXISTS\r\n{tag} OK\r\n")])).await;
    let mut session = connect(port).await.unwrap();
    let start = Instant::now();
    assert_eq!(session.wait(Duration::from_secs(10)).await.unwrap(), imap::Woken::News);
    assert!(start.elapsed() >= PATIENCE * 2, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pop3_servers_that_lie_are_bounded_too() {
    let begin: Vec<(&'static str, Vec<u8>)> = vec![
        ("", b"+OK\r\n".to_vec()),
        ("CAPA", b"-ERR\r\n".to_vec()),
        ("USER", b"+OK\r\n".to_vec()),
        ("PASS", b"+OK\r\n".to_vec()),
    ];
    let with = |rest: Vec<(&'static str, Vec<u8>)>| [begin.clone(), rest].concat();
    let connect = |port| async move { pop3::Session::connect_within(&account(Protocol::Pop3, port), PATIENCE).await };
    let locked = [&begin[..3], &[("PASS", b"-ERR [IN-USE] locked\r\n".to_vec())]].concat();
    assert!(matches!(connect(server(&locked).await).await, Err(FetchError::Later { .. })));
    let endless = "1 5\r\n".repeat(150_000).into_bytes();
    let port = server(&with(vec![("LIST", [b"+OK\r\n".to_vec(), endless].concat())])).await;
    let listed = connect(port).await.unwrap().list(&pop3::Position::default()).await;
    assert!(matches!(listed, Err(FetchError::Nonsense { .. })), "{listed:?}");
    let port = server(&with(vec![
        ("LIST", b"+OK\r\n1 5\r\n.\r\n".to_vec()),
        ("UIDL", b"+OK\r\n1 abc\r\n.\r\n".to_vec()),
        ("RETR", [b"+OK\r\n".to_vec(), vec![b'x'; 100_000]].concat()),
    ]))
    .await;
    let mut session = connect(port).await.unwrap();
    let listing = session.list(&pop3::Position::default()).await.unwrap();
    let mut sink = Vec::new();
    assert!(matches!(session.body(&listing.new[0], &mut sink).await, Err(FetchError::TooLarge { .. })));
    assert!(sink.len() <= 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_server_makes_it_panic_or_wait_for_ever(junk in proptest::collection::vec(any::<u8>(), 0..300), text in "[* +0-9A-Z()\\\\\"{}\\[\\]\r\n]{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for junk in [junk.clone(), text.clone().into_bytes()] {
                let script = logged_in(&[("SELECT", &junk), ("FETCH", &junk)]);
                let short = Duration::from_millis(50);
                let port = server(&script).await;
                if let Ok(mut session) = imap::Session::connect_within(&account(Protocol::Imap, port), short * 4, short).await {
                    let _opened = session.open("INBOX", None).await;
                    let position = Position { folder: String::new(), uid_validity: 1, last_uid: 0, owed: Vec::new() };
                    let _listed = session.list(&position).await;
                }
                let port = server(&[("", junk)]).await;
                let _refused = pop3::Session::connect_within(&account(Protocol::Pop3, port), short).await.is_err();
            }
        });
    }
}
