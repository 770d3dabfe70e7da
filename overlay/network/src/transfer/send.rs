//! The sender's part: offer an envelope, send what the peer lacks, hear what became of it.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bao_tree::ChunkRanges;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{CreateOutboard, encode_ranges_validated};
use futures::AsyncWriteExt;
use kith_protocol::event::OfferOutcome;
use kith_protocol::hosting::verify_stored;
use kith_protocol::ids::{EnvelopeId, Op, QueueName};
use kith_protocol::wire::{self, Message, Offer, RAW_BODY_BYTES_MAX, Stored};
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::pace::Pace;
use super::pipe::{PIECES_MAX, Sink};
use super::receive::{BLOCK, chunks};
use super::{Context, Failure, Link, Note, stream, within};
use crate::names;
use crate::service::{Source, Ticket};

/// What a peer gets on top of our own limits before we stop waiting for its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The buffer that the envelope is read through while its tree is computed.
const READ_BYTES: usize = 256 * 1024;

/// An envelope on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) op: Op,
    pub(crate) queue: QueueName,
    pub(crate) envelope: EnvelopeId,
    pub(crate) size: u64,
    pub(crate) source: Source,
    pub(crate) ticket: Ticket,
    /// When it was asked for.
    pub(crate) since: Instant,
}

/// Offers an envelope on a stream of its own.
pub(crate) async fn offer(context: Arc<Context>, peer: PeerId, mut stream: Link, outgoing: Outgoing) {
    let op = outgoing.op;
    let outcome = match converse(&context, peer, &mut stream, outgoing).await {
        Ok(outcome) => {
            drop(timeout(context.limits.first_frame, stream.close()).await);
            outcome
        }
        Err(failure) => {
            match failure {
                Failure::Breach(what) => context.note(Note::Breach { peer, what }).await,
                Failure::File(error) => tracing::warn!(%error, "an envelope of ours cannot be sent"),
                failure => tracing::debug!(%peer, error = %failure, "an offer broke"),
            }
            OfferOutcome::Broken
        }
    };
    context.note(Note::Offered { peer, op, outcome }).await;
}

async fn converse(context: &Context, peer: PeerId, stream: &mut Link, outgoing: Outgoing) -> Result<OfferOutcome, Failure> {
    let Ticket { deposit, stamp, work, onward } = outgoing.ticket.clone();
    let offer = Offer { envelope: outgoing.envelope, size: outgoing.size, queue: outgoing.queue, stamp, work, onward };
    let first = if deposit { Message::Deposit(offer.clone()) } else { Message::Offer(offer.clone()) };
    within(context.limits.first_frame, stream::write(stream, &first)).await?;
    let answer = within(context.limits.answer + PATIENCE, stream::read(stream)).await?;
    let Message::Send(send) = answer else { return outcome(answer, peer, &offer) };
    let groups = wire::groups(outgoing.size);
    if send.missing.last().is_some_and(|(_, end)| u64::from(*end) > groups) {
        return Err(Failure::Breach("asks for more than there is".to_owned()));
    }
    if !send.missing.is_empty() {
        body(context, stream, outgoing, send.missing).await?;
    }
    outcome(within(context.limits.commit + PATIENCE, stream::read(stream)).await?, peer, &offer)
}

fn outcome(answer: Message, peer: PeerId, offer: &Offer) -> Result<OfferOutcome, Failure> {
    match answer {
        Message::Have => Ok(OfferOutcome::Have),
        Message::Stored(Stored { until_s, signature, seldom }) => {
            let holds = names::from_libp2p(&peer)
                .is_some_and(|relay| verify_stored(&relay, &offer.queue, &offer.envelope, offer.size, until_s, &signature));
            if holds {
                Ok(OfferOutcome::Stored { until_s, signature, seldom })
            } else {
                Err(Failure::Breach("a false signature".to_owned()))
            }
        }
        Message::Later(later) => Ok(OfferOutcome::Later { reason: later.reason, after_s: later.after_s }),
        Message::Refused(refused) => Ok(OfferOutcome::Refused(refused.reason)),
        other => Err(Failure::Breach(format!("message {} for an answer", other.number()))),
    }
}

/// Moves the body from a blocking thread to the stream, no slower than the limit.
async fn body(context: &Context, stream: &mut Link, outgoing: Outgoing, missing: Vec<(u32, u32)>) -> Result<(), Failure> {
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let work = spawn_blocking(move || encode(&outgoing, &missing, Sink::new(sender)));
    let mut pace = Pace::new(Instant::now(), context.limits.rate_grace, context.limits.minimum_rate);
    let mut sent = Ok(());
    loop {
        let before = Instant::now();
        let Some(piece) = pieces.recv().await else { break };
        pace.excuse(before.elapsed());
        let write = async {
            stream.write_all(&piece).await?;
            Ok(())
        };
        sent = timeout_at(pace.deadline(), write).await.unwrap_or(Err(Failure::Slow));
        if sent.is_err() {
            break;
        }
        pace.moved(piece.len());
        context.bytes_out.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    drop(pieces);
    let read = work.await.map_err(|error| Failure::File(io::Error::other(error)))?;
    sent?;
    read.map_err(Failure::File)?;
    within(context.limits.rate_grace, async { Ok(stream.flush().await?) }).await
}

/// Reads, verifies and encodes the ranges. Blocking.
fn encode(outgoing: &Outgoing, missing: &[(u32, u32)], mut sink: Sink) -> io::Result<()> {
    if outgoing.size <= RAW_BODY_BYTES_MAX {
        sink.write_all(&whole(outgoing)?)?;
        return sink.flush();
    }
    let Source::File(path) = &outgoing.source else { return Err(damaged()) };
    let file = File::open(path)?;
    if file.metadata()?.len() != outgoing.size {
        return Err(damaged());
    }
    let outboard = PreOrderOutboard::<Vec<u8>>::create_sized(BufReader::with_capacity(READ_BYTES, &file), outgoing.size, BLOCK)?;
    if outboard.root != blake3::Hash::from(outgoing.envelope.0) {
        return Err(damaged());
    }
    let mut ranges = ChunkRanges::empty();
    for (start, end) in missing {
        ranges |= chunks(*start, *end);
    }
    encode_ranges_validated(&file, &outboard, &ranges, &mut sink).map_err(io::Error::other)?;
    sink.flush()
}

fn whole(outgoing: &Outgoing) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match &outgoing.source {
        Source::File(path) => {
            io::Read::read_to_end(&mut io::Read::take(File::open(path)?, RAW_BODY_BYTES_MAX + 1), &mut bytes)?;
        }
        Source::Bytes(held) => bytes.extend_from_slice(held),
    }
    let named = bytes.len() as u64 == outgoing.size && blake3::hash(&bytes) == blake3::Hash::from(outgoing.envelope.0);
    if named { Ok(bytes) } else { Err(damaged()) }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is not the envelope that its name says")
}
