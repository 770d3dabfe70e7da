//! How long each step of a conversation may take (RFC 5321 §4.5.3.2), and an attempt in all.

use std::time::Duration;

/// The bounds. The defaults are the RFC's least values where it has any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// A TCP connection to one address.
    pub connect: Duration,
    /// The host's first words.
    pub greeting: Duration,
    /// The answer to EHLO.
    pub hello: Duration,
    /// STARTTLS and the handshake, and each step of AUTH.
    pub tls: Duration,
    /// The answer to MAIL, and to RSET.
    pub mail: Duration,
    /// The answer to a RCPT.
    pub recipient: Duration,
    /// The answer to DATA.
    pub data: Duration,
    /// A piece of text to leave.
    pub piece: Duration,
    /// The answer to the last dot. Long, since a host that was slow to say that it has a mail gets it twice.
    pub end: Duration,
    /// Finding a host that talks, all hosts and addresses together.
    pub search: Duration,
    /// One mail in all, from the first question to the DNS to the last answer.
    pub mail_in_all: Duration,
    /// How long a connection is kept for the next mail.
    pub idle: Duration,
    /// Saying goodbye.
    pub quit: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Times {
            connect: seconds(30),
            greeting: seconds(300),
            hello: seconds(300),
            tls: seconds(120),
            mail: seconds(300),
            recipient: seconds(300),
            data: seconds(120),
            piece: seconds(180),
            end: seconds(600),
            search: seconds(900),
            mail_in_all: seconds(7_200),
            idle: seconds(20),
            quit: seconds(2),
        }
    }
}
