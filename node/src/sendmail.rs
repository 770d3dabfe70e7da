//! A mail handed over on standard input, as mutt, cron and git send-email do: brought into the form that submission has, and committed the same way.

use std::io::Write as _;

use kith_smtp::command::RcptParams;
use kith_smtp::header::{Header, HeaderReader, Split};
use kith_smtp::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy as _};
use kith_store::account::Account;
use kith_store::queue::Notify;
use serde_json::{Value, json};

use crate::control::Refusal;
use crate::delivered;
use crate::operations::Context;
use crate::submission::Desk;

/// The most recipients of one mail.
const RECIPIENTS_MAX: usize = 1000;

/// Queues a mail. Recipients are those named, and with `from_headers` those of To, Cc and Bcc.
///
/// # Errors
/// [`Refusal`]: nothing was queued.
pub fn submit(
    context: &Context,
    account: &Account,
    named: &[String],
    from_headers: bool,
    notify: Option<&str>,
    mail: &[u8],
) -> Result<Value, Refusal> {
    let desk = Desk::new(context.store.clone(), context.clock, context.gateway.clone(), kith_protocol::limits::MAIL_BYTES_MAX);
    let mail = with_network_line_ends(mail);
    let split = split(&mail)?;
    let header = Header::parse(&split.fields);
    let mut typed = named.to_vec();
    if from_headers {
        typed.extend(recipients_of(&split.fields));
    }
    if typed.is_empty() || typed.len() > RECIPIENTS_MAX {
        return Err(Refusal::new(format!("{} recipients", typed.len()), format!("1 to {RECIPIENTS_MAX} are possible")));
    }
    let refuse = |refusal: kith_smtp::Refusal| Refusal::new(refusal.text, "");
    if let Some(from) = header.from_addresses().filter(|from| !from.is_empty()) {
        desk.from_header_ok(account, &from).map_err(refuse)?;
    }
    let notify = notify.map(notify_of).transpose()?;
    let mut recipients: Vec<AcceptedRecipient> = Vec::new();
    for typed in typed {
        let route = desk.recipient(account, &typed, &RcptParams { notify, orcpt: None }).map_err(refuse)?;
        if recipients.iter().all(|known| known.route != route) {
            recipients.push(AcceptedRecipient { route, typed, notify, orcpt: None });
        }
    }
    let own = format!("{}@kith.alt", account.name);
    let head = desk.readdress(account, header.rewrite(&own, desk.now(), desk.unique()));
    let mut stage = context.store.stage()?;
    stage.write_all(&head).and_then(|()| stage.write_all(&split.rest)).map_err(delivered::disk)?;
    let accepted = AcceptedMail {
        account: account.clone(),
        reverse_path: own,
        recipients,
        mail: stage.finish()?,
        envid: None,
        ret_full: false,
        smtputf8: true,
    };
    match desk.commit(accepted) {
        Ok(id) => Ok(json!({ "id": id })),
        Err(CommitRefusal::Full) => Err(Refusal::new("the disk is full; nothing was kept", "make room and send again")),
        Err(CommitRefusal::Broken) => {
            Err(Refusal::new("the store failed; nothing was kept", "see the log, and run `kith verify`"))
        }
        Err(CommitRefusal::Refused(refusal)) => Err(refuse(refusal)),
    }
}

fn split(mail: &[u8]) -> Result<Split, Refusal> {
    let mut reader = HeaderReader::default();
    match reader.push(mail) {
        Ok(Some(split)) => Ok(split),
        Ok(None) => Ok(reader.finish()),
        Err(error) => Err(Refusal::new(error.to_string(), "")),
    }
}

/// Unix programs end lines with LF alone.
fn with_network_line_ends(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 32);
    let mut last = 0;
    for byte in mail {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Every address of To, Cc and Bcc.
fn recipients_of(fields: &[u8]) -> Vec<String> {
    let Some(message) = mail_parser::MessageParser::new().with_address_headers().parse_headers(fields) else {
        return Vec::new();
    };
    [message.to(), message.cc(), message.bcc()]
        .into_iter()
        .flatten()
        .flat_map(|addresses| addresses.iter())
        .filter_map(|one| one.address().map(str::to_owned))
        .collect()
}

/// sendmail's `-N`: `never`, or any of `success,failure,delay`.
fn notify_of(text: &str) -> Result<Notify, Refusal> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "never" => {}
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => return Err(Refusal::new(format!("-N {text} is not understood"), "never, or any of success,failure,delay")),
        }
    }
    Ok(notify)
}
