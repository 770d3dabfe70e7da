//! What differs between the two kinds of port: submission, for the household's own programs, and MX, for the rest of the world.

use kith_connection::LoginRefusal;
use kith_store::account::Account;
use kith_store::blob::Staged;

use super::Transport;
use crate::command::{MailFrom, RcptTo};
use crate::reply::Reply;

/// How a client greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Not yet.
    None,
    /// Without extensions.
    Helo,
    /// With extensions.
    Ehlo,
}

/// What is known of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// How it greeted.
    pub hello: Hello,
    /// What it called itself, as it came; empty before the greeting.
    pub name: String,
    /// What it is connected by.
    pub transport: Transport,
}

/// A kind of port: what the conversation asks it. A reply with code 421 ends the session (RFC 5321 §3.8), whoever gives it.
pub trait Mode: Send + 'static {
    /// What is kept of an accepted recipient.
    type Recipient: Send;

    /// Commands that belong behind an answer and come ahead of it end the session (RFC 2920 §3.1).
    const WAITS_FOR_ANSWERS: bool;

    /// Senders and recipients are looked up and nothing else is done about them.
    const LOOKS_UP: bool;

    /// The first words. A refusal ends the session.
    fn greeting(&mut self) -> Reply;

    /// What this server calls itself.
    fn name(&self) -> &str;

    /// What EHLO says is possible, without the name.
    fn extensions(&self, caller: &Caller) -> Vec<String>;

    /// Whether a login may begin.
    ///
    /// # Errors
    /// What the client is told.
    fn may_log_in(&self, caller: &Caller) -> Result<(), Reply>;

    /// The outcome of a login.
    fn logged_in(&mut self, outcome: Result<Account, LoginRefusal>) -> Reply;

    /// Whether there was too much of something: the last words of the session.
    fn is_tired(&self) -> Option<Reply>;

    /// TLS is on: what was said before counts for nothing.
    fn forget(&mut self);

    /// Commands that make no sense, before the session ends.
    fn nonsense_max(&self) -> u32;

    /// Largest mail, bytes.
    fn size_limit(&self) -> u64;

    /// Whether a mail may begin at all; asked first.
    ///
    /// # Errors
    /// What the client is told.
    fn may_send(&self, caller: &Caller) -> Result<(), Reply>;

    /// Whether a mail from this reverse-path may begin.
    ///
    /// # Errors
    /// What the client is told.
    fn begin(&mut self, caller: &Caller, from: &MailFrom) -> Result<(), Reply>;

    /// Answers for a recipient, and adds it where it is accepted and new.
    fn recipient(&mut self, caller: &Caller, from: &MailFrom, recipients: &mut Vec<Self::Recipient>, to: RcptTo) -> Reply;

    /// The header as it shall be kept, of the fields that came.
    ///
    /// # Errors
    /// What the client is told when the mail is complete.
    fn header(
        &mut self,
        caller: &Caller,
        from: &MailFrom,
        recipients: &[Self::Recipient],
        fields: &[u8],
    ) -> Result<Vec<u8>, Reply>;

    /// Takes the mail. The reply is made when it is durable, or not kept.
    fn commit(&mut self, caller: &Caller, from: MailFrom, recipients: Vec<Self::Recipient>, mail: Staged) -> Reply;
}
