//! Days of failures in injected time, and what everybody is told of them.

use kith_gateway::outbound::fate::{Answer, Protection};
use kith_protocol::address::Address;
use kith_protocol::event::{Mono, Wall};
use kith_protocol::ids::MailId;
use kith_store::Options;
use kith_store::account::Account;
use kith_store::queue::{Form, Notify};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const START_MS: i64 = 1_795_000_000_000;

fn now(wall_ms: i64) -> Now {
    Now { mono: Mono(0), wall: Wall(wall_ms) }
}

fn person(number: u8) -> Address {
    use kith_protocol::keys::Master;
    use kith_protocol::secret::Secret;
    Master::from_seed(&Secret::new([number; 32])).address()
}

struct Desk {
    _home: tempfile::TempDir,
    store: Store,
    account: Account,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Options { cache_bytes: 1 << 20, passphrase: None }).unwrap();
        let account = store.add_account("anna", person(1), b"a long password").unwrap();
        Self { _home: home, store, account }
    }

    fn queue(&self, recipients: u8, origin: Option<Address>, notify: Notify) -> Vec<LegacyEntry> {
        let mut stage = self.store.stage().unwrap();
        stage.write_all(b"From: anna@near.test\r\nSubject: x\r\n\r\nx\r\n").unwrap();
        let mail = stage.finish().unwrap();
        for number in 0..recipients {
            let entry = LegacyEntry {
                id: EntryId(0),
                account: self.account.id,
                origin,
                mid: MailId([number; 16]),
                from: "anna@near.test".into(),
                recipient: format!("r{number}@far.test"),
                typed: format!("r{number}@far.test"),
                blob: (mail.hash, mail.size),
                submitted_ms: START_MS,
                notify,
                orcpt: None,
                envid: None,
                ret_full: false,
                progress: LegacyProgress { aged_at_ms: START_MS, ..LegacyProgress::default() },
            };
            let mail = mail.clone();
            self.store.write(move |transaction| transaction.submit_legacy(&entry, &mail)).unwrap();
        }
        self.store.legacy_queue().unwrap()
    }

    fn attempt(&self, entries: &[LegacyEntry], fate: &Fate, hop: HopState, at_ms: i64) -> Results {
        let outcome = Outcome { fates: vec![fate.clone(); entries.len()], hop };
        let results = results(&self.store, &Schedule::default(), entries, &outcome, now(at_ms)).unwrap();
        let written = results.clone();
        self.store.write(move |transaction| written.perform(transaction)).unwrap();
        results
    }

    /// The subjects of what the person was told.
    fn told(&self) -> Vec<String> {
        let inbox = self.store.folder_by_name(self.account.id, "INBOX").unwrap().unwrap().id;
        let messages =
            self.store.messages(self.account.id, inbox, kith_store::folder::Uid(1), kith_store::folder::Uid(u32::MAX), 1000);
        let text = |hash| {
            let mut bytes = Vec::new();
            self.store.blob(&hash).unwrap().read_to_end(&mut bytes).unwrap();
            mail_parser::MessageParser::new().parse(&bytes).unwrap().subject().unwrap().to_owned()
        };
        messages.unwrap().into_iter().map(|message| text(message.hash)).collect()
    }
}

fn later() -> Fate {
    Fate::Later(Trouble::said("mx.far.test", Why::Refused, Answer::new(451, "4.3.0 not now")))
}

const USUAL: Notify = Notify { success: false, failure: true, delay: true };

/// Nobody answers for days: tried seldom, said once that it is late and once that it has failed, and nothing is left.
#[test]
fn days_of_failures_are_told_twice_and_end() {
    let desk = Desk::new();
    desk.queue(1, None, USUAL);
    let (mut at_ms, mut attempts) = (START_MS, 0);
    let mut told_late = None;
    while let [entry] = &desk.store.legacy_queue().unwrap()[..] {
        at_ms = at_ms.max(entry.progress.next_ms);
        assert!(at_ms <= START_MS + 121 * HOUR_MS, "it never ends");
        desk.attempt(std::slice::from_ref(entry), &later(), HopState::Fine, at_ms);
        attempts += 1;
        let told = desk.told();
        if told_late.is_none() && told.len() == 1 {
            told_late = Some(at_ms - START_MS);
        }
    }
    let told = desk.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("Not delivered yet") && told[1].starts_with("Not delivered: "), "{told:?}");
    assert!((4 * HOUR_MS..9 * HOUR_MS).contains(&told_late.unwrap()), "{told_late:?}");
    assert!(at_ms >= START_MS + 119 * HOUR_MS, "RFC 5321 wants four or five days");
    assert!((30..70).contains(&attempts), "{attempts} attempts in five days");
    assert!(desk.store.verify(&mut |_| {}).unwrap().is_sound());
}

#[test]
fn waiting_for_a_host_that_rests_is_no_attempt() {
    let desk = Desk::new();
    let entries = desk.queue(1, None, USUAL);
    let wait = std::time::Duration::from_secs(600);
    let results = desk.attempt(&entries, &Fate::Later(Trouble::here(Why::Resting)), HopState::Resting { wait }, START_MS + 5);
    let (_, progress) = &results.progress()[0];
    assert_eq!((progress.attempts, progress.next_ms), (0, START_MS + 5 + 600_000));
}

/// A clock that jumps by years ages no mail by years.
#[test]
fn a_clock_that_jumps_fails_nothing() {
    let desk = Desk::new();
    desk.queue(1, None, USUAL);
    for years in [10, -10, 20] {
        let at_ms = START_MS + years * 365 * 24 * HOUR_MS;
        let entries = desk.store.legacy_queue().unwrap();
        desk.attempt(&entries, &later(), HopState::Fine, at_ms);
        assert_eq!(desk.store.legacy_queue().unwrap().len(), 1, "{years}");
    }
}

/// 24 hours in which everything goes wrong by turns: nobody is there, there is no room, the login is refused, answers are lost, this node is killed before it writes down what it
/// heard, the clock goes back by years and forth again. Then all is well: everything has arrived, twice only what an answer was lost of, and nobody was told of a failure.
#[test]
fn a_day_of_failures_of_every_kind_loses_nothing_and_doubles_only_what_nobody_could_know() {
    for seed in 0..6 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let desk = Desk::new();
        let recipients = 12;
        desk.queue(recipients, None, USUAL);
        let schedule = Schedule::default();
        let mut arrived: BTreeMap<String, u32> = BTreeMap::new();
        let mut unknown = 0;
        let (mut attempts, mut passed_ms) = (0, 0_i64);
        while !desk.store.legacy_queue().unwrap().is_empty() {
            passed_ms += 60_000;
            let hour = passed_ms / HOUR_MS;
            assert!(hour < 40, "seed {seed}: {:?}", desk.store.legacy_queue().unwrap());
            // From the sixth hour to the tenth the clock is ten years behind.
            let behind = if (6..10).contains(&hour) { 10 * 365 * 24 * HOUR_MS } else { 0 };
            let at_ms = START_MS + passed_ms - behind;
            let due = |entry: &LegacyEntry| schedule.wait_left_ms(entry.progress.next_ms, at_ms) == 0;
            for entry in desk.store.legacy_queue().unwrap().into_iter().filter(due) {
                attempts += 1;
                let rest = std::time::Duration::from_secs(600);
                let delivered = || Fate::Delivered {
                    host: "mx.far.test".into(),
                    answer: Answer::new(250, "2.0.0 ok"),
                    reports: Reports::PassedOn,
                    protection: Protection::Clear,
                };
                let refused = |code, text: &str| Fate::Later(Trouble::said("mx.far.test", Why::Refused, Answer::new(code, text)));
                let kind = if hour >= 24 { 6 } else { chance.random_range(0..6) };
                let (fate, hop) = match kind {
                    0 => (Fate::Later(Trouble::here(Why::Unreachable("no answer in time".into()))), HopState::Trouble),
                    1 => (refused(452, "4.3.1 full"), HopState::Trouble),
                    2 => (refused(535, "5.7.8 who?"), HopState::CredentialsRefused { wait: rest }),
                    3 => (Fate::Later(Trouble::here(Why::Resting)), HopState::Resting { wait: rest }),
                    4 => (Fate::Unknown { host: "mx.far.test".into() }, HopState::Trouble),
                    _ => (delivered(), HopState::Fine),
                };
                // An answer that is lost may have been a good one; a kill comes between a good one and the commit.
                let (took, killed) = match kind {
                    4 => (chance.random::<bool>(), false),
                    5 => (true, true),
                    6 => (true, false),
                    _ => (false, chance.random_range(0..8) == 0),
                };
                *arrived.entry(entry.recipient.clone()).or_default() += u32::from(took);
                unknown += u32::from(took && kind != 6);
                if !killed {
                    desk.attempt(std::slice::from_ref(&entry), &fate, hop, at_ms);
                }
            }
        }
        assert_eq!(arrived.values().filter(|copies| **copies >= 1).count(), usize::from(recipients), "seed {seed}: {arrived:?}");
        let copies: u32 = arrived.values().sum();
        assert_eq!(copies, u32::from(recipients) + unknown, "seed {seed}: twice is what nobody could know");
        let told = desk.told();
        assert!(
            told.len() <= usize::from(recipients) && told.iter().all(|told| told.starts_with("Not delivered yet")),
            "{told:?}"
        );
        // What a kill left as it was is due again at once: some 24 hours of minutes at most, and in general seldom.
        assert!(attempts < 40 * u32::from(recipients), "seed {seed}: {attempts}");
        assert!(desk.store.verify(&mut |_| {}).unwrap().is_sound());
    }
}

/// Whose mail was sent on for them is told by a letter, the gateway's owner is not.
#[test]
fn reports_go_to_whose_mail_it_is() {
    let desk = Desk::new();
    let entries = desk.queue(1, Some(person(2)), USUAL);
    let failed = Fate::Failed(Trouble::said("mx.far.test", Why::Refused, Answer::new(550, "5.1.1 who?")));
    desk.attempt(&entries, &failed, HopState::Fine, START_MS + 5);
    assert!(desk.told().is_empty() && desk.store.legacy_queue().unwrap().is_empty());
    let letters = desk.store.queue().unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.recipient, letter.form), (person(2), Form::Mail));
    assert_eq!(letter.notify, Notify { success: false, failure: false, delay: false }, "reports answering reports never end");
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(later()),
        Just(Fate::Failed(Trouble::here(Why::NoUtf8))),
        Just(Fate::Unknown { host: "mx.far.test".into() }),
        any::<bool>().prop_map(|passed_on| Fate::Delivered {
            host: "mx.far.test".into(),
            answer: Answer::new(250, "2.0.0 ok"),
            reports: if passed_on { Reports::PassedOn } else { Reports::NotOffered },
            protection: Protection::Clear,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever becomes of each: what is delivered or has failed is gone, all else waits, and each is told of what it asked for, once.
    #[test]
    fn each_recipient_ends_once_or_waits(fates in prop::collection::vec(any_fate(), 1..8), success: bool, failure: bool) {
        let desk = Desk::new();
        let notify = Notify { success, failure, delay: false };
        let entries = desk.queue(u8::try_from(fates.len()).unwrap(), None, notify);
        let outcome = Outcome { fates: fates.clone(), hop: HopState::Fine };
        let results = results(&desk.store, &Schedule::default(), &entries, &outcome, now(START_MS + 5)).unwrap();
        desk.store.write(move |transaction| results.perform(transaction)).unwrap();
        let waiting = desk.store.legacy_queue().unwrap();
        let waits = |fate: &Fate| matches!(fate, Fate::Later(_) | Fate::Unknown { .. });
        prop_assert_eq!(waiting.len(), fates.iter().filter(|fate| waits(fate)).count());
        let doubtful: u32 = waiting.iter().map(|entry| entry.progress.doubtful).sum();
        prop_assert_eq!(doubtful as usize, fates.iter().filter(|fate| matches!(fate, Fate::Unknown { .. })).count());
        let told = |fate: &Fate| match fate {
            Fate::Failed(_) => failure,
            Fate::Delivered { reports, .. } => success && *reports == Reports::NotOffered,
            Fate::Later(_) | Fate::Unknown { .. } => false,
        };
        prop_assert_eq!(desk.told().len(), fates.iter().filter(|fate| told(fate)).count());
        let report = desk.store.verify(&mut |_| {}).unwrap();
        prop_assert!(report.is_sound(), "{report:?}");
    }
}
