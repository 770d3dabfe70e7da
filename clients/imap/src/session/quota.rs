//! QUOTA (RFC 9208): how much mail an account has, and how much the disk can take.
//!
//! There is one root, for all folders of an account. Nobody is given a share of the disk: the limit is what lies there and what still fits.

use super::{Completion, Refused, Session};
use crate::command::Mailbox;
use crate::response::{mailbox as write_mailbox, put};

const ROOT: &str = "mail";
/// The unit of STORAGE (RFC 9208 §5.1).
const UNIT_BYTES: u64 = 1024;

impl Session {
    pub(super) fn quota(&mut self, root: &[u8]) -> Result<Completion, Refused> {
        self.account_id()?;
        if root != ROOT.as_bytes() {
            return Err(Completion::no("NONEXISTENT", "The only quota root is \"mail\"").into());
        }
        self.tell_quota()?;
        Ok(Completion::ok("GETQUOTA completed"))
    }

    pub(super) fn quota_root(&mut self, mailbox: &Mailbox) -> Result<Completion, Refused> {
        let folder = self.existing_folder(&mailbox.name(self.names())?)?;
        let names = self.names();
        put!(&mut self.out, "* QUOTAROOT ");
        write_mailbox(&mut self.out, &folder.name, names);
        put!(&mut self.out, " {ROOT}\r\n");
        self.tell_quota()?;
        Ok(Completion::ok("GETQUOTAROOT completed"))
    }

    /// RFC 9208 §4.1.1: who may not change a quota is told so.
    pub(super) fn set_quota(&self) -> Result<Completion, Refused> {
        self.account_id()?;
        Err(Completion::no("NOPERM", "The disk is the only limit here").into())
    }

    fn tell_quota(&mut self) -> Result<(), Refused> {
        let account = self.account_id()?;
        let used: u64 = self.store().folders(account)?.iter().map(|folder| folder.bytes).sum();
        let limit = used.saturating_add(self.store().room()?);
        put!(&mut self.out, "* QUOTA {ROOT} (STORAGE {} {})\r\n", used.div_ceil(UNIT_BYTES), limit / UNIT_BYTES);
        Ok(())
    }
}
