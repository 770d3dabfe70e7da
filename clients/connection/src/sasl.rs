//! SASL PLAIN (RFC 4616) and LOGIN, as mail programs send them.
//!
//! LOGIN was never standardised; Outlook and scanners know nothing else.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Longest login name, bytes: a full address and some more.
pub const NAME_BYTES_MAX: usize = 320;
/// Longest password, bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Some programs leave the padding out.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A name and a password as a client gave them. Never shown by `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The login name, at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// The password, at most [`PASSWORD_BYTES_MAX`] bytes.
    pub password: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// Checks lengths and encoding of what LOGIN, USER and PASS carry in the clear.
    ///
    /// # Errors
    /// [`SaslError::Malformed`] when the name is empty, not UTF-8 or one of them is too long.
    pub fn new(name: &[u8], password: &[u8]) -> Result<Self, SaslError> {
        let name = std::str::from_utf8(name).map_err(|_| SaslError::Malformed)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(SaslError::Malformed);
        }
        Ok(Self { name: name.to_owned(), password: Zeroizing::new(password.to_vec()) })
    }
}

/// Why an exchange ended without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent `*` (RFC 4954 §4).
    #[error("login cancelled")]
    Cancelled,
    /// Not base64.
    #[error("that is not base64")]
    NotBase64,
    /// Not what the mechanism prescribes, or too long.
    #[error("that is not what the mechanism prescribes")]
    Malformed,
    /// PLAIN with an authorisation identity of somebody else.
    #[error("logging in as somebody else is not possible here")]
    OtherIdentity,
}

/// The mechanisms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Name and password after each other.
    Login,
}

impl Mechanism {
    /// By name, any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"PLAIN") {
            Some(Self::Plain)
        } else if name.eq_ignore_ascii_case(b"LOGIN") {
            Some(Self::Login)
        } else {
            None
        }
    }
}

/// What comes next in an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this challenge (base64 already; empty for PLAIN) and feed the client's line to [`Exchange::respond`].
    Challenge(&'static str),
    /// The client has said everything.
    Done(Credentials),
}

/// A login exchange under way.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword(Zeroizing<Vec<u8>>),
}

/// `Username:`
const ASK_NAME: &str = "VXNlcm5hbWU6";
/// `Password:`
const ASK_PASSWORD: &str = "UGFzc3dvcmQ6";

impl Exchange {
    /// Starts, with the initial response if the client gave one (base64; `=` is the empty one).
    ///
    /// # Errors
    /// As [`Exchange::respond`].
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> Result<(Self, Reply), SaslError> {
        let (state, challenge) = match mechanism {
            Mechanism::Plain => (State::Plain, ""),
            Mechanism::Login => (State::LoginName, ASK_NAME),
        };
        let mut exchange = Self { state };
        let reply = match initial {
            None => Reply::Challenge(challenge),
            Some(b"=") => exchange.decoded(Zeroizing::default())?,
            Some(initial) => exchange.respond(initial)?,
        };
        Ok((exchange, reply))
    }

    /// Takes the client's line, without its end.
    ///
    /// # Errors
    /// The exchange is over: the client cancelled or sent what cannot be understood.
    pub fn respond(&mut self, line: &[u8]) -> Result<Reply, SaslError> {
        let line = line.trim_ascii();
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        if line.len() > (NAME_BYTES_MAX + PASSWORD_BYTES_MAX) * 2 {
            return Err(SaslError::Malformed);
        }
        self.decoded(Zeroizing::new(BASE64.decode(line).map_err(|_| SaslError::NotBase64)?))
    }

    fn decoded(&mut self, bytes: Zeroizing<Vec<u8>>) -> Result<Reply, SaslError> {
        match &self.state {
            State::Plain => plain(&bytes).map(Reply::Done),
            State::LoginName => {
                self.state = State::LoginPassword(bytes);
                Ok(Reply::Challenge(ASK_PASSWORD))
            }
            State::LoginPassword(name) => Credentials::new(name, &bytes).map(Reply::Done),
        }
    }
}

/// `authzid NUL authcid NUL passwd`; the first empty or the same as the second.
fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (Some(identity), Some(name), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SaslError::Malformed);
    };
    if password.contains(&0) {
        return Err(SaslError::Malformed);
    }
    if !identity.is_empty() && !identity.eq_ignore_ascii_case(name) {
        return Err(SaslError::OtherIdentity);
    }
    Credentials::new(name, password)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> Vec<u8> {
        BASE64.encode(text).into_bytes()
    }

    #[test]
    fn plain_comes_at_once_or_after_an_empty_challenge() {
        let expected = Reply::Done(Credentials::new(b"mum", b"secret").unwrap());
        let (_, reply) = Exchange::start(Mechanism::Plain, Some(&encode("\0mum\0secret"))).unwrap();
        assert_eq!(reply, expected);
        let (mut exchange, reply) = Exchange::start(Mechanism::Plain, None).unwrap();
        assert_eq!(reply, Reply::Challenge(""));
        assert_eq!(exchange.respond(&encode("mum\0mum\0secret")).unwrap(), expected);
    }

    #[test]
    fn login_asks_for_name_and_password() {
        let (mut exchange, reply) = Exchange::start(Mechanism::Login, None).unwrap();
        assert_eq!(reply, Reply::Challenge(ASK_NAME));
        assert_eq!(exchange.respond(&encode("mum")).unwrap(), Reply::Challenge(ASK_PASSWORD));
        assert_eq!(exchange.respond(&encode("secret")).unwrap(), Reply::Done(Credentials::new(b"mum", b"secret").unwrap()));
        let (mut exchange, reply) = Exchange::start(Mechanism::Login, Some(&encode("mum"))).unwrap();
        assert_eq!(reply, Reply::Challenge(ASK_PASSWORD));
        assert!(matches!(exchange.respond(b"c2VjcmV0").unwrap(), Reply::Done(_)));
    }

    #[test]
    fn padding_may_be_missing() {
        let (_, reply) = Exchange::start(Mechanism::Plain, Some(b"AG11bQBzZWM")).unwrap();
        assert!(matches!(reply, Reply::Done(credentials) if *credentials.password == b"sec"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let start = |text: &[u8]| Exchange::start(Mechanism::Plain, Some(text)).map(|(_, reply)| reply);
        assert_eq!(start(b"*"), Err(SaslError::Cancelled));
        assert_eq!(start(b"%%%"), Err(SaslError::NotBase64));
        assert_eq!(start(&encode("mum")), Err(SaslError::Malformed));
        assert_eq!(start(b"="), Err(SaslError::Malformed));
        assert_eq!(start(&encode("dad\0mum\0secret")), Err(SaslError::OtherIdentity));
        assert_eq!(start(&encode("\0mum\0a\0b")), Err(SaslError::Malformed));
    }

    #[test]
    fn credentials_do_not_show_in_debug() {
        let credentials = Credentials::new(b"mum", b"secret").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }

    proptest! {
        #[test]
        fn no_response_makes_it_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..4)) {
            for mechanism in [Mechanism::Plain, Mechanism::Login] {
                let Ok((mut exchange, _)) = Exchange::start(mechanism, lines.first().map(Vec::as_slice)) else { continue };
                for line in &lines {
                    let _outcome = exchange.respond(line);
                }
            }
        }
    }
}
