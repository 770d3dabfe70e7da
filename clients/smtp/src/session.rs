//! The conversation, without a socket: bytes in, bytes out.
//!
//! Every command line gets exactly one reply, in order, so that pipelining (RFC 2920) needs nothing of its own. A transaction ends with its
//! mail, whatever became of it.

mod incoming;

use std::sync::Arc;

use bytes::BytesMut;
use kith_connection::{Ending, Exchange, LineEnd, LineReader, LiteralReader, LoginRefusal, SaslError, Step, Taken, Waiting};
use kith_store::Store;
use kith_store::account::Account;

use crate::command::{COMMAND_BYTES_MAX, Command, InitialResponse, MailFrom, RcptTo};
use crate::data::{DotDecoder, LineEndCheck};
use crate::policy::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy, Refusal};
use crate::reply::{Reply, write_lines};
use incoming::{Incoming, Sender};

/// Longest line in a login exchange, bytes.
const AUTH_BYTES_MAX: usize = 4096;
/// Recipients of one mail.
pub const RECIPIENTS_MAX: usize = 1000;
/// Commands that make no sense, before the session ends.
const NONSENSE_MAX: u32 = 100;
/// As above, before the login.
const NONSENSE_BEFORE_LOGIN_MAX: u32 = 20;
/// Failed logins, before the session ends.
const FAILED_LOGINS_MAX: u32 = 5;
/// Replies are handed on when there are so many bytes of them.
const OUTPUT_BYTES: usize = 32 * 1024;

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

/// A client's session.
pub struct Session {
    policy: Arc<dyn Policy>,
    store: Store,
    transport: Transport,
    lines: LineReader,
    expects: Expects,
    hello: Hello,
    account: Option<Account>,
    transaction: Option<Transaction>,
    nonsense: u32,
    failed_logins: u32,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    None,
    Helo,
    Ehlo,
}

struct Transaction {
    from: MailFrom,
    recipients: Vec<AcceptedRecipient>,
    chunks: Option<(LineEndCheck, Incoming)>,
}

impl Session {
    /// Starts before the greeting.
    #[must_use]
    pub fn new(store: Store, policy: Arc<dyn Policy>, transport: Transport) -> Self {
        Self {
            policy,
            store,
            transport,
            lines: LineReader::new(),
            expects: Expects::Command,
            hello: Hello::None,
            account: None,
            transaction: None,
            nonsense: 0,
            failed_logins: 0,
        }
    }

    fn line(&mut self, mut line: BytesMut, end: LineEnd, output: &mut BytesMut) -> Option<Step> {
        let expects = std::mem::replace(&mut self.expects, Expects::Command);
        let step = if end == LineEnd::Lf {
            let reply = Reply::new(500, "5.5.2", "Lines end with CR LF here, not with LF alone");
            self.refuse_nonsense(&reply, output)
        } else if let Expects::Login(mut exchange) = expects {
            let outcome = exchange.respond(&line);
            self.login(exchange, outcome, output)
        } else {
            match Command::parse(&line) {
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
            Command::Ehlo(_) => {
                self.transaction = None;
                self.hello = Hello::Ehlo;
                write_lines(250, &self.extensions(), output);
                return None;
            }
            Command::Helo(_) => {
                self.transaction = None;
                self.hello = Hello::Helo;
                Reply::new(250, "", "kith.alt")
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
        reply.write(output);
        None
    }

    fn extensions(&self) -> Vec<String> {
        let mut lines = vec![
            "kith.alt".to_owned(),
            "PIPELINING".to_owned(),
            format!("SIZE {}", self.policy.size_limit()),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
            "CHUNKING".to_owned(),
            "DSN".to_owned(),
            format!("LIMITS RCPTMAX={RECIPIENTS_MAX}"),
        ];
        if self.transport.can_start_tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.may_log_in() && self.account.is_none() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        lines
    }

    fn may_log_in(&self) -> bool {
        self.transport.encrypted || self.transport.loopback
    }

    fn start_tls(&mut self, output: &mut BytesMut) -> Option<Step> {
        let reply = if self.transport.encrypted {
            Reply::new(503, "5.5.1", "TLS is on already")
        } else if !self.transport.can_start_tls {
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
        let refusal = if self.hello != Hello::Ehlo {
            Reply::new(503, "5.5.1", "Say EHLO first")
        } else if self.account.is_some() {
            Reply::new(503, "5.5.1", "You are logged in already")
        } else if self.transaction.is_some() {
            Reply::new(503, "5.5.1", "Not within a mail; RSET ends it")
        } else if !self.may_log_in() {
            let text = "A password may not travel in the clear; choose STARTTLS in your mail program's settings";
            Reply::new(538, "5.7.11", text)
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
        if self.hello == Hello::None {
            return Reply::new(503, "5.5.1", "Say EHLO first");
        }
        let Some(account) = &self.account else { return self.login_first() };
        if self.transaction.is_some() {
            return Reply::new(503, "5.5.1", "A mail has begun already; RSET ends it");
        }
        let limit = self.policy.size_limit();
        if from.size.is_some_and(|size| size > limit) {
            return incoming::too_large(limit);
        }
        if let Err(refusal) = self.policy.may_send_as(account, &from.reverse_path) {
            return refusal.into();
        }
        self.transaction = Some(Transaction { from, recipients: Vec::new(), chunks: None });
        Reply::new(250, "2.1.0", "Sender accepted")
    }

    fn login_first(&self) -> Reply {
        if self.may_log_in() {
            Reply::new(530, "5.7.0", "Log in first; switch on authentication for outgoing mail in your mail program's settings")
        } else {
            Reply::new(530, "5.7.0", "Start TLS and log in first; choose STARTTLS in your mail program's settings")
        }
    }

    fn rcpt(&mut self, to: RcptTo) -> Reply {
        let (Some(account), Some(transaction)) = (&self.account, &mut self.transaction) else {
            return Reply::new(503, "5.5.1", "MAIL comes first");
        };
        if transaction.chunks.is_some() {
            return Reply::new(503, "5.5.1", "The mail has begun; its recipients come before");
        }
        if transaction.recipients.len() >= RECIPIENTS_MAX {
            let text = format!("A mail has at most {RECIPIENTS_MAX} recipients; send it to the others as another mail");
            return Reply::new(452, "4.5.3", text);
        }
        if !transaction.from.smtputf8 && !to.address.is_ascii() {
            return Reply::new(553, "5.6.7", "An address with other letters than a-z needs the SMTPUTF8 parameter on MAIL");
        }
        match self.policy.recipient(account, &to.address, &to.params) {
            Err(refusal) => refusal.into(),
            Ok(route) => {
                // Named twice, it still gets the mail once.
                if !transaction.recipients.iter().any(|other| other.route == route) {
                    let RcptTo { address, params } = to;
                    let recipient = AcceptedRecipient { route, typed: address, notify: params.notify, orcpt: params.orcpt };
                    transaction.recipients.push(recipient);
                }
                Reply::new(250, "2.1.5", "Recipient accepted")
            }
        }
    }

    fn data(&mut self) -> Reply {
        let Some(transaction) = &self.transaction else { return Reply::new(503, "5.5.1", "MAIL comes first") };
        if transaction.chunks.is_some() {
            return Reply::new(503, "5.5.1", "This mail comes in chunks; BDAT goes on");
        }
        if transaction.recipients.is_empty() {
            return no_recipients();
        }
        match Incoming::start(&self.store, &*self.policy) {
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
            Some(transaction) => match Incoming::start(&self.store, &*self.policy) {
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
        if let (ChunkOutcome::Take { .. }, Some(transaction), Some(account)) = (&*outcome, &mut self.transaction, &self.account)
            && let Some((check, incoming)) = &mut transaction.chunks
        {
            check.look(&piece);
            incoming.push(&piece, &Sender { account, reverse_path: &transaction.from.reverse_path, policy: &*self.policy });
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
        reply.write(output);
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
        if let (Some(account), Some(transaction)) = (&self.account, &self.transaction) {
            incoming.push(&mail, &Sender { account, reverse_path: &transaction.from.reverse_path, policy: &*self.policy });
        }
        if !decoder.is_complete() {
            return false;
        }
        let Expects::Data(data) = std::mem::replace(&mut self.expects, Expects::Command) else { return true };
        let (_, incoming) = *data;
        self.complete(incoming).write(output);
        true
    }

    /// The mail is there: commits it. The reply is made only afterwards.
    fn complete(&mut self, incoming: Incoming) -> Reply {
        let (Some(account), Some(transaction)) = (&self.account, self.transaction.take()) else { return incoming::broken() };
        let sender = Sender { account, reverse_path: &transaction.from.reverse_path, policy: &*self.policy };
        let mail = match incoming.finish(&sender) {
            Ok(mail) => mail,
            Err(reply) => return reply,
        };
        let from = transaction.from;
        let accepted = AcceptedMail {
            account: account.clone(),
            reverse_path: from.reverse_path,
            recipients: transaction.recipients,
            mail,
            envid: from.envid,
            ret_full: from.ret_full,
            smtputf8: from.smtputf8,
        };
        match self.policy.commit(accepted) {
            Ok(name) => Reply::new(250, "2.6.0", format!("Mail accepted, queued as {name}")),
            Err(CommitRefusal::Full) => incoming::full(),
            Err(CommitRefusal::Broken) => incoming::broken(),
            Err(CommitRefusal::Refused(refusal)) => refusal.into(),
        }
    }

    /// Refuses what a sensible client does not send; too much of it ends the session.
    fn refuse_nonsense(&mut self, reply: &Reply, output: &mut BytesMut) -> Option<Step> {
        reply.write(output);
        self.nonsense += 1;
        let max = if self.account.is_some() { NONSENSE_MAX } else { NONSENSE_BEFORE_LOGIN_MAX };
        (self.nonsense >= max).then(|| {
            Reply::new(421, "4.7.0", "Too many commands that make no sense; goodbye").write(output);
            self.end()
        })
    }

    fn end(&mut self) -> Step {
        self.expects = Expects::Nothing;
        Step::Close
    }
}

impl kith_connection::Session for Session {
    fn greet(&mut self, output: &mut BytesMut) {
        Reply::new(220, "", "kith.alt ESMTP Kith").write(output);
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
                Taken::Line(line, end) => self.line(line, end, output),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn tls_started(&mut self) {
        self.transport = Transport { encrypted: true, can_start_tls: false, ..self.transport };
        self.hello = Hello::None;
        self.account = None;
        self.transaction = None;
        self.lines = LineReader::new();
    }

    fn login_answered(&mut self, outcome: Result<Account, LoginRefusal>, output: &mut BytesMut) {
        let reply = match outcome {
            Ok(account) => {
                self.account = Some(account);
                Reply::new(235, "2.7.0", "Welcome")
            }
            Err(LoginRefusal::Wrong) => Reply::new(535, "5.7.8", "Wrong name or password"),
            Err(refusal @ LoginRefusal::TooMany) => Reply::new(454, "4.7.0", refusal.to_string()),
            Err(refusal @ LoginRefusal::Unavailable) => Reply::new(454, "4.3.0", refusal.to_string()),
        };
        reply.write(output);
        if reply.is_refusal() {
            self.failed_logins += 1;
            if self.failed_logins >= FAILED_LOGINS_MAX {
                Reply::new(421, "4.7.0", "Too many failed logins; goodbye").write(output);
                self.end();
            }
        }
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
