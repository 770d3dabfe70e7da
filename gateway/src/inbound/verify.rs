//! Finding out who a mail is from: SPF, DKIM, DMARC, ARC and the client's name, by mail-auth, in bounded time.
//!
//! What the DNS does not answer in time is [`Outcome::TempError`]: each question waits for the patience given, [`PATIENCE`] as a rule, and a mail for at most five of them
//! one after the other.

mod records;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, IprevOutput, IprevResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use tokio::time::timeout;

use super::author::{Author, domain_of};
use super::fields::{fields, header, without};
use super::verdict::{Arc, Dkim, Dmarc, Envelope, Iprev, Outcome, Request, Spf, Verdict};
use crate::dns::{self, DnsSettings, DnsSettingsError};

/// Longest that one of the five may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Signatures of a mail; one with more is looked at as if it had none: each costs a look-up, and a pass over the mail.
pub const SIGNATURES_MAX: usize = 16;
/// Fields of seals of a mail: three for each of the 50 that RFC 8617 §4.2.1 allows, of which honest mails have few.
const SEAL_FIELDS_MAX: usize = 3 * 50;

/// A resolver that asks these servers; the system's where there are none. It checks no signatures of the DNS: nothing that is asked for here needs them.
///
/// # Errors
/// The system's settings cannot be read, or there are too many servers.
pub fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, DnsSettingsError> {
    dns::resolver(&DnsSettings { servers: servers.to_vec(), dnssec: false, trust_anchor: None })
}

/// Finds out who mails are from. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    authenticator: MessageAuthenticator,
    name: String,
    patience: Duration,
}

impl core::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Verifier").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that asks `resolver`; `name` is what this machine calls itself, which SPF macros may ask for. `patience` as [`PATIENCE`].
    #[must_use]
    pub fn new(resolver: TokioResolver, name: &str, patience: Duration) -> Self {
        Self { authenticator: MessageAuthenticator(resolver), name: name.to_owned(), patience }
    }

    /// Looks at a whole mail as it came, without what was put on top here.
    pub async fn verify(&self, mail: &[u8], envelope: &Envelope<'_>) -> Verdict {
        let head = header(mail);
        let author = Author::of(head);
        let ip = envelope.ip.to_canonical();
        let (spf_output, iprev) = tokio::join!(self.spf_output(ip, envelope.helo, envelope.reverse_path), self.iprev(ip));
        let spf_domain = match envelope.reverse_path.rsplit_once('@') {
            Some((_, domain)) => domain,
            None => envelope.helo,
        };
        let found = spf_output.as_ref().map_or(Outcome::TempError, spf_outcome);
        let outcome = self.strictly(spf_domain, found).await;
        let spf_output = if outcome == found {
            spf_output
        } else {
            Some(SpfOutput::new(spf_domain.to_owned()).with_result(SpfResult::PermError))
        };
        let bare;
        let looked_at = if is_reasonable(head) {
            mail
        } else {
            let is_seal = |field: &super::fields::Field<'_>| field.is("DKIM-Signature") || is_seal(field);
            bare = [without(head, is_seal).0, b"\r\n".to_vec()].concat();
            &bare
        };
        let mut author = author;
        let (dkim, dmarc, arc) = match AuthenticatedMessage::parse(looked_at) {
            None => (Vec::new(), DmarcOutput::default(), None),
            Some(message) => {
                if !agrees(&author, &message) {
                    author = Author::Malformed;
                }
                self.header_side(&message, spf_domain, spf_output.as_ref()).await
            }
        };
        let dkim = if is_reasonable(head) { dkim } else { vec![too_many()] };
        let spf = Spf { outcome, domain: spf_domain.to_lowercase() };
        let mut dmarc = dmarc_verdict(&dmarc, &author);
        if dmarc.outcome != Outcome::None && self.texts(&format!("_dmarc.{}", dmarc.domain), records::is_dmarc).await.len() > 1 {
            // RFC 9989 §4.10: several records are none.
            dmarc = Dmarc { outcome: Outcome::None, request: Request::None, ..dmarc };
        }
        Verdict { dmarc, author, spf, dkim, arc: arc.unwrap_or_else(no_arc), iprev }
    }

    /// An SPF result, unless the record has an error of syntax (RFC 7208 §4.6).
    async fn strictly(&self, domain: &str, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::None | Outcome::TempError | Outcome::PermError) {
            return outcome;
        }
        match self.texts(domain, records::is_spf).await.as_slice() {
            [record] if !records::spf_is_sound(record) => Outcome::PermError,
            _ => outcome,
        }
    }

    /// The texts of a kind at a name: mail-auth has asked for them a moment ago, and the resolver remembers. None where it does not answer.
    async fn texts(&self, name: &str, is_kind: fn(&str) -> bool) -> Vec<String> {
        let lookup = self.authenticator.resolver().lookup(format!("{name}."), RecordType::TXT);
        let Ok(Ok(answer)) = timeout(self.patience, lookup).await else { return Vec::new() };
        let texts = answer.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|piece| String::from_utf8_lossy(piece)).collect::<String>()),
            _ => None,
        });
        texts.filter(|text| is_kind(text)).collect()
    }

    /// What the world would say of a mail from this address: SPF alone.
    pub async fn spf(&self, ip: IpAddr, helo: &str, reverse_path: &str) -> Outcome {
        let outcome =
            self.spf_output(ip.to_canonical(), helo, reverse_path).await.as_ref().map_or(Outcome::TempError, spf_outcome);
        self.strictly(reverse_path.rsplit_once('@').map_or(helo, |(_, domain)| domain), outcome).await
    }

    async fn spf_output(&self, ip: IpAddr, helo: &str, reverse_path: &str) -> Option<SpfOutput> {
        let parameters = if reverse_path.is_empty() {
            SpfParameters::verify_ehlo(ip, helo, &self.name)
        } else {
            SpfParameters::verify_mail_from(ip, helo, &self.name, reverse_path)
        };
        timeout(self.patience, self.authenticator.verify_spf(parameters)).await.ok()
    }

    /// Whether an address has a name that has this address.
    async fn iprev(&self, ip: IpAddr) -> Iprev {
        let Ok(IprevOutput { result, ptr }) = timeout(self.patience, self.authenticator.verify_iprev(ip)).await else {
            return Iprev { outcome: Outcome::TempError, name: String::new() };
        };
        let outcome = match result {
            IprevResult::Pass => Outcome::Pass,
            IprevResult::Fail(_) => Outcome::Fail,
            IprevResult::TempError(_) => Outcome::TempError,
            IprevResult::PermError(_) => Outcome::PermError,
            IprevResult::None => Outcome::None,
        };
        let name = ptr.as_deref().and_then(<[_]>::first).map_or_else(String::new, |name| name.trim_end_matches('.').to_owned());
        Iprev { outcome, name }
    }

    async fn header_side(
        &self,
        message: &AuthenticatedMessage<'_>,
        spf_domain: &str,
        spf: Option<&SpfOutput>,
    ) -> (Vec<Dkim>, DmarcOutput, Option<Arc>) {
        let dkim = timeout(self.patience, self.authenticator.verify_dkim(message));
        let arc = timeout(self.patience, self.authenticator.verify_arc(message));
        let (dkim, arc) = tokio::join!(dkim, arc);
        let late = dkim.is_err() || spf.is_none();
        let outputs = dkim.unwrap_or_default();
        let nothing = SpfOutput::default();
        let parameters = DmarcParameters::new(message, &outputs, spf_domain, spf.unwrap_or(&nothing));
        let dmarc = timeout(self.patience, self.authenticator.verify_dmarc(parameters)).await;
        let later = || mail_auth::Error::Dns(mail_auth::DnsError::Resolver("no answer in time".to_owned()));
        let dmarc = match dmarc {
            Err(_) => DmarcOutput::default().with_spf_result(DmarcResult::TempError(later())),
            // What did not answer might have passed.
            Ok(output) if late && !matches!(output.result(), DmarcResult::Pass | DmarcResult::None) => {
                output.with_spf_result(DmarcResult::TempError(later()))
            }
            Ok(output) => output,
        };
        let signatures = if late && outputs.is_empty() && !message.dkim_headers.is_empty() {
            vec![Dkim { outcome: Outcome::TempError, reason: "no answer in time".into(), ..too_many() }]
        } else {
            outputs.iter().filter_map(dkim_verdict).collect()
        };
        let arc = arc.map_or_else(|_| Some(Arc { outcome: Outcome::TempError, sealer: String::new() }), |arc| arc_verdict(&arc));
        (signatures, dmarc, arc)
    }
}

/// Whether mail-auth, which looks up the author's domain, reads the same author as [`Author`]: where two readers differ, a third one shows yet another.
fn agrees(author: &Author, message: &AuthenticatedMessage<'_>) -> bool {
    match author {
        Author::Of { domain, .. } => {
            let same = |address: &String| domain_of(address).as_ref() == Some(domain);
            !message.from.is_empty() && message.from.iter().all(same)
        }
        _ => true,
    }
}

fn is_seal(field: &super::fields::Field<'_>) -> bool {
    ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"].iter().any(|name| field.is(name))
}

fn is_reasonable(head: &[u8]) -> bool {
    let signatures = fields(head).filter(|field| field.is("DKIM-Signature")).count();
    signatures <= SIGNATURES_MAX && fields(head).filter(is_seal).count() <= SEAL_FIELDS_MAX
}

fn too_many() -> Dkim {
    Dkim {
        outcome: Outcome::PermError,
        domain: String::new(),
        selector: String::new(),
        beginning: String::new(),
        reason: "too many signatures".into(),
    }
}

fn no_arc() -> Arc {
    Arc { outcome: Outcome::None, sealer: String::new() }
}

fn spf_outcome(output: &SpfOutput) -> Outcome {
    match output.result() {
        SpfResult::Pass => Outcome::Pass,
        SpfResult::Fail => Outcome::Fail,
        SpfResult::SoftFail => Outcome::SoftFail,
        SpfResult::Neutral => Outcome::Neutral,
        SpfResult::TempError => Outcome::TempError,
        SpfResult::PermError => Outcome::PermError,
        SpfResult::None => Outcome::None,
    }
}

fn outcome(result: &DkimResult) -> (Outcome, String) {
    match result {
        DkimResult::Pass => (Outcome::Pass, String::new()),
        DkimResult::Neutral(why) => (Outcome::Neutral, why.to_string()),
        DkimResult::Fail(why) => (Outcome::Fail, why.to_string()),
        DkimResult::PermError(why) => (Outcome::PermError, why.to_string()),
        DkimResult::TempError(why) => (Outcome::TempError, why.to_string()),
        DkimResult::None => (Outcome::None, String::new()),
    }
}

fn dkim_verdict(output: &DkimOutput<'_>) -> Option<Dkim> {
    let (outcome, reason) = outcome(output.result());
    if outcome == Outcome::None && output.signature().is_none() {
        return None;
    }
    let signature = output.signature();
    Some(Dkim {
        outcome,
        domain: signature.map_or_else(String::new, |signature| signature.d.to_lowercase()),
        selector: signature.map_or_else(String::new, |signature| signature.s.clone()),
        beginning: signature.map_or_else(String::new, |signature| beginning(&signature.b)),
        reason,
    })
}

/// RFC 6008: the first characters of `b=`.
fn beginning(signature: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(signature.get(..6).unwrap_or(signature))
}

fn dmarc_verdict(output: &DmarcOutput, author: &Author) -> Dmarc {
    let outcome = match output.result() {
        DmarcResult::Pass => Outcome::Pass,
        DmarcResult::Fail(_) => Outcome::Fail,
        DmarcResult::TempError(_) => Outcome::TempError,
        DmarcResult::PermError(_) => Outcome::PermError,
        DmarcResult::None => Outcome::None,
    };
    let request = match output.policy() {
        Policy::Quarantine => Request::Quarantine,
        Policy::Reject => Request::Reject,
        Policy::None | Policy::Unspecified => Request::None,
    };
    let domain = match author {
        Author::Of { domain, .. } => domain.clone(),
        _ => String::new(),
    };
    Dmarc { outcome, request, domain }
}

fn arc_verdict(output: &ArcOutput<'_>) -> Option<Arc> {
    let (outcome, _) = outcome(output.result());
    if outcome == Outcome::None {
        return None;
    }
    let sealer = output.sets().last().map_or_else(String::new, |set| set.seal.header.d.to_lowercase());
    Some(Arc { outcome, sealer })
}
