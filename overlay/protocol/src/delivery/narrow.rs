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
