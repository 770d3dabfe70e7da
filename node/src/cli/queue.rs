//! `kith queue`: what has not arrived yet, for whom, why, since when, and what happens next.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::output::{self, Failure};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: Option<QueueCommand>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// One line a mail (the default).
    List,
    /// All about one mail.
    Show {
        /// Its number.
        id: u64,
    },
    /// Try now: one mail, or all.
    Retry {
        /// Its number.
        id: Option<u64>,
    },
    /// Withdraw a mail that has not arrived.
    Cancel {
        /// Its number.
        id: u64,
    },
}

pub(super) fn perform(home: &Path, args: QueueArgs) -> Result<(), Failure> {
    match args.command.unwrap_or(QueueCommand::List) {
        QueueCommand::List => {
            let answer = output::ask(home, &Request::QueueList, &[])?;
            if args.json {
                return output::print_json(&answer);
            }
            let rows: Vec<Vec<String>> = output::items(&answer, "entries").iter().map(row).collect();
            if rows.is_empty() {
                output::say("nothing waits");
                return Ok(());
            }
            output::print(&output::table(&["ID", "FROM", "FOR", "SIZE", "SINCE", "STATE"], &rows))
        }
        QueueCommand::Show { id } => {
            let answer = output::ask(home, &Request::QueueShow { id }, &[])?;
            if args.json {
                return output::print_json(&answer);
            }
            output::print(&shown(&answer))
        }
        QueueCommand::Retry { id } => {
            output::ask(home, &Request::QueueRetry { id }, &[])?;
            output::say("trying");
            Ok(())
        }
        QueueCommand::Cancel { id } => {
            output::ask(home, &Request::QueueCancel { id }, &[])?;
            output::say("withdrawn");
            Ok(())
        }
    }
}

fn row(entry: &Value) -> Vec<String> {
    let number = |field: &str| entry.get(field).and_then(Value::as_u64).unwrap_or(0);
    vec![
        number("id").to_string(),
        output::text(entry, "account").to_owned(),
        output::text(entry, "for").to_owned(),
        size(number("bytes")),
        age(number("age_ms")),
        output::text(entry, "state").to_owned(),
    ]
}

fn shown(entry: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(fields) = entry {
        for (name, value) in fields {
            if name == "copies" {
                output::items(entry, "copies").iter().for_each(|copy| text.push_str(&format!("{:>12}  {}\n", "copy", at(copy))));
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!("{name:>12}  {value}\n"));
        }
    }
    text
}

/// Where a copy is.
fn at(copy: &Value) -> String {
    let node = output::text(copy, "node");
    let short: String = node.chars().take(16).collect();
    let name = match output::text(copy, "name") {
        "" => short,
        name => format!("{name} ({short})"),
    };
    let checked = if copy.get("checked").and_then(Value::as_bool) == Some(true) { ", checked since" } else { "" };
    format!("{}: {name}{checked}", output::text(copy, "at"))
}

/// A duration in the largest unit that fits.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes in the largest unit that fits.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{} GiB", bytes / 1_073_741_824),
    }
}
