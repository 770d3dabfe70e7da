//! Commands: one line each (RFC 1939 §3).

use kith_connection::Mechanism;
use zeroize::Zeroizing;

/// Longest command line, bytes: RFC 2449 §4 says 255, and USER and PASS may be longer with UTF-8; AUTH carries its first response (RFC 5034 §4).
pub const COMMAND_BYTES_MAX: usize = 2048;

/// What a client asks for. Messages are counted from 1.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// What there is.
    Capa,
    /// TLS.
    Stls,
    /// RFC 6856.
    Utf8,
    /// A name.
    User(Vec<u8>),
    /// A password.
    Pass(Zeroizing<Vec<u8>>),
    /// SASL; without a mechanism, which ones there are. One that is not known is `Some(None)`.
    Auth(Option<Option<Mechanism>>, Option<Zeroizing<Vec<u8>>>),
    /// How many, how large.
    Stat,
    /// How large each is, or one of them.
    List(Option<usize>),
    /// What each is called, or one of them.
    Uidl(Option<usize>),
    /// A message.
    Retr(usize),
    /// A message's header and so many lines.
    Top(usize, u64),
    /// Marks a message for deletion.
    Dele(usize),
    /// Takes all marks away.
    Rset,
    /// Nothing.
    Noop,
    /// Deletes what is marked, and ends.
    Quit,
}

impl core::fmt::Debug for Command {
    /// Without what may be a name or a password.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Capa => "Capa",
            Self::Stls => "Stls",
            Self::Utf8 => "Utf8",
            Self::User(_) => "User",
            Self::Pass(_) => "Pass",
            Self::Auth(..) => "Auth",
            Self::Stat => "Stat",
            Self::List(_) => "List",
            Self::Uidl(_) => "Uidl",
            Self::Retr(_) => "Retr",
            Self::Top(..) => "Top",
            Self::Dele(_) => "Dele",
            Self::Rset => "Rset",
            Self::Noop => "Noop",
            Self::Quit => "Quit",
        })
    }
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("Unknown command; CAPA lists what there is")]
    Unknown,
    /// The argument is missing, or not what the command wants.
    #[error("The argument is missing or wrong")]
    Argument,
}

impl Command {
    /// Parses a line without its end.
    ///
    /// # Errors
    /// It is no command.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let split = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (verb, rest) = line.split_at(split);
        // One space parts the two; a password may begin or end with more.
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let words: Vec<&[u8]> = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        let verb = verb.to_ascii_uppercase();
        match (verb.as_slice(), words.as_slice()) {
            (b"USER", [_, ..]) => Ok(Self::User(rest.trim_ascii().to_vec())),
            (b"PASS", _) if !rest.is_empty() => Ok(Self::Pass(Zeroizing::new(rest.to_vec()))),
            (b"AUTH", []) => Ok(Self::Auth(None, None)),
            (b"AUTH", [mechanism]) => Ok(Self::Auth(Some(Mechanism::parse(mechanism)), None)),
            (b"AUTH", [mechanism, initial]) => {
                Ok(Self::Auth(Some(Mechanism::parse(mechanism)), Some(Zeroizing::new(initial.to_vec()))))
            }
            (b"LIST", []) => Ok(Self::List(None)),
            (b"LIST", [message]) => number(message).map(|message| Self::List(Some(message))),
            (b"UIDL", []) => Ok(Self::Uidl(None)),
            (b"UIDL", [message]) => number(message).map(|message| Self::Uidl(Some(message))),
            (b"RETR", [message]) => number(message).map(Self::Retr),
            (b"DELE", [message]) => number(message).map(Self::Dele),
            (b"TOP", [message, lines]) => Ok(Self::Top(number(message)?, count(lines)?)),
            (b"CAPA", []) => Ok(Self::Capa),
            (b"STLS", []) => Ok(Self::Stls),
            (b"UTF8", []) => Ok(Self::Utf8),
            (b"STAT", []) => Ok(Self::Stat),
            (b"RSET", []) => Ok(Self::Rset),
            (b"NOOP", []) => Ok(Self::Noop),
            (b"QUIT", []) => Ok(Self::Quit),
            (
                b"USER" | b"PASS" | b"AUTH" | b"LIST" | b"UIDL" | b"RETR" | b"DELE" | b"TOP" | b"CAPA" | b"STLS" | b"UTF8"
                | b"STAT" | b"RSET" | b"NOOP" | b"QUIT",
                _,
            ) => Err(CommandError::Argument),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// A message's number. What is larger than any folder is the number of no message.
fn number(digits: &[u8]) -> Result<usize, CommandError> {
    count(digits).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Up to twenty digits; what does not fit counts as the largest number, since programs ask TOP for all lines that way.
fn count(digits: &[u8]) -> Result<u64, CommandError> {
    let fits = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = || {
        digits.iter().fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0'))))
    };
    fits.then(value).ok_or(CommandError::Argument)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_read_in_any_case() {
        assert_eq!(Command::parse(b"retr 12"), Ok(Command::Retr(12)));
        assert_eq!(Command::parse(b"Top 1 0"), Ok(Command::Top(1, 0)));
        assert_eq!(Command::parse(b"TOP 1 99999999999999999999"), Ok(Command::Top(1, u64::MAX)));
        assert_eq!(Command::parse(b"LIST"), Ok(Command::List(None)));
        assert_eq!(Command::parse(b"AUTH"), Ok(Command::Auth(None, None)));
        assert_eq!(Command::parse(b"AUTH CRAM-MD5"), Ok(Command::Auth(Some(None), None)));
    }

    #[test]
    fn a_password_is_taken_as_it_is() {
        assert_eq!(Command::parse(b"PASS  two  words "), Ok(Command::Pass(Zeroizing::new(b" two  words ".to_vec()))));
        assert_eq!(format!("{:?}", Command::parse(b"PASS secret")), "Ok(Pass)");
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            &b"RETR"[..],
            b"RETR x",
            b"RETR 999999999999999999999",
            b"RETR 1 2",
            b"TOP 1",
            b"QUIT now",
            b"USER",
            b"PASS",
            b"DELE -1",
        ] {
            assert_eq!(Command::parse(line), Err(CommandError::Argument), "{line:?}");
        }
        for line in [&b""[..], b" ", b"LAST", b"APOP a b", b"GET / HTTP/1.1"] {
            assert_eq!(Command::parse(line), Err(CommandError::Unknown), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..60), start in "(USER |PASS |AUTH |LIST |TOP 1 |RETR )?") {
            let _outcome = Command::parse(&[start.as_bytes(), &line].concat());
        }
    }
}
