//! A node that nobody told how it is reached finds out, and notices when that is another way.

use crate::network::Network;
use crate::node::{Node, eventually};

fn wait_for_address(node: &Node, address: &str) {
    let what = format!("{} knows that it is reached at {address}, and nowhere else", node.name());
    eventually(&what, || {
        let status = node.json(&["status"]);
        let external = status["external"].as_array().unwrap();
        let there = |known: &serde_json::Value| known.as_str().unwrap().starts_with(&format!("/ip4/{address}/"));
        (!external.is_empty() && external.iter().all(there)).then_some(())
    });
}

#[test]
fn a_node_finds_its_address_and_another_one_that_it_is_given() {
    let network = Network::new();
    let mut peers: Vec<Node> = ["carol", "dave", "erin"].into_iter().map(|name| Node::new(&network, name)).collect();
    for peer in &mut peers {
        peer.start();
    }
    let mut bob = Node::at(network.place(), "bob");
    for peer in &peers {
        bob.knows(peer);
    }
    bob.listen_everywhere();
    bob.start();
    wait_for_address(&bob, &bob.place().address().to_string());
    if bob.place_mut().renumber() {
        wait_for_address(&bob, &bob.place().address().to_string());
    }
}
