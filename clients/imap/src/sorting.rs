//! SORT's order (RFC 5256 §3): criteria one after the other, then the place in the folder.

use std::cmp::Ordering;

/// What messages are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// ARRIVAL: INTERNALDATE.
    Arrival,
    /// CC: the local part of the first address.
    Cc,
    /// DATE: the Date field, INTERNALDATE where there is none.
    Date,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT: its base.
    Subject,
    /// TO
    To,
}

/// A key, and which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// By what.
    pub key: SortKey,
    /// The greatest first.
    pub reverse: bool,
}

/// What a message has of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
}

/// A message with the values of all criteria, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sorted {
    pub(crate) uid: u32,
    pub(crate) values: Vec<Value>,
}

/// Puts messages in order.
pub(crate) fn sort(messages: &mut [Sorted], criteria: &[Criterion]) {
    messages.sort_unstable_by(|a, b| {
        let mut order = Ordering::Equal;
        for ((criterion, a), b) in criteria.iter().zip(&a.values).zip(&b.values) {
            order = if criterion.reverse { b.cmp(a) } else { a.cmp(b) };
            if order != Ordering::Equal {
                break;
            }
        }
        order.then(a.uid.cmp(&b.uid))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_by_the_place_in_the_folder_also_in_reverse() {
        let message = |uid, number, text: &str| Sorted { uid, values: vec![Value::Number(number), Value::Text(text.into())] };
        let mut messages = vec![message(3, 1, "b"), message(1, 2, "a"), message(2, 1, "b"), message(4, 1, "a")];
        let by = |key, reverse| Criterion { key, reverse };
        sort(&mut messages, &[by(SortKey::Size, true), by(SortKey::Subject, false)]);
        assert_eq!(messages.iter().map(|message| message.uid).collect::<Vec<_>>(), [1, 4, 2, 3]);
        sort(&mut messages, &[by(SortKey::Size, false), by(SortKey::Subject, true)]);
        assert_eq!(messages.iter().map(|message| message.uid).collect::<Vec<_>>(), [2, 3, 4, 1]);
    }
}
