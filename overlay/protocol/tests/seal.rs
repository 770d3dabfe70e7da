//! Letters sealed and opened: what opens, and all that must not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{Cursor, Read, Seek, Write};

use kith_protocol::correspondent::{Proof, Standing};
use kith_protocol::envelope::{self, CHUNK_BYTES, Layout};
use kith_protocol::event::Ladder;
use kith_protocol::ids::{EnvelopeId, MailId};
use kith_protocol::letter::Kind;
use kith_protocol::limits::MAIL_BYTES_MAX;
use kith_protocol::noise;
use kith_protocol::receipt::{Receipt, State};
use kith_protocol::seal::{Content, LetterError, OpenError, OpenKeys, SealError, SealRequest, open, seal};
use party::{NOW, Party, address};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

#[path = "support/letters.rs"]
mod letters;
#[path = "support/party.rs"]
mod party;

const ALICE: u8 = 1;
const BOB: u8 = 2;

fn pair(devices: usize) -> (Party, Party) {
    (Party::new(ALICE, 1, BOB), Party::new(BOB, devices, ALICE))
}

fn mail(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// The length of a mail whose letter, with its head, takes exactly `letter` bytes.
fn filling(letter: usize) -> usize {
    let (mut alice, bob) = pair(1);
    let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, &mail(letter - 2_300), Ladder::Best, 1).unwrap();
    letter - 4 - bob.open(0, &bytes).unwrap().0.head.encode().unwrap().len()
}

#[test]
fn every_device_opens_what_was_sealed_for_every_number_of_slots_and_size() {
    let (cell, chunk) = (filling(14_692), filling(CHUNK_BYTES));
    let one_cell =
        |length| pair(1).0.seal(&pair(1).1.devices(), Kind::Mail, &mail(length), Ladder::Best, 9).unwrap().1.size == 16_000;
    assert!(one_cell(cell) && !one_cell(cell + 1));
    let sizes = [0, 1, cell, cell + 1, chunk - 1, chunk, chunk + 1, 2 * CHUNK_BYTES, 150_000];
    for devices in [1, 2, 3, 4, 5, 8] {
        for size in sizes {
            let (mut alice, bob) = pair(devices);
            let (bytes, sealed) = alice.seal(&bob.devices(), Kind::Mail, &mail(size), Ladder::Best, 9).unwrap();
            assert_eq!(bytes.len() as u64, sealed.size);
            assert!(envelope::is_size(sealed.size));
            assert_eq!(sealed.envelope, EnvelopeId(*blake3::hash(&bytes).as_bytes()));
            assert_eq!(usize::from(bytes[3]), devices.next_power_of_two());
            for device in [0, devices - 1] {
                let (letter, content) = bob.open(device, &bytes).unwrap();
                assert_eq!(content, mail(size), "{devices} devices, {size} bytes");
                assert_eq!(letter.sender, noise::public_key(&alice.nodes[0].device));
                assert_eq!((letter.head.mid, letter.head.from, letter.kind), (MailId([9; 16]), alice.address, Kind::Mail));
                assert_eq!(letter.content_hash, *blake3::hash(&content).as_bytes());
            }
        }
    }
}

#[test]
fn the_same_seed_seals_the_same_envelope() {
    let seal = || pair(2).0.seal(&pair(2).1.devices(), Kind::Mail, b"same", Ladder::Best, 3).unwrap();
    assert_eq!(seal(), seal());
}

#[test]
fn any_altered_byte_keeps_an_envelope_shut() {
    let (mut alice, bob) = pair(2);
    let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, &mail(300), Ladder::Best, 3).unwrap();
    let front = 4 + 2 * 1240 + 48;
    for at in (0..front).step_by(5).chain((front..bytes.len()).step_by(97)).chain([bytes.len() - 1]) {
        let mut altered = bytes.clone();
        altered[at] ^= 1 << (at % 8);
        for device in [0, 1] {
            // Another device's Noise message is the one thing that a device does not check: nobody but its owner can use it.
            let noise = 4 + (1 - device) * 1240 + 1112;
            assert_eq!(bob.open(device, &altered).is_ok(), (noise..noise + 128).contains(&at), "byte {at}");
        }
    }
}

#[test]
fn cut_longer_and_shuffled_envelopes_stay_shut() {
    let (mut alice, bob) = pair(1);
    let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, &mail(200_000), Ladder::Best, 3).unwrap();
    assert!(bob.open(0, &bytes).is_ok());
    for length in [0, 1, 3, 4, 1_244, 16_000, 128_000, bytes.len() - 16_000, bytes.len() - 1] {
        assert!(matches!(bob.open(0, &bytes[..length]), Err(OpenError::NotForUs)), "{length} bytes");
    }
    for more in [1, 16, 16_000, 128_000] {
        let longer = [bytes.as_slice(), &vec![0; more]].concat();
        assert!(bob.open(0, &longer).is_err());
    }
    let mut swapped = bytes.clone();
    let (first, second) = swapped[1_292..].split_at_mut(CHUNK_BYTES + 16);
    first.swap_with_slice(&mut second[..CHUNK_BYTES + 16]);
    assert!(bob.open(0, &swapped).is_err());
    // A file that is shorter than it is said to be.
    let keys = OpenKeys { address: bob.address, prekeys: &[bob.nodes[0].prekey()] };
    let said = open(&keys, |_| None, Cursor::new(&bytes[..70_000]), bytes.len() as u64, &mut Vec::new());
    assert!(matches!(said, Err(OpenError::NotForUs)));
}

#[test]
fn slots_of_two_envelopes_cannot_be_exchanged() {
    let (mut alice, bob) = pair(2);
    let (first, _) = alice.seal(&bob.devices(), Kind::Mail, b"one", Ladder::Weekly, 3).unwrap();
    let (second, _) = alice.seal(&bob.devices(), Kind::Mail, b"two", Ladder::Weekly, 4).unwrap();
    let mut mixed = first.clone();
    mixed[4..4 + 1240].copy_from_slice(&second[4..4 + 1240]);
    assert!(bob.open(0, &mixed).is_err());
    // The transcript covers all slots: the untouched one does not open either.
    assert!(bob.open(1, &mixed).is_err());
    let mut moved = first.clone();
    moved[4..4 + 2480].rotate_left(1240);
    assert!(bob.open(0, &moved).is_err());
}

#[test]
fn a_letter_to_one_address_never_opens_for_another() {
    let (mut alice, bob) = pair(1);
    let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, b"for Bob", Ladder::Best, 3).unwrap();
    let carol = Party::new(3, 1, ALICE);
    assert!(matches!(carol.open(0, &bytes), Err(OpenError::NotForUs)));
    // Not even with the very same keys: whoever forwards an envelope cannot make it look as if it had been written to somebody else.
    let twin = Party { address: address(3), ..pair(1).1 };
    assert!(matches!(twin.open(0, &bytes), Err(OpenError::Altered)));
}

#[test]
fn a_letter_opens_with_any_of_the_four_newest_prekeys_only() {
    let (mut alice, bob) = pair(1);
    let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, b"grace", Ladder::Best, 3).unwrap();
    let others = Party::new(7, 8, ALICE);
    for place in 0..=4 {
        let mut prekeys: Vec<_> = others.nodes.iter().take(place).map(party::Node::prekey).collect();
        prekeys.push(bob.nodes[0].prekey());
        let keys = OpenKeys { address: bob.address, prekeys: &prekeys };
        let opened = open(&keys, |_| None, Cursor::new(&bytes), bytes.len() as u64, &mut Vec::new());
        assert_eq!(opened.is_ok(), place < 4);
    }
}

#[test]
fn contacts_come_about_by_writing_and_seal_to_reply_keys() {
    let (mut alice, mut bob) = pair(1);
    let (first, sealed) = alice.seal(&bob.devices(), Kind::Mail, b"hello", Ladder::Best, 1).unwrap();
    assert_eq!(sealed.ladder, Ladder::Weekly, "nothing is known yet");
    assert_eq!(bob.receive(&first).0, Proof::FirstContact);
    let (second, sealed) = bob.seal(&alice.devices(), Kind::Mail, b"hello yourself", Ladder::Best, 2).unwrap();
    assert_eq!(sealed.ladder, Ladder::Best);
    assert_eq!(alice.receive(&second).0, Proof::Contact);
    assert_eq!(alice.other.standing(), Standing::Established);
    let (third, sealed) = alice.seal(&bob.devices(), Kind::Mail, b"how are you", Ladder::Best, 3).unwrap();
    assert_eq!((sealed.ladder, bob.receive(&third).0), (Ladder::Best, Proof::Contact));
    // A reply key opens one letter: the same envelope again finds its key erased.
    assert!(matches!(bob.open(0, &third), Err(OpenError::NotForUs)));
    // Retransmissions stay on the weekly key, and prove themselves all the same.
    let (again, sealed) = alice.seal(&bob.devices(), Kind::Mail, b"how are you", Ladder::Weekly, 4).unwrap();
    assert_eq!((sealed.ladder, bob.receive(&again).0), (Ladder::Weekly, Proof::Contact));
}

#[test]
fn a_contact_that_lost_its_keys_is_not_taken_for_the_contact() {
    let (mut alice, mut bob) = pair(1);
    let (first, _) = alice.seal(&bob.devices(), Kind::Mail, b"1", Ladder::Best, 1).unwrap();
    bob.receive(&first);
    let (second, _) = bob.seal(&alice.devices(), Kind::Mail, b"2", Ladder::Best, 2).unwrap();
    alice.receive(&second);
    let mut restored = pair(1).1;
    let (bare, _) = restored.seal(&alice.devices(), Kind::Mail, b"3", Ladder::Best, 3).unwrap();
    assert_eq!(alice.receive(&bare).0, Proof::KeysReset);
    assert_eq!(alice.other.standing(), Standing::Reset);
    // Its old reply keys are not used any more, so that the other side can read the answer.
    let (answer, sealed) = alice.seal(&restored.devices(), Kind::Mail, b"4", Ladder::Best, 4).unwrap();
    assert_eq!((sealed.ladder, restored.receive(&answer).0), (Ladder::Weekly, Proof::FirstContact));
    alice.other.accept_reset();
    let (fifth, _) = alice.seal(&restored.devices(), Kind::Mail, b"5", Ladder::Best, 5).unwrap();
    assert_eq!(restored.receive(&fifth).0, Proof::Contact, "made with the seed that the reset letter offered");
    let (sixth, _) = restored.seal(&alice.devices(), Kind::Mail, b"6", Ladder::Best, 6).unwrap();
    assert_eq!(alice.receive(&sixth).0, Proof::Contact);
}

#[test]
fn a_reply_key_serves_only_the_one_it_was_given_to() {
    let (mut alice, mut bob) = pair(1);
    let (first, _) = alice.seal(&bob.devices(), Kind::Mail, b"1", Ladder::Best, 1).unwrap();
    bob.receive(&first);
    // Carol got hold of the reply key that Alice gave to Bob.
    let mut carol = Party::new(3, 1, ALICE);
    carol.other = bob.other.clone();
    let (stolen, sealed) = carol.seal(&alice.devices(), Kind::Mail, b"2", Ladder::Best, 2).unwrap();
    assert_eq!(sealed.ladder, Ladder::Best);
    assert!(matches!(alice.open(0, &stolen), Err(OpenError::Malformed(LetterError::ReplyKey))));
}

#[test]
fn a_receipt_takes_one_cell() {
    let (mut alice, mut bob) = pair(1);
    let receipt = Receipt::new(vec![MailId([1; 16]); 64], State::Stored).unwrap();
    let (bytes, sealed) = alice.seal(&bob.devices(), Kind::Receipt, &receipt.encode().unwrap(), Ladder::Best, 1).unwrap();
    assert_eq!(sealed.size, 16_000);
    assert_eq!(Receipt::decode(&bob.receive(&bytes).1), Ok(receipt));
}

#[test]
fn what_cannot_be_sealed_is_refused_and_spends_nothing() {
    let (mut alice, bob) = pair(1);
    let before = alice.other.clone();
    assert!(matches!(alice.seal(&[], Kind::Mail, b"", Ladder::Best, 1), Err(SealError::Devices(0))));
    let nine = vec![bob.devices().remove(0); 9];
    assert!(matches!(alice.seal(&nine, Kind::Mail, b"", Ladder::Best, 1), Err(SealError::Devices(9))));
    let mut low = bob.devices();
    low[0].weekly = [0; 32];
    assert!(matches!(alice.seal(&low, Kind::Mail, b"", Ladder::Best, 1), Err(SealError::BadKey)));
    let mut no_kem = bob.devices();
    *no_kem[0].kem = [0xff; 1184];
    assert!(matches!(alice.seal(&no_kem, Kind::Mail, b"", Ladder::Best, 1), Err(SealError::BadKey)));
    assert!(matches!(alice.seal(&bob.devices(), Kind::Card, b"x", Ladder::Best, 1), Err(SealError::Head(_))));
    assert!(matches!(alice.seal(&bob.devices(), Kind::Receipt, &[0; 1_201], Ladder::Best, 1), Err(SealError::Head(_))));
    assert_eq!(alice.other, before);
}

/// A mail of any length that is never in memory; it refuses to be asked for more than a chunk at once.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(buffer.len() <= CHUNK_BYTES);
        let count = buffer.len().min(usize::try_from(self.0).unwrap());
        buffer[..count].fill(b'x');
        self.0 -= count as u64;
        Ok(count)
    }
}

/// Where a mail goes that is never in memory.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(bytes.len() <= CHUNK_BYTES && bytes.iter().step_by(4096).all(|byte| *byte == b'x'));
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn request<'a>(alice: &'a mut Party, devices: &'a [kith_protocol::seal::Device]) -> SealRequest<'a> {
    SealRequest {
        device: &alice.nodes[0].device,
        from: alice.address,
        card: &[0xca; 1800],
        devices,
        correspondent: &mut alice.other,
        ladder: Ladder::Best,
        mid: MailId([5; 16]),
        kind: Kind::Mail,
        answers: 0,
        date: NOW,
        now: NOW,
    }
}

fn hash_of(mut content: impl Read) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match content.read(&mut buffer).unwrap() {
            0 => return *hasher.finalize().as_bytes(),
            count => hasher.update(&buffer[..count]),
        };
    }
}

/// The most memory that this process ever used, in KiB.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_largest_mail_streams_through_bounded_memory() {
    let (mut alice, bob) = pair(1);
    let devices = bob.devices();
    let content = Content { from: Endless(MAIL_BYTES_MAX), length: MAIL_BYTES_MAX, hash: hash_of(Endless(MAIL_BYTES_MAX)) };
    let mut file = tempfile::tempfile().unwrap();
    #[cfg(target_os = "linux")]
    let before = peak_memory();
    let sealed = seal(request(&mut alice, &devices), content, &mut file, &mut ChaCha20Rng::from_seed([5; 32])).unwrap();
    let keys = OpenKeys { address: bob.address, prekeys: &[bob.nodes[0].prekey()] };
    let mut out = Counted(0);
    let letter = open(&keys, |_| None, &mut file, sealed.size, &mut out).unwrap();
    #[cfg(target_os = "linux")]
    assert!(peak_memory() - before < 2_048, "{} KiB more", peak_memory() - before);
    assert_eq!((out.0, letter.head.length), (MAIL_BYTES_MAX, MAIL_BYTES_MAX));
    assert!(sealed.size < MAIL_BYTES_MAX * 107 / 100);
    file.rewind().unwrap();
    assert_eq!(sealed.envelope, EnvelopeId(hash_of(&mut file)));
}

#[test]
fn a_mail_that_is_not_what_was_announced_is_not_sealed() {
    let (mut alice, bob) = pair(1);
    let devices = bob.devices();
    for (bytes, length) in [(&b"short"[..], 6), (b"other!", 6)] {
        let content = Content { from: bytes, length, hash: *blake3::hash(b"mail!!").as_bytes() };
        let result =
            seal(request(&mut alice, &devices), content, &mut Cursor::new(Vec::new()), &mut ChaCha20Rng::from_seed([5; 32]));
        assert!(matches!(result, Err(SealError::ContentChanged)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_open_to_nothing(front in proptest::collection::vec(any::<u8>(), 0..3000), cells in 0_usize..4, slots in 0_u8..9) {
        let bob = pair(1).1;
        let mut bytes = front;
        bytes.resize(cells * 16_000, 0x5a);
        prop_assert!(bob.open(0, &bytes).is_err());
        if let Some(header) = bytes.get_mut(..4) {
            header.copy_from_slice(&[b'K', b'M', 1, slots]);
            prop_assert!(bob.open(0, &bytes).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_keeps_an_envelope_shut(bit in 0_usize..16_000 * 8) {
        let (mut alice, bob) = pair(1);
        let (mut bytes, _) = alice.seal(&bob.devices(), Kind::Mail, &mail(300), Ladder::Best, 3).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(bob.open(0, &bytes).is_err());
    }

    #[test]
    fn letters_of_any_length_come_back_in_the_smallest_envelope(length in 0_usize..300_000, devices in 1_usize..=8) {
        let (mut alice, bob) = pair(devices);
        let (bytes, sealed) = alice.seal(&bob.devices(), Kind::Mail, &mail(length), Ladder::Best, 3).unwrap();
        prop_assert_eq!(bob.open(devices - 1, &bytes).unwrap().1, mail(length));
        let smaller = Layout::for_letter(devices, length as u64).unwrap();
        prop_assert!(smaller.size() <= sealed.size);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Letters cross, overtake each other, get lost and arrive twice: each opens when it first arrives, so no key is ever erased too early.
    #[test]
    fn every_letter_opens_on_its_first_arrival(steps in proptest::collection::vec((any::<bool>(), 0_u8..4, any::<prop::sample::Index>()), 1..40)) {
        let mut parties = [Party::new(ALICE, 1, BOB), Party::new(BOB, 1, ALICE)];
        let devices = [parties[0].devices(), parties[1].devices()];
        let mut under_way: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, (who, step, which)) in steps.into_iter().enumerate() {
            let (from, to) = if who { (0, 1) } else { (1, 0) };
            if step < 2 || under_way.is_empty() {
                let ladder = if step == 0 { Ladder::Weekly } else { Ladder::Best };
                let content = number.to_string();
                let (bytes, _) = parties[from].seal(&devices[to], Kind::Mail, content.as_bytes(), ladder, number as u8).unwrap();
                under_way.push((to, bytes));
            } else {
                let (to, bytes) = under_way.swap_remove(which.index(under_way.len()));
                if step == 2 {
                    parties[to].receive(&bytes);
                }
                // What was sealed to a reply key is shut the second time; what was sealed to the weekly key is for the mid to recognise.
                if let Ok((letter, _)) = parties[to].open(0, &bytes) {
                    prop_assert!(step != 2 || letter.reply_key.is_none());
                } else {
                    prop_assert_eq!(step, 2);
                }
            }
        }
    }
}

mod sender {
    //! Who may write in whose name.

    use kith_protocol::event::Wall;
    use kith_protocol::seal::{CardDevices, DeviceStanding, OpenedLetter, SenderError, verify_sender};

    use super::*;

    fn letter() -> (Party, OpenedLetter) {
        let (mut alice, bob) = pair(1);
        let (bytes, _) = alice.seal(&bob.devices(), Kind::Mail, b"1", Ladder::Best, 1).unwrap();
        let letter = bob.open(0, &bytes).unwrap().0;
        (bob, letter)
    }

    fn card(sequence: u64, identities: &[[u8; 32]]) -> CardDevices {
        let not_before = Wall(NOW.0 + i64::try_from(sequence).unwrap() - 1);
        CardDevices { address: address(ALICE), order: (1, sequence), not_before, identities: identities.to_vec() }
    }

    #[test]
    fn a_device_that_the_card_lists_may_write() {
        let (bob, letter) = letter();
        let enclosed = card(1, &[[9; 32], letter.sender]);
        let grade = verify_sender(&letter, &bob.address, &enclosed, None, Some(&bob.other)).unwrap();
        assert_eq!((grade.device, grade.proof, grade.card_is_newer), (DeviceStanding::Listed, Proof::FirstContact, true));
        let known = card(2, &[letter.sender]);
        let grade = verify_sender(&letter, &bob.address, &enclosed, Some(&known), None).unwrap();
        assert!(grade.device == DeviceStanding::Listed && !grade.card_is_newer);
    }

    #[test]
    fn a_device_that_no_card_lists_may_not() {
        let (bob, letter) = letter();
        let verify =
            |enclosed: &CardDevices, known: Option<&CardDevices>| verify_sender(&letter, &bob.address, enclosed, known, None);
        assert_eq!(verify(&card(1, &[[9; 32]]), None), Err(SenderError::WrongKey));
        // A newer card took it off the list and the letter is younger than that card.
        let mut later = card(2, &[[9; 32]]);
        assert_eq!(verify(&card(1, &[letter.sender]), Some(&later)).unwrap().device, DeviceStanding::Removed);
        later.not_before = Wall(NOW.0 - 1);
        assert_eq!(verify(&card(1, &[letter.sender]), Some(&later)), Err(SenderError::WrongKey));
        // A new generation of the operations key ends all that was before.
        later = CardDevices { order: (2, 1), not_before: Wall(NOW.0 + 1), ..later };
        assert_eq!(verify(&card(1, &[letter.sender]), Some(&later)), Err(SenderError::WrongKey));
    }

    #[test]
    fn the_card_of_somebody_else_proves_nothing() {
        let (bob, letter) = letter();
        let foreign = CardDevices { address: address(3), ..card(1, &[letter.sender]) };
        assert_eq!(verify_sender(&letter, &bob.address, &foreign, None, None), Err(SenderError::WrongCard));
        let own = card(1, &[letter.sender]);
        assert_eq!(verify_sender(&letter, &bob.address, &own, Some(&foreign), None), Err(SenderError::WrongCard));
        let carol = kith_protocol::correspondent::Correspondent::new(address(3));
        assert_eq!(verify_sender(&letter, &bob.address, &own, None, Some(&carol)), Err(SenderError::WrongCard));
    }
}
