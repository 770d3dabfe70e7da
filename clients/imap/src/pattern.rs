//! LIST's wildcards (RFC 3501 §6.3.8): `*` matches anything, `%` anything but the hierarchy separator.

/// The hierarchy separator.
pub(crate) const SEPARATOR: char = '/';

/// What matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The whole name.
    Whole,
    /// A level above the name, of this many bytes: `%` in the pattern stopped at a separator.
    Above(usize),
    /// Nothing.
    None,
}

/// Compares a name with a pattern. INBOX is compared without regard to case. Time grows with the product of the lengths, no faster.
pub(crate) fn matches(pattern: &str, name: &str) -> Match {
    let whole = reach(pattern, name);
    if whole.last() == Some(&true) {
        return Match::Whole;
    }
    if !pattern.ends_with('%') {
        return Match::None;
    }
    let mut levels = name.char_indices().filter(|&(_, character)| character == SEPARATOR).map(|(at, _)| at);
    levels.rfind(|&at| at > 0 && whole.get(at) == Some(&true)).map_or(Match::None, Match::Above)
}

/// For each length in bytes: does the whole pattern match that much of the name's beginning?
fn reach(pattern: &str, name: &str) -> Vec<bool> {
    let inbox = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("INBOX"))
        && matches!(name.as_bytes().get(5), None | Some(b'/'));
    let mut reached = vec![false; name.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for wanted in pattern.chars() {
        let mut next = vec![false; name.len() + 1];
        for (at, found) in name.char_indices() {
            let after = at + found.len_utf8();
            let from = reached.get(at) == Some(&true);
            let open = next.get(at) == Some(&true);
            let (stay, step) = match wanted {
                '*' => (from, from || open),
                '%' => (from, (from || open) && found != SEPARATOR),
                _ => (false, from && (wanted == found || inbox && at < 5 && wanted.eq_ignore_ascii_case(&found))),
            };
            if stay && let Some(slot) = next.get_mut(at) {
                *slot = true;
            }
            if step && let Some(slot) = next.get_mut(after) {
                *slot = true;
            }
        }
        if matches!(wanted, '*' | '%')
            && reached.last() == Some(&true)
            && let Some(end) = next.last_mut()
        {
            *end = true;
        }
        reached = next;
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_the_rfc_says() {
        for (pattern, name, expected) in [
            ("*", "a/b/c", Match::Whole),
            ("%", "a", Match::Whole),
            ("%", "a/b/c", Match::Above(1)),
            ("a/%", "a/b/c", Match::Above(3)),
            ("a/%", "a", Match::None),
            ("%/%", "a/b", Match::Whole),
            ("a*", "abc/d", Match::Whole),
            ("*c", "a/b/c", Match::Whole),
            ("*%", "a/b", Match::Whole),
            ("inbox", "INBOX", Match::Whole),
            ("InBox/%", "INBOX/x", Match::Whole),
            ("inboxes", "Inboxes", Match::None),
            ("", "a", Match::None),
            ("a%c", "abc", Match::Whole),
            ("a%c", "ab/c", Match::None),
            ("ü%", "über", Match::Whole),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_quick() {
        let pattern = "*a".repeat(400) + "b";
        assert_eq!(matches(&pattern, &"a".repeat(1_000)), Match::None);
    }
}
