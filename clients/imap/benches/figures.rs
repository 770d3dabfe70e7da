//! How fast a folder of 10,000 mails is opened, listed, searched, sorted and threaded: `cargo bench -p kith-imap`.
//!
//! Prints figures, asserts nothing: machines are shared and noisy. The mails are of several kinds (plain, quoted-printable, base64, HTML, every
//! tenth with an attachment of 40 KB) and lie on a real disk, in a temporary folder below `TMPDIR`. `KITH_BENCH_MAILDIR=DIR` writes the same
//! mails as a Maildir, for a server to compare with.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and ends at the first surprise")]

#[expect(dead_code, reason = "nobody else lives here, and nothing restarts")]
#[path = "../../connection/tests/support/home.rs"]
mod home;

use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use bytes::BytesMut;
use kith_connection::{Session as _, Step};
use kith_imap::{Link, Session, Shared, Without};
use kith_store::folder::{Flags, Use};
use kith_store::mailbox::Filing;

use crate::home::Home;

const MAILS: u32 = 10_000;
const ATTACHMENT_BYTES: usize = 40_000;
const WORDS: [&str; 16] = [
    "meeting", "invoice", "holiday", "garden", "because", "nothing", "tomorrow", "please", "Grüße", "Straße", "report", "train",
    "window", "letter", "answer", "weather",
];

/// The same mails in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn text(&mut self, words: usize) -> String {
        let mut text = String::new();
        for number in 0..words {
            text.push_str(WORDS[self.next(WORDS.len())]);
            text.push_str(if number % 12 == 11 { "\r\n" } else { " " });
        }
        text
    }
}

fn quoted(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("={byte:02X}") }).collect()
}

fn encoded(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

fn mail(number: u32, numbers: &mut Numbers) -> Vec<u8> {
    let words = 100 + numbers.next(400);
    let text = numbers.text(words);
    let (kind, body) = match number % 4 {
        0 => ("text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit", text.replace(['ü', 'ß'], "x")),
        1 => ("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable", quoted(&text)),
        2 => ("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", encoded(text.as_bytes())),
        _ => (
            "text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            format!("<html><body><p>{text}</p></body></html>\r\n"),
        ),
    };
    let subject = numbers.text(4);
    let head = format!(
        "Received: from somewhere by kith.alt; Fri, 2 Mar 2001 00:00:00 +0000\r\nFrom: Person {} <p{}@example.org>\r\nTo: Mum <mum@kith.alt>\r\n\
         Date: Fri, {} Mar 2001 {:02}:00:00 +0000\r\nSubject: =?utf-8?B?{}?=\r\nMessage-ID: <{number}@example.org>\r\nIn-Reply-To: <{}@example.org>\r\n\
         MIME-Version: 1.0\r\n",
        numbers.next(50),
        numbers.next(50),
        1 + numbers.next(28),
        numbers.next(24),
        base64::engine::general_purpose::STANDARD.encode(subject.trim()),
        numbers.next(number as usize + 1),
    );
    if number % 10 != 9 {
        return format!("{head}Content-Type: {kind}\r\n\r\n{body}").into_bytes();
    }
    let attachment: Vec<u8> = (0..ATTACHMENT_BYTES).map(|_| u8::try_from(numbers.next(256)).unwrap()).collect();
    format!(
        "{head}Content-Type: multipart/mixed; boundary=bound\r\n\r\n--bound\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--bound\r\n\
         Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--bound--\r\n",
        encoded(&attachment)
    )
    .into_bytes()
}

fn fill(home: &Home) -> usize {
    let mut numbers = Numbers(7);
    let mut bytes = 0;
    let maildir = std::env::var_os("KITH_BENCH_MAILDIR").map(|folder| std::path::PathBuf::from(folder).join("cur"));
    if let Some(folder) = &maildir {
        std::fs::create_dir_all(folder).unwrap();
    }
    for start in (0..MAILS).step_by(500) {
        let mut filings = Vec::new();
        for number in start..start + 500 {
            let mail = mail(number, &mut numbers);
            bytes += mail.len();
            if let Some(folder) = &maildir {
                std::fs::write(folder.join(format!("{number:06}.bench:2,")), &mail).unwrap();
            }
            let mut stage = home.store.stage().unwrap();
            stage.write_all(&mail).unwrap();
            let blob = stage.finish().unwrap();
            filings.push(Filing { blob, flags: Flags::default(), internal_date: i64::from(number), internal_zone: 0 });
        }
        let account = home.mum.id;
        home.store
            .write(move |transaction| {
                filings.iter().try_for_each(|filing| transaction.deliver(account, Use::Inbox, filing).map(drop))
            })
            .unwrap();
    }
    bytes
}

/// Sends a command; gives the bytes of the answer.
fn say(home: &Home, session: &mut Session, text: &str) -> usize {
    let mut input = BytesMut::from(format!("a {text}\r\n").as_bytes());
    let mut said = 0;
    loop {
        let mut output = BytesMut::new();
        let step = session.step(&mut input, &mut output);
        said += output.len();
        match step {
            Step::Continue => {}
            Step::Read(_) => return said,
            Step::Login(credentials) => session.login_answered(home.login(&credentials), &mut output),
            Step::StartTls | Step::Close => panic!("{text}"),
        }
    }
}

fn main() {
    let home = Home::new();
    let bytes = fill(&home);
    println!("{MAILS} mails, {} MB", bytes / 1_000_000);
    let link = Link { may_log_in: true, can_start_tls: false };
    let shared = Shared::new(home.store.clone(), Without::default());
    let mut session = Session::new(shared, link, || 1_795_000_000);
    session.greet(&mut BytesMut::new());
    say(&home, &mut session, "LOGIN mum secret");
    for command in [
        "SELECT INBOX",
        "SEARCH TEXT nowhere-to-be-found",
        "SEARCH BODY invoice",
        "SEARCH BODY \"grüße straße\"",
        "SEARCH SUBJECT garden",
        "SEARCH FROM p17@",
        "SEARCH SENTSINCE 20-Mar-2001",
        "SEARCH UNSEEN LARGER 10000",
        "SORT (SUBJECT) UTF-8 ALL",
        "SORT (REVERSE DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "UID FETCH 1:* (FLAGS)",
        "UID FETCH 1:* (FLAGS ENVELOPE)",
        "UID FETCH 1:* (BODYSTRUCTURE)",
        "UID FETCH 1:* (PREVIEW)",
        "UID FETCH 1:* (BODY.PEEK[])",
    ] {
        let mut times: Vec<f64> = Vec::new();
        let mut said = 0;
        for _ in 0..3 {
            let start = Instant::now();
            said = say(&home, &mut session, command);
            times.push(start.elapsed().as_secs_f64() * 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("{command}: {:.0} ms ({:.0} to {:.0}), {said} bytes", times[1], times[0], times[2]);
    }
}
