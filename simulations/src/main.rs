//! `simulate`: asks a question of the delivery that ships, and writes a page about the answer.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to people")]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kith_simulations::availability::Habit;
use kith_simulations::report::{self, Part};
use kith_simulations::scenario::pairs::{Pairs, reference};
use kith_simulations::scenario::{self, ALL, Asked, Question};

/// Does mail between offline peers arrive? Runs the delivery that ships, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Arguments {
    /// The scenario, or a scenario file; `--list` explains them.
    scenario: Option<String>,
    /// Say what can be asked.
    #[arg(long)]
    list: bool,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100_000))]
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
    /// The share of the relays that lie (liar-relays).
    #[arg(long, default_value_t = 0.3)]
    liars: f64,
    /// Where the page and the figures go.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is wrong with what was asked.
#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error("there is no scenario {0:?}; did you mean {1}? `simulate --list` explains all of them")]
    Unknown(String, &'static str),
    #[error("{0}")]
    Question(String),
    #[error("{0} is no scenario file: {1}")]
    File(PathBuf, String),
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
        println!("FILE.toml    A scenario file that an earlier run has written: the same again.");
        return Ok(());
    };
    let asked = if name.ends_with(".toml") { read(name.as_ref())? } else { asked(name, arguments)? };
    let parts: Vec<Part> = asked.questions.iter().map(|question| answer(question, &asked)).collect();
    let Some(out) = &arguments.out else { return Ok(()) };
    let failed = |error| Mistake::Write(out.clone(), error);
    std::fs::create_dir_all(out).map_err(failed)?;
    let command = std::env::args().skip(1).fold("simulate".to_owned(), |command, word| command + " " + &word);
    std::fs::write(out.join("report.html"), report::page(&asked.name, &command, &parts)).map_err(failed)?;
    let figures: Vec<_> = parts.iter().map(Part::figures).collect();
    let json = serde_json::to_vec_pretty(&figures).map_err(|error| failed(error.into()))?;
    std::fs::write(out.join("summary.json"), json).map_err(failed)?;
    let digests: String = figures.iter().flat_map(|part| &part.digests).map(|digest| digest.clone() + "\n").collect();
    std::fs::write(out.join("digest.txt"), digests).map_err(failed)?;
    let again = toml::to_string(&asked).map_err(|error| failed(std::io::Error::other(error)))?;
    std::fs::write(out.join("scenario.toml"), again).map_err(failed)?;
    println!("{}", out.join("report.html").display());
    Ok(())
}

/// Runs a question with all seeds, and says what came of it.
fn answer(question: &Question, asked: &Asked) -> Part {
    let begun = Instant::now();
    let mut runs = Vec::new();
    let watched = std::io::stderr().is_terminal();
    for (done, seed) in (asked.seed..asked.seed.saturating_add(asked.seeds)).enumerate() {
        if watched {
            eprint!("\r{}: {done} of {} seeds ", question.title, asked.seeds);
        }
        runs.push(question.pairs.run(seed));
    }
    if watched {
        eprint!("\r");
    }
    let events: u64 = runs.iter().map(|run| run.traffic.events).sum();
    let part = Part { title: question.title.clone(), runs, expected: question.expected.clone() };
    println!("{}", part.title);
    for (name, mean, half) in part.figures().rows {
        println!("  {name:<36} {mean:>12.3}{}", half.map_or(String::new(), |half| format!(" ± {half:.3}")));
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("  {events} events in {seconds:.1} s, {:.2} million a second", events as f64 / seconds / 1e6);
    part
}

fn read(path: &Path) -> Result<Asked, Mistake> {
    let bad = |reason: String| Mistake::File(path.to_owned(), reason);
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let asked: Asked = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if asked.seeds == 0 || asked.questions.is_empty() {
        return Err(bad("it asks nothing".to_owned()));
    }
    asked.questions.iter().try_for_each(|question| question.pairs.check()).map_err(bad)?;
    Ok(asked)
}

/// The questions of a scenario.
fn asked(name: &str, arguments: &Arguments) -> Result<Asked, Mistake> {
    let one = |title: String, pairs| vec![Question { title, pairs, expected: None }];
    let up = arguments.up;
    let pis = |count: usize| vec![up; count];
    let questions = match name {
        "two-laptops" => {
            let habit = |centre| Habit::Diurnal { hours: arguments.hours, centre };
            let pairs = Pairs { writer: habit(20.0), reader: habit(20.0 - arguments.apart), ..Pairs::hard(&[]) };
            one(format!("two laptops, {} h a day, {} h apart", arguments.hours, arguments.apart), pairs)
        }
        "one-pi" => one(format!("9 h apart, one Pi at {up}"), Pairs::hard(&pis(1))),
        "many-pis" => one(format!("9 h apart, {} Pis at {up}", arguments.pis), Pairs::hard(&pis(arguments.pis))),
        "phones" => one(format!("two phones, one Pi at {up}"), Pairs::phones(&pis(1))),
        "liar-relays" => [0.0, arguments.liars]
            .into_iter()
            .map(|liars| Question {
                title: format!("9 h apart, three Pis at {up}, {:.0} % of them lie", 100.0 * liars),
                pairs: Pairs { liars, ..Pairs::hard(&pis(3)) },
                expected: None,
            })
            .collect(),
        "reference" => reference().into_iter().map(of_reference).collect(),
        _ => return Err(Mistake::Unknown(name.to_owned(), scenario::nearest(name))),
    };
    let set = |question: Question| Question {
        pairs: Pairs { pairs: arguments.pairs, days: arguments.days, ..question.pairs },
        ..question
    };
    let questions: Vec<Question> = questions.into_iter().map(set).collect();
    questions.iter().try_for_each(|question| question.pairs.check()).map_err(Mistake::Question)?;
    Ok(Asked { name: name.to_owned(), seed: arguments.seed, seeds: arguments.seeds, questions })
}

fn of_reference(line: scenario::pairs::Reference) -> Question {
    let over = line.over_server_h.map_or(String::new(), |hours| format!(", {hours} h over a perfect server"));
    let (week, month) = (100.0 * line.shares.0, 100.0 * line.shares.1);
    let expected = format!("An independent model says {week:.2} % within 7 days, {month:.2} % within 30{over}.");
    Question { title: line.name.to_owned(), pairs: line.pairs, expected: Some(expected) }
}
