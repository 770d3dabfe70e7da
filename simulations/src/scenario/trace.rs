//! Nodes that come and go as a trace says.

use crate::availability::{DAY, Sessions};
use crate::scenario::habits::{moments, size};
use crate::scenario::run::{self, Attention};
use crate::scenario::{MAILS_A_DAY, Outcome, drive};
use crate::stream::{Purpose, Stream};
use crate::world::World;
use kith_protocol::delivery::Config;

/// Nodes of a trace, at most.
pub const NODES_MAX: u32 = 1_000_000;

/// Nodes with the sessions of a trace; each writes to the next one, and the last ones keep mail for all others.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// How many of the last nodes keep mail for the others.
    pub relays: u32,
    /// When each node is on, in ms.
    pub sessions: Vec<Sessions>,
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
