//! `simulate`: asks a question of the delivery that ships, and writes a page about the answer.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to people")]

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::{Arguments, Mistake};
use kith_simulations::lab;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "lab") {
        return match lab::command(std::env::args_os().skip(1)) {
            Ok(summary) => {
                print!("{summary}");
                ExitCode::SUCCESS
            }
            Err(problem) => {
                eprintln!("simulate: {problem}");
                ExitCode::from(problem.exit_code())
            }
        };
    }
    let arguments = Arguments::parse();
    match command::run(&arguments) {
        Ok(code) => code,
        Err(mistake) => {
            eprintln!("simulate: {mistake}");
            ExitCode::from(if matches!(mistake, Mistake::Write(..)) { 1 } else { 2 })
        }
    }
}
