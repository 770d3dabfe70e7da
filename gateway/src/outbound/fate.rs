//! What became of a mail, for each recipient: the types that the queue acts on.

use std::fmt;
use std::time::Duration;

use crate::dns::mx::NoRoute;
use crate::printable;
use crate::secret::SecretError;

/// What is kept of a host's answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 500;

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Enhanced {
    /// The code that a text begins with, if its class fits the reply code (RFC 2034 §4).
    pub fn leading(code: u16, text: &str) -> Option<Enhanced> {
        let word = text.split_ascii_whitespace().next()?;
        let mut parts = word.split('.');
        let mut number =
            || parts.next().filter(|part| !part.is_empty() && part.len() <= 3).and_then(|part| part.parse::<u16>().ok());
        let (class, subject, detail) = (number()?, number()?, number()?);
        let class = u8::try_from(class).ok()?;
        (parts.next().is_none() && u16::from(class) == code / 100).then_some(Enhanced(class, subject, detail))
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What a host said: its code and its words on one line, printable, cut at [`ANSWER_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The reply code, 200 to 599.
    pub code: u16,
    /// The enhanced code, if there was one.
    pub enhanced: Option<Enhanced>,
    /// The words, without the reply code, with the enhanced one.
    pub text: String,
}

impl Answer {
    /// From a code and the words that came with it.
    pub fn new(code: u16, text: &str) -> Answer {
        let text = printable(text, ANSWER_BYTES_MAX);
        Answer { code, enhanced: Enhanced::leading(code, &text), text }
    }

    /// Whether it says yes.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it says "not now".
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

/// How the way to a host was protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Not at all.
    Clear,
    /// TLS with whoever answered.
    Encrypted,
    /// TLS, and the host's certificate holds for its name by the certificate authorities.
    Named,
    /// TLS, and the domain's own policy (MTA-STS) vouches for host and name.
    MtaSts,
    /// TLS, and the signed DNS vouches for the certificate (DANE).
    Dane,
}

/// Whether the far side tells the sender what becomes of the mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reports {
    /// What was asked for by DSN parameters was passed on: the far side reports.
    PassedOn,
    /// The far side does not offer DSN (RFC 3461 §5.2.2): where the sender asked for a report of success, this node must write one that says `relayed`.
    NotOffered,
}

/// What became of a mail for one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// A host has taken responsibility for it.
    Delivered {
        /// The host's name.
        host: String,
        /// What it said.
        answer: Answer,
        /// Who reports from here on.
        reports: Reports,
        /// How the way was protected.
        protection: Protection,
    },
    /// Try again later.
    Later(Trouble),
    /// It will not help to try again.
    Failed(Trouble),
    /// The whole mail was handed over, and the connection went before the answer came. It may have been taken: try again, at the risk of one double
    /// (RFC 5321 §4.5.3.2.6, RFC 1047). The caller counts these.
    Unknown {
        /// The host's name.
        host: String,
    },
}

/// Why a mail was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What happened.
    pub why: Why,
    /// Where, if it got so far.
    pub host: Option<String>,
    /// What was said there.
    pub answer: Option<Answer>,
}

impl Trouble {
    /// Before any host was reached.
    pub fn here(why: Why) -> Trouble {
        Trouble { why, host: None, answer: None }
    }

    /// At a host, without its words.
    pub fn at(host: &str, why: Why) -> Trouble {
        Trouble { why, host: Some(host.to_owned()), answer: None }
    }

    /// By a host's words.
    pub fn said(host: &str, why: Why, answer: Answer) -> Trouble {
        Trouble { why, host: Some(host.to_owned()), answer: Some(answer) }
    }

    /// The status for a DSN (RFC 3464 §2.3.4): the far side's if it fits, else what the reason stands for. `class` is 4 or 5.
    pub fn status(&self, class: u8) -> Enhanced {
        let said = self.answer.as_ref().and_then(|answer| answer.enhanced).filter(|enhanced| enhanced.0 == class);
        said.unwrap_or_else(|| {
            let (subject, detail) = self.why.status();
            Enhanced(class, subject, detail)
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.answer) {
            (Some(host), Some(answer)) => write!(f, "{} ({host} said: {answer})", self.why),
            (Some(host), None) => write!(f, "{} ({host})", self.why),
            (None, Some(answer)) => write!(f, "{} ({answer})", self.why),
            (None, None) => self.why.fmt(f),
        }
    }
}

/// The reasons, each a sentence for a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Why {
    /// The host said no to this recipient, this sender, this mail or this node; its answer says more.
    #[error("the mail was refused")]
    Refused,
    /// The DNS knows no way, or not for now.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// The DNS gives addresses only that are of this machine or of the local network.
    #[error("the DNS says that the host for this domain is in the local network, which cannot be")]
    LocalAddress,
    /// No connection to any address in time.
    #[error("no host for it could be reached: {0}")]
    Unreachable(String),
    /// The far side closed or broke the connection before the mail was handed over.
    #[error("the connection broke off {0}")]
    Lost(Phase),
    /// The far side did not answer in time.
    #[error("no answer in time {0}")]
    Hung(Phase),
    /// The far side does not speak SMTP as it should.
    #[error("the host does not speak SMTP as it should {0}")]
    Nonsense(Phase),
    /// TLS was to be, and is not offered.
    #[error("the host does not offer TLS, without which mail is not sent to it")]
    NoTls,
    /// The handshake failed, or the certificate is not the right one.
    #[error("no safe connection: {0}")]
    Tls(String),
    /// The domain's MTA-STS policy does not name the host.
    #[error("the domain's policy (MTA-STS) does not name this host")]
    NotInPolicy,
    /// The TLSA records could not be had, or are not the ones that the keys vouch for.
    #[error("whether the host's certificate is the right one cannot be found out: {0}")]
    NoTlsa(String),
    /// Larger than the host says that it takes.
    #[error("the mail has {bytes} bytes, and the host takes {most} at most")]
    TooLarge {
        /// The mail's size.
        bytes: u64,
        /// The most, by its own word.
        most: u64,
    },
    /// The body has 8-bit text and the host does not take that.
    #[error("the host does not take mail with letters beyond ASCII (8BITMIME)")]
    No8Bit,
    /// Header or addresses have UTF-8 and the host does not take that.
    #[error("the host does not take addresses or headers with letters beyond ASCII (SMTPUTF8)")]
    NoUtf8,
    /// User name, password or token are wrong, or of a kind that the host does not know.
    #[error("the mail server refused the user name or password")]
    Credentials,
    /// The password or the token could not be had.
    #[error("the password could not be had: {0}")]
    NoSecret(SecretError),
    /// The destination rests, or has enough mails or connections for now; nothing was tried.
    #[error("the destination is left alone for a while")]
    Resting,
    /// The bound on the whole attempt.
    #[error("it took too long")]
    TookTooLong,
}

impl Why {
    /// Subject and detail of the status code that fits best (RFC 3463 §3).
    fn status(&self) -> (u16, u16) {
        match self {
            Why::Refused | Why::Resting => (0, 0),
            Why::NoRoute(NoRoute::NullMx) => (1, 10),
            Why::NoRoute(NoRoute::NoDomain(_)) => (1, 2),
            Why::NoRoute(NoRoute::Ourselves) => (4, 6),
            Why::NoRoute(NoRoute::Later(_)) => (4, 3),
            Why::LocalAddress => (4, 4),
            Why::Unreachable(_) => (4, 1),
            Why::Lost(_) | Why::Hung(_) => (4, 2),
            Why::Nonsense(_) => (5, 0),
            Why::NoTls | Why::Tls(_) => (7, 10),
            Why::NotInPolicy | Why::NoTlsa(_) => (7, 5),
            Why::TooLarge { .. } => (3, 4),
            Why::No8Bit => (6, 3),
            Why::NoUtf8 => (6, 7),
            Why::Credentials | Why::NoSecret(_) => (7, 8),
            Why::TookTooLong => (4, 7),
        }
    }
}

/// How far a conversation had come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Before the host's first word.
    Greeting,
    /// EHLO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipients,
    /// DATA, before the text.
    Data,
    /// The text.
    Text,
    /// After the last dot.
    End,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Greeting => "at the greeting",
            Phase::Hello => "at EHLO",
            Phase::Tls => "at the TLS handshake",
            Phase::Auth => "at the login",
            Phase::Mail => "at MAIL",
            Phase::Recipients => "at RCPT",
            Phase::Data => "at DATA",
            Phase::Text => "in the middle of the mail",
            Phase::End => "at the end of the mail",
        })
    }
}

/// What became of one attempt to hand a mail to its next hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// One fate for each recipient, in their order.
    pub fates: Vec<Fate>,
    /// What it says of the next hop as a whole.
    pub hop: HopState,
}

/// What an attempt says of the next hop as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopState {
    /// It spoke with us.
    Fine,
    /// It was in trouble, and rests.
    Trouble,
    /// Nothing was tried, for it rests or is busy: this is no attempt of the mail. Come back then.
    Resting {
        /// From now.
        wait: Duration,
    },
    /// It refused our credentials. Every mail for it waits until the settings change, or this long. A person must be told.
    CredentialsRefused {
        /// From now.
        wait: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read_only_where_they_fit() {
        assert_eq!(Answer::new(550, "5.1.1 no such user").enhanced, Some(Enhanced(5, 1, 1)));
        assert_eq!(Answer::new(550, "4.1.1 no such user").enhanced, None);
        assert_eq!(Answer::new(250, "10.0.0.1 hello").enhanced, None);
        assert_eq!(Answer::new(550, "5.1").enhanced, None);
        assert_eq!(Answer::new(550, "5.1.1.1").enhanced, None);
        assert_eq!(Answer::new(550, "").enhanced, None);
    }

    #[test]
    fn what_a_host_says_is_bounded_and_printable() {
        let answer = Answer::new(550, &format!("5.7.1 \u{1b}[31mno\r\n{}", "x".repeat(5_000)));
        assert!(answer.text.len() <= ANSWER_BYTES_MAX && !answer.text.chars().any(char::is_control));
    }

    #[test]
    fn a_report_has_the_far_sides_status_only_if_its_class_fits() {
        let said = Trouble::said("mx.example", Why::Refused, Answer::new(550, "5.1.1 who?"));
        assert_eq!(said.status(5), Enhanced(5, 1, 1));
        assert_eq!(said.status(4), Enhanced(4, 0, 0));
        assert_eq!(Trouble::here(Why::NoRoute(NoRoute::NullMx)).status(5), Enhanced(5, 1, 10));
    }
}
