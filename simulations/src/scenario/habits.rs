//! What people write: how much, how often, to how many.

use crate::stream::Stream;

/// Mails of a person a day, in the mean.
pub const MAILS_A_DAY: f64 = 2.0;

/// Sizes of mails: the share that is smaller than so many KiB (Shah and Noble, 2007).
const SIZES: [(f64, u64); 11] = [
    (0.235, 2),
    (0.492, 4),
    (0.676, 8),
    (0.796, 16),
    (0.854, 32),
    (0.905, 64),
    (0.933, 128),
    (0.957, 256),
    (0.972, 512),
    (0.985, 1024),
    (0.9996, 2048),
];

/// Bytes of a mail.
pub fn size(stream: &mut Stream) -> u64 {
    let share = stream.unit();
    let (mut low, mut from) = (0.0, 512);
    for (up_to, kib) in SIZES {
        if share < up_to {
            return from + ((kib * 1024 - from) as f64 * (share - low) / (up_to - low)) as u64;
        }
        (low, from) = (up_to, kib * 1024);
    }
    from + stream.below(6 * from)
}

/// Moments at which a person writes: `a_day` mails in the mean, while on, within the first `until` ms.
pub(super) fn moments(on: &[(u64, u64)], until: u64, a_day: f64, stream: &mut Stream) -> Vec<u64> {
    let total: u64 = on.iter().filter(|(start, _)| *start < until).map(|(start, end)| end - start).sum();
    let rate = a_day * (until as f64 / crate::availability::DAY as f64) / total.max(1) as f64;
    let mut moments = Vec::new();
    for (start, end) in on.iter().filter(|(start, _)| *start < until) {
        let mut at = *start as f64;
        loop {
            at += stream.exponential(1.0 / rate);
            if at as u64 >= *end {
                break;
            }
            moments.push(at as u64);
        }
    }
    moments
}

/// How many people somebody knows: scale-free, exponent about 1.8 (Ebel, PRE 2002), at most `most`.
pub(super) fn contacts(most: u32, stream: &mut Stream) -> u32 {
    let exponent: f64 = 1.8;
    let tail = 1.0 - libm::pow(f64::from(most + 1), 1.0 - exponent);
    let drawn = libm::pow(1.0 - stream.unit() * tail, 1.0 / (1.0 - exponent));
    (drawn as u32).clamp(1, most)
}

/// Which of so many contacts is written to: Zipf, since most is written to few (Gomes, PE 2007).
pub(super) fn favourite(count: usize, stream: &mut Stream) -> usize {
    // The logarithm's inverse is near enough to the harmonic sum's.
    let drawn = libm::exp(stream.unit() * libm::log(count as f64 + 1.0)) - 1.0;
    (drawn as usize).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Purpose;

    #[test]
    fn sizes_follow_the_table() {
        let mut stream = Stream::new(1, 1, Purpose::Writing);
        let sizes: Vec<u64> = (0..50_000).map(|_| size(&mut stream)).collect();
        for (share, kib) in SIZES {
            let seen = sizes.iter().filter(|size| **size < kib * 1024).count() as f64 / sizes.len() as f64;
            assert!((seen - share).abs() < 0.01, "{kib} KiB: {seen} instead of {share}");
        }
    }

    #[test]
    fn contacts_are_scale_free_and_few_are_favourites() {
        let mut stream = Stream::new(1, 2, Purpose::Choice);
        let known: Vec<u32> = (0..50_000).map(|_| contacts(100, &mut stream)).collect();
        let at_least = |many: u32| known.iter().filter(|known| **known >= many).count() as f64 / known.len() as f64;
        // P(k >= n) goes with n to the power of 1 - 1.8, as far as the bound is not felt.
        let slope = (at_least(4) / at_least(2)).ln() / 2_f64.ln();
        assert!((-1.0..-0.75).contains(&slope), "{slope}");
        let first = (0..10_000).filter(|_| favourite(10, &mut stream) == 0).count();
        assert!((2_500..3_300).contains(&first), "{first}");
    }
}
