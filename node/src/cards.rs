//! Cards that were verified before: one comes with every letter, mostly the same, and checking its two signatures takes longer than all else about it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kith_protocol::address::Address;
use kith_protocol::card::Card;

/// How many are remembered. A card has 11 KiB at most, mostly one or two.
const CARDS_MAX: usize = 256;

#[derive(Default)]
struct Known {
    cards: BTreeMap<[u8; 32], (Arc<Card>, u64)>,
    /// Counts the questions: who was asked for last, stays.
    asked: u64,
}

/// For one thread.
#[derive(Default)]
pub struct Cards(RefCell<Known>);

impl Cards {
    /// The card of `address` with these very bytes, verified now or before, whatever its date; `None` where it is none.
    pub fn of(&self, address: &Address, bytes: &[u8]) -> Option<Arc<Card>> {
        let name = *blake3::Hasher::new().update(address.key()).update(bytes).finalize().as_bytes();
        let mut known = self.0.borrow_mut();
        known.asked += 1;
        let asked = known.asked;
        if let Some((card, last)) = known.cards.get_mut(&name) {
            *last = asked;
            return Some(card.clone());
        }
        let card = Arc::new(Card::verify_undated(address, bytes).ok()?);
        if known.cards.len() >= CARDS_MAX
            && let Some(oldest) = known.cards.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| *name)
        {
            known.cards.remove(&oldest);
        }
        known.cards.insert(name, (card.clone(), asked));
        Some(card)
    }
}

#[cfg(test)]
mod tests {
    use kith_protocol::account::AccountKeys;
    use kith_protocol::card::Policy;
    use kith_protocol::event::Wall;
    use rand::SeedableRng;

    use super::*;

    const WALL: Wall = Wall(1_795_000_000_000);

    fn keys(seed: u64) -> AccountKeys {
        AccountKeys::create(WALL, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap().1
    }

    fn card(keys: &mut AccountKeys) -> Vec<u8> {
        keys.card(&[], Policy::default(), None, WALL).unwrap().public.bytes().to_vec()
    }

    #[test]
    fn a_card_is_what_it_was_when_it_was_verified() {
        let (cards, mut anna) = (Cards::default(), keys(1));
        let (older, newer) = (card(&mut anna), card(&mut anna));
        for bytes in [&older, &newer, &older] {
            let known = cards.of(anna.address(), bytes).unwrap();
            assert_eq!(*known, Card::verify_undated(anna.address(), bytes).unwrap());
        }
        assert_eq!(cards.0.borrow().cards.len(), 2);
    }

    #[test]
    fn nobody_has_the_card_of_somebody_else_and_no_byte_may_change() {
        let (cards, mut anna, bob) = (Cards::default(), keys(1), keys(2));
        let bytes = card(&mut anna);
        assert!(cards.of(anna.address(), &bytes).is_some());
        assert!(cards.of(bob.address(), &bytes).is_none());
        for at in (0..bytes.len()).step_by(97) {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(cards.of(anna.address(), &altered).is_none(), "byte {at}");
        }
        assert_eq!(cards.0.borrow().cards.len(), 1);
    }

    #[test]
    fn who_was_not_asked_for_longest_goes_first() {
        let (cards, mut anna) = (Cards::default(), keys(1));
        let first = card(&mut anna);
        for _ in 0..CARDS_MAX + 10 {
            let next = card(&mut anna);
            cards.of(anna.address(), &next).unwrap();
            cards.of(anna.address(), &first).unwrap();
        }
        let known = cards.0.borrow();
        assert_eq!(known.cards.len(), CARDS_MAX);
        assert!(known.cards.values().any(|(card, _)| card.bytes() == first));
    }
}
