//! Frames on a stream.

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use kith_protocol::wire::{LENGTH_BYTES, Message, payload_length};

use super::Failure;

/// Reads one message. The memory for it is taken only as its bytes come.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Message, Failure> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let length = payload_length(length)?;
    let mut payload = Vec::new();
    stream.take(length as u64).read_to_end(&mut payload).await?;
    if payload.len() < length {
        return Err(Failure::Stream(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Message::from_payload(&payload)?)
}

/// Writes one message.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &Message) -> Result<(), Failure> {
    let frame = message.to_frame().map_err(|error| Failure::File(std::io::Error::other(error)))?;
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}
