//! The IMAP port: the sans-network session on a connection, woken while it idles.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kith_connection::{Connection, Encryption, Gatekeeper, Port, Server, Timing, drive};
use kith_store::Store;

use crate::capability::Without;
use crate::session::{Link, Session, Shared};

/// RFC 3501 §5.4 asks for 30 minutes at least.
const IDLE: Duration = Duration::from_secs(31 * 60);
const SERVICE: &str = "imap";

/// What is particular to an IMAP port, to bind it with.
#[must_use]
pub fn port(encryption: Encryption) -> Port {
    Port {
        service: SERVICE,
        encryption,
        timing: Timing::with_idle(IDLE),
        busy: b"* BYE Too many connections; try again later\r\n",
    }
}

/// Serves a bound port until the node stops; `without` says which accounts are not offered everything.
pub async fn serve(server: Server, store: Store, gatekeeper: Arc<Gatekeeper>, without: Without) {
    let shared = Shared::new(store, without);
    let handle = move |connection: Connection| {
        let (shared, gatekeeper) = (Arc::clone(&shared), Arc::clone(&gatekeeper));
        async move {
            let link = Link { may_log_in: connection.may_log_in(), can_start_tls: connection.can_start_tls() };
            drive(SERVICE, connection, Session::new(shared, link, unix_seconds), &gatekeeper).await;
        }
    };
    server.serve(handle).await;
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
