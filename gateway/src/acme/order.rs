//! One certificate from its authority (RFC 8555 §7.4): the account, the order, the proof that the name leads here, the request, the chain. The protocol is
//! rustls-acme's; when it is spoken, how long, and what its errors mean is decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ClientConfig;
use rustls_acme::acme::{Account, AcmeError, Auth, AuthStatus, Challenge, Directory, Identifier, OrderStatus, Problem};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::challenge::{Challenges, Showing, Way};
use super::plan::Cause;
use crate::outbound::trust::Roots;

/// All of it.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a step is repeated whose nonce the authority does not like (RFC 8555 §6.5).
const NONCES_MAX: usize = 6;
/// How often it is asked whether it is done with a name, or with a certificate; the pauses are seconds and double.
const LOOKS_MAX: u32 = 6;
/// The longest chain that is taken, in bytes.
const CHAIN_BYTES_MAX: usize = 48 * 1024;

/// Who gives certificates out, and as whom it knows us.
#[derive(Clone, Debug)]
pub struct Authority {
    directory: String,
    contact: Vec<String>,
    tls: Arc<ClientConfig>,
}

/// Why there is no certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{said}")]
pub struct NotIssued {
    /// What it means for the next try.
    pub cause: Cause,
    /// What a person can make of it, a sentence without the dot.
    pub said: String,
}

impl Authority {
    /// The authority at this directory, `https://…`; who to write to when something is wrong with a certificate, a plain mail address; by which
    /// roots its web server is believed.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(directory: &str, contact: Option<&str>, roots: &Roots) -> Result<Self, rustls::Error> {
        let tls = ClientConfig::builder_with_provider(roots.provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.store())
            .with_no_client_auth();
        let contact = contact.iter().map(|address| format!("mailto:{address}")).collect();
        Ok(Self { directory: directory.to_owned(), contact, tls: Arc::new(tls) })
    }

    /// What a person calls it.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.directory.split_once("://").map_or(self.directory.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or(rest)
    }
}

/// A new key to be known by, PKCS #8.
#[must_use]
pub fn account_key() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Account::generate_key_pair())
}

/// A certificate for `name`, with its new key before it, PEM. To be called by somebody who has agreed to the authority's terms: the account is made
/// where there is none.
///
/// # Errors
/// [`NotIssued`], within three minutes.
pub async fn order(
    authority: &Authority,
    account_key: &[u8],
    name: &str,
    way: Way,
    challenges: &Challenges,
) -> Result<Zeroizing<String>, NotIssued> {
    let talk = Talk { authority, name, way, challenges, checked: AtomicBool::new(false) };
    let outcome = timeout(PATIENCE, talk.order(account_key)).await.unwrap_or_else(|_| {
        let said = format!("{} did not come to an end within {} seconds", authority.host(), PATIENCE.as_secs());
        Err(NotIssued { cause: Cause::Unreachable, said })
    });
    outcome.map_err(|failure| match failure.cause {
        // It may count as a check of the name over there.
        Cause::Unreachable if talk.checked.load(Ordering::Relaxed) => NotIssued { cause: Cause::Interrupted, ..failure },
        _ => failure,
    })
}

struct Talk<'a> {
    authority: &'a Authority,
    name: &'a str,
    way: Way,
    challenges: &'a Challenges,
    /// Whether the authority was told to look whether the name leads here.
    checked: AtomicBool,
}

/// One step, repeated with another nonce where the authority wants that.
async fn step<T, F: Future<Output = Result<T, AcmeError>>>(ask: impl Fn() -> F) -> Result<T, AcmeError> {
    for _ in 1..NONCES_MAX {
        match ask().await {
            Err(error) if problem(&error).is_some_and(|problem| kind(&problem) == "badNonce") => {}
            outcome => return outcome,
        }
    }
    ask().await
}

impl Talk<'_> {
    async fn order(&self, account_key: &[u8]) -> Result<Zeroizing<String>, NotIssued> {
        let (tls, failed) = (&self.authority.tls, |error| self.failed(&error));
        let account = step(|| async {
            let directory = Directory::discover(tls, &self.authority.directory).await?;
            Account::create_with_keypair(tls, directory, &self.authority.contact, account_key).await
        });
        let account = account.await.map_err(failed)?;
        let (url, mut order) = step(|| account.new_order(tls, vec![self.name.to_owned()])).await.map_err(failed)?;
        for authorization in &order.authorizations {
            self.prove(&account, authorization).await?;
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| self.unusable(&error))?;
        order = step(|| account.order(tls, &url)).await.map_err(failed)?;
        let (mut asked, mut looks) = (false, 0);
        loop {
            match order.status {
                OrderStatus::Valid { certificate } => {
                    let chain = step(|| account.certificate(tls, &certificate)).await.map_err(failed)?;
                    return self.joined(&key, &chain);
                }
                OrderStatus::Invalid => return Err(self.turned_down(order.error.as_ref())),
                OrderStatus::Ready if !asked => {
                    (asked, looks) = (true, 0);
                    let request = self.request(&key)?;
                    order = step(|| account.finalize(tls, &order.finalize, &request)).await.map_err(failed)?;
                }
                _ if looks == LOOKS_MAX => return Err(self.slow("does not come to an end with the certificate")),
                OrderStatus::Pending | OrderStatus::Processing | OrderStatus::Ready => {
                    sleep(Duration::from_secs(1 << looks)).await;
                    looks += 1;
                    order = step(|| account.order(tls, &url)).await.map_err(failed)?;
                }
            }
        }
    }

    /// The request for the certificate (RFC 8555 §7.4): the name alone.
    fn request(&self, key: &KeyPair) -> Result<Vec<u8>, NotIssued> {
        let mut params = CertificateParams::new(vec![self.name.to_owned()]).map_err(|error| self.unusable(&error))?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(key).map_err(|error| self.unusable(&error))?;
        Ok(request.der().to_vec())
    }

    fn joined(&self, key: &KeyPair, chain: &str) -> Result<Zeroizing<String>, NotIssued> {
        if chain.len() > CHAIN_BYTES_MAX {
            return Err(self.unusable(&"its certificate is too long"));
        }
        let secret = Zeroizing::new(key.serialize_pem());
        let mut text = Zeroizing::new(String::with_capacity(secret.len() + chain.len() + 2));
        text.push_str(secret.trim_end());
        text.push('\n');
        text.push_str(chain);
        Ok(text)
    }

    /// Shows the authority what it asks for, and waits until it has looked (RFC 8555 §7.5.1).
    async fn prove(&self, account: &Account, url: &str) -> Result<(), NotIssued> {
        let (tls, failed) = (&self.authority.tls, |error| self.failed(&error));
        let authorization = step(|| account.auth(tls, url)).await.map_err(failed)?;
        match authorization.status {
            AuthStatus::Valid => return Ok(()),
            AuthStatus::Pending => {}
            _ => return Err(self.not_proven(&authorization)),
        }
        let Identifier::Dns(name) = &authorization.identifier;
        // What is shown is for this name alone, and goes with the end of this function.
        let (challenge, _shown): (&Challenge, Showing<'_>) = match self.way {
            Way::TlsAlpn => {
                let (challenge, certificate) = account.tls_alpn_01(&authorization.challenges, name.clone()).map_err(failed)?;
                (challenge, self.challenges.show_certificate(name.clone(), certificate))
            }
            Way::Http => {
                let (challenge, text) = account.http_01(&authorization.challenges).map_err(failed)?;
                (challenge, self.challenges.show_text(challenge.token.clone(), text))
            }
        };
        self.checked.store(true, Ordering::Relaxed);
        step(|| account.challenge(tls, &challenge.url)).await.map_err(failed)?;
        for look in 0..LOOKS_MAX {
            sleep(Duration::from_secs(1 << look)).await;
            let authorization = step(|| account.auth(tls, url)).await.map_err(failed)?;
            match authorization.status {
                AuthStatus::Valid => return Ok(()),
                AuthStatus::Pending => {}
                _ => return Err(self.not_proven(&authorization)),
            }
        }
        Err(self.slow("has not looked whether the name leads here"))
    }

    /// What the authority saw when it looked.
    fn not_proven(&self, authorization: &Auth) -> NotIssued {
        let seen = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref()?.detail.clone());
        let seen = seen.map_or_else(String::new, |seen| format!(" ({seen})"));
        let said = format!(
            "{} could not see that {} leads here{seen}; the name must lead here in the DNS, and port {} of its address to this node",
            self.authority.host(),
            self.name,
            self.way.port()
        );
        NotIssued { cause: Cause::NotProven, said }
    }

    fn slow(&self, what: &str) -> NotIssued {
        NotIssued { cause: Cause::NotProven, said: format!("{} {what}", self.authority.host()) }
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> NotIssued {
        let said = format!("what {} gave cannot be used: {error}", self.authority.host());
        NotIssued { cause: Cause::Refused, said }
    }

    fn turned_down(&self, why: Option<&Problem>) -> NotIssued {
        let why = why.cloned().unwrap_or(Problem { typ: None, detail: None });
        self.refused(&why)
    }

    fn refused(&self, problem: &Problem) -> NotIssued {
        let host = self.authority.host();
        let detail = problem.detail.as_deref().unwrap_or("it does not say why");
        let (cause, said) = match kind(problem) {
            "rateLimited" => (Cause::TooMuch, format!("{host} has heard too much from here and asks to wait: {detail}")),
            "serverInternal" => (Cause::Unreachable, format!("{host} is out of order: {detail}")),
            "dns" | "connection" | "tls" | "unauthorized" | "incorrectResponse" | "caa" => {
                (Cause::NotProven, format!("{host} could not see that {} leads here: {detail}", self.name))
            }
            "rejectedIdentifier" | "unsupportedIdentifier" => {
                (Cause::Refused, format!("{host} gives no certificate for {}: {detail}", self.name))
            }
            "invalidContact" | "unsupportedContact" => {
                (Cause::Refused, format!("{host} does not take the address in gateway.acme.contact: {detail}"))
            }
            "externalAccountRequired" => {
                (Cause::Refused, format!("{host} knows its customers alone, which this node cannot do: {detail}"))
            }
            "userActionRequired" => (Cause::Refused, format!("{host} has new terms or wants a word with you: {detail}")),
            _ => (Cause::Refused, format!("{host} refuses: {detail}")),
        };
        NotIssued { cause, said }
    }

    fn failed(&self, error: &AcmeError) -> NotIssued {
        if let Some(problem) = problem(error) {
            return self.refused(&problem);
        }
        let host = self.authority.host();
        match error {
            AcmeError::NoTlsAlpn01Challenge | AcmeError::NoHttp01Challenge => {
                let said = format!("{host} does not check names by port {}", self.way.port());
                NotIssued { cause: Cause::Refused, said }
            }
            AcmeError::Rcgen(_) | AcmeError::Jose(_) | AcmeError::Crypto(_) | AcmeError::KeyRejected(_) => self.unusable(error),
            AcmeError::Json(_) | AcmeError::MissingHeader(_) | AcmeError::HttpResponseNonStringHeader(_) => {
                NotIssued { cause: Cause::Unreachable, said: format!("{host} does not answer as an ACME server does: {error}") }
            }
            AcmeError::Io(_) | AcmeError::HttpRequest(_) => {
                let said = format!(
                    "{host} cannot be reached; look at the network, and at directory and trust in [gateway.acme]: {error}"
                );
                NotIssued { cause: Cause::Unreachable, said }
            }
        }
    }
}

/// The last part of a problem's type (RFC 8555 §6.7).
fn kind(problem: &Problem) -> &str {
    problem.typ.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:")).unwrap_or_default()
}

/// The problem document in an error. The crate shows the answer's body in the error's text alone, as a Rust string.
fn problem(error: &AcmeError) -> Option<Problem> {
    let AcmeError::HttpRequest(error) = error else { return None };
    let text = error.to_string();
    let (_, body) = text.split_once("non 2xx http status: ")?.1.split_once(' ')?;
    serde_json::from_str(&unquoted(body)?).ok()
}

/// A string as Rust shows it for debugging, without its quotes and escapes.
fn unquoted(text: &str) -> Option<String> {
    let mut letters = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let code: String =
                        letters.by_ref().take_while(|letter| *letter != '}').filter(|letter| *letter != '{').collect();
                    char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
                }
                other => other,
            },
            letter => letter,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_says_is_found_in_the_text_of_an_error() {
        for body in ["{\n  \"type\": \"x\",\t\"detail\": \"a \\\"b\\\" \u{2028}\u{7f} ü '\"}\r\n", "", "\\", "\0"] {
            assert_eq!(unquoted(&format!("{body:?}")).as_deref(), Some(body));
        }
        assert_eq!(unquoted("x"), None);
    }
}
