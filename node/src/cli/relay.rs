//! `kith relay`: whose mail this node keeps while they are away, and who keeps ours.

use std::path::Path;

use clap::Subcommand;
use serde_json::Value;

use super::output::{self, Failure};
use super::queue::size;
use super::table::Whose;
use crate::control::Request;

#[derive(Debug, Subcommand)]
pub(super) enum RelayCommand {
    /// Ask a contact to keep your mail while you are away.
    Ask {
        /// The contact.
        contact: String,
        /// How much of it.
        #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes)]
        quota: u64,
        #[command(flatten)]
        whose: Whose,
    },
    /// Keep somebody's mail: they are told, and need not do anything if they asked.
    Allow {
        /// The contact, or their address.
        address: String,
        /// How much of it.
        #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes)]
        quota: u64,
        #[command(flatten)]
        whose: Whose,
    },
    /// Let somebody who offered it keep your mail.
    Use {
        /// The contact, their address, or the node's name.
        peer: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Whose mail is kept here, and who keeps yours.
    List {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End it, whichever side you are on.
    Remove {
        /// The contact, their address, or the node's name.
        who: String,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Reads `256MiB`, `1 GiB`, `500M` or a number of bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    crate::config::bytes_of(text)
}

pub(super) fn perform(home: &Path, command: RelayCommand) -> Result<(), Failure> {
    match command {
        RelayCommand::Ask { contact, quota, whose } => {
            let request = Request::RelayAsk { account: whose.account, who: contact, bytes: quota };
            let answer = output::ask(home, &request, &[])?;
            output::say(&format!(
                "{} is asked; their node keeps your mail as soon as they allow it",
                output::text(&answer, "name")
            ));
        }
        RelayCommand::Allow { address, quota, whose } => {
            let request = Request::RelayAllow { account: whose.account, who: address, bytes: quota };
            let answer = output::ask(home, &request, &[])?;
            output::say(&format!("{} is told that this node keeps their mail", output::text(&answer, "name")));
        }
        RelayCommand::Use { peer, whose } => {
            let answer = output::ask(home, &Request::RelayUse { account: whose.account, who: peer }, &[])?;
            output::say(&format!("{} keeps your mail as soon as their node is reached", output::text(&answer, "name")));
        }
        RelayCommand::List { whose, json } => {
            let answer = output::ask(home, &Request::RelayList { account: whose.account }, &[])?;
            return if json { output::print_json(&answer) } else { output::print(&listed(&answer)) };
        }
        RelayCommand::Remove { who, whose } => {
            let answer = output::ask(home, &Request::RelayRemove { account: whose.account, who }, &[])?;
            output::say(&format!("ended with {}", output::text(&answer, "name")));
        }
    }
    Ok(())
}

fn listed(answer: &Value) -> String {
    let number = |item: &Value, field: &str| item.get(field).and_then(Value::as_u64).unwrap_or(0);
    let flag = |item: &Value, field: &str| item.get(field).and_then(Value::as_bool).unwrap_or(false);
    let mut parts = Vec::new();
    let hosted: Vec<Vec<String>> = output::items(answer, "hosted")
        .iter()
        .map(|item| {
            let used =
                if flag(item, "in_use") { bar(number(item, "bytes"), number(item, "quota")) } else { "not used yet".to_owned() };
            vec![
                output::text(item, "name").to_owned(),
                size(number(item, "quota")),
                used,
                number(item, "letters").to_string(),
                number(item, "waiting").to_string(),
            ]
        })
        .collect();
    if !hosted.is_empty() {
        parts.push(output::table(&["KEPT HERE FOR", "QUOTA", "USE", "LETTERS", "NOT FETCHED"], &hosted));
    }
    let used: Vec<Vec<String>> = output::items(answer, "used")
        .iter()
        .map(|item| {
            let granted = item.get("granted").and_then(Value::as_u64);
            vec![
                output::text(item, "account").to_owned(),
                output::text(item, "name").to_owned(),
                granted.map_or_else(|| "not agreed yet".to_owned(), size),
                if flag(item, "connected") { "connected" } else { "not connected" }.to_owned(),
                output::text(item, "node").chars().take(16).collect(),
            ]
        })
        .collect();
    if !used.is_empty() {
        parts.push(output::table(&["MAIL OF", "KEPT BY", "QUOTA", "NOW", "NODE"], &used));
    }
    for talk in output::items(answer, "talks") {
        parts.push(format!("{} {} ({})", output::text(talk, "name"), output::text(talk, "what"), size(number(talk, "bytes"))));
    }
    if number(answer, "volunteered_bytes") > 0 {
        parts.push(format!("kept for strangers, as a volunteer: {}", size(number(answer, "volunteered_bytes"))));
    }
    if parts.is_empty() {
        "no relays: nobody keeps your mail while you are away, and you keep nobody's".to_owned()
    } else {
        parts.join("\n\n")
    }
}

/// How full it is, as a picture of ten steps.
fn bar(used: u64, quota: u64) -> String {
    let steps = usize::try_from((used.saturating_mul(10)).checked_div(quota).unwrap_or(0).min(10)).unwrap_or(10);
    format!("[{}{}] {}", "#".repeat(steps), ".".repeat(10 - steps), size(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_drawn() {
        assert_eq!(bar(0, 100), "[..........] 0 B");
        assert_eq!(bar(1_048_576, 2_097_152), "[#####.....] 1 MiB");
        assert_eq!(bar(5, 0), "[..........] 5 B");
    }
}
