//! Content-Transfer-Encoding undone (RFC 2045 §6), a piece at a time: what is decoded is never held as a whole.
//!
//! Tolerant: bytes that make no sense in base64 are passed over, in quoted-printable they stand for themselves.

/// How a part's bytes were made fit for the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// 7bit, 8bit, binary: not at all.
    Identity,
    QuotedPrintable,
    Base64,
}

impl Transfer {
    /// By its name; `None` for one that nobody knows.
    pub(crate) fn named(name: Option<&[u8]>) -> Option<Self> {
        let name = name.unwrap_or(b"7bit");
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if ["7bit", "8bit", "binary"].into_iter().any(is) {
            Some(Self::Identity)
        } else if is("quoted-printable") {
            Some(Self::QuotedPrintable)
        } else {
            is("base64").then_some(Self::Base64)
        }
    }
}

/// Decodes a stream.
#[derive(Debug)]
pub(crate) struct Decoder {
    transfer: Transfer,
    /// base64: bits that make no byte yet, and how many they are.
    bits: u32,
    count: u32,
    /// quoted-printable: `=` and what followed it, or white space that may end its line.
    held: Vec<u8>,
}

/// White space that is held back at most, waiting for a line's end; more than that is text.
const HELD_BYTES_MAX: usize = 1_000;

impl Decoder {
    pub(crate) fn new(transfer: Transfer) -> Self {
        Self { transfer, bits: 0, count: 0, held: Vec::new() }
    }

    /// Decodes some more.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self.transfer {
            Transfer::Identity => out.extend_from_slice(bytes),
            Transfer::Base64 => bytes.iter().for_each(|byte| self.base64(*byte, out)),
            Transfer::QuotedPrintable => bytes.iter().for_each(|byte| self.quoted_printable(*byte, out)),
        }
    }

    /// What is left at the end.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        // A soft line break that nothing follows, and white space at the end, are nothing.
        if self.held.first() == Some(&b'=') && self.held.len() > 1 {
            out.append(&mut self.held);
        }
    }

    fn base64(&mut self, byte: u8, out: &mut Vec<u8>) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // The end of one run; another may follow.
                (self.bits, self.count) = (0, 0);
                return;
            }
            _ => return,
        };
        self.bits = self.bits << 6 | u32::from(value);
        self.count += 6;
        if self.count >= 8 {
            self.count -= 8;
            out.push(u8::try_from(self.bits >> self.count & 0xff).unwrap_or_default());
            self.bits &= (1 << self.count) - 1;
        }
    }

    fn quoted_printable(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.held.first(), byte) {
            (Some(b'='), _) => self.after_equals(byte, out),
            (_, b'=') => {
                out.append(&mut self.held);
                self.held.push(byte);
            }
            (_, b' ' | b'\t') if self.held.len() < HELD_BYTES_MAX => self.held.push(byte),
            (_, b'\r') => self.held.push(byte),
            (_, b'\n') => {
                // White space before a line's end was added on the way (RFC 2045 §6.7, rule 3).
                let end: &[u8] = if self.held.last() == Some(&b'\r') { b"\r\n" } else { b"\n" };
                self.held.clear();
                out.extend_from_slice(end);
            }
            _ => {
                out.append(&mut self.held);
                out.push(byte);
            }
        }
    }

    fn after_equals(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.held.len(), byte) {
            // A soft line break, perhaps with white space before its end.
            (_, b'\n') => self.held.clear(),
            (_, b'\r' | b' ' | b'\t')
                if self.held.len() < HELD_BYTES_MAX && self.held.get(1).is_none_or(u8::is_ascii_whitespace) =>
            {
                self.held.push(byte);
            }
            (1, _) if byte.is_ascii_hexdigit() => self.held.push(byte),
            (2, _) if byte.is_ascii_hexdigit() && self.held.get(1).is_some_and(u8::is_ascii_hexdigit) => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
                out.push(digit(self.held.get(1).copied().unwrap_or_default()) << 4 | digit(byte));
                self.held.clear();
            }
            _ => {
                // No code: it stands for itself.
                out.append(&mut self.held);
                self.quoted_printable(byte, out);
            }
        }
    }
}

/// Decodes bytes that are at hand.
pub(crate) fn decode(transfer: Transfer, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut decoder = Decoder::new(transfer);
    decoder.push(bytes, &mut out);
    decoder.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encodings_are_undone_with_their_quirks() {
        for (transfer, encoded, plain) in [
            (Transfer::Base64, "SGVs\r\nbG8=", "Hello"),
            (Transfer::Base64, "SGVsbG8=SGVsbG8=", "HelloHello"),
            (Transfer::Base64, "S G*V-s b G 8", "Hello"),
            (Transfer::QuotedPrintable, "a=3D=\r\nb =C3=BC  \r\nc", "a=b ü\r\nc"),
            (Transfer::QuotedPrintable, "x=  \r\ny=zz =4", "xy=zz =4"),
            (Transfer::QuotedPrintable, "end =", "end "),
            (Transfer::QuotedPrintable, "lone\rcr", "lone\rcr"),
            (Transfer::Identity, "as = it is", "as = it is"),
        ] {
            assert_eq!(String::from_utf8_lossy(&decode(transfer, encoded.as_bytes())), plain, "{encoded:?}");
        }
        assert_eq!(Transfer::named(Some(b"BASE64")), Some(Transfer::Base64));
        assert_eq!(Transfer::named(None), Some(Transfer::Identity));
        assert_eq!(Transfer::named(Some(b"x-uuencode")), None);
    }

    proptest! {
        #[test]
        fn pieces_decode_as_the_whole(bytes: Vec<u8>, chunk in 1_usize..7) {
            for transfer in [Transfer::Base64, Transfer::QuotedPrintable] {
                let mut out = Vec::new();
                let mut decoder = Decoder::new(transfer);
                bytes.chunks(chunk).for_each(|piece| decoder.push(piece, &mut out));
                decoder.finish(&mut out);
                prop_assert_eq!(out, decode(transfer, &bytes));
            }
        }

        #[test]
        fn what_base64_encodes_comes_back(bytes: Vec<u8>) {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(decode(Transfer::Base64, encoded.as_bytes()), bytes);
        }
    }
}
