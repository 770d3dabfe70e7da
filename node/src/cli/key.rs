//! `kith key`: the 24 words from which an address can be brought back.

use std::path::Path;

use clap::Subcommand;

use super::output::{self, Failure};
use crate::control::Request;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Show the words, to be written on paper.
    Words {
        /// Whose; the only account's where there is one.
        name: Option<String>,
    },
    /// Remove the words from this node, once they are on paper.
    ForgetWords {
        /// Whose; the only account's where there is one.
        name: Option<String>,
        /// They are written down.
        #[arg(long)]
        written_down: bool,
    },
}

pub(super) fn perform(home: &Path, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Words { name } => {
            let answer = output::ask(home, &Request::KeyWords { name }, &[])?;
            output::say(
                "Write these down in this order and keep the paper safe. Whoever has them can take the address over; nobody can read mail with them.\n",
            );
            let words: Vec<&str> = output::text(&answer, "words").split(' ').collect();
            for (row, four) in words.chunks(4).enumerate() {
                let numbered: Vec<String> =
                    four.iter().enumerate().map(|(column, word)| format!("{:>2} {word:<9}", row * 4 + column + 1)).collect();
                output::print(numbered.join(" ").trim_end())?;
            }
            output::say("\nThen: kith key forget-words --written-down");
            Ok(())
        }
        KeyCommand::ForgetWords { name, written_down } => {
            if !written_down {
                return Err(Failure::new(
                    "without the words on paper a lost node means a lost address",
                    "once they are written down: kith key forget-words --written-down",
                ));
            }
            output::ask(home, &Request::KeyForget { name }, &[])?;
            output::say("the words are not on this node any more");
            Ok(())
        }
    }
}
