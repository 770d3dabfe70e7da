//! What tests of the machines in this folder begin with: a moment to act at, and people.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Config;
use super::context::{Context, Names};
use crate::address::Address;
use crate::event::{Effect, Mono, Now, Wall};

/// Acts at that moment, in ms since the start; what came of it, and the effects.
pub(super) fn with_context<T>(mono: u64, config: &Config, act: impl FnOnce(&mut Context<'_>) -> T) -> (T, Vec<Effect>) {
    let (mut rng, mut names, mut effects) = (ChaCha8Rng::seed_from_u64(mono), Names::default(), Vec::new());
    let now = Now { mono: Mono(mono), wall: Wall(0) };
    let result = act(&mut Context { config, now, rng: &mut rng, names: &mut names, effects: &mut effects });
    (result, effects)
}

/// The address of somebody.
pub(super) fn address(number: u64) -> Address {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Address::from_key(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes()).unwrap()
}
