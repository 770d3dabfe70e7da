//! Any bytes from somebody who has logged in: nothing panics, and how the bytes are cut changes nothing.
#![no_main]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../tests/submission/desk.rs"]
mod desk;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../../../connection/tests/support/home.rs"]
mod home;

use std::sync::LazyLock;

use kith_smtp::{Session, Transport};

static HOME: LazyLock<home::Home> = LazyLock::new(home::Home::new);

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (chunk, bytes) = input;
    let talk = [b"EHLO x\r\nAUTH PLAIN AG11bQBzZWNyZXQ=\r\nMAIL FROM:<mum@kith.alt>\r\nRCPT TO:<dad@kith.alt>\r\n", bytes].concat();
    let hear = |chunk| {
        let desk = desk::Desk::new(&HOME);
        let transport = Transport { encrypted: true, can_start_tls: false, loopback: false };
        let mut session = Session::new(HOME.store.clone(), desk.clone(), transport);
        let heard = dialogue::converse(&mut session, &talk, chunk, |credentials| HOME.login(credentials));
        (heard, desk.mails())
    };
    assert_eq!(hear(usize::from(chunk) + 1), hear(usize::MAX));
});
