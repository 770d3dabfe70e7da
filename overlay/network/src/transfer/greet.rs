//! Hello, once a connection: the dialer speaks first, the listener answers on the same stream.

use std::sync::Arc;

use futures::AsyncWriteExt;
use kith_protocol::wire::{Hello, Message, VERSION};
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::{Context, Failure, Link, Note, stream, within};

/// Our own greeting.
pub(super) fn hello() -> Message {
    Message::Hello(Hello { version: VERSION, features: 0, ext: None })
}

/// Does the message greet in our version?
pub(super) fn check(message: &Message) -> Result<(), Failure> {
    match message {
        Message::Hello(hello) if hello.version == VERSION => Ok(()),
        Message::Hello(hello) => Err(Failure::Breach(format!("speaks version {}", hello.version))),
        other => Err(Failure::Breach(format!("message {} in place of a greeting", other.number()))),
    }
}

/// The dialer's part.
pub(crate) async fn greet(context: Arc<Context>, peer: PeerId, connection: ConnectionId, mut stream: Link) {
    let spoken = within(context.limits.first_frame, async {
        stream::write(&mut stream, &hello()).await?;
        check(&stream::read(&mut stream).await?)
    });
    let note = match spoken.await {
        Ok(()) => Note::Greeted { peer, connection },
        Err(Failure::Breach(what)) => Note::Breach { peer, what },
        Err(_) => Note::NotGreeted { peer, connection },
    };
    context.note(note).await;
    stream.close().await.ok();
}
