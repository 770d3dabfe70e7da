//! Reading an mbox, whichever of its dialects it is (mboxrd, mboxo, mboxcl, mboxcl2, Thunderbird's), with any size of mail in bounded memory.
//!
//! A mail begins at a line `From …` that follows an empty line and looks like one that a program wrote, and ends before the next one; where a
//! `Content-Length` leads right to such a line or to the end of the file, that counts instead. Nothing is lost by a doubt: what is not the
//! beginning of a mail is part of the one before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memmem::Finder;

use super::lines::{Ends, Lines, Quoting};
use super::marks::{Field, Marks, OURS};

/// The longest line that begins a mail.
const FROM_LINE_BYTES_MAX: usize = 1024;
/// The longest header that flags are looked for in; the rest of a longer one is taken as it is.
const HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// An mbox, read from the front to the back.
#[derive(Debug)]
pub struct Mbox {
    file: File,
    size: u64,
    at: u64,
}

/// Why a file is not read as an mbox, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum MboxError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It does not begin like one.
    #[error("it does not begin with a line `From …`, as an mbox does")]
    NoMbox,
}

/// One mail of an mbox.
#[derive(Debug)]
pub struct Found {
    /// Where its `From ` line begins in the file.
    pub begins: u64,
    /// Where it ends.
    pub ends: u64,
    /// When it came, as the `From ` line or else the mail's `Date` says: Unix seconds, and minutes from UTC.
    pub date: Option<(i64, i16)>,
    /// Its flags.
    pub marks: Marks,
    /// The program that kept the mbox had deleted it, and only not cleared away yet.
    pub erased: bool,
    /// Header without the fields that held flags, lines as in the file.
    header: Vec<u8>,
    /// Where what follows the header begins, and where it ends.
    body: u64,
    content_ends: u64,
    quoting: Quoting,
}

impl Mbox {
    /// Opens a file.
    ///
    /// # Errors
    /// [`MboxError`].
    pub fn open(path: &Path) -> Result<Self, MboxError> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mbox = Self { file, size, at: 0 };
        let head = mbox.read(0, 5)?;
        if size > 0 && head != b"From " {
            return Err(MboxError::NoMbox);
        }
        Ok(mbox)
    }

    /// The next mail; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_mail(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.size {
            return Ok(None);
        }
        let begins = self.at;
        let line = self.line(begins)?;
        let start = begins + self.line_length(begins)?;
        let (header, body) = self.header(start)?;
        let mut marks = Marks::default();
        let mut length = None;
        let mut erased = false;
        let kept = split_fields(&header, &mut marks, &mut length, &mut erased);
        let counted = match length {
            Some(length) => self.counted(body, length)?,
            None => None,
        };
        let (ends, next, quoting) = match counted {
            // Whoever counts need not quote (mboxcl2): an unquoted one tells.
            Some((ends, next)) if self.separator(body.saturating_sub(1), ends, Look::Any)?.is_some() => {
                (ends, next, Quoting::Keep)
            }
            Some((ends, next)) => (ends, next, Quoting::Remove),
            None => {
                let next = self.separator(body.saturating_sub(1).max(begins), self.size, Look::Mail)?.unwrap_or(self.size);
                (self.without_blank(body, next)?, next, Quoting::Remove)
            }
        };
        self.at = next;
        let date = from_line_date(&line).or_else(|| header_date(&kept));
        // A header that goes up to the next mail has taken the empty line with it.
        let content_ends = ends.max(body);
        Ok(Some(Found { begins, ends: next, date, marks, erased, header: kept, body, content_ends, quoting }))
    }

    /// Gives a mail's bytes, with the line ends of mail, in pieces.
    ///
    /// # Errors
    /// The file cannot be read, or `take` fails.
    pub fn copy(&self, found: &Found, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut lines = Lines::new(Ends::ToMail, found.quoting);
        let mut out = Vec::new();
        lines.push(&found.header, &mut out);
        take(&out)?;
        let mut at = found.body;
        while at < found.content_ends {
            let wanted = usize::try_from(found.content_ends - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = self.read(at, wanted)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += piece.len() as u64;
            out.clear();
            lines.push(&piece, &mut out);
            take(&out)?;
        }
        out.clear();
        lines.finish(&mut out);
        if !lines.is_at_line_start() {
            out.extend_from_slice(b"\r\n");
        }
        take(&out)
    }

    fn read(&self, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; bytes];
        let mut have = 0;
        while let Some(room) = piece.get_mut(have..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, at + have as u64) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        piece.truncate(have);
        Ok(piece)
    }

    /// The line at an offset, without its end, bounded.
    fn line(&self, at: u64) -> io::Result<Vec<u8>> {
        let mut line = self.read(at, FROM_LINE_BYTES_MAX)?;
        let end = memchr::memchr(b'\n', &line).unwrap_or(line.len());
        line.truncate(end);
        Ok(line.strip_suffix(b"\r").map(<[u8]>::to_vec).unwrap_or(line))
    }

    /// Bytes of the line at an offset with its end.
    fn line_length(&self, from: u64) -> io::Result<u64> {
        let mut at = from;
        loop {
            let piece = self.read(at, FROM_LINE_BYTES_MAX)?;
            match memchr::memchr(b'\n', &piece) {
                Some(end) => return Ok(at - from + end as u64 + 1),
                None if piece.is_empty() => return Ok(at - from),
                None => at += piece.len() as u64,
            }
        }
    }

    /// The header with the empty line behind it, and where the rest begins.
    fn header(&self, start: u64) -> io::Result<(Vec<u8>, u64)> {
        let mut header = Vec::new();
        let mut searched = 0;
        loop {
            let piece = self.read(start + header.len() as u64, PIECE_BYTES.min(16 * 1024))?;
            let ended = piece.is_empty();
            header.extend_from_slice(&piece);
            if let Some(end) = end_of_header(&header, searched) {
                header.truncate(end);
                break;
            }
            if ended || header.len() >= HEADER_BYTES_MAX {
                break;
            }
            searched = header.len().saturating_sub(3);
        }
        let body = start + header.len() as u64;
        Ok((header, body))
    }

    /// Where the content ends by its own count, and where the next mail begins, if the count leads there.
    fn counted(&self, body: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
        let Some(ends) = body.checked_add(length).filter(|ends| *ends <= self.size) else { return Ok(None) };
        let behind = self.read(ends, 4)?;
        let blank = behind.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count() as u64;
        let next = ends + blank;
        if next >= self.size {
            return Ok(Some((ends, self.size)));
        }
        let begins_line = blank > 0 || ends == body || self.read(ends - 1, 1)? == b"\n";
        let leads = begins_line && is_from_line(&self.line(next)?, After::Blank);
        Ok(leads.then_some((ends, next)))
    }

    /// The first line `From …` whose line begins within `from + 1 .. to`; `from` is a line's last byte.
    fn separator(&self, from: u64, to: u64, look: Look) -> io::Result<Option<u64>> {
        let finder = Finder::new(b"\nFrom ");
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            // The pattern may lie across the pieces.
            let piece = self.read(at, wanted + 5)?;
            let mut within = 0;
            while let Some(found) = piece.get(within..).and_then(|rest| finder.find(rest)) {
                let lf = at + (within + found) as u64;
                if lf + 1 >= to {
                    break;
                }
                let is_one = match look {
                    Look::Any => true,
                    Look::Mail => {
                        let before = self.read(lf.saturating_sub(2), usize::try_from(lf.min(2)).unwrap_or(0))?;
                        let blank = before.ends_with(b"\n") || before == b"\n\r";
                        is_from_line(&self.line(lf + 1)?, if blank { After::Blank } else { After::Text })
                    }
                };
                if is_one {
                    return Ok(Some(lf + 1));
                }
                within += found + 1;
            }
            at += wanted as u64;
        }
        Ok(None)
    }

    /// The empty line before a separator is not the mail's.
    fn without_blank(&self, body: u64, next: u64) -> io::Result<u64> {
        let tail = self.read(next.saturating_sub(4).max(body), usize::try_from((next - body.min(next)).min(4)).unwrap_or(4))?;
        let blank = if tail.ends_with(b"\r\n\r\n") {
            2
        } else if tail.ends_with(b"\n\n") || tail == b"\n" {
            1
        } else if tail == b"\r\n" {
            2
        } else {
            0
        };
        Ok(next - blank)
    }
}

/// What is looked for.
#[derive(Clone, Copy)]
enum Look {
    /// A line that begins a mail.
    Mail,
    /// Any line that begins with `From `.
    Any,
}

/// What a line follows.
#[derive(Clone, Copy)]
enum After {
    Blank,
    Text,
}

/// Just behind the empty line that ends a header, looked for from an offset on.
fn end_of_header(header: &[u8], searched: usize) -> Option<usize> {
    if header.starts_with(b"\n") {
        return Some(1);
    }
    if header.starts_with(b"\r\n") {
        return Some(2);
    }
    let mut from = searched;
    while let Some(at) = header.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let behind = from + at + 1;
        match header.get(behind..) {
            Some([b'\n', ..]) => return Some(behind + 1),
            Some([b'\r', b'\n', ..]) => return Some(behind + 2),
            _ => from = behind,
        }
    }
    None
}

/// The fields of a header with their continuation lines, and then whatever is no field.
fn fields(header: &[u8]) -> Vec<&[u8]> {
    let mut fields: Vec<&[u8]> = Vec::new();
    let mut begins = 0;
    let mut at = 0;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        if !continues && at > begins {
            fields.extend(header.get(begins..at));
            begins = at;
        }
        at += line.len();
    }
    fields.extend(header.get(begins..at).filter(|last| !last.is_empty()));
    fields
}

fn name_and_value(field: &[u8]) -> Option<(String, String)> {
    let colon = memchr::memchr(b':', field).filter(|colon| *colon <= 64)?;
    let (name, value) = field.split_at(colon);
    let name = std::str::from_utf8(name).ok()?.trim_end().to_owned();
    let value = String::from_utf8_lossy(value.get(1..)?).replace(['\r', '\n'], " ");
    Some((name, value))
}

/// Takes the flags out of a header; gives what is left of it.
fn split_fields(header: &[u8], marks: &mut Marks, length: &mut Option<u64>, erased: &mut bool) -> Vec<u8> {
    let all = fields(header);
    let named: Vec<Option<(String, String)>> = all.iter().map(|field| name_and_value(field)).collect();
    let is_ours = named.len() >= OURS.len()
        && named.iter().zip(OURS).all(|(field, name)| field.as_ref().is_some_and(|(found, _)| found.eq_ignore_ascii_case(name)));
    let mut kept = Vec::with_capacity(header.len());
    for (number, (field, named)) in all.iter().zip(&named).enumerate() {
        let what = match named {
            Some((name, value)) if !is_ours || number < OURS.len() => marks.field(name, value),
            Some(_) | None => Field::Other,
        };
        if let Some((name, value)) = named
            && name.eq_ignore_ascii_case("content-length")
        {
            *length = value.trim().parse().ok();
        }
        match what {
            Field::Other => kept.extend_from_slice(field),
            Field::Flags => {}
            Field::Erased => *erased = true,
        }
    }
    kept
}

/// `Date` of a mail.
fn header_date(header: &[u8]) -> Option<(i64, i16)> {
    let parsed = mail_parser::MessageParser::default().parse_headers(header)?;
    let date = parsed.date()?;
    let zone = i16::from(date.tz_hour).saturating_mul(60).saturating_add(i16::from(date.tz_minute));
    Some((date.to_timestamp(), if date.tz_before_gmt { -zone } else { zone }))
}

/// Whether a line begins a mail: `From ` and then nothing, `- …` (Thunderbird), or a sender and a date.
fn is_from_line(line: &[u8], after: After) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    let text = String::from_utf8_lossy(rest);
    let text = text.trim();
    match after {
        After::Text => from_line_date(line).is_some(),
        After::Blank => text.is_empty() || text == "-" || text.starts_with("- ") || has_date(text),
    }
}

/// A month, `12:34` and a year, in whatever order a program wrote its date.
fn has_date(text: &str) -> bool {
    let words = || text.split_whitespace();
    let is_year = |word: &str| word.len() == 4 && word.parse::<u16>().is_ok_and(|year| (1970..=2200).contains(&year));
    words().any(|word| month(word).is_some()) && words().any(|word| clock(word).is_some()) && words().any(is_year)
}

/// `hh:mm` or `hh:mm:ss` as seconds of the day.
fn clock(word: &str) -> Option<i64> {
    let mut parts = word.split(':').map(|part| part.parse::<i64>().ok().filter(|_| (1..=2).contains(&part.len())));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second < 61;
    fits.then_some(hour * 3600 + minute * 60 + second)
}

/// The date of a line `From sender Www Mmm dd hh:mm:ss [zone] yyyy [zone]`.
fn from_line_date(line: &[u8]) -> Option<(i64, i16)> {
    let text = String::from_utf8_lossy(line.strip_prefix(b"From ")?).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| month(word).is_some())?;
    let day: i64 = words.get(at + 1)?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let time = clock(words.get(at + 2)?)?;
    let mut year = None;
    let mut zone = 0_i16;
    for word in words.iter().skip(at + 3).take(2) {
        match word.parse::<i64>() {
            Ok(number) if word.len() == 4 && (1970..=2200).contains(&number) => year = Some(number),
            _ => zone = offset(word).unwrap_or(zone),
        }
    }
    let days = days_from_civil(year?, month(words.get(at)?)?, day);
    Some((days * 86_400 + time - i64::from(zone) * 60, zone))
}

/// `+0130` as minutes.
fn offset(word: &str) -> Option<i16> {
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i16 = digits.parse().ok().filter(|number| digits.len() == 4 && (0..=1400).contains(number))?;
    Some(sign * (number / 100 * 60 + number % 100))
}

fn month(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(word))?;
    i64::try_from(at).ok().map(|at| at + 1)
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A date as the `From ` line of an mbox has it: `Thu Jan  1 00:00:00 1970`, in UTC.
pub fn asctime(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // What lies outside is nobody's date.
    let seconds = seconds.clamp(0, 7_258_118_399);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("???");
    format!(
        "{} {} {day:2} {:02}:{:02}:{:02} {year}",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests;
