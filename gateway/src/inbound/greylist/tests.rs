//! Strangers wait, those who come again are known, and nobody fills the table.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn list() -> Greylist {
    Greylist::new(Settings::default(), [])
}

#[test]
fn a_stranger_waits_and_is_known_for_weeks_once_it_came_again() {
    let mut list = list();
    let mut ask = |at, host| list.decide(NOW + at, ip(host), "Example.org", "mum@kith.test", false);
    assert_eq!(ask(0, 1), Decision::Wait(300));
    assert_eq!(ask(100, 1), Decision::Wait(200));
    assert_eq!(ask(300, 2), Decision::Pass, "another machine of the same network may bring it");
    assert_eq!(ask(300 + 35 * 86_400, 9), Decision::Pass);
    assert_eq!(ask(300 + 72 * 86_400, 9), Decision::Wait(300), "unseen for too long");
}

#[test]
fn a_network_that_came_again_passes_with_every_sender_and_recipient() {
    let mut list = list();
    list.decide(NOW, ip(1), "a.example", "mum@kith.test", false);
    assert_eq!(list.decide(NOW + 300, ip(1), "a.example", "mum@kith.test", false), Decision::Pass);
    assert_eq!(list.decide(NOW + 301, ip(7), "b.example", "dad@kith.test", false), Decision::Pass);
    assert_eq!(list.decide(NOW + 301, IpAddr::from([198, 51, 100, 1]), "b.example", "dad@kith.test", false), Decision::Wait(300));
}

#[test]
fn who_is_known_never_waits_and_leaves_no_row() {
    let mut list = list();
    assert_eq!(list.decide(NOW, ip(1), "a.example", "mum@kith.test", true), Decision::Pass);
    assert!(list.is_empty() && list.take_changes().is_empty());
}

#[test]
fn who_comes_too_late_waits_anew_and_so_does_everybody_when_the_clock_jumps() {
    let mut list = list();
    assert_eq!(list.decide(NOW, ip(1), "a.example", "m", false), Decision::Wait(300));
    assert_eq!(list.decide(NOW + 3 * 86_400, ip(1), "a.example", "m", false), Decision::Wait(300));
    assert_eq!(list.decide(NOW - 10 * 365 * 86_400, ip(1), "a.example", "m", false), Decision::Wait(300));
    assert_eq!(list.decide(NOW - 10 * 365 * 86_400 + 300, ip(1), "a.example", "m", false), Decision::Pass);
}

#[test]
fn rows_that_were_stored_bring_it_all_back() {
    let mut list = list();
    list.decide(NOW, ip(1), "a.example", "m", false);
    list.decide(NOW + 300, ip(1), "a.example", "m", false);
    list.decide(NOW, ip(1).max(IpAddr::from([203, 0, 113, 1])), "b.example", "m", false);
    let mut stored = BTreeMap::new();
    for change in list.take_changes() {
        match change {
            Change::Put(key, row) => drop(stored.insert(key, row)),
            Change::Removed(key) => drop(stored.remove(&key)),
        }
    }
    assert_eq!(stored.len(), 3);
    let mut again = Greylist::new(Settings::default(), stored);
    assert_eq!(again.decide(NOW + 400, ip(9), "c.example", "x", false), Decision::Pass);
    assert_eq!(again.decide(NOW + 400, IpAddr::from([203, 0, 113, 2]), "b.example", "m", false), Decision::Pass);
}

#[test]
fn nobody_fills_the_table() {
    let mut list = list();
    for number in 0..1000 {
        list.decide(NOW + number, ip(1), &format!("d{number}.example"), "m", false);
    }
    assert!(list.len() <= ROWS_PER_NETWORK_MAX);
    list.decide(NOW, IpAddr::from([8, 8, 8, 8]), "good.example", "m", false);
    assert_eq!(list.decide(NOW + 300, IpAddr::from([8, 8, 8, 8]), "good.example", "m", false), Decision::Pass);
    for number in 0..120_000u32 {
        let [a, b, c, d] = number.to_be_bytes();
        list.decide(NOW + 1000, IpAddr::from([10 + a, b, c, d]), "d.example", &format!("{d}"), false);
        assert!(list.len() <= ROWS_MAX + 2);
    }
    assert_eq!(list.decide(NOW + 1001, IpAddr::from([8, 8, 8, 8]), "x.example", "y", false), Decision::Pass, "who passed stays");
    list.sweep(NOW + 3 * 86_400);
    assert!(list.len() < 10, "{}", list.len());
}

proptest! {
    #[test]
    fn whoever_keeps_trying_passes_in_time(gaps in proptest::collection::vec(1i64..4000, 1..50)) {
        let mut list = list();
        let mut at = NOW;
        let mut first_pass = None;
        list.decide(at, ip(1), "a.example", "m", false);
        for gap in gaps {
            at += gap;
            let passed = list.decide(at, ip(1), "a.example", "m", false) == Decision::Pass;
            prop_assert_eq!(passed, at - NOW >= 300);
            first_pass = first_pass.or(passed.then_some(at));
        }
    }
}
