//! Dates: INTERNALDATE in both directions and the days that SEARCH compares (RFC 3501 §9 `date-time`, `date`).

use crate::token::{Cursor, Parsed, SyntaxError};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECONDS: i64 = 86_400;
const BAD_DATE: SyntaxError = SyntaxError::Expected("a date");

/// A moment and the offset from UTC (minutes) in which it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Unix seconds.
    pub seconds: i64,
    /// Minutes.
    pub zone: i16,
}

/// A calendar day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl DateTime {
    /// `"17-Jul-1996 02:44:25 -0700"`, quotes included.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let text = cursor.string("a date and time")?;
        let text = std::str::from_utf8(&text).map_err(|_| BAD_DATE)?;
        let mut words = text.split_ascii_whitespace();
        let (Some(date), Some(time), Some(zone), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(BAD_DATE);
        };
        let day = Day::from_text(date)?;
        let mut parts = time.split(':').map(|part| if part.len() == 2 { digits(part) } else { Err(BAD_DATE) });
        let mut part = |limit| parts.next().unwrap_or(Err(BAD_DATE)).and_then(|n| if n < limit { Ok(n) } else { Err(BAD_DATE) });
        let (hour, minute, second) = (part(24)?, part(60)?, part(61)?);
        let (sign, zone) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
            (Some(zone), _) => (1, zone),
            (_, Some(zone)) => (-1, zone),
            _ => return Err(BAD_DATE),
        };
        if zone.len() != 4 {
            return Err(BAD_DATE);
        }
        let zone = digits(zone)?;
        let zone = sign * (zone / 100 * 60 + zone % 100);
        let seconds = day.0 * DAY_SECONDS + hour * 3600 + minute * 60 + second - zone * 60;
        Ok(Self { seconds, zone: i16::try_from(zone).map_err(|_| BAD_DATE)? })
    }

    /// `17-Jul-1996 02:44:25 -0700`, in quotes.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let local = self.seconds.saturating_add(i64::from(self.zone) * 60);
        let (year, month, day) = Day(local.div_euclid(DAY_SECONDS)).civil();
        let second = local.rem_euclid(DAY_SECONDS);
        let sign = if self.zone < 0 { '-' } else { '+' };
        let zone = self.zone.unsigned_abs();
        let month = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
        let text = format!(
            "\"{day:02}-{month}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
            year.clamp(0, 9999),
            second / 3600,
            second / 60 % 60,
            second % 60,
            zone / 60,
            zone % 60
        );
        out.extend_from_slice(text.as_bytes());
    }

    /// The day, where it was told.
    pub(crate) fn day(self) -> Day {
        Day(self.seconds.saturating_add(i64::from(self.zone) * 60).div_euclid(DAY_SECONDS))
    }
}

impl Day {
    /// `1-Feb-1994`, with or without quotes.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let text = cursor.astring("a date")?;
        Self::from_text(std::str::from_utf8(&text).map_err(|_| BAD_DATE)?)
    }

    fn from_text(text: &str) -> Parsed<Self> {
        let mut parts = text.split('-');
        let (Some(day), Some(month), Some(year), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(BAD_DATE);
        };
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month)).ok_or(BAD_DATE)?;
        // RFC 3501 §9: a year of two digits is none, and would be one of the first century.
        if day.len() > 2 || year.len() != 4 {
            return Err(BAD_DATE);
        }
        let (day, year) = (digits(day)?, digits(year)?);
        let month = i64::try_from(month).map_err(|_| BAD_DATE)? + 1;
        if !(1..=days_of(year, month)).contains(&day) || !(1..=9999).contains(&year) {
            return Err(BAD_DATE);
        }
        Ok(Self::of(year, month, day))
    }

    /// From the Gregorian calendar; `month` and `day` count from 1.
    pub(crate) fn of(year: i64, month: i64, day: i64) -> Self {
        // Years begin in March, so that the leap day comes last.
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * years + years / 4 - years / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (years + era * 400 + i64::from(month <= 2), month, day)
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn digits(text: &str) -> Parsed<i64> {
    if text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD_DATE);
    }
    text.parse().map_err(|_| BAD_DATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date_time(text: &str) -> Parsed<DateTime> {
        DateTime::parse(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn internal_dates_go_both_ways() {
        for text in [
            "\"17-Jul-1996 02:44:25 -0700\"",
            "\"29-Feb-2024 23:59:59 +0530\"",
            "\"01-Jan-1970 00:00:00 +0000\"",
            "\"31-Dec-1969 23:00:00 -0100\"",
        ] {
            let mut out = Vec::new();
            date_time(text).unwrap().write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        assert_eq!(date_time("\" 7-Feb-1994 21:52:25 -0800\"").unwrap().seconds, 760_686_745);
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in [
            "\"30-Feb-2024 00:00:00 +0000\"",
            "\"01-Foo-2024 00:00:00 +0000\"",
            "\"01-Jan-2024 24:00:00 +0000\"",
            "\"\"",
            "\"1-Jan-2024\"",
        ] {
            assert!(date_time(text).is_err(), "{text}");
        }
        assert!(Day::parse(&mut Cursor::new(b"29-Feb-2023")).is_err());
    }

    #[test]
    fn days_and_calendar_agree() {
        for day in (-200_000..200_000).step_by(97) {
            let (year, month, of_month) = Day(day).civil();
            assert_eq!(Day::of(year, month, of_month), Day(day));
        }
        assert_eq!(Day::parse(&mut Cursor::new(b"\"1-Jan-1970\"")), Ok(Day(0)));
    }
}
