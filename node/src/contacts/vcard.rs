//! vCard (RFC 6350, and 3.0): the Kith address stands in `IMPP:kith:…`; `X-KITH`, `URL` and `EMAIL` are understood too.

use calcard::vcard::{VCard, VCardEntry, VCardProperty, VCardValue, VCardVersion};
use calcard::{Entry, Parser};
use kith_store::contact::Contact;

use super::{Read, is_kith};

/// Cards of a file that are looked at.
const CARDS_MAX: usize = 20_000;

/// The cards of a file with their numbers; a sentence for what is none.
pub(crate) struct Cards<'a> {
    parser: Parser<'a>,
    number: usize,
}

impl<'a> Cards<'a> {
    /// Of a text; [`CARDS_MAX`] at most.
    pub(crate) fn of(text: &'a str) -> Self {
        Self { parser: Parser::new(text), number: 0 }
    }
}

impl Iterator for Cards<'_> {
    type Item = Result<(usize, VCard), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= CARDS_MAX {
            return None;
        }
        self.number += 1;
        let number = self.number;
        match self.parser.entry() {
            Entry::VCard(card) => Some(Ok((number, card))),
            Entry::Eof => {
                self.number = CARDS_MAX;
                None
            }
            Entry::InvalidLine(line) => Some(Err(format!("not understood: {}", line.chars().take(60).collect::<String>()))),
            Entry::UnterminatedComponent(_) => Some(Err(format!("card {number} has no end"))),
            _ => Some(Err(format!("entry {number} is no card"))),
        }
    }
}

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

/// The text values of properties.
pub(crate) fn texts<'a>(card: &'a VCard, wanted: impl Fn(&VCardProperty) -> bool + 'a) -> impl Iterator<Item = &'a str> {
    card.entries.iter().filter(move |entry| wanted(&entry.name)).flat_map(|entry| &entry.values).filter_map(|value| match value {
        VCardValue::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The Kith address that a card carries.
pub(crate) fn key(card: &VCard) -> Option<&str> {
    let carries = |name: &VCardProperty| match name {
        VCardProperty::Impp | VCardProperty::Url | VCardProperty::Email => true,
        VCardProperty::Other(name) => name.eq_ignore_ascii_case("X-KITH"),
        _ => false,
    };
    texts(card, carries).find(|text| is_kith(text))
}

/// The ordinary addresses that a card carries.
pub(crate) fn emails(card: &VCard) -> impl Iterator<Item = &str> {
    texts(card, |name| *name == VCardProperty::Email).filter(|text| !is_kith(text))
}

fn take(read: &mut Read, number: usize, card: &VCard) {
    let name = texts(card, |name| *name == VCardProperty::Nickname).chain(texts(card, |name| *name == VCardProperty::Fn)).next();
    let emails = emails(card).map(str::to_owned).collect();
    read.take(&format!("card {number}"), name.unwrap_or_default(), key(card).map(str::to_owned), emails);
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
