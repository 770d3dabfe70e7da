//! A mail on its way out: envelope, text, and what the sender wants to hear (RFC 5321 §4.1.1, RFC 3461).

use super::content::Content;
use crate::domain::Address;

/// The longest envelope id (RFC 3461 §4.4), and the longest original recipient (§4.2), in bytes before their encoding.
const DSN_TEXT_BYTES_MAX: usize = 100;
const ORIGINAL_BYTES_MAX: usize = 500;

/// One mail for one next hop.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The reverse-path; none for reports (RFC 5321 §4.5.5).
    pub sender: Option<Address>,
    /// Who gets it there; each has a fate of its own.
    pub recipients: Vec<Recipient>,
    /// Header and body.
    pub content: Content,
    /// How much of the mail a report brings back.
    pub returned: Option<Returned>,
    /// The sender's own name for the envelope, for reports: printable ASCII, at most 100 bytes, else it is left out.
    pub envelope_id: Option<String>,
}

/// One recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// Where to.
    pub address: Address,
    /// Which reports the sender wants; none says nothing, and the far side does what is usual (failures and perhaps delays).
    pub notify: Option<Notify>,
    /// Whom the sender wrote to, if that is another address: `rfc822;name@domain` before its encoding.
    pub original: Option<String>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Recipient { address, notify: None, original: None }
    }
}

/// Which reports the sender wants (RFC 3461 §4.1). Nothing set is `NEVER`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it failed.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

impl Notify {
    /// The value of the parameter.
    pub(crate) fn value(self) -> String {
        let wanted = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let names: Vec<&str> = wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
        if names.is_empty() { "NEVER".to_owned() } else { names.join(",") }
    }
}

/// How much of the mail a report of failure brings back (RFC 3461 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returned {
    /// The header.
    Header,
    /// All of it.
    Full,
}

impl Mail {
    /// A mail that asks for nothing in particular.
    pub fn new(sender: Option<Address>, recipients: Vec<Recipient>, content: Content) -> Mail {
        Mail { sender, recipients, content, returned: None, envelope_id: None }
    }

    pub(crate) fn sayable_envelope_id(&self) -> Option<&str> {
        self.envelope_id.as_deref().filter(|id| sayable(id, DSN_TEXT_BYTES_MAX))
    }
}

impl Recipient {
    pub(crate) fn sayable_original(&self) -> Option<&str> {
        self.original.as_deref().filter(|original| original.contains(';') && sayable(original, ORIGINAL_BYTES_MAX))
    }
}

/// What xtext can carry (RFC 3461 §4): printable ASCII.
fn sayable(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
