//! Logging in by IMAP: SASL PLAIN or XOAUTH2, else LOGIN; and what the server can do.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::super::{Account, FetchError, Login};
use super::Session;
use super::response::{self, Response, quoted};
use crate::secret::{Secret, encoded, joined, plain, xoauth2};

/// Responses to a login.
const RESPONSES_MAX: usize = 1000;

impl Session {
    pub(super) async fn log_in(&mut self, account: &Account, secret: &Secret) -> Result<(), FetchError> {
        let host = self.wire.host().to_owned();
        let outcome = match account.login {
            Login::Xoauth2 => {
                let text = xoauth2(&account.user, secret);
                self.authenticate("XOAUTH2", &text).await
            }
            Login::Password if self.can("AUTH=PLAIN") => {
                let text = plain(&account.user, secret);
                self.authenticate("PLAIN", &text).await
            }
            Login::Password if self.can("LOGINDISABLED") => return Err(FetchError::NoTls(host)),
            Login::Password => {
                let user = quoted(&account.user);
                let password = Zeroizing::new(quoted(secret.text()));
                let command = joined(&["LOGIN ", &user, " ", &password]);
                self.command(&command).await
            }
        };
        outcome.map_err(|error| match error {
            // RFC 5530: not this one's fault.
            FetchError::Refused { host, said } if is_for_now(&said) => FetchError::Later { host, said },
            FetchError::Refused { host, said } => FetchError::Credentials { host, login: account.login, said },
            other => other,
        })
    }

    async fn authenticate(&mut self, mechanism: &str, response: &str) -> Result<(), FetchError> {
        let encoded = encoded(response);
        let at_once = self.can("SASL-IR");
        let command =
            if at_once { joined(&["AUTHENTICATE ", mechanism, " ", &encoded]) } else { joined(&["AUTHENTICATE ", mechanism]) };
        let tag = self.start(&command).await?;
        let mut sent = at_once;
        for _ in 0..RESPONSES_MAX {
            let line = self.wire.line().await?;
            match Response::parse(&line) {
                Response::Tagged(answered, status, said) if answered == tag => return self.outcome(status, &said),
                Response::Bye(said) => return Err(self.later(&said)),
                Response::Continue if !sent => {
                    sent = true;
                    let line = joined(&[&encoded, "\r\n"]);
                    self.wire.send(line.as_bytes()).await?;
                }
                // XOAUTH2 tells why in a challenge that wants an empty answer.
                Response::Continue => self.wire.send(b"\r\n").await?,
                _ => {}
            }
        }
        Err(self.wire.nonsense("responses without end"))
    }

    pub(super) async fn ask_capabilities(&mut self) -> Result<(), FetchError> {
        let mut all = BTreeSet::new();
        self.run("CAPABILITY", |line| all.extend(response::capabilities(line))).await?;
        self.capabilities = all;
        Ok(())
    }
}

/// RFC 5530; and what a large provider says without a code when too many programs of one person are connected.
fn is_for_now(said: &str) -> bool {
    let said = said.to_ascii_uppercase();
    let words = ["[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "TOO MANY SIMULTANEOUS CONNECTIONS"];
    words.iter().any(|word| said.contains(word))
}
