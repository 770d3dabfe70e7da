//! When a mail is tried again, when its sender is told that it takes long, and when it has failed (RFC 5321 §4.5.4.1). Pure: ages and chance are arguments.
//!
//! How a whole destination is spared is in `schedule/destination.rs`.

use serde::Deserialize;

pub mod destination;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The shortest wait that settings may ask for: below it retries are a nuisance to others.
const FIRST_MS_MIN: u64 = 1_000;
/// No wait that is written down is longer, whatever asked for it: one that seems to be is a clock that went back.
const WAIT_MS_MAX: u64 = DAY;
/// The longest expiry that settings may ask for.
const EXPIRY_MS_MAX: u64 = 60 * DAY;

/// When to try again, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The wait after the first failure. Greylisting hosts want minutes.
    pub first_ms: u64,
    /// How much longer each wait is than the one before, in percent; 200 doubles it.
    pub growth_percent: u64,
    /// No wait is longer.
    pub longest_ms: u64,
    /// How far chance lengthens a wait, in percent, so that what failed together does not come back together.
    pub jitter_percent: u64,
    /// The age at which the sender is told that it takes long.
    pub notice_ms: u64,
    /// The age at which a mail has failed; RFC 5321 wants four or five days at least.
    pub expiry_ms: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            first_ms: 5 * MINUTE,
            growth_percent: 200,
            longest_ms: 3 * HOUR,
            jitter_percent: 10,
            notice_ms: 4 * HOUR,
            expiry_ms: 5 * DAY,
        }
    }
}

/// What a schedule can be wrong about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// `first_ms` below a second.
    #[error("the first wait is shorter than a second")]
    FirstTooShort,
    /// `longest_ms` below `first_ms`.
    #[error("the longest wait is shorter than the first")]
    LongestTooShort,
    /// `growth_percent` below 100: waits would shrink.
    #[error("growth below 100 percent would shorten the waits")]
    Shrinks,
    /// `jitter_percent` above 100.
    #[error("jitter above 100 percent")]
    Jitter,
    /// `expiry_ms` below the first wait, or above sixty days.
    #[error("the expiry must lie between the first wait and sixty days")]
    Expiry,
}

/// What to do with a mail that could not be handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Try again when this many milliseconds have passed.
    Again {
        /// From now.
        in_ms: u64,
    },
    /// It is too old: it has failed.
    Expired,
}

impl Schedule {
    /// The schedule, if it makes sense.
    ///
    /// # Errors
    /// [`ScheduleError`] says which setting does not.
    pub fn checked(self) -> Result<Schedule, ScheduleError> {
        if self.first_ms < FIRST_MS_MIN {
            return Err(ScheduleError::FirstTooShort);
        }
        if self.longest_ms < self.first_ms {
            return Err(ScheduleError::LongestTooShort);
        }
        if self.growth_percent < 100 {
            return Err(ScheduleError::Shrinks);
        }
        if self.jitter_percent > 100 {
            return Err(ScheduleError::Jitter);
        }
        if self.expiry_ms < self.first_ms || self.expiry_ms > EXPIRY_MS_MAX {
            return Err(ScheduleError::Expiry);
        }
        Ok(self)
    }

    /// After the `attempts`-th failure of a mail that was accepted `age_ms` ago. `random` is any number, all of whose bits are by chance.
    ///
    /// The last attempt is made when the mail expires and not before, whatever the wait would have been.
    pub fn next(&self, attempts: u32, age_ms: u64, random: u64) -> Next {
        let left = self.expiry_ms.saturating_sub(age_ms);
        if left == 0 {
            return Next::Expired;
        }
        let wait = self.wait_ms(attempts);
        let most = wait.saturating_mul(self.jitter_percent.min(100)) / 100;
        let jitter = if most == 0 { 0 } else { random % (most + 1) };
        Next::Again { in_ms: wait.saturating_add(jitter).min(left) }
    }

    /// How long something still waits that was to be tried at `next_ms`, both in milliseconds of the wall clock. Where that is longer than anything is ever made to wait, the
    /// clock went back, and it waits no more.
    pub fn wait_left_ms(&self, next_ms: i64, now_ms: i64) -> u64 {
        let left = u64::try_from(next_ms.saturating_sub(now_ms)).unwrap_or(0);
        if left > self.longest_ms.saturating_mul(2).max(WAIT_MS_MAX) { 0 } else { left }
    }

    /// Whether the sender is to be told now that a mail of this age takes long; once.
    pub fn notice_is_due(&self, age_ms: u64, told: Told) -> bool {
        match told {
            Told::Already => false,
            Told::NotYet => age_ms >= self.notice_ms && age_ms < self.expiry_ms,
        }
    }

    /// The wait after the `attempts`-th failure, without chance.
    fn wait_ms(&self, attempts: u32) -> u64 {
        let mut wait = self.first_ms.min(self.longest_ms);
        for _ in 1..attempts {
            let longer = wait.saturating_mul(self.growth_percent.max(100)) / 100;
            if longer >= self.longest_ms {
                return self.longest_ms;
            }
            if longer == wait {
                break;
            }
            wait = longer;
        }
        wait
    }
}

/// Whether the sender knows already that a mail takes long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A notice was sent.
    Already,
    /// None was sent.
    NotYet,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mail_is_tried_often_at_first_and_for_five_days() {
        let schedule = Schedule::default().checked().unwrap();
        let (mut age, mut attempts, mut in_first_hour) = (0, 0, 0);
        loop {
            attempts += 1;
            match schedule.next(attempts, age, 0) {
                Next::Again { in_ms } => age += in_ms,
                Next::Expired => break,
            }
            in_first_hour += u32::from(age <= HOUR);
        }
        assert_eq!(age, schedule.expiry_ms);
        assert_eq!(in_first_hour, 3, "after 5, 15 and 35 minutes");
        assert!((40..=60).contains(&attempts), "{attempts}");
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_wait_for_years() {
        let schedule = Schedule::default();
        let (now, hour, year) = (1_795_000_000_000, 3_600_000, 365 * 24 * 3_600_000);
        assert_eq!(schedule.wait_left_ms(now + hour, now), 3_600_000);
        assert_eq!(schedule.wait_left_ms(now - year, now), 0);
        assert_eq!(schedule.wait_left_ms(now + 10 * year, now), 0);
        assert_eq!(schedule.wait_left_ms(i64::MAX, i64::MIN), 0);
        let slow = Schedule { longest_ms: 3 * DAY, ..schedule };
        assert_eq!(slow.wait_left_ms(now + 50 * hour, now), 50 * HOUR);
    }

    #[test]
    fn the_sender_is_told_once() {
        let schedule = Schedule::default();
        assert!(!schedule.notice_is_due(schedule.notice_ms - 1, Told::NotYet));
        assert!(schedule.notice_is_due(schedule.notice_ms, Told::NotYet));
        assert!(!schedule.notice_is_due(schedule.notice_ms, Told::Already));
        assert!(!schedule.notice_is_due(schedule.expiry_ms, Told::NotYet), "a failure says more");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let good = Schedule::default();
        for (schedule, error) in [
            (Schedule { first_ms: 0, ..good }, ScheduleError::FirstTooShort),
            (Schedule { longest_ms: 1, ..good }, ScheduleError::LongestTooShort),
            (Schedule { growth_percent: 99, ..good }, ScheduleError::Shrinks),
            (Schedule { jitter_percent: 101, ..good }, ScheduleError::Jitter),
            (Schedule { expiry_ms: 10, ..good }, ScheduleError::Expiry),
            (Schedule { expiry_ms: u64::MAX, ..good }, ScheduleError::Expiry),
        ] {
            assert_eq!(schedule.checked(), Err(error));
        }
    }

    prop_compose! {
        fn schedules()(first_ms in 1_000u64..HOUR, longer in 0u64..DAY, growth_percent in 100u64..1_000, jitter_percent in 0u64..=100, expiry in 0u64..59 * DAY) -> Schedule {
            Schedule { first_ms, growth_percent, longest_ms: first_ms + longer, jitter_percent, notice_ms: 4 * HOUR, expiry_ms: first_ms + expiry }
        }
    }

    proptest! {
        #[test]
        fn waits_grow_stay_bounded_and_end(schedule in schedules(), attempts in 1u32..10_000, age in 0u64..60 * DAY, random: u64) {
            let schedule = schedule.checked().unwrap();
            prop_assert!(schedule.wait_ms(attempts) <= schedule.wait_ms(attempts + 1));
            match schedule.next(attempts, age, random) {
                Next::Again { in_ms } => {
                    prop_assert!(age < schedule.expiry_ms && in_ms > 0);
                    prop_assert!(in_ms <= schedule.longest_ms * 2 && age + in_ms <= schedule.expiry_ms);
                }
                Next::Expired => prop_assert!(age >= schedule.expiry_ms),
            }
        }

        #[test]
        fn any_numbers_at_all_are_survived(first_ms: u64, growth_percent: u64, longest_ms: u64, jitter_percent: u64, expiry_ms: u64, attempts: u32, age: u64, random: u64) {
            let schedule = Schedule { first_ms, growth_percent, longest_ms, jitter_percent, notice_ms: 0, expiry_ms };
            let _ = schedule.next(attempts % 10_000, age, random);
        }
    }
}
