//! The two bounds in every plot: what a perfect server could do, and what an oracle could do with the same nodes.

use crate::availability::{Sessions, next_on};

/// L_srv: when the recipient is on next, in ms; `None`: not within the run. No mail system delivers before.
#[must_use]
pub fn server(recipient: &Sessions, at: u64) -> Option<u64> {
    next_on(recipient, at)
}

/// L_orc: the end of the earliest path in time from the first of these nodes, which is on or not, to the second, by way of any of them: whoever has the
/// mail and is on gives it to everybody who is on at the same moment. `None`: not within the run.
#[must_use]
pub fn oracle(nodes: &[&Sessions], at: u64) -> Option<u64> {
    let mut has: Vec<bool> = (0..nodes.len()).map(|node| node == 0).collect();
    let mut now = at;
    loop {
        let is_on = |node: &Sessions| next_on(node, now) == Some(now);
        let spreads = nodes.iter().zip(&has).any(|(node, has)| *has && is_on(node));
        if spreads {
            for (node, has) in nodes.iter().zip(&mut has) {
                *has |= is_on(node);
            }
        }
        if has.get(1).copied().unwrap_or(true) {
            return Some(now);
        }
        // Nothing changes before somebody comes.
        now = nodes.iter().filter_map(|node| next_start(node, now)).min()?;
    }
}

fn next_start(sessions: &Sessions, now: u64) -> Option<u64> {
    let next = sessions.partition_point(|(start, _)| *start <= now);
    sessions.get(next).map(|(start, _)| *start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oracle_passes_mail_on_through_whoever_is_on() {
        let (anna, bob, carol) = (vec![(0, 10)], vec![(30, 40)], vec![(5, 8), (35, 50)]);
        assert_eq!(oracle(&[&anna, &bob], 0), None, "never on together");
        assert_eq!(oracle(&[&anna, &bob, &carol], 0), Some(35), "by way of Carol");
        assert_eq!(oracle(&[&anna, &bob, &carol], 9), None, "Carol is gone by then");
        assert_eq!(server(&bob, 0), Some(30));
    }

    #[test]
    fn who_is_on_together_has_it_at_once() {
        assert_eq!(oracle(&[&vec![(0, 10)], &vec![(5, 20)]], 7), Some(7));
        assert_eq!(oracle(&[&vec![(0, 10)], &vec![(5, 20)]], 2), Some(5));
    }

    #[test]
    fn it_may_take_several_hands() {
        let chain = [vec![(0, 2)], vec![(9, 12)], vec![(1, 4)], vec![(3, 6)], vec![(5, 10)]];
        let nodes: Vec<&Sessions> = chain.iter().collect();
        assert_eq!(oracle(&nodes, 0), Some(9));
        assert_eq!(oracle(&nodes[..4], 0), None);
    }
}
