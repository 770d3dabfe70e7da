//! vCard (RFC 6350, and 3.0): the Kith address stands in `IMPP:kith:…`; `X-KITH`, `URL` and `EMAIL` are understood too.

use calcard::vcard::{VCard, VCardEntry, VCardProperty, VCardValue, VCardVersion};
use calcard::{Entry, Parser};
use kith_store::contact::Contact;

use super::{Read, is_kith};

/// Cards of a file that are looked at.
const CARDS_MAX: usize = 20_000;

pub(super) fn read(text: &str) -> Read {
    let mut read = Read::default();
    let mut parser = Parser::new(text);
    for number in 1..=CARDS_MAX {
        match parser.entry() {
            Entry::VCard(card) => take(&mut read, number, &card),
            Entry::Eof => break,
            Entry::InvalidLine(line) => read.problem(format!("not understood: {}", line.chars().take(60).collect::<String>())),
            Entry::UnterminatedComponent(_) => read.problem(format!("card {number} has no end")),
            _ => read.problem(format!("entry {number} is no card")),
        }
    }
    read
}

fn texts<'a>(card: &'a VCard, wanted: impl Fn(&VCardProperty) -> bool + 'a) -> impl Iterator<Item = &'a str> {
    card.entries.iter().filter(move |entry| wanted(&entry.name)).flat_map(|entry| &entry.values).filter_map(|value| match value {
        VCardValue::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

fn take(read: &mut Read, number: usize, card: &VCard) {
    let name = texts(card, |name| *name == VCardProperty::Nickname).chain(texts(card, |name| *name == VCardProperty::Fn)).next();
    let carries = |name: &VCardProperty| match name {
        VCardProperty::Impp | VCardProperty::Url | VCardProperty::Email => true,
        VCardProperty::Other(name) => name.eq_ignore_ascii_case("X-KITH"),
        _ => false,
    };
    let address = texts(card, carries).find(|text| is_kith(text)).map(str::to_owned);
    let emails = texts(card, |name| *name == VCardProperty::Email).filter(|text| !is_kith(text)).map(str::to_owned).collect();
    read.take(&format!("card {number}"), name.unwrap_or_default(), address, emails);
}

pub(super) fn write(contacts: &[Contact]) -> String {
    let mut text = String::new();
    for contact in contacts {
        let mut entries = vec![
            VCardEntry::new(VCardProperty::Fn).with_value(contact.name.clone()),
            VCardEntry::new(VCardProperty::Nickname).with_value(contact.name.clone()),
            VCardEntry::new(VCardProperty::Impp).with_value(contact.address.uri()),
        ];
        entries.extend(contact.emails.iter().map(|email| VCardEntry::new(VCardProperty::Email).with_value(email.clone())));
        // Writing to a string does not fail.
        let _written = VCard { entries }.write_to(&mut text, VCardVersion::V4_0);
    }
    text
}
