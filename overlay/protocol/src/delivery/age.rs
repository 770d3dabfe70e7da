//! How long a letter has waited, on machines whose clocks lie.
//!
//! A letter's age grows by the monotonic clock while the process runs. What the monotonic clock does not count (the process was down, the
//! machine slept) is added by the wall clock, bounded:
//!
//! * Only wall time beyond a high-water mark counts. The mark moves along with the monotonic clock, so a clock that goes back and forth adds
//!   nothing.
//! * Of every gap [`DRIFT_MS`] are taken for drift or a correction: they move the mark and add nothing.
//! * A gap of more than [`PLAUSIBLE_MS`] is a lie (a clock that starts in 1970, a jump by ten years): the same.
//! * What remains adds its length, but at most [`GAP_MS`]: after a month of sleep there are weeks left to deliver.
//!
//! So an age never exceeds the way that the mark has gone: clocks that are wrong by years, or by less than 0.6 %, make nothing expire early; one that
//! is set forward by hours, once, makes it early by these hours. And an age grows at least by the time that the process runs, so that every letter expires.
//! After a start and after a gap there is [`Config::grace_ms`](super::Config::grace_ms) for trying before anybody is told anything.

use crate::event::{Now, Wall};

/// What is not counted of a gap between the clocks, in ms: drift and small corrections.
pub const DRIFT_MS: u64 = 10 * 60 * 1000;
/// The longest gap that is believed, in ms.
pub const PLAUSIBLE_MS: u64 = 60 * 24 * 60 * 60 * 1000;
/// The most that one gap adds to an age, in ms.
pub const GAP_MS: u64 = 24 * 60 * 60 * 1000;

const _: () = assert!(DRIFT_MS < GAP_MS && GAP_MS < PLAUSIBLE_MS);

/// What a gap of `gap` ms by the wall clock adds to an age.
pub(crate) fn credit(gap: i64) -> u64 {
    match u64::try_from(gap) {
        Ok(gap) if gap <= PLAUSIBLE_MS => gap.saturating_sub(DRIFT_MS).min(GAP_MS),
        Ok(_) | Err(_) => 0,
    }
}

/// The time that passes for all letters alike, in ms since the process started.
#[derive(Clone, Debug)]
pub(crate) struct Aging {
    passed: u64,
    mono: u64,
    mark: i64,
    settled: u64,
}

impl Aging {
    /// Starts with the newest of the dates at which ages were persisted.
    pub(crate) fn new(now: Now, newest: Option<Wall>, grace_ms: u64) -> Self {
        let mark = newest.map_or(now.wall.0, |newest| newest.0.max(now.wall.0));
        Self { passed: 0, mono: now.mono.0, mark, settled: now.mono.0.saturating_add(grace_ms) }
    }

    /// Brings the time up to date. True if a gap was counted: what was due at a time by the monotonic clock is due earlier now.
    pub(crate) fn observe(&mut self, now: Now, grace_ms: u64) -> bool {
        let ran = now.mono.0.saturating_sub(self.mono);
        self.mono = self.mono.max(now.mono.0);
        self.mark = self.mark.saturating_add_unsigned(ran);
        let gap = now.wall.0.saturating_sub(self.mark);
        let credit = credit(gap);
        self.mark = self.mark.max(now.wall.0);
        // Deadlines are never far apart: a step of the monotonic clock beyond a gap's worth is sleep that it did count.
        self.passed = self.passed.saturating_add(ran.min(GAP_MS)).saturating_add(credit);
        let slept = credit > 0 || ran > GAP_MS;
        if slept {
            self.settled = self.mono.saturating_add(grace_ms);
        }
        slept
    }

    /// The time passed, in ms.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// The date to persist ages with.
    pub(crate) fn mark(&self) -> Wall {
        Wall(self.mark)
    }

    /// From when on people may be told about delays and failures, by the monotonic clock in ms.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Mono;

    const DAY: u64 = 24 * 60 * 60 * 1000;
    const HOUR: u64 = 60 * 60 * 1000;
    const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;
    const START: i64 = 1_790_000_000_000;

    fn at(mono: u64, wall: i64) -> Now {
        Now { mono: Mono(mono), wall: Wall(wall) }
    }

    #[test]
    fn running_time_counts_whatever_the_wall_says() {
        let mut aging = Aging::new(at(0, START), None, 0);
        for hour in 1..=100 {
            let wall = if hour % 2 == 0 { START + 10 * YEAR } else { START - 10 * YEAR };
            aging.observe(at(hour * HOUR, wall), 0);
        }
        assert_eq!(aging.passed(), 100 * HOUR);
    }

    #[test]
    fn a_clock_that_swings_by_a_day_adds_one_day_only() {
        let mut aging = Aging::new(at(0, START), None, 0);
        for minute in 1..=1000 {
            let swing = if minute % 2 == 0 { 0 } else { DAY };
            aging.observe(at(minute * 60_000, START.saturating_add_unsigned(minute * 60_000 + swing)), 0);
        }
        assert_eq!(aging.passed(), 1000 * 60_000 + DAY - DRIFT_MS);
    }

    #[test]
    fn sleep_counts_up_to_a_day() {
        let mut aging = Aging::new(at(0, START), None, 0);
        assert!(aging.observe(at(1000, START.saturating_add_unsigned(8 * HOUR + 1000)), 5));
        assert_eq!((aging.passed(), aging.settled()), (8 * HOUR + 1000 - DRIFT_MS, 1005));
        assert!(aging.observe(at(2000, START.saturating_add_unsigned(30 * DAY)), 5));
        assert_eq!(aging.passed(), 8 * HOUR + 2000 - DRIFT_MS + DAY);
    }

    #[test]
    fn a_clock_set_after_a_start_in_1970_counts_the_time_off() {
        let mut aging = Aging::new(at(0, 1000), Some(Wall(START)), 0);
        aging.observe(at(5000, 6000), 0);
        aging.observe(at(9000, START.saturating_add_unsigned(3 * HOUR)), 0);
        assert_eq!(aging.passed(), 3 * HOUR - DRIFT_MS);
    }

    #[test]
    fn drift_adds_nothing() {
        let mut aging = Aging::new(at(0, START), None, 0);
        for hour in 1..=720 {
            aging.observe(at(hour * HOUR, START.saturating_add_unsigned(hour * HOUR * 11 / 10)), 0);
        }
        assert_eq!(aging.passed(), 30 * DAY);
    }

    proptest! {
        #[test]
        fn age_lies_between_the_running_time_and_the_marks_way(steps in prop::collection::vec((0..2 * HOUR, -10 * YEAR..10 * YEAR), 1..100)) {
            let mut aging = Aging::new(at(0, START), None, 0);
            let (mut mono, mut top) = (0, START);
            for (ran, lie) in steps {
                mono += ran;
                aging.observe(at(mono, START.saturating_add_unsigned(mono) + lie), 0);
                top = top.max(aging.mark().0);
                prop_assert!(aging.passed() >= mono);
                prop_assert!(aging.passed() <= (top - START).unsigned_abs());
            }
        }
    }
}
