//! The node's port 25: what the world may bring, to whom, and what is found out of who brings it.

use crate::clients::{Imap, Lines, base64, body, by_pop3, header, inbox, mail, send};
use crate::names::Names;
use crate::node::{Node, befriend, eventually};
use crate::ports::free_port;
use crate::postfix::Postfix;
use crate::relays::{holds, relay};

/// Who may send from this machine, and what becomes of what others claim.
pub(crate) const TEXTS: &[(&str, &str)] = &[
    ("far.test", "v=spf1 ip4:127.0.0.1 -all"),
    ("mx.far.test", "v=spf1 ip4:127.0.0.1 -all"),
    ("_dmarc.far.test", "v=DMARC1; p=reject"),
    ("strict.test", "v=spf1 -all"),
    ("_dmarc.strict.test", "v=DMARC1; p=reject"),
    ("doubtful.test", "v=spf1 -all"),
    ("_dmarc.doubtful.test", "v=DMARC1; p=quarantine"),
];

/// Anna at `near.test`, with its mail server; more lines for the section.
pub(crate) fn anna(more: &str) -> (Node, u16) {
    let port = free_port();
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{port}\"\ndns = [\"{}\"]\nretry_seconds = 1\n{more}\n",
        names.address
    ));
    anna.start();
    (anna, port)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session with the port, greeted.
fn knock(port: u16) -> Lines {
    let mut smtp = Lines::connect(&format!("127.0.0.1:{port}"));
    assert!(smtp.reply().starts_with("220 "));
    let hello = smtp.talk("EHLO mx.far.test");
    assert!(hello.contains("STARTTLS") && !hello.contains("AUTH"), "{hello}");
    smtp
}

/// One mail; gives the last answer that was heard.
pub(crate) fn bring(port: u16, from: &str, to: &str, mail: &str) -> String {
    let mut smtp = knock(port);
    for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
        let reply = smtp.talk(&line);
        if !reply.starts_with('2') && !reply.starts_with('3') {
            return reply;
        }
    }
    smtp.send(mail.as_bytes());
    smtp.send(b".\r\n");
    smtp.reply()
}

pub(crate) fn from(author: &str, subject: &str) -> String {
    format!(
        "From: {author}\r\nTo: anna@near.test\r\nSubject: {subject}\r\nX-Kith-Route: forged\r\nAuthentication-Results: kith.alt; kith=pass\r\n\r\nhello\r\n"
    )
}

#[test]
fn mail_comes_in_with_what_was_found_of_its_sender() {
    let (anna, port) = anna("greylist_seconds = 0");
    let reply = bring(port, "carol@far.test", "Anna+shop@Near.Test", &from("Carol <carol@far.test>", "good"));
    assert!(reply.starts_with("250 "), "{reply}");
    let got = &inbox(&anna, "anna", 1)[0];
    assert_eq!(text(body(got)), "hello\r\n");
    assert_eq!(header(got, "From"), "Carol <carol@far.test>");
    assert_eq!(header(got, "Return-Path"), "<carol@far.test>");
    let results = header(got, "Authentication-Results");
    for wanted in ["mail.near.test;", "spf=pass smtp.mailfrom=carol@far.test", "dkim=none", "dmarc=pass"] {
        assert!(results.contains(wanted), "{wanted}: {results}");
    }
    assert!(!text(got).contains("forged") && !text(got).contains("kith=pass"), "{}", text(got));
    assert!(text(got).contains("Received: from mx.far.test"), "{}", text(got));
    // Nobody's: said at once.
    let reply = bring(port, "carol@far.test", "nobody@near.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    // The null sender brings reports; postmaster is somebody.
    assert!(bring(port, "", "postmaster@near.test", &from("MAILER-DAEMON@far.test", "report")).starts_with("250 "));
    inbox(&anna, "anna", 2);
}

#[test]
fn nobody_relays_here_and_nobody_comes_in_under_anothers_name() {
    let (anna, port) = anna("greylist_seconds = 0");
    let reply = bring(port, "carol@far.test", "dave@elsewhere.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let reply = bring(port, "x@strict.test", "anna@near.test", &from("ceo@strict.test", "pay"));
    assert!(reply.starts_with("550 5.7.1") && reply.contains("DMARC"), "{reply}");
    let reply = bring(port, "carol@far.test", "anna@near.test", &from("Mum <mum@near.test>", "it is me"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let reply = bring(port, "carol@far.test", "anna@near.test", "Subject: nobody\r\n\r\nx\r\n");
    assert!(reply.starts_with("550 5.6.0"), "{reply}");
    let circle = format!("{}{}", "Received: from a by b; now\r\n".repeat(60), from("carol@far.test", "round"));
    let reply = bring(port, "carol@far.test", "anna@near.test", &circle);
    assert!(reply.starts_with("554 5.4.6"), "{reply}");
    assert_eq!(by_pop3(&anna, "anna").len(), 0);
    // What its own domain doubts is put where one looks at it with suspicion.
    let reply = bring(port, "x@doubtful.test", "anna@near.test", &from("x@doubtful.test", "doubt"));
    assert!(reply.starts_with("250 "), "{reply}");
    let mut imap = Imap::login(&anna, "anna");
    assert_eq!((imap.select("Junk"), imap.select("INBOX")), (1, 0));
}

/// Circles and giants are refused while the other server is there, so that nobody is ever sent a report about them; whoever only looks like somebody one knows goes with the junk.
#[test]
fn circles_giants_and_imitations_are_told_to_whoever_brings_them_and_to_nobody_else() {
    let port = free_port();
    let names = Names::start(&[("xn--pple-43d.test", "v=spf1 ip4:127.0.0.1 -all"), ("far.test", "v=spf1 ip4:127.0.0.1 -all")]);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "size_limit_mib = 1\n[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{port}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\ndirect = true\n",
        names.address
    ));
    anna.start();
    let mut smtp = knock(port);
    let reply = smtp.talk("MAIL FROM:<carol@far.test> SIZE=2000000");
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let giant =
        from("carol@far.test", "large") + &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n".repeat(20_000);
    let reply = bring(port, "carol@far.test", "anna@near.test", &giant);
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let been_here = format!("Delivered-To: Anna@near.test\r\n{}", from("carol@far.test", "round"));
    let reply = bring(port, "carol@far.test", "anna@near.test", &been_here);
    assert!(reply.starts_with("554 5.4.6"), "{reply}");
    let friend = Node::with_accounts(&["friend"]).address("friend");
    anna.ask(&["contact", "add", "friend", &friend, "--email", "friend@apple.test"]);
    // The first letter is Cyrillic.
    let author = "friend@xn--pple-43d.test";
    assert!(bring(port, author, "anna@near.test", &from(author, "it is me")).starts_with("250 "));
    let mut imap = Imap::login(&anna, "anna");
    assert_eq!((imap.select("Junk"), imap.select("INBOX")), (1, 0));
    assert_eq!(anna.waiting(), 0, "nobody is sent anything");
}

#[test]
fn strangers_come_again_and_those_one_has_written_to_need_not() {
    let (mut anna, port) = anna("greylist_seconds = 2");
    let try_once = || bring(port, "carol@far.test", "anna@near.test", &from("carol@far.test", "again"));
    let reply = try_once();
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    anna.kill();
    anna.start();
    assert!(try_once().starts_with("451 "));
    eventually("it is taken", || try_once().starts_with("250 ").then_some(()));
    assert_eq!(inbox(&anna, "anna", 1).len(), 1);
    assert!(try_once().starts_with("250 "), "known from now on");
}

/// A mail to both worlds; whoever gets it on the other side answers everybody, and everybody gets the answer, whichever world they are in.
#[test]
fn an_answer_to_all_reaches_both_worlds() {
    let mx = free_port();
    let Some(postfix) = Postfix::start(mx, "") else { return };
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{mx}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\nretry_seconds = 1\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\n",
        names.address, postfix.port
    ));
    anna.start();
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(&anna);
    bob.start();
    befriend(&anna, "anna", &bob, "bob");
    bob.ask(&["gateway", "use", "anna"]);
    let both = b"From: anna@kith.alt\r\nTo: bob@kith.alt, carol@far.test\r\nSubject: both\r\n\r\nx\r\n";
    send(&anna, "anna", &["bob@kith.alt", "carol@far.test"], both);
    let got = postfix.mailbox("carol", 1).remove(0);
    let (author, to) = (header(&got, "From"), header(&got, "To"));
    assert_eq!(author, "anna@near.test");
    let key = bob.address("bob").split('@').next().unwrap().to_owned();
    assert_eq!(to, format!("{key}@near.test, carol@far.test"));
    // Carol answers all of them, through her own mail server.
    let mut smtp = Lines::connect(&format!("127.0.0.1:{}", postfix.port));
    smtp.reply();
    smtp.talk("EHLO carol");
    let answer = format!("From: Carol <carol@far.test>\r\nTo: {author}, {to}\r\nSubject: Re: both\r\n\r\nyes\r\n.\r\n");
    for line in ["MAIL FROM:<carol@far.test>".to_owned(), format!("RCPT TO:<{author}>"), format!("RCPT TO:<{key}@near.test>")] {
        assert!(smtp.talk(&line).starts_with("250 "));
    }
    smtp.talk("DATA");
    smtp.send(answer.as_bytes());
    assert!(smtp.reply().starts_with("250 "));
    let answered = |mails: Vec<Vec<u8>>| mails.into_iter().find(|mail| header(mail, "Subject") == "Re: both");
    let at_anna = eventually("anna's", || answered(by_pop3(&anna, "anna")));
    let at_bob = eventually("bob's", || answered(by_pop3(&bob, "bob")));
    for got in [&at_anna, &at_bob] {
        assert_eq!(header(got, "From"), "Carol <carol@far.test>");
        assert_eq!(text(body(got)), "yes\r\n");
        let results = header(got, "Authentication-Results");
        assert!(results.contains("spf=pass") && results.contains("dmarc=pass"), "{results}");
    }
    assert_eq!(header(&at_bob, "X-Kith-Gateway"), anna.address("anna"), "whose word it is");
    // Whose gateway one does not use does not speak for others.
    bob.ask(&["gateway", "use", "anna", "--undo"]);
    let mut smtp = Lines::connect(&format!("127.0.0.1:{mx}"));
    smtp.reply();
    smtp.talk("EHLO mx.far.test");
    smtp.talk("MAIL FROM:<carol@far.test>");
    assert!(smtp.talk(&format!("RCPT TO:<{key}@near.test>")).starts_with("250 "));
    smtp.talk("DATA");
    smtp.send(from("carol@far.test", "later").as_bytes());
    smtp.send(b".\r\n");
    assert!(smtp.reply().starts_with("250 "));
    let got = eventually("bob's", || by_pop3(&bob, "bob").into_iter().find(|mail| header(mail, "Subject") == "later"));
    assert_eq!(header(&got, "From"), anna.address("anna"));
    assert_eq!(header(&got, "X-Kith-Claimed-From"), "carol@far.test");
    // Nothing of it is left in the clear where it was handed over.
    for node in [&anna, &bob] {
        eventually("nothing waits", || (node.waiting() == 0).then_some(()));
    }
}

/// What Postfix has taken and cannot bring it reports by a mail of its own, from nobody; it comes in where the sender reads it, once.
#[test]
fn a_bounce_that_the_far_side_writes_later_reaches_the_sender() {
    let mx = free_port();
    // Taken, and then not to be brought: whoever it is passed on to is not there.
    let settings = format!(
        "virtual_alias_maps = inline:{{ {{old@far.test=x@gone.test}} }}\ntransport_maps = inline:{{ {{near.test=smtp:[127.0.0.1]:{mx}}} {{gone.test=error:5.1.2 nobody is there}} }}\n"
    );
    let Some(postfix) = Postfix::start(mx, &settings) else { return };
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{mx}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\nnotify = \"never\"\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\n",
        names.address, postfix.port
    ));
    anna.start();
    send(&anna, "anna", &["old@far.test"], &mail("anna", "to nobody", b"x\r\n"));
    let report = inbox(&anna, "anna", 1).remove(0);
    assert_eq!(header(&report, "Return-Path"), "<>");
    assert!(header(&report, "From").contains("MAILER-DAEMON"), "{}", text(&report));
    for wanted in ["message/delivery-status", "Final-Recipient: rfc822; x@gone.test", "Action: failed", "Subject: to nobody"] {
        assert!(text(&report).contains(wanted), "{wanted}: {}", text(&report));
    }
    postfix.settled();
    assert_eq!((anna.waiting(), inbox(&anna, "anna", 1).len()), (0, 1));
}

/// A mail that came in for a contact, who is away, is sealed; when a node that keeps their mail has the envelope, nothing of it is left in the clear.
#[test]
fn a_mail_for_a_contact_is_not_kept_in_the_clear_once_it_is_handed_over() {
    let (mut anna, mx) = anna("greylist_seconds = 0");
    let mut carol = Node::with_accounts(&["carol"]);
    carol.knows(&anna);
    carol.start();
    comes_and_is_not_kept(&mut anna, mx, Some(&carol));
}

/// The same where the gateway is itself the node that keeps it.
#[test]
fn a_mail_for_a_contact_is_not_kept_in_the_clear_where_it_waits() {
    let (mut anna, mx) = anna("greylist_seconds = 0");
    comes_and_is_not_kept(&mut anna, mx, None);
}

/// For bob, by anna's gateway; `carol` keeps his mail, or else anna.
fn comes_and_is_not_kept(anna: &mut Node, mx: u16, carol: Option<&Node>) {
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(anna);
    bob.start();
    befriend(anna, "anna", &bob, "bob");
    anna.ask(&["gateway", "map", "bob@near.test", "bob"]);
    bob.ask(&["gateway", "use", "anna"]);
    match carol {
        Some(carol) => {
            befriend(carol, "carol", &bob, "bob");
            relay(&bob, carol, "bob", "carol");
        }
        None => relay(&bob, anna, "bob", "anna"),
    }
    // His next letter brings the card that names the relay.
    send(&bob, "bob", &["anna@kith.alt"], &mail("bob", "hello", b"hello\r\n"));
    inbox(anna, "anna", 1);
    eventually("Bob's receipt", || (bob.waiting() == 0).then_some(()));
    bob.stop();
    for (subject, size) in [("a small secret", 1), ("a large secret", 9_000)] {
        let line = "the word is nightingale, and nobody else shall read it\r\n";
        let mail = format!("{}{}", from("carol@far.test", subject), line.repeat(size));
        assert!(bring(mx, "carol@far.test", "bob@near.test", &mail).starts_with("250 "));
    }
    let lies_open = |node: &Node| ["nightingale", "a small secret"].iter().any(|word| holds(node.home(), word.as_bytes()));
    eventually("the bytes are gone", || (!lies_open(anna)).then_some(()));
    assert_eq!(anna.waiting(), 2);
    anna.kill();
    anna.start();
    assert!(!lies_open(anna) && carol.is_none_or(|carol| !lies_open(carol)));
    bob.knows(anna);
    bob.start();
    let got = inbox(&bob, "bob", 2);
    assert!(got.iter().all(|mail| text(mail).contains("nightingale")));
    eventually("nothing waits", || (anna.waiting() == 0).then_some(()));
    assert!(!lies_open(anna));
}

/// What the gateway of a contact doubts goes with the junk at the recipient's too, by the gateway's word alone: not by a header that anybody may write, and not by
/// the word of a gateway that one does not use.
#[test]
fn what_a_contacts_gateway_doubts_is_put_with_the_junk_and_only_by_its_own_word() {
    let (anna, port) = anna("greylist_seconds = 0");
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(&anna);
    bob.start();
    befriend(&anna, "anna", &bob, "bob");
    anna.ask(&["gateway", "map", "bob@near.test", "bob"]);
    bob.ask(&["gateway", "use", "anna"]);
    let claims = |author: &str, subject: &str| from(author, subject).replace("X-Kith-Route: forged", "X-Kith-Suspicious: yes");
    assert!(bring(port, "x@doubtful.test", "bob@near.test", &from("x@doubtful.test", "doubted")).starts_with("250 "));
    assert!(bring(port, "carol@far.test", "bob@near.test", &claims("carol@far.test", "honest")).starts_with("250 "));
    let claimed = b"From: anna@kith.alt\r\nTo: bob@kith.alt\r\nSubject: her own\r\nX-Kith-Suspicious: yes\r\n\r\nx\r\n";
    send(&anna, "anna", &["bob@kith.alt"], claimed);
    let in_inbox = inbox(&bob, "bob", 2);
    assert!(in_inbox.iter().all(|mail| !text(mail).contains("X-Kith-Suspicious")), "what others write counts for nothing");
    let mut imap = Imap::login(&bob, "bob");
    eventually("the doubted one", || (imap.select("Junk") == 1).then_some(()));
    let doubted = &imap.bodies()[0];
    assert_eq!((header(doubted, "Subject").as_str(), header(doubted, "X-Kith-Suspicious").as_str()), ("doubted", "yes"));
    assert_eq!(header(doubted, "X-Kith-Gateway"), anna.address("anna"), "whose word it is");
    bob.ask(&["gateway", "use", "anna", "--undo"]);
    assert!(bring(port, "x@doubtful.test", "bob@near.test", &from("x@doubtful.test", "not asked")).starts_with("250 "));
    let mails = inbox(&bob, "bob", 3);
    assert!(mails.iter().all(|mail| !text(mail).contains("X-Kith-Suspicious")));
    assert_eq!(imap.select("Junk"), 1);
}

#[test]
fn an_address_that_is_given_to_somebody_leads_to_them_until_it_is_taken_away() {
    let (anna, port) = anna("greylist_seconds = 0");
    anna.ask(&["gateway", "map", "shop@near.test", "anna", "--note", "the shop"]);
    anna.ask(&["gateway", "map", "@near.test", "anna"]);
    for to in ["shop@near.test", "whatever@near.test"] {
        assert!(bring(port, "carol@far.test", to, &from("carol@far.test", to)).starts_with("250 "), "{to}");
    }
    inbox(&anna, "anna", 2);
    let table = anna.ask(&["gateway", "export"]);
    let cards = anna.ask(&["gateway", "export", "--format", "vcard"]);
    assert!(cards.contains("EMAIL:shop@near.test") && cards.contains("X-KITH-PATTERN:@near.test"), "{cards}");
    assert!(table.contains("the shop") && table.contains("@near.test"), "{table}");
    for pattern in ["shop@near.test", "@near.test"] {
        anna.ask(&["gateway", "unmap", pattern]);
    }
    let reply = bring(port, "carol@far.test", "shop@near.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    anna.ask_with(&cards, &["gateway", "import", "-", "--format", "vcard"]);
    assert_eq!(anna.ask(&["gateway", "export"]), table);
    for pattern in ["shop@near.test", "@near.test"] {
        anna.ask(&["gateway", "unmap", pattern]);
    }
    anna.ask_with(&table, &["gateway", "import", "-"]);
    assert!(bring(port, "carol@far.test", "shop@near.test", &from("carol@far.test", "x")).starts_with("250 "));
    // One may write as what one was given.
    let mut smtp = crate::clients::submission(&anna, "anna");
    assert!(smtp.talk("MAIL FROM:<shop@near.test>").starts_with("250 "));
    let mail = text(&mail("anna", "x", b"x\r\n")).replace("anna@kith.alt", "shop@near.test");
    assert!(smtp.talk("RCPT TO:<anna@kith.alt>").starts_with("250 "));
    smtp.talk("DATA");
    smtp.send(mail.as_bytes());
    smtp.send(b".\r\n");
    assert!(smtp.reply().starts_with("250 "));
}

#[test]
fn who_searches_for_addresses_is_not_heard_for_a_while() {
    let (_anna, port) = anna("greylist_seconds = 0");
    for round in 0..12 {
        let mut smtp = Lines::connect(&format!("127.0.0.1:{port}"));
        if smtp.reply().starts_with("421 ") {
            assert!(round >= 3, "{round}");
            return;
        }
        smtp.talk("EHLO x");
        smtp.talk("MAIL FROM:<a@far.test>");
        for number in 0..20 {
            if !smtp.talk(&format!("RCPT TO:<name{round}x{number}@near.test>")).starts_with("550 ") {
                break;
            }
        }
    }
    panic!("nobody stopped it");
}

/// What a domain's owner has to enter is printed, and it is what mails are signed with: another gateway, which is not told anything else, knows
/// them as genuine, and suggests the key that they offer.
#[test]
fn a_signed_mail_offers_its_senders_key_and_only_a_yes_makes_it_count() {
    let mx = free_port();
    let Some(postfix) = Postfix::start(mx, "") else { return };
    let mut bob = Node::with_accounts(&["bob"]);
    bob.configure(&format!(
        "[gateway]\ndomains = [\"far.test\"]\nretry_seconds = 1\n[gateway.provider.bob]\naddress = \"bob@far.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\n",
        postfix.port
    ));
    bob.start();
    let report = bob.json(&["gateway", "check", "far.test", "--address", "192.0.2.1"]);
    let items = report["items"].as_array().unwrap();
    let enter: Vec<&str> = items
        .iter()
        .filter(|item| item["what"].as_str().unwrap().starts_with("DKIM"))
        .flat_map(|item| item["enter"].as_array().unwrap())
        .filter_map(serde_json::Value::as_str)
        .collect();
    assert!(!enter.is_empty(), "{report}");
    let texts: Vec<(&'static str, &'static str)> = enter
        .iter()
        .map(|line| {
            let name = line.split_whitespace().next().unwrap().trim_end_matches('.').to_owned();
            let text: String = line.split('"').skip(1).step_by(2).collect();
            (&*name.leak(), &*text.leak())
        })
        .collect();
    let names = Names::start([TEXTS, &texts].concat().leak());
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{mx}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\n",
        names.address
    ));
    anna.start();
    send(&bob, "bob", &["anna@near.test"], &mail("bob", "signed", b".\r\nFrom here\r\n"));
    let got = inbox(&anna, "anna", 1).remove(0);
    assert_eq!(text(body(&got)), ".\r\nFrom here\r\n");
    let results = header(&got, "Authentication-Results");
    assert!(results.contains("dkim=pass header.d=far.test"), "{results}");
    let suggested = anna.json(&["gateway", "suggestions"]);
    assert_eq!(suggested["suggestions"][0]["email"], "bob@far.test", "{suggested}");
    assert_eq!(suggested["suggestions"][0]["address"].as_str().unwrap(), bob.address("bob"));
    assert_eq!(anna.json(&["contact", "list"])["contacts"].as_array().unwrap().len(), 0, "never by itself");
    anna.ask(&["gateway", "accept", "bob@far.test", "--name", "bob"]);
    let contacts = anna.json(&["contact", "list"]);
    assert_eq!(contacts["contacts"][0]["emails"][0], "bob@far.test", "{contacts}");
    assert_eq!(anna.json(&["gateway", "suggestions"])["suggestions"].as_array().unwrap().len(), 0);
}

/// A mailbox at a provider, which is another node here: what is there is brought, once, whatever breaks off; what comes is brought at once.
#[test]
fn mail_is_fetched_from_a_mailbox_somewhere_else_once() {
    let provider = Node::started(&["anna"]);
    for number in 0..5 {
        send(&provider, "anna", &["anna@kith.alt"], &mail("anna", &format!("old {number}"), b".x\r\n"));
    }
    for (by, then) in [("imap", "keep"), ("imap", "delete"), ("pop3", "keep"), ("pop3", "delete")] {
        let before = by_pop3(&provider, "anna").len();
        let mut anna = Node::with_accounts(&["anna"]);
        std::fs::write(anna.home().join("password"), "secret\n").unwrap();
        anna.configure(&format!(
            "[gateway.provider.anna]\naddress = \"anna@near.test\"\nuser = \"anna\"\npassword_file = \"password\"\nfetch = \"{}\"\nfetch_by = \"{by}\"\nfetch_tls = \"none\"\nfetch_then = \"{then}\"\nfetch_seconds = 1\n",
            provider.port(by)
        ));
        anna.start();
        // Killed in the middle, more than once.
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(40));
            anna.kill();
            anna.start();
        }
        let fetched = inbox(&anna, "anna", before);
        assert_eq!(text(body(&fetched[0])), ".x\r\n", "{by} {then}");
        assert_eq!(header(&fetched[0], "Delivered-To"), "anna@near.test");
        send(&provider, "anna", &["anna@kith.alt"], &mail("anna", "new", b"x\r\n"));
        let fetched = inbox(&anna, "anna", before + 1);
        assert_eq!(header(fetched.last().unwrap(), "Subject"), "new", "{by} {then}");
        if then == "delete" {
            eventually("it is gone there", || by_pop3(&provider, "anna").is_empty().then_some(()));
            send(&provider, "anna", &["anna@kith.alt"], &mail("anna", "one more", b".x\r\n"));
            inbox(&anna, "anna", before + 2);
        }
        // Another start, and time to look once more: nothing is brought twice.
        let all = by_pop3(&anna, "anna").len();
        anna.stop();
        anna.start();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!((by_pop3(&anna, "anna").len(), all), (all, before + 1 + usize::from(then == "delete")), "{by} {then}");
        if then == "delete" {
            send(&provider, "anna", &["anna@kith.alt"], &mail("anna", "for the next", b".x\r\n"));
        }
    }
}

#[test]
fn a_mailbox_that_refuses_the_password_is_said_and_left_alone() {
    let provider = Node::started(&["anna"]);
    let mut anna = Node::with_accounts(&["anna"]);
    std::fs::write(anna.home().join("password"), "wrong\n").unwrap();
    anna.configure(&format!(
        "[gateway.provider.anna]\naddress = \"anna@near.test\"\nuser = \"anna\"\npassword_file = \"password\"\nfetch = \"{}\"\nfetch_tls = \"none\"\nfetch_seconds = 1\n",
        provider.port("imap")
    ));
    anna.start();
    eventually("the status says so", || anna.ask(&["status"]).contains("does not accept the name and password").then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(provider.json(&["status"])["failed_logins"], 1, "no storm of attempts");
    std::fs::write(anna.home().join("password"), "secret\n").unwrap();
    anna.ask(&["queue", "retry"]);
    eventually("it is well again", || (!anna.ask(&["status"]).contains("to mend")).then_some(()));
}

/// Whoever has an address logs in by it, whatever the account is called, on every port; nobody else does, and nobody by one that is taken away.
#[test]
fn an_address_that_leads_to_an_account_is_a_name_to_log_in_by() {
    let (anna, _port) = anna("");
    let bob = Node::started(&["bob"]);
    anna.ask(&["contact", "add", "bob", &bob.address("bob")]);
    anna.ask(&["gateway", "map", "shop@near.test", "anna"]);
    anna.ask(&["gateway", "map", "bob@near.test", "bob"]);
    let by_imap = |name: &str, password: &str| {
        let mut lines = Lines::connect(&anna.port("imap"));
        lines.hear();
        lines.say(&format!("a LOGIN {name} {password}"));
        lines.hear().starts_with("a OK")
    };
    let by_pop3 = |name: &str, password: &str| {
        let mut lines = Lines::connect(&anna.port("pop3"));
        lines.hear();
        lines.say(&format!("USER {name}"));
        lines.hear();
        lines.say(&format!("PASS {password}"));
        lines.hear().starts_with("+OK")
    };
    let by_smtp = |name: &str, password: &str| {
        let mut lines = Lines::connect(&anna.port("smtp"));
        lines.reply();
        lines.talk("EHLO [127.0.0.1]");
        lines.talk(&format!("AUTH PLAIN {}", base64(format!("\0{name}\0{password}").as_bytes()))).starts_with("235 ")
    };
    for name in ["shop@near.test", "SHOP@Near.Test", "shop+list@near.test", "anna@near.test", "anna"] {
        assert!(by_imap(name, "secret") && by_pop3(name, "secret") && by_smtp(name, "secret"), "{name}");
    }
    assert_eq!(anna.json(&["status"])["failed_logins"], 0);
    // The password is the account's; a contact's address, nobody's and another domain's are no names here.
    for name in ["shop@near.test", "bob@near.test", "nobody@near.test", "anna@far.test"] {
        let password = if name.starts_with("shop") { "wrong" } else { "secret" };
        assert!(!by_imap(name, password), "{name}");
    }
    anna.ask(&["gateway", "unmap", "shop@near.test"]);
    assert!(!by_pop3("shop@near.test", "secret"));
}
