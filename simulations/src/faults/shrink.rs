//! A plan that breaks a promise, made smaller for as long as it still does: fewer faults, fewer mails, nobody who is not needed.

use super::{Kind, Plan};

/// Runs that this may take, at most.
const RUNS_MAX: usize = 400;

/// The smallest plan found that breaks the same promise, and after how many runs. `tried` is told how many runs there were so far.
pub fn smaller(plan: &Plan, kind: Kind, tried: &mut dyn FnMut(usize)) -> (Plan, usize) {
    let mut search = Search { best: plan.clone(), kind, runs: 0 };
    loop {
        let before = search.best.clone();
        search.lists(tried, |plan| plan.incidents.len(), |plan, from, to| drop(plan.incidents.drain(from..to)));
        search.lists(tried, |plan| plan.letters.len(), |plan, from, to| drop(plan.letters.drain(from..to)));
        search.lists(
            tried,
            |plan| plan.lying_disks.len(),
            |plan, from, to| {
                let mut at = 0..;
                plan.lying_disks.retain(|_| at.next().is_some_and(|at| !(from..to).contains(&at)));
            },
        );
        let nodes = usize::try_from(plan.nodes()).unwrap_or(0);
        search.lists(
            tried,
            |_| nodes,
            |plan, from, to| {
                // Always on is simpler than coming and going.
                let all = vec![(0, plan.healed_ms)];
                plan.sessions.iter_mut().take(to).skip(from).for_each(|sessions| sessions.clone_from(&all));
            },
        );
        if search.best == before || search.runs >= RUNS_MAX {
            return (search.best, search.runs);
        }
    }
}

struct Search {
    best: Plan,
    kind: Kind,
    runs: usize,
}

impl Search {
    /// Takes out ever smaller pieces of a list.
    fn lists(&mut self, tried: &mut dyn FnMut(usize), len: impl Fn(&Plan) -> usize, take: impl Fn(&mut Plan, usize, usize)) {
        let mut piece = len(&self.best).max(1);
        while piece > 0 {
            let mut from = 0;
            while from < len(&self.best) && self.runs < RUNS_MAX {
                let mut less = self.best.clone();
                take(&mut less, from, (from + piece).min(len(&self.best)));
                if less == self.best {
                    from += piece;
                    continue;
                }
                self.runs += 1;
                tried(self.runs);
                if less.run(false).breaches.iter().any(|breach| breach.kind == self.kind) {
                    let shorter = len(&less) < len(&self.best);
                    self.best = less;
                    from += if shorter { 0 } else { piece };
                } else {
                    from += piece;
                }
            }
            piece /= 2;
        }
    }
}
