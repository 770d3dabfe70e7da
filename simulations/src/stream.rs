//! Random numbers by name: a stream is a function of the seed, a node and a purpose, so that one more node, or one more question, shifts nobody else's.

use std::convert::Infallible;

use rand_core::TryRng;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Purpose {
    /// When a node is on.
    Availability = 1,
    /// When a person writes, to whom, and how much.
    Writing = 2,
    /// The core's own randomness.
    Core = 3,
    /// How long things take.
    Network = 4,
    /// What a scenario decides for a node: its relays, its habits.
    Choice = 5,
    /// Where in the directory a node is.
    Directory = 6,
    /// What fails, and when.
    Faults = 7,
    /// Whom a person knows.
    Contacts = 8,
    /// What kind of router a home has.
    Router = 9,
}

/// A stream of random numbers: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) over a counter.
#[derive(Clone, Debug)]
pub struct Stream(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Stream {
    /// The stream of this seed, node and purpose.
    #[must_use]
    pub fn new(seed: u64, node: u32, purpose: Purpose) -> Self {
        Self(mix(mix(seed.wrapping_add(GOLDEN)) ^ mix(u64::from(node).wrapping_mul(GOLDEN) ^ (purpose as u64) << 56)))
    }

    /// The next 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Evenly in `0..bound`; 0 for a bound of 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// Evenly in the open interval from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponential, with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(self.unit())
    }

    /// Normal, by Box and Muller.
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        mean + deviation * radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// Log-normal, with this mean and coefficient of variation.
    pub fn log_normal(&mut self, mean: f64, variation: f64) -> f64 {
        let squared = libm::log(1.0 + variation * variation);
        libm::exp(self.normal(libm::log(mean) - squared / 2.0, libm::sqrt(squared)))
    }

    /// Weibull, with this shape and mean.
    pub fn weibull(&mut self, shape: f64, mean: f64) -> f64 {
        let scale = mean / libm::tgamma(1.0 + 1.0 / shape);
        scale * libm::pow(-libm::log(self.unit()), 1.0 / shape)
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.word() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.word())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(mut draw: impl FnMut(&mut Stream) -> f64) -> f64 {
        let mut stream = Stream::new(1, 2, Purpose::Writing);
        (0..100_000).map(|_| draw(&mut stream)).sum::<f64>() / 100_000.0
    }

    #[test]
    fn draws_have_the_means_that_were_asked_for() {
        assert!((mean(Stream::unit) - 0.5).abs() < 0.005);
        assert!((mean(|stream| stream.exponential(3.0)) - 3.0).abs() < 0.05);
        assert!((mean(|stream| stream.normal(2.0, 1.0)) - 2.0).abs() < 0.02);
        assert!((mean(|stream| stream.log_normal(4.0, 0.35)) - 4.0).abs() < 0.03);
        assert!((mean(|stream| stream.weibull(0.6, 2.0)) - 2.0).abs() < 0.06);
        assert!((mean(|stream| stream.below(10) as f64) - 4.5).abs() < 0.05);
    }

    #[test]
    fn streams_of_others_are_others() {
        let first = |node, purpose| Stream::new(7, node, purpose).word();
        assert_ne!(first(1, Purpose::Core), first(2, Purpose::Core));
        assert_ne!(first(1, Purpose::Core), first(1, Purpose::Network));
        assert_eq!(first(1, Purpose::Core), first(1, Purpose::Core));
    }
}
