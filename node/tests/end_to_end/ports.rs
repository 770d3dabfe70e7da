//! Ports that must be known before anybody listens on them.
//!
//! A port that the system gives away and that is let go again may be anybody's a moment later: of a test beside this one, or of one of the many
//! connections that all of them make. So these come from below the range that the system gives away, and each is marked as taken for as long as the
//! test's process lives, by the UDP port of the same number.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// The first one looked at, and the first that is none of ours where the system gives away those from 32768 on, as is usual.
const FROM: u16 = 12_000;
const UNTIL: u16 = 32_000;

/// The marks: they go with the process.
static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// The first port that the system gives away by itself.
fn given_away_from() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(UNTIL)
}

/// A port that nobody listens on, nor will but for whoever asked.
pub(crate) fn free_port() -> u16 {
    let until = if given_away_from() > FROM { UNTIL.min(given_away_from()) } else { UNTIL };
    // Tests that begin together do not look at the same ones.
    let first = u16::try_from(std::process::id() * 61 % u32::from(until - FROM)).unwrap();
    for port in (FROM + first..until).chain(FROM..FROM + first) {
        let Ok(mark) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            TAKEN.lock().unwrap().push(mark);
            return port;
        }
    }
    panic!("all ports from {FROM} to {until} are taken");
}

#[test]
fn a_port_is_given_once() {
    let ports: std::collections::BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 100);
}
