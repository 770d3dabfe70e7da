//! `kith contact`: the lookup table of names and legacy addresses to keys.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::output::{self, Failure};
use super::table::{self, Format, Whose};
use crate::control::Request;

#[derive(Debug, Subcommand)]
pub(super) enum ContactCommand {
    /// Add somebody, or change an entry.
    Add {
        /// The name you write to: NAME@kith.alt.
        name: String,
        /// Their address, or kith: link.
        address: String,
        /// A legacy address of theirs that shall go to the key too. May be repeated.
        #[arg(long, value_name = "USER@DOMAIN")]
        email: Vec<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// List contacts.
    List {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove somebody.
    Remove {
        /// The name.
        name: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Note that you have compared addresses.
    Verify {
        /// The name.
        name: String,
        /// How you compared.
        #[arg(long, value_enum, default_value_t = Way::InPerson)]
        by: Way,
        #[command(flatten)]
        whose: Whose,
    },
    /// Let a stranger in: what waits of theirs goes to the inbox, and they may write from now on.
    Accept {
        /// Their address, or a name.
        who: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Throw away what waits of a stranger.
    Refuse {
        /// Their address.
        who: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Shut somebody out: their stamps are withdrawn, and nobody else notices.
    Block {
        /// The name, or their address.
        who: String,
        /// Let them in again.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// Strangers whose mail waits in the folder Requests.
    Requests {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read contacts from a file (- for standard input).
    Import {
        /// The file.
        file: PathBuf,
        /// What it is; by its ending where not said.
        #[arg(long, value_enum)]
        format: Option<Format>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write contacts to standard output.
    Export {
        /// As what.
        #[arg(long, value_enum, default_value_t = Format::Vcard)]
        format: Format,
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Way {
    /// Face to face.
    InPerson,
    /// By voice, or by a secret that only the two of you know.
    Shared,
    /// A contact introduced them.
    Introduced,
    /// Not compared: take the mark back.
    Unknown,
}

pub(super) fn perform(home: &Path, command: ContactCommand) -> Result<(), Failure> {
    match command {
        ContactCommand::Add { name, address, email, whose } => {
            let answer = output::ask(home, &Request::ContactAdd { account: whose.account, name, address, emails: email }, &[])?;
            output::say(&format!("write to {}", output::text(&answer, "mail")));
            Ok(())
        }
        ContactCommand::List { whose, json } => {
            let answer = output::ask(home, &Request::ContactList { account: whose.account }, &[])?;
            if json { output::print_json(&answer) } else { output::print(&listed(&answer)) }
        }
        ContactCommand::Remove { name, whose } => {
            output::ask(home, &Request::ContactRemove { account: whose.account, name }, &[])?;
            output::say("removed");
            Ok(())
        }
        ContactCommand::Verify { name, by, whose } => {
            let grade = match by {
                Way::InPerson => "in-person",
                Way::Shared => "shared",
                Way::Introduced => "introduced",
                Way::Unknown => "unknown",
            };
            let answer = output::ask(home, &Request::ContactVerify { account: whose.account, name, grade: grade.into() }, &[])?;
            output::say(&format!(
                "{} is marked {grade}; the address compared was\n{}",
                output::text(&answer, "name"),
                output::text(&answer, "address")
            ));
            Ok(())
        }
        ContactCommand::Accept { who, whose } => {
            let answer = output::ask(home, &Request::ContactAccept { account: whose.account, who }, &[])?;
            let mails = answer.get("mails").and_then(serde_json::Value::as_u64).unwrap_or(0);
            output::say(&format!("{} may write to you; {mails} mails went to the inbox", output::text(&answer, "name")));
            Ok(())
        }
        ContactCommand::Refuse { who, whose } => {
            let answer = output::ask(home, &Request::ContactRefuse { account: whose.account, who }, &[])?;
            let mails = answer.get("mails").and_then(serde_json::Value::as_u64).unwrap_or(0);
            output::say(&format!("{mails} mails thrown away"));
            Ok(())
        }
        ContactCommand::Block { who, undo, whose } => {
            let account = whose.account;
            let request = if undo { Request::ContactUnblock { account, who } } else { Request::ContactBlock { account, who } };
            let answer = output::ask(home, &request, &[])?;
            let state = if undo { "may write to you again" } else { "is shut out" };
            output::say(&format!("{} {state}", output::text(&answer, "name")));
            Ok(())
        }
        ContactCommand::Requests { whose, json } => {
            let answer = output::ask(home, &Request::ContactRequests { account: whose.account }, &[])?;
            if json {
                return output::print_json(&answer);
            }
            let row = |item: &serde_json::Value| {
                let mails = item.get("mails").and_then(serde_json::Value::as_u64).unwrap_or(0);
                vec![mails.to_string(), output::text(item, "address").to_owned()]
            };
            let rows: Vec<Vec<String>> = output::items(&answer, "requests").iter().map(row).collect();
            if rows.is_empty() {
                output::say("no stranger waits");
                return Ok(());
            }
            output::print(&output::table(&["MAILS", "FROM"], &rows))
        }
        ContactCommand::Import { file, format, whose } => {
            let format = format.or(Format::by_ending(&file)).unwrap_or(Format::Vcard).name();
            let request = Request::ContactImport { account: whose.account, format };
            table::say_imported(&output::ask(home, &request, &table::read(&file)?)?);
            Ok(())
        }
        ContactCommand::Export { format, whose } => {
            let answer = output::ask(home, &Request::ContactExport { account: whose.account, format: format.name() }, &[])?;
            output::print(output::text(&answer, "text"))
        }
    }
}

fn listed(answer: &serde_json::Value) -> String {
    let rows: Vec<Vec<String>> = output::items(answer, "contacts")
        .iter()
        .map(|contact| {
            let emails: Vec<&str> = output::items(contact, "emails").iter().filter_map(serde_json::Value::as_str).collect();
            vec![
                output::text(contact, "name").to_owned(),
                output::text(contact, "grade").to_owned(),
                output::text(contact, "address").to_owned(),
                emails.join(" "),
            ]
        })
        .collect();
    output::table(&["NAME", "VERIFIED", "ADDRESS", "LEGACY"], &rows)
}
