//! How the command line reaches the running node, and what it can ask.
//!
//! A Unix socket in the home, 0600: who may open it owns the home. One request a connection: a line of JSON, then `body` bytes; one line of
//! JSON comes back. Where no node runs, the same request is performed on the store right here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operations::{self, Context};

/// What can be asked. Names are accounts' names; an absent one means the only account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the command line's, explained there")]
pub enum Request {
    AccountAdd { name: String, password: Option<String> },
    AccountList,
    AccountRemove { name: String },
    PasswordSet { name: String, label: String, password: Option<String> },
    PasswordAdd { account: Option<String>, label: String, password: Option<String> },
    PasswordList { account: Option<String> },
    PasswordRemove { name: Option<String>, label: String },
    Address { name: Option<String> },
    ContactAdd { account: Option<String>, name: String, address: String, emails: Vec<String> },
    ContactList { account: Option<String> },
    ContactRemove { account: Option<String>, name: String },
    ContactVerify { account: Option<String>, name: String, grade: String },
    ContactImport { account: Option<String>, format: String },
    ContactExport { account: Option<String>, format: String },
    KeyWords { name: Option<String> },
    KeyForget { name: Option<String> },
    ContactAccept { account: Option<String>, who: String },
    ContactRefuse { account: Option<String>, who: String },
    ContactBlock { account: Option<String>, who: String },
    ContactUnblock { account: Option<String>, who: String },
    ContactRequests { account: Option<String> },
    RelayAsk { account: Option<String>, who: String, bytes: u64 },
    RelayAllow { account: Option<String>, who: String, bytes: u64 },
    RelayUse { account: Option<String>, who: String },
    RelayRemove { account: Option<String>, who: String },
    RelayList { account: Option<String> },
    QueueList,
    QueueShow { id: u64 },
    QueueRetry { id: Option<u64> },
    QueueCancel { id: u64 },
    Status,
    Sendmail { sender: Option<String>, recipients: Vec<String>, from_headers: bool, notify: Option<String> },
    Verify,
}

/// A request as it travels: what is asked, and how many raw bytes follow the line.
#[derive(Serialize, Deserialize)]
struct Asked {
    body: u64,
    #[serde(flatten)]
    request: Request,
}

/// The answer as it travels.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answered {
    Done(Value),
    Refused(Refusal),
}

/// Why a request was not performed: cause and remedy, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub cause: String,
    /// What to do; may be empty.
    pub remedy: String,
}

impl Refusal {
    /// A cause and a remedy.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }
}

impl From<kith_store::StoreError> for Refusal {
    fn from(error: kith_store::StoreError) -> Self {
        Self::new(error.to_string(), "")
    }
}

impl From<kith_store::OpenError> for Refusal {
    fn from(error: kith_store::OpenError) -> Self {
        Self::new(error.to_string(), "")
    }
}

/// The longest request line, in bytes.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// The most bytes that may follow it: a mail, or a file of contacts.
const BODY_BYTES_MAX: u64 = kith_protocol::limits::MAIL_BYTES_MAX;
/// How long either side waits for the other's next byte. A verification of a large store takes minutes and has none to say before it is done.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The socket of a home.
pub fn socket(home: &Path) -> PathBuf {
    home.join("control.sock")
}

/// Has the running node perform a request, or performs it on the store where none runs.
///
/// # Errors
/// [`Refusal`]: what is wrong and what to do.
pub fn ask(home: &Path, request: &Request, body: &[u8]) -> Result<Value, Refusal> {
    match UnixStream::connect(socket(home)) {
        Ok(stream) => converse(stream, request, body)
            .unwrap_or_else(|error| Err(Refusal::new(format!("the running node did not answer: {error}"), "see its log"))),
        Err(_) => {
            let context = Context::offline(home)?;
            let answer = operations::perform(&context, request.clone(), body);
            context.store.close();
            answer
        }
    }
}

fn converse(stream: UnixStream, request: &Request, body: &[u8]) -> std::io::Result<Result<Value, Refusal>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Asked { body: body.len() as u64, request: request.clone() })?;
    line.push(b'\n');
    let mut writer = &stream;
    writer.write_all(&line)?;
    writer.write_all(body)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(match serde_json::from_str(&answer)? {
        Answered::Done(value) => Ok(value),
        Answered::Refused(refusal) => Err(refusal),
    })
}

/// Reads one request from a connection, performs it and answers: the running node's side. Blocking.
pub fn answer(stream: &UnixStream, context: &Context) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    let answered = match serde_json::from_str::<Asked>(&line) {
        Ok(asked) if asked.body <= BODY_BYTES_MAX => {
            let mut body = Vec::new();
            reader.by_ref().take(asked.body).read_to_end(&mut body)?;
            match operations::perform(context, asked.request, &body) {
                Ok(value) => Answered::Done(value),
                Err(refusal) => Answered::Refused(refusal),
            }
        }
        _ => Answered::Refused(Refusal::new("the running node does not know this request", "is it another version? restart it")),
    };
    let mut line = serde_json::to_vec(&answered)?;
    line.push(b'\n');
    let mut writer = stream;
    writer.write_all(&line)
}
