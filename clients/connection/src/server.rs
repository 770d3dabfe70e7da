//! A port: accepting connections, giving each its task, and stopping in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::admission::{Admission, Ticket};
use crate::connection::Connection;
use crate::gatekeeper::Gatekeeper;
use crate::pace::Timing;
use crate::shutdown::Shutdown;

/// What is in flight when the node stops has this long to finish.
const GRACE: Duration = Duration::from_secs(3);
/// After a failed accept (out of file descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all ports of a node have in common. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    /// Counts connections over all ports.
    pub admission: Arc<Admission>,
    /// Checks passwords for all ports.
    pub gatekeeper: Arc<Gatekeeper>,
    /// Certificates; `None` where there is no TLS (then only the loopback can log in).
    pub tls: Option<Arc<ServerConfig>>,
    /// The word to stop.
    pub shutdown: Shutdown,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With STARTTLS, if the client wants; compulsory before login off the loopback.
    Offered,
    /// With the first byte (RFC 8314).
    Implicit,
}

/// What is particular to a port.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// For the log: `smtp`, `pop3`, `imap`.
    pub service: &'static str,
    /// When TLS begins.
    pub encryption: Encryption,
    /// Time limits.
    pub timing: Timing,
    /// What a client is told that finds no place, with line end.
    pub busy: &'static [u8],
}

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address} for {service}: {error}; is another program using the port?")]
    Listen {
        /// For what.
        service: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Implicit TLS without a certificate.
    #[error("{service} on {address} needs TLS, and there is no certificate")]
    NoTls {
        /// For what.
        service: &'static str,
        /// Where.
        address: SocketAddr,
    },
}

/// A bound port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    port: Port,
    host: Host,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is taken or not ours; implicit TLS without certificates.
    pub async fn bind(address: SocketAddr, port: Port, host: Host) -> Result<Self, BindError> {
        if port.encryption == Encryption::Implicit && host.tls.is_none() {
            return Err(BindError::NoTls { service: port.service, address });
        }
        let failed = |error| BindError::Listen { service: port.service, address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local, port, host })
    }

    /// The address that is really bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until the node stops; then lets what is in flight finish within 3 s. A panic in a handler ends that connection only.
    pub async fn serve<F, Fut>(self, handle: F)
    where
        F: Fn(Connection) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let mut shutdown = self.host.shutdown.clone();
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    report(self.port.service, ended);
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.welcome(stream, peer, &handle, &mut tasks),
                Err(error) => {
                    warn!(service = self.port.service, %error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let finish = async {
            while let Some(ended) = tasks.join_next().await {
                report(self.port.service, ended);
            }
        };
        if timeout(GRACE, finish).await.is_err() {
            debug!(service = self.port.service, connections = tasks.len(), "ending what has not finished");
            tasks.shutdown().await;
        }
    }

    fn welcome<F, Fut>(&self, stream: TcpStream, peer: SocketAddr, handle: &F, tasks: &mut JoinSet<()>)
    where
        F: Fn(Connection) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let Some(ticket) = self.host.admission.admit(peer.ip()) else {
            debug!(service = self.port.service, peer = %peer.ip(), "no place left");
            if self.port.encryption == Encryption::Offered {
                // Best effort: whoever cannot take a line at once goes without.
                let _unsent = stream.try_write(self.port.busy);
            }
            return;
        };
        let Some(connection) = self.connection(stream, peer, ticket) else { return };
        let (handle, service, encryption) = (handle.clone(), self.port.service, self.port.encryption);
        tasks.spawn(async move {
            let mut connection = connection;
            if encryption == Encryption::Implicit
                && let Err(error) = connection.start_tls().await
            {
                debug!(service, peer = %peer.ip(), %error, "no TLS");
                return;
            }
            handle(connection).await;
        });
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr, ticket: Ticket) -> Option<Connection> {
        Connection::new(stream, peer, ticket, self.host.tls.clone(), self.host.shutdown.clone(), self.port.timing).ok()
    }
}

fn report(service: &'static str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        warn!(service, "a session ended by a fault of ours");
    }
}
