//! What `250` promises, shown on a disk that stalls and a disk that is full.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use kith_smtp::{Session, Transport};
use kith_store::disk::{Crash, Disk, SimulatedDisk};
use kith_store::folder::Uid;
use kith_store::{Options, Store};

use crate::desk::Desk;
use crate::dialogue::converse;
use crate::home::Home;

const HELLO: &str = "EHLO x\r\nAUTH PLAIN AG11bQBzZWNyZXQ=\r\n";
const ENVELOPE: &str = "MAIL FROM:<mum@kith.alt>\r\nRCPT TO:<dad@kith.alt>\r\n";

fn session(home: &Home) -> Session {
    Session::new(home.store.clone(), Desk::new(home), Transport { encrypted: true, can_start_tls: false, loopback: false })
}

fn say(home: &Home, session: &mut Session, talk: &str) -> String {
    let (said, _) = converse(session, talk.as_bytes(), 8192, |credentials| home.login(credentials));
    String::from_utf8(said).unwrap()
}

fn mails_of_dad(store: &Store) -> Vec<Vec<u8>> {
    let dad = store.account_by_login("dad").unwrap().unwrap().id;
    let inbox = store.folder_by_name(dad, "INBOX").unwrap().unwrap();
    let messages = store.messages(dad, inbox.id, Uid(1), Uid(u32::MAX), 100).unwrap();
    messages.iter().map(|message| store.blob_bytes(&message.hash, 1 << 20).unwrap()).collect()
}

#[test]
fn no_250_before_the_mail_is_durable() {
    for end in ["DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n", "BDAT 20 LAST\r\nSubject: x\r\n\r\ntext\r\n"] {
        let disk = SimulatedDisk::new();
        let home = Arc::new(Home::simulated(&disk));
        let mut session = session(&home);
        say(&home, &mut session, &format!("{HELLO}{ENVELOPE}"));
        disk.hold_syncs();
        let (sender, answers) = channel();
        let talking = Arc::clone(&home);
        let talk = thread::spawn(move || drop(sender.send(say(&talking, &mut session, end))));
        disk.wait_until_held();
        assert_eq!(answers.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        disk.release_syncs();
        assert!(answers.recv().unwrap().contains("250 2.6.0"));
        talk.join().unwrap();
        // The power fails right after the answer.
        let image = disk.crash(Crash::Lost, &mut |_| 0);
        let store = Store::open_on(Disk::Simulated(image), Options { cache_bytes: 4 << 20, passphrase: None }).unwrap();
        assert_eq!(mails_of_dad(&store).len(), 1);
    }
}

#[test]
fn a_full_disk_refuses_for_now_and_keeps_nothing() {
    let disk = SimulatedDisk::new();
    let home = Home::simulated(&disk);
    let mut session = session(&home);
    say(&home, &mut session, HELLO);
    let used: usize = disk.paths().iter().filter_map(|path| disk.contents(path)).map(|bytes| bytes.len()).sum();
    let large = format!("{ENVELOPE}DATA\r\nSubject: x\r\n\r\n{}.\r\n", format!("{}\r\n", "x".repeat(998)).repeat(250));
    for room in [0, 1000, 100_000] {
        disk.set_capacity(Some(used as u64 + room));
        let said = say(&home, &mut session, &large);
        assert!(said.lines().last().unwrap().starts_with("452 4.3.1 "), "{room}: {said}");
        assert!(mails_of_dad(&home.store).is_empty());
    }
    disk.set_capacity(None);
    let said = say(&home, &mut session, &large);
    assert!(said.lines().last().unwrap().starts_with("250 2.6.0 "), "{said}");
    assert_eq!(mails_of_dad(&home.store).len(), 1);
}
