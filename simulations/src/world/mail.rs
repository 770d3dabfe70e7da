//! A mail and what became of it: small, since there are millions of them.

use super::home::Ending;

/// No moment.
const NEVER: u64 = u64::MAX;

/// A mail and what became of it; times in ms since the beginning.
#[derive(Clone, Debug)]
pub struct Mail {
    /// When it was submitted.
    pub at: u64,
    filed: u64,
    ended: u64,
    /// The sender.
    pub from: u32,
    /// The recipient.
    pub to: u32,
    bytes: u32,
    /// Times that its whole envelope went over a network.
    pub sends: u16,
    /// Delay notices.
    pub notices: u8,
    /// The sender's node has taken it.
    pub accepted: bool,
    /// The sender was told that it failed.
    pub failed: bool,
    /// The sender was told that their node took it and did not confirm it.
    pub unconfirmed: bool,
    /// A delay notice was written after its end.
    pub noticed_late: bool,
}

impl Mail {
    /// One that will be written; of 4 GiB at most.
    pub(super) fn planned(at: u64, from: u32, to: u32, bytes: u64) -> Self {
        Self {
            at,
            filed: NEVER,
            ended: NEVER,
            from,
            to,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            sends: 0,
            notices: 0,
            accepted: false,
            failed: false,
            unconfirmed: false,
            noticed_late: false,
        }
    }

    /// Its bytes, as the mail program sent it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }

    /// When it was in the recipient's mailbox.
    #[must_use]
    pub fn filed(&self) -> Option<u64> {
        Some(self.filed).filter(|at| *at != NEVER)
    }

    /// When the sender had the receipt, or was told that it failed.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        Some(self.ended).filter(|at| *at != NEVER)
    }

    pub(super) fn is_filed(&mut self, now: u64) {
        self.filed = self.filed.min(now);
    }

    pub(super) fn ends(&mut self, now: u64, ending: Ending) {
        self.ended = now;
        (self.failed, self.unconfirmed) = (ending == Ending::Failed, ending == Ending::Unconfirmed);
    }

    pub(super) fn is_noticed(&mut self) {
        self.notices = self.notices.saturating_add(1);
        self.noticed_late |= self.ended != NEVER;
    }

    pub(super) fn is_sent(&mut self) {
        self.sends = self.sends.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_takes_no_more_than_48_bytes() {
        assert!(size_of::<Mail>() <= 48);
    }
}
