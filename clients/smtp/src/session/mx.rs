//! The rest of the world: nobody logs in, each recipient is verified, and whoever only tries is sent away.

use std::net::IpAddr;
use std::sync::Arc;

use kith_connection::LoginRefusal;
use kith_store::account::Account;
use kith_store::blob::Staged;

use super::incoming;
use super::mode::{Caller, Hello, Mode};
use crate::command::{MailFrom, RcptTo};
use crate::mx::{IncomingMail, MxRecipient, Peer, Policy, RecipientRefusal};
use crate::policy::{CommitRefusal, Refusal};
use crate::received::Received;
use crate::reply::Reply;

/// Recipients of one mail (RFC 5321 §4.5.3.1.8: no fewer).
pub const RECIPIENTS_MAX: usize = 100;
/// Mails that are begun on one connection.
pub const TRANSACTIONS_MAX: u32 = 100;
/// Unknown recipients on one connection, before it ends: more is a search for addresses.
pub const UNKNOWN_MAX: u32 = 10;
/// Recipients beyond [`RECIPIENTS_MAX`] on one connection, before it ends: more does not read the answers.
pub const OVERFLOW_MAX: u32 = 1000;
/// Commands that make no sense, before the session ends.
const NONSENSE_MAX: u32 = 20;

/// An MX port's side of the conversation.
pub struct Mx {
    policy: Arc<dyn Policy>,
    peer: IpAddr,
    /// Asked for once, before the greeting, where calls may block.
    admitted: Result<(), Refusal>,
    transactions: u32,
    unknown: u32,
    overflow: u32,
    /// Bytes of the field that was put on top of the mail that is under way.
    received_bytes: usize,
}

impl Mx {
    pub(super) fn new(policy: Arc<dyn Policy>, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let admitted = policy.connected(peer);
        Self { policy, peer, admitted, transactions: 0, unknown: 0, overflow: 0, received_bytes: 0 }
    }

    fn peer(&self, caller: &Caller) -> Peer {
        Peer {
            ip: self.peer,
            helo: caller.name.clone(),
            extended: caller.hello == Hello::Ehlo,
            encrypted: caller.transport.encrypted,
        }
    }
}

impl Mode for Mx {
    type Recipient = MxRecipient;

    const WAITS_FOR_ANSWERS: bool = true;
    const LOOKS_UP: bool = false;

    fn greeting(&mut self) -> Reply {
        match &self.admitted {
            Ok(()) => Reply::new(220, "", format!("{} ESMTP Kith", self.policy.name())),
            Err(refusal) => refusal.clone().into(),
        }
    }

    fn name(&self) -> &str {
        self.policy.name()
    }

    fn extensions(&self, caller: &Caller) -> Vec<String> {
        let mut lines = vec![format!("LIMITS MAILMAX={TRANSACTIONS_MAX} RCPTMAX={RECIPIENTS_MAX}")];
        if caller.transport.can_start_tls {
            lines.push("STARTTLS".to_owned());
        }
        lines
    }

    fn may_log_in(&self, _caller: &Caller) -> Result<(), Reply> {
        Err(Reply::new(502, "5.5.1", "Nobody logs in here; mail programs have a port of their own for that"))
    }

    fn logged_in(&mut self, _outcome: Result<Account, LoginRefusal>) -> Reply {
        Reply::new(421, "4.7.0", "Nobody logs in here; goodbye")
    }

    fn is_tired(&self) -> Option<Reply> {
        if self.unknown >= UNKNOWN_MAX {
            return Some(Reply::new(421, "4.7.0", "Too many recipients who are not here; goodbye"));
        }
        (self.overflow >= OVERFLOW_MAX).then(|| Reply::new(421, "4.7.0", "Too many recipients by far; goodbye"))
    }

    fn forget(&mut self) {}

    fn nonsense_max(&self) -> u32 {
        NONSENSE_MAX
    }

    fn size_limit(&self) -> u64 {
        self.policy.size_limit()
    }

    fn may_send(&self, _caller: &Caller) -> Result<(), Reply> {
        if self.transactions < TRANSACTIONS_MAX {
            return Ok(());
        }
        Err(Reply::new(421, "4.7.0", format!("{TRANSACTIONS_MAX} mails have come this way; connect again for more")))
    }

    fn begin(&mut self, caller: &Caller, from: &MailFrom) -> Result<(), Reply> {
        self.transactions += 1;
        if from.envid.is_some() || from.ret_full {
            return Err(no_dsn());
        }
        Ok(self.policy.sender(&self.peer(caller), &from.reverse_path, from.size)?)
    }

    fn recipient(&mut self, caller: &Caller, from: &MailFrom, recipients: &mut Vec<MxRecipient>, to: RcptTo) -> Reply {
        if to.params.notify.is_some() || to.params.orcpt.is_some() {
            return no_dsn();
        }
        if recipients.len() >= RECIPIENTS_MAX {
            self.overflow += 1;
            let text = format!("A mail has at most {RECIPIENTS_MAX} recipients here; send it to the others as another mail");
            return Reply::new(452, "4.5.3", text);
        }
        let route = match self.policy.recipient(&self.peer(caller), &from.reverse_path, &to.address) {
            Ok(route) => route,
            Err(RecipientRefusal::Refused(refusal)) => return refusal.into(),
            Err(RecipientRefusal::Unknown(refusal)) => {
                self.unknown += 1;
                return refusal.into();
            }
        };
        // Named twice, it still gets the mail once.
        if !recipients.iter().any(|other| other.route == route) {
            if from.reverse_path.is_empty() && !recipients.is_empty() {
                return Reply::new(452, "4.5.3", "A report has one recipient; send it to the other as another mail");
            }
            recipients.push(MxRecipient { route, typed: to.address });
        }
        Reply::new(250, "2.1.5", "Recipient accepted")
    }

    fn header(&mut self, caller: &Caller, from: &MailFrom, recipients: &[MxRecipient], fields: &[u8]) -> Result<Vec<u8>, Reply> {
        if matches!(fields.first(), Some(b' ' | b'\t')) {
            // It would be read as the rest of our own field.
            return Err(Reply::new(550, "5.6.0", "The mail begins with the rest of a header field that is not there"));
        }
        let recipient = match recipients {
            // Several must not learn of each other.
            [one] => Some(one.typed.as_str()),
            _ => None,
        };
        let received = Received {
            ip: self.peer,
            helo: &caller.name,
            extended: caller.hello == Hello::Ehlo,
            encrypted: caller.transport.encrypted,
            smtputf8: from.smtputf8,
            by: self.policy.name(),
            id: self.policy.unique(),
            recipient,
            now: self.policy.now(),
        };
        let mut head = received.field().into_bytes();
        self.received_bytes = head.len();
        head.extend_from_slice(fields);
        Ok(head)
    }

    fn commit(&mut self, caller: &Caller, from: MailFrom, recipients: Vec<MxRecipient>, mail: Staged) -> Reply {
        let peer = self.peer(caller);
        let mail = IncomingMail {
            peer,
            reverse_path: from.reverse_path,
            recipients,
            mail,
            received_bytes: self.received_bytes,
            smtputf8: from.smtputf8,
        };
        match self.policy.commit(mail) {
            Ok(name) => Reply::new(250, "2.6.0", format!("Mail accepted as {name}")),
            Err(CommitRefusal::Full) => Reply::new(452, "4.3.1", "The disk is full here; nothing was kept, try again later"),
            Err(CommitRefusal::Broken) => incoming::broken(),
            Err(CommitRefusal::Refused(refusal)) => refusal.into(),
        }
    }
}

/// RFC 5321 §4.1.1.11: a parameter of an extension that is not offered.
fn no_dsn() -> Reply {
    Reply::new(555, "5.5.4", "Reports on delivery are not offered here; send without their parameters")
}
