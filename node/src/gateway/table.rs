//! How an address is looked up in the gateway's table: which patterns it matches, the closest first; and the table as CSV and as vCards.

mod vcard;

/// An address without its `+tag`: `anna+shop@example.org` becomes `anna@example.org`.
pub fn without_tag(email: &str) -> String {
    match email.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{domain}", untagged(local)),
        None => email.to_owned(),
    }
}

/// A local part without its `+tag`. One that is nothing but a tag stays as it is.
pub fn untagged(local: &str) -> &str {
    match local.split_once('+') {
        Some((name, _)) if !name.is_empty() => name,
        _ => local,
    }
}

/// The pattern for everything else in a domain.
pub fn catch_all(domain: &str) -> String {
    format!("@{domain}")
}

/// The rows that an address (lower case) may have of its own, the closest first: with its tag, without, and, in our own domains, without the
/// domain. The catch-all is not among them: names of the household come before it.
pub fn patterns(local: &str, domain: &str, own: bool) -> Vec<String> {
    let plain = untagged(local);
    let mut patterns = vec![format!("{local}@{domain}"), format!("{plain}@{domain}")];
    if own {
        patterns.extend([local.to_owned(), plain.to_owned()]);
    }
    patterns.dedup();
    patterns
}

/// What a person may write as a pattern, in the form that rows have: `local@domain`, `@domain` or `local`.
///
/// # Errors
/// A sentence.
pub fn pattern(text: &str) -> Result<String, String> {
    let text = text.trim().to_lowercase();
    let local_fine = |local: &str| {
        (1..=64).contains(&local.len())
            && !local.chars().any(|letter| letter.is_whitespace() || letter.is_control() || "@\"<>(),;:\\".contains(letter))
    };
    let fine = match text.rsplit_once('@') {
        Some(("", domain)) => crate::config::gateway::is_domain(domain),
        Some((local, domain)) => local_fine(local) && crate::config::gateway::is_domain(domain),
        None => local_fine(&text),
    };
    if fine { Ok(text) } else { Err(format!("`{text}` is none of NAME, NAME@DOMAIN and @DOMAIN")) }
}

/// A row of the table as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Of which addresses.
    pub pattern: String,
    /// Whose: a name or an address.
    pub who: String,
    /// What a person noted.
    pub note: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Rows, not looked at closer.
    pub rows: Vec<Row>,
    /// Lines that cannot be read, a sentence each; at most [`crate::contacts::PROBLEMS_MAX`].
    pub problems: Vec<String>,
}

impl Read {
    fn problem(&mut self, text: String) {
        crate::contacts::add_problem(&mut self.problems, text);
    }
}

/// Reads a table in a format: `vcard` or `csv`.
///
/// # Errors
/// The format is not known, or nothing in the file can be understood.
pub fn read(format: &str, text: &str) -> Result<Read, String> {
    match format {
        "vcard" => Ok(vcard::read(text)),
        "csv" => read_csv(text),
        _ => Err(format!("`{format}` is no format: vcard, csv")),
    }
}

/// Writes a table in a format: `vcard` or `csv`.
///
/// # Errors
/// The format is not known, or it cannot be written.
pub fn write(format: &str, rows: impl Iterator<Item = Row>) -> Result<String, String> {
    match format {
        "vcard" => Ok(vcard::write(rows)),
        "csv" => write_csv(rows),
        _ => Err(format!("`{format}` is no format: vcard, csv")),
    }
}

/// Reads a table in CSV, whose head line names the columns `address`, `who` and, if wanted, `note`.
///
/// # Errors
/// A sentence, where the head line is another one.
fn read_csv(text: &str) -> Result<Read, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = reader.headers().map_err(|error| format!("the head line cannot be read: {error}"))?.clone();
    let column = |name: &str| head.iter().position(|field| field.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let (Some(pattern), Some(who)) = (column("address"), column("who")) else {
        return Err("the head line must name the columns address and who (and note, if there are notes)".into());
    };
    let note = column("note");
    let mut read = Read::default();
    for (number, record) in reader.records().enumerate() {
        match record {
            Ok(record) => {
                let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
                read.rows.push(Row { pattern: field(pattern), who: field(who), note: note.map(field).unwrap_or_default() });
            }
            Err(error) => read.problem(format!("line {}: {error}", number + 2)),
        }
    }
    Ok(read)
}

/// Writes a table as [`read_csv`] takes it.
///
/// # Errors
/// A sentence, where it cannot be written.
fn write_csv(rows: impl Iterator<Item = Row>) -> Result<String, String> {
    let failed = |error: String| format!("the table cannot be written: {error}");
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["address", "who", "note"]).map_err(|error| failed(error.to_string()))?;
    for row in rows {
        writer.write_record([&row.pattern, &row.who, &row.note]).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_row_comes_first() {
        assert_eq!(patterns("anna+shop", "a.b", true), ["anna+shop@a.b", "anna@a.b", "anna+shop", "anna"]);
        assert_eq!(patterns("anna", "a.b", true), ["anna@a.b", "anna"]);
        assert_eq!(patterns("anna", "a.b", false), ["anna@a.b"]);
        assert_eq!(untagged("+x"), "+x");
        assert_eq!(without_tag("anna+x@a.b"), "anna@a.b");
    }

    #[test]
    fn patterns_are_names_addresses_or_domains() {
        for (text, read) in [("Anna", Some("anna")), (" a@B.c ", Some("a@b.c")), ("@b.c", Some("@b.c"))] {
            assert_eq!(pattern(text).ok().as_deref(), read);
        }
        for text in ["", "@", "a@b", "a b@c.d", "a@b@c.d", "a@-b.c", "\"a\"@b.c"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_reads_back_as_it_was_written() {
        let rows = [("anna@b.c", "kith", ""), ("@b.c", "anna", "everything, else"), ("shop", "anna", "\"x\"\nline")];
        let rows = rows.map(|(pattern, who, note)| Row { pattern: pattern.into(), who: who.into(), note: note.into() });
        let text = write("csv", rows.iter().cloned()).unwrap();
        assert_eq!(read("csv", &text).unwrap(), Read { rows: rows.to_vec(), problems: Vec::new() });
        assert!(read("csv", "name,key\na,b\n").is_err() && read("xml", "").is_err() && write("xml", rows.into_iter()).is_err());
    }
}
