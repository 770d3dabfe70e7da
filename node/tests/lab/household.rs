//! The people of most tests: Anna writes to Bob, and others keep mail for both.

use crate::network::Network;
use crate::node::{Node, eventually};

/// Anna and Bob, and whoever keeps their mail: contacts of each other, all running, every relay in use.
pub(crate) struct Household {
    pub(crate) anna: Node,
    pub(crate) bob: Node,
    pub(crate) keepers: Vec<Node>,
}

/// Makes two people each other's contacts.
pub(crate) fn befriend(first: &Node, second: &Node) {
    for (one, other) in [(first, second), (second, first)] {
        one.ask(&["contact", "add", other.name(), other.ask(&["address", other.name()]).trim(), "--account", one.name()]);
    }
}

/// Asks for a relay and has it allowed, over the overlay; waits until it is in use.
fn engage(owner: &Node, keeper: &Node) {
    owner.ask(&["relay", "ask", keeper.name(), "--quota", "128MiB"]);
    eventually("the request arrives", || {
        let list = keeper.json(&["relay", "list"]);
        list["talks"].as_array().unwrap().iter().any(|talk| talk["name"] == owner.name()).then_some(())
    });
    keeper.ask(&["relay", "allow", owner.name(), "--quota", "128MiB"]);
    eventually("the relay agrees", || {
        let list = owner.json(&["relay", "list"]);
        let agreed = |used: &serde_json::Value| used["name"] == keeper.name() && used["granted"].is_u64();
        list["used"].as_array().unwrap().iter().any(agreed).then_some(())
    });
}

impl Household {
    /// With one relay for each of these names.
    pub(crate) fn new(network: &Network, keepers: &[&'static str]) -> Self {
        let keepers: Vec<Node> = keepers
            .iter()
            .map(|name| {
                let mut keeper = Node::new(network, name);
                keeper.start();
                keeper
            })
            .collect();
        let [anna, bob] = ["anna", "bob"].map(|name| {
            let mut node = Node::new(network, name);
            for keeper in &keepers {
                node.knows(keeper);
            }
            node.start();
            node
        });
        befriend(&anna, &bob);
        for keeper in &keepers {
            for node in [&anna, &bob] {
                befriend(node, keeper);
                engage(node, keeper);
            }
        }
        Self { anna, bob, keepers }
    }

    /// As [`Household::new`]; Bob has written once, by which Anna knows his relays, and is off.
    pub(crate) fn with_bob_away(network: &Network, keepers: &[&'static str]) -> Self {
        let mut household = Self::new(network, keepers);
        household.introduce();
        household.bob.stop();
        household
    }

    /// Bob writes to Anna, by which she learns of his relays.
    pub(crate) fn introduce(&self) {
        self.bob.send(&self.anna, "hello", b"This is where I am.\r\n");
        self.anna.wait_for_mails(1);
        self.bob.wait_for_receipts();
    }

    /// Waits until a relay has something for Anna that she has not fetched: the receipt.
    pub(crate) fn wait_for_receipt_with_keeper(&self) {
        eventually("the receipt is with the relay", || {
            let list = self.keepers[0].json(&["relay", "list"]);
            let kept = |hosted: &serde_json::Value| hosted["name"] == "anna" && hosted["waiting"].as_u64() > Some(0);
            list["hosted"].as_array().unwrap().iter().any(kept).then_some(())
        });
    }
}
