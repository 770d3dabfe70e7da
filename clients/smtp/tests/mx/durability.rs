//! What `250` promises to the rest of the world, shown on a disk that stalls and a disk that is full.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use kith_connection::LoginRefusal;
use kith_smtp::{Mx, Session, Transport};
use kith_store::disk::{Crash, Disk, SimulatedDisk};
use kith_store::folder::Uid;
use kith_store::{Options, Store};

use crate::desk::MxDesk;
use crate::dialogue::converse;
use crate::home::Home;

fn session(home: &Home) -> Session<Mx> {
    let transport = Transport { encrypted: true, can_start_tls: false, loopback: false };
    Session::for_mx(home.store.clone(), MxDesk::new(home), transport, IpAddr::from([192, 0, 2, 7]))
}

fn say(session: &mut Session<Mx>, talk: &str) -> String {
    // One command after the other, as those that must be last want it.
    let mut said = Vec::new();
    for line in talk.split_inclusive("\r\n") {
        said.extend(converse(session, line.as_bytes(), 8192, |_| Err(LoginRefusal::Wrong)).0);
    }
    String::from_utf8(said).unwrap()
}

fn mails_of_mum(store: &Store) -> usize {
    let mum = store.account_by_login("mum").unwrap().unwrap().id;
    let inbox = store.folder_by_name(mum, "INBOX").unwrap().unwrap();
    store.messages(mum, inbox.id, Uid(1), Uid(u32::MAX), 100).unwrap().len()
}

const ENVELOPE: &str = "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<mum@kith.test>\r\n";

#[test]
fn no_250_before_the_mail_is_durable() {
    for end in ["DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n", "BDAT 20 LAST\r\nSubject: x\r\n\r\ntext\r\n"] {
        let disk = SimulatedDisk::new();
        let home = Arc::new(Home::simulated(&disk));
        let mut session = session(&home);
        say(&mut session, ENVELOPE);
        disk.hold_syncs();
        let (sender, answers) = channel();
        let talk = thread::spawn(move || drop(sender.send(say(&mut session, end))));
        disk.wait_until_held();
        assert_eq!(answers.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        disk.release_syncs();
        assert!(answers.recv().unwrap().contains("250 2.6.0"));
        talk.join().unwrap();
        // The power fails right after the answer.
        let image = disk.crash(Crash::Lost, &mut |_| 0);
        let store = Store::open_on(Disk::Simulated(image), Options { cache_bytes: 4 << 20, passphrase: None }).unwrap();
        assert_eq!(mails_of_mum(&store), 1);
    }
}

#[test]
fn a_full_disk_refuses_for_now_and_keeps_nothing() {
    let disk = SimulatedDisk::new();
    let home = Home::simulated(&disk);
    let used: usize = disk.paths().iter().filter_map(|path| disk.contents(path)).map(|bytes| bytes.len()).sum();
    let large = format!("{ENVELOPE}DATA\r\nSubject: x\r\n\r\n{}.\r\n", format!("{}\r\n", "x".repeat(998)).repeat(250));
    for room in [0, 1000, 100_000] {
        disk.set_capacity(Some(used as u64 + room));
        let said = say(&mut session(&home), &large);
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("452 4.3.1 ") || last.starts_with("451 4.3.0 "), "{room}: {said}");
        assert_eq!(mails_of_mum(&home.store), 0);
    }
    disk.set_capacity(None);
    let said = say(&mut session(&home), &large);
    assert!(said.lines().last().unwrap().starts_with("250 2.6.0 "), "{said}");
    assert_eq!(mails_of_mum(&home.store), 1);
}
