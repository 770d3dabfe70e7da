//! Ordinary e-mail: mail to both worlds at once, what its sender is told, what happens when the other side is down or says no.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clients::{Imap, Lines, body, by_pop3, header, inbox, mail, send, submission};
use crate::names::Names;
use crate::node::{Node, befriend, eventually};
use crate::ports::free_port;
use crate::postfix::Postfix;

/// What `kith.toml` says of a gateway by that Postfix, for anna.
fn by_provider(port: u16) -> String {
    format!(
        "[gateway]\nretry_seconds = 1\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"127.0.0.1:{port}\"\nsmtp_tls = \"none\"\n"
    )
}

/// Anna with a gateway, Bob on Kith, Postfix beside them.
fn three() -> Option<(Node, Node, Postfix)> {
    three_with("")
}

/// The same; `more` is said of the provider in `kith.toml`.
pub(crate) fn three_with(more: &str) -> Option<(Node, Node, Postfix)> {
    let postfix = Postfix::start(free_port(), "")?;
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&(by_provider(postfix.port) + more));
    anna.start();
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(&anna);
    bob.start();
    befriend(&anna, "anna", &bob, "bob");
    Some((anna, bob, postfix))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A recipient's answer in a submission session.
fn rcpt(node: &Node, name: &str, recipient: &str) -> String {
    let mut smtp: Lines = submission(node, name);
    assert!(smtp.talk(&format!("MAIL FROM:<{name}@kith.alt>")).starts_with("250 "));
    smtp.talk(&format!("RCPT TO:<{recipient}>"))
}

#[test]
fn a_mail_to_both_worlds_is_split_and_the_sender_is_told_what_left_in_the_clear() {
    let Some((anna, bob, postfix)) = three() else { return };
    anna.ask(&["contact", "add", "bob", &bob.address("bob"), "--email", "bob@elsewhere.test"]);
    let mail = b"From: Anna <anna@near.test>\r\nTo: Bob <bob@kith.alt>\r\nCc: carol@far.test\r\nSubject: both\r\nMessage-ID: <both@near.test>\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n.f\xc3\xbcr beide\r\nFrom here\r\n";
    send(&anna, "anna", &["bob@kith.alt", "Carol@far.test"], mail);
    let clear = &postfix.mailbox("carol", 1)[0];
    assert_eq!(text(body(clear)), ".für beide\r\nFrom here\r\n");
    assert_eq!(header(clear, "From"), "Anna <anna@near.test>");
    assert_eq!(header(clear, "To"), "Bob <bob@elsewhere.test>", "an address that she can answer");
    assert_eq!(header(clear, "Kith-Address"), anna.address("anna"));
    assert!(!text(clear).contains("X-Kith-"), "{}", text(clear));
    let sealed = &inbox(&bob, "bob", 1)[0];
    assert_eq!(text(body(sealed)), ".für beide\r\nFrom here\r\n");
    assert_eq!(header(sealed, "From"), format!("Anna <{}>", anna.address("anna")));
    assert_eq!(header(sealed, "Cc"), "carol@far.test");
    let notice = &inbox(&anna, "anna", 1)[0];
    assert!(
        header(notice, "Subject").contains("Sent in the clear") && text(notice).contains("Carol@far.test"),
        "{}",
        text(notice)
    );
    assert!(!text(notice).contains("bob@"), "{}", text(notice));
    let mut imap = Imap::login(&anna, "anna");
    imap.ok(&format!("APPEND Sent {{{}+}}\r\n{}", mail.len(), text(mail)));
    imap.select("Sent");
    assert!(header(&imap.bodies()[0], "X-Kith-Clear").contains("Carol@far.test"));
    // Told once for each recipient.
    send(&anna, "anna", &["carol@far.test"], mail);
    postfix.mailbox("carol", 2);
    assert_eq!(by_pop3(&anna, "anna").len(), 1);
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn each_recipient_has_a_fate_of_its_own() {
    let Some((anna, _bob, postfix)) = three() else { return };
    send(&anna, "anna", &["carol@far.test", "nobody@far.test", "dave@far.test"], &mail("anna", "to three", b"x\r\n"));
    postfix.mailbox("carol", 1);
    postfix.mailbox("dave", 1);
    // The notice, and the report.
    let report = inbox(&anna, "anna", 2).into_iter().find(|mail| text(mail).contains("message/delivery-status")).unwrap();
    let report = text(&report);
    for wanted in
        ["Action: failed", "Final-Recipient: rfc822; nobody@far.test", "Diagnostic-Code: smtp; ", "550", "Subject: to three"]
    {
        assert!(report.contains(wanted), "{wanted}: {report}");
    }
    assert!(!report.contains("carol@"), "{report}");
    assert_eq!((postfix.mails("carol").len(), postfix.mails("dave").len()), (1, 1));
    assert_eq!(anna.waiting(), 0);
}

#[test]
fn mail_waits_for_a_word_or_is_refused_where_a_rule_says_so() {
    let Some((anna, _bob, postfix)) = three() else { return };
    anna.ask(&["gateway", "rule", "ask"]);
    anna.ask(&["gateway", "rule", "never", "@elsewhere.test"]);
    anna.ask(&["gateway", "rule", "always", "dave@far.test"]);
    let refused = rcpt(&anna, "anna", "x@elsewhere.test");
    assert!(refused.starts_with("550 5.7.1") && refused.contains("kith gateway rule"), "{refused}");
    send(&anna, "anna", &["carol@far.test", "dave@far.test"], &mail("anna", "asked", b"x\r\n"));
    postfix.mailbox("dave", 1);
    let entries = anna.json(&["queue", "list"]);
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!((entries.len(), entries[0]["held"].as_bool()), (1, Some(true)));
    assert!(text(&inbox(&anna, "anna", 1)[0]).contains("Waits for your word"));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(postfix.mails("carol").len(), 0, "nothing leaves without a word");
    anna.ask(&["gateway", "release", &entries[0]["id"].to_string()]);
    postfix.mailbox("carol", 1);
    send(&anna, "anna", &["carol@far.test"], &mail("anna", "thought better", b"x\r\n"));
    let id = anna.json(&["queue", "list"])["entries"][0]["id"].to_string();
    anna.ask(&["queue", "cancel", &id]);
    assert_eq!(anna.waiting(), 0);
    let rules = anna.json(&["gateway", "rule"]);
    assert_eq!(rules["rules"].as_array().unwrap().len(), 3, "{rules}");
}

#[test]
fn without_a_gateway_an_ordinary_address_is_refused_while_one_sends() {
    let anna = Node::started(&["anna"]);
    let refused = rcpt(&anna, "anna", "carol@far.test");
    assert!(refused.starts_with("550 5.1.2") && refused.contains("no gateway"), "{refused}");
}

#[test]
fn mail_waits_while_the_provider_is_down_and_arrives_once() {
    let Some((mut anna, _bob, postfix)) = three() else { return };
    postfix.command("stop");
    send(&anna, "anna", &["carol@far.test"], &mail("anna", "late", b"x\r\n"));
    eventually("the queue says why", || {
        let entry = anna.json(&["queue", "list"])["entries"][0].clone();
        (entry["attempts"].as_u64() >= Some(1) && entry["state"].as_str().unwrap().contains("reached")).then_some(())
    });
    anna.kill();
    anna.start();
    assert!(postfix.command("start").status.success());
    anna.ask(&["queue", "retry"]);
    postfix.mailbox("carol", 1);
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
    assert_eq!(postfix.mails("carol").len(), 1);
}

#[test]
fn a_provider_that_wants_another_password_is_said_at_once() {
    let Some(postfix) = Postfix::start(free_port(), "") else { return };
    let mut anna = Node::with_accounts(&["anna"]);
    std::fs::write(anna.home().join("password"), "wrong\n").unwrap();
    // This Postfix knows no passwords at all.
    anna.configure(&format!("{}password_file = \"password\"\n", by_provider(postfix.port)));
    anna.start();
    send(&anna, "anna", &["carol@far.test"], &mail("anna", "x", b"x\r\n"));
    eventually("the status says so", || anna.ask(&["status"]).contains("to mend").then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let asked = postfix.log().matches("connect from").count();
    assert!(asked <= 2, "no storm of attempts: {asked}");
}

/// Whether a mail tells that something went in the clear is a setting, and what may go is a rule for a contact too.
#[test]
fn a_person_is_told_as_often_as_they_want_and_rules_know_contacts() {
    for (notify, told) in [("never", 0), ("first", 1), ("always", 3)] {
        let Some(postfix) = Postfix::start(free_port(), "") else { return };
        let mut anna = Node::with_accounts(&["anna", "ben"]);
        anna.configure(&by_provider(postfix.port).replace("[gateway]\n", &format!("[gateway]\nnotify = \"{notify}\"\n")));
        anna.start();
        for number in 0..3 {
            send(&anna, "anna", &["carol@far.test"], &mail("anna", &format!("mail {number}"), b"x\r\n"));
        }
        postfix.mailbox("carol", 3);
        assert_eq!(by_pop3(&anna, "anna").len(), told, "{notify}");
        // Whoever has a key is reached by it, whatever rule there is of the address.
        anna.ask(&["contact", "add", "ben", &anna.address("ben"), "--email", "ben@far.test", "--account", "anna"]);
        anna.ask(&["gateway", "rule", "never", "ben", "--account", "anna"]);
        let rules = anna.json(&["gateway", "rule", "--account", "anna"]);
        assert_eq!(
            (&rules["rules"][0]["about"], &rules["rules"][0]["rule"]),
            (&"ben@far.test".into(), &"never".into()),
            "{rules}"
        );
        send(&anna, "anna", &["ben@far.test"], &mail("anna", "by the key", b"x\r\n"));
        assert_eq!(inbox(&anna, "ben", 1).len(), 1);
        // Without it, the rule counts; and with it taken back, what is usual.
        anna.ask(&["contact", "remove", "ben", "--account", "anna"]);
        assert!(rcpt(&anna, "anna", "ben@far.test").starts_with("550 5.7.1"));
        anna.ask(&["gateway", "rule", "default", "ben@far.test", "--account", "anna"]);
        assert!(rcpt(&anna, "anna", "ben@far.test").starts_with("250 "));
    }
}

#[test]
fn a_provider_is_given_no_more_mails_a_minute_than_the_settings_say() {
    let Some((anna, _bob, postfix)) = three_with("mails_per_minute = 3\n") else { return };
    for number in 0..5 {
        send(&anna, "anna", &["carol@far.test"], &mail("anna", &format!("mail {number}"), b"x\r\n"));
    }
    postfix.mailbox("carol", 3);
    // The others wait for the next minute, and not in trouble.
    eventually("two wait", || (anna.waiting() == 2).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((postfix.mails("carol").len(), anna.waiting()), (3, 2));
}

#[test]
fn a_contacts_gateway_sends_on_and_says_what_became_of_it() {
    let Some(postfix) = Postfix::start(free_port(), "") else { return };
    let mut bob = Node::with_accounts(&["bob"]);
    bob.configure(&format!(
        "[gateway]\nretry_seconds = 1\ndomains = [\"near.test\"]\n[gateway.provider.bob]\naddress = \"bob@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\n",
        postfix.port
    ));
    bob.start();
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&bob);
    anna.start();
    befriend(&bob, "bob", &anna, "anna");
    anna.ask(&["gateway", "use", "bob"]);
    // Not allowed yet: said by a report.
    send(&anna, "anna", &["carol@far.test"], &mail("anna", "too early", b"x\r\n"));
    let told = inbox(&anna, "anna", 2);
    assert!(
        told.iter().any(|mail| text(mail).contains("not open to you")),
        "{:?}",
        told.iter().map(|mail| text(mail)).collect::<Vec<_>>()
    );
    bob.ask(&["gateway", "map", "anna@near.test", "anna"]);
    bob.ask(&["gateway", "allow", "anna"]);
    send(&anna, "anna", &["carol@far.test", "nobody@far.test"], &mail("anna", "by bob", b"hello\r\n"));
    let clear = &postfix.mailbox("carol", 1)[0];
    assert_eq!(header(clear, "From"), "<anna@near.test>");
    assert_eq!(header(clear, "Kith-Address"), anna.address("anna"));
    assert_eq!(text(body(clear)), "hello\r\n");
    let report = eventually("the report", || {
        by_pop3(&anna, "anna").into_iter().find(|mail| text(mail).contains("Final-Recipient: rfc822; nobody@far.test"))
    });
    assert!(text(&report).contains("Action: failed") && text(&report).contains("Subject: by bob"), "{}", text(&report));
    for node in [&anna, &bob] {
        eventually("nothing waits", || (node.waiting() == 0).then_some(()));
    }
}

/// Whether dkimpy believes both signatures of a mail as it arrived, by the records that `kith gateway check` has one enter, and sees it when it was changed.
fn believed_by_dkimpy(node: &Node, arrived: &[u8]) {
    let report = node.json(&["gateway", "check", "near.test", "--address", "127.0.0.1"]);
    let items = report["items"].as_array().unwrap().iter().filter(|item| item["what"] == "DKIM");
    let lines: Vec<&str> = items.flat_map(|item| item["enter"].as_array().unwrap()).map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines.len(), 2, "{report}");
    let table: Vec<String> = lines
        .iter()
        .map(|line| {
            let text: String = line.split('"').skip(1).step_by(2).collect();
            format!("{:?}: {text:?}", line.split_whitespace().next().unwrap().trim_end_matches('.'))
        })
        .collect();
    let script = format!(
        "import sys, dkim\nrecords = {{{}}}\nmail = sys.stdin.buffer.read()\ndef txt(name, timeout=5):\n    return records.get(name.decode().rstrip('.'), '').encode()\n\
         def good(mail, index):\n    try:\n        return dkim.DKIM(mail, minkey=1024).verify(idx=index, dnsfunc=txt)\n    except dkim.ValidationError:\n        return False\n\
         sys.exit(0 if all(good(mail, i) and not good(mail + b'more\\r\\n', i) for i in (0, 1)) else 1)",
        table.join(", ")
    );
    let python = "/usr/bin/python3";
    if !Command::new(python).args(["-c", "import dkim, nacl"]).output().is_ok_and(|out| out.status.success()) {
        eprintln!("dkimpy is not installed: its word is skipped");
        return;
    }
    let mut child = Command::new(python).args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(arrived).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), text(arrived));
}

/// Without a provider: the DNS says who takes mail for a domain, and it is brought there, signed.
#[test]
fn mail_goes_directly_to_the_mail_server_that_the_dns_names() {
    let Some(postfix) = Postfix::start(free_port(), "") else { return };
    let names = Names::start(&[("far.test", "MX mx.far.test"), ("mx.far.test", "A 127.0.0.1")]);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\ndirect = true\nmx_port = {}\ndns = [\"{}\"]\nretry_seconds = 1\n",
        postfix.port, names.address
    ));
    anna.start();
    send(&anna, "anna", &["carol@far.test", "x@nowhere.test"], &mail("anna", "direct", b"x\r\n"));
    let got = &postfix.mailbox("carol", 1)[0];
    assert_eq!(header(got, "From"), "<anna@near.test>");
    let signature = header(got, "DKIM-Signature");
    assert!(signature.contains("d=near.test") && signature.contains("Kith-Address"), "{signature}");
    believed_by_dkimpy(&anna, got);
    let report = eventually("the report", || {
        by_pop3(&anna, "anna").into_iter().find(|mail| text(mail).contains("Final-Recipient: rfc822; x@nowhere.test"))
    });
    assert!(text(&report).contains("Status: 5.1.2"), "{}", text(&report));
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn a_domain_that_looks_like_a_known_one_is_refused_until_it_is_meant() {
    let Some((anna, bob, postfix)) = three() else { return };
    anna.ask(&["contact", "add", "bob", &bob.address("bob"), "--email", "bob@apple.test"]);
    // The first letter is Cyrillic.
    let mut smtp: Lines = submission(&anna, "anna");
    assert!(smtp.talk("MAIL FROM:<anna@kith.alt> SMTPUTF8").starts_with("250 "));
    let refused = smtp.talk("RCPT TO:<bob@\u{430}pple.test>");
    assert!(refused.starts_with("550 5.7.1") && refused.contains("kith gateway rule always"), "{refused}");
    let ascii = rcpt(&anna, "anna", "bob@xn--pple-43d.test");
    assert!(ascii.starts_with("550 5.7.1"), "{ascii}");
    anna.ask(&["gateway", "rule", "always", "@xn--pple-43d.test"]);
    assert!(rcpt(&anna, "anna", "bob@xn--pple-43d.test").starts_with("250 "));
    drop(postfix);
}
