//! Hello, once a connection: the dialer speaks first, the listener answers on the same stream.

use std::sync::Arc;

use futures::AsyncWriteExt;
use kith_protocol::wire::{Hello, Message, VERSION};
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::{Context, Failure, Link, Note, stream, within};
use crate::names;

/// Our own greeting to this peer.
pub(super) fn hello(context: &Context, peer: &PeerId) -> Message {
    // Peers with keys of other kinds are never up.
    let nonce = names::from_libp2p(peer).map_or([0; 32], |name| context.nonce(&name));
    Message::Hello(Hello { version: VERSION, features: context.features, nonce, ext: None })
}

/// Does the message greet in our version? Gives its nonce and features.
pub(super) fn check(message: &Message) -> Result<([u8; 32], u64), Failure> {
    match message {
        Message::Hello(hello) if hello.version == VERSION => Ok((hello.nonce, hello.features)),
        Message::Hello(hello) => Err(Failure::Breach(format!("speaks version {}", hello.version))),
        other => Err(Failure::Breach(format!("message {} in place of a greeting", other.number()))),
    }
}

/// The dialer's part.
pub(crate) async fn greet(context: Arc<Context>, peer: PeerId, connection: ConnectionId, mut stream: Link) {
    let spoken = within(context.limits.first_frame, async {
        stream::write(&mut stream, &hello(&context, &peer)).await?;
        check(&stream::read(&mut stream).await?)
    });
    let note = match spoken.await {
        Ok((nonce, features)) => Note::Greeted { peer, connection, nonce, features },
        Err(Failure::Breach(what)) => Note::Breach { peer, what },
        Err(_) => Note::NotGreeted { peer, connection },
    };
    context.note(note).await;
    stream.close().await.ok();
}
