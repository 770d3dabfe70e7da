//! PREVIEW (RFC 8970): the first words of a message, as plain text on one line.

use std::io::{self, Read};

use crate::structure::scan;
use crate::text::first_text;

/// Characters of a preview at most (RFC 8970 §3.1).
const PREVIEW_CHARS_MAX: usize = 200;
/// Bytes of a message that are looked at for it.
const PREVIEW_BYTES_READ: u64 = 128 * 1024;
/// Characters of a text that are looked at: quoted lines before the first own one are passed over.
const TEXT_CHARS_MAX: usize = 16 * 1024;

/// The preview of a message, which is read from its beginning; empty where it has no text.
pub(crate) fn preview(reader: &mut impl Read) -> io::Result<String> {
    let mut raw = Vec::new();
    reader.take(PREVIEW_BYTES_READ).read_to_end(&mut raw)?;
    let structure = scan(&mut &*raw)?;
    let Some(text) = first_text(&raw, &structure) else { return Ok(String::new()) };
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let own = words(text.lines().filter(|line| !line.trim_start().starts_with('>')));
    Ok(if own.is_empty() { words(text.lines()) } else { own })
}

/// The beginning of some lines, white space and control characters made single spaces.
fn words<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut preview = String::new();
    let mut chars = 0;
    for word in lines.flat_map(|line| line.split(|letter: char| letter.is_whitespace() || letter.is_control())) {
        if word.is_empty() {
            continue;
        }
        if chars > 0 {
            preview.push(' ');
            chars += 1;
        }
        for letter in word.chars() {
            if chars >= PREVIEW_CHARS_MAX {
                return preview;
            }
            preview.push(letter);
            chars += 1;
        }
    }
    preview
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &str) -> String {
        preview(&mut raw.as_bytes()).unwrap()
    }

    #[test]
    fn previews_are_what_a_person_reads_first() {
        for (raw, expected) in [
            ("Subject: x\r\n\r\n> quoted\r\nOwn\twords\r\n\r\nhere", "Own words here"),
            ("Subject: x\r\n\r\n> only\r\n> quoted", "> only > quoted"),
            ("Content-Type: text/html\r\n\r\n<style>x</style><p>Hello</p><p>you</p>", "Hello you"),
            (
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nno\r\n\
                 --b\r\nContent-Transfer-Encoding: base64\r\n\r\nSMO2cg==\r\n--b--",
                "H\u{f6}r",
            ),
            ("Content-Type: image/png\r\n\r\nx", ""),
            ("", ""),
        ] {
            assert_eq!(of(raw), expected, "{raw}");
        }
        let long = of(&format!("\r\n{}", "\u{fc}".repeat(500)));
        assert_eq!(long.chars().count(), PREVIEW_CHARS_MAX);
    }
}
