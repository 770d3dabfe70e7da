//! The conversation, without a socket: bytes in, bytes out. Listings and messages leave in pieces, so that memory stays bounded.

mod maildrop;

use std::fmt::Display;
use std::io::{Read, Write};

use bytes::{BufMut, BytesMut};
use kith_connection::{
    Credentials, Ending, Exchange, LineReader, LoginRefusal, Mechanism, Reply, SaslError, Step, Taken, Waiting,
};
use kith_store::account::Account;
use kith_store::blob::BlobReader;
use kith_store::{Store, StoreError};
use tracing::error;
use zeroize::Zeroizing;

use crate::command::{COMMAND_BYTES_MAX, Command};
use crate::message::{Encoder, Part};
use maildrop::Maildrop;

/// Longest line in a login exchange, bytes.
const AUTH_BYTES_MAX: usize = 4096;
/// Commands that make no sense, before the session ends.
const NONSENSE_MAX: u32 = 100;
/// As above, before the login.
const NONSENSE_BEFORE_LOGIN_MAX: u32 = 20;
/// Failed logins, before the session ends.
const FAILED_LOGINS_MAX: u32 = 5;
/// Output is handed on when there are so many bytes of it.
const OUTPUT_BYTES: usize = 64 * 1024;
/// A message is read in pieces of so many bytes.
const PIECE_BYTES: usize = 32 * 1024;

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
    store: Store,
    transport: Transport,
    lines: LineReader,
    state: State,
    nonsense: u32,
    failed_logins: u32,
}

/// RFC 1939 §3, with what is under way.
enum State {
    /// Not logged in; the name, once USER has told it.
    Authorization(Option<Vec<u8>>),
    /// In a login exchange.
    Exchange(Exchange),
    /// The password was right; the maildrop is opened next.
    Opening(Account),
    /// Logged in.
    Transaction(Maildrop),
    /// An answer of many lines is going out.
    Listing(Maildrop, Listing, usize),
    /// A message is going out.
    Sending(Maildrop, Encoder, BlobReader),
    /// It is over.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Sizes,
    UniqueIds,
}

impl Session {
    /// Starts before the greeting.
    #[must_use]
    pub fn new(store: Store, transport: Transport) -> Self {
        Self { store, transport, lines: LineReader::new(), state: State::Authorization(None), nonsense: 0, failed_logins: 0 }
    }

    fn line(&mut self, line: &[u8], output: &mut BytesMut) -> Option<Step> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Exchange(mut exchange) => {
                self.state = State::Authorization(None);
                let outcome = exchange.respond(line);
                self.login(exchange, outcome, output)
            }
            State::Transaction(maildrop) => match Command::parse(line) {
                Ok(command) => self.transaction(command, maildrop, output),
                Err(error) => {
                    self.state = State::Transaction(maildrop);
                    self.refuse_nonsense(error, output)
                }
            },
            State::Authorization(name) => match Command::parse(line) {
                Ok(command) => self.authorization(command, name, output),
                Err(error) => {
                    self.state = State::Authorization(name);
                    self.refuse_nonsense(error, output)
                }
            },
            // In the other states no line is taken.
            state @ (State::Opening(_) | State::Listing(..) | State::Sending(..) | State::Ended) => {
                self.state = state;
                None
            }
        }
    }

    fn authorization(&mut self, command: Command, name: Option<Vec<u8>>, output: &mut BytesMut) -> Option<Step> {
        self.state = State::Authorization(None);
        match command {
            Command::Capa => {
                self.state = State::Authorization(name);
                self.capabilities(output);
                None
            }
            Command::Utf8 => {
                ok("Mail is sent as it is, in UTF-8 too", output);
                None
            }
            Command::Stls if self.transport.can_start_tls => {
                ok("Go ahead", output);
                Some(Step::StartTls)
            }
            Command::Stls if self.transport.encrypted => self.refuse_nonsense("TLS is on already", output),
            Command::Stls => self.refuse_nonsense("There is no TLS here", output),
            Command::Quit => {
                ok("Goodbye", output);
                Some(self.end())
            }
            Command::User(_) | Command::Pass(_) | Command::Auth(Some(_), _) if !self.may_log_in() => self.refuse_nonsense(
                "[AUTH] A password may not travel in the clear; choose STARTTLS in your mail program's settings",
                output,
            ),
            Command::User(name) => {
                self.state = State::Authorization(Some(name));
                ok("And the password?", output);
                None
            }
            Command::Pass(password) => self.pass(name, &password, output),
            Command::Auth(None, _) => {
                ok("These are the mechanisms", output);
                output.extend_from_slice(b"PLAIN\r\n.\r\n");
                None
            }
            Command::Auth(Some(None), _) => {
                self.refuse_nonsense("Only PLAIN is known; choose \"normal password\" in your mail program", output)
            }
            Command::Auth(Some(Some(mechanism)), initial) => self.auth(mechanism, initial.as_ref(), output),
            Command::Stat
            | Command::List(_)
            | Command::Uidl(_)
            | Command::Retr(_)
            | Command::Top(..)
            | Command::Dele(_)
            | Command::Rset
            | Command::Noop => self.refuse_nonsense("Log in first", output),
        }
    }

    fn pass(&mut self, name: Option<Vec<u8>>, password: &[u8], output: &mut BytesMut) -> Option<Step> {
        let Some(name) = name else { return self.refuse_nonsense("USER comes first", output) };
        match Credentials::new(&name, password) {
            Ok(credentials) => Some(Step::Login(credentials)),
            Err(_) => self.refuse_nonsense("[AUTH] Wrong name or password", output),
        }
    }

    fn auth(&mut self, mechanism: Mechanism, initial: Option<&Zeroizing<Vec<u8>>>, output: &mut BytesMut) -> Option<Step> {
        match Exchange::start(mechanism, initial.map(|initial| initial.as_slice())) {
            Ok((exchange, reply)) => self.login(exchange, Ok(reply), output),
            Err(error) => self.refuse_nonsense(error, output),
        }
    }

    fn login(&mut self, exchange: Exchange, outcome: Result<Reply, SaslError>, output: &mut BytesMut) -> Option<Step> {
        match outcome {
            Ok(Reply::Challenge(challenge)) => {
                line(format_args!("+ {challenge}"), output);
                self.state = State::Exchange(exchange);
                None
            }
            Ok(Reply::Done(credentials)) => Some(Step::Login(credentials)),
            Err(error) => self.refuse_nonsense(error, output),
        }
    }

    fn transaction(&mut self, command: Command, mut maildrop: Maildrop, output: &mut BytesMut) -> Option<Step> {
        let refused = match command {
            Command::Stat => {
                let (count, bytes) = maildrop.totals();
                ok(format_args!("{count} {bytes}"), output);
                None
            }
            Command::List(None) => {
                let (count, bytes) = maildrop.totals();
                ok(format_args!("{count} messages, {bytes} bytes"), output);
                self.state = State::Listing(maildrop, Listing::Sizes, 1);
                return None;
            }
            Command::Uidl(None) => {
                ok("These are their names", output);
                self.state = State::Listing(maildrop, Listing::UniqueIds, 1);
                return None;
            }
            Command::List(Some(number)) => one_line(&maildrop, Listing::Sizes, number, output),
            Command::Uidl(Some(number)) => one_line(&maildrop, Listing::UniqueIds, number, output),
            Command::Retr(number) => return self.send(maildrop, number, Part::Whole, output),
            Command::Top(number, lines) => return self.send(maildrop, number, Part::Top(lines), output),
            Command::Dele(number) if maildrop.delete(number) => {
                ok("Will be deleted at QUIT", output);
                None
            }
            Command::Dele(_) => Some(NO_MESSAGE),
            Command::Rset => {
                maildrop.undelete_all();
                ok("Nothing will be deleted", output);
                None
            }
            Command::Noop => {
                ok("Here I am", output);
                None
            }
            Command::Capa => {
                self.capabilities(output);
                None
            }
            Command::Quit => return Some(self.quit(&maildrop, output)),
            Command::User(_) | Command::Pass(_) | Command::Auth(..) | Command::Stls | Command::Utf8 => {
                Some("You are logged in already")
            }
        };
        self.state = State::Transaction(maildrop);
        refused.and_then(|text| self.refuse_nonsense(text, output))
    }

    /// Deletes what is marked: durable before the client hears of it.
    fn quit(&mut self, maildrop: &Maildrop, output: &mut BytesMut) -> Step {
        match maildrop.commit(&self.store) {
            Ok(()) => ok("Goodbye", output),
            Err(failure) => {
                error!(error = %failure, "cannot delete messages");
                no("[SYS/TEMP] The messages could not be deleted; they are still there", output);
            }
        }
        self.end()
    }

    fn send(&mut self, maildrop: Maildrop, number: usize, part: Part, output: &mut BytesMut) -> Option<Step> {
        let Some(message) = maildrop.message(number) else {
            self.state = State::Transaction(maildrop);
            return self.refuse_nonsense(NO_MESSAGE, output);
        };
        match self.store.blob(&message.hash) {
            Ok(reader) => {
                ok(format_args!("{} bytes", message.size), output);
                self.state = State::Sending(maildrop, Encoder::new(part), reader);
            }
            Err(StoreError::NotFound(_)) => {
                no("Another program has deleted that message meanwhile", output);
                self.state = State::Transaction(maildrop);
            }
            Err(failure) => {
                error!(error = %failure, "cannot read a message");
                no("[SYS/TEMP] The message cannot be read; look at the node's log", output);
                self.state = State::Transaction(maildrop);
            }
        }
        None
    }

    /// Goes on with what is going out; `None` when it is through.
    fn go_on(&mut self, output: &mut BytesMut) -> Option<Step> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Opening(account) => self.open(&account, output),
            State::Listing(maildrop, listing, from) => {
                let mut number = from;
                while number <= maildrop.len() && output.len() < OUTPUT_BYTES {
                    if let Some(message) = maildrop.message(number) {
                        write_entry(&maildrop, listing, number, message, output);
                    }
                    number += 1;
                }
                self.state = if number > maildrop.len() {
                    output.extend_from_slice(b".\r\n");
                    State::Transaction(maildrop)
                } else {
                    State::Listing(maildrop, listing, number)
                };
                None
            }
            State::Sending(maildrop, mut encoder, mut reader) => {
                let mut piece = vec![0; PIECE_BYTES];
                loop {
                    if output.len() >= OUTPUT_BYTES {
                        self.state = State::Sending(maildrop, encoder, reader);
                        return None;
                    }
                    let read = match reader.read(&mut piece) {
                        Ok(read) => read,
                        Err(failure) => {
                            // A whole message must not seem to have come: the connection ends without the final dot.
                            error!(error = %failure, "cannot read a message");
                            return Some(self.end());
                        }
                    };
                    let wants_more = encoder.push(piece.get(..read).unwrap_or_default(), output);
                    if read == 0 || !wants_more {
                        encoder.finish(output);
                        self.state = State::Transaction(maildrop);
                        return None;
                    }
                }
            }
            state => {
                self.state = state;
                None
            }
        }
    }

    fn open(&mut self, account: &Account, output: &mut BytesMut) -> Option<Step> {
        match Maildrop::open(&self.store, account.id) {
            Ok(maildrop) => {
                let (count, bytes) = maildrop.totals();
                ok(format_args!("{count} messages, {bytes} bytes"), output);
                self.state = State::Transaction(maildrop);
                None
            }
            Err(failure) => {
                error!(error = %failure, "cannot open an inbox");
                no("[SYS/TEMP] The inbox cannot be opened; look at the node's log", output);
                Some(self.end())
            }
        }
    }

    fn capabilities(&self, output: &mut BytesMut) {
        ok("This is what there is", output);
        let in_authorization = matches!(self.state, State::Authorization(_));
        if in_authorization && self.transport.can_start_tls {
            output.extend_from_slice(b"STLS\r\n");
        }
        if in_authorization && self.may_log_in() {
            output.extend_from_slice(b"USER\r\nSASL PLAIN\r\n");
        }
        output.extend_from_slice(
            b"TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nUTF8 USER\r\nIMPLEMENTATION Kith\r\n.\r\n",
        );
    }

    fn may_log_in(&self) -> bool {
        self.transport.encrypted || self.transport.loopback
    }

    /// Refuses what a sensible client does not send; too much of it ends the session.
    fn refuse_nonsense(&mut self, text: impl Display, output: &mut BytesMut) -> Option<Step> {
        no(text, output);
        self.nonsense += 1;
        let max = if matches!(self.state, State::Authorization(_)) { NONSENSE_BEFORE_LOGIN_MAX } else { NONSENSE_MAX };
        (self.nonsense >= max).then(|| self.end())
    }

    fn end(&mut self) -> Step {
        self.state = State::Ended;
        Step::Close
    }
}

impl kith_connection::Session for Session {
    fn greet(&mut self, output: &mut BytesMut) {
        ok("Kith POP3", output);
    }

    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Step {
        loop {
            if output.len() >= OUTPUT_BYTES {
                return Step::Continue;
            }
            let max = match &self.state {
                State::Ended => return Step::Close,
                State::Opening(_) | State::Listing(..) | State::Sending(..) => match self.go_on(output) {
                    Some(step) => return step,
                    None => continue,
                },
                State::Exchange(_) => AUTH_BYTES_MAX,
                State::Authorization(_) | State::Transaction(_) => COMMAND_BYTES_MAX,
            };
            let step = match self.lines.take(input, max) {
                Taken::Incomplete => {
                    let midway = self.lines.is_midway(input);
                    return Step::Read(if midway { Waiting::Rest } else { Waiting::Command });
                }
                Taken::TooLong => {
                    if matches!(self.state, State::Exchange(_)) {
                        self.state = State::Authorization(None);
                    }
                    self.refuse_nonsense("The line is too long", output)
                }
                Taken::Line(mut line, _) => {
                    let step = self.line(&line, output);
                    // It may hold a password.
                    line.fill(0);
                    step
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn tls_started(&mut self) {
        self.transport = Transport { encrypted: true, can_start_tls: false, ..self.transport };
        self.state = State::Authorization(None);
        self.lines = LineReader::new();
    }

    fn login_answered(&mut self, outcome: Result<Account, LoginRefusal>, output: &mut BytesMut) {
        let refusal = match outcome {
            Ok(account) => {
                self.state = State::Opening(account);
                return;
            }
            Err(refusal) => refusal,
        };
        self.failed_logins += 1;
        match refusal {
            LoginRefusal::Wrong => no("[AUTH] Wrong name or password", output),
            LoginRefusal::TooMany | LoginRefusal::Unavailable => no(format_args!("[SYS/TEMP] {refusal}"), output),
        }
        if self.failed_logins >= FAILED_LOGINS_MAX {
            self.end();
        }
    }

    fn farewell(&mut self, ending: Ending, output: &mut BytesMut) {
        match ending {
            // RFC 1939 §3: without a response.
            Ending::TimedOut => {}
            Ending::ShuttingDown => no("[SYS/TEMP] This node is stopping; try again later", output),
            Ending::Evicted => no("[SYS/TEMP] Too many connections; try again later", output),
        }
        self.end();
    }
}

const NO_MESSAGE: &str = "There is no such message";

fn one_line(maildrop: &Maildrop, listing: Listing, number: usize, output: &mut BytesMut) -> Option<&'static str> {
    let Some(message) = maildrop.message(number) else { return Some(NO_MESSAGE) };
    output.extend_from_slice(b"+OK ");
    write_entry(maildrop, listing, number, message, output);
    None
}

fn write_entry(maildrop: &Maildrop, listing: Listing, number: usize, message: &maildrop::Message, output: &mut BytesMut) {
    match listing {
        Listing::Sizes => line(format_args!("{number} {}", message.size), output),
        Listing::UniqueIds => line(format_args!("{number} {}", maildrop.unique_id(message)), output),
    }
}

fn ok(text: impl Display, output: &mut BytesMut) {
    line(format_args!("+OK {text}"), output);
}

fn no(text: impl Display, output: &mut BytesMut) {
    line(format_args!("-ERR {text}"), output);
}

fn line(text: impl Display, output: &mut BytesMut) {
    // Writing to a buffer in memory cannot fail.
    let _written = write!(output.writer(), "{text}\r\n");
}
