//! SORT's order (RFC 5256 §3): criteria one after the other, then the place in the folder.

use crate::index::Index;

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

/// How many keys there are: more criteria change nothing, since they repeat one.
const KEYS: usize = 7;

/// A key, and which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// By what.
    pub key: SortKey,
    /// The greatest first.
    pub reverse: bool,
}

/// The UIDs of some messages of an index (by their places in it) in order.
pub(crate) fn sorted(index: &Index, places: impl Iterator<Item = usize>, criteria: &[Criterion]) -> Vec<u32> {
    let mut distinct: Vec<Criterion> = Vec::with_capacity(KEYS);
    for criterion in criteria {
        if distinct.len() < KEYS && distinct.iter().all(|known| known.key != criterion.key) {
            distinct.push(*criterion);
        }
    }
    let ranks: Vec<_> = distinct.iter().map(|criterion| index.ranks(criterion.key)).collect();
    let number = |place: usize, (criterion, ranks): (&Criterion, &&[u32])| {
        let number = match criterion.key {
            SortKey::Arrival => index.entry(place).received,
            SortKey::Size => i64::try_from(index.entry(place).size).unwrap_or(i64::MAX),
            SortKey::Date => index.sent(place),
            SortKey::Cc | SortKey::From | SortKey::Subject | SortKey::To => ranks.get(place).copied().unwrap_or(0).into(),
        };
        // The complement has the opposite order, and exists of every number.
        if criterion.reverse { !number } else { number }
    };
    if let ([only], [ranks]) = (&*distinct, &*ranks) {
        let mut rows: Vec<_> = places.map(|place| (number(place, (only, ranks)), index.entry(place).uid)).collect();
        rows.sort_unstable();
        return rows.into_iter().map(|(_, uid)| uid).collect();
    }
    let row = |place| {
        let mut numbers = [0; KEYS];
        let criteria = distinct.iter().zip(&ranks);
        numbers.iter_mut().zip(criteria).for_each(|(slot, criterion)| *slot = number(place, criterion));
        (numbers, index.entry(place).uid)
    };
    let mut rows: Vec<_> = places.map(row).collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, uid)| uid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::of_header;

    #[test]
    fn ties_go_by_the_place_in_the_folder_also_in_reverse() {
        let mut index = Index::default();
        for (uid, size, text) in [(1, 2, "a"), (2, 1, "b"), (3, 1, "b"), (4, 1, "a")] {
            index.push(uid, (uid.into(), 0, size), Some(&of_header(format!("Subject: {text}\r\n").as_bytes())));
        }
        let by = |key, reverse| Criterion { key, reverse };
        let order = |criteria: &[Criterion]| sorted(&index, 0..4, criteria);
        assert_eq!(order(&[by(SortKey::Size, true), by(SortKey::Subject, false)]), [1, 4, 2, 3]);
        assert_eq!(order(&[by(SortKey::Size, false), by(SortKey::Subject, true)]), [2, 3, 4, 1]);
        assert_eq!(order(&[by(SortKey::Subject, true)]), [2, 3, 1, 4]);
        let repeated = [by(SortKey::Subject, false), by(SortKey::Subject, true), by(SortKey::Size, false)];
        assert_eq!(order(&repeated), [4, 1, 2, 3]);
    }
}
