//! What becomes of a mail that is complete: accepted, put with the junk, refused, or not now. Whoever sent it is still there to hear it, so that nobody
//! else is ever told.

use serde::Deserialize;

use super::author::{Author, domain_of};
use super::trace::{self, Loop};
use super::verdict::{Outcome, Request, Verdict};

/// What a person can set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where DMARC cannot be checked since the DNS fails, the sender is told to come again.
    pub wait_for_dns: bool,
    /// Domains of forwarders (mailing lists) whose seal counts when DMARC fails.
    pub trusted_forwarders: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wait_for_dns: true, trusted_forwarders: Vec::new() }
    }
}

/// What is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// Its header, as it came.
    pub header: &'a [u8],
    /// Empty for `<>`.
    pub reverse_path: &'a str,
    /// Addresses as the client named them.
    pub recipients: &'a [&'a str],
    /// What was found out.
    pub verdict: &'a Verdict,
}

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub struct House<'a> {
    /// Our own domains, lower case.
    pub domains: &'a [String],
}

/// Why a mail is put with the junk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its author's domain asks for it (DMARC).
    Quarantine,
    /// The reverse-path's domain disowns it, and nobody else vouches for it.
    Disowned,
    /// Its authors are of several domains, of which none vouches.
    SeveralAuthors,
}

/// Why a mail is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It goes round in circles.
    #[error(transparent)]
    Loop(Loop),
    /// No From field, several, or one that names nobody.
    #[error("the mail must have one From field with an address (RFC 5322)")]
    Author,
    /// It claims to be from here, and is not.
    #[error("the mail claims to be from {0}, whose mail leaves from here; it did not")]
    Spoofed(String),
    /// Its author's domain asks for it.
    #[error("the mail claims to be from {0}, whose policy is to refuse such mail (DMARC)")]
    Dmarc(String),
    /// The DNS fails.
    #[error("the policy of {0} cannot be looked up at the moment; try again later")]
    Later(String),
}

impl Refused {
    /// Code and enhanced code (RFC 3463, RFC 7372); the sentence is [`ToString`]'s.
    #[must_use]
    pub fn codes(&self) -> (u16, &'static str) {
        match self {
            Self::Loop(_) => (554, "5.4.6"),
            Self::Author => (550, "5.6.0"),
            Self::Spoofed(_) | Self::Dmarc(_) => (550, "5.7.1"),
            Self::Later(_) => (451, "4.7.5"),
        }
    }
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// To the inbox.
    Accept,
    /// To the junk.
    Junk(Doubt),
    /// Refused, or not now.
    Refuse(Refused),
}

/// Decides.
#[must_use]
pub fn judge(settings: &Settings, house: &House<'_>, mail: &Mail<'_>) -> Judgement {
    match refusal(settings, house, mail) {
        Some(refused) => Judgement::Refuse(refused),
        None => doubt(settings, mail.verdict).map_or(Judgement::Accept, Judgement::Junk),
    }
}

fn refusal(settings: &Settings, house: &House<'_>, mail: &Mail<'_>) -> Option<Refused> {
    if let Err(circle) = trace::check(mail.header, mail.recipients) {
        return Some(Refused::Loop(circle));
    }
    let verdict = mail.verdict;
    if let Author::Missing | Author::Repeated | Author::Malformed = verdict.author {
        return Some(Refused::Author);
    }
    let envelope = domain_of(mail.reverse_path);
    let claimed =
        verdict.author.domains().iter().chain(&envelope).find(|domain| is_ours(house, domain) && !verdict.vouches(domain));
    if let Some(domain) = claimed {
        return Some(Refused::Spoofed(domain.clone()));
    }
    let dmarc = &verdict.dmarc;
    match dmarc.outcome {
        Outcome::Fail | Outcome::PermError if dmarc.request == Request::Reject && !is_forwarded(settings, verdict) => {
            Some(Refused::Dmarc(dmarc.domain.clone()))
        }
        Outcome::TempError if settings.wait_for_dns => Some(Refused::Later(dmarc.domain.clone())),
        _ => None,
    }
}

fn doubt(settings: &Settings, verdict: &Verdict) -> Option<Doubt> {
    let dmarc = &verdict.dmarc;
    if let Author::Several(domains) = &verdict.author
        && !domains.iter().any(|domain| verdict.vouches(domain))
    {
        return Some(Doubt::SeveralAuthors);
    }
    if is_forwarded(settings, verdict) {
        return None;
    }
    let failed = matches!(dmarc.outcome, Outcome::Fail | Outcome::PermError);
    if failed && dmarc.request != Request::None {
        return Some(Doubt::Quarantine);
    }
    let disowned = verdict.spf.outcome == Outcome::Fail && dmarc.outcome != Outcome::Pass && !verdict.is_signed();
    disowned.then_some(Doubt::Disowned)
}

/// Ours, or below ours: a household's mail has no other hosts to come from.
fn is_ours(house: &House<'_>, domain: &str) -> bool {
    house.domains.iter().any(|own| domain == own || domain.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.')))
}

fn is_forwarded(settings: &Settings, verdict: &Verdict) -> bool {
    let trusted = || settings.trusted_forwarders.iter().any(|one| one.eq_ignore_ascii_case(&verdict.arc.sealer));
    verdict.arc.outcome == Outcome::Pass && trusted()
}

#[cfg(test)]
mod tests;
