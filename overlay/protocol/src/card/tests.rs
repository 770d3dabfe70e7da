//! Cards in both forms, and all that is no card.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::keys::Seed;
use crate::prekey::Prekeys;

const WALL: Wall = Wall(1_795_000_000_000);

struct Owner {
    certificate: Verified<AccountCertificate>,
    operations: Operations,
    devices: Vec<(u32, [u8; 32], u32, PublicPrekey)>,
}

fn owner(seed: u8, devices: u32) -> Owner {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let master = Seed::generate(&mut rng).master();
    let operations = Operations::generate(1, &mut rng);
    let devices = (1..=devices)
        .map(|id| {
            let mut prekeys = Prekeys::default();
            prekeys.rotate(WALL, &mut rng);
            let identity = crate::keys::DeviceKey::generate(id, &mut rng).public();
            (id, identity, 2968, prekeys.newest().unwrap().public())
        })
        .collect();
    Owner { certificate: AccountCertificate::sign(&master, &operations, WALL).unwrap(), operations, devices }
}

fn place(peer: u8) -> Place {
    let addresses = (0..4).map(|i| format!("/ip4/203.0.113.{i}/udp/4190/quic-v1/{}", "x".repeat(90))).collect();
    Place { peer: PeerId([peer; 32]), queue: QueueName([peer; 16]), kind: crate::event::PlaceKind::Home, addresses }
}

impl Owner {
    fn content<'a>(&'a self, places: &'a [Place]) -> CardContent<'a> {
        CardContent {
            issue: 7,
            not_before: WALL,
            not_after: Wall(WALL.0 + CARD_AGE_MS_MAX),
            devices: &self.devices,
            places,
            policy: Policy::default(),
            work: None,
            moved_to: None,
        }
    }

    fn issue(&self, places: &[Place]) -> Result<Issued, CardError> {
        Card::issue(&self.certificate, &self.operations, &self.content(places))
    }

    fn address(&self) -> &Address {
        &self.certificate.address
    }

    /// Signs a body that [`Card::issue`] would not make.
    fn forge(&self, change: impl FnOnce(&mut Body)) -> Result<Card, CardError> {
        let mut body = self.issue(&[place(1)]).unwrap().private.body;
        change(&mut body);
        let exact = codec::encode(&body).unwrap();
        let container = Container {
            certificate: ByteBuf::from(self.certificate.bytes()),
            signature: signed::sign(&self.operations.signing(), contexts::CARD, &exact),
            body: ByteBuf::from(exact),
        };
        Card::verify(self.address(), &codec::encode(&container).unwrap(), WALL)
    }
}

#[test]
fn both_forms_of_an_issue_verify_and_neither_is_a_rollback() {
    let owner = owner(1, 1);
    let Issued { public, private } = owner.issue(&[place(1), place(2)]).unwrap();
    for card in [&public, &private] {
        assert_eq!(&Card::verify(owner.address(), card.bytes(), WALL).unwrap(), card);
        assert_eq!(card.devices().len(), 1);
        assert_eq!(card.info(WALL).places.len(), 2);
    }
    assert!(!public.has_hints() && public.places().iter().all(|place| place.addresses.is_empty()));
    assert!(private.has_hints() && private.places().iter().all(|place| place.addresses.len() == 4));
    assert!(private.is_newer(&public) && !public.is_newer(&private));
    assert!(!public.is_rollback_of(&private) && !private.is_rollback_of(&public));
    let next = Card::issue(&owner.certificate, &owner.operations, &CardContent { issue: 8, ..owner.content(&[]) }).unwrap();
    assert!(next.public.is_newer(&private) && private.is_rollback_of(&next.public));
}

#[test]
fn the_largest_card_fits_its_limit_with_as_many_hints_as_go_in() {
    let owner = owner(1, 8);
    let places: Vec<_> = (0..5).map(place).collect();
    let Issued { public, private } = owner.issue(&places).unwrap();
    assert!(public.bytes().len() <= private.bytes().len() && private.bytes().len() <= CARD_BYTES_MAX);
    assert_eq!(private.places().len(), 5);
    assert!(Card::verify(owner.address(), private.bytes(), WALL).is_ok());
}

#[test]
fn sizes_are_as_the_specification_says() {
    for (devices, bytes) in [(1, 1_800), (2, 3_100), (4, 5_600), (8, 10_700)] {
        let size = owner(1, devices).issue(&[place(1), place(2)]).unwrap().public.bytes().len();
        assert!(size.abs_diff(bytes) < 150, "{devices} devices: {size} bytes");
    }
}

#[test]
fn cards_have_their_time() {
    let owner = owner(1, 1);
    let card = owner.issue(&[]).unwrap().public;
    let at = |days: i64| Card::verify(owner.address(), card.bytes(), Wall(WALL.0 + days * 86_400_000));
    assert!(at(0).is_ok() && at(60).is_ok() && at(-1).is_ok());
    assert_eq!(at(61), Err(CardError::Expired));
    assert_eq!(at(-2), Err(CardError::TooEarly));
    assert!(Card::verify_undated(owner.address(), card.bytes()).is_ok());
}

#[test]
fn what_is_signed_and_breaks_the_rules_is_refused() {
    let owner = owner(1, 1);
    assert!(owner.forge(|_| ()).is_ok());
    let other = self::owner(2, 1);
    assert_eq!(owner.forge(|body| body.address = *other.address()), Err(CardError::Mismatch));
    assert_eq!(owner.forge(|body| body.generation = 2), Err(CardError::Mismatch));
    assert!(matches!(owner.forge(|body| body.version = 2), Err(CardError::Malformed(_))));
    let rules = |change: &dyn Fn(&mut Body)| matches!(owner.forge(change), Err(CardError::Rules(_)));
    assert!(rules(&|body| body.not_after.0 += 1));
    assert!(rules(&|body| body.not_after.0 = body.not_before.0 - 1));
    assert!(rules(&|body| body.devices.clear()));
    assert!(rules(&|body| body.devices.extend_from_within(..)));
    assert!(rules(&|body| body.devices[0].kem = ByteBuf::from(vec![0; 1183])));
    assert!(rules(&|body| body.devices[0].identity = [0; 32]));
    assert!(rules(&|body| body.devices[0].weekly = [0; 32]));
    assert!(rules(&|body| body.sequence -= 1));
    assert!(rules(&|body| body.places.extend_from_within(..)));
    assert!(rules(&|body| body.places[0].onion_key = Some(ByteBuf::from(vec![0; 31]))));
    assert!(rules(&|body| body.places[0].addresses.push("/ip4/192.0.2.1/tcp/1".into())));
    assert!(rules(&|body| body.places[0].addresses[0] = "x".repeat(129)));
    assert!(rules(&|body| body.places[0].addresses[0] = "/dns4/a b".into()));
    assert!(rules(&|body| {
        let place = body.places[0].clone();
        body.places.extend((10..15).map(|peer| CardPlace { peer: PeerId([peer; 32]), ..place.clone() }));
    }));
}

#[test]
fn keys_of_others_make_no_card() {
    let (owner, thief) = (owner(1, 1), owner(2, 1));
    let content = owner.content(&[]);
    assert_eq!(Card::issue(&owner.certificate, &thief.operations, &content), Err(CardError::Mismatch));
    let card = thief.issue(&[]).unwrap().public;
    assert!(matches!(Card::verify(owner.address(), card.bytes(), WALL), Err(CardError::Certificate(_))));
    // The owner's certificate in front of the thief's signature.
    let mut container: Container = codec::decode(card.bytes(), CARD_BYTES_MAX).unwrap();
    container.certificate = ByteBuf::from(owner.certificate.bytes());
    let mixed = codec::encode(&container).unwrap();
    assert_eq!(Card::verify(owner.address(), &mixed, WALL), Err(CardError::Signature));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_bit_verifies(bit: prop::sample::Index) {
        let owner = owner(1, 1);
        let card = owner.issue(&[place(1)]).unwrap().private;
        let mut bytes = card.bytes().to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Card::verify(owner.address(), &bytes, WALL).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), signed in prop::collection::vec(any::<u8>(), 0..300)) {
        let owner = owner(1, 1);
        prop_assert!(Card::verify(owner.address(), &bytes, WALL).is_err());
        let container = Container {
            certificate: ByteBuf::from(owner.certificate.bytes()),
            signature: signed::sign(&owner.operations.signing(), contexts::CARD, &signed),
            body: ByteBuf::from(signed),
        };
        prop_assert!(Card::verify(owner.address(), &codec::encode(&container).unwrap(), WALL).is_err());
    }
}
