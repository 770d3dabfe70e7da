//! How fast the store is, beside what the disk itself can do: `cargo bench -p kith-store`.
//!
//! Prints figures and ratios, asserts nothing: machines are shared and noisy. Everything runs on a real disk, in a temporary folder
//! below `TMPDIR`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints its figures and ends at the first surprise")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::ids::{AccountId, MailId};
use kith_store::folder::{Flags, FolderId, ModSeq, Uid, Use};
use kith_store::mailbox::Filing;
use kith_store::queue::{Notify, QueuedRecipient, Submission};
use kith_store::{Options, Store};

const ALICE: AccountId = AccountId(1);
const MAIL_BYTES: usize = 4096;
const MAILS: u32 = 100_000;
/// Mails in one transaction while the large folder is filled.
const BATCH: u32 = 500;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw_syncs(folder.path());
    submissions(folder.path(), raw);
    large_folder(folder.path());
}

fn open(home: &Path) -> Store {
    Store::open(home, Options { cache_bytes: 64 << 20, passphrase: None }).unwrap()
}

fn per_second(count: u32, elapsed: Duration) -> f64 {
    f64::from(count) / elapsed.as_secs_f64()
}

/// What the disk can do: one mail appended, one sync, and so on.
fn raw_syncs(folder: &Path) -> f64 {
    let file = File::create(folder.join("raw")).unwrap();
    let mail = vec![7; MAIL_BYTES];
    let count = 1000;
    let start = Instant::now();
    for number in 0..count {
        file.write_all_at(&mail, u64::from(number) * MAIL_BYTES as u64).unwrap();
        file.sync_data().unwrap();
    }
    let rate = per_second(count, start.elapsed());
    println!("append 4 KB and fdatasync, one after the other: {rate:.0}/s");
    rate
}

/// A valid address: the curve's base point.
fn somebody() -> Address {
    let mut cbor = vec![0x58, 32, 0x58];
    cbor.extend([0x66; 31]);
    codec::decode(&cbor, cbor.len()).unwrap()
}

fn submit(store: &Store, number: u32) {
    let mut stage = store.stage().unwrap();
    stage.write_all(&number.to_le_bytes()).unwrap();
    stage.write_all(&[7; MAIL_BYTES - 4]).unwrap();
    let notify = Notify { success: false, failure: true, delay: true };
    let recipient = QueuedRecipient { address: somebody(), typed: "bob@kith.alt".to_owned(), notify, orcpt: None };
    let submission = Submission {
        account: ALICE,
        mail: stage.finish().unwrap(),
        mid: MailId([0; 16]),
        submitted_ms: 0,
        recipients: vec![recipient],
        household: Vec::new(),
        legacy: Vec::new(),
        letters: Vec::new(),
        envid: None,
        ret_full: false,
    };
    store.submit(submission).unwrap();
}

fn submissions(folder: &Path, raw: f64) {
    let store = open(&folder.join("submissions"));
    let mut number = 0;
    for (connections, each) in [(1_u32, 2000_u32), (10, 1000), (100, 200)] {
        let written = bytes_written();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for connection in 0..connections {
                let (store, first) = (&store, number + connection * each);
                scope.spawn(move || (first..first + each).for_each(|number| submit(store, number)));
            }
        });
        let count = connections * each;
        number += count;
        let rate = per_second(count, start.elapsed());
        let share = (bytes_written() - written) as f64 / (f64::from(count) * MAIL_BYTES as f64);
        println!(
            "durable submissions of 4 KB, {connections} connections: {rate:.0}/s, {:.2} × the raw loop, {share:.1} × its bytes written",
            rate / raw
        );
    }
}

/// What this process has sent to the disk so far; 0 where the system does not tell.
fn bytes_written() -> u64 {
    let status = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

fn fill(store: &Store, inbox: FolderId) {
    for batch in 0..MAILS / BATCH {
        let filings = (0..BATCH).map(|number| {
            let mut stage = store.stage().unwrap();
            stage.write_all(&(batch * BATCH + number).to_le_bytes()).unwrap();
            stage.write_all(&[7; 1000]).unwrap();
            let flags = Flags { system: Flags::SEEN, keywords: Vec::new() };
            Filing { blob: stage.finish().unwrap(), flags, internal_date: 0, internal_zone: 0 }
        });
        store.file(ALICE, inbox, filings.collect()).unwrap();
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn large_folder(folder: &Path) {
    let (home, crashed) = (folder.join("large"), folder.join("crashed"));
    let store = open(&home);
    let inbox = store.create_folder(ALICE, "INBOX", Some(Use::Inbox)).unwrap().id;
    timed("filing 100,000 mails of 1 KB, 500 a commit", || fill(&store, inbox));
    // A copy of the file of an open store is what a crash leaves.
    std::fs::create_dir(&crashed).unwrap();
    for name in ["store.redb", "keys"] {
        std::fs::copy(home.join(name), crashed.join(name)).unwrap();
        // Opening syncs; it must not pay for the copying.
        File::open(crashed.join(name)).unwrap().sync_all().unwrap();
    }
    store.close();
    let store = timed("opening 100,000 mails, closed properly", || open(&home));
    timed("opening 100,000 mails after a crash", || open(&crashed)).close();
    timed("SELECT: the folder's counts", || store.folder(ALICE, inbox).unwrap());
    let all = |store: &Store| store.messages(ALICE, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    timed("FETCH 1:* FLAGS of 100,000, first time", || all(&store));
    let messages = timed("FETCH 1:* FLAGS of 100,000, again", || all(&store));
    assert_eq!(messages.len(), MAILS as usize);
    timed("changes since the beginning, 100,000", || store.changes(ALICE, inbox, ModSeq(0)).unwrap());
    let now = store.folder(ALICE, inbox).unwrap().unwrap().mod_seq;
    timed("changes since the last one", || store.changes(ALICE, inbox, now).unwrap());
    let report = timed("verify, every message hashed", || store.verify(&mut |_| {}).unwrap());
    assert!(report.is_sound(), "{report:?}");
}
