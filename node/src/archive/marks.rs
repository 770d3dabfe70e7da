//! Flags in the spellings of others: Maildir's letters, `Status`, `X-Status` and `X-Keywords` of mboxes, Thunderbird's `X-Mozilla-*`.

use kith_store::folder::Flags;
use kith_store::mailbox::{KEYWORD_BYTES_MAX, KEYWORDS_MAX};

/// The keyword that stands for Maildir's `P` (passed on), as mail programs spell it.
const FORWARDED: &str = "$Forwarded";

/// A mail's flags and keywords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Bits of [`Flags`].
    pub system: u8,
    /// Atoms, each once.
    pub keywords: Vec<String>,
}

/// The keywords that a Maildir folder's letters `a` to `z` stand for (Dovecot's file `dovecot-keywords`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letters(Vec<Option<String>>);

/// How many letters there are.
const LETTERS_MAX: usize = 26;

impl Letters {
    /// Reads `dovecot-keywords`: lines of a number from 0 and a keyword. What makes no sense is left out.
    pub fn parse(text: &str) -> Self {
        let mut letters = Self::default();
        for (number, keyword) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(number) = number.parse::<usize>() else { continue };
            if number >= LETTERS_MAX {
                continue;
            }
            if letters.0.len() <= number {
                letters.0.resize(number + 1, None);
            }
            if let Some(slot) = letters.0.get_mut(number) {
                *slot = atom(keyword);
            }
        }
        letters
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let named = self.0.iter().enumerate().filter_map(|(number, name)| Some((number, name.as_ref()?)));
        named.map(|(number, name)| format!("{number} {name}\n")).collect()
    }

    fn keyword(&self, letter: u8) -> Option<&str> {
        self.0.get(usize::from(letter.checked_sub(b'a')?))?.as_deref()
    }

    /// The letter of a keyword, a new one if need be; `None` where all are taken.
    fn letter(&mut self, keyword: &str) -> Option<char> {
        let known = self.0.iter().position(|name| name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(keyword)));
        let number = match known {
            Some(number) => number,
            None if self.0.len() < LETTERS_MAX => {
                self.0.push(Some(keyword.to_owned()));
                self.0.len() - 1
            }
            None => return None,
        };
        u8::try_from(number).ok().and_then(|number| Some(char::from(b'a'.checked_add(number)?)))
    }
}

/// A keyword as the store takes it: what cannot be in an atom becomes `_`. `None` where nothing is left, or for a system flag.
fn atom(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('\\') {
        return None;
    }
    let fits = |letter: char| letter.is_ascii_graphic() && !"(){%*\"\\]".contains(letter);
    Some(text.chars().map(|letter| if fits(letter) { letter } else { '_' }).take(KEYWORD_BYTES_MAX).collect())
}

impl Marks {
    /// Adds a keyword, unless it is there in whatever case, or there are as many as a mail may have.
    pub fn add_keyword(&mut self, text: &str) {
        let Some(keyword) = atom(text) else { return };
        if self.keywords.len() < KEYWORDS_MAX && !self.keywords.iter().any(|known| known.eq_ignore_ascii_case(&keyword)) {
            self.keywords.push(keyword);
        }
    }

    fn set(&mut self, flag: u8) {
        self.system |= flag;
    }

    /// Reads the letters behind a Maildir name's `:2,`.
    pub fn from_letters(info: &str, letters: &Letters) -> Self {
        let mut marks = Self::default();
        for letter in info.bytes() {
            match letter {
                b'S' => marks.set(Flags::SEEN),
                b'R' => marks.set(Flags::ANSWERED),
                b'F' => marks.set(Flags::FLAGGED),
                b'T' => marks.set(Flags::DELETED),
                b'D' => marks.set(Flags::DRAFT),
                b'P' => marks.add_keyword(FORWARDED),
                b'a'..=b'z' => {
                    if let Some(keyword) = letters.keyword(letter) {
                        marks.add_keyword(keyword);
                    }
                }
                _ => {}
            }
        }
        marks
    }

    /// The letters behind `:2,`, sorted as they have to be; and the keywords that found no letter.
    pub fn letters(&self, letters: &mut Letters) -> (String, Vec<String>) {
        let has = |flag: u8| self.system & flag != 0;
        let mut info: Vec<char> =
            [(Flags::DRAFT, 'D'), (Flags::FLAGGED, 'F'), (Flags::ANSWERED, 'R'), (Flags::SEEN, 'S'), (Flags::DELETED, 'T')]
                .into_iter()
                .filter(|(flag, _)| has(*flag))
                .map(|(_, letter)| letter)
                .collect();
        let mut left = Vec::new();
        for keyword in &self.keywords {
            if keyword.eq_ignore_ascii_case(FORWARDED) {
                info.push('P');
            } else if let Some(letter) = letters.letter(keyword) {
                info.push(letter);
            } else {
                left.push(keyword.clone());
            }
        }
        info.sort_unstable();
        (info.into_iter().collect(), left)
    }

    /// Reads a field of an mbox's mail that holds flags; whether it is such a field, and what becomes of the mail then.
    pub fn field(&mut self, name: &str, value: &str) -> Field {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "status" => {
                if value.contains('R') {
                    self.set(Flags::SEEN);
                }
            }
            "x-status" => {
                for letter in value.chars() {
                    match letter {
                        'A' => self.set(Flags::ANSWERED),
                        'F' => self.set(Flags::FLAGGED),
                        'D' => self.set(Flags::DELETED),
                        'T' => self.set(Flags::DRAFT),
                        _ => {}
                    }
                }
            }
            "x-keywords" | "x-mozilla-keys" => value.split_whitespace().for_each(|keyword| self.add_keyword(keyword)),
            "x-mozilla-status" => return self.mozilla(u32::from_str_radix(value, 16).unwrap_or(0)),
            "x-mozilla-status2" => {}
            _ => return Field::Other,
        }
        Field::Flags
    }

    /// Thunderbird's bits (its file nsMsgMessageFlags has their names).
    fn mozilla(&mut self, bits: u32) -> Field {
        for (bit, flag) in [(0x1, Flags::SEEN), (0x2, Flags::ANSWERED), (0x4, Flags::FLAGGED)] {
            if bits & bit != 0 {
                self.set(flag);
            }
        }
        if bits & 0x1000 != 0 {
            self.add_keyword(FORWARDED);
        }
        if bits & 0x8 != 0 { Field::Erased } else { Field::Flags }
    }

    /// The three lines that begin a mail in an mbox of ours, always in this order: see [`OURS`].
    pub fn status_lines(&self) -> String {
        let has = |flag: u8| self.system & flag != 0;
        let seen = if has(Flags::SEEN) { "RO" } else { "O" };
        let others: String = [(Flags::ANSWERED, 'A'), (Flags::FLAGGED, 'F'), (Flags::DRAFT, 'T'), (Flags::DELETED, 'D')]
            .into_iter()
            .filter(|(flag, _)| has(*flag))
            .map(|(_, letter)| letter)
            .collect();
        format!("Status: {seen}\nX-Status: {others}\nX-Keywords: {}\n", self.keywords.join(" "))
    }
}

/// The fields that begin a mail in an mbox of ours. Where they stand so, they alone are taken away when the mail is brought back.
pub const OURS: [&str; 3] = ["status", "x-status", "x-keywords"];

/// What a field of a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// It holds flags and is not part of the mail.
    Flags,
    /// The same, and says that the mail was deleted and only not cleared away yet.
    Erased,
    /// It is the mail's own.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_written_with_keywords() {
        let mut letters = Letters::parse("0 $label1\n2 work(now)\n99 x\nnonsense\n");
        let marks = Marks::from_letters("FRSPacz", &letters);
        assert_eq!(marks.system, Flags::FLAGGED | Flags::ANSWERED | Flags::SEEN);
        assert_eq!(marks.keywords, ["$Forwarded", "$label1", "work_now_"]);
        let (info, left) = marks.letters(&mut letters);
        assert_eq!((info.as_str(), left.len()), ("FPRSac", 0));
        let many = Marks { system: 0, keywords: (0..30).map(|number| format!("k{number}")).collect() };
        assert_eq!(many.letters(&mut letters).1.len(), 7, "three letters were taken");
        assert_eq!(Letters::parse(&letters.text()), letters);
    }

    #[test]
    fn fields_of_mboxes_say_what_they_mean() {
        let mut marks = Marks::default();
        assert_eq!(marks.field("Status", " RO"), Field::Flags);
        assert_eq!(marks.field("X-STATUS", "AFTD"), Field::Flags);
        assert_eq!(marks.field("X-Keywords", " a  A \\Seen b "), Field::Flags);
        assert_eq!(marks.field("Subject", "R"), Field::Other);
        assert_eq!((marks.system, marks.keywords.len()), (31, 2));
        let mut theirs = Marks::default();
        assert_eq!(theirs.field("X-Mozilla-Status", "1007"), Field::Flags);
        assert_eq!(theirs.system, Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED);
        assert_eq!(theirs.keywords, ["$Forwarded"]);
        assert_eq!(theirs.field("X-Mozilla-Status", "0009"), Field::Erased);
    }
}
