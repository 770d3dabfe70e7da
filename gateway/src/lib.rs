//! Ordinary e-mail, in and out: the only place that knows MX, SPF, DKIM, DMARC and ACME.

pub mod acme;
pub mod check;
pub mod dns;
pub mod domain;
pub mod fetch;
pub mod inbound;
pub mod outbound;
pub mod schedule;
pub mod secret;
pub mod sign;
pub mod web;

/// Text from outside as one line that can be shown and kept: no control characters, at most `bytes_max` bytes.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let character = if character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            ' '
        } else {
            character
        };
        if shown.len() + character.len_utf8() > bytes_max {
            break;
        }
        shown.push(character);
    }
    shown.trim().to_owned()
}
