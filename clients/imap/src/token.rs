//! The words of a command: atoms, quoted strings, literals, numbers (RFC 3501 §9), read from one whole command.
//!
//! Nothing here knows what a command means. Every reader is total: it either gives a value and moves on, or says what it expected.

use std::borrow::Cow;

/// Why a command cannot be understood; the text follows `BAD`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Something else stands there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// No command of that name.
    #[error("unknown command")]
    UnknownCommand,
    /// Understood, and not offered.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// More than the limit.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Parentheses deeper than the limit.
    #[error("nested too deeply")]
    TooDeep,
}

/// What reading gives.
pub type Parsed<T> = Result<T, SyntaxError>;

/// Reads a command from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a command.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next byte, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes this byte if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes this byte, or says what was expected.
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { Err(SyntaxError::Expected(what)) }
    }

    /// One space. Clients that send two are forgiven.
    pub fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space")?;
        while self.eat(b' ') {}
        Ok(())
    }

    /// Nothing but spaces left.
    pub fn end(&mut self) -> Parsed<()> {
        while self.eat(b' ') {}
        if self.rest().is_empty() { Ok(()) } else { Err(SyntaxError::Expected("the end of the command")) }
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !keep(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn text_while(&mut self, keep: impl Fn(u8) -> bool, what: &'static str) -> Parsed<&'a str> {
        let text = self.take_while(|byte| byte.is_ascii() && keep(byte));
        if text.is_empty() {
            return Err(SyntaxError::Expected(what));
        }
        std::str::from_utf8(text).map_err(|_| SyntaxError::Expected(what))
    }

    /// `1*<any ASTRING-CHAR except "+">`
    pub fn tag(&mut self) -> Parsed<&'a str> {
        self.text_while(|byte| is_astring_char(byte) && byte != b'+', "a tag")
    }

    /// `1*ATOM-CHAR`
    pub fn atom(&mut self, what: &'static str) -> Parsed<&'a str> {
        self.text_while(is_atom_char, what)
    }

    /// A word of the language itself (letters, digits, `.`, `-`, `=`, `/`), in capitals.
    pub fn word(&mut self, what: &'static str) -> Parsed<String> {
        let word = self.text_while(|byte| byte.is_ascii_alphanumeric() || b".-=/_".contains(&byte), what)?;
        Ok(word.to_ascii_uppercase())
    }

    /// Takes this word (in capitals) if it is next and ends there.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = self.clone();
        let found = ahead.word("").is_ok_and(|found| found == word);
        if found {
            self.at = ahead.at;
        }
        found
    }

    /// A flag: an atom, with or without `\`.
    pub fn flag(&mut self) -> Parsed<Cow<'a, str>> {
        if self.eat(b'\\') {
            return Ok(Cow::Owned(format!("\\{}", self.atom("a flag")?)));
        }
        self.atom("a flag").map(Cow::Borrowed)
    }

    /// 32 bits.
    pub fn number(&mut self) -> Parsed<u32> {
        self.digits()
    }

    /// 63 bits (RFC 7162 §7 mod-sequence-value).
    pub fn number64(&mut self) -> Parsed<u64> {
        self.digits()
    }

    fn digits<N: std::str::FromStr>(&mut self) -> Parsed<N> {
        const WHAT: SyntaxError = SyntaxError::Expected("a number");
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(WHAT)
    }

    /// An atom, a quoted string or a literal.
    pub fn astring(&mut self, what: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(what),
            _ => {
                let text = self.take_while(|byte| is_astring_char(byte) || !byte.is_ascii());
                if text.is_empty() { Err(SyntaxError::Expected(what)) } else { Ok(Cow::Borrowed(text)) }
            }
        }
    }

    /// As an astring, with the wildcards `%` and `*` in its atoms.
    pub fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        const WHAT: &str = "a mailbox pattern";
        match self.peek() {
            Some(b'"' | b'{') => self.string(WHAT),
            _ => {
                let text = self.take_while(|byte| is_astring_char(byte) || matches!(byte, b'%' | b'*') || !byte.is_ascii());
                if text.is_empty() { Err(SyntaxError::Expected(WHAT)) } else { Ok(Cow::Borrowed(text)) }
            }
        }
    }

    /// A string, or NIL.
    pub fn nstring(&mut self, what: &'static str) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.eat_word("NIL") { Ok(None) } else { self.string(what).map(Some) }
    }

    /// A quoted string or a literal.
    pub fn string(&mut self, what: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(SyntaxError::Expected(what)),
        }
    }

    /// `"…"`. Bytes above 127 are let through: clients send UTF-8 there.
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.expect(b'"', "a quoted string")?;
        let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0));
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        while self.eat(b'\\') {
            let escaped = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'));
            text.push(escaped.ok_or(SyntaxError::Expected("\\\" or \\\\"))?);
            self.at += 1;
            text.extend_from_slice(self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n' | 0)));
        }
        self.expect(b'"', "the end of a quoted string")?;
        Ok(Cow::Owned(text))
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        const WHAT: &str = "a literal";
        self.expect(b'{', WHAT)?;
        let length = self.number()?;
        self.eat(b'+');
        self.expect(b'}', WHAT)?;
        self.expect(b'\r', WHAT)?;
        self.expect(b'\n', WHAT)?;
        let length = usize::try_from(length).map_err(|_| SyntaxError::Expected(WHAT))?;
        let text = self.rest().get(..length).ok_or(SyntaxError::Expected(WHAT))?;
        // RFC 3501 §9: CHAR8 leaves NUL out.
        if text.contains(&0) {
            return Err(SyntaxError::Expected("a literal without NUL"));
        }
        self.at += length;
        Ok(text)
    }

    /// `( item SP item … )`, possibly empty, at most `limit` items.
    pub fn parenthesised<T>(
        &mut self,
        limit: usize,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "an opening parenthesis")?;
        let mut items = Vec::new();
        while self.eat(b' ') {}
        while !self.eat(b')') {
            if items.len() == limit {
                return Err(SyntaxError::TooMany(what));
            }
            items.push(item(self)?);
            if self.peek() != Some(b')') {
                self.space()?;
            }
        }
        Ok(items)
    }
}

/// RFC 3501 §9 ATOM-CHAR.
pub fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// RFC 3501 §9 ASTRING-CHAR.
pub fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_out_without_their_dress() {
        let mut cursor = Cursor::new(b"abc \"a\\\"b\\\\\" {4}\r\nx\r\ny");
        assert_eq!(&*cursor.astring("x").unwrap(), b"abc");
        cursor.space().unwrap();
        assert_eq!(&*cursor.astring("x").unwrap(), b"a\"b\\");
        cursor.space().unwrap();
        assert_eq!(&*cursor.astring("x").unwrap(), b"x\r\ny");
        cursor.end().unwrap();
    }

    #[test]
    fn broken_strings_are_refused() {
        for broken in ["\"abc", "\"a\\x\"", "{5}\r\nabc", "{5}abcde", "{x}", "\"a\nb\"", "{3}\r\na\0b", "("] {
            assert!(Cursor::new(broken.as_bytes()).astring("x").is_err(), "{broken:?}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(Cursor::new(b"4294967295").number(), Ok(u32::MAX));
        assert!(Cursor::new(b"4294967296").number().is_err());
        assert!(Cursor::new(b"").number().is_err());
    }
}
