//! kill -9 across the gateway, both ways, beside a real Postfix: what had its `250` is never lost, and what comes twice is counted: it is what was under way at
//! the kill, and no more (RFC 5321 §4.5.3.2.6).

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt as _;

use crate::arrivals::{self, TEXTS, bring, from};
use crate::clients::{Lines, by_pop3, header, mail, send_in, submission};
use crate::legacy::{text, three_with};
use crate::names::Names;
use crate::node::{Node, befriend, eventually};
use crate::ports::free_port;
use crate::postfix::Postfix;

/// The most mails that are under way to one provider at once, each on a connection of its own.
const UNDER_WAY_MAX: usize = 4;

/// 250 means that it is not lost: killed again and again while it sends, every mail arrives. What the other side has taken and the queue still has goes
/// again (RFC 5321 §4.5.3.2.6): it is counted at every kill, and it is what was under way at that moment, and no more.
#[test]
fn killed_at_random_it_loses_nothing_and_doubles_only_what_was_under_way() {
    let Some((mut anna, _bob, postfix)) = three_with("mails_per_minute = 0\n") else { return };
    let (kills, each) = (8, 25);
    let mut accepted = 0;
    let arrived =
        |postfix: &Postfix| -> Vec<String> { postfix.mails("carol").iter().map(|mail| header(mail, "Subject")).collect() };
    let distinct = |postfix: &Postfix| arrived(postfix).into_iter().collect::<BTreeSet<String>>().len();
    let mut doubled = Vec::new();
    for _ in 0..kills {
        let mut smtp = submission(&anna, "anna");
        for _ in 0..each {
            let text = mail("anna", &format!("mail {accepted}"), b"x\r\n");
            assert!(send_in(&mut smtp, "anna", &["carol@far.test"], "", &text).starts_with("250 "));
            accepted += 1;
        }
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..60)));
        anna.kill();
        postfix.settled();
        let (waits, there) = (anna.waiting(), distinct(&postfix));
        assert!(waits + there >= accepted, "{accepted} accepted, {there} there, {waits} wait: one is lost");
        doubled.push(waits + there - accepted);
        anna.start();
    }
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
    postfix.settled();
    let all = arrived(&postfix);
    assert_eq!(distinct(&postfix), accepted, "each is there");
    eprintln!("{} of {accepted} twice; by kill: {doubled:?}", all.len() - accepted);
    assert!(doubled.iter().all(|doubled| *doubled <= UNDER_WAY_MAX), "{doubled:?}");
    // An attempt that a kill has cut off may be cut off again: there are no others that come twice.
    assert!(all.len() - accepted <= doubled.iter().sum(), "{} of {accepted} twice; by kill: {doubled:?}", all.len() - accepted);
    assert_eq!(by_pop3(&anna, "anna").len(), 1, "the one notice, and no report");
}

/// The same where two nodes are between: anna's hands each mail to bob's as a letter, bob's to the provider; either is killed at random.
#[test]
fn a_contacts_gateway_and_its_user_may_be_killed_at_random_too() {
    let Some(postfix) = Postfix::start(free_port(), "") else { return };
    let mut bob = Node::with_accounts(&["bob"]);
    bob.configure(&format!(
        "[gateway]\nretry_seconds = 1\ndomains = [\"near.test\"]\n[gateway.provider.bob]\naddress = \"bob@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\nmails_per_minute = 0\n",
        postfix.port
    ));
    bob.start();
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&bob);
    anna.start();
    befriend(&bob, "bob", &anna, "anna");
    bob.ask(&["gateway", "map", "anna@near.test", "anna"]);
    bob.ask(&["gateway", "allow", "anna"]);
    anna.ask(&["gateway", "use", "bob"]);
    let (kills, mut accepted, mut of_bob) = (8, 0, 0);
    for round in 0..kills {
        let mut smtp = submission(&anna, "anna");
        for _ in 0..6 {
            let text = mail("anna", &format!("mail {accepted}"), b"x\r\n");
            assert!(send_in(&mut smtp, "anna", &["carol@far.test", "nobody@far.test"], "", &text).starts_with("250 "));
            accepted += 1;
        }
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..300)));
        if round % 2 == 0 {
            bob.kill();
            bob.start();
            anna.knows(&bob);
            of_bob += 1;
        }
        anna.kill();
        anna.start();
    }
    for node in [&anna, &bob] {
        eventually("nothing waits", || (node.waiting() == 0).then_some(()));
    }
    postfix.settled();
    let mut subjects: Vec<String> = postfix.mails("carol").iter().map(|mail| header(mail, "Subject")).collect();
    let doubled = subjects.len();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), accepted, "each is there");
    let doubled = doubled - accepted;
    eprintln!("{doubled} of {accepted} twice, in {of_bob} kills of the gateway");
    assert!(doubled <= of_bob * UNDER_WAY_MAX, "{doubled}");
    // One fate for each recipient that is not there: each mail is reported, and none twice but what was under way.
    let reports = eventually("all reports", || {
        let reports =
            by_pop3(&anna, "anna").into_iter().filter(|mail| text(mail).contains("Final-Recipient: rfc822; nobody@far.test"));
        Some(reports.collect::<Vec<_>>()).filter(|reports| reports.len() >= accepted)
    });
    let about =
        |number: usize| reports.iter().filter(|report| text(report).contains(&format!("Subject: mail {number}\r\n"))).count();
    for number in 0..accepted {
        assert_eq!(about(number), 1, "mail {number} has one fate");
    }
}

/// P1 to P3 and P9 across the gateway: Postfix brings mail while the node is killed at random. What Postfix was told `250` for is there; twice is only what was just
/// being said, which is counted; nothing is bounced. For anna, who lives there, and for bob, whose letters go on over the overlay.
#[test]
fn what_postfix_brings_while_the_node_is_killed_at_random_is_there_and_only_what_was_under_way_comes_twice() {
    const AT_ONCE: usize = 4;
    let mx = free_port();
    let settings = format!(
        "default_destination_concurrency_limit = {AT_ONCE}\ndefault_destination_concurrency_failed_cohort_limit = 1000\n"
    );
    let Some(postfix) = Postfix::start(mx, &settings) else { return };
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{mx}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\n",
        names.address
    ));
    anna.start();
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(&anna);
    bob.start();
    befriend(&anna, "anna", &bob, "bob");
    anna.ask(&["gateway", "map", "bob@near.test", "bob"]);
    bob.ask(&["gateway", "use", "anna"]);
    anna.knows(&bob);
    let (kills, each) = (8, 12);
    let mut smtp = Lines::connect(&format!("127.0.0.1:{}", postfix.port));
    smtp.reply();
    smtp.talk("EHLO carol");
    let mut brought = 0;
    for _ in 0..kills {
        for _ in 0..each {
            for to in ["anna", "bob"] {
                for line in ["MAIL FROM:<carol@far.test>", &format!("RCPT TO:<{to}@near.test>"), "DATA"] {
                    assert!(matches!(smtp.talk(line).as_bytes().first(), Some(b'2' | b'3')), "{line}");
                }
                smtp.send(from("Carol <carol@far.test>", &format!("mail {brought} for {to}")).as_bytes());
                assert!(smtp.talk(".").starts_with("250 "));
            }
            brought += 1;
        }
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..60)));
        anna.kill();
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..400)));
        anna.start();
    }
    postfix.settled();
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
    let mut twice = 0;
    for (node, name) in [(&anna, "anna"), (&bob, "bob")] {
        let subjects: Vec<String> = by_pop3(node, name).iter().map(|mail| header(mail, "Subject")).collect();
        for number in 0..brought {
            let subject = format!("mail {number} for {name}");
            let copies = subjects.iter().filter(|found| **found == subject).count();
            assert!(copies >= 1, "{subject} is lost");
            twice += copies - 1;
        }
    }
    eprintln!("{twice} of {} twice, in {kills} kills", 2 * brought);
    assert!(twice <= kills * AT_ONCE, "{twice}");
    let log = postfix.log();
    assert!(!log.contains("status=bounced"), "{log}");
    // Of what was said twice the log knows: the answer to the text was lost.
    let lost = log.matches("while sending end of data").count() + log.matches("while sending message body").count();
    assert!(twice <= lost, "{twice} twice, and {lost} conversations broke off at the end");
}

/// P1 across the gateway: what the other server heard `250` for is there, once, however often the node is killed.
#[test]
fn what_was_taken_is_there_once_after_any_kill() {
    let (mut anna, port) = arrivals::anna("greylist_seconds = 0");
    let mut taken = Vec::new();
    for round in 0..4 {
        for number in 0..6 {
            let subject = format!("{round}/{number}");
            if bring(port, "carol@far.test", "anna@near.test", &from("carol@far.test", &subject)).starts_with("250 ") {
                taken.push(subject);
            }
        }
        anna.kill();
        anna.start();
    }
    let subjects: Vec<String> = by_pop3(&anna, "anna").iter().map(|mail| header(mail, "Subject")).collect();
    assert_eq!(subjects, taken);
    assert_eq!(taken.len(), 24);
}
