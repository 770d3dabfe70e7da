//! The listener's part of a stream: a greeting, or an offer with its answer and its body.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bao_tree::io::BaoContentItem;
use bao_tree::io::sync::DecodeResponseIter;
use bao_tree::iter::{BaoChunk, ResponseIter};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt};
use kith_protocol::event::{Answer, LaterReason, RefusedReason};
use kith_protocol::ids::Token;
use kith_protocol::wire::{self, GROUP_BYTES, Later, Message, Offer, RAW_BODY_BYTES_MAX, Refused};
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::greet::{check, hello};
use super::pace::Pace;
use super::pipe::{PIECE_BYTES, PIECES_MAX, Source};
use super::slots::Slot;
use super::staging::{Busy, Part};
use super::{Context, Failure, Link, Note, ask as question, stream, within};

/// Groups of 16 chunks of 1 KiB.
pub(super) const BLOCK: BlockSize = BlockSize::from_chunk_log(4);
const CHUNKS_PER_GROUP: u64 = GROUP_BYTES / 1024;
/// What peers are told to wait when we could not take an envelope.
const RETRY_SECONDS: u32 = 60;
/// What they are told when the folder is full.
const RETRY_FULL_SECONDS: u32 = 600;
/// Answers of the engine to one offer: what to do, and what became of it.
const ANSWERS_MAX: usize = 2;

/// The chunks of a range of groups.
pub(super) fn chunks(start: u32, end: u32) -> ChunkRanges {
    ChunkRanges::from(ChunkNum(u64::from(start) * CHUNKS_PER_GROUP)..ChunkNum(u64::from(end) * CHUNKS_PER_GROUP))
}

/// Serves one stream of a peer to its end.
pub(crate) async fn serve(context: Arc<Context>, peer: PeerId, connection: ConnectionId, mut stream: Link, slot: Slot) {
    let first = within(context.limits.first_frame, stream::read(&mut stream)).await;
    let served = match first {
        Ok(Message::Offer(offer)) => receive(&context, peer, &mut stream, Offered { offer, deposit: false }).await,
        Ok(Message::Deposit(offer)) => receive(&context, peer, &mut stream, Offered { offer, deposit: true }).await,
        Ok(Message::Ask(question)) => question::owner(&context, peer, &mut stream, &question).await,
        Ok(Message::Audit(audit)) => question::audit(&context, peer, &mut stream, audit).await,
        Ok(greeting @ Message::Hello(_)) => match check(&greeting) {
            Ok((nonce, features)) => {
                // Told before the answer goes out: the peer offers nothing before it has the answer.
                context.note(Note::Greeted { peer, connection, nonce, features }).await;
                within(context.limits.first_frame, stream::write(&mut stream, &hello(&context, &peer))).await
            }
            Err(failure) => Err(failure),
        },
        Ok(other) => Err(Failure::Breach(format!("message {} at the start of a stream", other.number()))),
        Err(failure) => Err(failure),
    };
    match served {
        Ok(()) => drop(timeout(context.limits.first_frame, stream.close()).await),
        Err(Failure::Breach(what)) => context.note(Note::Breach { peer, what }).await,
        Err(failure) => tracing::debug!(%peer, error = %failure, "a stream ended early"),
    }
    drop(slot);
}

/// An offer, and whether it is to be kept for somebody else.
struct Offered {
    offer: Offer,
    deposit: bool,
}

/// An offer, from its first frame on.
async fn receive(context: &Context, peer: PeerId, stream: &mut Link, offered: Offered) -> Result<(), Failure> {
    let Offered { offer, deposit } = offered;
    if offer.size == 0 || offer.size > context.limits.envelope {
        let reason = if offer.size == 0 { RefusedReason::Malformed } else { RefusedReason::TooLarge };
        return within(context.limits.first_frame, stream::write(stream, &Message::Refused(Refused { reason }))).await;
    }
    let token = context.token();
    let (sender, mut answers) = mpsc::channel(ANSWERS_MAX);
    context.note(Note::Offer { peer, token, offer: offer.clone(), deposit, answers: sender }).await;
    let ended = match decide(context, stream, &mut answers).await {
        Ok(Some(Answer::Send)) => body(context, stream, &offer, token, &mut answers).await,
        Ok(Some(answer)) => {
            context.note(Note::Ended { token }).await;
            return say(context, stream, &offer, answer).await;
        }
        Ok(None) => Ok(Some(later(LaterReason::Busy, RETRY_SECONDS))),
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(None) => Ok(()),
        Ok(Some(answer)) => {
            context.note(Note::Broken { token }).await;
            say(context, stream, &offer, answer).await
        }
        Err(failure) => {
            context.note(Note::Broken { token }).await;
            Err(failure)
        }
    }
}

/// What the engine decides, while the peer has to keep quiet; `None` when it does not.
async fn decide(context: &Context, stream: &mut Link, answers: &mut mpsc::Receiver<Answer>) -> Result<Option<Answer>, Failure> {
    let mut byte = [0];
    tokio::select! {
        answer = timeout(context.limits.answer, answers.recv()) => Ok(answer.unwrap_or(None)),
        read = stream.read(&mut byte) => match read? {
            0 => Err(Failure::Stream(std::io::ErrorKind::UnexpectedEof.into())),
            _ => Err(Failure::Breach("speaks before the answer".to_owned())),
        },
    }
}

/// The body and what the engine makes of it. `Some`: the offer broke, and this is what the peer is told.
async fn body(
    context: &Context,
    stream: &mut Link,
    offer: &Offer,
    token: Token,
    answers: &mut mpsc::Receiver<Answer>,
) -> Result<Option<Answer>, Failure> {
    let staging = context.staging.clone();
    let (envelope, size) = (offer.envelope, offer.size);
    let part = match run(move || staging.begin(envelope, size)).await? {
        Ok(part) => part,
        Err(Busy::InProgress) => return Ok(Some(later(LaterReason::InProgress, RETRY_SECONDS))),
        Err(Busy::Full) => return Ok(Some(later(LaterReason::Full, RETRY_FULL_SECONDS))),
        Err(Busy::Disk(error)) => {
            tracing::warn!(envelope = %offer.envelope.short(), %error, "an envelope cannot be received");
            return Ok(Some(later(LaterReason::Full, RETRY_FULL_SECONDS)));
        }
    };
    context.receiving.fetch_add(1, Ordering::Relaxed);
    let received = fetch(context, stream, part).await;
    context.receiving.fetch_sub(1, Ordering::Relaxed);
    let part = match received {
        Err(Failure::File(error)) => {
            tracing::warn!(envelope = %offer.envelope.short(), %error, "an envelope cannot be written");
            return Ok(Some(later(LaterReason::Full, RETRY_FULL_SECONDS)));
        }
        other => other?,
    };
    let file: PathBuf = part.path();
    context.note(Note::Body { token, file }).await;
    let answer = match timeout(context.limits.commit, answers.recv()).await {
        Ok(Some(Answer::Send) | None) | Err(_) => return Ok(Some(later(LaterReason::Busy, RETRY_SECONDS))),
        Ok(Some(answer)) => answer,
    };
    if matches!(answer, Answer::Have | Answer::Refused(_) | Answer::Stored { .. }) {
        run(move || part.remove()).await?;
    }
    context.note(Note::Ended { token }).await;
    say(context, stream, offer, answer).await?;
    Ok(None)
}

/// Asks for what is missing of the part and takes it.
async fn fetch(context: &Context, stream: &mut Link, part: Part) -> Result<Part, Failure> {
    let (verified, size) = (part.verified(), part.size());
    if size <= RAW_BODY_BYTES_MAX && verified < size {
        return fetch_raw(context, stream, part).await;
    }
    let groups = u32::try_from(wire::groups(size)).map_err(|_| Failure::Breach("too many groups".to_owned()))?;
    let from = if verified == size { groups } else { u32::try_from(verified / GROUP_BYTES).unwrap_or(groups) };
    ask(context, stream, from, groups).await?;
    let (pieces, receiver) = mpsc::channel(PIECES_MAX);
    // Open at the end, as the encoder sees a range that reaches the end of the envelope: a closed one would be counted in smaller pieces.
    let ranges = ChunkRanges::from(ChunkNum(u64::from(from) * CHUNKS_PER_GROUP)..);
    let length = if from < groups { encoded_length(size, &ranges) } else { 0 };
    let resumed = verified > 0;
    let work = spawn_blocking(move || decode(part, &ranges, Source::new(receiver), resumed));
    let fed = feed(context, stream, &pieces, length).await;
    drop(pieces);
    // What the thread says goes first: a lie is a lie even when the stream broke after it.
    match work.await.map_err(|error| Failure::File(std::io::Error::other(error)))? {
        Ok(part) => fed.map(|()| part),
        Err(Failure::Stream(error)) => fed.and(Err(Failure::Stream(error))),
        Err(failure) => Err(failure),
    }
}

/// A body of one piece.
async fn fetch_raw(context: &Context, stream: &mut Link, mut part: Part) -> Result<Part, Failure> {
    let groups = u32::try_from(wire::groups(part.size())).unwrap_or(u32::MAX);
    ask(context, stream, 0, groups).await?;
    let mut bytes = vec![0; usize::try_from(part.size()).unwrap_or(0)];
    let mut pace = Pace::new(Instant::now(), context.limits.rate_grace, context.limits.minimum_rate);
    let mut filled = 0;
    while filled < bytes.len() {
        let read = take(context, stream, &mut bytes[filled..], &mut pace).await?;
        filled += read;
    }
    if blake3::hash(&bytes) != blake3::Hash::from(part.envelope().0) {
        run(move || part.remove()).await?;
        return Err(Failure::Breach("a body that is not what its name says".to_owned()));
    }
    // Not synced: a power cut costs no more than asking for these few bytes again, and whoever keeps them syncs them with what it keeps.
    run(move || part.append(&bytes).map(|()| part)).await?.map_err(Failure::File)
}

/// Moves `length` bytes from the stream into the pipe, as fast as the disk takes them and no slower than the limit.
async fn feed(context: &Context, stream: &mut Link, pieces: &mpsc::Sender<Bytes>, length: u64) -> Result<(), Failure> {
    let mut pace = Pace::new(Instant::now(), context.limits.rate_grace, context.limits.minimum_rate);
    let mut left = length;
    let mut buffer = vec![0; PIECE_BYTES];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let read = take(context, stream, &mut buffer[..want], &mut pace).await?;
        left -= read as u64;
        let before = Instant::now();
        if pieces.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
            // The thread gave up; it knows why.
            return Ok(());
        }
        pace.excuse(before.elapsed());
    }
    Ok(())
}

/// Reads some bytes, at least one, before the pace's deadline.
async fn take(context: &Context, stream: &mut Link, buffer: &mut [u8], pace: &mut Pace) -> Result<usize, Failure> {
    let read = timeout_at(pace.deadline(), stream.read(buffer)).await.map_err(|_| Failure::Slow)??;
    if read == 0 {
        return Err(Failure::Stream(std::io::ErrorKind::UnexpectedEof.into()));
    }
    pace.moved(read);
    context.bytes_in.fetch_add(read as u64, Ordering::Relaxed);
    Ok(read)
}

/// Verifies what comes and appends it to the part; keeps what was good whatever happens. Blocking.
fn decode(mut part: Part, ranges: &ChunkRanges, source: impl Read, check_whole: bool) -> Result<Part, Failure> {
    let root = blake3::Hash::from(part.envelope().0);
    let tree = BaoTree::new(part.size(), BLOCK);
    let mut ended = Ok(());
    if part.verified() < part.size() {
        for item in DecodeResponseIter::new(root, tree, source, ranges) {
            match item {
                Ok(BaoContentItem::Leaf(leaf)) if leaf.offset == part.verified() => {
                    if let Err(error) = part.append(&leaf.data) {
                        ended = Err(Failure::File(error));
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    ended = Err(judge(error));
                    break;
                }
            }
        }
    }
    part.commit().map_err(Failure::File)?;
    ended?;
    if part.verified() < part.size() || check_whole && !part.is_true().map_err(Failure::File)? {
        // What lay on our disk was not what had been written there: begin again.
        part.remove();
        return Err(Failure::File(std::io::Error::other("the part on disk was damaged")));
    }
    Ok(part)
}

fn judge(error: bao_tree::io::DecodeError) -> Failure {
    use bao_tree::io::DecodeError;
    match error {
        DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => {
            Failure::Breach("a body that is not what its name says".to_owned())
        }
        DecodeError::Io(error) => Failure::Stream(error),
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => {
            Failure::Stream(std::io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Bytes that the ranges take on the wire.
fn encoded_length(size: u64, ranges: &ChunkRanges) -> u64 {
    let tree = BaoTree::new(size, BLOCK);
    let length = |chunk| match chunk {
        BaoChunk::Parent { .. } => 64,
        BaoChunk::Leaf { size, .. } => size as u64,
    };
    ResponseIter::new(tree, ranges.clone()).map(length).sum()
}

async fn ask(context: &Context, stream: &mut Link, start: u32, end: u32) -> Result<(), Failure> {
    let missing = if start < end { vec![(start, end)] } else { Vec::new() };
    within(context.limits.first_frame, stream::write(stream, &Message::Send(wire::Send { missing }))).await
}

fn later(reason: LaterReason, after_s: u32) -> Answer {
    Answer::Later { reason, after_s }
}

async fn say(context: &Context, stream: &mut Link, offer: &Offer, answer: Answer) -> Result<(), Failure> {
    let message = match answer {
        Answer::Have => Message::Have,
        Answer::Stored { until_s, seldom } => {
            let signature = context.key.stored(&offer.queue, &offer.envelope, offer.size, until_s);
            Message::Stored(wire::Stored { until_s, signature, seldom })
        }
        Answer::Later { reason, after_s } => Message::Later(Later { reason, after_s }),
        Answer::Refused(reason) => Message::Refused(Refused { reason }),
        Answer::Send => Message::Later(Later { reason: LaterReason::Busy, after_s: RETRY_SECONDS }),
    };
    within(context.limits.first_frame, stream::write(stream, &message)).await
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::File(std::io::Error::other(error)))
}
