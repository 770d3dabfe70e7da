//! Header fields as they lie there (RFC 5322 §2.2): names, values, folds.

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// As written, without the colon.
    pub(crate) name: &'a [u8],
    /// After the colon, folds and line ends included.
    pub(crate) value: &'a [u8],
    /// The whole of it, line ends included.
    pub(crate) raw: &'a [u8],
}

impl Field<'_> {
    /// Is this its name?
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header up to its empty line. Lines that are no field are passed over.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            let length = field_length(rest)?;
            let (raw, after) = rest.split_at(length);
            rest = after;
            let Some(colon) = memchr::memchr2(b':', b'\n', raw) else { continue };
            if raw.get(colon) != Some(&b':') {
                continue;
            }
            let name = raw.get(..colon).unwrap_or_default().trim_ascii_end();
            if !name.is_empty() {
                return Some(Field { name, value: raw.get(colon + 1..).unwrap_or_default(), raw });
            }
        }
    })
}

/// A line and those that continue it; `None` at the end or at the empty line.
fn field_length(rest: &[u8]) -> Option<usize> {
    if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
        return None;
    }
    let mut end = 0;
    loop {
        let tail = rest.get(end..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'\n', tail) else { return Some(rest.len()) };
        end += length + 1;
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// The value on one line: folds opened, ends trimmed, NUL left out. Nothing is decoded.
pub(crate) fn unfold(value: &[u8]) -> Vec<u8> {
    let kept: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    kept.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_whole() {
        let header = b"A: 1\r\nB : two\r\n\tlines\r\nnonsense\r\n: empty\r\nC:\n\r\nD: body\r\n";
        let got: Vec<_> = fields(header).collect();
        assert_eq!(got.len(), 3);
        assert_eq!(got[1].raw, b"B : two\r\n\tlines\r\n");
        assert!(got[1].is("b"));
        assert_eq!(unfold(got[1].value), b"two\tlines");
        assert_eq!(unfold(got[2].value), b"");
    }

    #[test]
    fn a_field_without_a_line_end_is_one() {
        let got: Vec<_> = fields(b"A: 1").collect();
        assert_eq!(got[0].value, b" 1");
        assert_eq!(fields(b"").count(), 0);
    }
}
