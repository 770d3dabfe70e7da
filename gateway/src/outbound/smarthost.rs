//! Settings for sending through somebody else's server: one's provider, or a host of the house.

use std::net::IpAddr;

use serde::Deserialize;

use crate::domain::Domain;
use crate::secret::SecretSource;

/// How a smarthost is reached and satisfied; what a person writes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smarthost {
    /// A name or an address.
    pub host: String,
    /// Its port; unless given 465, 587 or 25, as `security` has it.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: Security,
    /// Who we are there; none: no login.
    #[serde(default)]
    pub user: Option<String>,
    /// Where the password comes from, for PLAIN or LOGIN.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// Where the OAuth token comes from, for XOAUTH2; in place of a password.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// Whether mail, and the password with it, may cross a network in clear. Never needed for this machine itself.
    #[serde(default)]
    pub allow_clear: bool,
    /// Mails a minute that it is given, instead of what every destination is; 0 for no bound.
    #[serde(default)]
    pub mails_per_minute: Option<u32>,
}

/// How the connection to a smarthost is protected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Tls,
    /// STARTTLS, or no mail.
    Starttls,
    /// None.
    None,
}

/// What settings of a smarthost can be wrong about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SmarthostError {
    /// No name and no address.
    #[error("{0:?} is neither the name of a host nor an address")]
    Host(String),
    /// The port is 0.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// A user without password or token, or the other way round, or both of these.
    #[error("a user needs either a password or a token, and a password or token needs a user")]
    Login,
    /// A user name that cannot be said.
    #[error("the user name has a character that it cannot have")]
    User,
    /// In clear over a network, and not said that this is meant.
    #[error("without TLS everybody on the way reads the mail and the password; allow_clear = true says that this is meant")]
    Clear,
}

impl Smarthost {
    /// The settings, if they make sense.
    ///
    /// # Errors
    /// [`SmarthostError`].
    pub fn checked(self) -> Result<Smarthost, SmarthostError> {
        if self.ip().is_none() && Domain::parse(&self.host).is_err() {
            return Err(SmarthostError::Host(crate::printable(&self.host, 100)));
        }
        if self.port == Some(0) {
            return Err(SmarthostError::Port);
        }
        match (&self.user, &self.password, &self.token) {
            (None, None, None) | (Some(_), Some(_), None) | (Some(_), None, Some(_)) => {}
            _ => return Err(SmarthostError::Login),
        }
        if self.user.as_ref().is_some_and(|user| user.is_empty() || user.chars().any(char::is_control)) {
            return Err(SmarthostError::User);
        }
        let here = self.host.eq_ignore_ascii_case("localhost") || self.ip().is_some_and(|ip| ip.is_loopback());
        if self.security == Security::None && !here && !self.allow_clear {
            return Err(SmarthostError::Clear);
        }
        Ok(self)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Tls => 465,
            Security::Starttls => 587,
            Security::None => 25,
        })
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Smarthost {
        Smarthost {
            host: "smtp.example.org".into(),
            port: None,
            security: Security::Tls,
            user: None,
            password: None,
            token: None,
            allow_clear: false,
            mails_per_minute: None,
        }
    }

    #[test]
    fn settings_that_make_no_sense_or_give_the_password_away_are_refused() {
        let secret = || Some(SecretSource::File("x".into()));
        let user = || Some("anna".to_owned());
        for (settings, error) in [
            (Smarthost { host: "not a host".into(), ..host() }, SmarthostError::Host("not a host".into())),
            (Smarthost { port: Some(0), ..host() }, SmarthostError::Port),
            (Smarthost { user: user(), ..host() }, SmarthostError::Login),
            (Smarthost { password: secret(), ..host() }, SmarthostError::Login),
            (Smarthost { user: user(), password: secret(), token: secret(), ..host() }, SmarthostError::Login),
            (Smarthost { user: Some("a\r\nb".into()), password: secret(), ..host() }, SmarthostError::User),
            (Smarthost { security: Security::None, ..host() }, SmarthostError::Clear),
        ] {
            assert_eq!(settings.checked(), Err(error));
        }
        for settings in [
            host(),
            Smarthost { security: Security::None, allow_clear: true, ..host() },
            Smarthost { security: Security::None, host: "127.0.0.1".into(), ..host() },
            Smarthost { security: Security::None, host: "[::1]".into(), ..host() },
            Smarthost { user: user(), token: secret(), ..host() },
        ] {
            assert!(settings.checked().is_ok());
        }
        assert_eq!(host().port(), 465);
    }
}
