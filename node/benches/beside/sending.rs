//! Mail on its way: submitted, noticed by programs that wait for it, handed from node to node.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clients::{Imap, Lines, inbox, mail, send, send_in, submission};
use crate::node::{Node, eventually, pair};
use crate::peers::{Dovecot, Postfix, Towards};
use crate::talk::Talk;
use crate::{median, milliseconds, row};

/// Bytes of a usual mail.
pub(crate) const MAIL_BYTES: usize = 4096;
/// How long a turn of submissions takes.
const TURN: Duration = Duration::from_secs(3);
/// Mails of one measurement of latency, and how long it takes at most.
const NOTICES: usize = 60;
const NOTICES_TIME: Duration = Duration::from_secs(20);
/// Clients that submit large mails at once, and what they submit.
const LARGE_CLIENTS: usize = 100;
const LARGE_BYTES: usize = 10 * 1024 * 1024;

fn text(bytes: usize) -> Vec<u8> {
    text_from("anna@kith.alt", bytes)
}

/// A mail of that many bytes, by its author.
pub(crate) fn text_from(author: &str, bytes: usize) -> Vec<u8> {
    let line = b"0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n";
    let body: Vec<u8> = line.iter().copied().cycle().take(bytes / line.len() * line.len()).collect();
    String::from_utf8(mail("anna", "figure", &body)).unwrap().replace("anna@kith.alt", author).into_bytes()
}

/// A submission session with a Postfix, which lets in whoever is on this machine.
pub(crate) fn postfix(address: &str) -> Lines {
    let mut smtp = Lines::connect(address);
    assert!(smtp.reply().starts_with("220 "));
    assert!(smtp.talk("EHLO [127.0.0.1]").starts_with("250"));
    smtp
}

/// Submissions a second over that many connections.
fn rate(connections: usize, recipient: &str, open: impl Fn() -> Lines + Sync) -> f64 {
    let text = text(MAIL_BYTES);
    // Logins are no part of it.
    let sessions: Vec<Lines> = (0..connections).map(|_| open()).collect();
    let begun = Instant::now();
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .into_iter()
            .map(|mut smtp| {
                let text = &text;
                scope.spawn(move || {
                    let mut count = 0_u32;
                    while begun.elapsed() < TURN {
                        assert!(send_in(&mut smtp, "anna", &[recipient], "", text).starts_with("250 "));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
    });
    f64::from(counts) / begun.elapsed().as_secs_f64()
}

/// Appends of 4 KB with a sync each, a second.
fn raw_syncs(folder: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join("raw")).unwrap();
    let bytes = text(MAIL_BYTES);
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn written_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap()
}

/// Mails to somebody on the same machine, kept durably before the answer.
pub(crate) fn submissions() {
    let node = Node::started(&["anna", "ben"]);
    let mail = tempfile::tempdir().unwrap();
    crate::peers::give_away(mail.path());
    let peer = Postfix::started(&Towards::Maildirs(mail.path()));
    let (mut raw, mut one, mut ten) = (Vec::new(), (Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let mut bytes = Vec::new();
    for _ in 0..3 {
        raw.push(raw_syncs(node.home()));
        for (connections, figures) in [(1, &mut one), (10, &mut ten)] {
            let before = written_bytes(node.pid());
            let ours = rate(connections, "ben@kith.alt", || submission(&node, "anna"));
            figures.0.push(ours);
            if connections > 1 {
                let written = (written_bytes(node.pid()) - before) as f64;
                bytes.push(written / (ours * TURN.as_secs_f64()) / MAIL_BYTES as f64);
            }
            if let Some(peer) = &peer {
                figures.1.push(rate(connections, "ben@kith.alt", || postfix(&peer.smtp())));
                peer.drained();
            }
        }
    }
    row("submissions a second, 4 KB, ten connections", "", ">= 2", ten.0, ten.1);
    let single = median(one.0.clone());
    row("submissions a second, 4 KB, one connection", "", "", one.0, one.1);
    row("appends of 4 KB with a sync each, a second, for each of those", "", "<= 1.3", vec![median(raw) / single], Vec::new());
    row("bytes written for a 4 KB mail, under load", "x its size", "<= 4", bytes, Vec::new());
}

/// How long after `send` has returned an idling program hears of a mail, each time.
fn latencies(address: &str, name: &str, mut send: impl FnMut()) -> Vec<f64> {
    let mut watching = Imap::at(address, name);
    let mut count = watching.select("INBOX");
    watching.idle();
    let mut times = Vec::new();
    let until = Instant::now() + NOTICES_TIME;
    while times.len() < NOTICES && Instant::now() < until {
        send();
        let begun = Instant::now();
        count += 1;
        let told = |line: String| line.split(' ').nth(1).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        while told(watching.wait_for(" EXISTS")) < count {}
        times.push(milliseconds(begun.elapsed()));
    }
    times
}

/// The same of a program that asked to be told of mail anywhere, and has selected nothing.
fn told(address: &str, name: &str, mail: &[u8]) -> Vec<f64> {
    let mut watching = Imap::at(address, name);
    let mut filing = Talk::imap(address, name);
    watching.ok("NOTIFY SET (personal (MessageNew MessageExpunge))");
    let mut times = Vec::new();
    let until = Instant::now() + NOTICES_TIME;
    while times.len() < NOTICES && Instant::now() < until {
        filing.append("INBOX", mail);
        let begun = Instant::now();
        watching.wait_for(")");
        times.push(milliseconds(begun.elapsed()));
    }
    times
}

/// From the server's word that it has a mail to a waiting program on the same machine.
pub(crate) fn notices() {
    let node = Node::started(&["anna", "ben"]);
    let dovecot = Dovecot::started();
    let peer = dovecot.as_ref().and_then(|dovecot| Postfix::started(&Towards::Maildirs(&dovecot.mail())));
    let short = mail("anna", "figure", b"x\r\n");
    let to_ben = |smtp: &mut Lines| assert!(send_in(smtp, "anna", &["ben@kith.alt"], "", &short).starts_with("250 "));
    let mut smtp = submission(&node, "anna");
    let ours = latencies(&node.port("imap"), "ben", || to_ben(&mut smtp));
    let mut peers = Vec::new();
    if let (Some(dovecot), Some(peer)) = (&dovecot, &peer) {
        let mut smtp = postfix(&peer.smtp());
        // The mailbox comes with its first mail.
        to_ben(&mut smtp);
        eventually("the first mail", || (Imap::at(&dovecot.imap(), "ben").select("INBOX") > 0).then_some(()));
        peers = latencies(&dovecot.imap(), "ben", || to_ben(&mut smtp));
    }
    row("from submission's 250 to the idling program, p50", "ms", "<= 5", ours, peers);
    let ours = told(&node.port("imap"), "ben", &short);
    let peers = dovecot.map(|dovecot| told(&dovecot.imap(), "ben", &short)).unwrap_or_default();
    row("from APPEND's OK to a program that watches by NOTIFY, p50", "ms", "<= 100", ours, peers);
}

/// From one machine's submission to the other's mailbox.
pub(crate) fn nodes() {
    let (anna, bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "first", b"x\r\n"));
    inbox(&bob, "bob", 1);
    let dovecot = Dovecot::started();
    let there = dovecot.as_ref().and_then(|dovecot| Postfix::started(&Towards::Maildirs(&dovecot.mail())));
    let here = there.as_ref().and_then(|there| Postfix::started(&Towards::Other(there)));
    let short = mail("anna", "figure", b"x\r\n");
    let to_bob = |smtp: &mut Lines| assert!(send_in(smtp, "anna", &["bob@kith.alt"], "", &short).starts_with("250 "));
    let mut smtp = submission(&anna, "anna");
    let ours = latencies(&bob.port("imap"), "bob", || to_bob(&mut smtp));
    let mut peers = Vec::new();
    if let (Some(here), Some(dovecot)) = (&here, &dovecot) {
        let mut smtp = postfix(&here.smtp());
        to_bob(&mut smtp);
        eventually("the first mail", || (Imap::at(&dovecot.imap(), "bob").select("INBOX") > 0).then_some(()));
        peers = latencies(&dovecot.imap(), "bob", || to_bob(&mut smtp));
    }
    row("machine to machine, from 250 to the idling program, p50", "ms", "<= 0.5", ours, peers);

    let many = |open: &(dyn Fn() -> Lines + Sync), address: &str| {
        let mut watching = Imap::at(address, "bob");
        let before = watching.select("INBOX");
        let text = text(MAIL_BYTES);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let mut smtp = open();
                    for _ in 0..50 {
                        assert!(send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &text).starts_with("250 "));
                    }
                });
            }
        });
        eventually("all of them", || (watching.select("INBOX") >= before + 500).then_some(()));
        500.0 / begun.elapsed().as_secs_f64()
    };
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(many(&|| submission(&anna, "anna"), &bob.port("imap")));
        eventually("receipts", || (anna.waiting() == 0).then_some(()));
        if let (Some(here), Some(dovecot)) = (&here, &dovecot) {
            peers.push(many(&|| postfix(&here.smtp()), &dovecot.imap()));
        }
    }
    row("mails of 4 KB a second, machine to machine", "", ">= 2", ours, peers);
}

/// Memory of a process and of all that come from it, each page counted once, in MiB.
fn memory_of(pid: u32) -> f64 {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: f64 = listed.split_whitespace().map(|child| memory_of(child.parse().unwrap())).sum();
    // A process may end meanwhile.
    let map = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = map.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    own.unwrap_or(0.0) / 1024.0 + children
}

/// Ends the watching, however the submissions end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most memory that is in use while a hundred programs submit 10 MB each.
pub(crate) fn memory() {
    let node = Node::started(&["anna", "ben"]);
    let peer_mail = tempfile::tempdir().unwrap();
    crate::peers::give_away(peer_mail.path());
    let peer = Postfix::started(&Towards::Maildirs(peer_mail.path()));
    let text = text(LARGE_BYTES);
    let most = |pid: u32, open: &(dyn Fn() -> Lines + Sync)| {
        let done = AtomicBool::new(false);
        // One after the other: a node lets 96 in at a time that have not logged in.
        let sessions: Vec<Lines> = (0..LARGE_CLIENTS).map(|_| open()).collect();
        let begun = Instant::now();
        let most = std::thread::scope(|scope| {
            let over = Over(&done);
            let watching = scope.spawn(|| {
                let mut most = memory_of(pid);
                while !done.load(Ordering::Relaxed) {
                    most = most.max(memory_of(pid));
                    std::thread::sleep(Duration::from_millis(20));
                }
                most
            });
            let clients: Vec<_> = sessions
                .into_iter()
                .map(|mut smtp| {
                    let text = &text;
                    scope.spawn(move || {
                        assert!(send_in(&mut smtp, "anna", &["ben@kith.alt"], "", text).starts_with("250 "));
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            drop(over);
            watching.join().unwrap()
        });
        (most, begun.elapsed().as_secs_f64())
    };
    let ours = most(node.pid(), &|| submission(&node, "anna"));
    let peers = peer.as_ref().map(|peer| most(peer.pid(), &|| postfix(&peer.smtp())));
    let of = |figure: fn((f64, f64)) -> f64| peers.map(figure).into_iter().collect();
    row("memory while 100 programs submit 10 MB each, at most", "MiB", "<= 248", vec![ours.0], of(|peer| peer.0));
    row("and how long that takes", "s", "", vec![ours.1], of(|peer| peer.1));
}
