//! Folder names on the wire: modified UTF-7 (RFC 3501 §5.1.3), both ways; UTF-8 for those who asked for it (RFC 6855 §3, RFC 9051 §5.1).

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Why a name cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the folder name is not written as it should be: in modified UTF-7, or in UTF-8 once that is enabled")]
pub struct InvalidName;

/// How a session writes folder names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Modified UTF-7.
    Utf7,
    /// As they are.
    Utf8,
}

impl Names {
    /// A name off the wire, in UTF-8.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(self, wire: &[u8]) -> Result<String, InvalidName> {
        match self {
            Self::Utf7 => decode(wire),
            Self::Utf8 => std::str::from_utf8(wire).map(str::to_owned).map_err(|_| InvalidName),
        }
    }
}

/// UTF-8 to the wire's ASCII.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for character in name.chars() {
        if !(' '..='~').contains(&character) {
            let mut units = [0; 2];
            shifted.extend(character.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        } else {
            unshift(&mut out, &mut shifted);
            out.push(character);
            if character == '&' {
                out.push('-');
            }
        }
    }
    unshift(&mut out, &mut shifted);
    out
}

fn unshift(out: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        out.push('&');
        ENGINE.encode_string(&*shifted, out);
        out.push('-');
        shifted.clear();
    }
}

/// The wire's bytes to UTF-8. A name that holds bytes above 127 is taken as UTF-8 without shifts: some clients send that.
///
/// # Errors
/// Where a shift does not end, holds no whole UTF-16 or hides printable ASCII.
pub fn decode(wire: &[u8]) -> Result<String, InvalidName> {
    let text = std::str::from_utf8(wire).map_err(|_| InvalidName)?;
    if !text.is_ascii() {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (shifted, after) = shifted.split_once('-').ok_or(InvalidName)?;
        rest = after;
        if shifted.is_empty() {
            out.push('&');
            continue;
        }
        let bytes = ENGINE.decode(shifted).map_err(|_| InvalidName)?;
        if bytes.len() % 2 != 0 {
            return Err(InvalidName);
        }
        let units = bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
        for character in char::decode_utf16(units) {
            let character = character.map_err(|_| InvalidName)?;
            // One name, one spelling: what can stand for itself must.
            if (' '..='~').contains(&character) {
                return Err(InvalidName);
            }
            out.push(character);
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_read_as_the_rfc_writes_them() {
        for (name, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("A & B", "A &- B"),
            ("📬", "&2D3c7A-"),
            ("", ""),
        ] {
            assert_eq!(encode(name), wire);
            assert_eq!(decode(wire.as_bytes()).unwrap(), name);
        }
        assert_eq!(decode("Entwürfe".as_bytes()).unwrap(), "Entwürfe");
    }

    #[test]
    fn broken_shifts_are_refused() {
        for wire in ["&", "&AP", "&APw", "&A-", "&2D0-", "&AGE-", "&AP-w", "&AP=-", "a&b"] {
            assert!(decode(wire.as_bytes()).is_err(), "{wire}");
        }
        assert!(decode(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn every_name_survives_the_wire(name in "\\PC{0,40}") {
            let wire = encode(&name);
            prop_assert!(wire.is_ascii());
            prop_assert_eq!(decode(wire.as_bytes()).unwrap(), name);
        }

        #[test]
        fn any_bytes_decode_without_a_panic(wire: Vec<u8>) {
            let _ = decode(&wire);
        }
    }
}
