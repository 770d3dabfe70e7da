//! Questions of one frame with answers of one frame: what owners ask of relays, and whether a relay still has what it keeps.

use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt};
use kith_protocol::hosting::{Ask, Reply};
use kith_protocol::ids::Op;
use kith_protocol::wire::{Audit, Message};
use libp2p::PeerId;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Context, Failure, Link, Note, stream, within};
use crate::names;
use crate::service::Asked;

/// Asks on a stream of its own.
pub(crate) async fn ask(context: Arc<Context>, peer: PeerId, mut stream: Link, op: Op, message: Message) {
    let spoken = async {
        within(context.limits.first_frame, stream::write(&mut stream, &message)).await?;
        let answer = within(context.limits.answer, stream::read(&mut stream)).await?;
        match answer {
            Message::Reply(_) | Message::Proof(_) | Message::Refused(_) => Ok(answer),
            other => Err(Failure::Breach(format!("message {} for an answer", other.number()))),
        }
    };
    let answer = match spoken.await {
        Ok(answer) => Some(answer),
        Err(Failure::Breach(what)) => {
            context.note(Note::Breach { peer, what }).await;
            None
        }
        Err(failure) => {
            tracing::debug!(%peer, error = %failure, "a question broke");
            None
        }
    };
    drop(timeout(context.limits.first_frame, stream.close()).await);
    context.note(Note::Answered { op, answer }).await;
}

/// The owner of a queue asks.
pub(super) async fn owner(context: &Context, peer: PeerId, stream: &mut Link, ask: &Ask) -> Result<(), Failure> {
    let proven = names::from_libp2p(&peer).and_then(|owner| ask.verify(&context.name, &owner, &context.nonce(&owner)));
    // One that speaks of another run of this node is told to greet again, not sent away.
    let Some((_, request)) = proven else {
        return within(context.limits.first_frame, stream::write(stream, &Message::Reply(Reply::Unproven))).await;
    };
    answer(context, peer, stream, Asked::Owner { key: ask.key, request }, Message::Reply(Reply::Busy)).await
}

/// Somebody asks for a piece of an envelope.
pub(super) async fn audit(context: &Context, peer: PeerId, stream: &mut Link, audit: Audit) -> Result<(), Failure> {
    let Audit { envelope, queue, nonce } = audit;
    answer(context, peer, stream, Asked::Audit { queue, envelope, nonce }, Message::Reply(Reply::Busy)).await
}

/// Hands the question over, waits for the answer as long as the peer does, and says it.
async fn answer(context: &Context, peer: PeerId, stream: &mut Link, asked: Asked, otherwise: Message) -> Result<(), Failure> {
    let token = context.token();
    let (sender, receiver) = oneshot::channel();
    context.note(Note::Asked { peer, token, asked, answer: sender }).await;
    let mut byte = [0];
    let said = tokio::select! {
        said = timeout(context.limits.answer, receiver) => Ok(said.ok().and_then(Result::ok)),
        read = stream.read(&mut byte) => match read {
            // Half closed: whoever asks has nothing more to say and still listens.
            Ok(0) => Ok(None),
            Ok(_) => Err(Failure::Breach("speaks before the answer".to_owned())),
            Err(error) => Err(Failure::Stream(error)),
        },
    };
    context.note(Note::AskEnded { token }).await;
    within(context.limits.first_frame, stream::write(stream, &said?.unwrap_or(otherwise))).await
}
