//! When nodes are on and off: drawn from habits, or read from a file, and played faster than it happened.

use crate::availability::{DAY, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};

/// A node is not told to start for less than this, in real ms, nor to stop: starting and stopping would be all that it does.
const SHORTEST_MS: u64 = 2000;
/// The first line of a file.
const HEADER: &str = "node,on,off";

/// When each node is on, in real ms since the beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// When all of it is over.
    pub end: u64,
    /// By the number of the node.
    pub sessions: Vec<Sessions>,
}

/// What is wrong with a file of sessions.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTrace {
    /// A line that is none.
    #[error(
        "line {line}: `{text}` is not NODE,ON,OFF: a number, and two times in seconds, the second one later (the first line may be {HEADER})"
    )]
    Line {
        /// Which.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A node that does not take part.
    #[error("line {line}: there is no node {node}; with --nodes {nodes} they are 0 to {}", nodes.saturating_sub(1))]
    Node {
        /// Which.
        line: usize,
        /// Who.
        node: u32,
        /// How many there are.
        nodes: u32,
    },
    /// Sessions that overlap.
    #[error("line {line}: node {node} is on already then; its sessions must not overlap, and come in the order of time")]
    Order {
        /// Which.
        line: usize,
        /// Who.
        node: u32,
    },
    /// No sessions.
    #[error("nobody is ever on in it")]
    Empty,
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
        let mut sessions = vec![Sessions::new(); nodes as usize];
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') || (line == 1 && text == HEADER) {
                continue;
            }
            let (node, on, off) = fields(text).ok_or_else(|| BadTrace::Line { line, text: text.chars().take(60).collect() })?;
            let of_node = sessions.get_mut(node as usize).ok_or(BadTrace::Node { line, node, nodes })?;
            let scaled = |seconds: f64| (seconds * 1000.0 / f64::from(pace.max(1))) as u64;
            let (on, off) = (scaled(on), scaled(off));
            if of_node.last().is_some_and(|(_, before)| on < *before) {
                return Err(BadTrace::Order { line, node });
            }
            of_node.push((on, off));
        }
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

fn fields(text: &str) -> Option<(u32, f64, f64)> {
    /// A hundred years: beyond, times are mistakes.
    const SECONDS_MAX: f64 = 100.0 * 366.0 * 86_400.0;
    let mut fields = text.split(',').map(str::trim);
    let node = fields.next()?.parse().ok()?;
    let mut time = || fields.next()?.parse::<f64>().ok().filter(|time| (0.0..=SECONDS_MAX).contains(time));
    let (on, off) = (time()?, time()?);
    (on < off && fields.next().is_none()).then_some((node, on, off))
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
    fn a_bad_line_is_named_with_what_is_allowed() {
        let read = |text: &str| Trace::read(text, 2, 1).unwrap_err();
        for bad in ["0,1", "0,5,5", "0,9,5", "x,1,2", "0,1,2,3", "-1,1,2", "0,-1,2", "0,NaN,2", "0,1,inf", "0,1,9e99"] {
            assert_eq!(read(&format!("node,on,off\n{bad}\n")), BadTrace::Line { line: 2, text: bad.to_owned() }, "{bad}");
        }
        assert_eq!(read("0,1,10\n\n2,1,10\n"), BadTrace::Node { line: 3, node: 2, nodes: 2 });
        assert_eq!(read("0,1,10\n0,9,20\n"), BadTrace::Order { line: 2, node: 0 });
        assert_eq!(read("# nobody\n"), BadTrace::Empty);
        let said = read("0,1,10\nnode,on,off").to_string();
        assert!(said.contains("line 2") && said.contains("NODE,ON,OFF"), "{said}");
    }

    #[test]
    fn what_is_too_short_is_not_played() {
        assert_eq!(playable(vec![(0, 5_000), (5_500, 9_000), (20_000, 20_300)]), [(0, 9_000)]);
        let drawn = Trace::drawn(&[Habit::Phone { times: 30.0, minutes: 5.0 }, Habit::Always], 2, 600, 1);
        assert_eq!(drawn.sessions[1], [(0, 288_000)]);
        assert!(drawn.sessions[0].iter().all(|(on, off)| off - on >= SHORTEST_MS));
    }
}
