//! `simulate`: asks a question of the delivery that ships, and writes a page about the answer.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to people")]

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::{Arguments, Mistake};
use kith_simulations::lab;

/// Runs this program anew with its memory in large pages, where that can be asked for: a town is spread over all of it, and looking pages up took a
/// quarter of the time. Whoever has set the variable has decided.
fn in_large_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;
        const TUNABLES: &str = "GLIBC_TUNABLES";
        if std::env::var_os(TUNABLES).is_none()
            && let Ok(program) = std::env::current_exe()
        {
            // It returns only if it fails, and then this goes on as it is.
            let _ = std::process::Command::new(program)
                .args(std::env::args_os().skip(1))
                .env(TUNABLES, "glibc.malloc.hugetlb=1")
                .exec();
        }
    }
}

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
    in_large_pages();
    let arguments = Arguments::parse();
    match command::run(&arguments) {
        Ok(code) => code,
        Err(mistake) => {
            eprintln!("simulate: {mistake}");
            ExitCode::from(if matches!(mistake, Mistake::Write(..)) { 1 } else { 2 })
        }
    }
}
