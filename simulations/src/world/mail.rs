//! A mail and what became of it: small, since there are millions of them.

use super::home::Ending;

/// Not yet.
const NEVER: u32 = u32::MAX;

/// A mail and what became of it; times in ms since the beginning. What comes of it more than 49 days later counts as coming 49 days later: nobody waits so
/// long.
#[derive(Clone, Debug)]
pub struct Mail {
    /// When it was submitted.
    pub at: u64,
    /// So long after it was submitted, in ms.
    filed: u32,
    ended: u32,
    /// The sender.
    pub from: u32,
    /// The recipient.
    pub to: u32,
    bytes: u32,
    /// Times that its whole envelope went over a network.
    pub sends: u16,
    /// What else is known of it: a bit each.
    marks: u8,
}

/// The sender's node has taken it.
const ACCEPTED: u8 = 1;
/// The sender was told that it failed.
const FAILED: u8 = 2;
/// The sender was told that their node took it and did not confirm it.
const UNCONFIRMED: u8 = 4;
/// A delay notice was written.
const NOTICED: u8 = 8;
/// A delay notice was written after its end.
const NOTICED_LATE: u8 = 16;

impl Mail {
    /// One that will be written; of 4 GiB at most.
    pub(super) fn planned(at: u64, from: u32, to: u32, bytes: u64) -> Self {
        Self { at, filed: NEVER, ended: NEVER, from, to, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), sends: 0, marks: 0 }
    }

    /// Its bytes, as the mail program sent it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }

    /// When it was in the recipient's mailbox.
    #[must_use]
    pub fn filed(&self) -> Option<u64> {
        self.moment(self.filed)
    }

    /// When the sender had the receipt, or was told that it failed.
    #[must_use]
    pub fn ended(&self) -> Option<u64> {
        self.moment(self.ended)
    }

    /// The sender's node has taken it.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.marks & ACCEPTED != 0
    }

    /// The sender was told that it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.marks & FAILED != 0
    }

    /// The sender was told that their node took it and did not confirm it.
    #[must_use]
    pub fn unconfirmed(&self) -> bool {
        self.marks & UNCONFIRMED != 0
    }

    /// The sender was told that it takes long.
    #[must_use]
    pub fn noticed(&self) -> bool {
        self.marks & NOTICED != 0
    }

    /// The sender was told that it takes long, after having been told what became of it.
    #[must_use]
    pub fn noticed_late(&self) -> bool {
        self.marks & NOTICED_LATE != 0
    }

    fn moment(&self, after: u32) -> Option<u64> {
        (after != NEVER).then(|| self.at + u64::from(after))
    }

    /// For how long it has been on its way.
    fn passed(&self, now: u64) -> u32 {
        u32::try_from(now.saturating_sub(self.at)).unwrap_or(NEVER).min(NEVER - 1)
    }

    pub(super) fn is_accepted(&mut self) {
        self.marks |= ACCEPTED;
    }

    pub(super) fn is_filed(&mut self, now: u64) {
        self.filed = self.filed.min(self.passed(now));
    }

    pub(super) fn ends(&mut self, now: u64, ending: Ending) {
        self.ended = self.passed(now);
        let ending = match ending {
            Ending::Failed => FAILED,
            Ending::Unconfirmed => UNCONFIRMED,
            Ending::Delivered => 0,
        };
        self.marks = self.marks & !(FAILED | UNCONFIRMED) | ending;
    }

    pub(super) fn is_noticed(&mut self) {
        self.marks |= if self.ended == NEVER { NOTICED } else { NOTICED | NOTICED_LATE };
    }

    pub(super) fn is_sent(&mut self) {
        self.sends = self.sends.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_takes_no_more_than_32_bytes() {
        assert!(size_of::<Mail>() <= 32);
    }

    #[test]
    fn what_the_sender_was_told_last_counts_and_notices_after_the_end_are_late() {
        let mut mail = Mail::planned(7, 1, 2, 3_000);
        let told = |mail: &Mail| [mail.accepted(), mail.failed(), mail.unconfirmed(), mail.noticed(), mail.noticed_late()];
        assert_eq!(told(&mail), [false; 5]);
        mail.is_accepted();
        mail.is_noticed();
        mail.ends(9, Ending::Failed);
        assert_eq!(told(&mail), [true, true, false, true, false]);
        mail.ends(10, Ending::Unconfirmed);
        mail.is_noticed();
        assert_eq!(told(&mail), [true, false, true, true, true]);
        mail.ends(11, Ending::Delivered);
        assert_eq!((told(&mail), mail.ended()), ([true, false, false, true, true], Some(11)));
    }

    #[test]
    fn it_is_filed_once_and_what_comes_after_49_days_comes_then() {
        let day = 24 * 3_600_000;
        let mut mail = Mail::planned(day, 1, 2, 3_000);
        assert_eq!((mail.filed(), mail.ended()), (None, None));
        mail.is_filed(3 * day);
        mail.is_filed(4 * day);
        mail.ends(900 * day, Ending::Delivered);
        assert_eq!(mail.filed(), Some(3 * day));
        assert!(mail.ended().is_some_and(|ended| (50 * day..51 * day).contains(&ended)), "{:?}", mail.ended());
    }
}
