//! `kith verify` and `kith repair`: is the store sound, and what can be saved where it is not.

use std::path::Path;

use kith_store::Store;
use serde_json::{Value, json};

use super::output::{self, Failure};
use crate::control::{Refusal, Request};

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
        output::say(&format!("sound: {} log entries, {} messages, {} blobs checked", number("entries"), number("messages"), number("blobs")));
        return Ok(());
    }
    Err(Failure::new(
        format!("{} problems found", problems.len()),
        "stop the node, copy its folder somewhere safe, then run `kith repair`",
    ))
}

/// Checks a store and says what was found, as JSON.
pub(crate) fn report(store: &Store) -> Result<Value, Refusal> {
    let report = kith_store::verify::verify(store, &mut |_progress| {})?;
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Ok(json!({ "entries": report.entries, "messages": report.messages, "blobs": report.blobs, "problems": problems }))
}

pub(super) fn repair(home: &Path, as_json: bool) -> Result<(), Failure> {
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let outcome = kith_store::repair::repair(home, &mut |progress| bar.set_message(progress.to_string()));
    bar.finish_and_clear();
    let report = outcome.map_err(|error| Failure::new(error.to_string(), "nothing was changed; the files are as they were"))?;
    if as_json {
        return output::print_json(&json!({ "messages": report.messages, "lost": report.lost, "kept_aside": report.kept_aside }));
    }
    output::say(&format!("{} messages are in order again, {} could not be saved", report.messages, report.lost.len()));
    for lost in &report.lost {
        output::say(lost);
    }
    if let Some(path) = &report.kept_aside {
        output::say(&format!("the damaged store is kept at {}", path.display()));
    }
    Ok(())
}
