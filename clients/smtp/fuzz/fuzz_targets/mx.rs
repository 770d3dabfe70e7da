//! Any bytes from the rest of the world: nothing panics, and how the bytes are cut changes nothing (but for commands that must come last in a group).
#![no_main]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/mx/desk.rs"]
mod desk;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../../connection/tests/support/home.rs"]
mod home;

use std::net::IpAddr;
use std::sync::LazyLock;

use kith_connection::LoginRefusal;
use kith_smtp::{Session, Transport};

static HOME: LazyLock<home::Home> = LazyLock::new(home::Home::new);

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (chunk, bytes) = input;
    let must_be_last = [&b"DATA"[..], b"HELO", b"EHLO", b"STARTTLS"];
    let is_plain = !must_be_last.iter().any(|verb| bytes.windows(verb.len()).any(|window| window.eq_ignore_ascii_case(verb)));
    let hear = |chunk| {
        let desk = desk::MxDesk::new(&HOME);
        let transport = Transport { encrypted: true, can_start_tls: false, loopback: false };
        let mut session = Session::for_mx(HOME.store.clone(), desk.clone(), transport, IpAddr::from([192, 0, 2, 7]));
        let mut heard = dialogue::converse(&mut session, b"EHLO x\r\n", 99, |_| Err(LoginRefusal::Wrong)).0;
        let begin = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<mum@kith.test>\r\n";
        heard.extend(dialogue::converse(&mut session, begin, 99, |_| Err(LoginRefusal::Wrong)).0);
        let (said, ended) = dialogue::converse(&mut session, bytes, chunk, |_| Err(LoginRefusal::Wrong));
        heard.extend(said);
        (heard, ended, desk.mails())
    };
    let whole = hear(usize::MAX);
    if is_plain {
        assert_eq!(hear(usize::from(chunk) + 1), whole);
    }
});
