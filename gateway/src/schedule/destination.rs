//! How a destination (a mail domain, or the smarthost) is spared: connections at once, mails a minute, and rest after trouble. Pure.
//!
//! Time is a monotonic count of milliseconds, the caller's; it may stand still, it must not go back (if it does, waits grow by as much, no more).

use serde::Deserialize;

/// What one destination is asked to bear.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// Mails (transactions) a minute; 0 for no bound.
    pub mails_per_minute: u32,
    /// The rest after the first trouble, in milliseconds; doubled by each further one.
    pub rest_first_ms: u64,
    /// The longest rest after trouble.
    pub rest_longest_ms: u64,
    /// The rest after credentials were refused, unless the settings change first: guessing again gets accounts locked.
    pub rest_credentials_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4,
            mails_per_minute: 120,
            rest_first_ms: 60_000,
            rest_longest_ms: 3_600_000,
            rest_credentials_ms: 6 * 3_600_000,
        }
    }
}

/// How a connection or transaction with a destination ended, as far as the destination as a whole is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It spoke with us as it should, whatever it said of single recipients.
    Well,
    /// It could not be reached, hung, or refused us for now.
    Trouble,
    /// It refused our name and password.
    Credentials,
    /// Nothing was learned: the attempt was called off.
    Nothing,
}

/// Whether a mail may go to a destination now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Yes; it is counted, and [`Destination::end`] must follow.
    Go,
    /// All its connections are busy: ask again when one ends.
    Busy,
    /// Not for this many milliseconds.
    Rest {
        /// From now.
        in_ms: u64,
        /// Why.
        why: Rest,
    },
}

/// Why a destination is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Enough mails for this minute.
    Rate,
    /// It was in trouble the last time.
    Trouble,
    /// It refused our credentials.
    Credentials,
}

/// What is remembered of a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Destination {
    open: u32,
    troubles: u32,
    /// Whether nobody was let in yet by the credentials that we have.
    unproven: bool,
    rest: Option<(u64, Rest)>,
    minute_start: u64,
    minute_mails: u32,
    touched: u64,
}

impl Destination {
    /// One where we log in: as long as nobody was let in, one connection at a time tries it, since several wrong passwords at once are a storm.
    pub fn with_login() -> Self {
        Self { unproven: true, ..Self::default() }
    }

    /// May a mail go now?
    pub fn ask(&mut self, now_ms: u64, limits: &Limits) -> Permit {
        self.touched = now_ms;
        if let Some((until, why)) = self.rest {
            if now_ms < until {
                return Permit::Rest { in_ms: until - now_ms, why };
            }
            self.rest = None;
        }
        if now_ms.saturating_sub(self.minute_start) >= 60_000 {
            self.minute_start = now_ms;
            self.minute_mails = 0;
        }
        if limits.mails_per_minute > 0 && self.minute_mails >= limits.mails_per_minute {
            let passed = now_ms.saturating_sub(self.minute_start);
            return Permit::Rest { in_ms: 60_000u64.saturating_sub(passed).max(1), why: Rest::Rate };
        }
        // After trouble one mail tries the ground for the others.
        let connections = if self.troubles > 0 || self.unproven { 1 } else { limits.connections.max(1) };
        if self.open >= connections {
            return Permit::Busy;
        }
        self.open += 1;
        self.minute_mails = self.minute_mails.saturating_add(1);
        Permit::Go
    }

    /// What was let go has ended so. `random` spreads rests by up to a tenth.
    pub fn end(&mut self, now_ms: u64, limits: &Limits, ended: Ended, random: u64) {
        self.touched = now_ms;
        self.open = self.open.saturating_sub(1);
        let (base, why) = match ended {
            Ended::Nothing => return,
            Ended::Well => {
                self.troubles = 0;
                self.unproven = false;
                return;
            }
            Ended::Trouble => {
                self.troubles = self.troubles.saturating_add(1);
                let doublings = (self.troubles - 1).min(32);
                (limits.rest_first_ms.saturating_mul(1u64 << doublings).min(limits.rest_longest_ms), Rest::Trouble)
            }
            Ended::Credentials => {
                self.unproven = true;
                (limits.rest_credentials_ms, Rest::Credentials)
            }
        };
        let until = now_ms.saturating_add(base).saturating_add(random % (base / 10 + 1));
        // Several connections that fail together are one trouble: a longer rest is never cut short.
        if self.rest.is_none_or(|(rest, _)| rest < until) {
            self.rest = Some((until, why));
        }
    }

    /// Forgets trouble: its settings changed, or a person asks for it.
    pub fn forgive(&mut self) {
        self.troubles = 0;
        self.rest = None;
    }

    /// Whether nothing is on its way there now.
    pub fn is_free(&self) -> bool {
        self.open == 0
    }

    /// Whether nothing is worth remembering: no connection, no rest, untouched for an hour.
    pub fn is_idle(&self, now_ms: u64) -> bool {
        self.open == 0 && self.rest.is_none_or(|(until, _)| until <= now_ms) && now_ms.saturating_sub(self.touched) >= 3_600_000
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::schedule::{Next, Schedule};

    const LIMITS: Limits =
        Limits { connections: 2, mails_per_minute: 3, rest_first_ms: 1_000, rest_longest_ms: 8_000, rest_credentials_ms: 50_000 };

    #[test]
    fn connections_at_once_and_mails_a_minute_are_bounded() {
        let mut destination = Destination::default();
        assert_eq!(destination.ask(0, &LIMITS), Permit::Go);
        assert_eq!(destination.ask(0, &LIMITS), Permit::Go);
        assert_eq!(destination.ask(0, &LIMITS), Permit::Busy);
        destination.end(5, &LIMITS, Ended::Well, 0);
        assert_eq!(destination.ask(5, &LIMITS), Permit::Go);
        destination.end(6, &LIMITS, Ended::Well, 0);
        assert_eq!(destination.ask(10, &LIMITS), Permit::Rest { in_ms: 59_990, why: Rest::Rate });
        assert_eq!(destination.ask(60_000, &LIMITS), Permit::Go);
    }

    #[test]
    fn without_a_bound_only_connections_are_counted() {
        let limits = Limits { mails_per_minute: 0, ..LIMITS };
        let mut destination = Destination::default();
        for _ in 0..1_000 {
            assert_eq!(destination.ask(0, &limits), Permit::Go);
            destination.end(0, &limits, Ended::Well, 0);
        }
        assert_eq!((destination.ask(0, &limits), destination.ask(0, &limits)), (Permit::Go, Permit::Go));
        assert_eq!(destination.ask(0, &limits), Permit::Busy);
    }

    #[test]
    fn trouble_doubles_the_rest_and_good_ends_forget_it() {
        let mut destination = Destination::default();
        let mut now = 0;
        for rest in [1_000, 2_000, 4_000, 8_000, 8_000] {
            assert_eq!(destination.ask(now, &LIMITS), Permit::Go);
            destination.end(now, &LIMITS, Ended::Trouble, 0);
            assert_eq!(destination.ask(now, &LIMITS), Permit::Rest { in_ms: rest, why: Rest::Trouble });
            now += rest + 60_000;
        }
        assert_eq!(destination.ask(now, &LIMITS), Permit::Go);
        assert_eq!(destination.ask(now, &LIMITS), Permit::Busy, "one goes first after trouble");
        destination.end(now, &LIMITS, Ended::Well, 0);
        assert_eq!(destination.ask(now, &LIMITS), Permit::Go);
        assert_eq!(destination.ask(now, &LIMITS), Permit::Go);
    }

    #[test]
    fn one_mail_tries_credentials_for_the_others() {
        let limits = Limits { mails_per_minute: 0, ..LIMITS };
        let mut known = Destination::with_login();
        for ended in [Ended::Credentials, Ended::Well] {
            assert_eq!((known.ask(0, &limits), known.ask(0, &limits)), (Permit::Go, Permit::Busy));
            known.end(1, &limits, ended, 0);
            known.forgive();
        }
        assert_eq!([known.ask(2, &limits), known.ask(2, &limits), known.ask(2, &limits)], [Permit::Go, Permit::Go, Permit::Busy]);
        known.end(3, &limits, Ended::Credentials, 0);
        known.forgive();
        assert_eq!(known.ask(4, &limits), Permit::Busy, "the other one is still there");
    }

    #[test]
    fn refused_credentials_rest_until_somebody_acts() {
        let mut destination = Destination::default();
        assert_eq!(destination.ask(0, &LIMITS), Permit::Go);
        destination.end(0, &LIMITS, Ended::Credentials, 0);
        assert_eq!(destination.ask(1, &LIMITS), Permit::Rest { in_ms: 49_999, why: Rest::Credentials });
        destination.forgive();
        assert_eq!(destination.ask(2, &LIMITS), Permit::Go);
    }

    /// A day of a queue by this state and the usual schedule, in injected time: how often the host was knocked at, and when each mail was taken.
    fn a_day(mails: u32, up_at_ms: u64, seed: u64) -> (u32, Vec<u64>) {
        let (schedule, limits) = (Schedule::default(), Limits { mails_per_minute: 10_000, ..Limits::default() });
        let (mut destination, mut random, mut knocks, mut taken) =
            (Destination::default(), SmallRng::seed_from_u64(seed), 0, Vec::new());
        let mut queue: BTreeSet<(u64, u32, u32)> = (0..mails).map(|mail| (u64::from(mail) * 60_000, mail, 0)).collect();
        while let Some((now, mail, failures)) = queue.pop_first().filter(|(now, ..)| *now < 86_400_000) {
            match destination.ask(now, &limits) {
                Permit::Go if now >= up_at_ms => {
                    knocks += 1;
                    destination.end(now, &limits, Ended::Well, random.random());
                    taken.push(now);
                }
                Permit::Go => {
                    knocks += 1;
                    destination.end(now, &limits, Ended::Trouble, random.random());
                    if let Next::Again { in_ms } = schedule.next(failures + 1, now - u64::from(mail) * 60_000, random.random()) {
                        queue.insert((now + in_ms, mail, failures + 1));
                    }
                }
                // No attempt of the mail: it comes back when the rest is over.
                Permit::Rest { in_ms, .. } => {
                    queue.insert((now + in_ms, mail, failures));
                }
                Permit::Busy => unreachable!("one at a time"),
            }
        }
        (knocks, taken)
    }

    #[test]
    fn a_day_with_a_dead_host_is_a_knock_an_hour_however_many_mails_wait() {
        for seed in 0..20 {
            let (knocks, taken) = a_day(500, u64::MAX, seed);
            assert!((20..=35).contains(&knocks) && taken.is_empty(), "{knocks}");
        }
    }

    #[test]
    fn a_host_that_comes_back_after_half_a_day_gets_everything_within_hours() {
        for seed in 0..20 {
            let up = 12 * 3_600_000;
            let (_, taken) = a_day(500, up, seed);
            assert_eq!(taken.len(), 500);
            assert!(taken.iter().all(|at| (up..up + 5 * 3_600_000).contains(at)), "{:?}", taken.last());
        }
    }

    proptest! {
        #[test]
        fn never_more_open_than_allowed_and_never_a_rest_without_end(steps in prop::collection::vec((0u64..200_000, 0u8..6, any::<u64>()), 1..200)) {
            let mut destination = Destination::default();
            let (mut now, mut open) = (0u64, 0u32);
            for (pass, what, random) in steps {
                now += pass;
                match what {
                    0 | 1 => match destination.ask(now, &LIMITS) {
                        Permit::Go => open += 1,
                        Permit::Busy => prop_assert!(open > 0),
                        Permit::Rest { in_ms, .. } => prop_assert!(in_ms > 0 && in_ms <= 60_000),
                    },
                    what if open > 0 => {
                        open -= 1;
                        let ended = [Ended::Well, Ended::Trouble, Ended::Credentials, Ended::Nothing][usize::from(what - 2)];
                        destination.end(now, &LIMITS, ended, random);
                    }
                    _ => {}
                }
                prop_assert!(open <= LIMITS.connections);
            }
            prop_assert!(destination.is_idle(now + 4_000_000) == (open == 0));
        }
    }
}
