//! The largest mail there is, through a relay whose cable is pulled half way.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::household::Household;
use crate::network::Network;
use crate::node::eventually;

/// Bytes of the body.
const BODY: usize = 50_000_000;
/// How much the relay's memory may grow by, in KiB.
const GROWTH_MAX: u64 = 40 * 1024;
/// How fast Anna sends: slow enough that half way can be met.
const MBITS: u32 = 80;
/// How long the cable stays pulled.
const PULLED: Duration = Duration::from_secs(2);

/// Lines that differ from each other, so that a lost or doubled part shows.
fn body() -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY);
    for number in 0_u64.. {
        if body.len() >= BODY {
            break;
        }
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let line = format!("{number:012} {mixed:016x} {:016x} {:016x}\r\n", mixed.rotate_left(23), mixed.rotate_left(41));
        body.extend_from_slice(line.as_bytes());
    }
    body
}

/// How many bytes of envelopes are on their way in.
fn coming(home: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(home.join("spool").join("in")) else { return 0 };
    files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn fifty_megabytes_arrive_whole_through_a_relay_that_keeps_them_out_of_memory() {
    let network = Network::new();
    let mut household = Household::with_bob_away(&network, &["carol"]);
    let body = body();
    let before = household.keepers[0].memory_peak();
    household.anna.place().slow(MBITS);
    let sent = Instant::now();
    household.anna.send(&household.bob, "large", &body);
    let keeper = household.keepers[0].home();
    let half = u64::try_from(BODY / 2).unwrap();
    eventually("half of it is with the relay", || (coming(keeper) > half).then_some(()));
    eprintln!("half of it after {} ms", sent.elapsed().as_millis());
    if household.keepers[0].place().cut() {
        // The cable has to be out for a while; there is nothing to wait for.
        std::thread::sleep(PULLED);
        household.keepers[0].place().heal();
    }
    household.anna.wait_for_copies(1);
    eprintln!("all of it after {} ms", sent.elapsed().as_millis());
    household.anna.stop();

    let begun = Instant::now();
    household.bob.start();
    household.bob.wait_for_mails(1);
    eprintln!("fetched after {} ms", begun.elapsed().as_millis());
    let mail = household.bob.mail(1);
    let start = mail.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(mail[start..] == body, "the body is another: {} bytes in place of {}", mail.len() - start, body.len());

    let after = household.keepers[0].memory_peak();
    eprintln!("the relay's peak memory: {before} KiB before, {after} KiB after");
    assert!(after - before < GROWTH_MAX, "the relay's memory grew from {before} to {after} KiB");
    household.anna.start();
    household.anna.wait_for_receipts();
}
