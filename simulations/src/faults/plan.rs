//! What befalls whom, and when: drawn from a seed, or written down to be run again.

use std::collections::BTreeSet;

use crate::availability::{DAY, HOUR, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::{Ailment, Incident};

/// Machines of a plan, at most: 200 nodes.
pub(super) const PEOPLE_MAX: u32 = 180;
const RELAYS_MAX: u32 = 4;
/// Ten years, in ms: how far a clock may be wrong.
const DECADE_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// A mail of a plan.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Letter {
    /// When, in ms since the beginning.
    pub at_ms: u64,
    /// Who sends it.
    pub from: u32,
    /// To whom.
    pub to: u32,
    /// Its bytes.
    pub bytes: u64,
}

/// A run with everything that happens in it. As TOML it can be run again.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// For the randomness of cores and networks.
    pub seed: u64,
    /// Who write and read: the first nodes.
    pub people: u32,
    /// Who keep letters for all of them: the nodes after those.
    pub relays: u32,
    /// When everything is healed, in ms since the beginning.
    pub healed_ms: u64,
    /// What a commit promises is said before it is durable: a fault of the program, put in to see that it is found.
    #[serde(default)]
    pub hasty: bool,
    /// Whose disks say that they have synced and have not.
    pub lying_disks: BTreeSet<u32>,
    /// When everybody is on until then.
    pub sessions: Vec<Sessions>,
    /// The mails.
    pub letters: Vec<Letter>,
    /// What befalls them, and when in ms since the beginning.
    pub incidents: Vec<(u64, Incident)>,
}

/// A kind of fault, and what one of it is.
type Draw = fn(&Plan, &mut Stream) -> Incident;

/// Which kinds there are.
const KINDS: &[Draw] = &[
    |plan, stream| Incident::PowerCut(plan.any(stream), 1_000 + stream.below(2 * HOUR)),
    |plan, stream| Incident::PowerCut(plan.any(stream), 1_000 + stream.below(20_000)),
    |plan, stream| Incident::Restart(plan.any(stream), 1_000 + stream.below(HOUR)),
    |plan, stream| Incident::Broken(plan.any(stream)),
    |plan, stream| Incident::Split((0..plan.nodes()).map(|_| u8::from(stream.chance(0.5))).collect()),
    |_, _| Incident::Healed,
    |plan, stream| {
        let span = [2 * 60_000, 3_600_000, DECADE_MS][usize::try_from(stream.below(3)).unwrap_or(0)];
        let ahead = i64::try_from(stream.below(2 * span.unsigned_abs())).unwrap_or(0) - span;
        Incident::Clock(plan.any(stream), ahead)
    },
    |plan, stream| Incident::Clock(plan.any(stream), 0),
    |plan, stream| Incident::Disk(plan.any(stream), Ailment::Full),
    |plan, stream| Incident::Disk(plan.any(stream), Ailment::Failing),
    |plan, stream| Incident::Disk(plan.any(stream), Ailment::None),
    |plan, stream| Incident::Roused(plan.any(stream)),
    |_, stream| Incident::Directory(stream.unit()),
    |plan, stream| match plan.relays {
        0 => Incident::Healed,
        relays => Incident::Lying(plan.people + u32::try_from(stream.below(u64::from(relays))).unwrap_or(0), stream.chance(0.6)),
    },
];

impl Plan {
    /// All machines.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.people + self.relays
    }

    fn any(&self, stream: &mut Stream) -> u32 {
        u32::try_from(stream.below(u64::from(self.nodes()))).unwrap_or(0)
    }

    /// The plan of a seed.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut stream = Stream::new(seed, 0, Purpose::Faults);
        let small = |bound: u64, stream: &mut Stream| u32::try_from(stream.below(bound)).unwrap_or(0);
        // Most are small: what goes wrong goes wrong among few. Some run for longer than a mail lives.
        let many = stream.chance(0.02);
        let people = if many { 20 + small(20, &mut stream) } else { 2 + small(4, &mut stream) };
        let relays = small(u64::from(RELAYS_MAX), &mut stream);
        let long = !many && stream.chance(0.08);
        let healed_ms = if long { 31 * DAY + stream.below(6 * DAY) } else { 2 * HOUR + stream.below(60 * HOUR) };
        let mut plan = Self {
            seed,
            people,
            relays,
            healed_ms,
            hasty: false,
            lying_disks: BTreeSet::new(),
            sessions: Vec::new(),
            letters: Vec::new(),
            incidents: Vec::new(),
        };
        plan.come_and_go(long, &mut stream);
        plan.write(&mut stream);
        plan.befall(&mut stream);
        plan
    }

    fn come_and_go(&mut self, long: bool, stream: &mut Stream) {
        let spread = if long { 24.0 } else { 1.0 };
        // Somebody may be away for longer than a mail lives.
        let away = (long && stream.chance(0.5)).then_some(0);
        for node in 0..self.nodes() {
            if away == Some(node) {
                self.sessions.push(Sessions::new());
                continue;
            }
            let minutes = |stream: &mut Stream| spread * (5.0 + 240.0 * stream.unit());
            let habit = match stream.below(3) {
                0 => Habit::Always,
                _ => Habit::Spells { on: minutes(stream), off: minutes(stream) },
            };
            self.sessions.push(sessions(habit, self.healed_ms, &mut Stream::new(self.seed, node, Purpose::Availability)));
        }
    }

    fn write(&mut self, stream: &mut Stream) {
        for _ in 0..2 + stream.below(30) {
            let from = u32::try_from(stream.below(u64::from(self.people))).unwrap_or(0);
            let others = u64::from(self.people - 1);
            let to = (from + 1 + u32::try_from(stream.below(others)).unwrap_or(0)) % self.people;
            let on: u64 = self.sessions[from as usize].iter().map(|(start, end)| end - start).sum();
            let mut left = stream.below(on.max(1));
            // Somewhere within the time that the sender is on.
            let at = self.sessions[from as usize].iter().find_map(|(start, end)| {
                let here = end - start;
                let found = (left < here).then_some(start + left);
                left = left.saturating_sub(here);
                found
            });
            let most = if stream.chance(0.2) { 100_000 } else { 3_000 };
            let bytes = 200 + stream.below(most);
            if let Some(at_ms) = at {
                self.letters.push(Letter { at_ms, from, to, bytes });
            }
        }
        self.letters.sort_by_key(|letter| letter.at_ms);
    }

    fn befall(&mut self, stream: &mut Stream) {
        for kind in KINDS {
            if stream.chance(0.5) {
                continue;
            }
            let mean = self.healed_ms as f64 / (1.0 + 12.0 * stream.unit());
            let mut at = 0.0;
            loop {
                at += stream.exponential(mean);
                if at >= self.healed_ms as f64 {
                    break;
                }
                // Many things go wrong while a mail is on its way.
                let near = self.letters.get(usize::try_from(stream.below(1 + self.letters.len() as u64)).unwrap_or(0));
                let moment = match near {
                    Some(letter) if stream.chance(0.5) => letter.at_ms + stream.below(30_000),
                    _ => at as u64,
                };
                let incident = kind(self, stream);
                self.incidents.push((moment.min(self.healed_ms - 1), incident));
            }
        }
        // Who writes must be able to believe the disk: what it loses, nobody else has.
        if stream.chance(0.2) {
            let writes: BTreeSet<u32> = self.letters.iter().map(|letter| letter.from).collect();
            self.lying_disks = (0..self.nodes()).filter(|node| !writes.contains(node) && stream.chance(0.5)).collect();
        }
        self.incidents.sort_by_key(|(at, _)| *at);
    }

    /// Whether it can be run.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let nodes = self.nodes();
        let known = |node: u32| node < nodes;
        if !(2..=PEOPLE_MAX).contains(&self.people) || self.relays > RELAYS_MAX || self.sessions.len() != nodes as usize {
            return Err(format!("a plan has 2 to {PEOPLE_MAX} people, at most {RELAYS_MAX} relays, and sessions for each"));
        }
        if !self.letters.iter().all(|letter| letter.from < self.people && letter.to < self.people && letter.bytes < 1 << 20) {
            return Err("letters are from people to people, of less than 1 MiB".to_owned());
        }
        let fits = |incident: &Incident| match incident {
            Incident::PowerCut(node, _) | Incident::Restart(node, _) | Incident::Away(node, _) => known(*node),
            Incident::Wiped(_) => false,
            Incident::Broken(node) | Incident::Roused(node) => known(*node),
            Incident::Clock(node, _) => known(*node),
            Incident::Disk(node, _) => known(*node),
            Incident::Lying(node, _) => known(*node),
            Incident::Split(_) | Incident::Healed | Incident::Contact | Incident::Directory(_) => true,
        };
        if !self.incidents.iter().all(|(_, incident)| fits(incident)) || !self.lying_disks.iter().all(|node| known(*node)) {
            return Err(format!("a fault befalls one of {nodes} nodes, and a disk is not taken away"));
        }
        Ok(())
    }
}
