//! Any line, as a command.
#![no_main]

use kith_smtp::command::Command;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let _outcome = Command::parse(line);
});
