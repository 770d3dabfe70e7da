//! Who is connected, and who shall be.
//!
//! One attempt a peer, however many letters wait for it; a bounded number at once, those that letters wait for first; a rest after a failure.
//! Greetings are connections made only so that the other side notices us and sends what it has: paced, so that a town that gets its power back does
//! not shout all at once.

use std::collections::VecDeque;

use crate::event::{Effect, Mono};
use crate::ids::{Op, PeerId};
use crate::small::{SmallMap, SmallSet};

use super::context::Context;
use super::narrow::Narrow;

/// Peers greeted after a start or a change of network.
pub const GREETINGS_MAX: usize = 1024;
/// Greetings in one go: a machine that sleeps between them wakes less often.
const GREETED_TOGETHER: usize = 8;
/// Peers remembered as unreachable: a power of two.
const RESTING_MAX: usize = 4096;

/// What became of the wish for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// It is there.
    Up,
    /// `PeerUp` or a failure will tell.
    Wait,
    /// It failed a moment ago.
    Resting,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    up: SmallSet<PeerId>,
    attempts: SmallMap<PeerId, (Op, Mono)>,
    /// The first moment at which one of `attempts` is late, and how many are then; `None`: the last of those was taken away since it was looked for.
    late_at: Option<(Mono, usize)>,
    queue: VecDeque<(PeerId, Vec<String>)>,
    queued: SmallSet<PeerId>,
    greetings: VecDeque<(PeerId, Vec<String>)>,
    next_greeting: Mono,
    resting: SmallMap<PeerId, Mono>,
    /// Whom large envelopes do not reach.
    pub(crate) narrow: Narrow,
}

impl Connections {
    pub(crate) fn is_up(&self, peer: &PeerId) -> bool {
        self.up.contains(peer)
    }

    /// Whether an envelope of so many bytes can be offered to that peer now.
    pub(crate) fn takes(&self, peer: &PeerId, size: u64, now: Mono) -> bool {
        self.is_up(peer) && self.narrow.until(peer, size, now).is_none()
    }

    pub(crate) fn any_up(&self) -> bool {
        !self.up.is_empty()
    }

    pub(crate) fn want(&mut self, peer: PeerId, addresses: &[String], cx: &Context<'_>) -> Want {
        if self.up.contains(&peer) {
            return Want::Up;
        }
        if self.attempts.contains_key(&peer) || self.queued.contains(&peer) {
            return Want::Wait;
        }
        if self.resting.get(&peer).is_some_and(|until| *until > cx.now.mono) {
            return Want::Resting;
        }
        self.queued.insert(peer);
        self.queue.push_back((peer, addresses.to_vec()));
        Want::Wait
    }

    /// Connects to these one after the other, the first after `wait_ms`.
    pub(crate) fn greet(&mut self, peers: impl Iterator<Item = (PeerId, Vec<String>)>, wait_ms: u64, cx: &Context<'_>) {
        let up = &self.up;
        self.greetings = peers.filter(|(peer, _)| !up.contains(peer)).take(GREETINGS_MAX).collect();
        self.next_greeting = cx.after(wait_ms);
    }

    /// Whoever could not be reached may be reachable now.
    pub(crate) fn forget_failures(&mut self) {
        self.resting.clear();
    }

    pub(crate) fn forget_failure(&mut self, peer: &PeerId) {
        self.resting.remove(peer);
    }

    pub(crate) fn peer_up(&mut self, peer: PeerId) {
        self.up.insert(peer);
        self.ended(&peer);
        self.resting.remove(&peer);
        if self.queued.remove(&peer) {
            self.queue.retain(|(queued, _)| *queued != peer);
        }
    }

    pub(crate) fn peer_down(&mut self, peer: &PeerId) {
        self.up.remove(peer);
    }

    /// True if that attempt was ours and still open.
    pub(crate) fn failed(&mut self, op: Op, peer: PeerId, cx: &Context<'_>) -> bool {
        if self.attempts.get(&peer).is_none_or(|(open, _)| *open != op) {
            return false;
        }
        self.ended(&peer);
        self.rest(peer, cx);
        true
    }

    fn ended(&mut self, peer: &PeerId) {
        if let Some((_, until)) = self.attempts.remove(peer) {
            match &mut self.late_at {
                Some((late, 1)) if *late == until => self.late_at = None,
                Some((late, then)) if *late == until => *then -= 1,
                _ => {}
            }
        }
    }

    fn earliest(&self) -> (Mono, usize) {
        let first = self.attempts.values().map(|(_, until)| *until).min().unwrap_or(Mono(u64::MAX));
        (first, self.attempts.values().filter(|(_, until)| *until == first).count())
    }

    fn rest(&mut self, peer: PeerId, cx: &Context<'_>) {
        // Now and then those whose rest is over make room.
        if self.resting.len().is_power_of_two() {
            self.resting.retain(|_, until| *until > cx.now.mono);
        }
        if self.resting.len() < RESTING_MAX {
            self.resting.insert(peer, cx.after(cx.config.connect_rest_ms));
        }
    }

    /// Ends what took too long; returns those peers.
    pub(crate) fn overdue(&mut self, cx: &Context<'_>) -> Vec<PeerId> {
        let now = cx.now.mono;
        if self.late_at.is_some_and(|(late, _)| late > now) {
            return Vec::new();
        }
        let late: Vec<PeerId> = self.attempts.iter().filter(|(_, (_, until))| *until <= now).map(|(peer, _)| *peer).collect();
        for peer in &late {
            self.ended(peer);
            self.rest(*peer, cx);
        }
        late
    }

    /// Starts what there is room for.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) {
        while self.attempts.len() < cx.config.connects_max {
            let Some((peer, addresses)) = self.queue.pop_front() else { break };
            self.queued.remove(&peer);
            self.start(peer, addresses, cx);
        }
        if self.queue.is_empty() {
            // Few are waited for, and seldom: the room is not needed meanwhile.
            self.queue = VecDeque::new();
        }
        // Greetings leave half of the room to letters.
        let room = cx.config.connects_max.div_ceil(2);
        while self.attempts.len() < room && self.next_greeting <= cx.now.mono {
            let (mut gap, mut together) = (0, 0);
            while together < GREETED_TOGETHER
                && self.attempts.len() < room
                && let Some((peer, addresses)) = self.greetings.pop_front()
            {
                let failed = self.resting.get(&peer).is_some_and(|until| *until > cx.now.mono);
                if failed || self.up.contains(&peer) || self.attempts.contains_key(&peer) {
                    continue;
                }
                self.start(peer, addresses, cx);
                together += 1;
                gap += 1 + cx.below(2 * cx.config.greeting_gap_ms);
            }
            if together == 0 {
                // Nobody is left, and their room is not needed before the next start.
                self.greetings = VecDeque::new();
                break;
            }
            self.next_greeting = cx.after(gap);
        }
        if self.late_at.is_none() {
            self.late_at = Some(self.earliest());
        }
    }

    fn start(&mut self, peer: PeerId, addresses: Vec<String>, cx: &mut Context<'_>) {
        let op = cx.op();
        let until = cx.after(cx.config.connect_timeout_ms);
        self.attempts.insert(peer, (op, until));
        match &mut self.late_at {
            Some((late, then)) if *late == until => *then += 1,
            Some((late, _)) if *late > until => self.late_at = Some((until, 1)),
            _ => {}
        }
        cx.emit(Effect::Connect { op, peer, addresses });
    }

    pub(crate) fn deadline(&self, connects_max: usize) -> Option<Mono> {
        let (late, _) = self.late_at.unwrap_or_else(|| self.earliest());
        let late = Some(late).filter(|late| *late < Mono(u64::MAX));
        let room = self.attempts.len() < connects_max.div_ceil(2);
        let greeting = (room && !self.greetings.is_empty()).then_some(self.next_greeting);
        late.into_iter().chain(greeting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::testing::with_context;
    use super::*;

    #[test]
    fn one_attempt_a_peer_and_a_rest_after_a_failure() {
        let (config, mut connections, peer) = (Config::default(), Connections::default(), PeerId([1; 32]));
        let (_, effects) = with_context(0, &config, |cx| {
            assert_eq!(connections.want(peer, &[], cx), Want::Wait);
            assert_eq!(connections.want(peer, &[], cx), Want::Wait);
            connections.pump(cx);
        });
        let [Effect::Connect { op, .. }] = effects[..] else { panic!("one attempt: {effects:?}") };
        with_context(10, &config, |cx| {
            assert!(connections.failed(op, peer, cx) && !connections.failed(op, peer, cx));
            assert_eq!(connections.want(peer, &[], cx), Want::Resting);
        });
        with_context(10 + config.connect_rest_ms, &config, |cx| assert_eq!(connections.want(peer, &[], cx), Want::Wait));
    }

    #[test]
    fn an_attempt_that_is_never_answered_ends() {
        let (config, mut connections, peer) = (Config::default(), Connections::default(), PeerId([1; 32]));
        with_context(0, &config, |cx| {
            connections.want(peer, &[], cx);
            connections.pump(cx);
        });
        assert_eq!(connections.deadline(config.connects_max), Some(Mono(config.connect_timeout_ms)));
        let (late, _) = with_context(config.connect_timeout_ms, &config, |cx| connections.overdue(cx));
        assert_eq!(late, [peer]);
    }

    #[test]
    fn the_first_attempt_that_is_late_is_known_whichever_of_them_end() {
        let (config, mut connections) = (Config::default(), Connections::default());
        let peers = [1, 2, 3].map(|number| PeerId([number; 32]));
        for (mono, peer) in [0, 0, 10].into_iter().zip(peers) {
            with_context(mono, &config, |cx| {
                connections.want(peer, &[], cx);
                connections.pump(cx);
            });
        }
        let late = |connections: &Connections| connections.deadline(config.connects_max).map(|late| late.0);
        for (ended, first) in [(peers[0], Some(0)), (peers[1], Some(10)), (peers[2], None)] {
            connections.peer_up(ended);
            assert_eq!(late(&connections), first.map(|first| first + config.connect_timeout_ms));
            with_context(20, &config, |cx| connections.pump(cx));
            assert_eq!(late(&connections), first.map(|first| first + config.connect_timeout_ms), "looked for anew");
        }
    }

    #[test]
    fn greetings_are_paced_and_leave_room_for_letters() {
        let (config, mut connections) = (Config { connects_max: 4, ..Config::default() }, Connections::default());
        let peers = (0..100).map(|number| (PeerId([number; 32]), Vec::new()));
        with_context(0, &config, |cx| connections.greet(peers, 0, cx));
        let mut started = 0;
        for mono in 0..1000 {
            started += with_context(mono * 10, &config, |cx| connections.pump(cx)).1.len();
        }
        assert_eq!(started, 2);
    }
}
