//! The ports: submission, and MX.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kith_connection::{Connection, Encryption, Gatekeeper, Limits, Port, Server, Timing, Waiting, drive};
use kith_store::Store;
use tokio::time::timeout;
use tracing::debug;

use crate::mx;
use crate::policy::Policy;
use crate::session::{Session, Transport};

/// RFC 5321 §4.5.3.2.7.
const IDLE: Duration = Duration::from_secs(5 * 60);
const SERVICE: &str = "smtp";
const MX_SERVICE: &str = "mx";
/// RFC 5321 §4.5.3.2.5: between two pieces of a mail.
const MX_REST: Duration = Duration::from_secs(3 * 60);
/// A connection to an MX, all in all: nobody logs in there, so that nobody can stay for ever.
const MX_CONNECTION: Duration = Duration::from_secs(2 * 60 * 60);
/// How long an MX listens before its greeting: who talks by then does not listen.
pub const MX_SILENCE: Duration = Duration::from_millis(500);

/// Places at an MX. It needs an admission of its own: nobody there ever logs in, and strangers must not take the household's places.
pub const MX_LIMITS: Limits = Limits { total: 256, per_address: 16, loopback: 64, waiting: 256 };

/// What is particular to a submission port, to bind it with.
#[must_use]
pub fn port(encryption: Encryption) -> Port {
    Port {
        service: SERVICE,
        encryption,
        timing: Timing::with_idle(IDLE),
        busy: b"421 4.7.0 Too many connections; try again later\r\n",
    }
}

/// Serves a bound port until the node stops.
pub async fn serve(server: Server, store: Store, gatekeeper: Arc<Gatekeeper>, policy: Arc<dyn Policy>) {
    let handle = move |connection: Connection| {
        let (store, policy, gatekeeper) = (store.clone(), Arc::clone(&policy), Arc::clone(&gatekeeper));
        async move {
            let transport = transport(&connection);
            drive(SERVICE, connection, Session::new(store, policy, transport), &gatekeeper).await;
        }
    };
    server.serve(handle).await;
}

/// What is particular to an MX port, to bind it with; it belongs under an admission with [`MX_LIMITS`].
#[must_use]
pub fn mx_port() -> Port {
    let timing = Timing { login: MX_CONNECTION, idle_before_login: IDLE, rest_before_login: MX_REST, ..Timing::with_idle(IDLE) };
    Port {
        service: MX_SERVICE,
        encryption: Encryption::Offered,
        timing,
        busy: b"421 4.7.0 Too many connections; try again later\r\n",
    }
}

/// Serves a bound MX port until the node stops; `silence` is how long a client must hold its tongue before the greeting, [`MX_SILENCE`].
pub async fn serve_mx(server: Server, store: Store, gatekeeper: Arc<Gatekeeper>, policy: Arc<dyn mx::Policy>, silence: Duration) {
    let handle = move |mut connection: Connection| {
        let (store, policy, gatekeeper) = (store.clone(), Arc::clone(&policy), Arc::clone(&gatekeeper));
        async move {
            let mut early = BytesMut::new();
            // A read that is given up has taken nothing.
            match timeout(silence, connection.read(&mut early, Waiting::Command)).await {
                Err(_silent) => {}
                Ok(Ok(1..)) => {
                    debug!(service = MX_SERVICE, peer = %connection.peer().ip(), "spoke before the greeting");
                    let _unheard = connection.write(b"554 5.5.0 You must wait for the greeting; goodbye\r\n").await;
                    return connection.close().await;
                }
                Ok(Ok(0) | Err(_)) => return connection.close().await,
            }
            let peer = connection.peer().ip();
            let transport = transport(&connection);
            let session = tokio::task::spawn_blocking(move || Session::for_mx(store, policy, transport, peer)).await;
            if let Ok(session) = session {
                drive(MX_SERVICE, connection, session, &gatekeeper).await;
            }
        }
    };
    server.serve(handle).await;
}

fn transport(connection: &Connection) -> Transport {
    Transport {
        encrypted: connection.is_encrypted(),
        can_start_tls: connection.can_start_tls(),
        loopback: connection.is_loopback(),
    }
}
