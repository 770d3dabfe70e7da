//! What the node decides for a submission: the only way out of a session.

use std::borrow::Cow;

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_store::account::Account;
use kith_store::blob::Staged;
use kith_store::queue::Notify;

use crate::command::RcptParams;

/// Where a recipient is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A member of this household.
    Household(AccountId),
    /// A key on the overlay.
    Overlay(Address),
    /// An ordinary address: the mail leaves in the clear.
    Legacy {
        /// The address.
        address: String,
        /// Only once the sender has said so again.
        held: bool,
    },
}

/// A refusal to be said to the client as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// RFC 5321 §4.2.3, 4xx or 5xx.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: &'static str,
    /// Cause and remedy in one sentence, ASCII.
    pub text: Cow<'static, str>,
}

/// A recipient that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRecipient {
    /// Where it is.
    pub route: Route,
    /// As the client wrote it.
    pub typed: String,
    /// RFC 3461 §4.1; `None` where the client said nothing.
    pub notify: Option<Notify>,
    /// RFC 3461 §4.2, decoded: `addr-type;address`.
    pub orcpt: Option<String>,
}

/// A complete submission.
#[derive(Clone, Debug)]
pub struct AcceptedMail {
    /// Who sends.
    pub account: Account,
    /// The reverse-path; empty for `<>` (a read receipt).
    pub reverse_path: String,
    /// At least one; each route once.
    pub recipients: Vec<AcceptedRecipient>,
    /// The mail, its header as it shall leave.
    pub mail: Staged,
    /// RFC 3461 §4.4, decoded.
    pub envid: Option<String>,
    /// RFC 3461 §4.3: `RET=FULL`.
    pub ret_full: bool,
    /// RFC 6531: the client asked for SMTPUTF8.
    pub smtputf8: bool,
}

/// Why a complete submission was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitRefusal {
    /// No space. Nothing was kept.
    Full,
    /// The store failed. Nothing is promised.
    Broken,
    /// Another reason.
    Refused(Refusal),
}

/// The node's decisions. Calls may block.
pub trait Policy: Send + Sync {
    /// Whether the account may use this reverse-path. Empty is `<>`, which read receipts have.
    ///
    /// # Errors
    /// 550 5.7.1 as a rule.
    fn may_send_as(&self, account: &Account, reverse_path: &str) -> Result<(), Refusal>;

    /// Whether all addresses of the `From` field are the account's. Never asked about none.
    ///
    /// # Errors
    /// 550 5.7.1 as a rule.
    #[expect(clippy::wrong_self_convention, reason = "it is about the field From")]
    fn from_header_ok(&self, account: &Account, addresses: &[String]) -> Result<(), Refusal>;

    /// Where a recipient is.
    ///
    /// # Errors
    /// 550 5.1.x with what is wrong and what to do.
    fn recipient(&self, account: &Account, address: &str, params: &RcptParams) -> Result<Route, Refusal>;

    /// Rewrites the header that will leave (fields without the empty line), so that names that mean something only here become addresses that
    /// every recipient can answer. As it is, where the node has no such names.
    fn readdress(&self, account: &Account, header: Vec<u8>) -> Vec<u8> {
        let _nobody = account;
        header
    }

    /// Takes the mail. Returns when it is durable, with what the queue calls it; only then the client hears `250`.
    ///
    /// # Errors
    /// Nothing of it was kept.
    fn commit(&self, mail: AcceptedMail) -> Result<String, CommitRefusal>;

    /// Largest mail, bytes.
    fn size_limit(&self) -> u64;

    /// Unix seconds, for a missing `Date`.
    fn now(&self) -> i64;

    /// Something unique, for a missing `Message-ID`.
    fn unique(&self) -> [u8; 16];
}
