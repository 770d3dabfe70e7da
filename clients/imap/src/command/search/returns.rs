//! RETURN (…): what a search is to tell, and what it is to keep (RFC 4731 §3.1, RFC 5182 §2.1, RFC 9394 §3.1).

use crate::limits::ITEMS_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};

/// Result options (RFC 4731 §3.1, RFC 5182 §2.1, RFC 9394 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
    /// SAVE
    pub save: bool,
    /// PARTIAL
    pub partial: Option<Page>,
}

/// Some of a result's messages, by place: `1:100` from the front, `-1:-100` from the back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The places, 1 and up, in the order in which they were given.
    pub places: (u32, u32),
    /// They are counted from the back.
    pub from_end: bool,
}

impl Page {
    /// `1:100` or `-1:-100`.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        const WHAT: SyntaxError = SyntaxError::Expected("a range of places, such as 1:100 or -1:-100");
        let from_end = cursor.eat(b'-');
        let first = cursor.number()?;
        cursor.expect(b':', "a colon")?;
        if cursor.eat(b'-') != from_end {
            return Err(WHAT);
        }
        let last = cursor.number()?;
        if first == 0 || last == 0 { Err(WHAT) } else { Ok(Self { places: (first, last), from_end }) }
    }

    /// Which of so many that is: from, to (exclusive).
    pub(crate) fn slice(self, count: usize) -> (usize, usize) {
        let place = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
        let (low, high) = (place(self.places.0.min(self.places.1)), place(self.places.0.max(self.places.1)));
        if self.from_end {
            (count.saturating_sub(high), count.saturating_sub(low - 1))
        } else {
            ((low - 1).min(count), high.min(count))
        }
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.places.0, self.places.1)
    }
}

pub(super) fn returns(cursor: &mut Cursor<'_>) -> Parsed<Option<SearchReturn>> {
    if !cursor.eat_word("RETURN") {
        return Ok(None);
    }
    cursor.space()?;
    let returns = return_options(cursor)?;
    cursor.space()?;
    Ok(Some(returns))
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    let mut returns = SearchReturn::default();
    cursor.parenthesised(ITEMS_MAX, "result options", |cursor| {
        match cursor.word("a result option")?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "PARTIAL" => {
                cursor.space()?;
                returns.partial = Some(Page::parse(cursor)?);
            }
            _ => return Err(SyntaxError::Expected("MIN, MAX, ALL, COUNT, SAVE or PARTIAL")),
        }
        Ok(())
    })?;
    // RFC 4731 §3.1: an empty list means ALL.
    if returns == SearchReturn::default() {
        returns.all = true;
    }
    // RFC 9394 §3.1.
    if returns.all && returns.partial.is_some() {
        return Err(SyntaxError::Expected("either ALL or PARTIAL"));
    }
    Ok(returns)
}
