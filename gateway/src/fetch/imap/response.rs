//! What an IMAP server says, as far as fetching must understand it. Nothing here trusts a number or an end.

/// The word of a status response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
}

/// One line, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The end of a command: its tag, and what was said.
    Tagged(String, Status, Vec<u8>),
    /// `* OK` and its like.
    Status(Status, Vec<u8>),
    /// `* BYE`.
    Bye(Vec<u8>),
    /// `+`.
    Continue,
    /// Data.
    Untagged,
    /// Nothing that IMAP knows.
    Other,
}

impl Response {
    /// Sorts a line.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        if line.first() == Some(&b'+') {
            return Self::Continue;
        }
        let (tag, rest) = word(line);
        let (verb, said) = word(rest);
        let status = match verb.to_ascii_uppercase().as_slice() {
            b"OK" => Some(Status::Ok),
            b"NO" => Some(Status::No),
            b"BAD" => Some(Status::Bad),
            b"BYE" if tag == b"*" => return Self::Bye(said.to_vec()),
            _ => None,
        };
        match (tag, status) {
            (b"*", Some(status)) => Self::Status(status, said.to_vec()),
            (b"*", None) => Self::Untagged,
            (tag, Some(status)) if !tag.is_empty() => {
                Self::Tagged(String::from_utf8_lossy(tag).into_owned(), status, said.to_vec())
            }
            _ => Self::Other,
        }
    }
}

/// The first word, and what follows it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// The number of a response code, as `UIDNEXT` in `* OK [UIDNEXT 5]`.
#[must_use]
pub fn code(line: &[u8], name: &str) -> Option<u32> {
    let text = std::str::from_utf8(line).ok()?.to_ascii_uppercase();
    let inner = text.split_once('[')?.1.split_once(']')?.0;
    let (word, number) = inner.split_once(' ')?;
    (word == name).then(|| number.trim().parse().ok()).flatten()
}

/// The words of `* CAPABILITY …`.
#[must_use]
pub fn capabilities(line: &[u8]) -> Vec<String> {
    /// More than any server has.
    const CAPABILITIES_MAX: usize = 256;
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    match text.strip_prefix("* CAPABILITY ") {
        Some(words) => words.split_ascii_whitespace().take(CAPABILITIES_MAX).map(str::to_owned).collect(),
        None => Vec::new(),
    }
}

/// `* 5 EXISTS`: there may be new mail. What leaves is of no interest.
#[must_use]
pub fn is_news(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return false };
    let (number, verb) = word(rest);
    !number.is_empty() && number.iter().all(u8::is_ascii_digit) && verb.trim_ascii().eq_ignore_ascii_case(b"EXISTS")
}

/// What `* n FETCH (…)` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// `UID`.
    pub uid: Option<u32>,
    /// `RFC822.SIZE`.
    pub size: Option<u64>,
    /// `\Seen` among the flags.
    pub seen: bool,
}

/// Reads a FETCH response; literals are `""`, or the line ends at one.
#[must_use]
pub fn fetch_of(line: &[u8]) -> Option<Fetch> {
    let rest = line.strip_prefix(b"* ")?;
    let (number, rest) = word(rest);
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (verb, rest) = word(rest);
    if !verb.eq_ignore_ascii_case(b"FETCH") {
        return None;
    }
    let mut fetch = Fetch::default();
    let mut tokens = Tokens(rest.strip_prefix(b"(")?);
    while let Some(token) = tokens.next() {
        match token.to_ascii_uppercase().as_slice() {
            b"UID" => fetch.uid = number_of(tokens.next()?),
            b"RFC822.SIZE" => fetch.size = number_of(tokens.next()?),
            b"FLAGS" => {
                tokens.next().filter(|open| *open == b"(")?;
                loop {
                    match tokens.next()? {
                        b")" => break,
                        flag => fetch.seen |= flag.eq_ignore_ascii_case(b"\\Seen"),
                    }
                }
            }
            _ => {}
        }
    }
    Some(fetch)
}

fn number_of<T: std::str::FromStr>(token: &[u8]) -> Option<T> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// Words, parentheses, and quoted strings whole.
struct Tokens<'a>(&'a [u8]);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start();
        let length = match *rest.first()? {
            b'(' | b')' => 1,
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().skip(1).position(|byte| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            _ => rest.iter().position(|byte| matches!(byte, b' ' | b'(' | b')')).unwrap_or(rest.len()).max(1),
        };
        let (token, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(token)
    }
}

/// The size of the literal that a line ends with.
#[must_use]
pub fn literal_of(line: &[u8]) -> Option<u64> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(open + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let fits = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    number_of(digits).filter(|_| fits)
}

/// Whether the literal at the end of the line is the mail.
#[must_use]
pub fn ends_with_body(line: &[u8]) -> bool {
    let end = line.iter().rposition(|byte| *byte == b'{').unwrap_or(0);
    line.get(..end).is_some_and(|start| start.trim_ascii_end().to_ascii_uppercase().ends_with(b"BODY[]"))
}

/// The mail, where it came as a quoted string.
#[must_use]
pub fn quoted_body(line: &[u8]) -> Option<Vec<u8>> {
    fetch_of(line)?;
    let upper = line.to_ascii_uppercase();
    let at = upper.windows(7).position(|window| window == b"BODY[] ")?;
    let token = Tokens(line.get(at + 7..)?).next()?;
    let inner = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
    }
    Some(text)
}

/// A quoted string; what cannot stand in one is left out.
#[must_use]
pub fn quoted(text: &str) -> String {
    // Room for the worst, so that a password leaves no copy behind by growing.
    let mut quoted = String::with_capacity(2 * text.len() + 2);
    quoted.push('"');
    for letter in text.chars().filter(|letter| !matches!(letter, '\0' | '\r' | '\n')) {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// A folder's name as RFC 3501 §5.1.3 writes it.
#[must_use]
pub fn utf7(name: &str) -> String {
    use base64::Engine;
    let mut written = String::with_capacity(name.len());
    let mut foreign: Vec<u8> = Vec::new();
    let flush = |foreign: &mut Vec<u8>, written: &mut String| {
        if !foreign.is_empty() {
            let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&*foreign);
            written.push('&');
            written.push_str(&encoded.replace('/', ","));
            written.push('-');
            foreign.clear();
        }
    };
    for letter in name.chars() {
        if matches!(letter, ' '..='~') {
            flush(&mut foreign, &mut written);
            written.push(letter);
            if letter == '&' {
                written.push('-');
            }
        } else {
            let mut units = [0; 2];
            foreign.extend(letter.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut foreign, &mut written);
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn responses_are_sorted() {
        assert_eq!(Response::parse(b"k1 OK done"), Response::Tagged("k1".into(), Status::Ok, b"done".to_vec()));
        assert_eq!(Response::parse(b"* NO x"), Response::Status(Status::No, b"x".to_vec()));
        assert_eq!(Response::parse(b"* bye now"), Response::Bye(b"now".to_vec()));
        assert_eq!(Response::parse(b"+ idling"), Response::Continue);
        assert_eq!(Response::parse(b"* 5 EXISTS"), Response::Untagged);
        assert_eq!(code(b"* OK [UIDNEXT 5] next", "UIDNEXT"), Some(5));
        assert!(is_news(b"* 5 EXISTS") && !is_news(b"* 5 EXPUNGE") && !is_news(b"* x EXISTS"));
    }

    #[test]
    fn fetches_are_read_in_any_order_and_case() {
        let expected = Fetch { uid: Some(7), size: Some(123), seen: true };
        for line in [
            &b"* 1 FETCH (UID 7 RFC822.SIZE 123 FLAGS (\\Seen))"[..],
            b"* 1 fetch (flags ($x \\SEEN \\Answered) rfc822.size 123 uid 7)",
            b"* 1 FETCH (X-OTHER (\"a (b\\\" c\" (UID)) UID 7 FLAGS (\\Seen) RFC822.SIZE 123",
        ] {
            assert_eq!(fetch_of(line), Some(expected), "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(fetch_of(b"* 1 EXPUNGE"), None);
        assert_eq!(literal_of(b"* 1 FETCH (BODY[] {42}"), Some(42));
        assert_eq!(literal_of(b"{99999999999999999999}"), None);
        assert!(ends_with_body(b"* 1 FETCH (UID 7 body[] {42}") && !ends_with_body(b"* 1 FETCH (BODY[HEADER] {42}"));
        assert_eq!(quoted_body(b"* 1 FETCH (UID 7 BODY[] \"a\\\"b\")"), Some(b"a\"b".to_vec()));
        assert_eq!(quoted_body(b"* 1 FETCH (UID 7 BODY[] NIL)"), None);
    }

    #[test]
    fn names_of_folders_are_written_as_servers_want_them() {
        assert_eq!(utf7("Entw\u{fc}rfe & mehr"), "Entw&APw-rfe &- mehr");
        assert_eq!(utf7("\u{53f0}\u{5317}"), "&U,BTFw-");
        assert_eq!(quoted("a\"b\\\r\nc"), "\"a\\\"b\\\\c\"");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..200), text in "[* 0-9A-Z()\\\\\"{}\\[\\]]{0,60}") {
            for line in [line.as_slice(), text.as_bytes(), &[b"* 1 FETCH (".as_slice(), text.as_bytes()].concat()] {
                let _sorted = (Response::parse(line), fetch_of(line), literal_of(line), quoted_body(line), code(line, "X"));
            }
        }
    }
}
