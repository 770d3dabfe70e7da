//! Near whose keys volunteers are looked for, and which queues they are asked for: both change every week, and letters stay for two.

use kith_network::CLOSEST_KEYS_MAX;
use kith_protocol::address::Address;
use kith_protocol::blinding::week_of;
use kith_protocol::event::{Event, Place, PlaceKind, Wall};
use kith_protocol::hosting::{VOLUNTEER_WEEKS_MAX, volunteer_queue, volunteer_weeks};
use kith_protocol::ids::{AccountId, Op, PeerId, QueueName};
use kith_store::StoreError;

use super::Room;
use crate::engine::Answered;
use crate::identity;

// All weeks of an owner's search go into one question to the network.
const _: () = assert!(VOLUNTEER_WEEKS_MAX <= CLOSEST_KEYS_MAX);

/// The weeks near whose keys volunteers are looked for: where letters for an account of this node may still wait, or where one for somebody else is left.
fn weeks(own: bool, wall: Wall) -> Vec<u32> {
    if own { volunteer_weeks(wall).collect() } else { vec![week_of(wall)] }
}

/// The places of a mailbox at the volunteers that were found: each with the queue of the week near whose key it was found, and no other, so that it
/// does not learn which queues of several weeks are one mailbox's.
fn places(near: &[(u32, Vec<PeerId>)], queue: impl Fn(u32) -> Option<QueueName>) -> Vec<Place> {
    let named = near.iter().filter_map(|(week, peers)| Some((queue(*week)?, peers)));
    named.flat_map(|(queue, peers)| peers.iter().map(move |peer| place(*peer, queue))).collect()
}

fn place(peer: PeerId, queue: QueueName) -> Place {
    Place { peer, queue, kind: PlaceKind::Volunteer, addresses: Vec::new() }
}

impl Room {
    fn own(&self, address: &Address) -> Option<&identity::Identity> {
        self.identities.values().find(|identity| identity.address() == *address)
    }

    /// Near which weeks' keys volunteers are looked for.
    pub(super) fn near(&self, op: Op, address: Address) {
        let weeks = weeks(self.own(&address).is_some(), self.clock.now().wall);
        self.answer(Answered::Near { op, address, weeks });
    }

    /// The queues at these volunteers: an own account's, or those of somebody whose card is known.
    pub(super) fn volunteers(&self, op: Op, address: &Address, near: &[(u32, Vec<PeerId>)]) {
        let places = match self.own(address) {
            Some(identity) => places(near, |week| identity.volunteer_queue(week)),
            None => {
                let card = self.store.card(address).ok().flatten();
                let operations = card.as_ref().and_then(identity::card_operations);
                places(near, |week| volunteer_queue(&operations?, week))
            }
        };
        self.tell(Event::VolunteersFound { op, places });
    }

    /// The volunteers that were found in the last run, each with the queues in which letters may wait by now. Near which week's key they were found is
    /// not kept: they are asked for all.
    pub(super) fn found_volunteers(&self) -> Result<Vec<(AccountId, Place)>, StoreError> {
        let (wall, mut places) = (self.clock.now().wall, Vec::new());
        for (account, peers) in self.store.volunteers()? {
            let Some(identity) = self.identities.get(&account) else { continue };
            for peer in peers {
                places.extend(identity.volunteer_queues(wall).map(|(_, queue)| (account, place(peer, queue))));
            }
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use kith_protocol::event::{Mono, Now};
    use kith_store::{Options, Store};

    use super::*;

    /// In the middle of a week: nobody's clock is in another one.
    const WALL: Wall = Wall(2968 * 604_800_000 + 302_400_000);
    const DAY_MS: i64 = 86_400_000;

    fn identity() -> (tempfile::TempDir, identity::Identity) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Options { cache_bytes: 1024 * 1024, passphrase: None }).unwrap();
        let made = crate::people::add(&store, "bob", None, Now { mono: Mono(0), wall: WALL }).unwrap();
        let identity = identity::Identity::load(&store, &made.account, PeerId([9; 32])).unwrap();
        (home, identity)
    }

    /// Two volunteers near the key of each week, and one near all of them.
    fn found(weeks: &[u32]) -> Vec<(u32, Vec<PeerId>)> {
        let near =
            |(number, week): (u8, &u32)| (*week, vec![PeerId([2 * number; 32]), PeerId([2 * number + 1; 32]), PeerId([100; 32])]);
        (0..).zip(weeks).map(near).collect()
    }

    #[test]
    fn an_owner_asks_for_each_weeks_queue_near_the_key_of_that_week() {
        let (_home, identity) = identity();
        let weeks = weeks(true, WALL);
        assert_eq!(weeks, [2968, 2967, 2966]);
        let places = places(&found(&weeks), |week| identity.volunteer_queue(week));
        let asked: Vec<(PeerId, QueueName)> = places.iter().map(|place| (place.peer, place.queue)).collect();
        let queue = |week| identity.volunteer_queue(week).unwrap();
        let expected = (0..).zip(&weeks).flat_map(|(number, week): (u8, &u32)| {
            [2 * number, 2 * number + 1, 100].map(|peer| (PeerId([peer; 32]), queue(*week)))
        });
        assert_eq!(asked, expected.collect::<Vec<_>>());
        assert!(places.iter().all(|place| place.kind == PlaceKind::Volunteer));
    }

    #[test]
    fn what_was_left_for_an_owner_is_looked_for_as_long_as_it_is_kept() {
        for left in 0..7 {
            let left = Wall(WALL.0 + left * DAY_MS);
            for days in 0..=14 {
                assert!(weeks(true, Wall(left.0 + days * DAY_MS)).contains(&week_of(left)), "after {days} days");
            }
        }
    }

    #[test]
    fn a_letter_for_somebody_else_is_left_in_this_weeks_queue() {
        let (_home, identity) = identity();
        // What a sender makes of the recipient's card is what the recipient asks for.
        let weeks = weeks(false, WALL);
        assert_eq!(weeks, [2968]);
        let places = places(&found(&weeks), |week| identity.volunteer_queue(week));
        let expected = [0, 1, 100].map(|peer| place(PeerId([peer; 32]), identity.volunteer_queue(2968).unwrap()));
        assert_eq!(places, expected);
        assert_eq!(super::places(&found(&weeks), |_| None), [], "nothing is left for somebody whose card is not known");
    }
}
