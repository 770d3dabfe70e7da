//! `simulate`: asks a question of the delivery that ships, and writes a page about the answer.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to people")]

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::{Arguments, Mistake};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match command::run(&arguments) {
        Ok(code) => code,
        Err(mistake) => {
            eprintln!("simulate: {mistake}");
            ExitCode::from(if matches!(mistake, Mistake::Write(..)) { 1 } else { 2 })
        }
    }
}
