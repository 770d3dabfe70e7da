//! How long a connection may take: a pure reckoning of deadlines, so that a client that trickles bytes cannot hold a place for ever.

use std::time::{Duration, Instant};

/// What the session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A new command: the client may be silent for a while.
    Command,
    /// The rest of a line, literal or mail that has begun: the client must keep up the minimum pace.
    Rest,
}

/// The time limits of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the connection to the login, all in all.
    pub login: Duration,
    /// Silence between commands before the login.
    pub idle_before_login: Duration,
    /// Silence between commands after the login (RFC 5321 §4.5.3.2.7: 5 min; RFC 1939 §3: 10 min; RFC 3501 §5.4: 30 min).
    pub idle: Duration,
    /// Before the login: what a line gets on top of the time that its bytes take at the minimum pace; also the longest silence within it.
    pub rest_before_login: Duration,
    /// The same after the login, for lines, literals and mails (RFC 5321 §4.5.3.2.5: 3 min).
    pub rest: Duration,
    /// Bytes per second that a line, literal or mail must come in with, on average.
    pub pace_bytes_per_second: u32,
    /// A TLS handshake.
    pub handshake: Duration,
    /// A client that takes no 16 KiB of an answer within this time is gone.
    pub stall: Duration,
}

impl Timing {
    /// The defaults with this silence after the login.
    #[must_use]
    pub fn with_idle(idle: Duration) -> Self {
        Self { idle, ..Self::default() }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(180),
            idle_before_login: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            rest_before_login: Duration::from_secs(30),
            rest: Duration::from_secs(180),
            pace_bytes_per_second: 256,
            handshake: Duration::from_secs(20),
            stall: Duration::from_secs(60),
        }
    }
}

/// Reckons until when the next byte must come.
#[derive(Debug)]
pub(crate) struct Pace {
    timing: Timing,
    connected: Instant,
    last_byte: Instant,
    logged_in: bool,
    /// The start of the line, literal or mail that is under way, and its bytes so far.
    unit: Option<(Instant, u64)>,
}

impl Pace {
    pub(crate) fn new(timing: Timing, now: Instant) -> Self {
        Self { timing, connected: now, last_byte: now, logged_in: false, unit: None }
    }

    pub(crate) fn logged_in(&mut self) {
        self.logged_in = true;
    }

    /// The session did something for the client: its silence starts anew.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.last_byte = now;
    }

    pub(crate) fn received(&mut self, bytes: usize, now: Instant) {
        self.last_byte = now;
        if let Some((_, total)) = &mut self.unit {
            *total = total.saturating_add(bytes as u64);
        }
    }

    /// Until when the client may be silent. Asking again while nothing came in gives the same answer.
    pub(crate) fn deadline(&mut self, waiting: Waiting) -> Instant {
        let timing = &self.timing;
        let deadline = match waiting {
            Waiting::Command => {
                self.unit = None;
                self.last_byte + if self.logged_in { timing.idle } else { timing.idle_before_login }
            }
            Waiting::Rest => {
                let (start, bytes) = *self.unit.get_or_insert((self.last_byte, 0));
                let earned = Duration::from_secs(bytes / u64::from(timing.pace_bytes_per_second.max(1)));
                let rest = if self.logged_in { timing.rest } else { timing.rest_before_login };
                (start + rest + earned).min(self.last_byte + rest)
            }
        };
        if self.logged_in { deadline } else { deadline.min(self.connected + timing.login) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_does_not_extend_a_line() {
        for logged_in in [false, true] {
            let (start, timing) = (Instant::now(), Timing::default());
            let mut pace = Pace::new(timing, start);
            if logged_in {
                pace.logged_in();
            }
            let mut now = start;
            while pace.deadline(Waiting::Rest) > now {
                now += Duration::from_secs(10);
                pace.received(1, now);
            }
            assert!(now - start <= if logged_in { timing.rest } else { timing.rest_before_login } + Duration::from_secs(10));
        }
    }

    #[test]
    fn a_slow_but_steady_upload_goes_on() {
        let start = Instant::now();
        let mut pace = Pace::new(Timing::default(), start);
        pace.logged_in();
        let mut now = start;
        for _ in 0..1000 {
            now += Duration::from_secs(10);
            assert!(pace.deadline(Waiting::Rest) >= now);
            pace.received(2600, now);
        }
    }

    #[test]
    fn whoever_does_not_log_in_must_leave() {
        let start = Instant::now();
        let timing = Timing::default();
        let mut pace = Pace::new(timing, start);
        let mut now = start;
        while pace.deadline(Waiting::Command) > now {
            now += Duration::from_secs(30);
            pace.received(6, now);
        }
        assert_eq!(now - start, timing.login);
    }

    #[test]
    fn asking_again_does_not_move_the_deadline() {
        let mut pace = Pace::new(Timing::default(), Instant::now());
        let first = pace.deadline(Waiting::Command);
        assert_eq!(pace.deadline(Waiting::Command), first);
    }
}
