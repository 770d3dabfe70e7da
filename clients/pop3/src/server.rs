//! The POP3 port.

use std::sync::Arc;
use std::time::Duration;

use kith_connection::{Connection, Encryption, Gatekeeper, Port, Server, Timing, drive};
use kith_store::Store;

use crate::session::{Session, Transport};

/// RFC 1939 §3.
const IDLE: Duration = Duration::from_secs(10 * 60);
const SERVICE: &str = "pop3";

/// What is particular to a POP3 port, to bind it with.
#[must_use]
pub fn port(encryption: Encryption) -> Port {
    Port {
        service: SERVICE,
        encryption,
        timing: Timing::with_idle(IDLE),
        busy: b"-ERR [SYS/TEMP] Too many connections; try again later\r\n",
    }
}

/// Serves a bound port until the node stops.
pub async fn serve(server: Server, store: Store, gatekeeper: Arc<Gatekeeper>) {
    let handle = move |connection: Connection| {
        let (store, gatekeeper) = (store.clone(), Arc::clone(&gatekeeper));
        async move {
            let transport = Transport {
                encrypted: connection.is_encrypted(),
                can_start_tls: connection.can_start_tls(),
                loopback: connection.is_loopback(),
            };
            drive(SERVICE, connection, Session::new(store, transport), &gatekeeper).await;
        }
    };
    server.serve(handle).await;
}
