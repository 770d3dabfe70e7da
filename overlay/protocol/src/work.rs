//! What strangers pay: work that takes them seconds or minutes, and whoever checks it microseconds.
//!
//! Equi-X, as Tor uses it for onion services (proposal 327): memory-hard enough that graphics cards gain little, cheap to check on a small machine. This module
//! is the only place that knows the crate behind it.

use serde::{Deserialize, Serialize};

use crate::contexts;
use crate::ids::EnvelopeId;

/// Work that an account asks of strangers unless told otherwise: half a minute on a Raspberry Pi 4.
pub const EFFORT_DEFAULT: u32 = 7_000;

/// Work done for one envelope, bound to whom it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Found by trying.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// An Equi-X solution.
    #[serde(with = "serde_bytes")]
    pub solution: [u8; 16],
    /// How much it claims to be.
    pub effort: u32,
}

fn challenge(tag: &[u8; 16], envelope: &EnvelopeId, effort: u32, nonce: &[u8; 16]) -> Vec<u8> {
    [contexts::WORK, tag, &envelope.0, &effort.to_le_bytes(), nonce].concat()
}

/// Is this solution, of one in `effort` many, rare enough?
fn suffices(challenge: &[u8], solution: &[u8; 16], effort: u32) -> bool {
    let hash = blake3::Hasher::new().update(challenge).update(solution).finalize();
    let mut number = [0; 4];
    number.copy_from_slice(&hash.as_bytes()[..4]);
    u64::from(u32::from_le_bytes(number)) * u64::from(effort) < 1 << 32
}

impl Work {
    /// Whether the work was done, for this envelope and bound to this tag. About 50 µs; the cheap half is checked first.
    #[must_use]
    pub fn verify(&self, tag: &[u8; 16], envelope: &EnvelopeId) -> bool {
        let challenge = challenge(tag, envelope, self.effort, &self.nonce);
        suffices(&challenge, &self.solution, self.effort) && equix::verify_bytes(&challenge, &self.solution).is_ok()
    }
}

/// Does the work, a try at a time, so that whoever runs it can stop in between.
pub struct Solver {
    tag: [u8; 16],
    envelope: EnvelopeId,
    effort: u32,
    nonce: u128,
    memory: equix::SolverMemory,
}

impl Solver {
    /// Begins with a random nonce.
    #[must_use]
    pub fn new(tag: [u8; 16], envelope: EnvelopeId, effort: u32, nonce: [u8; 16]) -> Self {
        Self { tag, envelope, effort, nonce: u128::from_le_bytes(nonce), memory: equix::SolverMemory::new() }
    }

    /// One try: some milliseconds, and two solutions on average.
    pub fn step(&mut self) -> Option<Work> {
        let nonce = self.nonce.to_le_bytes();
        self.nonce = self.nonce.wrapping_add(1);
        let challenge = challenge(&self.tag, &self.envelope, self.effort, &nonce);
        // Some challenges make no program: the next nonce will.
        let puzzle = equix::EquiX::new(&challenge).ok()?;
        let solutions = puzzle.solve_with_memory(&mut self.memory);
        let good = solutions.iter().map(equix::Solution::to_bytes).find(|bytes| suffices(&challenge, bytes, self.effort))?;
        Some(Work { nonce, solution: good, effort: self.effort })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAG: [u8; 16] = [1; 16];
    const ENVELOPE: EnvelopeId = EnvelopeId([2; 32]);

    fn done(effort: u32) -> Work {
        let mut solver = Solver::new(TAG, ENVELOPE, effort, [3; 16]);
        (0..10_000).find_map(|_| solver.step()).expect("work ends")
    }

    #[test]
    fn work_counts_for_its_envelope_tag_and_effort_only() {
        let work = done(20);
        assert!(work.verify(&TAG, &ENVELOPE));
        assert!(!work.verify(&[9; 16], &ENVELOPE));
        assert!(!work.verify(&TAG, &EnvelopeId([9; 32])));
        assert!(!Work { effort: 21, ..work }.verify(&TAG, &ENVELOPE));
        for at in 0..16 {
            let (mut nonce, mut solution) = (work.nonce, work.solution);
            (nonce[at], solution[at]) = (nonce[at] ^ 1, solution[at] ^ 1);
            assert!(!Work { nonce, ..work }.verify(&TAG, &ENVELOPE) && !Work { solution, ..work }.verify(&TAG, &ENVELOPE));
        }
    }

    #[test]
    fn more_work_is_rarer() {
        let challenge = b"a challenge";
        let pass = |effort| (0..4000_u128).filter(|number| suffices(challenge, &number.to_le_bytes(), effort)).count();
        assert_eq!(pass(1), 4000);
        assert!((350..450).contains(&pass(10)) && (20..60).contains(&pass(100)));
    }

    #[test]
    fn work_frozen_here_is_accepted() {
        let bytes = |hex: &str| <[u8; 16]>::try_from(hex::decode(hex).unwrap()).unwrap();
        let work = Work {
            nonce: bytes("04030303030303030303030303030303"),
            solution: bytes("5e60458bf5191fb62e015460107ccaf9"),
            effort: 20,
        };
        assert!(work.verify(&TAG, &ENVELOPE));
    }

    proptest! {
        #[test]
        fn random_bytes_are_no_work(nonce: [u8; 16], solution: [u8; 16], effort in 1_u32..100) {
            let work = Work { nonce, solution, effort };
            prop_assert!(!work.verify(&TAG, &ENVELOPE));
        }
    }
}
