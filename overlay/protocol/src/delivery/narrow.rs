//! Whom only small envelopes reach: peers behind routers that cannot be opened, connected through another node, which bears little.
//!
//! The driver says so of an envelope that it could not send, and says when there is a direct way. Meanwhile nothing as large is offered: it would wait for a
//! way in vain, minute after minute, for as long as both machines are on.

use crate::event::Mono;
use crate::ids::PeerId;
use crate::small::SmallMap;

use super::context::Context;

/// Peers of whom that is remembered.
const NARROW_MAX: usize = 4096;
/// After this another try is worth while, whatever the driver says, in ms.
const NARROW_MS: u64 = 60 * 60 * 1000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Narrow {
    /// The smallest size that did not go, in bytes, and until when that counts. Connections come and go meanwhile: such a one lasts for minutes.
    peers: SmallMap<PeerId, (u64, Mono)>,
}

impl Narrow {
    /// An envelope of so many bytes could not be sent.
    pub(crate) fn refused(&mut self, peer: PeerId, size: u64, cx: &Context<'_>) {
        if self.peers.len() >= NARROW_MAX {
            self.peers.retain(|_, (_, until)| *until > cx.now.mono);
        }
        let until = cx.after(NARROW_MS);
        if let Some(known) = self.peers.get_mut(&peer) {
            *known = (known.0.min(size), until);
        } else if self.peers.len() < NARROW_MAX {
            self.peers.insert(peer, (size, until));
        }
    }

    /// There is a direct way.
    pub(crate) fn widened(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Until when an envelope of so many bytes is not worth an offer to this peer; `None`: it is.
    pub(crate) fn until(&self, peer: &PeerId, size: u64, now: Mono) -> Option<Mono> {
        let (least, until) = self.peers.get(peer)?;
        (size >= *least && *until > now).then_some(*until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, testing};
    use super::*;

    fn refused(narrow: &mut Narrow, peer: PeerId, size: u64, mono: u64) {
        testing::with_context(mono, &Config::default(), |cx| narrow.refused(peer, size, cx));
    }

    #[test]
    fn what_is_as_large_waits_for_an_hour_or_a_direct_way_and_what_is_smaller_does_not() {
        let (mut narrow, peer, other) = (Narrow::default(), PeerId([1; 32]), PeerId([2; 32]));
        refused(&mut narrow, peer, 300_000, 0);
        refused(&mut narrow, peer, 100_000, 10);
        refused(&mut narrow, peer, 200_000, 20);
        let until = Some(Mono(20 + NARROW_MS));
        assert_eq!([99_999, 100_000, 1 << 30].map(|size| narrow.until(&peer, size, Mono(30))), [None, until, until]);
        assert_eq!(narrow.until(&other, 1 << 30, Mono(30)), None);
        assert_eq!(narrow.until(&peer, 1 << 30, Mono(20 + NARROW_MS)), None);
        narrow.widened(&peer);
        assert_eq!(narrow.until(&peer, 1 << 30, Mono(30)), None);
    }

    #[test]
    fn a_bounded_number_of_peers_is_remembered_and_old_ones_make_room() {
        let mut narrow = Narrow::default();
        let peer = |number: u32| {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&number.to_le_bytes());
            PeerId(name)
        };
        (0..5000).for_each(|number| refused(&mut narrow, peer(number), 1, 0));
        assert_eq!(narrow.peers.len(), NARROW_MAX);
        refused(&mut narrow, peer(5000), 1, NARROW_MS);
        assert_eq!(narrow.peers.len(), 1);
    }
}
