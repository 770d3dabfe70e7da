//! Any line, as a command.
#![no_main]

use kith_pop3::command::Command;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let _outcome = Command::parse(line);
});
