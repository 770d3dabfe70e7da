//! What `+OK` to QUIT promises, shown on a disk that stalls.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use kith_pop3::{Session, Transport};
use kith_store::disk::SimulatedDisk;

use crate::conversations::Inbox;
use crate::dialogue::converse;
use crate::home::Home;

#[test]
fn quit_is_answered_when_the_deletions_are_durable() {
    let disk = SimulatedDisk::new();
    let home = Arc::new(Home::simulated(&disk));
    Inbox::new(&home);
    let mut session = Session::new(home.store.clone(), Transport { encrypted: true, can_start_tls: false, loopback: false });
    converse(&mut session, b"USER mum\r\nPASS secret\r\nDELE 1\r\n", usize::MAX, |credentials| home.login(credentials));
    disk.hold_syncs();
    let (sender, answers) = channel();
    let talking = Arc::clone(&home);
    let talk = thread::spawn(move || {
        let (said, _) = converse(&mut session, b"QUIT\r\n", usize::MAX, |credentials| talking.login(credentials));
        drop(sender.send(said));
    });
    disk.wait_until_held();
    assert_eq!(answers.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
    disk.release_syncs();
    assert!(answers.recv().unwrap().starts_with(b"+OK"));
    talk.join().unwrap();
}
