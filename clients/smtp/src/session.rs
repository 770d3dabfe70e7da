//! The conversation, without a socket: bytes in, bytes out.
//!
//! Every command line gets exactly one reply, in order, so that pipelining (RFC 2920) needs nothing of its own. A transaction ends with its
//! mail, whatever became of it.

mod incoming;
pub mod mode;
mod mx;
mod submission;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use kith_connection::{Ending, Exchange, LineEnd, LineReader, LiteralReader, LoginRefusal, SaslError, Step, Taken, Waiting};
use kith_store::Store;
use kith_store::account::Account;

use crate::command::{COMMAND_BYTES_MAX, Command, InitialResponse, MailFrom, RcptTo};
use crate::data::{DotDecoder, LineEndCheck};
use crate::policy::{Policy, Refusal};
use crate::reply::{Reply, write_lines};
use incoming::Incoming;
use mode::{Caller, Hello, Mode};
pub use mx::{Mx, OVERFLOW_MAX, RECIPIENTS_MAX as MX_RECIPIENTS_MAX, TRANSACTIONS_MAX, UNKNOWN_MAX};
pub use submission::{RECIPIENTS_MAX, Submission};

/// Longest line in a login exchange, bytes.
const AUTH_BYTES_MAX: usize = 4096;
/// Replies are handed on when there are so many bytes of them.
const OUTPUT_BYTES: usize = 32 * 1024;
/// Bytes of commands up to which they are brief.
const BRIEF_BYTES: usize = 1024;

/// What the session must know of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// TLS is on.
    pub encrypted: bool,
    /// TLS is there to be started.
    pub can_start_tls: bool,
    /// Both ends are on this machine: a password may come in the clear.
    pub loopback: bool,
}

/// A client's session, on one of the two kinds of port.
pub struct Session<M: Mode = Submission> {
    mode: M,
    store: Store,
    caller: Caller,
    lines: LineReader,
    expects: Expects,
    transaction: Option<Transaction<M::Recipient>>,
    nonsense: u32,
}

/// What comes next from the client.
enum Expects {
    Command,
    Login(Exchange),
    Data(Box<(DotDecoder, Incoming)>),
    Chunk {
        bytes: LiteralReader,
        outcome: ChunkOutcome,
    },
    /// Nothing: the session is over.
    Nothing,
}

/// What to do with a chunk (RFC 3030) when all its bytes are there.
enum ChunkOutcome {
    /// It belongs to the transaction; whether it is the last.
    Take { size: u64, last: bool },
    /// It came at the wrong time and is passed over.
    Refuse(Reply),
}

struct Transaction<R> {
    from: MailFrom,
    recipients: Vec<R>,
    chunks: Option<(LineEndCheck, Incoming)>,
}

impl Session<Submission> {
    /// A submission session, before the greeting.
    #[must_use]
    pub fn new(store: Store, policy: Arc<dyn Policy>, transport: Transport) -> Self {
        Self::start(store, Submission::new(policy), transport)
    }
}

impl Session<Mx> {
    /// A session on an MX, before the greeting; `peer` is the other machine's address. Asks the policy for it, which may block.
    #[must_use]
    pub fn for_mx(store: Store, policy: Arc<dyn crate::mx::Policy>, transport: Transport, peer: IpAddr) -> Self {
        Self::start(store, Mx::new(policy, peer), transport)
    }
}

impl<M: Mode> Session<M> {
    fn start(store: Store, mode: M, transport: Transport) -> Self {
        Self {
            mode,
            store,
            caller: Caller { hello: Hello::None, name: String::new(), transport },
            lines: LineReader::new(),
            expects: Expects::Command,
            transaction: None,
            nonsense: 0,
        }
    }

    fn line(&mut self, mut line: BytesMut, end: LineEnd, more: bool, output: &mut BytesMut) -> Option<Step> {
        let expects = std::mem::replace(&mut self.expects, Expects::Command);
        let step = if end == LineEnd::Lf {
            let reply = Reply::new(500, "5.5.2", "Lines end with CR LF here, not with LF alone");
            self.refuse_nonsense(&reply, output)
        } else if let Expects::Login(mut exchange) = expects {
            let outcome = exchange.respond(&line);
            self.login(exchange, outcome, output)
        } else {
            match Command::parse(&line) {
                Ok(command) if M::WAITS_FOR_ANSWERS && more && must_be_last(&command) => self.impatient(output),
                Ok(command) => self.command(command, output),
                Err(reply) => self.refuse_nonsense(&reply, output),
            }
        };
        // It may hold a password.
        line.fill(0);
        step
    }

    fn command(&mut self, command: Command, output: &mut BytesMut) -> Option<Step> {
        let reply = match command {
            Command::Ehlo(name) => {
                self.transaction = None;
                (self.caller.hello, self.caller.name) = (Hello::Ehlo, name);
                write_lines(250, &self.extensions(), output);
                return None;
            }
            Command::Helo(name) => {
                self.transaction = None;
                (self.caller.hello, self.caller.name) = (Hello::Helo, name);
                Reply::new(250, "", self.mode.name().to_owned())
            }
            Command::StartTls => return self.start_tls(output),
            Command::Auth(mechanism, initial) => return self.auth(mechanism, initial, output),
            Command::Mail(from) => self.mail(from),
            Command::Rcpt(to) => self.rcpt(to),
            Command::Data => self.data(),
            Command::Bdat(size, last) => {
                self.bdat(size, last);
                return None;
            }
            Command::Rset => {
                self.transaction = None;
                Reply::new(250, "2.0.0", "Forgotten")
            }
            Command::Noop => Reply::new(250, "2.0.0", "Here I am"),
            Command::Vrfy => Reply::new(252, "2.0.0", "Send the mail, and you will be told"),
            Command::Expn => Reply::new(502, "5.5.1", "There are no lists here"),
            Command::Help => Reply::new(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT"),
            Command::Quit => {
                Reply::new(221, "2.0.0", "Goodbye").write(output);
                return Some(self.end());
            }
            Command::Http => {
                Reply::new(421, "4.7.0", "This is a mail server, not a web server").write(output);
                return Some(self.end());
            }
        };
        if reply.code == 503 {
            return self.refuse_nonsense(&reply, output);
        }
        self.say(&reply, output)
    }

    /// Says it; some replies are the last.
    fn say(&mut self, reply: &Reply, output: &mut BytesMut) -> Option<Step> {
        reply.write(output);
        if reply.code == 421 {
            return Some(self.end());
        }
        self.mode.is_tired().map(|last| {
            last.write(output);
            self.end()
        })
    }

    /// Whoever does not wait for answers does not read them, and sends what it would send to anybody.
    fn impatient(&mut self, output: &mut BytesMut) -> Option<Step> {
        Reply::new(554, "5.5.0", "You must wait for the answer to this command; goodbye").write(output);
        Some(self.end())
    }

    fn extensions(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.mode.size_limit());
        let ours = ["PIPELINING", &size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"];
        let mut lines = vec![self.mode.name().to_owned()];
        lines.extend(ours.map(str::to_owned));
        lines.extend(self.mode.extensions(&self.caller));
        lines
    }

    fn start_tls(&mut self, output: &mut BytesMut) -> Option<Step> {
        let reply = if self.caller.transport.encrypted {
            Reply::new(503, "5.5.1", "TLS is on already")
        } else if !self.caller.transport.can_start_tls {
            Reply::new(502, "5.5.1", "There is no TLS here")
        } else {
            Reply::new(220, "2.0.0", "Go ahead").write(output);
            return Some(Step::StartTls);
        };
        self.refuse_nonsense(&reply, output)
    }

    fn auth(
        &mut self,
        mechanism: Option<kith_connection::Mechanism>,
        initial: Option<InitialResponse>,
        output: &mut BytesMut,
    ) -> Option<Step> {
        let refusal = if let Err(refusal) = self.mode.may_log_in(&self.caller) {
            refusal
        } else if self.transaction.is_some() {
            Reply::new(503, "5.5.1", "Not within a mail; RSET ends it")
        } else if let Some(mechanism) = mechanism {
            let started = Exchange::start(mechanism, initial.as_ref().map(|response| response.0.as_slice()));
            return match started {
                Ok((exchange, reply)) => self.login(exchange, Ok(reply), output),
                Err(error) => self.refuse_nonsense(&sasl_reply(error), output),
            };
        } else {
            Reply::new(504, "5.5.4", "Only PLAIN and LOGIN are known; choose \"normal password\" in your mail program")
        };
        self.refuse_nonsense(&refusal, output)
    }

    fn login(
        &mut self,
        exchange: Exchange,
        outcome: Result<kith_connection::Reply, SaslError>,
        output: &mut BytesMut,
    ) -> Option<Step> {
        match outcome {
            Ok(kith_connection::Reply::Challenge(challenge)) => {
                // `334 ` with the space, also for the empty challenge (RFC 4954 §4).
                Reply::new(334, "", challenge).write(output);
                self.expects = Expects::Login(exchange);
                None
            }
            Ok(kith_connection::Reply::Done(credentials)) => Some(Step::Login(credentials)),
            Err(error) => self.refuse_nonsense(&sasl_reply(error), output),
        }
    }

    fn mail(&mut self, from: MailFrom) -> Reply {
        if self.caller.hello == Hello::None {
            return Reply::new(503, "5.5.1", "Say EHLO first");
        }
        if let Err(refusal) = self.mode.may_send(&self.caller) {
            return refusal;
        }
        if self.transaction.is_some() {
            return Reply::new(503, "5.5.1", "A mail has begun already; RSET ends it");
        }
        let limit = self.mode.size_limit();
        if from.size.is_some_and(|size| size > limit) {
            return incoming::too_large(limit);
        }
        if let Err(refusal) = self.mode.begin(&self.caller, &from) {
            return refusal;
        }
        self.transaction = Some(Transaction { from, recipients: Vec::new(), chunks: None });
        Reply::new(250, "2.1.0", "Sender accepted")
    }

    fn rcpt(&mut self, to: RcptTo) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return Reply::new(503, "5.5.1", "MAIL comes first");
        };
        if transaction.chunks.is_some() {
            return Reply::new(503, "5.5.1", "The mail has begun; its recipients come before");
        }
        if !transaction.from.smtputf8 && !to.address.is_ascii() {
            return Reply::new(553, "5.6.7", "An address with other letters than a-z needs the SMTPUTF8 parameter on MAIL");
        }
        self.mode.recipient(&self.caller, &transaction.from, &mut transaction.recipients, to)
    }

    fn data(&mut self) -> Reply {
        let Some(transaction) = &self.transaction else { return Reply::new(503, "5.5.1", "MAIL comes first") };
        if transaction.chunks.is_some() {
            return Reply::new(503, "5.5.1", "This mail comes in chunks; BDAT goes on");
        }
        if transaction.recipients.is_empty() {
            return no_recipients();
        }
        match Incoming::start(&self.store, self.mode.size_limit()) {
            Err(reply) => {
                self.transaction = None;
                reply
            }
            Ok(incoming) => {
                self.expects = Expects::Data(Box::new((DotDecoder::default(), incoming)));
                Reply::new(354, "", "The mail, please; a line with only a dot ends it")
            }
        }
    }

    /// The bytes come whatever is thought of them (RFC 3030 §2).
    fn bdat(&mut self, size: u64, last: bool) {
        let outcome = match &mut self.transaction {
            None => ChunkOutcome::Refuse(Reply::new(503, "5.5.1", "MAIL comes first")),
            Some(transaction) if transaction.recipients.is_empty() => ChunkOutcome::Refuse(no_recipients()),
            Some(Transaction { chunks: Some(_), .. }) => ChunkOutcome::Take { size, last },
            Some(transaction) => match Incoming::start(&self.store, self.mode.size_limit()) {
                Ok(incoming) => {
                    transaction.chunks = Some((LineEndCheck::default(), incoming));
                    ChunkOutcome::Take { size, last }
                }
                Err(reply) => ChunkOutcome::Refuse(reply),
            },
        };
        self.expects = Expects::Chunk { bytes: LiteralReader::new(size), outcome };
    }

    /// Takes what there is of a chunk; `true` when it is complete.
    fn chunk(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> bool {
        let Expects::Chunk { bytes, outcome } = &mut self.expects else { return true };
        let piece = bytes.take(input);
        if let (ChunkOutcome::Take { .. }, Some(transaction)) = (&*outcome, &mut self.transaction) {
            let Transaction { from, recipients, chunks } = transaction;
            if let Some((check, incoming)) = chunks {
                check.look(&piece);
                incoming.push(&piece, &mut |fields| self.mode.header(&self.caller, from, recipients, fields));
            }
        }
        if bytes.remaining() > 0 {
            return false;
        }
        let Expects::Chunk { outcome, .. } = std::mem::replace(&mut self.expects, Expects::Command) else { return true };
        let reply = match outcome {
            ChunkOutcome::Refuse(reply) => {
                self.transaction = None;
                reply
            }
            ChunkOutcome::Take { size, last } => self.chunk_taken(size, last),
        };
        self.say(&reply, output);
        true
    }

    fn chunk_taken(&mut self, size: u64, last: bool) -> Reply {
        let Some((check, incoming)) = self.transaction.as_mut().and_then(|transaction| transaction.chunks.as_mut()) else {
            return incoming::broken();
        };
        if last && check.has_bare() {
            incoming.refuse(bare_line_end());
        }
        if let Some(refusal) = incoming.refusal() {
            let refusal = refusal.clone();
            self.transaction = None;
            return refusal;
        }
        if !last {
            return Reply::new(250, "2.0.0", format!("{size} bytes received"));
        }
        match self.transaction.as_mut().and_then(|transaction| transaction.chunks.take()) {
            Some((_, incoming)) => self.complete(incoming),
            None => incoming::broken(),
        }
    }

    /// Takes what there is of a mail; `true` when it is complete.
    fn mail_data(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> bool {
        let Expects::Data(data) = &mut self.expects else { return true };
        let (decoder, incoming) = &mut **data;
        let mut mail = Vec::with_capacity(input.len());
        let used = decoder.decode(input, &mut mail);
        drop(input.split_to(used));
        if decoder.has_bare() {
            incoming.refuse(bare_line_end());
        }
        if let Some(Transaction { from, recipients, .. }) = &self.transaction {
            incoming.push(&mail, &mut |fields| self.mode.header(&self.caller, from, recipients, fields));
        }
        if !decoder.is_complete() {
            return false;
        }
        let Expects::Data(data) = std::mem::replace(&mut self.expects, Expects::Command) else { return true };
        let (_, incoming) = *data;
        let reply = self.complete(incoming);
        self.say(&reply, output);
        true
    }

    /// The mail is there: commits it. The reply is made only afterwards.
    fn complete(&mut self, incoming: Incoming) -> Reply {
        let Some(Transaction { from, recipients, .. }) = self.transaction.take() else { return incoming::broken() };
        match incoming.finish(&mut |fields| self.mode.header(&self.caller, &from, &recipients, fields)) {
            Ok(mail) => {
                let bytes = mail.clone();
                let reply = self.mode.commit(&self.caller, from, recipients, mail);
                // What was refused, or filed in another form, is not left lying here.
                bytes.forget();
                reply
            }
            Err(reply) => reply,
        }
    }

    /// Refuses what a sensible client does not send; too much of it ends the session.
    fn refuse_nonsense(&mut self, reply: &Reply, output: &mut BytesMut) -> Option<Step> {
        reply.write(output);
        self.nonsense += 1;
        (self.nonsense >= self.mode.nonsense_max()).then(|| {
            Reply::new(421, "4.7.0", "Too many commands that make no sense; goodbye").write(output);
            self.end()
        })
    }

    fn end(&mut self) -> Step {
        self.expects = Expects::Nothing;
        Step::Close
    }
}

/// Nothing but commands that begin an envelope, and few of them: none of a mail's bytes, and nothing that ends one.
fn begins_envelope(input: &[u8]) -> bool {
    let begins = |line: &[u8]| {
        let verb = line.get(..4).unwrap_or_default();
        [&b"MAIL"[..], b"RCPT", b"DATA", b"RSET", b"NOOP"].iter().any(|known| verb.eq_ignore_ascii_case(known))
    };
    input.len() <= BRIEF_BYTES && input.split_inclusive(|byte| *byte == b'\n').all(begins)
}

impl<M: Mode> kith_connection::Session for Session<M> {
    fn greet(&mut self, output: &mut BytesMut) {
        let greeting = self.mode.greeting();
        greeting.write(output);
        if greeting.is_refusal() {
            self.end();
        }
    }

    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Step {
        loop {
            if output.len() >= OUTPUT_BYTES {
                return Step::Continue;
            }
            let max = match &self.expects {
                Expects::Nothing => return Step::Close,
                Expects::Command => COMMAND_BYTES_MAX,
                Expects::Login(_) => AUTH_BYTES_MAX,
                Expects::Data(_) => match self.mail_data(input, output) {
                    true => continue,
                    false => return Step::Read(Waiting::Rest),
                },
                Expects::Chunk { .. } => match self.chunk(input, output) {
                    true => continue,
                    false => return Step::Read(Waiting::Rest),
                },
            };
            let step = match self.lines.take(input, max) {
                Taken::Incomplete => {
                    let midway = self.lines.is_midway(input);
                    return Step::Read(if midway { Waiting::Rest } else { Waiting::Command });
                }
                Taken::TooLong => {
                    self.expects = Expects::Command;
                    self.refuse_nonsense(&Reply::new(500, "5.5.2", "The line is too long"), output)
                }
                Taken::Line(line, end) => self.line(line, end, !input.is_empty(), output),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn is_brief(&self, input: &[u8]) -> bool {
        M::LOOKS_UP && matches!(self.expects, Expects::Command) && begins_envelope(input)
    }

    fn tls_started(&mut self) {
        let transport = Transport { encrypted: true, can_start_tls: false, ..self.caller.transport };
        self.caller = Caller { hello: Hello::None, name: String::new(), transport };
        self.mode.forget();
        self.transaction = None;
        self.lines = LineReader::new();
    }

    fn login_answered(&mut self, outcome: Result<Account, LoginRefusal>, output: &mut BytesMut) {
        let reply = self.mode.logged_in(outcome);
        self.say(&reply, output);
    }

    fn farewell(&mut self, ending: Ending, output: &mut BytesMut) {
        let reply = match ending {
            Ending::TimedOut => Reply::new(421, "4.4.2", "Too slow; goodbye"),
            Ending::ShuttingDown => Reply::new(421, "4.3.2", "This node is stopping; try again later"),
            Ending::Evicted => Reply::new(421, "4.7.0", "Too many connections; try again later"),
        };
        reply.write(output);
        self.end();
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, enhanced: refusal.enhanced, text: refusal.text }
    }
}

/// RFC 2920 §3.1: what a client must not send anything behind before it has the answer.
fn must_be_last(command: &Command) -> bool {
    matches!(command, Command::Ehlo(_) | Command::Helo(_) | Command::Data | Command::StartTls)
}

fn no_recipients() -> Reply {
    Reply::new(554, "5.5.1", "No recipient was accepted")
}

fn bare_line_end() -> Reply {
    let text =
        "The mail has a carriage return or line feed on its own, which could smuggle another mail; its lines must end with CR LF";
    Reply::new(550, "5.5.2", text)
}

fn sasl_reply(error: SaslError) -> Reply {
    match error {
        SaslError::Cancelled => Reply::new(501, "5.7.0", "Login cancelled"),
        SaslError::NotBase64 | SaslError::Malformed => Reply::new(501, "5.5.2", error.to_string()),
        SaslError::OtherIdentity => Reply::new(535, "5.7.8", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_brief_and_a_mail_is_not() {
        assert!(begins_envelope(b"mail FROM:<a@b>\r\n"));
        assert!(begins_envelope(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"));
        for more in
            [&b"DATA\r\nSubject: x\r\n\r\n.\r\n"[..], b"RSET\r\n.\r\n", b"BDAT 2 LAST\r\nab", b"AUTH PLAIN\r\n", b"\r\n", b"MA"]
        {
            assert!(!begins_envelope(more), "{}", more.escape_ascii());
        }
        assert!(!begins_envelope(&b"RCPT TO:<somebody@example.org>\r\n".repeat(100)));
    }
}
