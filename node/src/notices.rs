//! What the node writes to its own people: delay notices, failure and success reports (RFC 3464 in RFC 6522's multipart/report).
//!
//! Plain words first, then the same for machines, then the mail it is about (its headers, or all of it where RET=FULL asked for that).

use kith_protocol::event::{EntryKind, Problem, Wall};
use kith_store::queue::QueueEntry;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as MailAddress;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};

/// What is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Not there yet; the node goes on trying (RFC 3464 Action: delayed).
    Delayed(Option<Problem>),
    /// Given up (Action: failed).
    Failed(Problem),
    /// The recipient's node has filed it (Action: delivered).
    Delivered,
    /// The recipient lives here, and this node has filed it (Action: delivered).
    DeliveredHere,
}

/// The most bytes of an original that a report carries back with RET=FULL.
pub const RETURNED_BYTES_MAX: u64 = 1024 * 1024;
/// The most bytes of headers that a report carries back.
pub const RETURNED_HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a report is made from.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The entry it is about.
    pub entry: &'a QueueEntry,
    /// The sender's own address, `name@kith.alt` form: whom the report is for.
    pub sender: &'a str,
    /// What is reported.
    pub notice: &'a Notice,
    /// The mail, or its beginning: see [`RETURNED_BYTES_MAX`]. `None` where it cannot be read.
    pub original: Option<&'a [u8]>,
    /// When.
    pub wall: Wall,
    /// How long until the node gives up, counted from submission, in ms.
    pub expiry_ms: u64,
    /// Unique for this report: becomes its Message-ID.
    pub unique: u128,
}

impl Notice {
    /// Does the sender want to be told this? (RFC 3461 §4.1; node-written letters: never.)
    pub fn wanted(&self, entry: &QueueEntry) -> bool {
        entry.kind == EntryKind::Mail
            && match self {
                Self::Delayed(_) => entry.notify.delay,
                Self::Failed(_) => entry.notify.failure,
                Self::Delivered | Self::DeliveredHere => entry.notify.success,
            }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Delayed(_) => "delayed",
            Self::Failed(Problem::NoReceipt) => "relayed",
            Self::Failed(_) => "failed",
            Self::Delivered | Self::DeliveredHere => "delivered",
        }
    }

    fn subject(&self, typed: &str) -> String {
        match self {
            Self::Delayed(_) => format!("Not delivered yet: your mail to {typed}"),
            Self::Failed(Problem::NoReceipt) => format!("Not confirmed: your mail to {typed}"),
            Self::Failed(_) => format!("Not delivered: your mail to {typed}"),
            Self::Delivered | Self::DeliveredHere => format!("Delivered: your mail to {typed}"),
        }
    }

    /// RFC 3463.
    fn status(&self) -> &'static str {
        match self {
            Self::Delivered | Self::DeliveredHere => "2.0.0",
            Self::Delayed(_) => "4.4.7",
            Self::Failed(problem) => match problem {
                Problem::Refused(kith_protocol::event::RefusedReason::TooLarge) => "5.3.4",
                Problem::Refused(kith_protocol::event::RefusedReason::Price(_) | kith_protocol::event::RefusedReason::Closed) => {
                    "5.7.1"
                }
                Problem::Refused(_) => "5.1.1",
                Problem::Sealing(_) => "5.6.0",
                Problem::NoReceipt => "2.1.9",
                Problem::NoCard
                | Problem::CardExpired
                | Problem::NoPlace
                | Problem::Unreachable
                | Problem::Later(_)
                | Problem::Broken
                | Problem::Waiting => "5.4.7",
            },
        }
    }
}

/// A duration as people say it.
fn spoken(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

fn plain_words(report: &Report<'_>) -> String {
    let entry = report.entry;
    let waited = spoken(entry.progress.age_ms);
    let because = |problem: &Problem| format!("The reason as far as this node knows: {problem}.");
    let text = match report.notice {
        Notice::Delayed(problem) => format!(
            "Your mail to {} has not arrived yet; it has waited for {waited}.\r\n\r\n{}\r\n\r\nYou need not do anything: your node goes on trying by itself, whenever the\r\nother side can be reached, until {} after you sent it. You will be told if it\r\ngives up. `kith queue` shows what it is doing.\r\n",
            entry.typed,
            problem.as_ref().map_or_else(|| "The other side could not be reached so far.".to_owned(), because),
            spoken(report.expiry_ms),
        ),
        Notice::Failed(Problem::NoReceipt) => format!(
            "Their node took your mail to {}, and has not confirmed for {waited}\r\nthat it is in the mailbox. Most likely it is: your node stops asking.\r\n\r\nAsk them another way before you send it again.\r\n",
            entry.typed,
        ),
        Notice::Failed(problem) => format!(
            "Your mail to {} could not be delivered, and your node has given up after\r\n{waited}. Nobody else was told.\r\n\r\n{}\r\n\r\nPerhaps the address is no longer in use, or the other node has been off all\r\nthe time. Ask them another way, then send it again.\r\n",
            entry.typed,
            because(problem),
        ),
        Notice::Delivered => {
            format!("Your mail to {} has arrived: their node has filed it in their mailbox and says so.\r\n", entry.typed)
        }
        Notice::DeliveredHere => {
            format!("Your mail to {} has arrived: it is in their mailbox, which is on this node.\r\n", entry.typed)
        }
    };
    format!("{text}\r\n-- \r\nYour Kith node\r\n")
}

/// A value for a machine-readable field: printable ASCII, everything else shown as `?`, bounded.
fn field(text: &str) -> String {
    text.chars().take(512).map(|letter| if (' '..='~').contains(&letter) { letter } else { '?' }).collect()
}

/// RFC 3464 §2.2 and §2.3.
fn machine_words(report: &Report<'_>) -> String {
    let entry = report.entry;
    let seconds = entry.submitted_ms.div_euclid(1000);
    let mut text = String::from("Reporting-MTA: dns; kith.alt\r\n");
    if let Some(envid) = &entry.envid {
        text.push_str(&format!("Original-Envelope-Id: {}\r\n", field(envid)));
    }
    text.push_str(&format!("Arrival-Date: {}\r\n\r\n", Date { date: seconds }.to_rfc822()));
    if let Some(orcpt) = &entry.orcpt {
        text.push_str(&format!("Original-Recipient: {}\r\n", field(orcpt)));
    }
    text.push_str(&format!("Final-Recipient: rfc822; {}\r\n", entry.recipient.mail()));
    text.push_str(&format!("Action: {}\r\nStatus: {}\r\n", report.notice.action(), report.notice.status()));
    match report.notice {
        Notice::Delayed(Some(problem)) | Notice::Failed(problem) => {
            text.push_str(&format!("Diagnostic-Code: x-kith; {}\r\n", field(&problem.to_string())));
        }
        Notice::Delayed(None) | Notice::Delivered | Notice::DeliveredHere => {}
    }
    if matches!(report.notice, Notice::Delayed(_)) {
        let until = seconds.saturating_add(i64::try_from(report.expiry_ms / 1000).unwrap_or(i64::MAX));
        text.push_str(&format!("Will-Retry-Until: {}\r\n", Date { date: until }.to_rfc822()));
    }
    text
}

/// The header block of a mail, without the empty line, bounded.
fn headers_of(mail: &[u8]) -> &[u8] {
    let end = mail.windows(4).position(|four| four == b"\r\n\r\n").map_or(mail.len(), |at| at.saturating_add(2));
    mail.get(..end.min(RETURNED_HEADER_BYTES_MAX)).unwrap_or(mail)
}

/// Writes the report as a mail.
pub fn compose(report: &Report<'_>) -> Vec<u8> {
    let entry = report.entry;
    let mut parts = vec![
        MimePart::new("text/plain", BodyPart::Text(plain_words(report).into())),
        MimePart::new(ContentType::new("message/delivery-status"), BodyPart::Binary(machine_words(report).into_bytes().into()))
            .transfer_encoding("7bit"),
    ];
    if let Some(original) = report.original {
        // A returned mail is 8bit in general, as it was submitted.
        let whole = entry.ret_full && matches!(report.notice, Notice::Failed(_));
        let (kind, bytes) = if whole { ("message/rfc822", original) } else { ("text/rfc822-headers", headers_of(original)) };
        parts.push(MimePart::new(ContentType::new(kind), BodyPart::Binary(bytes.into())).transfer_encoding("8bit"));
    }
    MessageBuilder::new()
        .from(MailAddress::new_address(Some("Kith"), "postmaster@kith.alt"))
        .to(MailAddress::new_address(None::<&str>, report.sender))
        .subject(report.notice.subject(&entry.typed))
        .date(Date { date: report.wall.0.div_euclid(1000) })
        .message_id(format!("{:032x}@kith.alt", report.unique))
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new(
            ContentType::new("multipart/report").attribute("report-type", "delivery-status"),
            BodyPart::Multipart(parts),
        ))
        .write_to_vec()
        // Writing to memory does not fail; if it ever did, the plain words alone are better than nothing.
        .unwrap_or_else(|_| plain_words(report).into_bytes())
}

#[cfg(test)]
mod tests {
    use kith_protocol::address::Address;
    use kith_protocol::event::Progress;
    use kith_protocol::ids::{AccountId, EntryId, MailId};
    use kith_store::queue::Notify;
    use mail_parser::{MessageParser, MimeHeaders as _};

    use super::*;

    fn entry() -> QueueEntry {
        let mut key = [0x66; 32];
        key[0] = 0x58;
        QueueEntry {
            id: EntryId(7),
            account: AccountId(1),
            kind: EntryKind::Mail,
            mid: MailId([7; 16]),
            recipient: Address::from_key(key).unwrap(),
            typed: "bob@kith.alt".into(),
            blob: None,
            submitted_ms: 1_795_000_000_000,
            notify: Notify { success: false, failure: true, delay: true },
            orcpt: Some("rfc822;bob@example.org\r\nAction: delivered".into()),
            envid: Some("QQ314159".into()),
            ret_full: false,
            progress: Progress { age_ms: 90_000_000, ..Progress::default() },
        }
    }

    fn composed(entry: &QueueEntry, notice: &Notice, original: Option<&[u8]>) -> Vec<u8> {
        let wall = Wall(1_795_090_000_000);
        compose(&Report { entry, sender: "anna@kith.alt", notice, original, wall, expiry_ms: 2_592_000_000, unique: 5 })
    }

    #[test]
    fn a_failure_report_is_a_multipart_report_of_three_parts() {
        let original = b"Subject: hello?\r\nX: caf\xc3\xa9\r\n\r\nthe body stays here\r\n";
        let bytes = composed(&entry(), &Notice::Failed(Problem::Unreachable), Some(original));
        let mail = MessageParser::default().parse(&bytes).unwrap();
        let kind = mail.content_type().unwrap();
        assert_eq!(
            (kind.ctype(), kind.subtype(), kind.attribute("report-type")),
            ("multipart", Some("report"), Some("delivery-status"))
        );
        let text = String::from_utf8_lossy(&bytes);
        for wanted in [
            "Action: failed",
            "Status: 5.4.7",
            "Original-Envelope-Id: QQ314159",
            "Reporting-MTA: dns; kith.alt",
            "Subject: hello?",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("the body stays here"), "headers only, unless RET=FULL asked for more");
        assert!(!text.contains("\nAction: delivered"), "a field cannot be smuggled in");
    }

    #[test]
    fn the_whole_mail_comes_back_where_it_was_asked_for() {
        let entry = QueueEntry { ret_full: true, ..entry() };
        let bytes = composed(&entry, &Notice::Failed(Problem::NoReceipt), Some(b"Subject: x\r\n\r\nthe body\r\n"));
        assert!(String::from_utf8_lossy(&bytes).contains("the body\r\n"));
    }

    /// Their node said that it has the mail: nobody is told that it failed.
    #[test]
    fn what_their_node_took_is_not_said_to_have_failed() {
        let bytes = composed(&entry(), &Notice::Failed(Problem::NoReceipt), None);
        let text = String::from_utf8_lossy(&bytes);
        for wanted in ["Action: relayed", "Status: 2.1.9", "Subject: Not confirmed"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("failed"), "{text}");
    }

    #[test]
    fn nobody_is_told_what_they_did_not_want_to_know() {
        let mut entry = entry();
        assert!(Notice::Delayed(None).wanted(&entry) && !Notice::Delivered.wanted(&entry));
        entry.notify = Notify { success: true, failure: false, delay: false };
        assert!(Notice::Delivered.wanted(&entry) && !Notice::Failed(Problem::Broken).wanted(&entry));
        entry.kind = EntryKind::Card;
        assert!(!Notice::Delivered.wanted(&entry));
    }

    #[test]
    fn a_delay_notice_says_until_when_the_node_tries() {
        let bytes = composed(&entry(), &Notice::Delayed(Some(Problem::NoCard)), None);
        let text = String::from_utf8_lossy(&bytes);
        for wanted in ["Action: delayed", "Will-Retry-Until:", "has waited for 25 hours", "until 30 days after"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
