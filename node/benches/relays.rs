//! What a relay costs, with the real binary: `cargo bench -p kithmail --bench relays`. Prints figures, asserts none: machines differ.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints its figures and ends at the first surprise")]

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[path = "../tests/end_to_end/clients.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod clients;
#[path = "../tests/end_to_end/node.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod node;

use clients::{inbox, mail, send, send_in, submission};
use kith_protocol::card::Strangers;
use kith_protocol::event::{HeldEnvelope, HeldKind, HostedQueue};
use kith_protocol::ids::{EnvelopeId, QueueName};
use kith_store::{Options, Store};
use node::{Node, befriend, eventually};

/// Letters in the row about a relay that keeps many.
const MANY: u32 = 100_000;
/// Bytes of the smallest envelope.
const CELL: usize = 16_000;

fn say(name: &str, figure: &str) {
    println!("{name:<70} {figure}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Anna, Bob, and Carol whose node keeps mail for both; nobody pays.
fn household() -> [Node; 3] {
    let mut carol = Node::with_accounts(&["carol"]);
    carol.configure("strangers = \"welcome\"");
    carol.start();
    let mut others = ["anna", "bob"].map(|name| {
        let mut node = Node::with_accounts(&[name]);
        node.configure("strangers = \"welcome\"");
        node.knows(&carol);
        node.start();
        node
    });
    let [anna, bob] = &mut others;
    befriend(anna, "anna", bob, "bob");
    befriend(anna, "anna", &carol, "carol");
    befriend(bob, "bob", &carol, "carol");
    for (node, name) in [(&*anna, "anna"), (&*bob, "bob")] {
        node.ask(&["relay", "ask", "carol", "--quota", "1GiB"]);
        eventually("the request", || {
            let list = carol.json(&["relay", "list"]);
            list["talks"].as_array().unwrap().iter().any(|talk| talk["name"] == name).then_some(())
        });
        carol.ask(&["relay", "allow", name, "--quota", "1GiB"]);
        eventually("the relay agrees", || {
            let list = node.json(&["relay", "list"]);
            list["used"].as_array().unwrap().iter().any(|used| used["granted"].is_u64()).then_some(())
        });
    }
    let [anna, bob] = others;
    send(&bob, "bob", &["anna@kith.alt"], &mail("bob", "hello", b"hello\r\n"));
    inbox(&anna, "anna", 1);
    eventually("Bob's receipt", || (bob.waiting() == 0).then_some(()));
    [anna, bob, carol]
}

fn kept(carol: &Node, name: &str) -> u64 {
    let list = carol.json(&["relay", "list"]);
    let hosted = list["hosted"].as_array().unwrap();
    hosted.iter().find(|hosted| hosted["name"] == name).and_then(|hosted| hosted["waiting"].as_u64()).unwrap_or(0)
}

/// Bytes that went over the loopback so far.
fn loopback() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("lo:")).unwrap();
    line.split_once(':').unwrap().1.split_whitespace().nth(8).unwrap().parse().unwrap()
}

fn body(bytes: usize) -> Vec<u8> {
    // Nothing that could be compressed, in lines.
    let mut text = Vec::with_capacity(bytes + bytes / 70);
    let mut reader = blake3::Hasher::new().finalize_xof();
    let mut line = [0; 38];
    while text.len() < bytes {
        reader.fill(&mut line);
        text.extend_from_slice(hex::encode(line).as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn handing_over() {
    let [mut anna, mut bob, carol] = household();
    // Both online first: what a mail costs on the wire.
    let big = body(1 << 20);
    let before = loopback();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "online", &big));
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
    // The submission itself went over the loopback once.
    let online = (loopback() - before).saturating_sub(big.len() as u64);
    say("bytes on the wire per byte of a 1 MiB mail, both online", &format!("{:.2}", online as f64 / big.len() as f64));
    bob.stop();
    let mut times = Vec::new();
    for round in 0..20 {
        let begun = Instant::now();
        send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "away", b"short\r\n"));
        eventually("stored", || (kept(&carol, "bob") > round).then_some(()));
        times.push(begun.elapsed());
    }
    say("from 250 to the relay's signed word, recipient away, p50", &format!("{} ms", median(times).as_millis()));
    let begun = Instant::now();
    let mut smtp = submission(&anna, "anna");
    for _ in 0..500 {
        assert!(send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &mail("anna", "many", &body(3000))).starts_with("250 "));
    }
    let submitted = begun.elapsed();
    eventually("stored", || (kept(&carol, "bob") > 519).then_some(()));
    say(
        "deposits a second (500 mails of 3 KB; submitted a second)",
        &format!("{:.0} ({:.0})", 500.0 / begun.elapsed().as_secs_f64(), 500.0 / submitted.as_secs_f64()),
    );
    drop(smtp);
    anna.stop();
    let begun = Instant::now();
    bob.start();
    let ready = begun.elapsed();
    inbox(&bob, "bob", 521);
    say(
        "recipient back: start to ready; ready to 520 mails in INBOX",
        &format!("{} ms; {} ms", ready.as_millis(), (begun.elapsed() - ready).as_millis()),
    );
}

/// The only mail of its queue is with a relay.
fn with_relay(node: &Node) -> Option<()> {
    let list = node.json(&["queue", "list"]);
    (list["entries"][0]["copies"][0]["at"] == "relay").then_some(())
}

fn one_at_a_time() {
    let [mut anna, mut bob, carol] = household();
    // Who writes once tells where mail can be left.
    send(&bob, "bob", &["anna@kith.alt"], &mail("bob", "hello", b"hello\r\n"));
    inbox(&anna, "anna", 1);
    eventually("receipt", || (bob.waiting() == 0).then_some(()));
    let mut times = Vec::new();
    for round in 0..5 {
        bob.stop();
        send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "away", b"short\r\n"));
        eventually("stored", || with_relay(&anna));
        bob.start();
        let begun = Instant::now();
        inbox(&bob, "bob", round + 1);
        times.push(begun.elapsed());
        eventually("receipt", || (anna.waiting() == 0).then_some(()));
    }
    say("from the recipient's ready to the mail in INBOX, p50", &format!("{} ms", median(times).as_millis()));
    bob.stop();
    let big = body(1 << 20);
    let before = loopback();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "offline", &big));
    eventually("stored", || with_relay(&anna));
    anna.stop();
    bob.start();
    inbox(&bob, "bob", 6);
    eventually("the receipt is with the relay", || (kept(&carol, "anna") > 0).then_some(()));
    bob.stop();
    anna.start();
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
    // The submission went over the loopback once, and the fetching of it.
    let offline = (loopback() - before).saturating_sub(2 * big.len() as u64);
    say(
        "bytes on the wire per byte of a 1 MiB mail, through the relay, both ways together",
        &format!("{:.2}", offline as f64 / big.len() as f64),
    );
    anna.stop();
}

/// A relay that keeps many letters: made in the store, then served by the real node.
fn many() {
    let mut node = Node::with_accounts(&["carol"]);
    node.start();
    std::thread::sleep(Duration::from_secs(2));
    let fresh = resident_kib(node.pid());
    node.stop();
    let store = Store::open(node.home(), Options { cache_bytes: 16 << 20, passphrase: None }).unwrap();
    let queue = QueueName([1; 16]);
    let rules = HostedQueue {
        queue,
        key: [2; 32],
        bytes: 1 << 40,
        count: u32::MAX,
        largest: 1 << 20,
        strangers: Strangers::Closed,
        tag: [0; 16],
        effort: 0,
        siblings: Arc::default(),
    };
    store.write(move |transaction| transaction.host(&rules, None)).unwrap();
    let begun = Instant::now();
    for first in (0..MANY).step_by(250) {
        let letters: Vec<_> = (first..first + 250)
            .map(|number| {
                let mut stage = store.stage().unwrap();
                let mut bytes = vec![0; CELL];
                blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
                stage.write_all(&bytes).unwrap();
                let staged = stage.finish().unwrap();
                let held = HeldEnvelope {
                    envelope: EnvelopeId(staged.hash.0),
                    queue,
                    size: CELL as u64,
                    kind: HeldKind::Contact,
                    since_ms: u64::from(number),
                    acked_ms: None,
                };
                (held, staged)
            })
            .collect();
        store
            .write(move |transaction| letters.iter().try_for_each(|(held, staged)| transaction.hold(held, staged, None)))
            .unwrap();
    }
    let took = begun.elapsed();
    store.close();
    let disk: u64 =
        std::fs::read_dir(node.home()).unwrap().flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    let begun = Instant::now();
    node.start();
    let ready = begun.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let full = resident_kib(node.pid());
    say(&format!("a relay with {MANY} letters: made in"), &format!("{:.0} s", took.as_secs_f64()));
    say("start to ready", &format!("{} ms", ready.as_millis()));
    say("resident, fresh and with them", &format!("{:.1} and {:.1} MiB", fresh as f64 / 1024.0, full as f64 / 1024.0));
    let payload = u64::from(MANY) * CELL as u64;
    say("disk, and per byte kept", &format!("{:.2} GiB, {:.2}", disk as f64 / f64::from(1 << 30), disk as f64 / payload as f64));
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

fn main() {
    one_at_a_time();
    handing_over();
    many();
}
