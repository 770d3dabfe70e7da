//! `kith verify` and `kith repair`: is the store sound, and what can be saved where it is not.

use std::path::Path;

use kith_store::Store;
use serde_json::{Value, json};

use super::output::{self, Failure};
use crate::control::{Refusal, Request};
use crate::daemon::STORE_CACHE_BYTES;
use crate::people;

pub(super) fn verify(home: &Path, as_json: bool) -> Result<(), Failure> {
    let report = output::ask(home, &Request::Verify, &[])?;
    if as_json {
        output::print_json(&report)?;
    }
    let problems = output::items(&report, "problems");
    if !as_json {
        for problem in problems {
            output::say(problem.as_str().unwrap_or_default());
        }
    }
    let number = |field: &str| report.get(field).and_then(Value::as_u64).unwrap_or(0);
    if problems.is_empty() {
        output::say(&format!(
            "sound: {} log entries, {} messages, {} blobs checked",
            number("entries"),
            number("messages"),
            number("blobs")
        ));
        return Ok(());
    }
    Err(Failure::new(
        format!("{} problems found", problems.len()),
        "stop the node, copy its folder somewhere safe, then run `kith repair`",
    ))
}

/// Checks a store and says what was found, as JSON.
pub(crate) fn report(store: &Store) -> Result<Value, Refusal> {
    let report = store.verify(&mut |_progress| {})?;
    let problems: Vec<String> = report.problems.iter().map(|problem| problem.text.clone()).collect();
    Ok(json!({ "entries": report.entries, "messages": report.messages, "blobs": report.blobs, "problems": problems }))
}

pub(super) fn repair(home: &Path, as_json: bool) -> Result<(), Failure> {
    let bar = indicatif::ProgressBar::new(0).with_style(indicatif::ProgressStyle::default_bar());
    let options = kith_store::Options { cache_bytes: STORE_CACHE_BYTES, passphrase: people::passphrase() };
    let outcome = kith_store::repair::repair(home, options, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let repaired = outcome.map_err(|error| Failure::new(error.to_string(), "nothing was changed; the files are as they were"))?;
    let problems: Vec<&str> = repaired.report.problems.iter().map(|problem| problem.text.as_str()).collect();
    let kept = home.join(&repaired.kept_as);
    if as_json {
        return output::print_json(&json!({
            "rows": repaired.rows,
            "entries_lost": repaired.entries_lost,
            "messages_lost": repaired.messages_lost,
            "incomplete": repaired.incomplete,
            "kept_as": kept,
            "problems": problems,
        }));
    }
    output::say(&format!(
        "{} messages are in order, {} could not be saved, {} log entries were lost",
        repaired.report.messages, repaired.messages_lost, repaired.entries_lost
    ));
    output::say(&format!("the store as it was found is kept at {}; remove it when all is well", kept.display()));
    if problems.is_empty() {
        return Ok(());
    }
    problems.iter().for_each(|problem| output::say(problem));
    Err(Failure::new("some things could not be mended", "restore a backup, or go on with what is left"))
}
