//! The IMAP port: the sans-network session on a connection, woken while it idles.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use kith_connection::{
    Connection, ConnectionError, Encryption, Ending, Gatekeeper, Port, Server, Session as _, Step, Timing, Waiting,
};
use kith_store::Store;
use tracing::debug;

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

/// Serves a bound port until the node stops.
pub async fn serve(server: Server, store: Store, gatekeeper: Arc<Gatekeeper>) {
    let shared = Shared::new(store);
    let handle = move |connection: Connection| {
        let (shared, gatekeeper) = (Arc::clone(&shared), Arc::clone(&gatekeeper));
        async move {
            let link = Link { may_log_in: connection.may_log_in(), can_start_tls: connection.can_start_tls() };
            drive(connection, Session::new(shared, link, unix_seconds), &gatekeeper).await;
        }
    };
    server.serve(handle).await;
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A session with its buffers: they travel together to the blocking threads and back.
struct Talk {
    session: Session,
    input: BytesMut,
    output: BytesMut,
}

async fn drive(mut connection: Connection, session: Session, gatekeeper: &Gatekeeper) {
    let peer = connection.peer().ip();
    let mut talk = Talk { session, input: BytesMut::new(), output: BytesMut::new() };
    talk.session.greet(&mut talk.output);
    match converse(&mut connection, talk, gatekeeper).await {
        Ok(()) | Err(ConnectionError::Broken(_)) => {}
        Err(error) => debug!(service = SERVICE, %peer, %error, "connection ended"),
    }
    connection.close().await;
}

async fn converse(connection: &mut Connection, mut talk: Talk, gatekeeper: &Gatekeeper) -> Result<(), ConnectionError> {
    let mut step = Step::Continue;
    loop {
        if !talk.output.is_empty() {
            connection.write(&talk.output).await?;
            talk.output.clear();
        }
        match step {
            Step::Close => return Ok(()),
            Step::Continue => {}
            Step::StartTls => {
                talk.input.clear();
                connection.start_tls().await?;
                talk.session.tls_started();
            }
            Step::Login(credentials) => {
                let login = gatekeeper.login(SERVICE, connection.peer().ip(), credentials);
                let outcome = connection.while_admitted(login).await?;
                if outcome.is_ok() {
                    connection.logged_in();
                }
                connection.touch();
                talk.session.login_answered(outcome, &mut talk.output);
                step = Step::Continue;
                continue;
            }
            Step::Read(waiting) => {
                if !listen(connection, &mut talk, waiting).await? {
                    return Ok(());
                }
            }
        }
        let work = tokio::task::spawn_blocking(move || {
            let step = talk.session.step(&mut talk.input, &mut talk.output);
            (talk, step)
        });
        // Not raced with an eviction: what the session has begun with the store it finishes.
        match work.await {
            Ok((back, next)) => (talk, step) = (back, next),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Ok(()),
        }
    }
}

/// Waits for the client, or while it idles for news; `false` when the client is gone.
async fn listen(connection: &mut Connection, talk: &mut Talk, waiting: Waiting) -> Result<bool, ConnectionError> {
    if matches!(waiting, Waiting::Command) {
        // An idle session holds no buffer.
        talk.output = BytesMut::new();
    }
    let heard = match talk.session.listener() {
        None => connection.read(&mut talk.input, waiting).await,
        // A read that is given up has taken nothing; a listener that is given up is asked for anew.
        Some(news) => tokio::select! {
            heard = connection.read(&mut talk.input, waiting) => heard,
            () = news => return Ok(true),
        },
    };
    match heard {
        Ok(count) => Ok(count > 0),
        Err(error) => {
            let ending = match error {
                ConnectionError::TimedOut => Some(Ending::TimedOut),
                ConnectionError::ShuttingDown => Some(Ending::ShuttingDown),
                ConnectionError::Evicted => Some(Ending::Evicted),
                _ => None,
            };
            if let Some(ending) = ending {
                talk.session.farewell(ending, &mut talk.output);
                connection.write(&talk.output).await?;
            }
            Err(error)
        }
    }
}
