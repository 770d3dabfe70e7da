//! A mail's header as raw fields: cut, never changed, so that signatures keep holding.

/// A field: its name, and all of its bytes with name and line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Empty where the line is no field.
    pub name: &'a [u8],
    /// What stands behind the colon, folded as it came.
    pub value: &'a [u8],
    /// Everything.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether it has this name, in whatever case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The bytes of the header of a mail, without the empty line; the whole mail where there is none.
#[must_use]
pub fn header(mail: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(line) = line(mail, at) {
        if line == b"\r\n" || line == b"\n" {
            return mail.get(..at).unwrap_or_default();
        }
        at += line.len();
    }
    mail
}

/// The fields of a header, in order.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        at += line(header, at)?.len();
        while let Some(more) = line(header, at).filter(|more| matches!(more.first(), Some(b' ' | b'\t'))) {
            at += more.len();
        }
        let raw = header.get(start..at)?;
        let (name, value) = match name(raw) {
            Some((name, value)) => (name, value),
            None => (&raw[..0], raw),
        };
        Some(Field { name, value, raw })
    })
}

/// The header without the fields that `drop` names, and how many those were.
#[must_use]
pub fn without(header: &[u8], drop: impl Fn(&Field<'_>) -> bool) -> (Vec<u8>, usize) {
    let (mut kept, mut dropped) = (Vec::with_capacity(header.len()), 0);
    for field in fields(header) {
        if drop(&field) {
            dropped += 1;
        } else {
            kept.extend_from_slice(field.raw);
        }
    }
    (kept, dropped)
}

/// The line that begins at `at`, with its end.
fn line(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |lf| lf + 1);
    rest.get(..end)
}

/// RFC 5322 §3.6.8, with the white space before the colon that §4.5 tolerates.
fn name(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = raw.iter().position(|byte| *byte == b':')?;
    let name = raw.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(|byte| matches!(byte, b'!'..=b'~'));
    is_name.then(|| (name, raw.get(colon + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_whole_and_lose_nothing() {
        let mail = b"A: 1\r\nB : 2\r\n  more\r\nno field\r\nA: 3\r\n\r\nC: body\r\n";
        let header = header(mail);
        assert_eq!(header, b"A: 1\r\nB : 2\r\n  more\r\nno field\r\nA: 3\r\n");
        let names: Vec<_> = fields(header).map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        assert_eq!(names, ["A", "B", "", "A"]);
        assert_eq!(fields(header).flat_map(|field| field.raw.to_vec()).collect::<Vec<_>>(), header);
        let (kept, dropped) = without(header, |field| field.is("a"));
        assert_eq!((kept.as_slice(), dropped), (&b"B : 2\r\n  more\r\nno field\r\n"[..], 2));
    }
}
