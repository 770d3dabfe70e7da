//! What was collected and stays for a while: how much of it there is, and what of it goes first.
//!
//! A sum and an order that change with what happens, so that a relay of many people looks through what it keeps with no letter that is collected. Both follow
//! from what is kept: a start builds them anew.

use crate::event::{HeldEnvelope, Mono};
use crate::ids::EnvelopeId;
use crate::small::SmallSet;

use super::super::context::Context;
use super::FORGET_BATCH_MAX;

/// The part of what may stay that goes beyond the excess: so a commit takes many letters away, and not each collected letter a commit.
const SLACK_PART: u64 = 16;

/// Letters that were collected and are not being forgotten yet; volunteers' and carried ones count like others. At most as many as are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    bytes: u64,
    /// When each was collected, by the clock of what is kept, and its bytes.
    order: SmallSet<(u64, EnvelopeId, u64)>,
    /// The disk could not forget: nothing goes early before that.
    rests_until: Mono,
}

impl Spent {
    /// A letter is kept from now on, or was collected; one that was not does not count.
    pub(super) fn add(&mut self, held: &HeldEnvelope) {
        let Some(acked) = held.acked_ms else { return };
        if self.order.insert((acked, held.envelope, held.size)) {
            self.bytes = self.bytes.saturating_add(held.size);
        }
    }

    /// A letter goes.
    pub(super) fn remove(&mut self, held: &HeldEnvelope) {
        let Some(acked) = held.acked_ms else { return };
        if self.order.remove(&(acked, held.envelope, held.size)) {
            self.bytes = self.bytes.saturating_sub(held.size);
        }
    }

    /// Nothing goes early before this moment.
    pub(super) fn put_off(&mut self, until: Mono) {
        self.rests_until = until;
    }

    /// What goes early, first what was collected first: nothing while all of it fits.
    pub(super) fn excess(&self, clock: u64, cx: &Context<'_>) -> Vec<EnvelopeId> {
        let most = cx.config.grace_copy_bytes;
        if self.bytes <= most || self.rests_until > cx.now.mono {
            return Vec::new();
        }
        let (mut left, wanted, mut gone) = (self.bytes, most - most / SLACK_PART, Vec::new());
        for (acked, envelope, size) in self.order.iter() {
            let early = clock.saturating_sub(*acked) < cx.config.grace_copy_least_ms;
            if left <= wanted || early || gone.len() == FORGET_BATCH_MAX {
                break;
            }
            left = left.saturating_sub(*size);
            gone.push(*envelope);
        }
        gone
    }
}
