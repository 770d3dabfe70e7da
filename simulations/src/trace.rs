//! A trace of nodes that come and go, as a file: a line NODE,ON,OFF for each session.

use crate::availability::Sessions;

/// Sessions of a file, at most.
const SESSIONS_MAX: usize = 20_000_000;
/// A hundred years: beyond, times are mistakes.
const SECONDS_MAX: f64 = 100.0 * 366.0 * 86_400.0;
/// The first line of a file, if there is one that says what follows.
pub(crate) const HEADER: &str = "node,on,off";
/// Letters of a line that an error shows.
const SHOWN: usize = 60;

/// What is wrong with a file of sessions.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTrace {
    /// A line that is none.
    #[error(
        "line {line} is {text:?}: a line is NODE,ON,OFF, a number and two times in seconds, ON before OFF (the first line may be {HEADER})"
    )]
    Line {
        /// Which.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A node that does not take part.
    #[error("line {line}: there is no node {node}; {nodes} nodes at most are 0 to {}", nodes.saturating_sub(1))]
    Node {
        /// Which.
        line: usize,
        /// Who.
        node: u32,
        /// How many there may be.
        nodes: u32,
    },
    /// A session that overlaps with another one of the same node.
    #[error("line {line}: node {node} is on already then")]
    Overlap {
        /// Which.
        line: usize,
        /// Who.
        node: u32,
    },
    /// No sessions.
    #[error("nobody is ever on in it")]
    Empty,
    /// Too many.
    #[error("it has more than {SESSIONS_MAX} sessions")]
    TooLong,
}

/// Reads a trace: `NODE,ON,OFF` on each line, the times in seconds, in any order; `#` begins a comment. Gives the sessions of each node in ms, sorted and
/// apart, up to the last node that has any: fewer than `nodes` are allowed.
///
/// # Errors
/// [`BadTrace`], with the line.
pub fn read(text: &str, nodes: u32) -> Result<Vec<Sessions>, BadTrace> {
    let mut all: Vec<Vec<(u64, u64, usize)>> = Vec::new();
    let mut count = 0;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        let header = line == 1 && text.eq_ignore_ascii_case(HEADER);
        if text.is_empty() || text.starts_with('#') || header {
            continue;
        }
        let wrong = || BadTrace::Line { line, text: text.chars().take(SHOWN).collect() };
        let (node, on, off) = fields(text).ok_or_else(wrong)?;
        if node >= nodes {
            return Err(BadTrace::Node { line, node, nodes });
        }
        count += 1;
        if count > SESSIONS_MAX {
            return Err(BadTrace::TooLong);
        }
        if all.len() <= node as usize {
            all.resize(node as usize + 1, Vec::new());
        }
        all[node as usize].push((on, off, line));
    }
    if count == 0 {
        return Err(BadTrace::Empty);
    }
    (0..).zip(all).map(|(node, sessions)| sorted(node, sessions)).collect()
}

/// A node, and when it is on, in ms.
fn fields(text: &str) -> Option<(u32, u64, u64)> {
    let mut fields = text.split(',').map(str::trim);
    let node = fields.next()?.parse().ok()?;
    let mut time = || fields.next()?.parse::<f64>().ok().filter(|time| (0.0..=SECONDS_MAX).contains(time));
    let in_ms = |seconds: f64| (seconds * 1000.0).round() as u64;
    let (on, off) = (in_ms(time()?), in_ms(time()?));
    (on < off && fields.next().is_none()).then_some((node, on, off))
}

fn sorted(node: u32, mut sessions: Vec<(u64, u64, usize)>) -> Result<Sessions, BadTrace> {
    sessions.sort_unstable();
    if let Some(pair) = sessions.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        return Err(BadTrace::Overlap { line: pair[1].2, node });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_line_by_line() {
        let read_it = read("NODE,on,off\n0,0,10\n# a comment\n1,5,20.5\n0,10,15\n\n0,30,40\n", 2).unwrap();
        assert_eq!(read_it, [vec![(0, 15_000), (30_000, 40_000)], vec![(5_000, 20_500)]]);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_allowed() {
        let read = |text: &str| read(text, 2).unwrap_err();
        for bad in ["0,1", "0,5,5", "0,9,5", "x,1,2", "0,1,2,3", "-1,1,2", "0,-1,2", "0,NaN,2", "0,1,inf", "0,1,9e99"] {
            assert_eq!(read(&format!("node,on,off\n{bad}\n")), BadTrace::Line { line: 2, text: bad.to_owned() }, "{bad}");
        }
        assert_eq!(read("0,1,10\n\n2,1,10\n"), BadTrace::Node { line: 3, node: 2, nodes: 2 });
        assert_eq!(read("0,1,10\n0,9,20\n"), BadTrace::Overlap { line: 2, node: 0 });
        assert_eq!(read("0,9,20\n0,1,10\n"), BadTrace::Overlap { line: 1, node: 0 });
        assert_eq!(read("# nobody\n"), BadTrace::Empty);
        let said = read("0,1,10\nnode,on,off").to_string();
        assert!(said.contains("line 2") && said.contains("NODE,ON,OFF"), "{said}");
    }
}
