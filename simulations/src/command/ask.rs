//! Asks questions with all their seeds, on every core, and writes what came of it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kith_simulations::report::{self, Part};
use kith_simulations::scenario::{Asked, Attention, Outcome, Question};

use super::{Mistake, clear, show, stop, typed, write};

/// Memory that is left for everything else, in bytes.
const SPARE_BYTES: u64 = 256 << 20;

pub(super) fn run(asked: &Asked, out: Option<&Path>) -> Result<ExitCode, Mistake> {
    let cores = cores(asked)?;
    let parts = answers(asked, cores);
    let stopped = stop::asked().load(Ordering::Relaxed);
    if asked.name == "scale" {
        for (name, points, exponent) in report::growth(&parts) {
            let points: Vec<String> = points.iter().map(|(people, value)| format!("{people:.0}: {value:.1}")).collect();
            println!("{name}: people to the power of {exponent:.2} ({})", points.join(", "));
        }
    }
    let missed = parts.iter().flat_map(|part| part.figures().goals).filter(|(.., met)| !met).count();
    if let Some(out) = out {
        save(asked, &parts, stopped, out)?;
    }
    let bad = stopped || missed > 0;
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn save(asked: &Asked, parts: &[Part], stopped: bool, out: &Path) -> Result<(), Mistake> {
    let failed = |error: String| Mistake::Write(out.to_owned(), std::io::Error::other(error));
    let figures: Vec<_> = parts.iter().map(Part::figures).collect();
    let json = serde_json::to_vec_pretty(&figures).map_err(|error| failed(error.to_string()))?;
    let again = toml::to_string(asked).map_err(|error| failed(error.to_string()))?;
    let digests: String = figures.iter().flat_map(|part| &part.digests).map(|digest| digest.clone() + "\n").collect();
    write(out, "report.html", report::page(asked, &typed(), parts, stopped).as_bytes())?;
    write(out, "summary.json", &json)?;
    write(out, "scenario.toml", again.as_bytes())?;
    write(out, "digest.txt", digests.as_bytes())?;
    for (number, plot) in (1..).zip(report::plots(asked, parts)) {
        write(out, &format!("plot-{number}.svg"), plot.as_bytes())?;
    }
    println!("{}", out.join("report.html").display());
    Ok(())
}

/// How many runs at a time there is memory for; none is a mistake that is said before and not after an hour.
fn cores(asked: &Asked) -> Result<usize, Mistake> {
    let need = asked.questions.iter().map(Question::bytes).max().unwrap_or(0);
    let have = free().saturating_sub(SPARE_BYTES);
    if need > have {
        return Err(Mistake::Memory { need: need >> 20, have: have >> 20 });
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let fit = usize::try_from(have / need.max(1)).unwrap_or(usize::MAX);
    // What is measured is measured alone.
    Ok(if asked.name == "scale" { 1 } else { cores.min(fit).max(1) })
}

/// Memory that is free, in bytes; where the system does not say, as much as anybody could want.
fn free() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib * 1024)
}

/// Runs every question with every seed.
fn answers(asked: &Asked, cores: usize) -> Vec<Part> {
    let seeds: Vec<u64> = (0..asked.seeds).map(|number| asked.seed.saturating_add(number)).collect();
    let tasks: Vec<(usize, u64)> =
        (0..asked.questions.len()).flat_map(|question| seeds.iter().map(move |seed| (question, *seed))).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::new());
    let begun = Instant::now();
    let stop = stop::asked();
    let work = || {
        while let Some((question, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let title = &asked.questions[*question].title;
            let share = |share: f64| {
                let finished = done.load(Ordering::Relaxed);
                show(&format!("{finished} of {} runs; {title}: {:.0} %", tasks.len(), 100.0 * share));
            };
            let attention = Attention { stop, progress: &share };
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if let Some(outcome) = asked.questions[*question].run(*seed, &attention) {
                outcomes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((*question * seeds.len() + place(&seeds, *seed), outcome));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        (1..cores).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    clear();
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(place, _)| *place);
    let events: u64 = outcomes.iter().map(|(_, run)| run.traffic.events).sum();
    let busy: f64 = outcomes.iter().map(|(_, run)| run.seconds).sum();
    let mut parts: Vec<Part> =
        asked.questions.iter().map(|question| Part { question: question.clone(), runs: Vec::new() }).collect();
    for (place, outcome) in outcomes {
        parts[place / seeds.len()].runs.push(outcome);
    }
    parts.retain(|part| !part.runs.is_empty());
    parts.iter().for_each(say);
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("  {events} events in {seconds:.1} s, {:.2} million a second on a core", events as f64 / busy.max(1e-9) / 1e6);
    parts
}

fn place(seeds: &[u64], seed: u64) -> usize {
    seeds.iter().position(|other| *other == seed).unwrap_or(0)
}

fn say(part: &Part) {
    let figures = part.figures();
    println!("{}", figures.title);
    for (name, mean, half) in &figures.rows {
        println!("  {name:<40} {mean:>12.3}{}", half.map_or(String::new(), |half| format!(" ± {half:.3}")));
    }
    for (goal, value, met) in &figures.goals {
        println!("  {} {}: {} ({value:.4})", if *met { "reached" } else { "MISSED " }, goal.figure, goal.said());
    }
}
