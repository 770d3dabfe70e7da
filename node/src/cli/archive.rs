//! `kith import` and `kith export`: mail brought along from other programs, and taken away to them.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::output::{self, Failure};
use crate::archive::bringing::{self, Wanted};
use crate::archive::sources::{self, Kind};
use crate::archive::taking::{self, TakingError};
use crate::archive::{Watcher, taking::Outcome};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// A Maildir, an mbox, or a folder with such below it (Thunderbird's, Dovecot's, mutt's, Apple Mail's).
    path: PathBuf,
    /// Whose mail it is; needed where there are several accounts.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Put everything into this folder, and what lies deeper below it.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
    /// All of it counts as read.
    #[arg(long)]
    seen: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Where to; made if it is not there. Running the same command again goes on where it broke off.
    path: PathBuf,
    /// How.
    #[arg(long, value_enum, default_value = "maildir")]
    format: Format,
    /// Whose mail; needed where there are several accounts.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only this folder and what is below it.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A file each, with flags in its name; folders as in Maildir++.
    Maildir,
    /// A file for each folder (mboxrd), with flags in Status, X-Status and X-Keywords.
    Mbox,
}

/// A bar on a terminal, problems on standard error.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {msg} mails, {eta} to go");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message("0"))
    }
}

impl Watcher for Bar {
    fn total(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn through(&self, bytes: u64, mails: u64) {
        self.0.inc(bytes);
        let so_far: u64 = self.0.message().parse().unwrap_or(0);
        self.0.set_message((so_far + mails).to_string());
    }

    fn problem(&self, text: &str) {
        self.0.suspend(|| output::say(text));
    }
}

pub(super) fn import(home: &Path, args: ImportArgs) -> Result<(), Failure> {
    let sources = sources::find(&args.path)
        .map_err(|error| Failure::new(format!("{}: {error}", args.path.display()), "nothing was brought"))?;
    if sources.found.is_empty() {
        return Err(Failure::new(
            format!("{} is neither a Maildir nor an mbox, and has none below it", args.path.display()),
            "a Maildir has the folders cur, new and tmp; an mbox begins with a line `From …`",
        ));
    }
    let bar = Bar::new();
    sources.problems.iter().for_each(|problem| bar.problem(problem));
    let wanted = Wanted { account: args.account, below: args.folder, seen: args.seen };
    let outcome = bringing::bring(home, &sources.found, &wanted, &bar)?;
    bar.0.finish_and_clear();
    let problems = outcome.problems + sources.problems.len() as u64;
    if args.json {
        output::print_json(&json!({
            "folders": sources.found.len(),
            "filed": outcome.filed,
            "known": outcome.known,
            "left_out_as_deleted": outcome.erased,
            "problems": problems,
            "complete": outcome.stopped.is_none(),
        }))?;
    } else {
        let mut words = format!("{} mails brought from {} folders", outcome.filed, sources.found.len());
        if outcome.known > 0 {
            words.push_str(&format!(", {} were here already", outcome.known));
        }
        if outcome.erased > 0 {
            words.push_str(&format!(", {} left out that had been deleted there", outcome.erased));
        }
        output::say(&words);
    }
    if let Some(refusal) = outcome.stopped {
        return Err(refusal.into());
    }
    if problems > 0 {
        return Err(Failure::new(
            format!("{problems} problems, named above; nothing was taken away from where it was"),
            "mend them and run the same command again: what is here already is not brought twice",
        ));
    }
    Ok(())
}

pub(super) fn export(home: &Path, args: &ExportArgs) -> Result<(), Failure> {
    let kind = match args.format {
        Format::Maildir => Kind::Maildir,
        Format::Mbox => Kind::Mbox,
    };
    let bar = Bar::new();
    let export = taking::Export { account: args.account.as_deref(), only: args.folder.as_deref(), kind, target: &args.path };
    let taken = taking::take(home, export, &bar);
    bar.0.finish_and_clear();
    let again = "run the same command again: it goes on where it broke off";
    let outcome: Outcome = taken.map_err(|error| match error {
        TakingError::Refused(refusal) => refusal.into(),
        error @ (TakingError::Write { .. } | TakingError::Broken(_)) => Failure::new(error.to_string(), again),
    })?;
    if args.json {
        output::print_json(&json!({
            "folders": outcome.folders, "written": outcome.written, "known": outcome.known, "problems": outcome.problems,
        }))?;
    } else {
        let earlier = if outcome.known > 0 { format!(", {} were there already", outcome.known) } else { String::new() };
        output::say(&format!(
            "{} mails of {} folders written to {}{earlier}",
            outcome.written,
            outcome.folders,
            args.path.display()
        ));
    }
    if outcome.problems > 0 {
        return Err(Failure::new(
            format!("{} problems, named above", outcome.problems),
            "kith verify looks whether the store is sound",
        ));
    }
    Ok(())
}
