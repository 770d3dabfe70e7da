//! `simulate`: asks a question of the delivery that ships, and writes a page about the answer.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to people")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kith_simulations::availability::Habit;
use kith_simulations::report::{self, Part};
use kith_simulations::scenario::pairs::{Pairs, reference};
use kith_simulations::scenario::{self, ALL};

/// Does mail between offline peers arrive? Runs the delivery that ships, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Arguments {
    /// The scenario; `--list` explains them.
    scenario: Option<String>,
    /// Say what can be asked.
    #[arg(long)]
    list: bool,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Pairs of people in a run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: u32,
    /// Days on which mails are written.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Hours a day (two-laptops).
    #[arg(long, default_value_t = 4.0)]
    hours: f64,
    /// Hours between the middles of the two people's days (two-laptops).
    #[arg(long, default_value_t = 9.0)]
    apart: f64,
    /// How many machines that are always on (many-pis).
    #[arg(long, default_value_t = 2)]
    pis: usize,
    /// The share of the time for which they are up.
    #[arg(long, default_value_t = 0.95)]
    up: f64,
    /// Where the page and the figures go.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is wrong with what was asked.
#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("there is no scenario {0:?}; did you mean {1}? `simulate --list` explains all of them")]
    Unknown(String, &'static str),
    #[error("--{0} must be between {1} and {2}")]
    Range(&'static str, f64, f64),
    #[error("nothing can be written to {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mistake) => {
            eprintln!("simulate: {mistake}");
            ExitCode::from(if matches!(mistake, Mistake::Write(..)) { 1 } else { 2 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Mistake> {
    let Some(name) = arguments.scenario.as_deref().filter(|_| !arguments.list) else {
        for named in ALL {
            println!("{:<12} {}", named.name, named.question);
        }
        return Ok(());
    };
    for (flag, value, low, high) in
        [("hours", arguments.hours, 0.1, 23.9), ("apart", arguments.apart, 0.0, 12.0), ("up", arguments.up, 0.05, 0.999)]
    {
        if !(low..=high).contains(&value) {
            return Err(Mistake::Range(flag, low, high));
        }
    }
    let mut parts = Vec::new();
    for (title, pairs, expected) in questions(name, arguments)? {
        let begun = Instant::now();
        let pairs = Pairs { pairs: arguments.pairs, days: arguments.days, ..pairs };
        let seeds = arguments.seed..arguments.seed.saturating_add(arguments.seeds.max(1));
        let runs: Vec<_> = seeds.map(|seed| pairs.run(seed)).collect();
        let events: u64 = runs.iter().map(|run| run.traffic.events).sum();
        let part = Part { title, runs, expected };
        println!("{}", part.title);
        for (name, mean, half) in part.figures().rows {
            println!("  {name:<36} {mean:>12.3}{}", half.map_or(String::new(), |half| format!(" ± {half:.3}")));
        }
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("  {events} events in {seconds:.1} s, {:.2} million a second", events as f64 / seconds / 1e6);
        parts.push(part);
    }
    let Some(out) = &arguments.out else { return Ok(()) };
    let failed = |error| Mistake::Write(out.clone(), error);
    std::fs::create_dir_all(out).map_err(failed)?;
    let command = std::env::args().skip(1).fold("simulate".to_owned(), |command, word| command + " " + &word);
    std::fs::write(out.join("report.html"), report::page(name, &command, &parts)).map_err(failed)?;
    let figures: Vec<_> = parts.iter().map(Part::figures).collect();
    let json = serde_json::to_vec_pretty(&figures).map_err(|error| failed(error.into()))?;
    std::fs::write(out.join("summary.json"), json).map_err(failed)?;
    println!("{}", out.join("report.html").display());
    Ok(())
}

type Question = (String, Pairs, Option<String>);

/// The pairs that a scenario is about.
fn questions(name: &str, arguments: &Arguments) -> Result<Vec<Question>, Mistake> {
    let one = |title: String, pairs| vec![(title, pairs, None)];
    let pis = |count: usize| vec![arguments.up; count];
    Ok(match name {
        "two-laptops" => {
            let habit = |centre| Habit::Diurnal { hours: arguments.hours, centre };
            let pairs = Pairs { writer: habit(20.0), reader: habit(20.0 - arguments.apart), ..Pairs::hard(&[]) };
            one(format!("two laptops, {} h a day, {} h apart", arguments.hours, arguments.apart), pairs)
        }
        "one-pi" => one(format!("9 h apart, one Pi at {}", arguments.up), Pairs::hard(&pis(1))),
        "many-pis" => one(format!("9 h apart, {} Pis at {}", arguments.pis, arguments.up), Pairs::hard(&pis(arguments.pis))),
        "phones" => one(format!("two phones, one Pi at {}", arguments.up), Pairs::phones(&pis(1))),
        "reference" => reference().into_iter().map(of_reference).collect(),
        _ => return Err(Mistake::Unknown(name.to_owned(), scenario::nearest(name))),
    })
}

fn of_reference(line: scenario::pairs::Reference) -> Question {
    let over = line.over_server_h.map_or(String::new(), |hours| format!(", {hours} h over a perfect server"));
    let (week, month) = (100.0 * line.shares.0, 100.0 * line.shares.1);
    let expected = format!("An independent model says {week:.2} % within 7 days, {month:.2} % within 30{over}.");
    (line.name.to_owned(), line.pairs, Some(expected))
}
