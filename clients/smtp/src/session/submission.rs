//! The household's own programs: they log in, and write as themselves.

use std::sync::Arc;

use kith_connection::LoginRefusal;
use kith_store::account::Account;
use kith_store::blob::Staged;

use super::incoming;
use super::mode::{Caller, Hello, Mode};
use crate::command::{MailFrom, RcptTo};
use crate::header::Header;
use crate::policy::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy, Refusal};
use crate::reply::Reply;

/// Recipients of one mail.
pub const RECIPIENTS_MAX: usize = 1000;
/// Commands that make no sense, before the session ends.
const NONSENSE_MAX: u32 = 100;
/// As above, before the login.
const NONSENSE_BEFORE_LOGIN_MAX: u32 = 20;
/// Failed logins, before the session ends.
const FAILED_LOGINS_MAX: u32 = 5;

/// A submission port's side of the conversation (RFC 6409).
pub struct Submission {
    policy: Arc<dyn Policy>,
    account: Option<Account>,
    failed_logins: u32,
}

impl Submission {
    pub(super) fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy, account: None, failed_logins: 0 }
    }

    fn account(&self, caller: &Caller) -> Result<&Account, Reply> {
        self.account.as_ref().ok_or_else(|| login_first(caller))
    }
}

fn password_may_travel(caller: &Caller) -> bool {
    caller.transport.encrypted || caller.transport.loopback
}

impl Mode for Submission {
    type Recipient = AcceptedRecipient;

    const WAITS_FOR_ANSWERS: bool = false;
    const LOOKS_UP: bool = true;

    fn greeting(&mut self) -> Reply {
        Reply::new(220, "", "kith.alt ESMTP Kith")
    }

    fn name(&self) -> &'static str {
        "kith.alt"
    }

    fn extensions(&self, caller: &Caller) -> Vec<String> {
        let mut lines = vec!["DSN".to_owned(), format!("LIMITS RCPTMAX={RECIPIENTS_MAX}")];
        if caller.transport.can_start_tls {
            lines.push("STARTTLS".to_owned());
        }
        if password_may_travel(caller) && self.account.is_none() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        lines
    }

    fn may_log_in(&self, caller: &Caller) -> Result<(), Reply> {
        if caller.hello != Hello::Ehlo {
            Err(Reply::new(503, "5.5.1", "Say EHLO first"))
        } else if self.account.is_some() {
            Err(Reply::new(503, "5.5.1", "You are logged in already"))
        } else if !password_may_travel(caller) {
            let text = "A password may not travel in the clear; choose STARTTLS in your mail program's settings";
            Err(Reply::new(538, "5.7.11", text))
        } else {
            Ok(())
        }
    }

    fn logged_in(&mut self, outcome: Result<Account, LoginRefusal>) -> Reply {
        let refusal = match outcome {
            Ok(account) => {
                self.account = Some(account);
                return Reply::new(235, "2.7.0", "Welcome");
            }
            Err(LoginRefusal::Wrong) => Reply::new(535, "5.7.8", "Wrong name or password"),
            Err(refusal @ LoginRefusal::TooMany) => Reply::new(454, "4.7.0", refusal.to_string()),
            Err(refusal @ LoginRefusal::Unavailable) => Reply::new(454, "4.3.0", refusal.to_string()),
        };
        self.failed_logins += 1;
        refusal
    }

    fn is_tired(&self) -> Option<Reply> {
        let tired = self.account.is_none() && self.failed_logins >= FAILED_LOGINS_MAX;
        tired.then(|| Reply::new(421, "4.7.0", "Too many failed logins; goodbye"))
    }

    fn forget(&mut self) {
        self.account = None;
    }

    fn nonsense_max(&self) -> u32 {
        if self.account.is_some() { NONSENSE_MAX } else { NONSENSE_BEFORE_LOGIN_MAX }
    }

    fn size_limit(&self) -> u64 {
        self.policy.size_limit()
    }

    fn may_send(&self, caller: &Caller) -> Result<(), Reply> {
        self.account(caller).map(drop)
    }

    fn begin(&mut self, caller: &Caller, from: &MailFrom) -> Result<(), Reply> {
        Ok(self.policy.may_send_as(self.account(caller)?, &from.reverse_path)?)
    }

    fn recipient(&mut self, caller: &Caller, _from: &MailFrom, recipients: &mut Vec<AcceptedRecipient>, to: RcptTo) -> Reply {
        let account = match self.account(caller) {
            Ok(account) => account,
            Err(reply) => return reply,
        };
        if recipients.len() >= RECIPIENTS_MAX {
            let text = format!("A mail has at most {RECIPIENTS_MAX} recipients; send it to the others as another mail");
            return Reply::new(452, "4.5.3", text);
        }
        match self.policy.recipient(account, &to.address, &to.params) {
            Err(refusal) => refusal.into(),
            Ok(route) => {
                // Named twice, it still gets the mail once.
                if !recipients.iter().any(|other| other.route == route) {
                    let RcptTo { address, params } = to;
                    recipients.push(AcceptedRecipient { route, typed: address, notify: params.notify, orcpt: params.orcpt });
                }
                Reply::new(250, "2.1.5", "Recipient accepted")
            }
        }
    }

    fn header(&mut self, caller: &Caller, from: &MailFrom, _: &[AcceptedRecipient], fields: &[u8]) -> Result<Vec<u8>, Reply> {
        let account = self.account(caller)?;
        let header = Header::parse(fields);
        check_from(&header, account, &*self.policy)?;
        let head = header.rewrite(&from.reverse_path, self.policy.now(), self.policy.unique());
        Ok(self.policy.readdress(account, head))
    }

    fn commit(&mut self, caller: &Caller, from: MailFrom, recipients: Vec<AcceptedRecipient>, mail: Staged) -> Reply {
        let account = match self.account(caller) {
            Ok(account) => account.clone(),
            Err(reply) => return reply,
        };
        let accepted = AcceptedMail {
            account,
            reverse_path: from.reverse_path,
            recipients,
            mail,
            envid: from.envid,
            ret_full: from.ret_full,
            smtputf8: from.smtputf8,
        };
        match self.policy.commit(accepted) {
            Ok(name) => Reply::new(250, "2.6.0", format!("Mail accepted, queued as {name}")),
            Err(CommitRefusal::Full) => incoming::full(),
            Err(CommitRefusal::Broken) => incoming::broken(),
            Err(CommitRefusal::Refused(refusal)) => refusal.into(),
        }
    }
}

fn login_first(caller: &Caller) -> Reply {
    if password_may_travel(caller) {
        Reply::new(530, "5.7.0", "Log in first; switch on authentication for outgoing mail in your mail program's settings")
    } else {
        Reply::new(530, "5.7.0", "Start TLS and log in first; choose STARTTLS in your mail program's settings")
    }
}

fn check_from(header: &Header<'_>, account: &Account, policy: &dyn Policy) -> Result<(), Refusal> {
    match header.from_addresses() {
        // Added from the reverse-path, which the policy has approved of.
        None => Ok(()),
        Some(addresses) if addresses.is_empty() => Err(Refusal {
            code: 550,
            enhanced: "5.7.1",
            text: "There is no address in the From field; write your own there".into(),
        }),
        Some(addresses) => policy.from_header_ok(account, &addresses),
    }
}
