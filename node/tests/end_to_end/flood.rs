//! Peers who mean harm, at full speed: what they cost is bounded, and what contacts send arrives.

use std::time::{Duration, Instant};

use kith_network::{Command, Config, Event, Source, Ticket, start};
use kith_protocol::hosting::{Ask, Request};
use kith_protocol::ids::{EnvelopeId, Op, PeerId, QueueName};
use kith_protocol::keys::QueueKey;
use kith_protocol::stamp::Stamp;
use kith_protocol::wire::Message;
use kith_protocol::work::Work;
use zeroize::Zeroizing;

use crate::clients::{inbox, mail, send};
use crate::node::{Node, eventually, pair};

const ATTACKERS: usize = 8;
/// Offers and questions of one attacker that are open at a time.
const OPEN: u64 = 32;
const ATTACK: Duration = Duration::from_secs(8);
/// Enough for a million.
const LONG_ATTACK: Duration = Duration::from_secs(120);
/// By how much memory may grow, in KiB.
const GROWTH_MAX: u64 = 64 * 1024;
/// Mails of a contact during the attack, and how long each may take on a machine that attacks itself.
const MAILS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that ought to be refused: a deposit for nobody, with a stamp or work out of thin air, or a question with a proof that is none.
fn nonsense(op: Op, peer: PeerId, own: PeerId) -> Command {
    let bytes: Vec<u8> = (0..16_000_u32).map(|place| (place as u8).wrapping_add(op.0 as u8)).collect();
    let stamp = op.0.is_multiple_of(3).then(|| Stamp(rand::random()));
    let work = op.0.is_multiple_of(2).then(|| Work { nonce: rand::random(), solution: rand::random(), effort: 1 << 20 });
    if op.0.is_multiple_of(5) {
        let request = Request::Host { token: rand::random() };
        let key = QueueKey::generate(&mut rand::rng());
        let ask = Ask::sign(&key, &request, &peer, &own, &rand::random()).unwrap();
        return Command::Ask { op, peer, message: Message::Ask(ask) };
    }
    Command::Offer {
        op,
        peer,
        queue: QueueName(rand::random()),
        envelope: EnvelopeId(rand::random()),
        size: 16_000,
        source: Source::Bytes(bytes.into()),
        ticket: Ticket { deposit: op.0.is_multiple_of(7), stamp, work, onward: Vec::new() },
    }
}

/// Attacks until the time is over; gives how many questions were answered.
async fn attack(number: usize, addresses: Vec<String>, time: Duration) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(Zeroizing::new([100 + u8::try_from(number).unwrap(); 32]), folder.path().join("staging"));
    config.listen = Vec::new();
    config.bootstrap = addresses.clone();
    let (handle, mut events) = start(config).await.unwrap();
    let victim = loop {
        if let Event::PeerUp(peer) = events.next().await.unwrap() {
            break peer;
        }
    };
    let (mut next, mut answered, until) = (0, 0, Instant::now() + time);
    while Instant::now() < until {
        // Whoever is shut out comes back.
        handle.send(Command::Connect { op: Op(u64::MAX), peer: victim, addresses: addresses.clone() }).await.unwrap();
        let mut open = 0;
        while Instant::now() < until {
            while open < OPEN {
                next += 1;
                handle.send(nonsense(Op(next), victim, handle.peer_id())).await.unwrap();
                open += 1;
            }
            match tokio::time::timeout(Duration::from_millis(500), events.next()).await {
                Ok(Some(Event::Offered { .. } | Event::Answered { .. })) => (open, answered) = (open - 1, answered + 1),
                Ok(Some(Event::PeerDown(_))) | Err(_) => break,
                Ok(Some(_)) => {}
                Ok(None) => return answered,
            }
        }
    }
    handle.shutdown().await;
    answered
}

fn resident(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How long mails from Anna to Bob's inbox take, the slowest.
fn slowest(anna: &Node, bob: &Node, from: usize) -> Duration {
    let times = (from..from + MAILS).map(|number| {
        let begun = Instant::now();
        send(anna, "anna", &["bob@kith.alt"], &mail("anna", &format!("mail {number}"), b"!\r\n"));
        inbox(bob, "bob", number + 1);
        begun.elapsed()
    });
    times.max().unwrap()
}

#[test]
fn a_flood_of_nonsense_costs_little_and_hinders_no_contact() {
    flood(ATTACK);
}

/// The long form: `cargo nextest run -p kithmail --test end_to_end --run-ignored only flood`.
#[test]
#[ignore = "the long form of the test above"]
fn a_flood_of_nonsense_costs_little_and_hinders_no_contact_long() {
    flood(LONG_ATTACK);
}

fn flood(time: Duration) {
    let (anna, mut bob) = pair("anna", "bob");
    bob.stop();
    bob.configure("volunteer = \"1 MiB\"");
    bob.start();
    let calm = slowest(&anna, &bob, 0);
    let before = resident(&bob);
    let addresses = bob.addresses();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let attackers: Vec<_> = (0..ATTACKERS).map(|number| runtime.spawn(attack(number, addresses.clone(), time))).collect();
    let busy = slowest(&anna, &bob, MAILS);
    let grown = resident(&bob).saturating_sub(before);
    let mut answered = 0;
    for attacker in attackers {
        answered += runtime.block_on(attacker).unwrap();
    }
    let after = resident(&bob).saturating_sub(before);
    eprintln!(
        "{answered} answers; slowest mail {calm:?}, during the flood {busy:?}; memory +{grown} KiB, afterwards +{after} KiB"
    );
    assert!(answered > 1000, "there was no flood: {answered}");
    assert!(grown.max(after) < GROWTH_MAX, "memory grew by {grown} and {after} KiB");
    assert!(busy < PATIENCE, "a contact's mail took {busy:?}");
    assert_eq!(bob.json(&["relay", "list"])["hosted"].as_array().unwrap().len(), 0, "nothing is kept for nobody");
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
}

/// As many as a node lets in, and some: they connect, greet, and stay.
const CROWD: u8 = 110;

#[test]
fn a_crowd_that_takes_every_connection_keeps_no_contact_out() {
    let (mut anna, mut bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "first", b"!\r\n"));
    inbox(&bob, "bob", 1);
    eventually("the receipt", || (anna.waiting() == 0).then_some(()));
    anna.stop();
    // What is known of her comes from the disk.
    bob.stop();
    bob.start();
    let addresses = bob.addresses();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let mut config = Config::new(Zeroizing::new([100 + number; 32]), folder.path().join("staging"));
                config.listen = Vec::new();
                config.bootstrap = addresses.iter().filter(|address| address.contains("/tcp/")).cloned().collect();
                let (handle, mut events) = start(config).await.unwrap();
                let up = async { while !matches!(events.next().await, Some(Event::PeerUp(_)) | None) {} };
                let let_in = tokio::time::timeout(Duration::from_secs(1), up).await.is_ok();
                (handle, events, folder, let_in)
            })
        })
        .collect();
    let let_in = crowd.iter().filter(|(.., let_in)| *let_in).count();
    assert!((90..=96).contains(&let_in), "{let_in} of the crowd were let in");
    anna.knows(&bob);
    anna.start();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "second", b"!\r\n"));
    inbox(&bob, "bob", 2);
    drop(crowd);
}
