//! What every machine is handed with an event: time, randomness, bounds, fresh names, and where effects go.

use rand_core::Rng;

use crate::event::{Effect, Mono, Now, Write};
use crate::ids::{BatchId, Op};

use super::Config;

/// The names that the core gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    op: u64,
    batch: u64,
}

pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now: Now,
    pub(crate) rng: &'a mut dyn Rng,
    pub(crate) names: &'a mut Names,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// A name for an effect that will be answered.
    pub(crate) fn op(&mut self) -> Op {
        self.names.op += 1;
        Op(self.names.op)
    }

    /// Asks for a commit and names it.
    pub(crate) fn commit(&mut self, writes: Vec<Write>, then: Vec<Effect>) -> BatchId {
        self.names.batch += 1;
        let batch = BatchId(self.names.batch);
        self.effects.push(Effect::Commit { batch, writes, then });
        batch
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The moment `ms` from now.
    pub(crate) fn after(&self, ms: u64) -> Mono {
        Mono(self.now.mono.0.saturating_add(ms))
    }

    /// A random number below `bound`; 0 if that is 0. Jitter needs no more.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.rng.next_u64() % bound }
    }

    /// `ms`, more or less by up to an eighth.
    pub(crate) fn jittered(&mut self, ms: u64) -> u64 {
        let eighth = ms / 8;
        ms - eighth + self.below(2 * eighth + 1)
    }
}
