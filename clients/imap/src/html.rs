//! HTML as a person reads it: tags, styles and scripts left out, entities opened. One pass, whatever is broken.

use mail_parser::decoders::html::add_html_token;

/// Bytes of an entity at most, `&` and `;` included; a longer one is text.
const ENTITY_BYTES_MAX: usize = 32;
/// Tags that do not part words.
const INLINE: [&str; 17] =
    ["a", "abbr", "b", "big", "code", "em", "font", "i", "kbd", "s", "small", "span", "strong", "sub", "sup", "tt", "u"];
/// Tags whose content nobody reads.
const UNREAD: [&str; 3] = ["script", "style", "title"];

/// The text of a page; white space stands where blocks end.
pub(crate) fn text_of(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(at) = memchr::memchr2(b'<', b'&', rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        rest = if special.starts_with('&') { entity(special, &mut text) } else { tag(special, &mut text) };
    }
    text.push_str(rest);
    text
}

/// Opens an entity; gives what follows it.
fn entity<'a>(special: &'a str, text: &mut String) -> &'a str {
    let window = special.as_bytes().get(..ENTITY_BYTES_MAX.min(special.len())).unwrap_or_default();
    match memchr::memchr(b';', window) {
        Some(end) if special.is_char_boundary(end + 1) => {
            let (entity, rest) = special.split_at(end + 1);
            add_html_token(text, entity.as_bytes(), false);
            rest
        }
        _ => {
            text.push('&');
            special.get(1..).unwrap_or_default()
        }
    }
}

/// Passes over a tag, and over what belongs to it and is not read; gives what follows.
fn tag<'a>(special: &'a str, text: &mut String) -> &'a str {
    if let Some(comment) = special.strip_prefix("<!--") {
        return comment.find("-->").and_then(|end| comment.get(end + 3..)).unwrap_or_default();
    }
    let inner = special.get(1..).unwrap_or_default();
    // A lone `<` is text.
    if !inner.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?')) {
        text.push('<');
        return inner;
    }
    let rest = memchr::memchr(b'>', inner.as_bytes()).and_then(|end| inner.get(end + 1..)).unwrap_or_default();
    let closing = inner.starts_with('/');
    let name = inner.trim_start_matches('/');
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(name.len());
    let name = name.get(..end).unwrap_or_default();
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    if !INLINE.iter().any(is) {
        text.push(' ');
    }
    match UNREAD.iter().find(|known| is(known)) {
        Some(unread) if !closing => after_closing(rest, unread),
        _ => rest,
    }
}

/// What follows `</name`, from there on; nothing where it never closes.
fn after_closing<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"</") {
        let found = rest.get(at..).unwrap_or_default();
        if found.get(2..2 + name.len()).is_some_and(|closing| closing.eq_ignore_ascii_case(name)) {
            return found;
        }
        rest = found.get(2..).unwrap_or_default();
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_read_as_people_see_them() {
        for (html, text) in [
            ("Hel<b>lo</b> W&ouml;rld", "Hello Wörld"),
            ("<p>one</p><p>two</p>", "one two"),
            ("a<br>b&nbsp;c &amp; d &#x41;&#66; &unknown; & so", "a b c & d AB &unknown; & so"),
            ("<style>p { color: red }</style>x<script>if (a </b) {}</script>y", "x y"),
            ("<!-- not this --><div class='>'>in", "'>in"),
            ("3 < 4 and <never closed", "3 < 4 and"),
            ("<STYLE>all gone", ""),
        ] {
            let read = text_of(html).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(read, text, "{html}");
        }
    }

    #[test]
    fn broken_pages_take_no_longer() {
        for piece in ["<", "<!--", "<style></", "&", "<a", "</"] {
            text_of(&piece.repeat(200_000));
        }
    }

    proptest! {
        #[test]
        fn any_page_is_read(html in "[<>&;a-z/!ü -]{0,60}") {
            text_of(&html);
        }
    }
}
