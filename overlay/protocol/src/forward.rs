//! What goes in front of a mail between a person and the gateway of a contact: where it is to go in the clear, or where it came from.
//!
//! The content of letters of kinds 7 and 8: `n` (4 bytes, little-endian) ‖ `n` bytes of canonical CBOR, at most
//! [`FORWARD_BYTES_MAX`] ‖ the mail in MIME.

use std::io::{self, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::limits::FORWARD_BYTES_MAX;

const VERSION: u8 = 1;

/// Bytes in front of the CBOR: its length.
const PREFIX_BYTES: usize = 4;

/// To the gateway (kind 7): please send this on. `{0: version 1, 1: to, 2: notify, 3: ORCPT, 4: ENVID, 5: whole}`; 3 and 4 may be absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outward {
    version: u8,
    /// The ordinary address, as RCPT would have it.
    pub to: String,
    /// What the sender wants to be told (RFC 3461 §4.1): 1 success, 2 failure, 4 delay.
    pub notify: u8,
    /// RFC 3461 §4.2, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
    /// RFC 3461 §4.4, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// RFC 3461 §4.3: a report of failure brings the whole mail back.
    pub whole: bool,
}

/// From the gateway (kind 8): this came in for you. `{0: version 1, 1: from, 2: to, 3: verdict, 4: junk}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inward {
    version: u8,
    /// The reverse-path; empty for `<>`.
    pub from: String,
    /// The ordinary address that it was sent to.
    pub to: String,
    /// What the gateway found of its sender: the results of an Authentication-Results field (RFC 8601 §2.2), without its name.
    pub verdict: String,
    /// The domain it claims to be from wants such mail looked at with suspicion.
    pub junk: bool,
}

/// Why content is none.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It breaks the rules.
    #[error("what goes in front of the mail is malformed")]
    Malformed,
}

impl Outward {
    /// A mail to be sent on.
    #[must_use]
    pub fn new(to: String, notify: u8, orcpt: Option<String>, envid: Option<String>, whole: bool) -> Self {
        Self { version: VERSION, to, notify, orcpt, envid, whole }
    }

    /// What goes in front of the mail.
    ///
    /// # Errors
    /// [`ForwardError::Malformed`] where it is longer than it may be.
    pub fn front(&self) -> Result<Vec<u8>, ForwardError> {
        front(self)
    }

    /// Reads what is in front of the mail; what is left in `content` is the mail.
    ///
    /// # Errors
    /// [`ForwardError`]
    pub fn read(content: &mut impl Read) -> Result<Self, ForwardError> {
        let read: Self = read(content)?;
        if read.version == VERSION && read.notify < 8 { Ok(read) } else { Err(ForwardError::Malformed) }
    }
}

impl Inward {
    /// A mail that came in.
    #[must_use]
    pub fn new(from: String, to: String, verdict: String, junk: bool) -> Self {
        Self { version: VERSION, from, to, verdict, junk }
    }

    /// As [`Outward::front`].
    ///
    /// # Errors
    /// As there.
    pub fn front(&self) -> Result<Vec<u8>, ForwardError> {
        front(self)
    }

    /// As [`Outward::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(content: &mut impl Read) -> Result<Self, ForwardError> {
        let read: Self = read(content)?;
        if read.version == VERSION { Ok(read) } else { Err(ForwardError::Malformed) }
    }
}

fn front<T: Serialize>(what: &T) -> Result<Vec<u8>, ForwardError> {
    let bytes = codec::encode(what).map_err(|_| ForwardError::Malformed)?;
    let length = u32::try_from(bytes.len()).map_err(|_| ForwardError::Malformed)?;
    if bytes.len() > FORWARD_BYTES_MAX {
        return Err(ForwardError::Malformed);
    }
    Ok([&length.to_le_bytes()[..], &bytes].concat())
}

fn read<T: Serialize + DeserializeOwned>(content: &mut impl Read) -> Result<T, ForwardError> {
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ForwardError::Malformed,
        _ => ForwardError::Read(error),
    };
    let mut length = [0; PREFIX_BYTES];
    content.read_exact(&mut length).map_err(cut)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > FORWARD_BYTES_MAX {
        return Err(ForwardError::Malformed);
    }
    let mut bytes = vec![0; length];
    content.read_exact(&mut bytes).map_err(cut)?;
    codec::decode(&bytes, FORWARD_BYTES_MAX).map_err(|_| ForwardError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_in_front_of_a_mail_reads_back(
            to in ".{0,100}", notify in 0_u8..8, orcpt: Option<String>, whole: bool, mail: Vec<u8>
        ) {
            let outward = Outward::new(to.clone(), notify, orcpt, None, whole);
            let inward = Inward::new(to.clone(), to, "spf=pass".into(), whole);
            for front in [outward.front(), inward.front()] {
                let Ok(front) = front else { continue };
                let content = [&front[..], &mail].concat();
                let mut rest = content.as_slice();
                match Outward::read(&mut rest) {
                    Ok(read) => prop_assert_eq!(read, outward.clone()),
                    Err(_) => {
                        rest = content.as_slice();
                        prop_assert_eq!(Inward::read(&mut rest).unwrap(), inward.clone());
                    }
                }
                prop_assert_eq!(rest, &mail[..]);
            }
        }

        #[test]
        fn foreign_bytes_are_refused_or_canonical(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            if let Ok(read) = Outward::read(&mut rest) {
                prop_assert_eq!([&read.front().unwrap()[..], rest].concat(), bytes);
            }
        }
    }

    #[test]
    fn a_request_is_these_bytes() {
        let front = Outward::new("a@b.c".into(), 6, None, None, false).front().unwrap();
        assert_eq!(front, [&[14, 0, 0, 0, 0xa4, 0, 1, 1, 0x65][..], b"a@b.c", &[2, 6, 5, 0xf4]].concat());
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_refused() {
        assert!(Outward::new("x".repeat(FORWARD_BYTES_MAX), 0, None, None, false).front().is_err());
        let claimed = u32::try_from(FORWARD_BYTES_MAX + 1).unwrap().to_le_bytes();
        assert!(matches!(Inward::read(&mut &claimed[..]), Err(ForwardError::Malformed)));
    }
}
