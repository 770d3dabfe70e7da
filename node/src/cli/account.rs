//! `kith account`: the people of this household.

use std::path::Path;

use clap::Subcommand;

use super::output::{self, Failure};
use crate::control::Request;

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Add a person, with a mailbox and a key of their own.
    Add {
        /// What they log in as: lower-case letters, digits, dot, dash, underscore.
        name: String,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the accounts.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change a password, or add one for another program.
    Passwd {
        /// Whose.
        name: String,
        /// Which one: each program can have its own.
        #[arg(long, default_value = "default")]
        label: String,
        /// Read the password from standard input.
        #[arg(long)]
        password_stdin: bool,
        /// Withdraw the password of that label instead.
        #[arg(long, conflicts_with = "password_stdin")]
        remove: bool,
    },
    /// Remove an account with its mail and its keys.
    Remove {
        /// Whose.
        name: String,
        /// Yes, all of it.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn perform(home: &Path, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { name, password_stdin, json } => {
            let password = output::password(password_stdin)?;
            let answer =
                output::ask(home, &Request::AccountAdd { name, password: password.map(|password| password.to_string()) }, &[])?;
            if json {
                return output::print_json(&answer);
            }
            output::print(output::text(&answer, "address"))?;
            say_password(&answer);
            Ok(())
        }
        AccountCommand::List { json } => {
            let answer = output::ask(home, &Request::AccountList, &[])?;
            if json {
                return output::print_json(&answer);
            }
            let rows: Vec<Vec<String>> = output::items(&answer, "accounts")
                .iter()
                .map(|account| vec![output::text(account, "name").to_owned(), output::text(account, "address").to_owned()])
                .collect();
            output::print(&output::table(&["NAME", "ADDRESS"], &rows))
        }
        AccountCommand::Passwd { name, label, remove: true, .. } => {
            output::ask(home, &Request::PasswordRemove { name, label }, &[])?;
            output::say("withdrawn");
            Ok(())
        }
        AccountCommand::Passwd { name, label, password_stdin, remove: false } => {
            let password = output::password(password_stdin)?;
            let answer = output::ask(
                home,
                &Request::PasswordSet { name, label, password: password.map(|password| password.to_string()) },
                &[],
            )?;
            say_password(&answer);
            output::say("changed");
            Ok(())
        }
        AccountCommand::Remove { name, yes } => {
            if !yes {
                return Err(Failure::new(
                    format!("removing {name} removes all of its mail and keys for ever"),
                    format!("if that is wanted: kith account remove {name} --yes"),
                ));
            }
            output::ask(home, &Request::AccountRemove { name }, &[])?;
            output::say("removed");
            Ok(())
        }
    }
}

fn say_password(answer: &serde_json::Value) {
    let password = output::text(answer, "password");
    if !password.is_empty() {
        output::say(&format!("password for mail programs (shown only now): {password}"));
    }
}
