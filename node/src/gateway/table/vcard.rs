//! The gateway's table as vCards (RFC 6350): a card for each key and note; addresses stand in `EMAIL`, patterns that are none in `X-KITH-PATTERN`.

use std::collections::BTreeMap;

use calcard::vcard::{VCard, VCardEntry, VCardProperty, VCardVersion};

use super::{Read, Row};
use crate::contacts::{Cards, vcard};

/// Where `NAME` and `@DOMAIN` stand, which are no addresses.
const PATTERN: &str = "X-KITH-PATTERN";

/// Reads cards: each needs a Kith address, as those of contacts do, and an address or pattern that shall lead there.
pub(super) fn read(text: &str) -> Read {
    let mut read = Read::default();
    for card in Cards::of(text) {
        match card {
            Ok((number, card)) => take(&mut read, number, &card),
            Err(problem) => read.problem(problem),
        }
    }
    read
}

fn take(read: &mut Read, number: usize, card: &VCard) {
    let Some(who) = vcard::key(card) else {
        return read.problem(format!("card {number} has no Kith address"));
    };
    let is_pattern = |name: &VCardProperty| matches!(name, VCardProperty::Other(name) if name.eq_ignore_ascii_case(PATTERN));
    let note = vcard::texts(card, |name| *name == VCardProperty::Note).next().unwrap_or_default().to_owned();
    let before = read.rows.len();
    for pattern in vcard::emails(card).chain(vcard::texts(card, is_pattern)) {
        read.rows.push(Row { pattern: pattern.to_owned(), who: who.to_owned(), note: note.clone() });
    }
    if read.rows.len() == before {
        read.problem(format!("card {number} has no ordinary address"));
    }
}

/// Writes a table as [`read`] takes it.
pub(super) fn write(rows: impl Iterator<Item = Row>) -> String {
    let mut cards: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in rows {
        cards.entry((row.who, row.note)).or_default().push(row.pattern);
    }
    let mut text = String::new();
    for ((who, note), patterns) in cards {
        let name = if note.is_empty() { patterns.first() } else { Some(&note) };
        let mut entries = vec![VCardEntry::new(VCardProperty::Fn).with_value(name.cloned().unwrap_or_default())];
        let local = who.split('@').next().unwrap_or(&who);
        entries.push(VCardEntry::new(VCardProperty::Impp).with_value(format!("kith:{local}")));
        for pattern in patterns {
            let is_address = pattern.split_once('@').is_some_and(|(local, _)| !local.is_empty());
            let property = if is_address { VCardProperty::Email } else { VCardProperty::Other(PATTERN.into()) };
            entries.push(VCardEntry::new(property).with_value(pattern));
        }
        if !note.is_empty() {
            entries.push(VCardEntry::new(VCardProperty::Note).with_value(note));
        }
        // Writing to a string does not fail.
        let _written = VCard { entries }.write_to(&mut text, VCardVersion::V4_0);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "qabc@kith.alt";

    #[test]
    fn a_card_of_another_program_gives_a_row_for_each_address() {
        let text = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nEMAIL;TYPE=WORK:bob@example.org\r\nEMAIL:b@example.com\r\nIMPP:kith:qabc\r\n\
                    NOTE:the shop\\, mostly\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nFN:No Key\r\nEMAIL:nokey@example.org\r\nEND:VCARD\r\n\
                    BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Nothing\r\nIMPP:kith:qabc\r\nEND:VCARD\r\n";
        let read = read(text);
        let rows: Vec<(&str, &str, &str)> =
            read.rows.iter().map(|row| (row.pattern.as_str(), row.who.as_str(), row.note.as_str())).collect();
        assert_eq!(
            rows,
            [("bob@example.org", "kith:qabc", "the shop, mostly"), ("b@example.com", "kith:qabc", "the shop, mostly")]
        );
        assert_eq!(read.problems.len(), 2, "{:?}", read.problems);
    }

    proptest! {
        #[test]
        fn a_table_reads_back_as_it_was_written(
            rows in prop::collection::vec(("[a-z+.]{1,8}|[a-z]{1,8}@[a-z]{1,8}\\.org|@[a-z]{1,8}\\.org", any::<bool>(), "[ -~ü]{0,20}"), 0..12)
        ) {
            let rows: Vec<Row> = rows
                .into_iter()
                .map(|(pattern, first, note)| {
                    let who = if first { KEY } else { "qdef@kith.alt" };
                    Row { pattern, who: who.into(), note: note.trim().to_owned() }
                })
                .collect();
            let found = read(&write(rows.iter().cloned()));
            prop_assert_eq!(&found.problems, &Vec::<String>::new());
            let plain = |row: &Row| (row.pattern.clone(), row.who.trim_start_matches("kith:").replace("@kith.alt", ""), row.note.clone());
            prop_assert_eq!(
                found.rows.iter().map(plain).collect::<BTreeSet<_>>(),
                rows.iter().map(plain).collect::<BTreeSet<_>>()
            );
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,400}") {
            let _read = read(&text);
        }
    }
}
