//! AUTH on an open connection (RFC 4954): PLAIN (RFC 4616), LOGIN, XOAUTH2. Said by lettre's connection, worded here: lettre gives up where a server explains why a
//! token is refused, and knows few of LOGIN's prompts.

use super::fate::{Answer, Phase, Why};
use super::session::Session;
use super::times::Times;
use crate::secret::{Secret, encoded, joined, plain, xoauth2};

/// Who we are, and how to prove it.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) secret: &'a Secret,
    pub(crate) kind: Kind,
}

/// What the secret is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// For PLAIN or LOGIN.
    Password,
    /// For XOAUTH2.
    Token,
}

/// Why we are not in.
#[derive(Debug)]
pub(crate) enum NotIn {
    /// The server does not believe us, or knows none of our ways: it will not tomorrow either.
    Refused(Option<Answer>),
    /// Not now.
    Later(Answer),
    /// The connection is of no further use.
    Broken(Why),
}

/// Logs in.
pub(crate) async fn login(session: &mut Session, login: &Login<'_>, times: &Times) -> Result<(), NotIn> {
    let Login { user, secret, kind } = login;
    let offer = session.offer().clone();
    let answer = match kind {
        Kind::Password if offer.plain => {
            let proof = encoded(&plain(user, secret));
            step(session, &["AUTH PLAIN ", &proof, "\r\n"], times).await?
        }
        Kind::Password if offer.login => {
            // Prompts differ from server to server; their order does not: name, password.
            let mut answer = step(session, &["AUTH LOGIN\r\n"], times).await?;
            for text in [user, secret.text()] {
                if answer.code == 334 {
                    answer = step(session, &[&encoded(text), "\r\n"], times).await?;
                }
            }
            answer
        }
        Kind::Token if offer.xoauth2 => {
            let proof = encoded(&xoauth2(user, secret));
            let answer = step(session, &["AUTH XOAUTH2 ", &proof, "\r\n"], times).await?;
            // Why not, in JSON; an empty line asks for the verdict.
            if answer.code == 334 { step(session, &["\r\n"], times).await? } else { answer }
        }
        Kind::Password | Kind::Token => return Err(NotIn::Refused(None)),
    };
    match answer.code {
        200..=299 => Ok(()),
        400..=499 => Err(NotIn::Later(answer)),
        500..=599 => Err(NotIn::Refused(Some(answer))),
        _ => Err(NotIn::Broken(Why::Nonsense(Phase::Auth))),
    }
}

async fn step(session: &mut Session, words: &[&str], times: &Times) -> Result<Answer, NotIn> {
    session.say(joined(words).as_str(), times.tls, Phase::Auth).await.map_err(NotIn::Broken)
}
