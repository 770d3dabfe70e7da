//! `kith settings`: what to type into a mail program, and the files that some read by themselves.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::output::{self, Failure};
use crate::control::Request;
use crate::settings::words::{Program, words};
use crate::settings::{Place, Settings, apple, thunderbird};

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Whose; needed where there are several accounts.
    name: Option<String>,
    /// For which program; without, for all.
    #[arg(long, value_enum)]
    program: Option<Program>,
    /// For a program on another machine at home.
    #[arg(long, conflicts_with = "here")]
    lan: bool,
    /// For a program on this machine.
    #[arg(long)]
    here: bool,
    /// Write Thunderbird's file: kith.alt.xml for its folder isp (- for standard output).
    #[arg(long, value_name = "FILE")]
    thunderbird: Option<PathBuf>,
    /// Write Apple's profile, to be opened on the device: kith.mobileconfig (- for standard output).
    #[arg(long, value_name = "FILE")]
    apple: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn perform(home: &Path, args: &SettingsArgs) -> Result<(), Failure> {
    let answer = output::ask(home, &Request::Settings { account: args.name.clone() }, &[])?;
    let settings: Settings = serde_json::from_value(answer.get("settings").cloned().unwrap_or_default()).map_err(|error| {
        Failure::new(format!("the running node answers something else: {error}"), "is it another version? restart it")
    })?;
    let running = answer.get("running").and_then(serde_json::Value::as_bool).unwrap_or(false);
    if args.json {
        return output::print_json(&answer);
    }
    let asked = match (args.lan, args.here) {
        (true, _) => Some(Place::Home),
        (false, true) => Some(Place::Here),
        (false, false) => None,
    };
    let mut wrote = false;
    if let Some(file) = &args.thunderbird {
        write(file, &thunderbird::config(&settings, asked.unwrap_or(Place::Here)))?;
        wrote = true;
    }
    if let Some(file) = &args.apple {
        let place = asked.unwrap_or_else(|| Program::AppleMail.place(&settings));
        let profile = apple::profile(&settings, place).ok_or_else(|| {
            Failure::new(
                "there is nothing to put into a profile: the ports are off, or the node has not run yet",
                "start the node; for other devices set `lan = true` in kith.toml",
            )
        })?;
        write(file, &profile)?;
        if place == Place::Here {
            output::say("this profile is for a Mac that the node runs on; for other devices set `lan = true` in kith.toml");
        }
        wrote = true;
    }
    if wrote {
        return Ok(());
    }
    if !running {
        output::say("the node does not run: this is what kith.toml says");
    }
    match args.program {
        Some(program) => output::print(&words(program, &settings, asked.unwrap_or_else(|| program.place(&settings)))),
        None => output::print(&everything(&settings, asked)),
    }
}

fn everything(settings: &Settings, asked: Option<Place>) -> String {
    let mut text = String::new();
    for (place, title) in [(Place::Here, "On this machine"), (Place::Home, "On other machines at home")] {
        if asked.is_none_or(|asked| asked == place) {
            text.push_str(&format!("{title}\n\n{}\n", words(Program::Other, settings, place)));
        }
    }
    for &program in Program::value_variants().iter().filter(|program| **program != Program::Other) {
        let place = asked.unwrap_or_else(|| program.place(settings));
        let name = program.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        text.push_str(&format!("{name}\n\n{}\n", words(program, settings, place)));
    }
    text.push_str(
        "The password: kith account password add PROGRAM makes one for a program and shows it once.\n\
         Files that programs read: kith settings --thunderbird kith.alt.xml, --apple kith.mobileconfig\n",
    );
    text
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if file == Path::new("-") {
        return output::print(text);
    }
    std::fs::write(file, text).map_err(|error| Failure::new(format!("{}: {error}", file.display()), "name another file"))?;
    output::say(&format!("written to {}", file.display()));
    Ok(())
}
