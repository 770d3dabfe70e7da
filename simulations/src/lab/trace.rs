//! When nodes are on and off: drawn from habits, or read from a file, and played faster than it happened.

use crate::availability::{DAY, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::trace::{self, BadTrace, HEADER};

/// A node is not told to start for less than this, in real ms, nor to stop: starting and stopping would be all that it does.
const SHORTEST_MS: u64 = 2000;

/// When each node is on, in real ms since the beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// When all of it is over.
    pub end: u64,
    /// By the number of the node.
    pub sessions: Vec<Sessions>,
}

impl Trace {
    /// Sessions of nodes with these habits for so many days, played so many times faster.
    #[must_use]
    pub fn drawn(habits: &[Habit], days: u64, pace: u32, seed: u64) -> Self {
        let of_node = |(node, habit): (u32, &Habit)| {
            let drawn = sessions(*habit, days * DAY, &mut Stream::new(seed, node, Purpose::Availability));
            let scaled = drawn.into_iter().map(|(on, off)| (on / u64::from(pace.max(1)), off / u64::from(pace.max(1))));
            playable(scaled.collect())
        };
        Self { end: days * DAY / u64::from(pace.max(1)), sessions: (0..).zip(habits).map(of_node).collect() }
    }

    /// Reads `NODE,ON,OFF` lines, in seconds of the life that is played.
    ///
    /// # Errors
    /// [`BadTrace`], with the line.
    pub fn read(text: &str, nodes: u32, pace: u32) -> Result<Self, BadTrace> {
        let mut sessions = trace::read(text, nodes)?;
        sessions.resize(nodes as usize, Sessions::new());
        let scaled = |ms: u64| ms / u64::from(pace.max(1));
        sessions.iter_mut().flatten().for_each(|(on, off)| (*on, *off) = (scaled(*on), scaled(*off)));
        let end = sessions.iter().flatten().map(|(_, off)| *off).max().ok_or(BadTrace::Empty)?;
        Ok(Self { end, sessions: sessions.into_iter().map(playable).collect() })
    }

    /// As [`Trace::read`] reads it.
    #[must_use]
    pub fn written(&self, pace: u32) -> String {
        let mut text = format!("{HEADER}\n");
        let seconds = |ms: u64| ms as f64 * f64::from(pace) / 1000.0;
        for (node, sessions) in self.sessions.iter().enumerate() {
            for (on, off) in sessions {
                text += &format!("{node},{},{}\n", seconds(*on), seconds(*off));
            }
        }
        text
    }
}

/// Without what is too short to be played: pauses first, then sessions.
fn playable(sessions: Sessions) -> Sessions {
    let mut joined = Sessions::new();
    for (on, off) in sessions {
        match joined.last_mut() {
            Some((_, before)) if on < *before + SHORTEST_MS => *before = off.max(*before),
            _ => joined.push((on, off)),
        }
    }
    joined.retain(|(on, off)| off - on >= SHORTEST_MS);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trace = Trace { end: 300_000, sessions: vec![vec![(0, 10_000), (50_000, 300_000)], vec![], vec![(7_000, 12_500)]] };
        assert_eq!(Trace::read(&trace.written(600), 3, 600), Ok(trace));
    }

    #[test]
    fn what_is_too_short_is_not_played() {
        assert_eq!(playable(vec![(0, 5_000), (5_500, 9_000), (20_000, 20_300)]), [(0, 9_000)]);
        let drawn = Trace::drawn(&[Habit::Phone { times: 30.0, minutes: 5.0 }, Habit::Always], 2, 600, 1);
        assert_eq!(drawn.sessions[1], [(0, 288_000)]);
        assert!(drawn.sessions[0].iter().all(|(on, off)| off - on >= SHORTEST_MS));
    }
}
