//! `kith sendmail`: what mutt, cron and git send-email call in place of sendmail.

use std::io::Read as _;
use std::path::Path;

use clap::Args;

use super::output::{self, Failure};
use crate::control::Request;

#[derive(Debug, Args)]
pub(super) struct SendmailArgs {
    /// Take the recipients from To, Cc and Bcc.
    #[arg(short = 't')]
    from_headers: bool,
    /// A line with a single dot does not end the mail (it never does here).
    #[arg(short = 'i')]
    ignore_dots: bool,
    /// As `-oi`, and other options that sendmail has.
    #[arg(short = 'o', value_name = "OPTION", num_args = 1)]
    options: Vec<String>,
    /// The sender: must be an account here; the only account's where not said.
    #[arg(short = 'f', short_alias = 'r', value_name = "SENDER")]
    sender: Option<String>,
    /// The sender's full name; not used, From says it.
    #[arg(short = 'F', value_name = "NAME")]
    full_name: Option<String>,
    /// DSN conditions: never, or any of success, failure, delay.
    #[arg(short = 'N', value_name = "NOTIFY")]
    notify: Option<String>,
    /// Body type; anything is carried as it is.
    #[arg(short = 'B', value_name = "TYPE")]
    body: Option<String>,
    /// Verbose; not used.
    #[arg(short = 'v')]
    verbose: bool,
    /// Recipients.
    recipients: Vec<String>,
}

pub(super) fn perform(home: &Path, args: SendmailArgs) -> Result<(), Failure> {
    let limit = kith_protocol::limits::MAIL_BYTES_MAX;
    let mut mail = Vec::new();
    std::io::stdin()
        .take(limit + 1)
        .read_to_end(&mut mail)
        .map_err(|error| Failure::new(format!("the mail could not be read: {error}"), ""))?;
    if mail.len() as u64 > limit {
        return Err(Failure::new(format!("the mail is larger than {} MiB", limit / 1_048_576), "send a smaller one"));
    }
    if !args.from_headers && args.recipients.is_empty() {
        return Err(Failure::new("no recipients", "name them after the options, or take them from the mail with -t"));
    }
    let request = Request::Sendmail {
        sender: args.sender,
        recipients: args.recipients,
        from_headers: args.from_headers,
        notify: args.notify,
    };
    output::ask(home, &request, &mail)?;
    Ok(())
}
