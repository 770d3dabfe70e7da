//! A trace of nodes that come and go, from a file.

use crate::availability::{DAY, Sessions};
use crate::scenario::habits::{moments, size};
use crate::scenario::run::{self, Attention};
use crate::scenario::{MAILS_A_DAY, Outcome, drive};
use crate::stream::{Purpose, Stream};
use crate::world::World;
use kith_protocol::delivery::Config;

/// Nodes and sessions of a file, at most.
const NODES_MAX: u32 = 1_000_000;
const SESSIONS_MAX: usize = 20_000_000;

/// Nodes with the sessions of a trace; each writes to the next one, and the last ones keep mail for all others.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// How many of the last nodes keep mail for the others.
    pub relays: u32,
    /// When each node is on, in ms.
    pub sessions: Vec<Sessions>,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A line that is none.
    #[error("line {0} is {1:?}: a line is NODE,ON,OFF, whole seconds, ON before OFF, after an optional header of that name")]
    Line(usize, String),
    /// A session that overlaps with an earlier one of the same node.
    #[error("line {0}: node {1} is on already")]
    Overlap(usize, u32),
    /// Nothing in it.
    #[error("it has no sessions")]
    Empty,
    /// Too much in it.
    #[error("it has more than {NODES_MAX} nodes or {SESSIONS_MAX} sessions")]
    TooLarge,
}

/// Reads a trace: `node,on,off` on each line, in seconds; nodes are whole numbers from 0.
///
/// # Errors
/// [`Malformed`] names the line.
pub fn read(text: &str) -> Result<Vec<Sessions>, Malformed> {
    let mut all: Vec<Vec<(u64, u64, usize)>> = Vec::new();
    let mut count = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let header = number == 1 && line.eq_ignore_ascii_case("node,on,off");
        if line.is_empty() || line.starts_with('#') || header {
            continue;
        }
        let wrong = || Malformed::Line(number, line.chars().take(60).collect());
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [node, on, off] = fields[..] else { return Err(wrong()) };
        let seconds = |text: &str| text.parse::<u64>().ok().filter(|seconds| *seconds < 1 << 40);
        let (Ok(node), Some(on), Some(off)) = (node.parse::<u32>(), seconds(on), seconds(off)) else { return Err(wrong()) };
        if on >= off {
            return Err(wrong());
        }
        count += 1;
        if node >= NODES_MAX || count > SESSIONS_MAX {
            return Err(Malformed::TooLarge);
        }
        if all.len() <= node as usize {
            all.resize(node as usize + 1, Vec::new());
        }
        all[node as usize].push((on * 1000, off * 1000, number));
    }
    if count == 0 {
        return Err(Malformed::Empty);
    }
    (0..).zip(all).map(|(node, sessions)| sorted(node, sessions)).collect()
}

fn sorted(node: u32, mut sessions: Vec<(u64, u64, usize)>) -> Result<Sessions, Malformed> {
    sessions.sort_unstable();
    if let Some(pair) = sessions.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        return Err(Malformed::Overlap(pair[1].2, node));
    }
    let mut joined = Sessions::new();
    for (on, off, _) in sessions {
        match joined.last_mut() {
            Some((_, last)) if *last == on => *last = off,
            _ => joined.push((on, off)),
        }
    }
    Ok(joined)
}

impl Trace {
    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        if self.relays > 4 || self.nodes() < self.relays + 2 {
            return Err("a trace needs two nodes that write, and has at most 4 relays".to_owned());
        }
        let apart = |sessions: &Sessions| {
            sessions.iter().all(|(on, off)| on < off) && sessions.windows(2).all(|pair| pair[0].1 < pair[1].0)
        };
        if self.sessions.iter().all(apart) { Ok(()) } else { Err("sessions are sorted and apart".to_owned()) }
    }

    pub(super) fn run(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let people = self.nodes() - self.relays;
        let end = self.sessions.iter().filter_map(|sessions| sessions.last()).map(|(_, off)| *off).max().unwrap_or(0);
        let relays =
            (0..self.nodes()).map(|node| if node < people { (people..self.nodes()).collect() } else { Vec::new() }).collect();
        let mut world = World::new(seed, config, self.sessions.clone(), relays);
        for node in 0..people {
            let next = (node + 1) % people;
            world.introduce(node, next);
            (people..self.nodes()).for_each(|relay| world.introduce(node, relay));
            let mut stream = Stream::new(seed, node, Purpose::Writing);
            for at in moments(&self.sessions[node as usize], end, MAILS_A_DAY, &mut stream) {
                world.plan(at, node, next, size(&mut stream));
            }
        }
        drive(&mut world, end + DAY, attention);
        run::outcome(&world, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_line_by_line() {
        let read_it = read("node,on,off\n0,0,10\n# a comment\n1,5,20\n0,10,15\n\n0,30,40\n").unwrap();
        assert_eq!(read_it, [vec![(0, 15_000), (30_000, 40_000)], vec![(5_000, 20_000)]]);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, said) in [
            ("", "no sessions"),
            ("0,1,2\n0,x,3", "line 2"),
            ("0,5,5", "line 1"),
            ("0,1", "NODE,ON,OFF"),
            ("0,1,9\n0,5,12", "node 0 is on already"),
            ("-1,0,1", "line 1"),
            ("4000000000,0,1", "more than"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
