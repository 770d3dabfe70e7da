//! How fast a folder of 10,000 mails is opened, listed, searched, sorted and threaded: `cargo bench -p kith-imap`.
//!
//! Prints figures, asserts nothing: machines are shared and noisy. The mails are of several kinds (plain, quoted-printable, base64, HTML, every
//! tenth with an attachment of 40 KB) and lie on a real disk, in a temporary folder below `TMPDIR`. `KITH_BENCH_MAILDIR=DIR` writes the same
//! mails as a Maildir, for a server to compare with.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and ends at the first surprise")]

#[expect(dead_code, reason = "nobody else lives here, and nothing restarts")]
#[path = "../../connection/tests/support/home.rs"]
mod home;
#[path = "figures/mails.rs"]
mod mails;

use std::io::Write as _;
use std::time::Instant;

use bytes::BytesMut;
use kith_connection::{Session as _, Step};
use kith_imap::{Link, Session, Shared, Without};
use kith_store::folder::{Flags, Use};
use kith_store::mailbox::Filing;

use crate::home::Home;
use crate::mails::{Numbers, mail};

const MAILS: u32 = 10_000;
fn fill(home: &Home) -> usize {
    let mut numbers = Numbers::default();
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
        "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority \
         References Newsgroups In-Reply-To Content-Type Reply-To Received)])",
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
