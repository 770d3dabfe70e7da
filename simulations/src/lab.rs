//! The laboratory: real nodes on this machine, with clocks that run faster, against the simulation of the very same sessions and mails.
//!
//! Processes are started and stopped as a trace says, mails go in by SMTP and are seen by IMAP. Then [`crate::world`] runs with the sessions as they were
//! played and the mails as they were accepted, in the same ms, with the same configuration, and with the times that things take on this machine.
//! Where the two differ, one of them is wrong about delivery.

pub mod calibration;
pub mod cast;
pub mod compare;
pub mod home;
pub mod play;
pub mod programs;
pub mod setup;
pub mod simulated;
pub mod trace;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Serialize;

use self::calibration::Calibration;
use self::cast::{Cast, Planned};
use self::compare::{Comparison, Run};
use self::home::Trouble;
use self::play::Played;
use self::simulated::Simulated;
use self::trace::Trace;
use crate::statistics::quantile;
use crate::trace::BadTrace;

/// Real nodes on this machine against the simulation: the same sessions, the same mails.
#[derive(Clone, Debug, Parser)]
#[command(name = "simulate lab", version)]
struct Arguments {
    /// Processes, in pairs with one, two and no relays.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=60))]
    nodes: u32,
    /// Days that are played, if no trace is given.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    days: u64,
    /// How many times faster than life: at 600 a day takes 144 seconds.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pace: u32,
    /// The `kith` binary; where not said, the one beside this command, or in the target folder.
    #[arg(long)]
    kith: Option<PathBuf>,
    /// When nodes are on: a file of NODE,ON,OFF lines, in seconds of the life that is played.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Says which sessions and mails are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the nodes log, as in kith.toml.
    #[arg(long, default_value = "warn")]
    log: String,
    /// Leave the nodes' homes, with their logs, and say where they are.
    #[arg(long)]
    keep: bool,
    /// Where the figures go.
    #[arg(long)]
    out: PathBuf,
}

/// What is seen so soon after the first look was there before, in real ms.
const FIRST_LOOK_MS: u64 = 5;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No binary.
    #[error("there is no `kith` at {0}; make it with `cargo build --release -p kithmail`, or say where it is with --kith PATH")]
    NoKith(String),
    /// The trace cannot be read.
    #[error("{0}: {1}")]
    Unread(PathBuf, std::io::Error),
    /// The trace is none.
    #[error("{0}: {1}")]
    Trace(PathBuf, BadTrace),
    /// Nobody writes.
    #[error("nobody would write a mail: more --days, or a trace with longer sessions")]
    NoMails,
    /// A node fails.
    #[error("{0}")]
    Node(#[from] Trouble),
    /// The figures cannot be written.
    #[error("nothing can be written to {0}: {1}")]
    Write(PathBuf, std::io::Error),
}

impl Problem {
    /// What the process ends with: 2 where another question would help, 1 where not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoKith(_) | Self::Unread(..) | Self::Trace(..) | Self::NoMails => 2,
            Self::Node(_) | Self::Write(..) => 1,
        }
    }
}

/// All figures, as `lab.json` has them.
#[derive(Debug, Serialize)]
struct Report<'a> {
    nodes: u32,
    pace: u32,
    seed: u64,
    real_seconds: u64,
    sessions: usize,
    mails_planned: usize,
    mails_unsent: u64,
    duplicates: u64,
    /// Real ms from a mail to its promise, while all are at work: half, 95 %, 99 %.
    promise_ms: [f64; 3],
    calibration: Calibration,
    comparison: &'a Comparison,
}

/// How far a run is, for people who watch; nobody else is told.
struct Progress(bool);

impl Progress {
    fn say(&self, words: &str) {
        if self.0 {
            // Progress that cannot be shown is no loss.
            write!(std::io::stderr(), "\r{words:<60}").ok();
        }
    }

    fn clear(&self) {
        if self.0 {
            write!(std::io::stderr(), "\r{:60}\r", "").ok();
        }
    }
}

/// Runs the lab that these words ask for, `lab` and its options; gives what to print.
///
/// # Errors
/// [`Problem`]. Words that mean nothing end the process with an explanation, as everywhere.
pub fn command(words: impl Iterator<Item = OsString>) -> Result<String, Problem> {
    let arguments = Arguments::parse_from(words);
    let kith = binary(arguments.kith.as_deref())?;
    let cast = Cast::of(arguments.nodes);
    let trace = match &arguments.trace {
        None => Trace::drawn(&cast.habits(), arguments.days, arguments.pace, arguments.seed),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Problem::Unread(path.clone(), error))?;
            Trace::read(&text, arguments.nodes, arguments.pace).map_err(|bad| Problem::Trace(path.clone(), bad))?
        }
    };
    let mails = cast.mails(&trace, arguments.pace, arguments.seed);
    if mails.is_empty() {
        return Err(Problem::NoMails);
    }
    let unwritten = |error| Problem::Write(arguments.out.clone(), error);
    std::fs::create_dir_all(&arguments.out).map_err(unwritten)?;
    std::fs::write(arguments.out.join("trace.csv"), trace.written(arguments.pace)).map_err(unwritten)?;

    let homes = Homes::make(arguments.keep).map_err(unwritten)?;
    let progress = Progress(std::io::stderr().is_terminal());
    progress.say("making homes, contacts and relays");
    let mut lab = setup::make(&cast, &kith, &homes.folder, (arguments.pace, &arguments.log))?;
    progress.say("measuring this machine");
    let calibration = calibration::measure(&mut lab, &cast)?;
    lab.rest()?;
    let all = trace.end / 1000;
    let played = play::play(&mut lab, &trace, &mails, |ms| progress.say(&format!("playing: {} of {all} s", ms / 1000)))?;
    drop(lab);
    progress.clear();
    let calibration = calibration.at_work(quantile(&played.promises, 0.5));
    std::fs::write(arguments.out.join("calibration.toml"), calibration.written()).map_err(unwritten)?;
    let simulated = simulated::simulate(&cast, &played, &mails, &calibration, (arguments.pace, arguments.seed));
    let comparison = compared(&mails, &played, &simulated, arguments.pace);
    let report = Report {
        nodes: arguments.nodes,
        pace: arguments.pace,
        seed: arguments.seed,
        real_seconds: all,
        sessions: played.sessions.iter().map(Vec::len).sum(),
        mails_planned: mails.len(),
        mails_unsent: played.unsent,
        duplicates: played.duplicates,
        promise_ms: [0.5, 0.95, 0.99].map(|share| quantile(&played.promises, share)),
        calibration,
        comparison: &comparison,
    };
    let json = serde_json::to_vec_pretty(&report).map_err(|error| unwritten(error.into()))?;
    std::fs::write(arguments.out.join("lab.json"), json).map_err(unwritten)?;
    std::fs::write(arguments.out.join("mails.csv"), table(&mails, &played, &simulated, arguments.pace)).map_err(unwritten)?;
    let kept = if homes.keep { format!("{}\n", homes.folder.display()) } else { String::new() };
    Ok(format!(
        "{} processes, {} sessions, {} mails, {all} s at pace {}\n{}{kept}{}\n",
        arguments.nodes,
        report.sessions,
        comparison.mails,
        arguments.pace,
        comparison.table(),
        arguments.out.join("lab.json").display(),
    ))
}

/// A folder for homes, which goes away.
struct Homes {
    folder: PathBuf,
    keep: bool,
}

impl Homes {
    fn make(keep: bool) -> std::io::Result<Self> {
        // Short, since a socket's path may not be long.
        let folder = std::env::temp_dir().join(format!("kith-lab-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, keep })
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed lies where such things may lie.
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// The `kith` to run.
fn binary(said: Option<&Path>) -> Result<PathBuf, Problem> {
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(|folder| folder.join("kith")));
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.as_ref().map(|target| target.join(profile).join("kith")));
    let places: Vec<PathBuf> = match said {
        Some(path) => vec![path.to_owned()],
        None => std::iter::once(beside).chain(built).flatten().collect(),
    };
    let named = |places: &[PathBuf]| places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| Problem::NoKith(named(&places)))
}

/// Delays of all mails that were accepted, in both runs.
fn compared(mails: &[Planned], played: &Played, simulated: &Simulated, pace: u32) -> Comparison {
    let accepted =
        || played.fates.iter().zip(&simulated.arrived).filter_map(|(fate, seen)| Some((fate.accepted?, fate.arrived, *seen)));
    let since = |at: u64, moment: Option<u64>| moment.map(|moment| moment.saturating_sub(at));
    let real = accepted().map(|(at, arrived, _)| since(at, arrived)).collect();
    let simulated_delays = accepted().map(|(at, _, seen)| since(at, seen)).collect();
    let at_first = |(mail, fate): (&Planned, &play::Fate)| {
        let mut looked = played.sessions[mail.to as usize].iter().map(|session| session.looked);
        fate.accepted.is_some() && fate.arrived.is_some_and(|at| looked.any(|looked| at.abs_diff(looked) <= FIRST_LOOK_MS))
    };
    let first_look = mails.iter().zip(&played.fates).filter(|both| at_first((both.0, both.1))).count();
    compare::compare(
        &Run { delays: real, envelopes: played.envelopes, bytes: played.bytes, first_look },
        &Run { delays: simulated_delays, envelopes: simulated.envelopes, bytes: simulated.bytes, first_look: 0 },
        pace,
    )
}

/// Every mail with both delays, in seconds of the life that was played; an empty field: it did not arrive.
fn table(mails: &[Planned], played: &Played, simulated: &Simulated, pace: u32) -> String {
    let seconds = |ms: u64| ms as f64 * f64::from(pace) / 1000.0;
    let mut text = "mail,from,to,bytes,at,real_delay,simulated_delay\n".to_owned();
    for (number, mail) in mails.iter().enumerate() {
        let fate = &played.fates[number];
        let Some(at) = fate.accepted else { continue };
        let delay = |moment: Option<u64>| moment.map_or(String::new(), |moment| seconds(moment.saturating_sub(at)).to_string());
        let (real, virtually) = (delay(fate.arrived), delay(simulated.arrived[number]));
        text += &format!("{number},{},{},{},{},{real},{virtually}\n", mail.from, mail.to, mail.bytes, seconds(at));
    }
    text
}
