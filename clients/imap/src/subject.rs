//! The base subject (RFC 5256 §2.1): what is left of a Subject without `Re:`, `Fwd:` and `[list]`; and the order of texts (RFC 5051).

use unicode_normalization::UnicodeNormalization as _;

/// Bytes of a subject that are looked at.
const SUBJECT_BYTES_MAX: usize = 1_000;

/// A base subject, as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// By [`collated`].
    pub(crate) text: String,
    /// Something was taken away that marks a reply or a forward.
    pub(crate) reply: bool,
}

/// Takes away from a decoded subject what replies and lists add.
pub(crate) fn base(subject: &str) -> Base {
    let mut end = subject.len().min(SUBJECT_BYTES_MAX);
    while !subject.is_char_boundary(end) {
        end -= 1;
    }
    let flat = subject.get(..end).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = flat.as_str();
    let mut reply = false;
    loop {
        while let Some(shorter) = strip_end(rest, "(fwd)") {
            (rest, reply) = (shorter.trim_end(), true);
        }
        loop {
            rest = rest.trim_start();
            if let Some(after) = leader(rest) {
                (rest, reply) = (after, true);
            } else if let Some(after) = blob(rest).filter(|after| !after.is_empty()) {
                rest = after;
            } else {
                break;
            }
        }
        match strip_start(rest, "[fwd:").and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => (rest, reply) = (inner.trim(), true),
            None => return Base { text: collated(rest), reply },
        }
    }
}

/// `*subj-blob subj-refwd`
fn leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let rest = strip_start(rest, "re").or_else(|| strip_start(rest, "fwd")).or_else(|| strip_start(rest, "fw"))?.trim_start();
    blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// `"[" *BLOBCHAR "]" *WSP`
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']']).filter(|end| inner.get(*end..).is_some_and(|rest| rest.starts_with(']')))?;
    inner.get(end + 1..).map(str::trim_start)
}

fn strip_start<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

fn strip_end<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    text.get(at..)?.eq_ignore_ascii_case(suffix).then(|| text.get(..at)).flatten()
}

/// A text as i;unicode-casemap (RFC 5051) compares it.
pub(crate) fn collated(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.to_uppercase().nfkd().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_what_the_rfc_says() {
        for (subject, text, reply) in [
            ("Hello", "HELLO", false),
            ("Re: Hello", "HELLO", true),
            ("RE:Re: fwd:  Hello  there", "HELLO THERE", true),
            ("[list] Hello", "HELLO", false),
            ("[a] Re: [b] Hello (fwd) (FWD)", "HELLO", true),
            ("Re[2]: Hello", "HELLO", true),
            ("Re [x] : Hello", "HELLO", true),
            ("[Fwd: Re: Hello]", "HELLO", true),
            ("[only]", "[ONLY]", false),
            ("Re:", "", true),
            ("Regards", "REGARDS", false),
            ("[broken Hello", "[BROKEN HELLO", false),
            ("\tfoo\r\n bar", "FOO BAR", false),
            ("", "", false),
        ] {
            assert_eq!(base(subject), Base { text: text.to_owned(), reply }, "{subject}");
        }
    }

    #[test]
    fn long_and_hostile_subjects_end() {
        base(&"[a]".repeat(100_000));
        base(&"Re: ".repeat(100_000));
        base(&"ü".repeat(100_000));
        base(&"[fwd:".repeat(50_000));
    }

    #[test]
    fn accents_sort_beside_their_letters() {
        let mut words = ["zoo", "Éclair", "apple", "eclipse"];
        words.sort_by_key(|word| collated(word));
        assert_eq!(words, ["apple", "eclipse", "Éclair", "zoo"]);
    }
}
