//! `kith gateway`: ordinary e-mail: whose an address is, what may leave in the clear, what waits for a word, what the DNS needs.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::output::{self, Failure};
use super::table::{self, Format, Whose};
use crate::control::Request;

#[derive(Debug, Subcommand)]
pub(super) enum GatewayCommand {
    /// Give an ordinary address to somebody: what comes for it goes to their key, and they may write as it.
    Map {
        /// NAME (at every domain of this node), NAME@DOMAIN, or @DOMAIN for all that nobody else has.
        address: String,
        /// An account, a contact, or a Kith address.
        who: String,
        /// To remember whom the address was given to.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Take an address away: mail for it is refused from then on.
    Unmap {
        /// As it was given.
        address: String,
    },
    /// The table of addresses.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read rows from a file (- for standard input): CSV with the columns address, who and note, or vCards with a Kith address.
    Import {
        /// The file.
        file: PathBuf,
        /// What it is; by its ending where not said, CSV where that says nothing.
        #[arg(long, value_enum)]
        format: Option<Format>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Write the table to standard output.
    Export {
        /// As what.
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
    },
    /// Whether mail may leave in the clear: to an address, a domain, a contact's addresses, or in general.
    Rule {
        /// What is to happen; `default` takes a rule back. Without, the rules are listed.
        rule: Option<Word>,
        /// USER@DOMAIN, @DOMAIN or a contact's name; without, everybody.
        who: Option<String>,
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Which DNS records a domain needs, whether they are there, and what the world says about a mail from here.
    Check {
        /// The domain.
        domain: String,
        /// An address that the world knows this machine by; may be repeated. Without, what the running node has found out.
        #[arg(long)]
        address: Vec<std::net::IpAddr>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a contact send by the gateway of this node: from the address that `kith gateway map` gives them.
    Allow {
        /// The contact, or their address.
        contact: String,
        /// No longer.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// Have your mail to ordinary addresses leave by the node of a contact who allows it.
    Use {
        /// The contact.
        contact: String,
        /// No longer.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        whose: Whose,
    },
    /// Who may send by this gateway, and whose gateway is used.
    People {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a mail go that waits for your word.
    Release {
        /// Its number in `kith queue`.
        id: u64,
    },
    /// Kith addresses that signed ordinary mails have offered, and that wait for your yes.
    Suggestions {
        #[command(flatten)]
        whose: Whose,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Believe a suggestion: mail to that address goes to the key from then on.
    Accept {
        /// The ordinary address.
        email: String,
        /// What to call them, if they are no contact yet.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        whose: Whose,
    },
    /// Forget a suggestion.
    Refuse {
        /// The ordinary address.
        email: String,
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Word {
    /// It is refused while you send.
    Never,
    /// It waits for your word.
    Ask,
    /// It leaves.
    Always,
    /// As for everybody.
    Default,
}

impl Word {
    fn rule(self) -> Option<String> {
        match self {
            Self::Never => Some("never".into()),
            Self::Ask => Some("ask".into()),
            Self::Always => Some("always".into()),
            Self::Default => None,
        }
    }
}

pub(super) fn perform(home: &Path, command: GatewayCommand) -> Result<(), Failure> {
    match command {
        GatewayCommand::Map { address, who, note, whose } => {
            let request = Request::GatewayMap { account: whose.account, pattern: address, who, note };
            let answer = output::ask(home, &request, &[])?;
            output::say(&format!("{} leads to {}", output::text(&answer, "pattern"), output::text(&answer, "address")));
            Ok(())
        }
        GatewayCommand::Unmap { address } => {
            output::ask(home, &Request::GatewayUnmap { pattern: address }, &[])?;
            output::say("taken away");
            Ok(())
        }
        GatewayCommand::List { json } => {
            let answer = output::ask(home, &Request::GatewayList, &[])?;
            if json { output::print_json(&answer) } else { output::print(&listed(&answer)) }
        }
        GatewayCommand::Import { file, format, whose } => {
            let format = format.or(Format::by_ending(&file)).unwrap_or(Format::Csv).name();
            let request = Request::GatewayImport { account: whose.account, format };
            table::say_imported(&output::ask(home, &request, &table::read(&file)?)?);
            Ok(())
        }
        GatewayCommand::Export { format } => {
            let answer = output::ask(home, &Request::GatewayExport { format: format.name() }, &[])?;
            output::print(output::text(&answer, "text"))
        }
        GatewayCommand::Rule { rule: Some(word), who, whose, .. } => {
            let request = Request::GatewayRule { account: whose.account, rule: word.rule(), who };
            output::ask(home, &request, &[])?;
            output::say("noted");
            Ok(())
        }
        GatewayCommand::Rule { rule: None, whose, json, .. } => {
            let answer = output::ask(home, &Request::GatewayRules { account: whose.account }, &[])?;
            if json { output::print_json(&answer) } else { output::print(&rules(&answer)) }
        }
        GatewayCommand::Check { domain, address, json } => {
            let answer = output::ask(home, &Request::GatewayCheck { domain, addresses: address }, &[])?;
            if json {
                return output::print_json(answer.get("report").unwrap_or(&answer));
            }
            output::print(output::text(&answer, "text"))
        }
        GatewayCommand::Allow { contact, undo, whose } => {
            let request = Request::GatewayAllow { account: whose.account, who: contact, allowed: !undo };
            let answer = output::ask(home, &request, &[])?;
            let name = output::text(&answer, "name");
            match (undo, output::text(&answer, "from")) {
                (true, _) => output::say(&format!("{name} may not send by this gateway any more")),
                (false, "") => output::say(&format!(
                    "{name} may send by this gateway, once they have an address here: kith gateway map NAME@DOMAIN {name}"
                )),
                (false, from) => output::say(&format!("{name} may send by this gateway, as {from}")),
            }
            Ok(())
        }
        GatewayCommand::Use { contact, undo, whose } => {
            let request = Request::GatewayUse { account: whose.account, who: contact, used: !undo };
            let answer = output::ask(home, &request, &[])?;
            let verb = if undo { "no longer leaves" } else { "leaves" };
            output::say(&format!("mail to ordinary addresses {verb} by the node of {}", output::text(&answer, "name")));
            Ok(())
        }
        GatewayCommand::People { whose, json } => {
            let answer = output::ask(home, &Request::GatewayPeople { account: whose.account }, &[])?;
            if json { output::print_json(&answer) } else { people(&answer) }
        }
        GatewayCommand::Release { id } => {
            let answer = output::ask(home, &Request::GatewayRelease { id }, &[])?;
            output::say(&format!("on its way to {}, in the clear", output::text(&answer, "for")));
            Ok(())
        }
        GatewayCommand::Suggestions { whose, json } => {
            let answer = output::ask(home, &Request::GatewaySuggestions { account: whose.account }, &[])?;
            if json { output::print_json(&answer) } else { suggestions(&answer) }
        }
        GatewayCommand::Accept { email, name, whose } => {
            let request = Request::GatewaySuggested { account: whose.account, email, name, wanted: true };
            let answer = output::ask(home, &request, &[])?;
            output::say(&format!(
                "{} is {}; compare the address with them when you meet",
                output::text(&answer, "mail"),
                output::text(&answer, "address")
            ));
            Ok(())
        }
        GatewayCommand::Refuse { email, whose } => {
            let request = Request::GatewaySuggested { account: whose.account, email, name: None, wanted: false };
            output::ask(home, &request, &[])?;
            output::say("forgotten");
            Ok(())
        }
    }
}

fn listed(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = output::items(answer, "rows")
        .iter()
        .map(|row| ["pattern", "name", "address", "note"].map(|field| output::text(row, field).to_owned()).to_vec())
        .collect();
    output::table(&["ADDRESS", "WHO", "KEY", "NOTE"], &rows)
}

fn rules(answer: &Value) -> String {
    let mut rows: Vec<Vec<String>> = output::items(answer, "rules")
        .iter()
        .map(|row| {
            let about = output::text(row, "about");
            vec![output::text(row, "rule").to_owned(), if about.is_empty() { "everybody" } else { about }.to_owned()]
        })
        .collect();
    rows.push(vec![output::text(answer, "otherwise").to_owned(), "otherwise (kith.toml)".to_owned()]);
    output::table(&["IN THE CLEAR", "TO"], &rows)
}

fn people(answer: &Value) -> Result<(), Failure> {
    let flag = |row: &Value, field: &str| row.get(field).and_then(Value::as_bool) == Some(true);
    let rows: Vec<Vec<String>> = output::items(answer, "people")
        .iter()
        .map(|row| {
            let name = [output::text(row, "name"), output::text(row, "address")].into_iter().find(|text| !text.is_empty());
            let what = match (flag(row, "they_may"), flag(row, "we_may")) {
                (true, true) => "each may send by the other's",
                (true, false) => "may send by this one",
                (false, _) => "lets you send by theirs",
            };
            vec![name.unwrap_or_default().to_owned(), what.to_owned(), output::text(row, "from").to_owned()]
        })
        .collect();
    if rows.is_empty() {
        output::say("gateways are shared with nobody");
        return Ok(());
    }
    output::print(&output::table(&["WHO", "WHAT", "AS"], &rows))
}

fn suggestions(answer: &Value) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = output::items(answer, "suggestions")
        .iter()
        .map(|row| vec![output::text(row, "email").to_owned(), output::text(row, "address").to_owned()])
        .collect();
    if rows.is_empty() {
        output::say("nothing is suggested");
        return Ok(());
    }
    output::print(&output::table(&["E-MAIL", "KITH ADDRESS"], &rows))
}
