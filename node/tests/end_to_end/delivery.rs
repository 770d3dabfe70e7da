//! A mail goes from one person's mail program to another's, byte for byte.

use crate::clients::{Imap, body, by_pop3, header, inbox, mail, send, send_in, submission};
use crate::node::{Node, befriend, eventually, pair};

/// Bodies that mail systems like to break.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let long_line = format!("{}\r\nafter it\r\n", "x".repeat(20_000));
    vec![
        ("plain", b"Hello Bob.\r\n".to_vec()),
        ("8-bit", b"caf\xc3\xa9, and Latin-1 \xe9\xff\x80 as well\r\n".to_vec()),
        ("dots", b".\r\n..\r\n...\r\n.a\r\n\r\n.\r\nend.\r\n".to_vec()),
        ("long lines", long_line.into_bytes()),
        ("NUL", b"a\0b\r\n".to_vec()),
        ("empty lines", b"\r\n\r\n\r\n".to_vec()),
        ("no line end", b"the last line has none".to_vec()),
    ]
}

#[test]
fn bodies_arrive_byte_for_byte_by_imap_and_pop3() {
    let (anna, bob) = pair("anna", "bob");
    let wanted = bodies();
    let mut smtp = submission(&anna, "anna");
    for (name, text) in &wanted {
        let reply = send_in(&mut smtp, "anna", &["bob@kith.alt"], " BODY=8BITMIME", &mail("anna", name, text));
        assert!(reply.starts_with("250 "), "{name}: {reply}");
    }
    let arrived = inbox(&bob, "bob", wanted.len());
    let by_pop = by_pop3(&bob, "bob");
    for (name, text) in &wanted {
        // DATA can only carry whole lines: the line end that was missing is part of the mail.
        let whole = if text.ends_with(b"\r\n") { text.clone() } else { [text.as_slice(), b"\r\n"].concat() };
        for mails in [&arrived, &by_pop] {
            let found = mails.iter().find(|mail| header(mail, "Subject") == *name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(body(found) == whole, "{name} was changed");
        }
    }
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn utf8_headers_arrive_as_they_are_and_the_sender_is_proven() {
    let (anna, bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "Grüße aus Zürich ✓", "früh\r\n".as_bytes()));
    let arrived = inbox(&bob, "bob", 1).remove(0);
    assert_eq!(header(&arrived, "Subject"), "Grüße aus Zürich ✓");
    assert!(header(&arrived, "From").contains(&anna.address("anna")), "{}", header(&arrived, "From"));
    assert!(header(&arrived, "Authentication-Results").contains("kith=pass"));
    assert!(!header(&arrived, "Received").is_empty());
}

#[test]
fn a_reply_goes_back_to_the_address_that_the_mail_shows() {
    let (anna, bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "question", b"?\r\n"));
    let question = inbox(&bob, "bob", 1).remove(0);
    let from = header(&question, "From");
    let address = from.trim_start_matches(|letter| letter != '<').trim_matches(['<', '>']);
    send(&bob, "bob", &[address], &mail("bob", "answer", b"!\r\n"));
    assert_eq!(header(&inbox(&anna, "anna", 1)[0], "Subject"), "answer");
}

#[test]
fn a_25_mb_attachment_arrives_whole() {
    let (anna, bob) = pair("anna", "bob");
    let line: Vec<u8> = (0..76).map(|at| b'A' + at % 26).chain(*b"\r\n").collect();
    let text: Vec<u8> = line.iter().copied().cycle().take(line.len() * (25 * 1024 * 1024 / line.len())).collect();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "large", &text));
    let arrived = inbox(&bob, "bob", 1).remove(0);
    assert!(body(&arrived) == text);
}

#[test]
fn two_hundred_mails_at_once_arrive_once_each() {
    let (anna, bob) = pair("anna", "bob");
    std::thread::scope(|scope| {
        for thread in 0..10 {
            let anna = &anna;
            scope.spawn(move || {
                let mut smtp = submission(anna, "anna");
                for number in 0..20 {
                    let text = mail("anna", &format!("mail {thread}-{number}"), b"one of many\r\n");
                    let reply = send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &text);
                    assert!(reply.starts_with("250 "), "{reply}");
                }
            });
        }
    });
    let mut subjects: Vec<String> = inbox(&bob, "bob", 200).iter().map(|mail| header(mail, "Subject")).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 200);
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn one_mail_to_twenty_recipients_reaches_each_of_them() {
    let names: Vec<String> = (0..20).map(|number| format!("friend{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bob = Node::started(&names);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&bob);
    anna.start();
    for name in &names {
        befriend(&anna, "anna", &bob, name);
    }
    let recipients: Vec<String> = names.iter().map(|name| format!("{name}@kith.alt")).collect();
    send(&anna, "anna", &recipients.iter().map(String::as_str).collect::<Vec<_>>(), &mail("anna", "to all", b"hello all\r\n"));
    for name in &names {
        assert_eq!(body(&inbox(&bob, name, 1)[0]), b"hello all\r\n");
    }
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn an_idling_mail_program_hears_of_it_at_once() {
    let (anna, bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "first", b"so that the two know each other\r\n"));
    inbox(&bob, "bob", 1);
    let mut imap = Imap::login(&bob, "bob");
    assert_eq!(imap.select("INBOX"), 1);
    imap.idle();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "second", b"now\r\n"));
    imap.wait_for("2 EXISTS");
}
