//! Runs a sans-network session on a connection: what SMTP, POP3 and IMAP have in common.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kith_store::account::Account;
use tracing::debug;

use crate::connection::{Connection, ConnectionError};
use crate::gatekeeper::{Gatekeeper, LoginRefusal};
use crate::pace::Waiting;
use crate::sasl::Credentials;

/// What a session wants after a step. Whatever it wrote to `output` goes to the client first.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More input.
    Read(Waiting),
    /// To go on at once: its output was cut into pieces so that memory stays bounded, or it has more input to look at.
    Continue,
    /// A TLS handshake. What the client sent after its request is thrown away.
    StartTls,
    /// A password checked; the answer goes to [`Session::login_answered`].
    Login(Credentials),
    /// The end.
    Close,
}

/// From so many bytes of output on, what comes after them is worked out while they are on their way to the client.
const AHEAD_BYTES: usize = 16 * 1024;

/// Who takes such a piece within this time is quick.
const QUICK: Duration = Duration::from_millis(10);

/// Why a session is ended from outside: time for a last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client was silent or too slow for too long.
    TimedOut,
    /// The node is stopping.
    ShuttingDown,
    /// The place was needed for somebody else.
    Evicted,
}

/// Ends when there is something to be told. Dropped and asked for anew at will.
pub type News = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A protocol's side of a conversation: bytes in, bytes out. Its calls may block on the store; the driver runs them on threads that may block, but for brief ones.
pub trait Session: Send + 'static {
    /// The first words.
    fn greet(&mut self, output: &mut BytesMut);
    /// Consumes what it can of `input`, and at least enough that it stays bounded.
    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Step;
    /// Whether a step on this input does no more than look up a few rows: it is taken where it is, without a change of threads.
    fn is_brief(&self, input: &[u8]) -> bool {
        let _ = input;
        false
    }
    /// TLS is on: forget what the client said before.
    fn tls_started(&mut self);
    /// The outcome of [`Step::Login`].
    fn login_answered(&mut self, outcome: Result<Account, LoginRefusal>, output: &mut BytesMut);
    /// What wakes when the session has something to say unasked; asked for anew before every wait for the client. When it wakes, [`Session::step`]
    /// is called without new input.
    fn news(&mut self) -> Option<News> {
        None
    }
    /// The client has taken a large piece of output while the next one was worked out: quickly, or not.
    fn taken(&mut self, quickly: bool) {
        let _ = quickly;
    }
    /// Last words before an end that comes from outside; nothing where the protocol has none at this point.
    fn farewell(&mut self, ending: Ending, output: &mut BytesMut);
}

/// Carries on the conversation until it ends, and closes the connection. `service` is for the log.
pub async fn drive<S: Session>(service: &'static str, mut connection: Connection, session: S, gatekeeper: &Gatekeeper) {
    let peer = connection.peer().ip();
    let mut talk = Talk { session, input: BytesMut::new(), output: BytesMut::new() };
    talk.session.greet(&mut talk.output);
    let ended = converse(service, &mut connection, talk, gatekeeper).await;
    match ended {
        Ok(()) | Err(ConnectionError::Broken(_)) => {}
        Err(error) => debug!(service, %peer, %error, "connection ended"),
    }
    connection.close().await;
}

/// A session with its buffers: they travel together to the blocking threads and back.
struct Talk<S> {
    session: S,
    input: BytesMut,
    output: BytesMut,
}

async fn converse<S: Session>(
    service: &'static str,
    connection: &mut Connection,
    mut talk: Talk<S>,
    gatekeeper: &Gatekeeper,
) -> Result<(), ConnectionError> {
    let mut step = Step::Continue;
    // Wakes when the password that was used is withdrawn. One for the whole session: it looks at the store only when people change.
    let mut revoked: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
    let mut spare = BytesMut::new();
    loop {
        if matches!(step, Step::Continue) && talk.output.len() >= AHEAD_BYTES {
            let mut going = std::mem::replace(&mut talk.output, spare);
            let work = worked(talk);
            // A client that is gone, or takes nothing, is known by the time that this step is done: no further one is begun.
            let begun = Instant::now();
            let write = async { connection.write(&going).await.map(|()| begun.elapsed() < QUICK) };
            let (worked, written) = tokio::join!(work, write);
            let quickly = written?;
            let Some(worked) = worked else { return Ok(()) };
            (talk, step) = worked;
            talk.session.taken(quickly);
            going.clear();
            spare = going;
            continue;
        }
        spare = BytesMut::new();
        if !talk.output.is_empty() {
            connection.write(&talk.output).await?;
            talk.output.clear();
        }
        if matches!(step, Step::Read(Waiting::Command)) {
            // An idle session holds no buffer.
            talk.output = BytesMut::new();
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
                let login = gatekeeper.login(service, connection.peer().ip(), credentials);
                let outcome = connection.while_admitted(login).await?.map(|admitted| {
                    connection.logged_in();
                    revoked = Some(Box::pin(gatekeeper.revoked(admitted.pass)));
                    admitted.account
                });
                connection.touch();
                talk.session.login_answered(outcome, &mut talk.output);
                step = Step::Continue;
                continue;
            }
            Step::Read(waiting) => match hear(connection, &mut talk, waiting, revoked.as_mut()).await {
                Ok(Some(0)) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    if let Some(ending) = ending(&error) {
                        talk.session.farewell(ending, &mut talk.output);
                        connection.write(&talk.output).await?;
                    }
                    return Err(error);
                }
            },
        }
        if talk.session.is_brief(&talk.input) {
            step = talk.session.step(&mut talk.input, &mut talk.output);
            continue;
        }
        let Some(worked) = worked(talk).await else { return Ok(()) };
        (talk, step) = worked;
    }
}

/// A step of the session, on a thread that may block; `None` when the node stops. Not raced with an eviction: what the session has begun with the
/// store it finishes.
async fn worked<S: Session>(mut talk: Talk<S>) -> Option<(Talk<S>, Step)> {
    let work = tokio::task::spawn_blocking(move || {
        let step = talk.session.step(&mut talk.input, &mut talk.output);
        (talk, step)
    });
    match work.await {
        Ok(worked) => Some(worked),
        Err(error) => {
            if error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            }
            None
        }
    }
}

/// Waits for the client; `None` when the session's own news came first.
async fn hear<S: Session>(
    connection: &mut Connection,
    talk: &mut Talk<S>,
    waiting: Waiting,
    revoked: Option<&mut Pin<Box<dyn Future<Output = ()> + Send + '_>>>,
) -> Result<Option<usize>, ConnectionError> {
    let news = talk.session.news();
    // A read that is given up has taken nothing.
    tokio::select! {
        heard = connection.read(&mut talk.input, waiting) => heard.map(Some),
        () = perhaps(news) => Ok(None),
        () = perhaps(revoked) => Err(ConnectionError::Revoked),
    }
}

/// Ends with `future`, or never where there is none.
async fn perhaps(future: Option<impl Future<Output = ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn ending(error: &ConnectionError) -> Option<Ending> {
    match error {
        ConnectionError::TimedOut => Some(Ending::TimedOut),
        ConnectionError::ShuttingDown => Some(Ending::ShuttingDown),
        ConnectionError::Evicted => Some(Ending::Evicted),
        // Its next attempt is told that the password is wrong.
        ConnectionError::Revoked => None,
        ConnectionError::Handshake(_) | ConnectionError::NoTls | ConnectionError::Broken(_) => None,
    }
}
