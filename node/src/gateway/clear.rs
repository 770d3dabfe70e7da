//! What the sender is told of a mail that leaves in the clear: a line for the copy in Sent, and a short mail where it is wanted.

use std::io::{Read as _, Write as _};

use kith_protocol::event::Now;
use kith_protocol::ids::AccountId;
use kith_smtp::policy::AcceptedMail;
use kith_store::folder::Use;
use kith_store::legacy::LegacyRecipient;
use kith_store::mailbox::Filing;
use kith_store::{Store, StoreError, Transaction};

use super::{Gateway, WayOut};
use crate::config::gateway::Told as When;
use crate::{delivered, notices};

/// How much of a mail is looked at for its Message-ID and subject.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// Recipients that the line in Sent names; more are counted.
const NAMED_MAX: usize = 20;

/// What is to be written together with the submission.
#[derive(Clone, Debug)]
pub struct Told {
    account: AccountId,
    /// Message-ID, wall ms, words.
    sent: Option<(String, i64, String)>,
    notice: Option<Filing>,
    /// Recipients that are named for the first time.
    first: Vec<String>,
    /// Recipients to whom the account writes for the first time, with nothing to wait for.
    written: Vec<String>,
}

impl Told {
    /// Writes it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn perform(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        if let Some((message_id, wall_ms, words)) = &self.sent {
            transaction.remember_clear(self.account, message_id, *wall_ms, words)?;
        }
        // Whoever writes to so many that there are no rows left is told once more, and is asked once more.
        self.first
            .iter()
            .try_for_each(|email| if_there_is_room(transaction.put_gateway_row(&told_rows(self.account), email, Some(b""))))?;
        self.written.iter().try_for_each(|email| write_to(transaction, self.account, email))?;
        if let Some(filing) = &self.notice {
            transaction.deliver(self.account, Use::Inbox, filing)?;
        }
        Ok(())
    }
}

/// The kind of rows that say about whom an account was told, by address.
fn told_rows(account: AccountId) -> String {
    format!("{}/told", account.0)
}

/// The kind of rows that say to whom an account has written, by address.
fn written_rows(account: AccountId) -> String {
    format!("{}/written", account.0)
}

fn if_there_is_room(put: Result<(), StoreError>) -> Result<(), StoreError> {
    match put {
        Err(StoreError::Invalid(_)) => Ok(()),
        other => other,
    }
}

/// Remembers that an account writes to an ordinary address (lower case).
///
/// # Errors
/// [`StoreError`] from below.
pub fn write_to(transaction: &mut Transaction<'_>, account: AccountId, email: &str) -> Result<(), StoreError> {
    if_there_is_room(transaction.put_gateway_row(&written_rows(account), email, Some(b"")))
}

/// Whether an account has written to an ordinary address (lower case) before, and the mail did not wait for a word that never came.
///
/// # Errors
/// [`StoreError`] from below.
pub fn has_written_to(store: &Store, account: AccountId, email: &str) -> Result<bool, StoreError> {
    Ok(store.gateway_row(&written_rows(account), email)?.is_some())
}

/// What there is to tell about a mail, part of which (`legacy`) leaves in the clear; nothing where none does.
///
/// # Errors
/// [`StoreError`] from below.
pub fn told(
    store: &Store,
    gateway: &Gateway,
    mail: &AcceptedMail,
    legacy: &[LegacyRecipient],
    now: Now,
) -> Result<Told, StoreError> {
    let account = &mail.account;
    let mut told = Told { account: account.id, sent: None, notice: None, first: Vec::new(), written: Vec::new() };
    if legacy.is_empty() {
        return Ok(told);
    }
    let way = match gateway.way_out(store, account)? {
        Some(WayOut::Provider(_)) => {
            gateway.provider(account).map_or_else(String::new, |provider| format!("by {}", provider.smtp))
        }
        Some(WayOut::Direct) => "to their mail servers directly".to_owned(),
        Some(WayOut::Contact(address)) => {
            let contact = store.contact_by_address(account.id, &address)?;
            format!("by the node of {}", contact.map_or_else(|| address.mail(), |contact| contact.name))
        }
        None => "by a gateway".to_owned(),
    };
    let mut header = Vec::new();
    store.blob(&mail.mail.hash)?.take(HEADER_BYTES_MAX).read_to_end(&mut header).map_err(delivered::disk)?;
    let parsed = mail_parser::MessageParser::new().parse_headers(header.as_slice());
    let message_id = parsed.as_ref().and_then(|parsed| parsed.message_id());
    told.sent = message_id.map(|id| (id.to_owned(), now.wall.0, words(legacy, &way)));
    for recipient in legacy {
        let email = recipient.address.to_lowercase();
        if !recipient.held && !has_written_to(store, account.id, &email)? && !told.written.contains(&email) {
            told.written.push(email.clone());
        }
        if store.gateway_row(&told_rows(account.id), &email)?.is_none() && !told.first.contains(&email) {
            told.first.push(email);
        }
    }
    let held = legacy.iter().any(|recipient| recipient.held);
    let wanted = match gateway.config().notify {
        When::Always => true,
        When::First => !told.first.is_empty(),
        When::Never => false,
    };
    // Nobody is told about a mail from `<>`; and whatever waits for a word has to say so.
    if (wanted || held) && !mail.reverse_path.is_empty() {
        let subject = parsed.as_ref().and_then(|parsed| parsed.subject()).unwrap_or("(no subject)");
        let mut stage = store.stage()?;
        stage.write_all(&notice(&account.name, subject, legacy, &way, now)).map_err(delivered::disk)?;
        told.notice = Some(Filing::fresh(stage.finish()?, now.wall));
    }
    Ok(told)
}

/// The line for the copy in Sent: who got the mail in the clear, and how. Printable ASCII.
fn words(legacy: &[LegacyRecipient], way: &str) -> String {
    let mut names: Vec<&str> = legacy.iter().take(NAMED_MAX).map(|recipient| recipient.address.as_str()).collect();
    let more = format!("and {} more", legacy.len().saturating_sub(NAMED_MAX));
    if legacy.len() > NAMED_MAX {
        names.push(&more);
    }
    let text = format!("{} ({way})", names.join(", "));
    text.chars().map(|letter| if (' '..='~').contains(&letter) { letter } else { '?' }).collect()
}

fn notice(name: &str, subject: &str, legacy: &[LegacyRecipient], way: &str, now: Now) -> Vec<u8> {
    let list = |held: bool| -> String {
        legacy.iter().filter(|one| one.held == held).map(|one| format!("  {}\r\n", one.address)).collect()
    };
    let (sent, waits) = (list(false), list(true));
    let subject: String = subject.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut text = String::new();
    if !sent.is_empty() {
        text.push_str(&format!(
            "Your mail \"{subject}\" leaves in the clear, {way}, for\r\n\r\n{sent}\r\nThey are not on Kith as far as your node knows: whoever carries the mail can read it.\r\nAll other recipients get it sealed.\r\n\r\nTo forbid it, or to be asked each time: kith gateway rule never|ask ADDRESS\r\n"
        ));
    }
    if !waits.is_empty() {
        text.push_str(&format!(
            "\r\nYour mail \"{subject}\" would leave in the clear, {way}, for\r\n\r\n{waits}\r\nIt waits for your word: `kith queue` has its number, then\r\nkith gateway release NUMBER, or kith queue cancel NUMBER\r\n"
        ));
    }
    let heading = if waits.is_empty() { "Sent in the clear" } else { "Waits for your word" };
    notices::word(name, &format!("{heading}: {subject}"), &text, now.wall, rand::random())
}

#[cfg(test)]
mod tests {
    use kith_protocol::event::{Mono, Wall};
    use kith_store::queue::Notify;

    use super::*;

    fn recipient(address: &str, held: bool) -> LegacyRecipient {
        let notify = Notify { success: false, failure: true, delay: true };
        LegacyRecipient {
            address: address.into(),
            from: "anna@example.org".into(),
            typed: address.into(),
            notify,
            orcpt: None,
            held,
        }
    }

    #[test]
    fn the_line_for_sent_is_one_printable_line() {
        let many: Vec<LegacyRecipient> = (0..30).map(|number| recipient(&format!("{number}ü@x.y"), false)).collect();
        let line = words(&many, "by smtp.x.y:587");
        assert!(line.ends_with("and 10 more (by smtp.x.y:587)") && line.is_ascii() && !line.contains(['\r', '\n']), "{line}");
    }

    #[test]
    fn what_waits_is_said_apart_from_what_left() {
        let now = Now { mono: Mono(0), wall: Wall(1_795_000_000_000) };
        let both = [recipient("carol@x.y", false), recipient("dave@x.y", true)];
        let text = String::from_utf8(notice("anna", "hello\r\nX: y", &both, "by a gateway", now)).unwrap();
        assert!(text.contains("Waits for your word") && text.contains("carol@x.y") && text.contains("dave@x.y"), "{text}");
        assert!(!text.contains("\nX: y"), "{text}");
        let text = String::from_utf8(notice("anna", "hello", &both[..1], "by a gateway", now)).unwrap();
        assert!(text.contains("Sent in the clear") && !text.contains("release"), "{text}");
    }
}
