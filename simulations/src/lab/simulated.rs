//! The same once more in virtual time: the sessions as they were played, the mails as they were accepted, the delivery as it was configured.

use kith_protocol::envelope::CELL_BYTES;

use super::calibration::Calibration;
use super::cast::{self, Cast, Planned};
use super::play::{Played, Session};
use crate::availability::Sessions;
use crate::world::World;

/// What the simulation says.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    /// When each mail that was accepted was in the mailbox and a mail program looked; by the mail's number, ms since the beginning.
    pub arrived: Vec<Option<u64>>,
    /// Whole envelopes sent.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Runs it.
#[must_use]
pub fn simulate(cast: &Cast, played: &Played, mails: &[Planned], calibration: &Calibration, asked: (u32, u64)) -> Simulated {
    let (pace, seed) = asked;
    let sessions: Vec<Sessions> = played
        .sessions
        .iter()
        .map(|sessions| sessions.iter().map(|session| (session.up, session.down.max(session.up + 1))).collect())
        .collect();
    let end = played.sessions.iter().flatten().map(|session| session.gone).max().unwrap_or(0);
    let mut world = World::new(seed, cast::config(pace), sessions, cast.relays());
    world.takes(calibration.timing());
    for (one, other) in cast.acquaintances() {
        world.introduce(one, other);
    }
    let accepted: Vec<(usize, u64)> =
        played.fates.iter().enumerate().filter_map(|(number, fate)| Some((number, fate.accepted?))).collect();
    for (number, at) in &accepted {
        let Planned { from, to, bytes, .. } = mails[*number];
        world.plan(*at, from, to, bytes);
    }
    world.run(end);
    let mut arrived = vec![None; mails.len()];
    for ((number, _), mail) in accepted.iter().zip(world.mails()) {
        arrived[*number] = mail.filed().and_then(|filed| looked(&played.sessions[mail.to as usize], filed));
    }
    let sends: u64 = world.mails().iter().map(|mail| u64::from(mail.sends)).sum();
    let traffic = world.traffic();
    Simulated {
        arrived,
        // A receipt fills one cell.
        envelopes: sends + traffic.receipt_bytes / CELL_BYTES,
        bytes: traffic.mail_bytes + traffic.receipt_bytes,
    }
}

/// When a mail program sees what was filed at a moment: at once, but not before it has logged in.
fn looked(sessions: &[Session], filed: u64) -> Option<u64> {
    sessions.iter().find(|session| session.gone > filed).map(|session| filed.max(session.looked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_a_mail_before_they_look() {
        let session = |up, gone| Session { up, down: gone - 10, gone, looked: up + 20 };
        let sessions = [session(10, 110), session(300, 410)];
        let seen: Vec<_> = [15, 50, 205, 350, 500].map(|filed| looked(&sessions, filed)).into();
        assert_eq!(seen, [Some(30), Some(50), Some(320), Some(350), None]);
    }
}
