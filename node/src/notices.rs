//! What the node writes to its own people: delay notices, failure and success reports (RFC 3464 in RFC 6522's multipart/report).
//!
//! Plain words first, then the same for machines, then the mail it is about (its headers, or all of it where RET=FULL asked for that).

use kith_protocol::event::{EntryKind, Problem, Wall};
use kith_store::legacy::LegacyEntry;
use kith_store::queue::{Form, Notify, QueueEntry};
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
    /// In the clear: not there yet; what the other side says (Action: delayed).
    LegacyDelayed(Option<String>),
    /// In the clear: given up, or refused for good (Action: failed).
    LegacyFailed {
        /// RFC 3463.
        status: String,
        /// What the other side said, or what is wrong.
        said: String,
    },
    /// In the clear: the other side has it, and does not report what becomes of it (Action: relayed).
    LegacyRelayed(String),
}

/// The most bytes of an original that a report carries back with RET=FULL.
pub const RETURNED_BYTES_MAX: u64 = 1024 * 1024;
/// The most bytes of headers that a report carries back.
pub const RETURNED_HEADER_BYTES_MAX: usize = 64 * 1024;

/// The mail and the recipient that a report is about.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Whom it was for, as the sender typed it.
    pub typed: &'a str,
    /// Whom it was for, as an address.
    pub recipient: String,
    /// Wall ms at submission.
    pub submitted_ms: i64,
    /// How long it has waited, in ms.
    pub age_ms: u64,
    /// RFC 3461 ORCPT.
    pub orcpt: Option<&'a str>,
    /// RFC 3461 ENVID.
    pub envid: Option<&'a str>,
    /// RFC 3461 RET=FULL.
    pub ret_full: bool,
}

impl<'a> From<&'a QueueEntry> for About<'a> {
    fn from(entry: &'a QueueEntry) -> Self {
        Self {
            typed: &entry.typed,
            recipient: if entry.form == Form::Outgoing { entry.typed.clone() } else { entry.recipient.mail() },
            submitted_ms: entry.submitted_ms,
            age_ms: entry.progress.age_ms,
            orcpt: entry.orcpt.as_deref(),
            envid: entry.envid.as_deref(),
            ret_full: entry.ret_full,
        }
    }
}

impl<'a> From<&'a LegacyEntry> for About<'a> {
    fn from(entry: &'a LegacyEntry) -> Self {
        Self {
            typed: &entry.typed,
            recipient: entry.recipient.clone(),
            submitted_ms: entry.submitted_ms,
            age_ms: entry.progress.age_ms,
            orcpt: entry.orcpt.as_deref(),
            envid: entry.envid.as_deref(),
            ret_full: entry.ret_full,
        }
    }
}

/// What a report is made from.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What it is about.
    pub about: About<'a>,
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
        entry.kind == EntryKind::Mail && self.wanted_by(entry.notify)
    }

    /// The same, of what the sender said.
    pub fn wanted_by(&self, notify: Notify) -> bool {
        match self {
            Self::Delayed(_) | Self::LegacyDelayed(_) => notify.delay,
            Self::Failed(_) | Self::LegacyFailed { .. } => notify.failure,
            Self::Delivered | Self::DeliveredHere | Self::LegacyRelayed(_) => notify.success,
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Delayed(_) | Self::LegacyDelayed(_) => "delayed",
            Self::Failed(Problem::NoReceipt) | Self::LegacyRelayed(_) => "relayed",
            Self::Failed(_) | Self::LegacyFailed { .. } => "failed",
            Self::Delivered | Self::DeliveredHere => "delivered",
        }
    }

    fn subject(&self, typed: &str) -> String {
        match self {
            Self::Delayed(_) | Self::LegacyDelayed(_) => format!("Not delivered yet: your mail to {typed}"),
            Self::Failed(Problem::NoReceipt) => format!("Not confirmed: your mail to {typed}"),
            Self::Failed(_) | Self::LegacyFailed { .. } => format!("Not delivered: your mail to {typed}"),
            Self::LegacyRelayed(_) => format!("Handed over: your mail to {typed}"),
            Self::Delivered | Self::DeliveredHere => format!("Delivered: your mail to {typed}"),
        }
    }

    /// RFC 3463.
    fn status(&self) -> &str {
        match self {
            Self::Delivered | Self::DeliveredHere | Self::LegacyRelayed(_) => "2.0.0",
            Self::Delayed(_) | Self::LegacyDelayed(_) => "4.4.7",
            Self::LegacyFailed { status, .. } => status,
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
                | Problem::NoDirectWay
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
    let About { typed, age_ms, .. } = &report.about;
    let waited = spoken(*age_ms);
    let because = |problem: &Problem| format!("The reason as far as this node knows: {problem}.");
    let late = |reason: String| {
        format!(
            "Your mail to {typed} has not arrived yet; it has waited for {waited}.\r\n\r\n{reason}\r\n\r\nYou need not do anything: your node goes on trying by itself, whenever the\r\nother side can be reached, until {} after you sent it. You will be told if it\r\ngives up. `kith queue` shows what it is doing.\r\n",
            spoken(report.expiry_ms),
        )
    };
    let text = match report.notice {
        Notice::Delayed(problem) => {
            late(problem.as_ref().map_or_else(|| "The other side could not be reached so far.".to_owned(), because))
        }
        Notice::LegacyDelayed(said) => late(match said {
            Some(said) => format!("Their mail server, or the way there, says:\r\n  {}", field(said)),
            None => "Their mail server could not be reached so far.".to_owned(),
        }),
        Notice::Failed(Problem::NoReceipt) => format!(
            "Their node took your mail to {typed}, and has not confirmed for {waited}\r\nthat it is in the mailbox. Most likely it is: your node stops asking.\r\n\r\nAsk them another way before you send it again.\r\n",
        ),
        Notice::Failed(problem) => format!(
            "Your mail to {typed} could not be delivered, and your node has given up after\r\n{waited}. Nobody else was told.\r\n\r\n{}\r\n\r\nPerhaps the address is no longer in use, or the other node has been off all\r\nthe time. Ask them another way, then send it again.\r\n",
            because(problem),
        ),
        Notice::LegacyFailed { said, .. } => format!(
            "Your mail to {typed} could not be delivered; your node has given up after\r\n{waited}. The mail server of the recipient, or the way there, says:\r\n\r\n  {}\r\n",
            field(said)
        ),
        Notice::Delivered => {
            format!("Your mail to {typed} has arrived: their node has filed it in their mailbox and says so.\r\n")
        }
        Notice::DeliveredHere => {
            format!("Your mail to {typed} has arrived: it is in their mailbox, which is on this node.\r\n")
        }
        Notice::LegacyRelayed(said) => format!(
            "Your mail to {typed} was taken by their mail server, or the next on the way, which\r\ndoes not report what becomes of it. It said:\r\n\r\n  {}\r\n",
            field(said)
        ),
    };
    format!("{text}\r\n-- \r\nYour Kith node\r\n")
}

/// A value for a machine-readable field: printable ASCII, everything else shown as `?`, bounded.
fn field(text: &str) -> String {
    text.chars().take(512).map(|letter| if (' '..='~').contains(&letter) { letter } else { '?' }).collect()
}

/// RFC 3464 §2.2 and §2.3.
fn machine_words(report: &Report<'_>) -> String {
    let about = &report.about;
    let seconds = about.submitted_ms.div_euclid(1000);
    let mut text = String::from("Reporting-MTA: dns; kith.alt\r\n");
    if let Some(envid) = about.envid {
        text.push_str(&format!("Original-Envelope-Id: {}\r\n", field(envid)));
    }
    text.push_str(&format!("Arrival-Date: {}\r\n\r\n", Date { date: seconds }.to_rfc822()));
    if let Some(orcpt) = about.orcpt {
        text.push_str(&format!("Original-Recipient: {}\r\n", field(orcpt)));
    }
    text.push_str(&format!("Final-Recipient: rfc822; {}\r\n", field(&about.recipient)));
    text.push_str(&format!("Action: {}\r\nStatus: {}\r\n", report.notice.action(), field(report.notice.status())));
    match report.notice {
        Notice::Delayed(Some(problem)) | Notice::Failed(problem) => {
            text.push_str(&format!("Diagnostic-Code: x-kith; {}\r\n", field(&problem.to_string())));
        }
        Notice::LegacyDelayed(Some(said)) | Notice::LegacyFailed { said, .. } | Notice::LegacyRelayed(said) => {
            text.push_str(&format!("Diagnostic-Code: smtp; {}\r\n", field(said)));
        }
        Notice::Delayed(None) | Notice::LegacyDelayed(None) | Notice::Delivered | Notice::DeliveredHere => {}
    }
    if matches!(report.notice, Notice::Delayed(_) | Notice::LegacyDelayed(_)) {
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
    let about = &report.about;
    let mut parts = vec![
        MimePart::new("text/plain", BodyPart::Text(plain_words(report).into())),
        MimePart::new(ContentType::new("message/delivery-status"), BodyPart::Binary(machine_words(report).into_bytes().into()))
            .transfer_encoding("7bit"),
    ];
    if let Some(original) = report.original {
        // A returned mail is 8bit in general, as it was submitted.
        let whole = about.ret_full && matches!(report.notice, Notice::Failed(_) | Notice::LegacyFailed { .. });
        let (kind, bytes) = if whole { ("message/rfc822", original) } else { ("text/rfc822-headers", headers_of(original)) };
        parts.push(MimePart::new(ContentType::new(kind), BodyPart::Binary(bytes.into())).transfer_encoding("8bit"));
    }
    MessageBuilder::new()
        .from(MailAddress::new_address(Some("Kith"), "postmaster@kith.alt"))
        .to(MailAddress::new_address(None::<&str>, report.sender))
        .subject(report.notice.subject(about.typed))
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

/// A short mail of the node's own to one of its people, by the name of the account; `unique` makes its Message-ID.
pub fn word(name: &str, subject: &str, text: &str, wall: Wall, unique: u128) -> Vec<u8> {
    let text = format!("{}\r\n-- \r\nYour Kith node\r\n", text.trim_start());
    MessageBuilder::new()
        .from(MailAddress::new_address(Some("Kith"), "postmaster@kith.alt"))
        .to(MailAddress::new_address(None::<&str>, format!("{name}@kith.alt")))
        .subject(subject)
        .date(Date { date: wall.0.div_euclid(1000) })
        .message_id(format!("{unique:032x}@kith.alt"))
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(text.as_str())
        .write_to_vec()
        // As above.
        .unwrap_or_else(|_| text.into_bytes())
}

#[cfg(test)]
mod tests {
    use kith_protocol::address::Address;
    use kith_protocol::event::Progress;
    use kith_protocol::ids::{AccountId, EntryId, MailId};
    use mail_parser::{MessageParser, MimeHeaders as _};

    use super::*;

    fn entry() -> QueueEntry {
        let mut key = [0x66; 32];
        key[0] = 0x58;
        QueueEntry {
            id: EntryId(7),
            account: AccountId(1),
            kind: EntryKind::Mail,
            also: Vec::new(),
            form: Form::Mail,
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
        compose(&Report {
            about: entry.into(),
            sender: "anna@kith.alt",
            notice,
            original,
            wall,
            expiry_ms: 2_592_000_000,
            unique: 5,
        })
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
