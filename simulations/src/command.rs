//! What the command understands, and which of its parts does it.

mod ask;
mod faults;
mod stop;
mod validate;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use kith_simulations::report::index;
use kith_simulations::scenario::catalogue::{self, Wishes};
use kith_simulations::scenario::set::set;
use kith_simulations::scenario::trace::{NODES_MAX, Trace};
use kith_simulations::scenario::{self, ALL, Asked, Question, What};

/// Does mail between offline peers arrive? Runs the delivery that ships, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
pub(crate) struct Arguments {
    /// The scenario, or a file that an earlier run has written; `--list` explains them.
    scenario: Option<String>,
    /// The file of replay-trace (node,on,off in seconds), or the plan of faults to run again.
    file: Option<PathBuf>,
    /// Say what can be asked.
    #[arg(long)]
    list: bool,
    /// Write a page about all runs in this folder.
    #[arg(long, value_name = "DIR")]
    index: Option<PathBuf>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from the first on, or which: A..B.
    #[arg(long, value_parser = seeds)]
    seeds: Option<(Option<u64>, u64)>,
    /// Pairs of people in a run.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: Option<u32>,
    /// People in a run that is not about pairs; of `scale`, the most.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    nodes: Option<u32>,
    /// Days on which mails are written.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: Option<u64>,
    /// Hours a day (two-laptops).
    #[arg(long)]
    hours: Option<f64>,
    /// Hours between the middles of the two people's days (two-laptops).
    #[arg(long)]
    apart: Option<f64>,
    /// How many machines that are always on (many-pis).
    #[arg(long)]
    pis: Option<usize>,
    /// The share of the time for which they are up.
    #[arg(long, default_value_t = 0.95)]
    up: f64,
    /// The share of the relays that lie (liar-relays).
    #[arg(long, default_value_t = 0.3)]
    liars: f64,
    /// How many of a trace's last nodes keep mail for the others (replay-trace).
    #[arg(long, default_value_t = 0)]
    relays: u32,
    /// Anything else of a scenario or of delivery; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Put a known fault into the program, to see that it is found (faults).
    #[arg(long)]
    hasty: bool,
    /// Where the page and the figures go.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `20`, or `5..25`.
fn seeds(text: &str) -> Result<(Option<u64>, u64), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number; seeds are 20, or 5..25"));
    let (first, count) = match text.split_once("..") {
        Some((from, to)) => (Some(number(from)?), number(to)?.saturating_sub(number(from)?)),
        None => (None, number(text)?),
    };
    if (1..=1_000_000_000).contains(&count) { Ok((first, count)) } else { Err("there is at least one seed".to_owned()) }
}

/// What is wrong with what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mistake {
    #[error("there is no scenario {0:?}; did you mean {1}? `simulate --list` explains all of them")]
    Unknown(String, String),
    #[error("{0}")]
    Question(String),
    #[error("{0} is no scenario file: {1}")]
    File(PathBuf, String),
    #[error("{0} is no trace: {1}")]
    Trace(PathBuf, String),
    #[error("{0} is no plan of faults: {1}")]
    Plan(PathBuf, String),
    #[error("this takes about {need} MiB of memory, and {have} MiB are free: ask for fewer people or days")]
    Memory { need: u64, have: u64 },
    #[error("nothing can be written to {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Mistake> {
    if let Some(folder) = &arguments.index {
        let page = index::index(folder).map_err(|error| Mistake::Write(folder.clone(), error))?;
        write(folder, "index.html", page.as_bytes())?;
        println!("{}", folder.join("index.html").display());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(name) = arguments.scenario.as_deref().filter(|_| !arguments.list) else {
        for named in ALL {
            println!("{:<16} {}", named.name, named.question);
        }
        println!("{:<16} A scenario file that an earlier run has written: the same again.", "FILE.toml");
        return Ok(ExitCode::SUCCESS);
    };
    match name {
        "faults" => faults::run(arguments),
        "validate" => validate::run(arguments),
        _ => ask::run(&asked(name, arguments)?, arguments.out.as_deref()),
    }
}

impl Arguments {
    /// The first seed, and how many.
    fn seeds(&self, usual: u64) -> (u64, u64) {
        let (first, count) = self.seeds.unwrap_or((None, usual));
        (first.unwrap_or(self.seed), count)
    }
}

fn asked(name: &str, arguments: &Arguments) -> Result<Asked, Mistake> {
    if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        return read(name.as_ref());
    }
    let wishes = Wishes {
        pairs: arguments.pairs,
        nodes: arguments.nodes,
        days: arguments.days,
        hours: arguments.hours,
        apart: arguments.apart,
        pis: arguments.pis,
        up: arguments.up,
        liars: arguments.liars,
    };
    let questions = match name {
        "replay-trace" => vec![Question::new("a trace", What::Trace(replayed(arguments)?))],
        _ => catalogue::questions(name, &wishes).ok_or_else(|| {
            let near = scenario::nearest(name, ALL.iter().map(|named| named.name));
            Mistake::Unknown(name.to_owned(), near.to_owned())
        })?,
    };
    let change = |question: Question| {
        let changed = arguments.set.iter().try_fold(question, |question, assignment| set(&question, assignment))?;
        changed.check()?;
        Ok(changed)
    };
    let questions = questions.into_iter().map(change).collect::<Result<Vec<_>, String>>().map_err(Mistake::Question)?;
    // Of a map each place is one run; of growth the machine has to be left alone.
    let usual = if questions.len() > 8 || name == "scale" { 1 } else { 3 };
    let (seed, seeds) = arguments.seeds(usual);
    Ok(Asked { name: name.to_owned(), seed, seeds, questions })
}

fn replayed(arguments: &Arguments) -> Result<Trace, Mistake> {
    let none = || Mistake::Question("replay-trace wants a file: simulate replay-trace FILE, with lines node,on,off".to_owned());
    let path = arguments.file.clone().ok_or_else(none)?;
    let text = std::fs::read_to_string(&path).map_err(|error| Mistake::Trace(path.clone(), error.to_string()))?;
    let sessions = kith_simulations::trace::read(&text, NODES_MAX).map_err(|error| Mistake::Trace(path, error.to_string()))?;
    Ok(Trace { relays: arguments.relays, sessions })
}

fn read(path: &Path) -> Result<Asked, Mistake> {
    let bad = |reason: String| Mistake::File(path.to_owned(), reason);
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let asked: Asked = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if asked.seeds == 0 || asked.questions.is_empty() {
        return Err(bad("it asks nothing".to_owned()));
    }
    asked.questions.iter().try_for_each(Question::check).map_err(bad)?;
    Ok(asked)
}

/// Writes one of the files of a run.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Mistake> {
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(name), bytes));
    written.map_err(|error| Mistake::Write(folder.to_owned(), error))
}

/// The command as it was typed.
fn typed() -> String {
    std::env::args().skip(1).fold("simulate".to_owned(), |command, word| command + " " + &word)
}

/// Shows people how far it is, where people watch.
fn show(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{line:<78}");
    }
}

/// Takes that line away.
fn clear() {
    show("");
    if std::io::stderr().is_terminal() {
        eprint!("\r");
    }
}
