//! What the commands share that change or move a table: whose it is, and files that come in and go out.

use std::io::Read as _;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::output::{self, Failure};

/// The largest file taken for import, in bytes.
const IMPORT_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Whose; the only account's where there is one.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// vCard 3 or 4.
    Vcard,
    /// Comma-separated, with a head line.
    Csv,
}

impl Format {
    pub(super) fn name(self) -> String {
        match self {
            Self::Vcard => "vcard",
            Self::Csv => "csv",
        }
        .to_owned()
    }

    /// What a file's ending says, if it says something.
    pub(super) fn by_ending(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(Self::Csv),
            "vcf" | "vcard" => Some(Self::Vcard),
            _ => None,
        }
    }
}

/// The bytes of a file, or of standard input where it is `-`.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", file.display()), "");
    let mut text = Vec::new();
    let source: Box<dyn std::io::Read> =
        if file == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(file).map_err(failed)?) };
    source.take(IMPORT_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > IMPORT_BYTES_MAX {
        let cause = format!("{}: more than {} MiB", file.display(), IMPORT_BYTES_MAX >> 20);
        return Err(Failure::new(cause, "bring it in several files"));
    }
    Ok(text)
}

/// Says what an import has brought, and each row that it has not.
pub(super) fn say_imported(answer: &Value) {
    let problems = output::items(answer, "problems");
    problems.iter().for_each(|problem| output::say(problem.as_str().unwrap_or_default()));
    let imported = answer.get("imported").and_then(Value::as_u64).unwrap_or(0);
    output::say(&format!("{imported} imported, {} left out", problems.len()));
}
