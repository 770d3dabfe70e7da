//! When a certificate is asked for: in time, soon after what passes by itself, and seldom enough that no authority has to send us away. Pure; times are Unix
//! seconds and arguments.
//!
//! Let's Encrypt forgives five failed checks of a name in an hour. A try is written down before it begins, so that a crash in the middle of one is a try too.

use serde::{Deserialize, Serialize};

/// Tries that came as far as a check of the name, in any hour.
pub const TRIES_AN_HOUR: usize = 4;
/// An hour.
const HOUR_S: i64 = 3_600;
/// The longest pause.
pub const PAUSE_MAX_S: i64 = 24 * HOUR_S;
/// The longest word on what went wrong that is kept, in bytes.
pub const SAID_BYTES_MAX: usize = 400;

/// From when to when a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Life {
    /// Its first second.
    pub begins: i64,
    /// Its last second.
    pub ends: i64,
}

impl Life {
    /// When it is time for the next one: a third of it is left.
    #[must_use]
    pub fn renewal(&self) -> i64 {
        self.ends.saturating_sub(self.ends.saturating_sub(self.begins).max(0) / 3)
    }

    /// Whether it counts at a time.
    #[must_use]
    pub fn is_good(&self, now_s: i64) -> bool {
        (self.begins..=self.ends).contains(&now_s)
    }
}

/// Why there is no certificate, as far as it matters for the next try.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The try was not ended: the node was stopped, or failed, or the authority went away in the middle.
    Interrupted,
    /// The authority cannot be reached, or says that it is out of order; nothing has come as far as a check of the name.
    Unreachable,
    /// It has heard too much from here.
    TooMuch,
    /// It could not convince itself that the name leads here.
    NotProven,
    /// It does not want to, for a reason that a person has to look at; or what it gave cannot be used.
    Refused,
}

impl Cause {
    /// The first pause and the longest; between them each is twice the one before.
    fn pauses(self) -> (i64, i64) {
        match self {
            Self::Interrupted | Self::Unreachable => (60, HOUR_S),
            Self::NotProven => (15 * 60, PAUSE_MAX_S),
            Self::TooMuch | Self::Refused => (HOUR_S, PAUSE_MAX_S),
        }
    }
}

/// A try that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// When it began.
    pub at_s: i64,
    /// Of which kind it is.
    pub cause: Cause,
    /// What went wrong, a sentence without the dot.
    pub said: String,
}

/// What is remembered of the tries for a name since the last that succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The try that is under way.
    begun_s: Option<i64>,
    /// The latest tries that may have been checks of the name: at most [`TRIES_AN_HOUR`].
    tries_s: Vec<i64>,
    /// The last failure.
    last: Option<Failure>,
    /// How many of its kind there were in a row.
    failures: u32,
}

/// What to do for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing before this time, as far as it is known now.
    Rest {
        /// Unix seconds.
        until_s: i64,
    },
    /// Ask for a certificate.
    Order,
}

impl Record {
    /// As it was written down by a process that is gone: what it had begun has failed.
    #[must_use]
    pub fn taken_up(mut self) -> Self {
        if self.begun_s.is_some() {
            self.failed(Cause::Interrupted, "the node was stopped while it asked for the certificate");
        }
        self
    }

    /// A try begins: to be written down before anything is asked.
    pub fn begin(&mut self, now_s: i64) {
        self.begun_s = Some(now_s);
        self.tries_s.push(now_s);
        let surplus = self.tries_s.len().saturating_sub(TRIES_AN_HOUR);
        self.tries_s.drain(..surplus);
    }

    /// The try that was begun has failed.
    pub fn failed(&mut self, cause: Cause, said: &str) {
        let Some(at_s) = self.begun_s.take() else { return };
        if cause == Cause::Unreachable {
            // Nobody was asked anything.
            self.tries_s.pop();
        }
        let again = self.last.as_ref().is_some_and(|last| last.cause == cause);
        self.failures = if again { self.failures.saturating_add(1) } else { 1 };
        self.last = Some(Failure { at_s, cause, said: crate::printable(said, SAID_BYTES_MAX) });
    }

    /// It has succeeded.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The last failure since there was a success.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.last.as_ref()
    }

    /// How many failures of its kind there were in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// What to do for a name whose certificate has this life, if it has one. `asked`: a person wants it tried now, which ends a pause, and not what
/// keeps us within [`TRIES_AN_HOUR`]. What lies in the future because a clock was wrong counts for nothing.
#[must_use]
pub fn next(life: Option<Life>, record: &Record, asked: bool, now_s: i64) -> Step {
    let due_s = life.map_or(i64::MIN, |life| life.renewal());
    if now_s < due_s {
        return Step::Rest { until_s: due_s };
    }
    let past = |at_s: &i64| *at_s <= now_s;
    let pause_s = match &record.last {
        Some(last) if past(&last.at_s) && !asked => {
            let (first, most) = last.cause.pauses();
            let doubled = first.saturating_mul(1_i64.checked_shl(record.failures.saturating_sub(1)).unwrap_or(i64::MAX));
            last.at_s.saturating_add(if doubled <= 0 { most } else { doubled.min(most) })
        }
        _ => i64::MIN,
    };
    let recent = || record.tries_s.iter().copied().filter(past).filter(|at_s| now_s - at_s < HOUR_S);
    let hour_s = if recent().count() < TRIES_AN_HOUR { i64::MIN } else { recent().min().map_or(i64::MIN, |at_s| at_s + HOUR_S) };
    let until_s = pause_s.max(hour_s);
    if now_s < until_s { Step::Rest { until_s } } else { Step::Order }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_S: i64 = 24 * HOUR_S;
    const NOW_S: i64 = 1_800_000_000;

    fn after(record: &mut Record, now_s: i64, cause: Cause) -> i64 {
        record.begin(now_s);
        record.failed(cause, "x");
        match next(None, record, false, now_s) {
            Step::Rest { until_s } => until_s - now_s,
            Step::Order => 0,
        }
    }

    #[test]
    fn a_certificate_is_asked_for_at_once_where_there_is_none_and_when_a_third_of_its_life_is_left() {
        let record = Record::default();
        assert_eq!(next(None, &record, false, NOW_S), Step::Order);
        let life = Life { begins: NOW_S, ends: NOW_S + 90 * DAY_S };
        assert_eq!(next(Some(life), &record, false, NOW_S + 1), Step::Rest { until_s: NOW_S + 60 * DAY_S });
        // A person's wish makes nobody renew early.
        assert_eq!(next(Some(life), &record, true, NOW_S + 1), Step::Rest { until_s: NOW_S + 60 * DAY_S });
        assert_eq!(next(Some(life), &record, false, NOW_S + 60 * DAY_S), Step::Order);
        assert_eq!(next(Some(life), &record, false, NOW_S + 600 * DAY_S), Step::Order);
    }

    #[test]
    fn pauses_grow_with_each_failure_and_anew_with_each_kind() {
        let mut record = Record::default();
        let mut now_s = NOW_S;
        let mut pauses = |cause: Cause, count: usize| -> Vec<i64> {
            (0..count)
                .map(|_| {
                    let pause = after(&mut record, now_s, cause);
                    now_s += pause;
                    pause
                })
                .collect()
        };
        assert_eq!(pauses(Cause::Unreachable, 8), [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pauses(Cause::NotProven, 9), [900, 1800, 3600, 7200, 14400, 28800, 57600, 86400, 86400]);
        assert_eq!(pauses(Cause::TooMuch, 2), [3600, 7200]);
        assert_eq!(pauses(Cause::Unreachable, 1), [60]);
        assert_eq!(pauses(Cause::Refused, 70).last(), Some(&86400));
    }

    #[test]
    fn a_crash_in_the_middle_of_a_try_is_a_failure_and_a_success_forgets_everything() {
        let mut record = Record::default();
        record.begin(NOW_S);
        let kept: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        let mut kept = kept.taken_up();
        assert_eq!(next(None, &kept, false, NOW_S + 1), Step::Rest { until_s: NOW_S + 60 });
        assert_eq!(kept.failure().map(|failure| failure.cause), Some(Cause::Interrupted));
        kept.begin(NOW_S + 60);
        kept.succeeded();
        assert_eq!(kept, Record::default());
    }

    fn cause() -> impl Strategy<Value = Cause> {
        prop::sample::select(vec![Cause::Interrupted, Cause::Unreachable, Cause::TooMuch, Cause::NotProven, Cause::Refused])
    }

    proptest! {
        /// Whatever happens, and however often a person asks: never more checks of the name in an hour than allowed, never a pause of
        /// more than a day, and a try whenever a pause is over.
        #[test]
        fn no_storm_and_no_sleep_for_ever(happenings in prop::collection::vec((0_i64..5_000, cause(), any::<bool>()), 1..120)) {
            let (mut record, mut now_s, mut checks) = (Record::default(), NOW_S, Vec::new());
            for (passes, cause, asked) in happenings {
                now_s += passes;
                match next(None, &record, asked, now_s) {
                    Step::Rest { until_s } => {
                        prop_assert!(until_s > now_s && until_s <= now_s + PAUSE_MAX_S);
                        prop_assert_eq!(next(None, &record, false, until_s.max(now_s + PAUSE_MAX_S)), Step::Order);
                    }
                    Step::Order => {
                        record.begin(now_s);
                        if cause == Cause::Interrupted {
                            record = record.taken_up();
                        } else {
                            record.failed(cause, "no");
                        }
                        if cause != Cause::Unreachable {
                            checks.push(now_s);
                        }
                        let recent = checks.iter().filter(|at_s| now_s - **at_s < HOUR_S).count();
                        prop_assert!(recent <= TRIES_AN_HOUR, "{recent} checks in an hour");
                    }
                }
            }
        }

        /// A clock that was wrong, or a row that is nonsense: there is a time at which it goes on, and no certificate is renewed early.
        #[test]
        fn a_wrong_clock_stops_nothing(begins in any::<i64>(), ends in any::<i64>(), at_s in any::<i64>(), failures in any::<u32>(),
                                       tries_s in prop::collection::vec(any::<i64>(), 0..4), cause in cause(), now_s in 0_i64..4_000_000_000) {
            let last = Some(Failure { at_s, cause, said: String::new() });
            let record = Record { begun_s: None, tries_s, last, failures };
            if let Step::Rest { until_s } = next(None, &record, false, now_s) {
                prop_assert!(until_s > now_s && until_s <= now_s + PAUSE_MAX_S);
            }
            let life = Life { begins, ends };
            if now_s < life.renewal() {
                prop_assert_eq!(next(Some(life), &record, true, now_s), Step::Rest { until_s: life.renewal() });
            }
            if ends <= now_s {
                prop_assert_eq!(next(Some(life), &Record::default(), false, now_s), Step::Order);
            }
        }
    }
}
