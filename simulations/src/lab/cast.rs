//! Who takes part: pairs of people who write to each other, some with machines that keep mail for both, some without.

use kith_protocol::delivery::Config;

use super::trace::Trace;
use crate::availability::Habit;
use crate::scenario;
use crate::stream::{Purpose, Stream};

/// Mails of a person on a day, in the mean.
const MAILS_A_DAY: f64 = 12.0;
/// Mails are written in this share of the time; the rest is for their delivery.
const WRITING: f64 = 0.8;
/// After a node was told to start, its person writes nothing for so long, in ms: a process starts, a mail program logs in.
const LEAD_MS: u64 = 1500;
/// Nor just before it is told to stop.
const TAIL_MS: u64 = 300;

/// Two people, and the machines that keep mail for both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The first of its nodes: the two people, then the relays.
    pub first: u32,
    /// How many relays.
    pub relays: u32,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cast {
    /// The pairs, one after the other.
    pub pairs: Vec<Pair>,
}

/// A mail that somebody will write; times in real ms since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Who writes.
    pub from: u32,
    /// To whom.
    pub to: u32,
    /// When.
    pub at: u64,
    /// Bytes of the mail as the mail program sends it.
    pub bytes: u64,
}

impl Cast {
    /// Pairs with one relay, two, and none in turn, as many as make exactly so many nodes; 2 at least.
    #[must_use]
    pub fn of(nodes: u32) -> Self {
        let (mut pairs, mut first) = (Vec::new(), 0);
        for turn in 0.. {
            let left = nodes.saturating_sub(first);
            if left < 2 {
                break;
            }
            // No node is left over alone.
            let fits = |relays: &u32| left >= relays + 2 && left - relays - 2 != 1;
            let order = [[1, 2, 0], [2, 0, 1], [0, 1, 2]][turn % 3];
            let Some(relays) = order.into_iter().find(fits) else { break };
            pairs.push(Pair { first, relays });
            first += 2 + relays;
        }
        Self { pairs }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.pairs.last().map_or(0, |pair| pair.first + 2 + pair.relays)
    }

    /// The relays of each node's person, by the node's number.
    #[must_use]
    pub fn relays(&self) -> Vec<Vec<u32>> {
        let of_pair = |pair: &Pair| {
            let relays: Vec<u32> = (pair.first + 2..pair.first + 2 + pair.relays).collect();
            let mut nodes = vec![relays.clone(), relays];
            nodes.resize(2 + pair.relays as usize, Vec::new());
            nodes
        };
        self.pairs.iter().flat_map(of_pair).collect()
    }

    /// Everybody who knows each other: two people, and both of them with their relays.
    #[must_use]
    pub fn acquaintances(&self) -> Vec<(u32, u32)> {
        let of_pair = |pair: &Pair| {
            let [one, other] = [pair.first, pair.first + 1];
            let relays = pair.first + 2..pair.first + 2 + pair.relays;
            let kept = relays.flat_map(move |relay| [(one, relay), (other, relay)]);
            std::iter::once((one, other)).chain(kept)
        };
        self.pairs.iter().flat_map(of_pair).collect()
    }

    /// The habit of each node. Sessions of minutes, as phones have, are left out: at a lab's pace a process would do nothing but start.
    #[must_use]
    pub fn habits(&self) -> Vec<Habit> {
        let day = |centre| Habit::Diurnal { hours: 5.0, centre };
        let spells = |on, off| Habit::Spells { on, off };
        let of_pair = |(turn, pair): (usize, &Pair)| {
            let mut habits = match (pair.relays, turn % 2) {
                (0, 0) => vec![day(20.0), day(20.0)],
                (0, _) => vec![spells(120.0, 120.0), spells(120.0, 180.0)],
                (_, 0) => vec![day(20.0), day(11.0)],
                (_, _) => vec![spells(90.0, 180.0), spells(90.0, 180.0)],
            };
            habits.extend([Habit::Pi { up: 0.9 }, Habit::Pi { up: 0.95 }].into_iter().take(pair.relays as usize));
            habits
        };
        self.pairs.iter().enumerate().flat_map(of_pair).collect()
    }

    /// The mails that both of each pair write while they are on, in the order of time.
    #[must_use]
    pub fn mails(&self, trace: &Trace, pace: u32, seed: u64) -> Vec<Planned> {
        let until = (trace.end as f64 * WRITING) as u64;
        let days = until as f64 * f64::from(pace) / crate::availability::DAY as f64;
        let mut mails = Vec::new();
        for pair in &self.pairs {
            for (from, to) in [(pair.first, pair.first + 1), (pair.first + 1, pair.first)] {
                let mut stream = Stream::new(seed, from, Purpose::Writing);
                let Some(sessions) = trace.sessions.get(from as usize) else { continue };
                let writing = sessions.iter().map(|(on, off)| (on + LEAD_MS, off.saturating_sub(TAIL_MS).min(until)));
                let writing: Vec<(u64, u64)> = writing.filter(|(on, off)| on < off).collect();
                let total: u64 = writing.iter().map(|(on, off)| off - on).sum();
                let between = total as f64 / (MAILS_A_DAY * days).max(1.0);
                for (on, off) in writing {
                    let mut at = on as f64 + stream.exponential(between);
                    while (at as u64) < off {
                        mails.push(Planned { from, to, at: at as u64, bytes: scenario::size(&mut stream) });
                        at += stream.exponential(between);
                    }
                }
            }
        }
        mails.sort_by_key(|mail| (mail.at, mail.from));
        mails
    }
}

/// What the nodes' delivery is told, and the simulation's.
#[must_use]
pub fn config(pace: u32) -> Config {
    Config::default().paced(pace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_its_place() {
        for nodes in 2..60 {
            let cast = Cast::of(nodes);
            assert_eq!(cast.nodes(), nodes, "{cast:?}");
            assert_eq!(cast.habits().len(), nodes as usize);
            assert_eq!(cast.relays().len(), nodes as usize);
        }
        let relays: Vec<u32> = Cast::of(20).pairs.iter().map(|pair| pair.relays).collect();
        assert_eq!(relays.iter().filter(|relays| **relays == 2).count(), 2, "{relays:?}");
        assert_eq!(Cast::of(4).pairs, [Pair { first: 0, relays: 2 }]);
    }

    #[test]
    fn mails_are_written_by_who_is_on_and_in_time() {
        let cast = Cast::of(3);
        let trace = Trace { end: 100_000, sessions: vec![vec![(0, 20_000), (60_000, 61_000)], vec![(10_000, 100_000)], vec![]] };
        let mails = cast.mails(&trace, 600, 1);
        assert!(mails.len() > 5 && mails.windows(2).all(|two| two[0].at <= two[1].at));
        for mail in mails {
            let on = trace.sessions[mail.from as usize].iter().any(|(on, off)| (on + LEAD_MS..*off - TAIL_MS).contains(&mail.at));
            assert!(on && mail.at < 80_000 && mail.from + mail.to == 1, "{mail:?}");
        }
    }
}
