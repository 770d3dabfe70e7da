//! The slowest that a body may move.

use std::time::Duration;

use tokio::time::Instant;

/// By when the next byte must have moved for a body to keep its average.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start: Instant,
    grace: Duration,
    /// Bytes per second, at least one.
    rate: u64,
    moved: u64,
}

impl Pace {
    pub(super) fn new(start: Instant, grace: Duration, rate: u64) -> Self {
        Self { start, grace, rate: rate.max(1), moved: 0 }
    }

    /// Bytes moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// Time that passed by our own doing does not count.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.start += time;
    }

    /// When the peer is too slow if nothing moves until then.
    pub(super) fn deadline(&self) -> Instant {
        self.start + self.grace + Duration::from_millis(self.moved.saturating_mul(1000) / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_moves_with_the_bytes() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::from_secs(10), 10_000);
        assert_eq!(pace.deadline(), start + Duration::from_secs(10));
        pace.moved(50_000);
        assert_eq!(pace.deadline(), start + Duration::from_secs(15));
        pace.excuse(Duration::from_secs(2));
        assert_eq!(pace.deadline(), start + Duration::from_secs(17));
    }
}
