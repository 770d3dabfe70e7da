//! CSV: a head line that names the columns `name`, `address` and, if wanted, `email` (several with blanks between).

use kith_store::contact::Contact;

use super::{Read, is_kith};

/// Fields of a line that are looked at.
const FIELDS_MAX: usize = 64;

pub(super) fn read(text: &str) -> Result<Read, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = reader.headers().map_err(|error| format!("the head line cannot be read: {error}"))?.clone();
    let column = |names: &[&str]| {
        head.iter().take(FIELDS_MAX).position(|field| names.contains(&field.to_lowercase().trim_start_matches('\u{feff}')))
    };
    let name = column(&["name", "petname", "nickname", "display name", "first name"]);
    let address = column(&["address", "kith", "key", "kith address"]);
    let email = column(&["email", "emails", "e-mail", "mail", "primary email"]);
    let (Some(name), Some(address)) = (name, address) else {
        return Err("the head line must name the columns name and address (and email, if there are legacy addresses)".into());
    };
    let mut read = Read::default();
    for (number, record) in reader.records().enumerate() {
        let place = format!("line {}", number + 2);
        match record {
            Ok(record) => {
                let field = |at: usize| record.get(at).unwrap_or_default();
                let key = Some(field(address).to_owned()).filter(|text| !text.is_empty());
                let emails = email.map(field).unwrap_or_default();
                let emails = emails
                    .split([' ', ';', ','])
                    .filter(|text| text.contains('@') && !is_kith(text))
                    .map(str::to_owned)
                    .collect();
                read.take(&place, field(name), key, emails);
            }
            Err(error) => read.problem(format!("{place}: {error}")),
        }
    }
    Ok(read)
}

pub(super) fn write(contacts: &[Contact]) -> Result<String, String> {
    let failed = |error: csv::Error| format!("the table cannot be written: {error}");
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["name", "address", "email"]).map_err(failed)?;
    for contact in contacts {
        writer.write_record([contact.name.as_str(), &contact.address.mail(), &contact.emails.join(" ")]).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| format!("the table cannot be written: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("the table cannot be written: {error}"))
}
