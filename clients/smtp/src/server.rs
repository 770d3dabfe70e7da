//! The submission port.

use std::sync::Arc;
use std::time::Duration;

use kith_connection::{Connection, Encryption, Gatekeeper, Port, Server, Timing, drive};
use kith_store::Store;

use crate::policy::Policy;
use crate::session::{Session, Transport};

/// RFC 5321 §4.5.3.2.7.
const IDLE: Duration = Duration::from_secs(5 * 60);
const SERVICE: &str = "smtp";

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
            let transport = Transport {
                encrypted: connection.is_encrypted(),
                can_start_tls: connection.can_start_tls(),
                loopback: connection.is_loopback(),
            };
            drive(SERVICE, connection, Session::new(store, policy, transport), &gatekeeper).await;
        }
    };
    server.serve(handle).await;
}
