//! What a client is told when it is refused: code, enhanced code and a sentence, for whatever speaks SMTP.

use super::judge::Refused;
use super::rates::TooMuch;

/// A refusal, ready to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2. With 421 the connection ends.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: &'static str,
    /// One sentence, ASCII but for domains that are not.
    pub text: String,
}

impl Reply {
    /// A stranger that must come again.
    #[must_use]
    pub fn greylisted(wait_s: i64) -> Self {
        let text = format!("This sender is not known here yet; come again in {wait_s} seconds, as mail servers do by themselves");
        Self { code: 451, enhanced: "4.7.1", text }
    }

    /// Nobody of that address. The domain is ours.
    #[must_use]
    pub fn unknown() -> Self {
        Self { code: 550, enhanced: "5.1.1", text: "There is nobody of that address here".to_owned() }
    }

    /// A domain that is not ours.
    #[must_use]
    pub fn no_relay() -> Self {
        Self { code: 550, enhanced: "5.7.1", text: "Mail for that domain does not go this way".to_owned() }
    }
}

impl From<&Refused> for Reply {
    fn from(refused: &Refused) -> Self {
        let (code, enhanced) = refused.codes();
        Self { code, enhanced, text: refused.to_string() }
    }
}

impl From<TooMuch> for Reply {
    fn from(too_much: TooMuch) -> Self {
        Self { code: 421, enhanced: "4.7.0", text: too_much.to_string() }
    }
}
