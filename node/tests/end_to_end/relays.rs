//! People who are never online together, real processes: a relay keeps what one sends until the other fetches it.

use crate::clients::{header, inbox, mail, send};
use crate::node::{Node, befriend, eventually};

/// Anna, Bob, and Carol whose node keeps mail for both: everybody knows everybody.
fn household(names: [&str; 3]) -> [Node; 3] {
    let carol = Node::started(&[names[2]]);
    let mut others = [names[0], names[1]].map(|name| {
        let mut node = Node::with_accounts(&[name]);
        node.knows(&carol);
        node.start();
        node
    });
    let [anna, bob] = &mut others;
    befriend(anna, names[0], bob, names[1]);
    befriend(anna, names[0], &carol, names[2]);
    befriend(bob, names[1], &carol, names[2]);
    let [anna, bob] = others;
    [anna, bob, carol]
}

/// Asks for a relay and has it allowed, over the overlay; waits until it stands in the card.
pub(crate) fn relay(node: &Node, relay: &Node, owner: &str, keeper: &str) {
    node.ask(&["relay", "ask", keeper, "--quota", "64MiB"]);
    eventually("the request arrives", || {
        let list = relay.json(&["relay", "list"]);
        list["talks"].as_array().unwrap().iter().any(|talk| talk["name"] == owner).then_some(())
    });
    relay.ask(&["relay", "allow", owner, "--quota", "64MiB"]);
    eventually("the relay agrees", || {
        let list = node.json(&["relay", "list"]);
        list["used"].as_array().unwrap().iter().any(|used| used["granted"].is_u64()).then_some(())
    });
}

/// A letter, which brings the newest card, and its receipt.
fn says_hello(from: &Node, name: &str, to: &Node, other: &str) {
    send(from, name, &[&format!("{other}@kith.alt")], &mail(name, "hello", b"hello\r\n"));
    inbox(to, other, 1);
    eventually("the receipt", || (from.waiting() == 0).then_some(()));
}

/// Anna writes to Bob while he is away, and goes when her own relay has the mail; then he comes.
fn carried(anna: &mut Node, bob: &mut Node) {
    bob.stop();
    send(anna, "anna", &["bob@kith.alt"], &mail("anna", "by way of Carol", b"!\r\n"));
    eventually("her relay carries it", || {
        let entries = anna.json(&["queue", "list"]);
        (entries["entries"][0]["copies"][0]["at"] == "your relay").then_some(())
    });
    anna.stop();
    bob.start();
}

/// Whether mail or a receipt waits at a relay for somebody.
fn keeps_something_for(relay: &Node, owner: &str) -> bool {
    let list = relay.json(&["relay", "list"]);
    let hosted = list["hosted"].as_array().unwrap();
    hosted.iter().any(|hosted| hosted["name"] == owner && hosted["waiting"].as_u64() > Some(0))
}

#[test]
fn mail_and_receipt_cross_between_people_who_are_never_online_together() {
    let [mut anna, mut bob, carol] = household(["anna", "bob", "carol"]);
    relay(&anna, &carol, "anna", "carol");
    relay(&bob, &carol, "bob", "carol");
    // Anna learns of Bob's relay with his next letter.
    says_hello(&bob, "bob", &anna, "anna");
    bob.stop();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "while you were away", b"!\r\n"));
    eventually("the relay keeps it", || {
        let entries = anna.json(&["queue", "list"]);
        let copies = &entries["entries"][0]["copies"];
        (copies[0]["at"] == "relay").then_some(())
    });
    anna.stop();
    bob.start();
    let mails = inbox(&bob, "bob", 1);
    assert_eq!(header(&mails[0], "Subject"), "while you were away");
    eventually("the receipt is with the relay", || keeps_something_for(&carol, "anna").then_some(()));
    bob.stop();
    anna.start();
    eventually("Anna has the receipt", || (anna.waiting() == 0).then_some(()));
}

/// Whether this text, or the key behind an address, stands anywhere in a home.
pub(crate) fn holds(folder: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

#[test]
fn a_relay_holds_and_logs_nothing_of_sender_subject_or_text() {
    let [mut anna, mut bob, mut carol] = household(["anna", "bob", "carol"]);
    relay(&bob, &carol, "bob", "carol");
    carol.stop();
    carol.log("debug");
    carol.start();
    bob.stop();
    bob.knows(&carol);
    bob.start();
    // Dora is nobody to Carol: whatever of hers lies there came with her mail.
    let mut dora = Node::with_accounts(&["dora"]);
    dora.knows(&carol);
    dora.start();
    befriend(&dora, "dora", &bob, "bob");
    says_hello(&bob, "bob", &dora, "dora");
    bob.stop();
    anna.stop();
    send(&dora, "dora", &["bob@kith.alt"], &mail("dora", "canary-subject-7391", b"canary-text-5508\r\n"));
    eventually("the relay keeps it", || {
        let list = carol.json(&["relay", "list"]);
        list["hosted"][0]["waiting"].as_u64().filter(|waiting| *waiting > 0)
    });
    let address = dora.address("dora");
    let key = address.split('@').next().unwrap().to_owned();
    dora.stop();
    carol.stop();
    assert!(holds(carol.home(), b"DEBUG"), "the log is searched, too");
    for canary in [b"canary-subject-7391".as_slice(), b"canary-text-5508", key.as_bytes(), b"dora"] {
        assert!(!holds(carol.home(), canary), "{}", String::from_utf8_lossy(canary));
    }
    carol.start();
    bob.knows(&carol);
    bob.start();
    inbox(&bob, "bob", 1);
}

#[test]
fn volunteers_keep_mail_for_somebody_who_has_no_relay() {
    let first = {
        let mut node = Node::with_accounts(&["v0"]);
        node.configure("volunteer = \"1 MiB\"");
        node.start();
        node
    };
    let others: Vec<Node> = (1..3)
        .map(|number| {
            let mut node = Node::with_accounts(&[&format!("v{number}")]);
            node.configure("volunteer = \"1 MiB\"");
            node.knows(&first);
            node.start();
            node
        })
        .collect();
    let [mut anna, mut bob] = ["anna", "bob"].map(|name| {
        let mut node = Node::with_accounts(&[name]);
        node.knows(&first);
        node.start();
        node
    });
    befriend(&anna, "anna", &bob, "bob");
    says_hello(&bob, "bob", &anna, "anna");
    bob.stop();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "kept by nobody in particular", b"!\r\n"));
    eventually("volunteers keep it", || {
        let entries = anna.json(&["queue", "list"]);
        (entries["entries"][0]["copies"][0]["at"] == "volunteer").then_some(())
    });
    anna.stop();
    bob.start();
    assert_eq!(header(&inbox(&bob, "bob", 1)[0], "Subject"), "kept by nobody in particular");
    drop(others);
}

/// Bob, whom Anna knows, and who has learned of her relay with her first letter.
fn friend_of(anna: &Node) -> Node {
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(anna);
    bob.start();
    befriend(anna, "anna", &bob, "bob");
    says_hello(anna, "anna", &bob, "bob");
    bob
}

/// Bob has no relay, and knows nobody but Anna: hers carries the mail on, and he knocks there when he comes back.
#[test]
fn a_contacts_relay_carries_mail_to_somebody_who_has_none() {
    let carol = Node::started(&["carol"]);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&carol);
    anna.start();
    befriend(&anna, "anna", &carol, "carol");
    relay(&anna, &carol, "anna", "carol");
    let mut bob = friend_of(&anna);
    carried(&mut anna, &mut bob);
    let begun = std::time::Instant::now();
    assert_eq!(header(&inbox(&bob, "bob", 2)[1], "Subject"), "by way of Carol");
    eprintln!("there after {:.1} s", begun.elapsed().as_secs_f64());
    eventually("the receipt is with her relay", || keeps_something_for(&carol, "anna").then_some(()));
    bob.stop();
    anna.start();
    eventually("Anna has the receipt", || (anna.waiting() == 0).then_some(()));
}

/// Who runs the relay has moved since. Anna hears of it with the next letter, and Bob with hers.
#[test]
fn a_relay_that_has_moved_is_found_where_it_is_now() {
    let mut carol = Node::started(&["carol"]);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&carol);
    anna.start();
    befriend(&anna, "anna", &carol, "carol");
    relay(&anna, &carol, "anna", "carol");
    carol.stop();
    carol.knows(&anna);
    carol.start();
    says_hello(&carol, "carol", &anna, "anna");
    let now = carol.addresses();
    eventually("Anna knows where her relay is now", || {
        let list = anna.json(&["relay", "list"]);
        let known = list["used"][0]["addresses"].as_array().unwrap().clone();
        now.iter().all(|address| known.iter().any(|known| known == address)).then_some(())
    });
    let mut bob = friend_of(&anna);
    carried(&mut anna, &mut bob);
    assert_eq!(header(&inbox(&bob, "bob", 2)[1], "Subject"), "by way of Carol");
}
