//! Fetching mail from accounts that a person has already, so that they can start without a domain: IMAP with IDLE, and POP3.
//!
//! The caller commits each mail together with the position after it, in one transaction, and says so; only then anything happens to the mail on the far
//! side. So nothing is lost and nothing fetched twice, wherever the power fails:
//!
//! 1. [`imap::Session::list`] (or [`pop3::Session::list`]) tells what is new behind the stored position;
//! 2. `body` streams one mail into a writer, bounded;
//! 3. the caller commits mail and position, which says what is still owed to the far side;
//! 4. `settle` deletes, flags or moves it there; the position without the debt is stored with the next commit.
//!
//! [`keeper`] has a round of that, in this order. [`backoff`] says when to try again, and that wrong credentials are not tried again at all.

pub mod backoff;
pub mod imap;
pub mod keeper;
pub mod pop3;
mod wire;

use serde::Deserialize;

use crate::secret::{Secret, SecretError, SecretSource};

/// Folders of one account.
const FOLDERS_MAX: usize = 100;

/// How the account is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// RFC 3501, RFC 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// From the first byte (RFC 8314).
    Tls,
    /// STARTTLS or STLS; compulsory.
    Starttls,
    /// In the clear: for a server on this machine, and refused for any other.
    None,
}

/// How one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// A password.
    Password,
    /// A token of OAuth 2, by SASL XOAUTH2.
    Xoauth2,
}

impl Login {
    fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Xoauth2 => "token",
        }
    }
}

/// What becomes of a mail on the far side once it is here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Afterwards {
    /// It stays as it is.
    Keep,
    /// It stays, marked as read. IMAP only.
    Seen,
    /// It is moved to this folder. IMAP only.
    Move(String),
    /// It is deleted.
    Delete,
}

/// Where the first fetch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// With everything that is there.
    All,
    /// With what comes from now on.
    New,
}

/// An account elsewhere, as a person writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The server's name, as its certificate has it.
    pub host: String,
    /// The port; the usual one where it is not said.
    pub port: Option<u16>,
    /// How it is encrypted.
    #[serde(default = "tls")]
    pub security: Security,
    /// The name to log in with.
    pub user: String,
    /// How.
    #[serde(default = "password")]
    pub login: Login,
    /// Where the password or token is.
    pub secret: SecretSource,
    /// The folders to fetch, by their names; IMAP only.
    #[serde(default = "inbox")]
    pub folders: Vec<String>,
    /// What becomes of the mails there.
    #[serde(default = "keep")]
    pub afterwards: Afterwards,
    /// Where to begin.
    #[serde(default = "all")]
    pub begin: Begin,
    /// Largest mail, bytes; larger ones are reported and passed over.
    #[serde(default = "size_limit")]
    pub size_limit: u64,
    /// A file of certificates (PEM) to trust besides the usual ones.
    pub authority: Option<std::path::PathBuf>,
}

fn tls() -> Security {
    Security::Tls
}

fn password() -> Login {
    Login::Password
}

fn inbox() -> Vec<String> {
    vec!["INBOX".to_owned()]
}

fn keep() -> Afterwards {
    Afterwards::Keep
}

fn all() -> Begin {
    Begin::All
}

fn size_limit() -> u64 {
    50 * 1024 * 1024
}

impl Account {
    /// The port that is meant.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match (self.protocol, self.security) {
            (Protocol::Imap, Security::Tls) => 993,
            (Protocol::Imap, _) => 143,
            (Protocol::Pop3, Security::Tls) => 995,
            (Protocol::Pop3, _) => 110,
        })
    }
}

impl Account {
    /// What cannot be meant by these settings, as a sentence; `None` where all is well.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_pop3 = self.protocol == Protocol::Pop3;
        if self.host.is_empty() || self.user.is_empty() || self.user.contains(char::is_control) {
            Some("host and user must be there")
        } else if is_pop3 && matches!(self.afterwards, Afterwards::Seen | Afterwards::Move(_)) {
            Some("POP3 knows neither read mails nor folders: afterwards must be keep or delete")
        } else if !is_pop3 && (self.folders.is_empty() || self.folders.len() > FOLDERS_MAX) {
            Some("1 to 100 folders can be fetched")
        } else if self.folders.iter().any(|folder| self.afterwards == Afterwards::Move(folder.clone())) {
            Some("mails cannot be moved to a folder that is fetched")
        } else if self.size_limit == 0 {
            Some("size_limit must be more than nothing")
        } else {
            None
        }
    }

    /// Another token than the one that was refused, if there is one now: tokens end, and whoever prints them makes a new one when asked again.
    /// A password is what it is.
    async fn another(&self, refused: &Secret) -> Result<Option<Secret>, FetchError> {
        if self.login == Login::Password {
            return Ok(None);
        }
        let other = self.secret.read().await?;
        Ok((other.text() != refused.text()).then_some(other))
    }
}

/// Why fetching failed. No text in it is a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server cannot be reached, or the connection broke.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        host: String,
        /// The system's word.
        why: String,
    },
    /// It was silent for too long.
    #[error("{0} does not answer")]
    Silent(String),
    /// TLS failed: the certificate, most likely.
    #[error("no TLS with {host}: {why}; check the server's name, or give its authority")]
    Tls {
        /// The server.
        host: String,
        /// Why.
        why: String,
    },
    /// STARTTLS is wanted and not offered.
    #[error("{0} offers no encryption, and a password may not travel in the clear")]
    NoTls(String),
    /// The password or token cannot be had.
    #[error("the password could not be had: {0}")]
    Secret(#[from] SecretError),
    /// The name, password or token is wrong. Not to be tried again with the same.
    #[error("{host} does not accept the name and {}: {said}", login.word())]
    Credentials {
        /// The server.
        host: String,
        /// What it was shown.
        login: Login,
        /// What it said, printable and cut.
        said: String,
    },
    /// The server says: not now.
    #[error("{host} refuses for now: {said}")]
    Later {
        /// The server.
        host: String,
        /// What it said, printable and cut.
        said: String,
    },
    /// The server refuses what was asked: a folder that is not there, most likely.
    #[error("{host} refuses: {said}")]
    Refused {
        /// The server.
        host: String,
        /// What it said, printable and cut.
        said: String,
    },
    /// What the server sends makes no sense, or has no end.
    #[error("{host} sends what makes no sense: {what}")]
    Nonsense {
        /// The server.
        host: String,
        /// What about it.
        what: &'static str,
    },
    /// The mail turned out larger than the limit. The connection is of no use any more; the mail's position is to be stored, so that it is passed over.
    #[error("the mail has {size} bytes, more than the limit")]
    TooLarge {
        /// Bytes, as far as known.
        size: u64,
    },
    /// Our own disk.
    #[error("the mail cannot be written: {0}")]
    Disk(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Result<Account, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn little_must_be_said_and_what_cannot_be_meant_is_told() {
        let least = r#"{"protocol": "imap", "host": "imap.example.org", "user": "anna", "secret": {"file": "/x"}}"#;
        let read = account(least).expect("enough");
        assert_eq!(
            (read.port(), read.security, read.afterwards.clone(), read.problem()),
            (993, Security::Tls, Afterwards::Keep, None)
        );
        let with = |more: &str| account(&format!("{}, {more}}}", &least[..least.len() - 1])).expect("readable");
        assert_eq!(with(r#""security": "starttls""#).port(), 143);
        assert_eq!(with(r#""afterwards": {"move": "Done"}"#).problem(), None);
        assert!(with(r#""afterwards": {"move": "INBOX"}"#).problem().is_some());
        assert!(with(r#""folders": []"#).problem().is_some());
        let pop3 = Account { protocol: Protocol::Pop3, afterwards: Afterwards::Seen, ..read };
        assert_eq!((pop3.port(), pop3.problem().is_some()), (995, true));
        assert!(account(&least.replace("user", "usr")).is_err());
    }
}
