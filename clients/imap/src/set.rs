//! Sequence sets (RFC 3501 §9 `sequence-set`): what a client asks for, and compact ones to answer with.

use crate::limits::SET_RANGES_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// 1 and up.
    Of(u32),
    /// `*`: the largest number in use.
    Last,
}

/// Ranges as the client wrote them: any order, overlapping, ends possibly swapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet {
    ranges: Vec<(Number, Number)>,
    /// `$`: what the last search saved (RFC 5182), and no ranges.
    saved: bool,
}

impl SequenceSet {
    /// Reads a set.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut ranges = Vec::new();
        if cursor.eat(b'$') {
            return Ok(Self { ranges, saved: true });
        }
        loop {
            if ranges.len() == SET_RANGES_MAX {
                return Err(SyntaxError::TooMany("ranges in the set"));
            }
            let first = number(cursor)?;
            let last = if cursor.eat(b':') { number(cursor)? } else { first };
            ranges.push((first, last));
            if !cursor.eat(b',') {
                return Ok(Self { ranges, saved: false });
            }
        }
    }

    /// The ranges with `*` put in: ascending, disjoint, not adjacent. `last` 0 means that nothing is in use: then `*` is nothing either.
    pub fn resolve(&self, last: u32) -> Ranges {
        let resolved = self.ranges.iter().filter_map(|&(a, b)| {
            let put = |number| match number {
                Number::Of(number) => number,
                Number::Last => last,
            };
            let (a, b) = (put(a), put(b));
            (a != 0 && b != 0).then_some((a.min(b), a.max(b)))
        });
        Ranges::from_unsorted(resolved.collect())
    }

    /// Is it `$`, the result of the last search that was saved?
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Numbers alone, no `*` and no `$`?
    pub fn is_plain(&self) -> bool {
        !self.saved && self.ranges.iter().all(|(a, b)| *a != Number::Last && *b != Number::Last)
    }

    /// The largest number named outright; `None` if there are only stars.
    pub fn largest(&self) -> Option<u32> {
        let ends = self.ranges.iter().flat_map(|&(a, b)| [a, b]);
        ends.filter_map(|end| match end {
            Number::Of(number) => Some(number),
            Number::Last => None,
        })
        .max()
    }
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<Number> {
    if cursor.eat(b'*') {
        return Ok(Number::Last);
    }
    match cursor.number()? {
        0 => Err(SyntaxError::Expected("a number above 0")),
        number => Ok(Number::Of(number)),
    }
}

/// Numbers as inclusive ranges: ascending, disjoint, not adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn from_unsorted(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    /// Adds a number that is greater than all before.
    pub fn push(&mut self, number: u32) {
        match self.0.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => self.0.push((number, number)),
        }
    }

    /// Is it in there?
    pub fn contains(&self, number: u32) -> bool {
        let after = self.0.partition_point(|range| range.0 <= number);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|range| number <= range.1)
    }

    /// `1..=last`.
    pub fn all(last: u32) -> Self {
        Self(if last == 0 { Vec::new() } else { vec![(1, last)] })
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().copied().peekable(), other.0.iter().copied().peekable());
        let mut both = Vec::new();
        while let (Some(&(a, b)), Some(&(c, d))) = (ours.peek(), theirs.peek()) {
            let (from, to) = (a.max(c), b.min(d));
            if from <= to {
                both.push((from, to));
            }
            if b < d {
                ours.next();
            } else {
                theirs.next();
            }
        }
        Self(both)
    }

    /// What lies in `1..=last` and not in these ascending numbers.
    pub fn gaps(numbers: &[u32], last: u32) -> Self {
        let mut gaps = Vec::new();
        let mut next = 1_u32;
        for &number in numbers.iter().take_while(|number| **number <= last) {
            if next < number {
                gaps.push((next, number - 1));
            }
            next = number.saturating_add(1);
        }
        if next <= last {
            gaps.push((next, last));
        }
        Self(gaps)
    }

    /// Ranges from `1..=u32::MAX` that are cut down to those that begin after `number`.
    #[must_use]
    pub fn after(&self, number: u32) -> Self {
        self.intersect(&Self(vec![(number.saturating_add(1), u32::MAX)]))
    }

    /// The numbers one by one, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|&(from, to)| from..=to)
    }

    /// Nothing in there?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(from, to)| u64::from(to) - u64::from(from) + 1).sum()
    }
}

impl FromIterator<u32> for Ranges {
    /// From ascending numbers.
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut ranges = Self::default();
        for number in numbers {
            ranges.push(number);
        }
        ranges
    }
}

impl FromIterator<(u32, u32)> for Ranges {
    /// From ranges in any order.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(ranges: I) -> Self {
        Self::from_unsorted(ranges.into_iter().collect())
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_ranges(f, self.0.iter().copied())
    }
}

/// A `uid-set` that keeps the given order: what COPYUID needs (RFC 4315 §3).
pub(crate) struct InOrder<'a>(pub(crate) &'a [u32]);

impl std::fmt::Display for InOrder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let runs = self.0.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        write_ranges(f, runs.filter_map(|run| Some((*run.first()?, *run.last()?))))
    }
}

fn write_ranges(f: &mut std::fmt::Formatter<'_>, ranges: impl Iterator<Item = (u32, u32)>) -> std::fmt::Result {
    for (index, (from, to)) in ranges.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        if from == to { write!(f, "{from}")? } else { write!(f, "{from}:{to}")? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn sets_resolve_to_ascending_ranges() {
        assert_eq!(set("5,1:3,4,9:7").resolve(100).to_string(), "1:5,7:9");
        assert_eq!(set("*").resolve(7).to_string(), "7");
        assert_eq!(set("*:4").resolve(7).to_string(), "4:7");
        // RFC 3501 §9: `559:*` includes the last message even if it is below 559.
        assert_eq!(set("559:*").resolve(7).to_string(), "7:559");
        assert!(set("1:*").resolve(0).is_empty());
        assert_eq!(set("4294967295,1:*").resolve(2).count(), 3);
    }

    #[test]
    fn zero_and_nonsense_are_no_numbers() {
        for text in ["0", "1:0", "", ",", "1,", "a", "1:", "-1"] {
            assert!(SequenceSet::parse(&mut Cursor::new(text.as_bytes())).is_err(), "{text}");
        }
    }

    #[test]
    fn gaps_and_intersections_are_what_sets_say() {
        assert_eq!(Ranges::gaps(&[2, 3, 7], 9).to_string(), "1,4:6,8:9");
        assert_eq!(Ranges::gaps(&[], 3).to_string(), "1:3");
        assert_eq!(Ranges::gaps(&[1, 2, 3], 3).to_string(), "");
        assert!(Ranges::gaps(&[5], 0).is_empty());
        let both = set("1:5,8,10:20").resolve(1).intersect(&set("3:9,12:13,20:40").resolve(1));
        assert_eq!(both.to_string(), "3:5,8,12:13,20");
        assert_eq!(set("1:5,8").resolve(1).after(4).to_string(), "5,8");
        assert_eq!(set("1:3,7").resolve(1).numbers().collect::<Vec<_>>(), [1, 2, 3, 7]);
    }

    #[test]
    fn membership_agrees_with_the_ranges() {
        let ranges = set("2:4,8").resolve(9);
        let inside: Vec<u32> = (0..12).filter(|&number| ranges.contains(number)).collect();
        assert_eq!(inside, [2, 3, 4, 8]);
        assert_eq!(InOrder(&[4, 5, 1, 2, 3, 9]).to_string(), "4:5,1:3,9");
    }
}
