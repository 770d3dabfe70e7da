//! What mail programs do with folders that are full: bring them along, open, list, search, sort, fetch all of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::mails::{Numbers, mail};
use crate::node::Node;
use crate::peers::Dovecot;
use crate::talk::Talk;
use crate::{milliseconds, row};

/// Mails in the inbox, of all kinds.
const MAILS: u32 = 10_000;
/// Mails in the large folder, a few lines each.
const LARGE: u32 = 100_000;
/// How often each side takes its turn.
const ROUNDS: usize = 5;

/// The same mails every time, as a Maildir.
fn mails() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::default();
    fill(folder.path(), MAILS, |number| mail(number, &mut numbers));
    folder
}

fn fill(maildir: &Path, count: u32, mut mail: impl FnMut(u32) -> Vec<u8>) {
    for name in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join(name)).unwrap();
    }
    for number in 0..count {
        let name = format!("{}.M{number}.beside:2,", 1_700_000_000 + number);
        std::fs::write(maildir.join("cur").join(name), mail(number)).unwrap();
    }
}

fn small(number: u32) -> Vec<u8> {
    format!(
        "From: Person {from} <p{from}@example.org>\r\nTo: Mum <mum@kith.alt>\r\nDate: Fri, {day} Mar 2001 10:00:00 +0000\r\n\
         Subject: Number {number}\r\nMessage-ID: <{number}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\n\r\nnothing new.\r\n",
        from = number % 50,
        day = 1 + number % 28,
    )
    .into_bytes()
}

/// A node and a Dovecot with these Maildirs as anna's mail.
fn both(maildirs: &[(&str, &Path)]) -> (Node, Option<Dovecot>) {
    let node = Node::with_accounts(&["anna"]);
    let dovecot = Dovecot::started();
    for (folder, maildir) in maildirs {
        node.ask(&["import", maildir.to_str().unwrap(), "--account", "anna", "--folder", folder]);
        if let Some(dovecot) = &dovecot {
            let name = if *folder == "INBOX" { "anna".to_owned() } else { format!("anna/.{folder}") };
            dovecot.takes_over(&name, maildir);
        }
    }
    let mut node = node;
    node.start();
    (node, dovecot)
}

/// `kith import` beside `doveadm import`, once: 10,000 mails into an empty mailbox.
pub(crate) fn import() {
    let mails = mails();
    let mails = mails.path();
    let mut node = Node::with_accounts(&["anna"]);
    node.start();
    let begun = Instant::now();
    node.ask(&["import", mails.to_str().unwrap(), "--account", "anna"]);
    let ours = f64::from(MAILS) / begun.elapsed().as_secs_f64();
    let peers = Dovecot::started().map(|dovecot| {
        // It keeps an index beside what it reads, so that it gets Maildirs of its own.
        dovecot.takes_over("source", mails);
        let source = format!("maildir:{}", dovecot.mail().join("source").display());
        let begun = Instant::now();
        dovecot.administer(&["import", "-u", "anna", &source, "", "ALL"]);
        f64::from(MAILS) / begun.elapsed().as_secs_f64()
    });
    row("mails a second imported from a Maildir of 10,000", "", "", vec![ours], peers.into_iter().collect());
}

/// A session with each side.
struct Sides {
    ours: Talk,
    peer: Option<Talk>,
}

impl Sides {
    /// Says something to both; how long it takes each, ms.
    fn ask(&mut self, command: &str) -> (f64, Option<f64>) {
        (milliseconds(self.ours.ask(command)), self.peer.as_mut().map(|peer| milliseconds(peer.ask(command))))
    }

    /// The same command in turns, and another one before each that is not measured. The first time is a row by itself where that is wanted:
    /// both read then what they have not read yet.
    fn turns(&mut self, what: &str, first: bool, goal: &str, before: &str, command: &str) {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            self.ask(before);
            let (our, peer) = self.ask(command);
            if round == 0 {
                if first {
                    row(&format!("{what}, the first time"), "ms", "", vec![our], peer.into_iter().collect());
                }
                continue;
            }
            ours.push(our);
            peers.extend(peer);
        }
        row(what, "ms", goal, ours, peers);
    }
}

/// Commands in one session each.
pub(crate) fn folders() {
    let (mails, large) = (mails(), tempfile::tempdir().unwrap());
    fill(large.path(), LARGE, small);
    let (node, dovecot) = both(&[("INBOX", mails.path()), ("Large", large.path())]);
    let ours = Talk::imap(&node.port("imap"), "anna");
    let peer = dovecot.as_ref().map(|dovecot| Talk::imap(&dovecot.imap(), "anna"));
    let mut sides = Sides { ours, peer };
    sides.turns("SELECT of a folder of 100,000", true, "<= 1.0", "EXAMINE INBOX", "SELECT Large");
    for (what, goal, command) in [
        ("FETCH FLAGS of 100,000", "<= 1.0", "UID FETCH 1:* (FLAGS)"),
        ("FETCH FLAGS and ENVELOPE of 100,000", "<= 1.0", "UID FETCH 1:* (FLAGS ENVELOPE)"),
        ("SEARCH SUBJECT in 100,000", "<= 1.0", "UID SEARCH SUBJECT nowhere"),
        ("SORT (REVERSE DATE) of 100,000", "<= 1.0", "UID SORT (REVERSE DATE) UTF-8 ALL"),
    ] {
        sides.turns(what, true, goal, "NOOP", command);
    }
    sides.ask("SELECT INBOX");
    for (what, first, goal, command) in [
        ("SEARCH TEXT in 10,000, nothing found", false, "<= 1.0", "UID SEARCH TEXT nowhere-to-be-found"),
        ("SEARCH BODY in 10,000", false, "<= 1.0", "UID SEARCH BODY invoice"),
        ("SEARCH SUBJECT in 10,000", false, "<= 1.0", "UID SEARCH SUBJECT garden"),
        ("SEARCH FROM in 10,000", false, "<= 1.0", "UID SEARCH FROM p17@"),
        ("SEARCH SENTSINCE in 10,000", false, "<= 1.0", "UID SEARCH SENTSINCE 20-Mar-2001"),
        ("SORT (SUBJECT) of 10,000", true, "<= 1.0", "UID SORT (SUBJECT) UTF-8 ALL"),
        ("SORT (REVERSE DATE) of 10,000", true, "<= 1.0", "UID SORT (REVERSE DATE) UTF-8 ALL"),
        ("THREAD REFERENCES of 10,000", true, "<= 1.0", "UID THREAD REFERENCES UTF-8 ALL"),
        ("FETCH BODYSTRUCTURE of 10,000", true, "<= 1.0", "UID FETCH 1:* (BODYSTRUCTURE)"),
        ("FETCH what Thunderbird lists of 10,000", true, "<= 1.0", THUNDERBIRD),
        ("FETCH BODY.PEEK[] of 10,000, 84 MB", false, "<= 1.0", "UID FETCH 1:* (BODY.PEEK[])"),
    ] {
        sides.turns(what, first, goal, "NOOP", command);
    }
}

/// What Thunderbird asks of every mail that it has not seen yet.
const THUNDERBIRD: &str = "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority \
    X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)])";

/// mbsync of 10,000 mails into an empty folder, then again without a change. Its own syncs are off, so that it waits for the server.
pub(crate) fn sync() {
    let installed = Command::new("sh").args(["-c", "command -v mbsync >/dev/null"]).status().unwrap().success();
    if !installed {
        eprintln!("mbsync is not installed: left out");
        return;
    }
    let mails = mails();
    let (node, dovecot) = both(&[("INBOX", mails.path())]);
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..3 {
        let sides = [Some(node.port("imap")), dovecot.as_ref().map(Dovecot::imap)];
        for (times, address) in times.iter_mut().zip(sides) {
            let Some(address) = address else { continue };
            let near = tempfile::tempdir().unwrap();
            let rc = mbsyncrc(near.path(), address.rsplit_once(':').unwrap().1);
            for times in times {
                let begun = Instant::now();
                let done = Command::new("mbsync").args(["-q", "-a", "-c"]).arg(&rc).status().unwrap();
                assert!(done.success());
                times.push(begun.elapsed().as_secs_f64());
            }
            let count = std::fs::read_dir(near.path().join("INBOX/cur")).unwrap().count()
                + std::fs::read_dir(near.path().join("INBOX/new")).unwrap().count();
            assert_eq!(count, MAILS as usize);
        }
    }
    let [[first, again], [peer_first, peer_again]] = times;
    row("mbsync's first sync of 10,000 mails", "s", "<= 1.0", first, peer_first);
    row("mbsync again, nothing changed", "s", "<= 1.0", again, peer_again);
}

fn mbsyncrc(near: &Path, port: &str) -> PathBuf {
    let rc = near.join("mbsyncrc");
    let near = near.display();
    let text = format!(
        "FSync no\n\nIMAPAccount far\nHost 127.0.0.1\nPort {port}\nUser anna\nPass secret\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount far\n\nMaildirStore near\nPath {near}/\nInbox {near}/INBOX\n\n\
         Channel all\nFar :far:\nNear :near:\nCreate Near\nSyncState *\n"
    );
    std::fs::write(&rc, text).unwrap();
    rc
}

/// A whole mailbox by POP3, one mail after the other, nothing deleted.
pub(crate) fn pop3() {
    let mails = mails();
    let (node, dovecot) = both(&[("INBOX", mails.path())]);
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let sides = [(Some(node.port("pop3")), &mut ours), (dovecot.as_ref().map(Dovecot::pop3), &mut peers)];
        for (address, times) in sides {
            let Some(address) = address else { continue };
            let begun = Instant::now();
            assert_eq!(Talk::pop3(&address, "anna"), MAILS as usize);
            times.push(begun.elapsed().as_secs_f64());
        }
    }
    row("10,000 mails by POP3", "s", "", ours, peers);
}
