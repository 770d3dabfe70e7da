//! Printing: data to standard output, talk to standard error, failures as cause and remedy.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::control::{self, Refusal, Request};

/// Why a command did not do what it was asked to, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    cause: String,
    remedy: String,
}

impl Failure {
    /// A cause, and a remedy (empty where the cause says it all).
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    /// Prints it; exit code 1.
    pub fn report(&self) -> ExitCode {
        let mut error = std::io::stderr().lock();
        // Where standard error is gone nobody can be told.
        let _ = writeln!(error, "kith: {}", self.cause);
        if !self.remedy.is_empty() {
            let _ = writeln!(error, "      {}", self.remedy);
        }
        ExitCode::FAILURE
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { cause: refusal.cause, remedy: refusal.remedy }
    }
}

/// Has the running node do it, or does it on the store where none runs.
pub(super) fn ask(home: &Path, request: &Request, body: &[u8]) -> Result<Value, Failure> {
    Ok(control::ask(home, request, body)?)
}

/// Prints lines of data.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush())
    {
        Ok(()) => Ok(()),
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(format!("standard output: {error}"), "")),
    }
}

/// Prints JSON, indented.
pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}"))
}

/// Says something on standard error.
pub(super) fn say(text: &str) {
    // Talk that nobody can hear is no failure.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The longest password taken, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Reads a password: from standard input's first line, or twice from the terminal. `None` where the person just pressed Enter (or there is no terminal): generate one.
pub(super) fn password(from_stdin: bool) -> Result<Option<Zeroizing<String>>, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("the password could not be read: {error}"), "pass it with --password-stdin");
    if from_stdin {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().read_line(&mut line).map_err(failed)?;
        let password = Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned());
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::new(
                "the password is empty or too long",
                format!("1 to {PASSWORD_BYTES_MAX} bytes on one line"),
            ));
        }
        return Ok(Some(password));
    }
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let first = Zeroizing::new(rpassword::prompt_password("Password for mail programs (Enter: make one): ").map_err(failed)?);
    if first.is_empty() {
        return Ok(None);
    }
    let second = Zeroizing::new(rpassword::prompt_password("Again: ").map_err(failed)?);
    if *first != *second {
        return Err(Failure::new("the two passwords differ", "try again"));
    }
    Ok(Some(first))
}

/// A table with aligned columns, a blank between them; empty without rows.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// The text of a field of a JSON answer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list in a JSON answer.
pub(super) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
