//! Contacts in and out: vCard 3 and 4, and CSV with a head line. What cannot be taken is named, and the rest is taken.

mod table;
pub(crate) mod vcard;

use kith_store::contact::Contact;

pub(crate) use self::vcard::Cards;

/// Somebody that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A petname made of the name in the file: lower case, what cannot stand in one replaced by a dash.
    pub name: String,
    /// The mailbox address or `kith:` link, as the file has it.
    pub address: String,
    /// Legacy addresses.
    pub emails: Vec<String>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Those that can be added.
    pub contacts: Vec<Imported>,
    /// Those that cannot, a sentence each; at most [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
}

/// Problems that are listed.
pub const PROBLEMS_MAX: usize = 1000;
/// Bytes of a petname.
const NAME_BYTES_MAX: usize = 32;

/// One problem more, where there are not too many yet.
pub(crate) fn add_problem(problems: &mut Vec<String>, text: String) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(text);
    }
}

impl Read {
    fn problem(&mut self, text: String) {
        add_problem(&mut self.problems, text);
    }

    fn take(&mut self, place: &str, name: &str, address: Option<String>, emails: Vec<String>) {
        let petname = petname(name);
        match address {
            Some(address) if !petname.is_empty() => self.contacts.push(Imported { name: petname, address, emails }),
            Some(_) => self.problem(format!("{place}: there is no name that a petname can be made of")),
            None => self.problem(format!("{place}: {name} has no Kith address")),
        }
    }
}

/// A name as a petname can be: `Anna Müller` becomes `anna-m-ller`.
fn petname(name: &str) -> String {
    let mut petname = String::new();
    for letter in name.trim().to_lowercase().chars() {
        let letter = if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-') { letter } else { '-' };
        if petname.len() < NAME_BYTES_MAX && !(matches!(letter, '-' | '.') && petname.ends_with(['-', '.'])) {
            petname.push(letter);
        }
    }
    petname.trim_matches(['-', '.']).to_owned()
}

/// Is this text a Kith address or link?
fn is_kith(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    text.starts_with("kith:") || text.ends_with("@kith.alt") || text.ends_with(".kith.alt")
}

/// Reads a file of a format: `vcard` or `csv`.
///
/// # Errors
/// The format is not known, or nothing in the file can be understood.
pub fn read(format: &str, text: &str) -> Result<Read, String> {
    match format {
        "vcard" => Ok(vcard::read(text)),
        "csv" => table::read(text),
        _ => Err(format!("`{format}` is no format: vcard, csv")),
    }
}

/// Writes contacts in a format: `vcard` or `csv`.
///
/// # Errors
/// The format is not known.
pub fn write(format: &str, contacts: &[Contact]) -> Result<String, String> {
    match format {
        "vcard" => Ok(vcard::write(contacts)),
        "csv" => table::write(contacts),
        _ => Err(format!("`{format}` is no format: vcard, csv")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_petnames() {
        assert_eq!(petname("Anna Müller"), "anna-m-ller");
        assert_eq!(petname("  ..x..y  "), "x.y");
        assert_eq!(petname("日本"), "");
    }

    #[test]
    fn a_card_of_another_program_is_understood() {
        let text = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob Example\r\nEMAIL;TYPE=INTERNET:bob@example.org\r\nIMPP:kith:qabc\r\nEND:VCARD\r\n\
                    BEGIN:VCARD\r\nVERSION:4.0\r\nFN:No Key\r\nEMAIL:nokey@example.org\r\nEND:VCARD\r\n";
        let read = read("vcard", text).unwrap();
        assert_eq!(read.contacts.len(), 1);
        assert_eq!(
            read.contacts[0],
            Imported { name: "bob-example".into(), address: "kith:qabc".into(), emails: vec!["bob@example.org".into()] }
        );
        assert_eq!(read.problems.len(), 1);
    }

    #[test]
    fn a_table_is_read_by_its_head_line() {
        let text = "Name,Address,E-Mail\nbob,qabc@kith.alt,bob@example.org bob@example.com\ncarl,,carl@example.org\n";
        let read = read("csv", text).unwrap();
        assert_eq!(read.contacts[0].emails.len(), 2);
        assert_eq!(read.problems.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,400}", csv in any::<bool>()) {
            let _read = read(if csv { "csv" } else { "vcard" }, &text);
        }
    }
}
