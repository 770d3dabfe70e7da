//! How the command line reaches the running node, and what it can ask.
//!
//! A Unix socket in the home, 0600: who may open it owns the home. A request is a line of JSON, then `body` bytes; one line of JSON comes back,
//! and behind it the bytes of a mail where one was asked for. A connection carries one request after the other; after that for an import, mails
//! (`archive/intake.rs`). Where no node runs, the same happens on the store right here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::archive::{intake, outlet};
use crate::operations::{self, Context};

/// What can be asked. Names are accounts' names; an absent one means the only account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the command line's, explained there")]
pub enum Request {
    AccountAdd { name: String, password: Option<Password> },
    AccountList,
    AccountRemove { name: String },
    PasswordSet { name: String, label: String, password: Option<Password> },
    PasswordAdd { account: Option<String>, label: String, password: Option<Password> },
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
    GatewayMap { account: Option<String>, pattern: String, who: String, note: String },
    GatewayUnmap { pattern: String },
    GatewayList,
    GatewayImport { account: Option<String>, format: String },
    GatewayExport { format: String },
    GatewayRule { account: Option<String>, rule: Option<String>, who: Option<String> },
    GatewayRules { account: Option<String> },
    GatewaySuggestions { account: Option<String> },
    GatewaySuggested { account: Option<String>, email: String, name: Option<String>, wanted: bool },
    GatewayAllow { account: Option<String>, who: String, allowed: bool },
    GatewayUse { account: Option<String>, who: String, used: bool },
    GatewayPeople { account: Option<String> },
    GatewayCheck { domain: String, addresses: Vec<std::net::IpAddr> },
    GatewayRelease { id: u64 },
    Settings { account: Option<String> },
    Verify,
    Import { account: Option<String> },
    ExportFolders { account: Option<String> },
    ExportPage { account: Option<String>, folder: u64, from: u32 },
    ExportMail { hash: String },
}

/// A password on its way to the node: wiped when dropped.
#[derive(Clone)]
pub struct Password(pub Zeroizing<String>);

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
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
        Ok(stream) => Conversation::of(stream)?.ask(request, body),
        Err(_) => {
            let context = Context::offline(home)?;
            let answer = operations::perform(&context, request.clone(), body);
            context.store.close();
            answer
        }
    }
}

/// A connection over which one request follows the other: to the running node, or to a thread that has opened the store where none runs.
pub struct Conversation {
    reader: BufReader<UnixStream>,
    offline: Option<std::thread::JoinHandle<()>>,
}

impl Conversation {
    /// Connects.
    ///
    /// # Errors
    /// [`Refusal`]: there is no node, or its store cannot be opened.
    pub fn open(home: &Path) -> Result<Self, Refusal> {
        if let Ok(stream) = UnixStream::connect(socket(home)) {
            return Self::of(stream);
        }
        let context = Context::offline(home)?;
        let (here, there) = UnixStream::pair().map_err(|error| broke(&error))?;
        let thread = std::thread::spawn(move || {
            if let Err(error) = answer(&there, &context) {
                tracing::debug!(%error, "a command went away");
            }
            context.store.close();
        });
        Ok(Self { offline: Some(thread), ..Self::of(here)? })
    }

    fn of(stream: UnixStream) -> Result<Self, Refusal> {
        let patient = || {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))
        };
        patient().map_err(|error| broke(&error))?;
        Ok(Self { reader: BufReader::new(stream), offline: None })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Refusal`], the node's or that it did not answer.
    pub fn ask(&mut self, request: &Request, body: &[u8]) -> Result<Value, Refusal> {
        self.try_ask(request, body).unwrap_or_else(|error| Err(broke(&error)))
    }

    fn try_ask(&mut self, request: &Request, body: &[u8]) -> std::io::Result<Result<Value, Refusal>> {
        // It may hold a password.
        let mut line = Zeroizing::new(serde_json::to_vec(&Asked { body: body.len() as u64, request: request.clone() })?);
        line.push(b'\n');
        let stream = self.reader.get_mut();
        stream.write_all(&line)?;
        stream.write_all(body)?;
        let mut answer = String::new();
        self.reader.read_line(&mut answer)?;
        Ok(match serde_json::from_str(&answer)? {
            Answered::Done(value) => Ok(value),
            Answered::Refused(refusal) => Err(refusal),
        })
    }

    /// Asks for a mail; gives its bytes in pieces to `take`.
    ///
    /// # Errors
    /// [`Refusal`] where the node has none such (the connection goes on then); an I/O error where the connection or `take` broke.
    pub fn mail(
        &mut self,
        hash: &str,
        take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<Result<(), Refusal>> {
        let answer = match self.try_ask(&Request::ExportMail { hash: hash.to_owned() }, &[])? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut left = answer.get("bytes").and_then(Value::as_u64).unwrap_or(0);
        while left > 0 {
            let piece = self.reader.fill_buf()?;
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            take(piece.get(..count).unwrap_or_default())?;
            self.reader.consume(count);
            left -= count as u64;
        }
        Ok(Ok(()))
    }

    /// The two directions, after a request that hands the connection over; and the end, once both are dropped.
    ///
    /// # Errors
    /// The system has no more handles.
    pub fn split(self) -> Result<(UnixStream, BufReader<UnixStream>, Ending), Refusal> {
        let writer = self.reader.get_ref().try_clone().map_err(|error| broke(&error))?;
        Ok((writer, self.reader, Ending(self.offline)))
    }

    /// Hangs up, and waits until a store that was opened for this is closed.
    pub fn close(self) {
        drop(self.reader);
        Ending(self.offline).wait();
    }
}

/// What is left of a conversation.
pub struct Ending(Option<std::thread::JoinHandle<()>>);

impl Ending {
    /// Waits until a store that was opened for the conversation is closed.
    pub fn wait(self) {
        if let Some(thread) = self.0
            && thread.join().is_err()
        {
            tracing::warn!("working on the store ended by a fault of ours");
        }
    }
}

fn broke(error: &std::io::Error) -> Refusal {
    Refusal::new(format!("the running node did not answer: {error}"), "see its log")
}

/// How long a connection may take for its first request.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);

/// Answers the requests of a connection, until it ends: the running node's side. Blocking.
///
/// # Errors
/// The connection broke.
pub fn answer(stream: &UnixStream, context: &Context) -> std::io::Result<()> {
    stream.set_read_timeout(Some(FIRST_PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut line = Zeroizing::new(String::new());
        reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        let asked = serde_json::from_str::<Asked>(&line).ok().filter(|asked| asked.body <= BODY_BYTES_MAX);
        let Some(asked) = asked else {
            let remedy = "is it another version? restart it";
            let refusal = Refusal::new("the running node does not know this request", remedy);
            return intake::write_line(&mut writer, &Answered::Refused(refusal));
        };
        match asked.request {
            Request::Import { account } => match operations::import(context, account.as_deref()) {
                Ok((account, _turn)) => {
                    intake::write_line(&mut writer, &Answered::Done(serde_json::json!({ "account": account.name })))?;
                    let now = context.clock.now().wall.0.div_euclid(1000);
                    return intake::serve(&mut reader, &mut writer, &context.store, &account, now);
                }
                Err(refusal) => intake::write_line(&mut writer, &Answered::Refused(refusal))?,
            },
            Request::ExportMail { hash } => match outlet::open(&context.store, &hash) {
                Ok(mail) => {
                    intake::write_line(&mut writer, &Answered::Done(serde_json::json!({ "bytes": mail.size() })))?;
                    outlet::send(mail, &mut writer)?;
                }
                Err(refusal) => intake::write_line(&mut writer, &Answered::Refused(refusal))?,
            },
            request => {
                let mut body = Vec::new();
                reader.by_ref().take(asked.body).read_to_end(&mut body)?;
                let answered = match operations::perform(context, request, &body) {
                    Ok(value) => Answered::Done(value),
                    Err(refusal) => Answered::Refused(refusal),
                };
                intake::write_line(&mut writer, &answered)?;
            }
        }
    }
}
