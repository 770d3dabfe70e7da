//! What somebody may have meant by a name that is none: the one that is spelled most like it.

/// How many letters may be other ones, missing or too many.
const LETTERS_MAX: usize = 2;

/// The known name that is spelled most like this one, if one is spelled enough like it; names of one or two letters are like everything.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let most = LETTERS_MAX.min(typed.chars().count() / 3);
    known
        .into_iter()
        .map(|name| (distance(&typed, name), name))
        .filter(|(letters, _)| *letters <= most)
        .min()
        .map(|(_, name)| name)
}

/// A remedy that names it; `otherwise` where there is none.
pub(super) fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(typed, known).map_or_else(|| otherwise.to_owned(), |name| format!("did you mean {name}? {otherwise}"))
}

/// Letters to be changed, put in or left out, or two beside each other to be exchanged, so that one becomes the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for letter in one.chars() {
        let mut next = vec![row.first().map_or(1, |first| first + 1)];
        for (at, found) in other.iter().enumerate() {
            let cost = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut least = (cost(&row, at) + usize::from(*found != letter)).min(cost(&row, at + 1) + 1).min(cost(&next, at) + 1);
            let exchanged = at > 0 && last == Some(*found) && other.get(at - 1) == Some(&letter);
            if exchanged {
                least = least.min(cost(&before, at - 1).saturating_add(1));
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mistyped_name_is_found_and_another_one_is_not() {
        let known = ["anna", "bob", "carol@example.org"];
        for (typed, wanted) in [
            ("annna", Some("anna")),
            ("Ana", Some("anna")),
            ("nana", Some("anna")),
            ("carl@exmaple.org", Some("carol@example.org")),
            ("dave", None),
            ("bo", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), wanted, "{typed}");
        }
        assert_eq!(meant("annna", known, "see the list"), "did you mean anna? see the list");
    }

    proptest! {
        #[test]
        fn a_name_is_nearest_to_itself_and_no_text_is_too_strange(typed in "\\PC{0,40}", other in "\\PC{0,40}") {
            prop_assert_eq!(distance(&typed.to_lowercase(), &typed), 0);
            prop_assert!(distance(&typed.to_lowercase(), &other) <= typed.to_lowercase().chars().count().max(other.to_lowercase().chars().count()));
        }
    }
}
