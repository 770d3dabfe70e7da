//! Prekeys through the weeks, and clocks that lie.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::blinding::WEEK_MS;

const DAY: u64 = 86_400_000;
const START: Wall = Wall(2968 * WEEK_MS);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

fn at(days: u64) -> Now {
    Now { mono: Mono(days * DAY), wall: Wall(START.0 + (days * DAY) as i64) }
}

fn reread(keys: &Prekeys) -> Prekeys {
    let rows: Vec<_> = keys.weeks().map(|week| keys.row(week).unwrap().unwrap()).collect();
    Prekeys::from_rows(rows.iter().map(|row| row.as_slice())).unwrap()
}

/// Keys of two weeks, the first of which was replaced on day 7.
fn replaced() -> Prekeys {
    let mut keys = Prekeys::default();
    keys.rotate(at(0).wall, &mut rng());
    keys.published(2968, at(0).wall);
    keys.age(at(7));
    keys.rotate(at(7).wall, &mut rng());
    keys.published(2969, at(7).wall);
    keys
}

#[test]
fn a_key_lives_through_its_four_states() {
    let mut keys = Prekeys::default();
    assert_eq!(keys.rotate(at(0).wall, &mut rng()).written, [2968]);
    assert!(keys.rotate(at(8).wall, &mut rng()).is_empty(), "no second key before the first is out");
    assert_eq!(keys.published(2968, at(0).wall).written, [2968]);
    assert!(keys.rotate(at(6).wall, &mut rng()).is_empty());
    assert_eq!(keys.rotate(at(7).wall, &mut rng()).written, [2969]);
    assert_eq!(keys.newest().map(|key| (key.week, key.state)), Some((2969, State::New)));
    assert!(keys.published(2968, at(7).wall).is_empty(), "an older card says nothing about the new key");
    assert_eq!(keys.published(2969, at(7).wall).written, [2968, 2969]);
    keys.age(at(7));
    assert!(keys.age(at(20)).erased.is_empty());
    assert_eq!(keys.age(at(21)).erased, [2968]);
    assert_eq!(keys.weeks().collect::<Vec<_>>(), [2969]);
}

#[test]
fn the_owner_who_is_away_keeps_the_current_key() {
    let mut keys = Prekeys::default();
    keys.rotate(at(0).wall, &mut rng());
    keys.published(2968, at(0).wall);
    keys.rotate(at(7).wall, &mut rng());
    for day in 7..60 {
        assert!(keys.age(at(day)).erased.is_empty());
    }
    assert_eq!(keys.weeks().count(), 2);
}

#[test]
fn a_calendar_that_jumps_ahead_erases_nothing() {
    let mut keys = replaced();
    keys.age(at(7));
    let years_ahead = Now { mono: at(8).mono, wall: at(4000).wall };
    assert!(keys.age(years_ahead).erased.is_empty());
    // Nor with a start after it: two days are believed.
    let mut again = reread(&keys);
    assert!(again.age(Now { mono: Mono(0), wall: at(8000).wall }).erased.is_empty());
    assert_eq!(again.weeks().count(), 2);
}

#[test]
fn measured_time_alone_erases_nothing() {
    let mut keys = replaced();
    let stuck = START;
    keys.age(Now { mono: at(7).mono, wall: stuck });
    assert!(keys.age(Now { mono: at(400).mono, wall: stuck }).erased.is_empty());
}

#[test]
fn a_laptop_that_is_on_an_hour_a_day_erases_in_time() {
    let mut keys = replaced();
    for day in 7..=21 {
        keys = reread(&keys);
        let erased = keys.age(Now { mono: Mono(0), wall: at(day).wall }).erased;
        assert_eq!(!erased.is_empty(), day == 21, "day {day}");
        let evening = Now { mono: Mono(3_600_000), wall: Wall(at(day).wall.0 + 3_600_000) };
        keys.age(evening);
    }
}

#[test]
fn what_opens_letters_is_what_the_card_lists() {
    let keys = replaced();
    let newest = keys.newest().unwrap();
    let public = newest.public();
    let (ciphertext, shared) = kem::encapsulate(&public.kem, &mut rng()).unwrap();
    assert_eq!(kem::SecretKey::from_seed(&newest.kem_seed()).decapsulate(&ciphertext), shared);
    assert_eq!(public.x25519, noise::public_key(newest.x25519.expose()));
    assert_eq!(keys.expand().len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Pass { mono_ms: u64, wall_ms: i64 },
    Restart { off_ms: i64 },
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3 * DAY, -(10 * DAY as i64)..20 * DAY as i64).prop_map(|(mono_ms, wall_ms)| Step::Pass { mono_ms, wall_ms }),
        (0..3 * DAY).prop_map(|ms| Step::Pass { mono_ms: ms, wall_ms: ms as i64 }),
        (-(DAY as i64)..30 * DAY as i64).prop_map(|off_ms| Step::Restart { off_ms }),
        Just(Step::Publish),
    ]
}

proptest! {
    #[test]
    fn whatever_clocks_do_few_keys_live_and_no_key_in_use_dies(steps in prop::collection::vec(step(), 1..120)) {
        let mut random = rng();
        let mut keys = Prekeys::default();
        let mut now = at(0);
        let mut on_disk = keys.clone();
        for step in steps {
            match step {
                Step::Pass { mono_ms, wall_ms } => {
                    now = Now { mono: Mono(now.mono.0 + mono_ms), wall: Wall(now.wall.0 + wall_ms) };
                }
                Step::Restart { off_ms } => {
                    keys = reread(&on_disk);
                    now = Now { mono: Mono(0), wall: Wall(now.wall.0 + off_ms) };
                }
                Step::Publish => {
                    let week = keys.newest().unwrap_or(&Prekey::generate(0, START, &mut random)).week;
                    keys.published(week, now.wall);
                }
            }
            let in_use: Vec<_> = keys.keys.iter().filter(|key| key.state != State::Grace).map(|key| key.week).collect();
            let erased = keys.age(now).erased;
            prop_assert!(erased.iter().all(|week| !in_use.contains(week)));
            keys.rotate(now.wall, &mut random);
            on_disk = keys.clone();
            let mut weeks: Vec<_> = keys.weeks().collect();
            prop_assert!(!weeks.is_empty() && weeks.len() <= PREKEYS_MAX);
            weeks.sort_unstable();
            weeks.dedup();
            prop_assert_eq!(weeks.len(), keys.weeks().count());
            prop_assert!(keys.keys.iter().filter(|key| key.state == State::New).count() <= 1);
            prop_assert!(keys.keys.iter().filter(|key| key.state == State::Current).count() <= 1);
            let again = reread(&keys);
            prop_assert_eq!(again.newest(), keys.newest());
            prop_assert_eq!(again.keys.len(), keys.keys.len());
        }
    }
}
