//! `kith account`: the people of this household.

use std::path::Path;

use clap::Subcommand;

use super::output::{self, Failure};
use crate::control::{Password, Request};

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
    /// Passwords for mail programs: one for each, so that one can be withdrawn alone.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Remove an account with its mail and its keys.
    Remove {
        /// Whose.
        name: String,
        /// Yes, all of it.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PasswordCommand {
    /// Make a password for one more program; it is shown once.
    Add {
        /// What it is for: "phone", "Thunderbird on the laptop".
        program: String,
        /// Whose; needed where there are several accounts.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Read the password from standard input instead of making one.
        #[arg(long)]
        password_stdin: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the programs that have one, and when each was used last.
    List {
        /// Whose; needed where there are several accounts.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Withdraw a program's password; whoever is logged in with it is shut out at once.
    Remove {
        /// Which.
        program: String,
        /// Whose; needed where there are several accounts.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
    },
}

pub(super) fn perform(home: &Path, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { name, password_stdin, json } => {
            let password = output::password(password_stdin)?;
            let answer = output::ask(home, &Request::AccountAdd { name, password: password.map(Password) }, &[])?;
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
            output::ask(home, &Request::PasswordRemove { name: Some(name), label }, &[])?;
            output::say("withdrawn");
            Ok(())
        }
        AccountCommand::Passwd { name, label, password_stdin, remove: false } => {
            let password = output::password(password_stdin)?;
            let answer = output::ask(home, &Request::PasswordSet { name, label, password: password.map(Password) }, &[])?;
            say_password(&answer);
            output::say("changed");
            Ok(())
        }
        AccountCommand::Password(command) => passwords(home, command),
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

fn passwords(home: &Path, command: PasswordCommand) -> Result<(), Failure> {
    match command {
        PasswordCommand::Add { program, account, password_stdin, json } => {
            // Made by the node unless one is given: what a person thinks up is guessed sooner.
            let password = if password_stdin { output::password(true)? } else { None };
            let answer =
                output::ask(home, &Request::PasswordAdd { account, label: program, password: password.map(Password) }, &[])?;
            if json {
                return output::print_json(&answer);
            }
            say_password(&answer);
            output::say(&format!("added for {}", output::text(&answer, "program")));
            Ok(())
        }
        PasswordCommand::List { account, json } => {
            let answer = output::ask(home, &Request::PasswordList { account }, &[])?;
            if json {
                return output::print_json(&answer);
            }
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let ago = |password: &serde_json::Value, field: &str, never: &str| match password
                .get(field)
                .and_then(serde_json::Value::as_u64)
            {
                Some(at) => format!("{} ago", super::queue::age(now.saturating_sub(at).saturating_mul(1000))),
                None => never.to_owned(),
            };
            let rows: Vec<Vec<String>> = output::items(&answer, "passwords")
                .iter()
                .map(|password| {
                    vec![output::text(password, "program").to_owned(), ago(password, "made", "-"), ago(password, "used", "never")]
                })
                .collect();
            output::print(&output::table(&["PROGRAM", "MADE", "LAST USED"], &rows))
        }
        PasswordCommand::Remove { program, account } => {
            output::ask(home, &Request::PasswordRemove { name: account, label: program }, &[])?;
            output::say("withdrawn");
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
