//! What users of other servers complained of, as promises of ours: empty inboxes, sizes that are wrong, numbers that change, mail that is filed
//! and never shown, servers that grow with what they send.

use kith_store::disk::SimulatedDisk;
use kith_store::folder::{Flags, Uid, Use};
use kith_store::mailbox::Filing;
use std::io::Write as _;

use crate::client::Client;
use crate::home::Home;

fn number_after(line: &str, word: &str) -> u64 {
    let rest = &line[line.find(word).unwrap_or_else(|| panic!("no {word} in {line}")) + word.len()..];
    rest[..rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())].parse().unwrap()
}

fn deliver(home: &Home, message: &[u8], times: usize) {
    let mut stage = home.store.stage().unwrap();
    stage.write_all(message).unwrap();
    let filing = Filing { blob: stage.finish().unwrap(), flags: Flags::default(), internal_date: 1, internal_zone: 0 };
    let account = home.mum.id;
    let deliver = move |transaction: &mut kith_store::Transaction<'_>| {
        (0..times).try_for_each(|_| transaction.deliver(account, Use::Inbox, &filing).map(drop))
    };
    home.store.write(deliver).unwrap();
}

#[test]
fn at_the_first_login_the_usual_folders_are_there_subscribed_and_with_their_uses() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    let subscribed = client.ok("LSUB \"\" *");
    let listed = client.ok("LIST \"\" *");
    for (name, special) in [
        ("INBOX", ""),
        ("Drafts", "\\Drafts"),
        ("Sent", "\\Sent"),
        ("Archive", "\\Archive"),
        ("Junk", "\\Junk"),
        ("Trash", "\\Trash"),
    ] {
        assert!(subscribed.iter().any(|line| line.contains(name)), "{name}");
        assert!(listed.iter().any(|line| line.contains(name) && line.contains(special)), "{name}");
    }
}

#[test]
fn what_could_not_be_filed_is_kept_in_sight_and_that_is_said() {
    let home = Home::simulated(&SimulatedDisk::default());
    let (mut client, mut other) = (Client::new(&home), Client::new(&home));
    let (first, second) = (b"Subject: a\r\n\r\n\x80 whole\r\n".as_slice(), b"Subject: b\r\n\r\n".as_slice());
    for (number, message) in [first, second].into_iter().enumerate() {
        client.ok("CREATE Plans");
        client.take();
        client.send(format!("a APPEND Plans (\\Seen $label1) {{{}+}}\r\n", message.len()).as_bytes());
        client.send(&message[..10]);
        other.ok("DELETE Plans");
        client.send(&message[10..]);
        client.send(b"\r\n");
        let said = client.take();
        assert!(said.starts_with("a NO [TRYCREATE] ") && said.contains("Recovered"), "{said}");
        assert!(other.ok("LSUB \"\" *").iter().any(|line| line.contains("Recovered")));
        let messages = other.ok("STATUS Recovered (MESSAGES UNSEEN)").concat();
        assert!(messages.ends_with(&format!("(MESSAGES {} UNSEEN 0)", number + 1)), "{messages}");
    }
    other.ok("SELECT Recovered");
    other.take();
    other.send(b"b FETCH 1 (FLAGS BODY.PEEK[])\r\n");
    let said = other.take_bytes();
    assert!(said.windows(first.len()).any(|window| window == first) && String::from_utf8_lossy(&said).contains("$label1"));
}

#[test]
fn an_empty_inbox_answers_every_first_question() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    assert!(client.ok("SELECT INBOX").contains(&"* 0 EXISTS".to_owned()));
    for command in ["UID FETCH 1:* (FLAGS)", "FETCH 1:* (FLAGS)", "UID FETCH * (FLAGS)", "UID STORE 1:* +FLAGS (\\Seen)"] {
        assert_eq!(client.ok(command), Vec::<String>::new(), "{command}");
    }
    assert_eq!(client.ok("UID SEARCH 1:* NOT DELETED"), ["* SEARCH"]);
    assert_eq!(client.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL").last().unwrap(), "* ESEARCH (TAG \"t8\") UID COUNT 0");
    assert!(client.command("FETCH 1 (FLAGS)").1.starts_with("BAD"));
}

#[test]
fn what_is_delivered_is_shown_at_once_and_counted_right() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    deliver(&home, b"Subject: one\r\n\r\n", 3);
    assert_eq!(client.ok("NOOP"), ["* 3 EXISTS", "* 3 RECENT"]);
    client.ok("STORE 2 +FLAGS (\\Seen)");
    assert_eq!(client.ok("STATUS INBOX (MESSAGES UNSEEN)"), ["* STATUS INBOX (MESSAGES 3 UNSEEN 2)"]);
    client.send(b"i IDLE\r\n");
    client.take();
    deliver(&home, b"Subject: two\r\n\r\n", 1);
    client.run();
    assert_eq!(client.take(), "* 4 EXISTS\r\n* 4 RECENT\r\n");
    home.store
        .remove(home.mum.id, home.store.folder_by_name(home.mum.id, "INBOX").unwrap().unwrap().id, vec![(Uid(1), Uid(1))])
        .unwrap();
    client.run();
    assert_eq!(client.take(), "* 1 EXPUNGE\r\n");
    client.send(b"DONE\r\n");
    assert_eq!(client.take(), "i OK IDLE completed\r\n");
}

#[test]
fn numbers_sizes_and_keywords_survive_a_restart_and_answers_begin_with_the_uid() {
    let mut home = Home::new();
    let message = b"Subject: \xc3\xbc\r\n\r\nline\r\n.\r\n..dots\r\n\0\x80\xff".to_vec();
    let ask = "FETCH 1 (FLAGS RFC822.SIZE UID INTERNALDATE EMAILID)";
    let look = |client: &mut Client<'_>| {
        let selected = client.ok("SELECT INBOX");
        let validity = selected.iter().find(|line| line.contains("UIDVALIDITY")).unwrap().clone();
        let fetched = client.ok(ask).remove(0).replace("\\Recent ", "");
        client.send(b"b FETCH 1 BODY.PEEK[]\r\n");
        let body = client.take_bytes();
        assert!(memchr::memmem::find(&body, &message).is_some(), "byte for byte");
        (validity, fetched)
    };
    let before = {
        let mut client = Client::new(&home);
        client.append("INBOX", &message);
        client.ok("SELECT INBOX");
        client.ok("STORE 1 +FLAGS.SILENT ($Forwarded $label1 NonJunk $MDNSent)");
        look(&mut client)
    };
    assert!(before.1.starts_with("* 1 FETCH (UID 1 FLAGS ($Forwarded $MDNSent $label1 NonJunk)"), "{}", before.1);
    assert_eq!(number_after(&before.1, "RFC822.SIZE "), message.len() as u64);
    home.reopen();
    let mut client = Client::new(&home);
    let after = look(&mut client);
    assert_eq!(after, before);
}

#[test]
fn uids_never_come_back() {
    let mut home = Home::new();
    for round in 1..4_u32 {
        let mut client = Client::new(&home);
        client.append("INBOX", b"a: b\r\n\r\n");
        client.ok("SELECT INBOX");
        assert!(client.ok("UID FETCH 1:* (FLAGS)")[0].contains(&format!("UID {round} ")));
        client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
        drop(client);
        home.reopen();
    }
    let mut client = Client::new(&home);
    let validity = |client: &mut Client<'_>| number_after(&client.ok("STATUS Box (UIDVALIDITY)")[0], "UIDVALIDITY ");
    client.ok("CREATE Box");
    let first = validity(&mut client);
    client.ok("DELETE Box");
    client.ok("CREATE Box");
    assert!(validity(&mut client) > first, "a folder made anew is another folder");
}

#[test]
fn twenty_thousand_mails_are_sent_as_they_are_read() {
    let home = Home::simulated(&SimulatedDisk::default());
    deliver(
        &home,
        b"From: a@b\r\nTo: c@d\r\nSubject: one of many\r\nDate: Fri, 2 Mar 2001 00:00:00 +0000\r\n\r\nbody\r\n",
        20_000,
    );
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    client.longest_step = 0;
    let lines = client.ok("UID FETCH 1:* (FLAGS ENVELOPE RFC822.SIZE)");
    assert_eq!(lines.len(), 20_000);
    assert!(client.longest_step < 80 * 1024, "{} bytes at once", client.longest_step);
    client.longest_step = 0;
    assert_eq!(client.ok("STORE 1:* +FLAGS (\\Seen)").len(), 20_000);
    assert!(client.longest_step < 80 * 1024, "{} bytes at once", client.longest_step);
}

#[test]
fn fifty_megabytes_are_taken_and_given_back_whole() {
    let home = Home::new();
    let mut client = Client::new(&home);
    let line = b"This is one of very many lines of a very large message, which nobody would send by post.\r\n";
    let head = b"Subject: large\r\n\r\n";
    let lines = (52_428_800 - head.len()) / line.len();
    let size = head.len() + lines * line.len();
    client.take();
    client.send(format!("a APPEND INBOX {{{size}}}\r\n").as_bytes());
    assert!(client.take().starts_with("+ "));
    client.send(head);
    let chunk = line.repeat(1_000);
    for sent in (0..lines).step_by(1_000) {
        client.send(&chunk[..line.len() * (lines - sent).min(1_000)]);
    }
    client.send(b"\r\n");
    assert!(client.take().starts_with("a OK"));
    client.ok("SELECT INBOX");
    assert_eq!(number_after(&client.ok("FETCH 1 RFC822.SIZE")[0], "RFC822.SIZE "), size as u64);
    client.longest_step = 0;
    client.send(b"b FETCH 1 BODY.PEEK[]\r\n");
    let said = client.take_bytes();
    assert!(said.len() > size && said.windows(head.len()).take(100).any(|window| window == head));
    assert!(client.longest_step < 96 * 1024, "{} bytes at once", client.longest_step);
}

#[test]
fn a_slow_reader_holds_one_buffer_and_nobody_else_up() {
    let home = Home::simulated(&SimulatedDisk::default());
    deliver(&home, &[b"Subject: x\r\n\r\n".as_slice(), &b"0123456789".repeat(5_000)].concat(), 100);
    let mut slow = Client::new(&home);
    slow.ok("SELECT INBOX");
    let said = slow.one_step(b"a FETCH 1:* (BODY.PEEK[])\r\n");
    assert!(said <= 96 * 1024, "{said} bytes wait for a reader");
    let mut other = Client::new(&home);
    other.ok("SELECT INBOX");
    assert_eq!(other.ok("STORE 1:100 +FLAGS (\\Deleted)").len(), 100);
    assert_eq!(other.ok("EXPUNGE").len(), 100);
    // The slow one is still given what it began to read, and then the news.
    slow.run();
    let rest = slow.take();
    assert!(rest.contains("a OK") || rest.contains("a NO"), "{}", &rest[rest.len().saturating_sub(200)..]);
    slow.ok("NOOP");
}

#[test]
fn who_was_away_for_longer_than_is_remembered_is_told_all_that_may_be_missing() {
    let home = Home::simulated(&SimulatedDisk::default());
    let all = u32::try_from(kith_store::mailbox::HISTORY_UIDS_MAX).unwrap() + 5_000;
    deliver(&home, b"a: b\r\n\r\n", all as usize);
    let mut away = Client::new(&home);
    away.ok("ENABLE QRESYNC");
    let selected = away.ok("SELECT INBOX").concat();
    let (validity, mod_seq) = (number_after(&selected, "UIDVALIDITY "), number_after(&selected, "HIGHESTMODSEQ "));
    let mut asleep = Client::new(&home);
    asleep.ok("ENABLE QRESYNC");
    asleep.ok("SELECT INBOX");
    away.ok("UNSELECT");
    let inbox = home.store.folder_by_name(home.mum.id, "INBOX").unwrap().unwrap().id;
    for range in [(2, 1_000), (1_002, all - 2)] {
        home.store.remove(home.mum.id, inbox, vec![(Uid(range.0), Uid(range.1))]).unwrap();
    }
    let vanished = format!("2:1000,1002:{}", all - 2);
    assert_eq!(asleep.ok("NOOP"), [format!("* VANISHED {vanished}")]);
    let earlier = |lines: Vec<String>| lines.into_iter().find(|line| line.starts_with("* VANISHED (EARLIER)")).unwrap();
    let known = format!("SELECT INBOX (QRESYNC ({validity} {mod_seq}))");
    assert_eq!(earlier(away.ok(&known)), format!("* VANISHED (EARLIER) {vanished}"));
    let known = format!("SELECT INBOX (QRESYNC ({validity} {mod_seq} 1:5000 (1,1000 1,1000)))");
    assert_eq!(earlier(away.ok(&known)), "* VANISHED (EARLIER) 2:1000,1002:5000");
    let asked = format!("UID FETCH 900:1100 (FLAGS) (CHANGEDSINCE {mod_seq} VANISHED)");
    assert_eq!(earlier(away.ok(&asked)), "* VANISHED (EARLIER) 900:1000,1002:1100");
    // What has happened since then is known exactly.
    let now = number_after(&away.ok("STATUS INBOX (HIGHESTMODSEQ)")[0], "HIGHESTMODSEQ ");
    home.store.remove(home.mum.id, inbox, vec![(Uid(1), Uid(1))]).unwrap();
    let known = format!("SELECT INBOX (QRESYNC ({validity} {now}))");
    assert_eq!(earlier(away.ok(&known)), "* VANISHED (EARLIER) 1");
}

/// Which of one's mails whoever carried them could read is seen where one looks: in Sent.
#[test]
fn the_copy_in_sent_says_what_left_in_the_clear() {
    let home = Home::new();
    let account = home.store.account_by_login("mum").unwrap().unwrap().id;
    let words = "carol@example.com (by smtp.example.org:587)";
    home.store.write(move |transaction| transaction.remember_clear(account, "1@x.y", 1, words)).unwrap();
    let mut client = Client::new(&home);
    let mail = |id: &str| format!("Subject: hello\r\nMessage-ID: <{id}>\r\n\r\nx\r\n");
    for (folder, id) in [("Sent", "1@x.y"), ("Sent", "2@x.y"), ("Archive", "1@x.y")] {
        let mail = mail(id);
        client.ok(&format!("APPEND {folder} {{{}+}}\r\n{mail}", mail.len()));
    }
    client.ok("SELECT Sent");
    let first = client.ok("FETCH 1 BODY[]").join("\r\n");
    assert!(first.contains(&format!("X-Kith-Clear: {words}\r\n{}", mail("1@x.y"))), "{first}");
    assert!(!client.ok("FETCH 2 BODY[]").concat().contains("X-Kith-Clear"));
    client.ok("SELECT Archive");
    assert!(!client.ok("FETCH 1 BODY[]").concat().contains("X-Kith-Clear"));
}
