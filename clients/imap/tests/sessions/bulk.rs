//! COPY, MOVE and EXPUNGE of more messages than one commit takes.

use std::sync::atomic::{AtomicI64, Ordering};

use kith_store::disk::SimulatedDisk;
use kith_store::folder::{Flags, Use};
use kith_store::mailbox::Filing;
use std::io::Write as _;

use crate::client::Client;
use crate::home::Home;

/// Three pieces: two whole ones and a bit.
const MANY: u32 = 2 * 8_192 + 100;

/// A clock that is eleven seconds further at every look.
fn hasty() -> i64 {
    static NOW: AtomicI64 = AtomicI64::new(1_795_000_000);
    NOW.fetch_add(11, Ordering::Relaxed)
}

fn full_home() -> Home {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut stage = home.store.stage().unwrap();
    stage.write_all(b"Subject: one of many\r\n\r\n").unwrap();
    let filing = Filing { blob: stage.finish().unwrap(), flags: Flags::default(), internal_date: 1, internal_zone: 0 };
    let account = home.mum.id;
    home.store
        .write(move |transaction| (0..MANY).try_for_each(|_| transaction.deliver(account, Use::Inbox, &filing).map(drop)))
        .unwrap();
    home
}

/// Numbers of messages that EXPUNGE or VANISHED told of.
fn gone(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.ends_with(" EXPUNGE")).count()
}

#[test]
fn many_messages_are_copied_moved_and_expunged_and_who_waits_hears_of_it() {
    let home = full_home();
    let mut client = Client::with_clock(&home, hasty);
    client.ok("SELECT INBOX");

    let (_, last) = client.command("UID COPY 1:* Archive");
    assert!(last.starts_with("OK [COPYUID ") && last.contains(&format!(" 1:{MANY} 1:{MANY}]")), "{last}");
    assert_eq!(client.ok("STATUS Archive (MESSAGES)"), [format!("* STATUS \"Archive\" (MESSAGES {MANY})")]);

    // Some others come meanwhile; they stay.
    client.append_elsewhere(&home);
    let (lines, last) = client.command(&format!("MOVE 1:{MANY} Trash"));
    assert!(last.starts_with("OK"), "{last}");
    let progress: Vec<_> = lines.iter().filter(|line| line.contains("INPROGRESS")).collect();
    assert_eq!(progress.len(), 2, "{progress:?}");
    assert!(progress[0].starts_with("* OK [INPROGRESS (\"t") && progress[0].contains(" 8192 24576)]"), "{}", progress[0]);
    let told = lines.iter().position(|line| line.contains(&format!(" 1:{MANY} 1:{MANY}]"))).unwrap();
    assert!(lines.iter().position(|line| line.ends_with(" EXPUNGE")).unwrap() > told, "COPYUID comes before the messages go");
    assert_eq!(gone(&lines), MANY as usize);
    assert_eq!(lines.last().unwrap(), "* 1 RECENT");
    assert_eq!(client.ok("STATUS Trash (MESSAGES)"), [format!("* STATUS \"Trash\" (MESSAGES {MANY})")]);

    client.ok("SELECT Trash");
    client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
    let (lines, last) = client.command("EXPUNGE");
    assert!(last.starts_with("OK"), "{last}");
    assert_eq!(lines.iter().filter(|line| line.contains("INPROGRESS")).count(), 2);
    assert_eq!(gone(&lines), MANY as usize);
    assert_eq!(client.ok("STATUS Trash (MESSAGES)"), ["* STATUS \"Trash\" (MESSAGES 0)"]);
    assert_eq!(client.ok("UID SEARCH ALL"), ["* SEARCH"]);
    assert!(home.store.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn expunge_takes_what_carries_deleted_though_nobody_was_told_of_it() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.ok("SELECT INBOX");
    client.append("INBOX", b"Subject: known\r\n\r\n");
    let mut other = Client::new(&home);
    other.ok("SELECT INBOX");
    other.append("INBOX", b"Subject: unknown\r\n\r\n");
    other.ok("STORE 2 +FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    assert_eq!(client.ok("UID SEARCH ALL"), ["* SEARCH 1"]);
    client.ok("UID STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE 2:*"), ["* 1 EXPUNGE"]);
}
