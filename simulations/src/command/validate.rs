//! `simulate validate`: runs against what can be computed by hand, and against the table of an independent model.

use std::process::ExitCode;

use kith_simulations::availability::{DAY, HOUR, Habit, next_on, sessions};
use kith_simulations::scenario::pairs::{Pairs, reference};
use kith_simulations::statistics::interval;
use kith_simulations::stream::{Purpose, Stream};

use super::{Arguments, Mistake, clear, show};

/// How far from an independent model a share may be, in points.
const POINTS: f64 = 0.3;
/// Standard errors within which a closed form is met.
const ERRORS: f64 = 3.0;

struct Check {
    name: String,
    seen: f64,
    expected: f64,
    /// How far it may be off.
    within: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Mistake> {
    let (first, count) = arguments.seeds(8);
    let seeds: Vec<u64> = (0..count).map(|number| first.saturating_add(number)).collect();
    let mut checks = closed_forms(&seeds);
    for line in reference() {
        show(line.name);
        let pairs = Pairs { pairs: arguments.pairs.unwrap_or(60), days: arguments.days.unwrap_or(60), ..line.pairs.clone() };
        let runs: Vec<_> = seeds.iter().map(|seed| pairs.run(*seed).summary).collect();
        let shares = [
            ("7 days", line.shares.0, runs.iter().map(|run| 100.0 * run.within_7d).collect::<Vec<f64>>()),
            ("30 days", line.shares.1, runs.iter().map(|run| 100.0 * run.within_30d).collect()),
        ];
        for (span, expected, values) in shares {
            let (seen, half) = interval(&values);
            // Its figures are those of a random sample too.
            let within = POINTS + if half.is_finite() { half } else { 0.0 };
            checks.push(Check { name: format!("{}, within {span}, %", line.name), seen, expected: 100.0 * expected, within });
        }
    }
    clear();
    let mut missed = 0;
    for Check { name, seen, expected, within } in &checks {
        let met = (seen - expected).abs() <= *within;
        missed += u32::from(!met);
        println!("{} {name:<60} {seen:>10.3}, expected {expected:.3} ± {within:.3}", if met { "ok    " } else { "MISSED" });
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Means over seeds against what can be computed, within three standard errors of those means.
fn closed_forms(seeds: &[u64]) -> Vec<Check> {
    let mean = |name: &str, expected: f64, values: Vec<f64>| {
        let (seen, _) = interval(&values);
        let variance =
            values.iter().map(|value| (value - seen) * (value - seen)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0);
        let within = ERRORS * (variance / values.len() as f64).sqrt() + 1e-3;
        Check { name: name.to_owned(), seen, expected, within }
    };
    let spells = Habit::Spells { on: 15.0, off: 45.0 };
    // Whoever is off for exponential times of mean m and on for a share a: a mail at a random moment waits (1 - a) m.
    let alone = Pairs { pairs: 40, days: 20, writer: Habit::Always, reader: spells, ..Pairs::hard(&[]) };
    let waits = |pairs: &Pairs, seed: u64| {
        let took: Vec<f64> = pairs.run(seed).delays.iter().filter_map(|delay| Some(delay.took? as f64 / HOUR as f64)).collect();
        took.iter().sum::<f64>() / took.len().max(1) as f64
    };
    // Two who are on at random, for shares a and b: they are on together for ab of the time.
    let together = Pairs { pairs: 40, days: 20, writer: spells, reader: spells, ..Pairs::hard(&[]) };
    let at_once = |seed: u64| {
        let delays = together.run(seed).delays;
        100.0 * delays.iter().filter(|delay| delay.oracle == Some(0)).count() as f64 / delays.len().max(1) as f64
    };
    // R machines, each up for a share a, independently: at a random moment one of them is up with 1 - (1 - a)^R.
    let covered = |seed: u64| {
        let end = 365 * DAY;
        let mut draw = Stream::new(seed, 0, Purpose::Choice);
        let machines =
            [1, 2].map(|node| sessions(Habit::Pi { up: 0.7 }, end, &mut Stream::new(seed, node, Purpose::Availability)));
        let moments = 20_000;
        let hits = (0..moments).filter(|_| {
            let at = draw.below(end);
            machines.iter().any(|machine| next_on(machine, at) == Some(at))
        });
        100.0 * hits.count() as f64 / f64::from(moments)
    };
    vec![
        mean(
            "mean wait for a reader on a quarter of the time, h",
            0.75 * 0.75,
            seeds.iter().map(|seed| waits(&alone, *seed)).collect(),
        ),
        mean("two on a quarter of the time: together at once, %", 25.0, seeds.iter().map(|seed| at_once(*seed)).collect()),
        mean("one of two machines at .7 is up, %", 91.0, seeds.iter().map(|seed| covered(*seed)).collect()),
    ]
}
