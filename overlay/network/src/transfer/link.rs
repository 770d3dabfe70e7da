//! A stream that fails as soon as its connection is gone.
//!
//! A multiplexer that is closed from our side leaves readers of its streams waiting; here they learn of it from the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{FusedFuture, Shared};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::swarm::Stream;
use tokio::sync::oneshot;

/// Ends when the connection does.
#[derive(Clone, Debug)]
pub(crate) struct Gone(Shared<oneshot::Receiver<()>>);

/// Held as long as the connection is open.
#[derive(Debug)]
pub(crate) struct Open {
    _sender: oneshot::Sender<()>,
    gone: Gone,
}

impl Open {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self { _sender: sender, gone: Gone(receiver.shared()) }
    }

    /// What the streams of the connection watch.
    pub(crate) fn gone(&self) -> Gone {
        self.gone.clone()
    }
}

/// A stream with its connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    gone: Gone,
}

impl Link {
    pub(crate) fn new(stream: Stream, gone: Gone) -> Self {
        Self { stream, gone }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let gone = &mut self.gone.0;
        if gone.is_terminated() || gone.poll_unpin(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_close(context)
    }
}
