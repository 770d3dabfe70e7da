//! How fast and how small, with the real binary: `cargo bench -p kithmail --bench figures`. Prints figures, asserts none: machines differ.
//!
//! Where a peer stands beside a figure (a raw fsync loop) it was measured in the same run on the same disk.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints its figures and ends at the first surprise")]

use std::io::Write as _;
use std::time::{Duration, Instant};

#[path = "../tests/end_to_end/clients.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod clients;
#[path = "../tests/end_to_end/node.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod node;

use clients::{Imap, inbox, mail, send, send_in, submission};
use node::{Node, eventually, pair};

/// Bytes of the mails in the throughput rows.
const MAIL_BYTES: usize = 4096;

fn say(name: &str, figure: &str) {
    println!("{name:<58} {figure}");
}

fn body(bytes: usize) -> Vec<u8> {
    b"0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n"
        .iter()
        .copied()
        .cycle()
        .take(bytes / 78 * 78)
        .collect()
}

/// Submissions a second, over this many connections for a while; mails to oneself, so that nothing else runs.
fn submissions(node: &Node, connections: usize, for_how_long: Duration) -> f64 {
    let begun = Instant::now();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut smtp = submission(node, "anna");
                    let text = mail("anna", "figure", &body(MAIL_BYTES));
                    let mut count = 0;
                    while begun.elapsed() < for_how_long {
                        assert!(send_in(&mut smtp, "anna", &["ben@kith.alt"], "", &text).starts_with("250 "));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    counts.iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

/// Appends of 4 KB with a sync each, a second: what one durable thing costs on this disk.
fn raw_syncs(folder: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("raw")).unwrap();
    let bytes = body(MAIL_BYTES);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

/// Processor time used so far, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn written_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap()
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

fn household() {
    let node = Node::started(&["anna", "ben"]);
    let raw = raw_syncs(node.home());
    let one = submissions(&node, 1, Duration::from_secs(4));
    let ten = submissions(&node, 10, Duration::from_secs(4));
    say("raw appends with a sync, 4 KB, a second", &format!("{raw:.0}"));
    say("durable submissions a second, one connection", &format!("{one:.0} ({:.2} x the raw loop)", one / raw));
    say("durable submissions a second, ten connections", &format!("{ten:.0}"));
    let before = written_bytes(node.pid());
    let rate = submissions(&node, 10, Duration::from_secs(3));
    let per_mail = (written_bytes(node.pid()) - before) as f64 / (rate * 3.0);
    say("bytes written for a 4 KB mail under load", &format!("{per_mail:.0} ({:.1} x its size)", per_mail / MAIL_BYTES as f64));

    let mut idle = Imap::login(&node, "ben");
    let mut exists = idle.select("INBOX");
    idle.idle();
    let mut smtp = submission(&node, "anna");
    let text = mail("anna", "figure", b"x\r\n");
    let times = (0..100)
        .map(|_| {
            assert!(send_in(&mut smtp, "anna", &["ben@kith.alt"], "", &text).starts_with("250 "));
            let begun = Instant::now();
            exists += 1;
            idle.wait_for(&format!("{exists} EXISTS"));
            begun.elapsed()
        })
        .collect();
    let (p50, p95) = median(times);
    say("from 250 to the idling client, same node", &format!("p50 {p50:.1?}, p95 {p95:.1?}"));
}

fn two_nodes() {
    let (anna, bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "first", b"x\r\n"));
    inbox(&bob, "bob", 1);
    let mut idle = Imap::login(&bob, "bob");
    idle.select("INBOX");
    idle.idle();
    let mut smtp = submission(&anna, "anna");
    let mut exists = 1;
    let times = (0..100)
        .map(|_| {
            assert!(send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &mail("anna", "figure", b"x\r\n")).starts_with("250 "));
            let begun = Instant::now();
            exists += 1;
            idle.wait_for(&format!("{exists} EXISTS"));
            begun.elapsed()
        })
        .collect();
    let (p50, p95) = median(times);
    say("node to node, from 250 to the idling client", &format!("p50 {p50:.1?}, p95 {p95:.1?}"));

    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut smtp = submission(&anna, "anna");
                let text = mail("anna", "figure", &body(MAIL_BYTES));
                for _ in 0..50 {
                    assert!(send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &text).starts_with("250 "));
                }
            });
        }
    });
    let submitted = begun.elapsed();
    let mut again = Imap::login(&bob, "bob");
    eventually("all of them", || (again.select("INBOX") >= exists + 500).then_some(()));
    let arrived = begun.elapsed();
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
    let rate = |time: Duration| format!("{:.0}", 500.0 / time.as_secs_f64());
    say(
        "500 mails of 4 KB over ten connections, a second",
        &format!("submitted {}, arrived {}, receipts {}", rate(submitted), rate(arrived), rate(begun.elapsed())),
    );

    let large = mail("anna", "large", &body(25 * 1024 * 1024));
    let begun = Instant::now();
    assert!(send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &large).starts_with("250 "));
    let accepted = begun.elapsed();
    eventually("the attachment", || (again.select("INBOX") == exists + 501).then_some(()));
    say("25 MB: submitted, then arrived", &format!("{accepted:.2?}, {:.2?} later", begun.elapsed() - accepted));

    std::thread::sleep(Duration::from_secs(5));
    let before = (ticks(anna.pid()), written_bytes(anna.pid()));
    std::thread::sleep(Duration::from_secs(20));
    let used = (ticks(anna.pid()) - before.0) as f64 / 100.0 / 20.0;
    say("processor at idle", &format!("{:.2} % of a core", used * 100.0));
    say("bytes written at idle in 20 s", &format!("{}", written_bytes(anna.pid()) - before.1));
    say("resident memory after all this", &format!("{:.1} MiB", resident_kib(anna.pid()) as f64 / 1024.0));
}

fn start() {
    let mut node = Node::started(&["anna"]);
    say("resident memory of a fresh node", &format!("{:.1} MiB", resident_kib(node.pid()) as f64 / 1024.0));
    let times = (0..10)
        .map(|_| {
            node.kill();
            let begun = Instant::now();
            node.start();
            begun.elapsed()
        })
        .collect();
    let (p50, p95) = median(times);
    say("start to ready, after a kill", &format!("p50 {p50:.1?}, p95 {p95:.1?}"));
}

fn main() {
    household();
    two_nodes();
    start();
}
