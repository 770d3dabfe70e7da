//! When nodes are on. Each preset says where its numbers are from.

use crate::stream::Stream;

/// One hour, in ms.
pub const HOUR: u64 = 60 * 60 * 1000;
/// One day, in ms.
pub const DAY: u64 = 24 * HOUR;

/// Times at which a node is on: sorted, apart from each other, `start..end` in ms.
pub type Sessions = Vec<(u64, u64)>;

/// The share of days on which a person's laptop stays off.
const DAYS_SKIPPED: f64 = 0.12;
/// Length of a day's session: its coefficient of variation.
const SESSION_VARIATION: f64 = 0.35;
/// How far a person's usual hour is from the hour asked for, and a day's from the usual one, in hours.
const PERSON_SPREAD: f64 = 1.0;
const DAILY_SPREAD: f64 = 4.0 / 3.0;
/// When people wake up, and for how long they are awake, in hours.
const WAKES_H: f64 = 7.0;
const AWAKE_H: f64 = 16.0;
/// Sessions of peers are Weibull: k = 0.38 to 0.59 (Stutzbach and Rejaie, IMC 2006), 0.54 in Kad.
const SESSION_SHAPE: f64 = 0.6;
const SESSION_MEAN_H: f64 = 2.0;

/// A node's habits.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Habit {
    /// Never off.
    Always,
    /// One session a day of this mean length, around this hour; 12 % of the days without.
    Diurnal {
        /// Mean length in hours.
        hours: f64,
        /// The middle of the session, hour of the day.
        centre: f64,
    },
    /// Sessions with a heavy tail, mean 2 h, at any time: on for so many hours a day in the mean.
    Random {
        /// Hours a day.
        hours: f64,
    },
    /// An always-on machine that is up for this share of the time: exponential up-times, log-normal repairs (cv 2), the mean time between failures 1 day at
    /// .7, 3 at .9, 5 at .95, 10 at .99. A home's connection goes down 0.06 (median, developed countries) to 0.9 times a day (Grover, IMC 2013).
    Pi {
        /// Share of the time.
        up: f64,
    },
    /// Short sessions in the 16 hours of a day in which a person is awake, and none at night.
    Phone {
        /// Sessions a day.
        times: f64,
        /// Minutes each.
        minutes: f64,
    },
    /// On for a while (log-normal, cv 1), off for a while (exponential), day and night.
    Spells {
        /// Mean minutes on.
        on: f64,
        /// Mean minutes off.
        off: f64,
    },
}

/// The sessions of a node with this habit until `end`.
#[must_use]
pub fn sessions(habit: Habit, end: u64, stream: &mut Stream) -> Sessions {
    let mut sessions = match habit {
        Habit::Always => vec![(0, end)],
        Habit::Diurnal { hours, centre } => diurnal(hours, centre, end, stream),
        Habit::Random { hours } => {
            let off = SESSION_MEAN_H * (24.0 - hours) / hours;
            alternating(end, stream, |s| s.weibull(SESSION_SHAPE, SESSION_MEAN_H), move |s| s.exponential(off))
        }
        Habit::Pi { up } => {
            let between = 24.0 * between_failures(up);
            let (on, off) = (between * up, between * (1.0 - up));
            alternating(end, stream, move |s| s.exponential(on), move |s| s.log_normal(off, 2.0))
        }
        Habit::Phone { times, minutes } => phone(times, minutes, end, stream),
        Habit::Spells { on, off } => {
            alternating(end, stream, move |s| s.log_normal(on / 60.0, 1.0), move |s| s.exponential(off / 60.0))
        }
    };
    sessions.shrink_to_fit();
    sessions
}

/// Mean days between failures of a machine that is up for this share of the time, between the points of the preset.
fn between_failures(up: f64) -> f64 {
    const POINTS: [(f64, f64); 4] = [(0.7, 1.0), (0.9, 3.0), (0.95, 5.0), (0.99, 10.0)];
    let above = POINTS.windows(2).find(|pair| up <= pair[1].0).unwrap_or(&POINTS[2..]);
    let ((low, from), (high, to)) = (above[0], above[1]);
    (from + (to - from) * (up - low) / (high - low)).max(0.25)
}

fn in_ms(hours: f64) -> u64 {
    (hours * HOUR as f64).max(1.0) as u64
}

fn diurnal(hours: f64, centre: f64, end: u64, stream: &mut Stream) -> Sessions {
    let usual = centre + stream.normal(0.0, PERSON_SPREAD);
    let mut sessions = Sessions::new();
    for day in 0..end.div_ceil(DAY) {
        let (skipped, length) = (stream.chance(DAYS_SKIPPED), stream.log_normal(hours, SESSION_VARIATION));
        let middle = stream.normal(usual, DAILY_SPREAD) + 24.0 * day as f64;
        if !skipped {
            let start = in_ms((middle - length / 2.0).max(0.0));
            push(&mut sessions, start, start + in_ms(length), end);
        }
    }
    sessions
}

fn phone(times: f64, minutes: f64, end: u64, stream: &mut Stream) -> Sessions {
    let wakes = WAKES_H + stream.normal(0.0, PERSON_SPREAD);
    let (on, cycle) = (minutes / 60.0, AWAKE_H / times);
    let mut sessions = Sessions::new();
    for day in 0..end.div_ceil(DAY) {
        let morning = 24.0 * day as f64 + wakes;
        let mut at = morning + stream.exponential(cycle - on);
        while at < morning + AWAKE_H {
            let until = at + stream.log_normal(on, 1.0);
            push(&mut sessions, in_ms(at), in_ms(until), end);
            at = until + stream.exponential(cycle - on);
        }
    }
    sessions
}

fn alternating(
    end: u64,
    stream: &mut Stream,
    mut on: impl FnMut(&mut Stream) -> f64,
    mut off: impl FnMut(&mut Stream) -> f64,
) -> Sessions {
    let mut sessions = Sessions::new();
    // Somewhere in the middle of an on or an off, in their proportion.
    let (first_on, first_off) = (on(stream), off(stream));
    let share = stream.unit() * (first_on + first_off);
    let mut now = if share < first_on {
        push(&mut sessions, 0, in_ms(first_on - share), end);
        in_ms(first_on - share) + in_ms(first_off)
    } else {
        in_ms(first_on + first_off - share)
    };
    while now < end {
        let until = now + in_ms(on(stream));
        push(&mut sessions, now, until, end);
        now = until + in_ms(off(stream));
    }
    sessions
}

/// Adds a session, joined with the last one where they touch.
fn push(sessions: &mut Sessions, start: u64, until: u64, end: u64) {
    let until = until.min(end);
    match sessions.last_mut() {
        Some((_, last)) if start <= *last => *last = until.max(*last),
        _ if start < until => sessions.push((start, until)),
        _ => {}
    }
}

/// When both are on.
#[must_use]
pub fn both(one: &[(u64, u64)], other: &[(u64, u64)]) -> Sessions {
    let (mut sessions, mut at) = (Sessions::new(), other.iter().peekable());
    for (start, end) in one {
        while let Some((from, until)) = at.peek() {
            if (*start).max(*from) < (*end).min(*until) {
                sessions.push(((*start).max(*from), (*end).min(*until)));
            }
            // The one that ends later may meet the next one of the other.
            if until > end {
                break;
            }
            at.next();
        }
    }
    sessions
}

/// The first moment from `at` on at which a node with these sessions is on.
#[must_use]
pub fn next_on(sessions: &[(u64, u64)], at: u64) -> Option<u64> {
    let next = sessions.partition_point(|(_, end)| *end <= at);
    sessions.get(next).map(|(start, _)| at.max(*start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Purpose;

    fn share_on(habit: Habit) -> f64 {
        let end = 365 * DAY;
        let on: u64 = (0..50)
            .flat_map(|node| sessions(habit, end, &mut Stream::new(1, node, Purpose::Availability)))
            .map(|(start, until)| until - start)
            .sum();
        on as f64 / (50 * end) as f64
    }

    #[test]
    fn habits_are_on_for_the_share_that_they_say() {
        for (habit, share, error) in [
            (Habit::Always, 1.0, 1e-9),
            (Habit::Diurnal { hours: 4.0, centre: 20.0 }, 4.0 * 0.88 / 24.0, 0.002),
            (Habit::Random { hours: 6.0 }, 0.25, 0.01),
            (Habit::Pi { up: 0.95 }, 0.95, 0.01),
            (Habit::Pi { up: 0.7 }, 0.7, 0.02),
            (Habit::Phone { times: 30.0, minutes: 5.0 }, 30.0 * 5.0 / 1440.0, 0.003),
            (Habit::Spells { on: 15.0, off: 45.0 }, 0.25, 0.003),
        ] {
            let seen = share_on(habit);
            assert!((seen - share).abs() < error, "{habit:?}: {seen} instead of {share}");
        }
    }

    #[test]
    fn sessions_are_sorted_and_apart() {
        for habit in [Habit::Diurnal { hours: 10.0, centre: 1.0 }, Habit::Random { hours: 20.0 }, Habit::Pi { up: 0.5 }] {
            let sessions = sessions(habit, 100 * DAY, &mut Stream::new(3, 4, Purpose::Availability));
            assert!(sessions.iter().all(|(start, until)| start < until && *until <= 100 * DAY));
            assert!(sessions.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn both_are_on_when_each_is() {
        let (one, other) = ([(0, 10), (20, 30), (40, 50)], [(5, 22), (25, 45), (60, 70)]);
        assert_eq!(both(&one, &other), [(5, 10), (20, 22), (25, 30), (40, 45)]);
        assert_eq!(both(&other, &one), both(&one, &other));
        assert!(both(&one, &[]).is_empty());
    }

    #[test]
    fn the_next_moment_on_is_now_or_the_next_start() {
        let sessions = [(10, 20), (30, 40)];
        let at: Vec<_> = [0, 10, 19, 20, 39, 40].into_iter().map(|at| next_on(&sessions, at)).collect();
        assert_eq!(at, [Some(10), Some(10), Some(19), Some(30), Some(39), None]);
    }
}
