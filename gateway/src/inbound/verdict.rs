//! What was found out about where a mail is from.

use super::author::Author;

/// A result, as RFC 8601 §2.7 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// SPF: probably not.
    SoftFail,
    /// It says nothing.
    Neutral,
    /// There is nothing to check.
    None,
    /// It could not be checked now: the DNS failed or took too long.
    TempError,
    /// It cannot be checked: what is there is wrong.
    PermError,
}

impl Outcome {
    /// The word of RFC 8601.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// What is known of the SMTP side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The client's address.
    pub ip: std::net::IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// Empty for `<>`.
    pub reverse_path: &'a str,
}

/// SPF (RFC 7208).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spf {
    /// The result.
    pub outcome: Outcome,
    /// Whose record it is about: the reverse-path's domain, or for `<>` the HELO name.
    pub domain: String,
}

/// One signature (RFC 6376).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The result.
    pub outcome: Outcome,
    /// `d=`, lower case.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// The beginning of `b=`, which tells signatures apart.
    pub beginning: String,
    /// Why it does not hold; empty where it does.
    pub reason: String,
}

/// What a domain asks to be done (RFC 9989 §4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing, or there is no record.
    None,
    /// To be put where it is not taken for genuine.
    Quarantine,
    /// Not to be accepted.
    Reject,
}

/// DMARC (RFC 9989).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmarc {
    /// `None` where the author's domain has no record.
    pub outcome: Outcome,
    /// What the domain asks for when it does not pass.
    pub request: Request,
    /// The author's domain; empty where there is not exactly one.
    pub domain: String,
}

/// The chain of those who passed the mail on (RFC 8617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arc {
    /// `None` where there is no chain.
    pub outcome: Outcome,
    /// Who sealed it last; empty without a chain.
    pub sealer: String,
}

/// Whether the client's address has a name that has this address (RFC 8601 §2.7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iprev {
    /// The result.
    pub outcome: Outcome,
    /// The name; empty where there is none.
    pub name: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who wrote it, by its header.
    pub author: Author,
    /// The envelope's domain.
    pub spf: Spf,
    /// Each signature that was looked at.
    pub dkim: Vec<Dkim>,
    /// Author's domain against both.
    pub dmarc: Dmarc,
    /// Those in between.
    pub arc: Arc,
    /// The client.
    pub iprev: Iprev,
}

impl Verdict {
    /// Whether a domain vouches for the mail: by SPF for the envelope, or by a signature that holds.
    #[must_use]
    pub fn vouches(&self, domain: &str) -> bool {
        let spf = self.spf.outcome == Outcome::Pass && self.spf.domain.eq_ignore_ascii_case(domain);
        spf || self.dkim.iter().any(|dkim| dkim.outcome == Outcome::Pass && dkim.domain.eq_ignore_ascii_case(domain))
    }

    /// Whether any signature holds.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.dkim.iter().any(|dkim| dkim.outcome == Outcome::Pass)
    }
}
