//! Two runs side by side: how far apart their delays are, and what they sent.

use serde::Serialize;

use crate::statistics::quantile;

/// The most by which quantiles, envelopes and bytes may differ, as a share.
const NEAR: f64 = 0.10;
/// The most by which the shares delivered may differ.
const NEAR_RATIO: f64 = 0.005;

/// What one run says. Times are in seconds of the life that was played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Share of the mails that arrived.
    pub delivered: f64,
    /// Half of what arrived was there within this.
    pub p50_s: f64,
    /// 95 %.
    pub p95_s: f64,
    /// 99 %.
    pub p99_s: f64,
    /// Mean.
    pub mean_s: f64,
    /// Whole envelopes sent for each mail: the mail to relays and reader, and the receipt.
    pub envelopes: f64,
    /// Bytes of envelopes for each mail.
    pub bytes: f64,
}

/// Both, and how far apart they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Mails that were accepted, and so are compared.
    pub mails: usize,
    /// Of the processes.
    pub real: Figures,
    /// Of the simulation.
    pub simulated: Figures,
    /// The largest distance between the shares of mails delivered by any time (Kolmogorov and Smirnov).
    pub ks: f64,
    /// The same of delays in whole minutes of the life that was played: ms of a machine are seconds of it, however slow the clocks of delivery are.
    pub ks_minutes: f64,
    /// The share of mails whose two delays differ by no more than a tenth, or by two minutes of the life that was played.
    pub alike: f64,
    /// The share of mails that lay in the mailbox when the mail program first looked after a start: of those, how long it took to log in is compared.
    pub first_look: f64,
    /// Mails that one of the two delivered and the other did not.
    pub only_real: usize,
    /// The other way round.
    pub only_simulated: usize,
    /// Each target, and whether it was met.
    pub targets: Vec<(String, bool)>,
}

/// One run's mails and traffic; delays in real ms.
#[derive(Clone, Debug)]
pub struct Run {
    /// Until each mail was there, in one order for both runs.
    pub delays: Vec<Option<u64>>,
    /// Whole envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Mails that were there at the first look after a start.
    pub first_look: usize,
}

impl Run {
    fn in_minutes(&self, pace: u32) -> Vec<Option<u64>> {
        self.delays.iter().map(|delay| delay.map(|ms| (ms * u64::from(pace) + 30_000) / 60_000)).collect()
    }

    fn figures(&self, pace: u32) -> Figures {
        let mut took: Vec<u64> = self.delays.iter().filter_map(|delay| *delay).collect();
        took.sort_unstable();
        let count = self.delays.len().max(1) as f64;
        let seconds = |ms: f64| ms * f64::from(pace) / 1000.0;
        let at = |share| seconds(quantile(&took, share) as f64);
        Figures {
            delivered: took.len() as f64 / count,
            p50_s: at(0.5),
            p95_s: at(0.95),
            p99_s: at(0.99),
            mean_s: seconds(took.iter().sum::<u64>() as f64 / took.len().max(1) as f64),
            envelopes: self.envelopes as f64 / count,
            bytes: self.bytes as f64 / count,
        }
    }
}

/// Compares them.
#[must_use]
pub fn compare(real: &Run, simulated: &Run, pace: u32) -> Comparison {
    const MINUTES_MS: f64 = 2.0 * 60.0 * 1000.0;
    let (a, b) = (real.figures(pace), simulated.figures(pace));
    let near = |one: f64, other: f64| (one - other).abs() <= NEAR * one.abs().max(1e-9);
    let timely = |one: f64, other: f64| near(one, other) || (one - other).abs() <= 60.0;
    let both = || real.delays.iter().zip(&simulated.delays);
    let alike = both()
        .filter(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => {
                let apart = one.abs_diff(*other) as f64;
                apart <= (NEAR * *one as f64).max(MINUTES_MS / f64::from(pace.max(1)))
            }
            (None, None) => true,
            _ => false,
        })
        .count();
    let targets = [
        ("half of the mails within 10 %, or a minute", timely(a.p50_s, b.p50_s)),
        ("95 % of the mails within 10 %, or a minute", timely(a.p95_s, b.p95_s)),
        ("99 % of the mails within 10 %, or a minute", timely(a.p99_s, b.p99_s)),
        ("share delivered within half a point", (a.delivered - b.delivered).abs() <= NEAR_RATIO),
        ("envelopes within 10 %", near(a.envelopes, b.envelopes)),
        ("bytes within 10 %", near(a.bytes, b.bytes)),
    ];
    Comparison {
        mails: real.delays.len(),
        ks: distance(&real.delays, &simulated.delays),
        ks_minutes: distance(&real.in_minutes(pace), &simulated.in_minutes(pace)),
        alike: alike as f64 / real.delays.len().max(1) as f64,
        first_look: real.first_look as f64 / real.delays.len().max(1) as f64,
        only_real: both().filter(|(one, other)| one.is_some() && other.is_none()).count(),
        only_simulated: both().filter(|(one, other)| one.is_none() && other.is_some()).count(),
        targets: targets.map(|(name, met)| (name.to_owned(), met)).into(),
        real: a,
        simulated: b,
    }
}

/// The largest vertical distance between two empirical distributions; what never came is later than everything.
#[must_use]
pub fn distance(one: &[Option<u64>], other: &[Option<u64>]) -> f64 {
    let sorted = |delays: &[Option<u64>]| {
        let mut sorted: Vec<u64> = delays.iter().filter_map(|delay| *delay).collect();
        sorted.sort_unstable();
        sorted
    };
    let (a, b) = (sorted(one), sorted(other));
    let share = |sorted: &[u64], of: usize, at: u64| sorted.partition_point(|delay| *delay <= at) as f64 / of.max(1) as f64;
    a.iter().chain(&b).map(|at| (share(&a, one.len(), *at) - share(&b, other.len(), *at)).abs()).fold(0.0, f64::max)
}

impl Comparison {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{:<34} {:>12} {:>12} {:>9}\n", "", "real", "simulated", "apart");
        let (a, b) = (&self.real, &self.simulated);
        let minutes = |seconds: f64| seconds / 60.0;
        for (name, one, other) in [
            ("delivered, %", 100.0 * a.delivered, 100.0 * b.delivered),
            ("half of them within, minutes", minutes(a.p50_s), minutes(b.p50_s)),
            ("95 % within, minutes", minutes(a.p95_s), minutes(b.p95_s)),
            ("99 % within, minutes", minutes(a.p99_s), minutes(b.p99_s)),
            ("mean, minutes", minutes(a.mean_s), minutes(b.mean_s)),
            ("whole envelopes for each mail", a.envelopes, b.envelopes),
            ("KB for each mail", a.bytes / 1000.0, b.bytes / 1000.0),
        ] {
            let apart = if one == 0.0 { 0.0 } else { 100.0 * (other - one) / one };
            text += &format!("{name:<34} {one:>12.3} {other:>12.3} {apart:>+8.1}%\n");
        }
        text += &format!("Kolmogorov-Smirnov distance {:.4}, in whole minutes {:.4}\n", self.ks, self.ks_minutes);
        text +=
            &format!("alike mail by mail {:.1} %; seen at the first look {:.1} %", 100.0 * self.alike, 100.0 * self.first_look);
        text += &format!("; only real {}, only simulated {}\n", self.only_real, self.only_simulated);
        for (name, met) in &self.targets {
            text += &format!("  {} {name}\n", if *met { "met    " } else { "not met" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_kolmogorovs() {
        let some = |values: &[u64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        let near = |one: &[Option<u64>], other: &[Option<u64>], expected: f64| {
            assert!((distance(one, other) - expected).abs() < 1e-9, "{}", distance(one, other));
            assert!((distance(other, one) - expected).abs() < 1e-9);
        };
        near(&some(&[1, 2, 3, 4]), &some(&[1, 2, 3, 4]), 0.0);
        near(&some(&[1, 2]), &some(&[3, 4]), 1.0);
        near(&some(&[1, 2, 3, 4]), &some(&[3, 4, 5, 6]), 0.5);
        near(&some(&[1, 3]), &some(&[1, 2, 3, 4]), 0.25);
        near(&[Some(1), None], &some(&[1, 1]), 0.5);
        near(&[None], &[None], 0.0);
        near(&[], &[], 0.0);
    }

    #[test]
    fn equal_runs_meet_every_target_and_others_do_not() {
        let run = Run {
            delays: (0..100).map(|delay| (delay < 90).then_some(delay * 10)).collect(),
            envelopes: 300,
            bytes: 9_000,
            first_look: 0,
        };
        let same = compare(&run, &run, 600);
        assert!(same.targets.iter().all(|(_, met)| *met) && same.ks == 0.0 && same.alike == 1.0);
        assert!((same.real.p50_s - 264.0).abs() < 1e-9 && (same.real.delivered - 0.9).abs() < 1e-9, "{same:?}");
        let late = Run {
            delays: run.delays.iter().map(|delay| delay.map(|delay| delay * 2)).collect(),
            envelopes: 301,
            bytes: 9_001,
            first_look: 0,
        };
        let other = compare(&run, &late, 600);
        let met: Vec<bool> = other.targets.iter().map(|(_, met)| *met).collect();
        assert_eq!(met, [false, false, false, true, true, true]);
        assert!(other.table().contains("not met half of the mails"));
    }
}
