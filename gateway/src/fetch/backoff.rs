//! When to try an account again: pure. Failures wait longer and longer; wrong credentials wait for a person.

use super::FetchError;

/// Seconds after the first failure.
const FIRST_S: i64 = 30;
/// Longest wait, seconds.
pub const LONGEST_S: i64 = 3600;

/// How it has gone lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after so many seconds.
    After(i64),
    /// Not before the settings or the secret change: tell the person.
    Stop,
}

impl Backoff {
    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It failed. `jitter` is any number: it spreads the attempts over a quarter of the wait.
    pub fn failed(&mut self, error: &FetchError, jitter: u32) -> Next {
        if matches!(error, FetchError::Credentials { .. } | FetchError::NoTls(_)) {
            return Next::Stop;
        }
        let wait = FIRST_S.checked_shl(self.failures.min(16)).unwrap_or(LONGEST_S).min(LONGEST_S);
        self.failures = self.failures.saturating_add(1);
        Next::After(wait + i64::from(jitter) % (wait / 4 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_and_longer_and_wrong_passwords_for_a_person() {
        let mut backoff = Backoff::default();
        let silent = FetchError::Silent("x".into());
        let waits: Vec<_> = (0..40).map(|_| backoff.failed(&silent, 0)).collect();
        assert_eq!(&waits[..3], [Next::After(30), Next::After(60), Next::After(120)]);
        assert_eq!(waits.last(), Some(&Next::After(LONGEST_S)));
        let wrong = FetchError::Credentials { host: "x".into(), login: super::super::Login::Password, said: String::new() };
        assert_eq!(backoff.failed(&wrong, 7), Next::Stop);
        backoff.succeeded();
        assert!(matches!(backoff.failed(&silent, u32::MAX), Next::After(30..=38)));
    }
}
