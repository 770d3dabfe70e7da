//! Two accounts that exchange letters with nothing but each other's cards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::Cursor;

use kith_protocol::account::AccountKeys;
use kith_protocol::card::{Card, Policy};
use kith_protocol::correspondent::{Correspondent, Proof};
use kith_protocol::event::{Ladder, Place, Wall};
use kith_protocol::ids::{MailId, PeerId, QueueName};
use kith_protocol::letter::Kind;
use kith_protocol::seal::{Content, DeviceStanding, OpenKeys, SealRequest, SenderError, SenderGrade, open, seal, verify_sender};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const NOW: Wall = Wall(1_790_000_000_000);

struct Account {
    keys: AccountKeys,
    card: Card,
    rng: ChaCha20Rng,
}

impl Account {
    fn new(seed: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let (_, mut keys) = AccountKeys::create(NOW, &mut rng).unwrap();
        let place = Place {
            peer: PeerId([seed; 32]),
            queue: QueueName([seed; 16]),
            kind: kith_protocol::event::PlaceKind::Home,
            addresses: vec!["/ip4/192.0.2.1/tcp/4190".into()],
        };
        let card = keys.card(&[place], Policy::default(), None, NOW).unwrap().private;
        Self { keys, card, rng }
    }

    fn write(&mut self, to: &Card, about: &mut Correspondent, text: &[u8]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let request = SealRequest {
            device: self.keys.device().secret(),
            from: *self.keys.address(),
            card: self.card.bytes(),
            devices: &to.devices(),
            correspondent: about,
            ladder: Ladder::Best,
            mid: MailId([1; 16]),
            kind: Kind::Mail,
            answers: 0,
            date: NOW,
            now: NOW,
        };
        seal(request, Content::of(text), &mut out, &mut self.rng).unwrap();
        out.into_inner()
    }

    /// Opens, verifies the card inside against the claimed address and judges the sender.
    fn read(
        &self,
        envelope: &[u8],
        about: &mut Correspondent,
        known: Option<&Card>,
    ) -> (Vec<u8>, Result<SenderGrade, SenderError>) {
        let prekeys = self.keys.prekeys.expand();
        let keys = OpenKeys { address: *self.keys.address(), prekeys: &prekeys };
        let mut content = Vec::new();
        let size = envelope.len() as u64;
        let letter = open(&keys, |id| about.reply_secret(id), Cursor::new(envelope), size, &mut content).unwrap();
        let enclosed = Card::verify(&letter.head.from, &letter.head.card, NOW).unwrap().card_devices();
        let known = known.map(Card::card_devices);
        let grade = verify_sender(&letter, self.keys.address(), &enclosed, known.as_ref(), Some(about));
        if let Ok(grade) = &grade {
            about.learn(&letter.sender, &letter.head, grade.proof, NOW);
        }
        (content, grade)
    }
}

#[test]
fn letters_between_accounts_are_proven_by_their_cards() {
    let (mut alice, mut bob) = (Account::new(1), Account::new(2));
    let mut about_bob = Correspondent::new(*bob.keys.address());
    let mut about_alice = Correspondent::new(*alice.keys.address());
    let first = alice.write(&bob.card, &mut about_bob, b"hello");
    let (text, grade) = bob.read(&first, &mut about_alice, None);
    let grade = grade.unwrap();
    assert_eq!((text.as_slice(), grade.device, grade.proof), (&b"hello"[..], DeviceStanding::Listed, Proof::FirstContact));
    let answer = bob.write(&alice.card, &mut about_alice, b"hello yourself");
    let grade = alice.read(&answer, &mut about_bob, Some(&bob.card)).1.unwrap();
    assert_eq!((grade.device, grade.proof, grade.card_is_newer), (DeviceStanding::Listed, Proof::Contact, false));
}

#[test]
fn nobody_writes_with_the_card_of_somebody_else() {
    let (alice, mut mallory, bob) = (Account::new(1), Account::new(3), Account::new(2));
    // Mallory encloses Alice's card, which is hers to copy, and claims to be Alice.
    let mut about_bob = Correspondent::new(*bob.keys.address());
    let mut out = Cursor::new(Vec::new());
    let request = SealRequest {
        device: mallory.keys.device().secret(),
        from: *alice.keys.address(),
        card: alice.card.bytes(),
        devices: &bob.card.devices(),
        correspondent: &mut about_bob,
        ladder: Ladder::Best,
        mid: MailId([1; 16]),
        kind: Kind::Mail,
        answers: 0,
        date: NOW,
        now: NOW,
    };
    seal(request, Content::of(b"send money"), &mut out, &mut mallory.rng).unwrap();
    let mut about_alice = Correspondent::new(*alice.keys.address());
    let (_, grade) = bob.read(&out.into_inner(), &mut about_alice, Some(&alice.card));
    assert_eq!(grade, Err(SenderError::WrongKey));
}
