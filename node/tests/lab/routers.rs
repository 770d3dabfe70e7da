//! People behind routers that translate addresses and let nobody in: reached through a public node, and directly as soon as a way opens.

use std::time::{Duration, Instant};

use crate::household::befriend;
use crate::network::{Network, Place};
use crate::node::{Node, eventually};

/// Larger than what goes through somebody else's node: it has to go directly.
const LARGE: usize = 300_000;
/// How soon a mail is with somebody who is online.
const SOON: Duration = Duration::from_secs(10);

/// A public node that is nobody's relay: it helps people to find and reach each other, and keeps what is small for whoever cannot be reached.
fn public(network: &Network) -> Node {
    let mut carol = Node::new(network, "carol");
    carol.configure("volunteer = \"1 MiB\"");
    carol.start();
    carol
}

fn behind(place: Place, name: &'static str, carol: &Node) -> Node {
    let mut node = Node::at(place, name);
    node.knows(carol);
    node.start();
    node
}

fn wait_for_circuit(node: &Node) {
    eventually(&format!("{} is reached through others", node.name()), || {
        let status = node.json(&["status"]);
        (status["reachability"] == "circuits").then_some(())
    });
}

#[test]
fn two_people_behind_routers_write_to_each_other_directly() {
    let network = Network::new();
    let (Some(one), Some(other)) = (network.place_behind_router(), network.place_behind_router()) else { return };
    let carol = public(&network);
    let [anna, bob] = [(one, "anna"), (other, "bob")].map(|(place, name)| behind(place, name, &carol));
    befriend(&anna, &bob);
    wait_for_circuit(&anna);
    wait_for_circuit(&bob);
    // Where a person is reached stands in letters alone; the first one goes by a volunteer.
    bob.send(&anna, "hello", b"This is where I am.\r\n");
    anna.wait_for_mails(1);
    bob.wait_for_receipts();
    let sent = Instant::now();
    anna.send(&bob, "through two walls", &[b'x'; 70].repeat(LARGE / 70));
    bob.wait_for_mails(1);
    eprintln!("arrived after {} ms", sent.elapsed().as_millis());
    anna.wait_for_receipts();
}

#[test]
fn who_is_behind_a_router_is_reached_within_seconds_of_coming_online() {
    let network = Network::new();
    let Some(place) = network.place_behind_router() else { return };
    let carol = public(&network);
    let mut bob = behind(place, "bob", &carol);
    let mut anna = Node::new(&network, "anna");
    anna.knows(&carol);
    anna.start();
    befriend(&anna, &bob);
    wait_for_circuit(&bob);
    bob.stop();
    anna.send(&bob, "are you there", b"?\r\n");
    eventually("the volunteer has it", || {
        let list = anna.json(&["queue", "list"]);
        (list["entries"][0]["copies"][0]["at"] == "volunteer").then_some(())
    });
    let begun = Instant::now();
    bob.start();
    bob.wait_for_mails(1);
    let elapsed = begun.elapsed();
    eprintln!("arrived after {} ms", elapsed.as_millis());
    assert!(elapsed < SOON, "it took {elapsed:?}");
    anna.wait_for_receipts();
}

#[test]
fn a_router_that_can_be_asked_lets_others_in() {
    let network = Network::new();
    let Some((place, outside)) = network.place_behind_open_router() else { return };
    let carol = public(&network);
    let bob = behind(place, "bob", &carol);
    eventually("bob is reached directly, at his router's address", || {
        let status = bob.json(&["status"]);
        let external = status["external"].as_array().unwrap();
        let there = external.iter().any(|address| address.as_str().unwrap().starts_with(&format!("/ip4/{outside}/tcp/4725/")));
        (there && status["reachability"] == "direct").then_some(())
    });
    let knock = format!("exec 3<>/dev/tcp/{outside}/4725");
    assert!(carol.place().command("bash").args(["-c", &knock]).status().unwrap().success(), "the router forwards");
}
