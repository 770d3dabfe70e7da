//! The session as the connection's driver sees it: steps, logins, last words; and what is handed over, compressed where that was asked for.

use bytes::{Bytes, BytesMut};
use kith_connection::{Ending, LoginRefusal, News, Step};
use kith_store::account::Account;

use super::{Compression, Doing, Link, Session};
use crate::compress::Compressor;
use crate::frame::Framer;
use crate::limits::{COMMAND_BYTES, COMMAND_BYTES_BEFORE_LOGIN, OUTPUT_BYTES, OUTPUT_BYTES_IDLE, OUTPUT_BYTES_MAX};
use crate::response::Completion;

impl kith_connection::Session for Session {
    fn greet(&mut self, output: &mut BytesMut) {
        let greeting = Completion::ok("Kith is ready").with_code(self.capabilities());
        greeting.write(&mut self.out, "*");
        self.hand_over(output);
    }

    fn step(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Step {
        if matches!(self.compression, Compression::Off) && self.out.is_empty() && output.is_empty() {
            // What is said is written where it goes to.
            self.out = std::mem::take(output).into();
        }
        let step = match std::mem::replace(&mut self.compression, Compression::Off) {
            Compression::On(compressor) => self.run_compressed(compressor, input),
            Compression::Off | Compression::Starting => self.run(input),
        };
        self.hand_over(output);
        step
    }

    fn tls_started(&mut self) {
        self.link = Link { may_log_in: true, can_start_tls: false };
        self.framer = Framer::new(COMMAND_BYTES_BEFORE_LOGIN);
    }

    fn login_answered(&mut self, outcome: Result<Account, LoginRefusal>, output: &mut BytesMut) {
        if let Doing::LoggingIn { tag } = std::mem::take(&mut self.doing) {
            let completion = match outcome {
                Ok(account) => {
                    self.without = self.shared.without.of(&account.name);
                    self.account = Some(account);
                    self.framer.set_limit(COMMAND_BYTES);
                    Completion::ok("Logged in").with_code(self.capabilities())
                }
                Err(refusal) => {
                    let code = match refusal {
                        LoginRefusal::Wrong => "AUTHENTICATIONFAILED",
                        LoginRefusal::TooMany => "LIMIT",
                        LoginRefusal::Unavailable => "UNAVAILABLE",
                    };
                    Completion::no(code, refusal.to_string())
                }
            };
            completion.write(&mut self.out, &tag);
            if self.account.is_none() {
                self.count_failed_login();
            }
        }
        self.hand_over(output);
    }

    fn taken(&mut self, quickly: bool) {
        self.room = if quickly { (2 * self.room).min(OUTPUT_BYTES_MAX) } else { OUTPUT_BYTES };
    }

    fn news(&mut self) -> Option<News> {
        self.listener().map(|listener| Box::pin(listener) as News)
    }

    fn farewell(&mut self, ending: Ending, output: &mut BytesMut) {
        // In the middle of an answer, one more line would become part of it.
        if matches!(self.doing, Doing::Fetching(_)) {
            return;
        }
        match ending {
            Ending::TimedOut => self.bye("You were silent for too long"),
            Ending::ShuttingDown => self.bye("The node is stopping"),
            Ending::Evicted => self.bye("The place is needed for somebody else"),
        }
        self.hand_over(output);
    }
}

impl Session {
    /// A step on input that has to be unpacked first.
    fn run_compressed(&mut self, mut compressor: Box<Compressor>, input: &mut BytesMut) -> Step {
        let unpacked = compressor.unpack(input);
        let mut plain = std::mem::take(&mut compressor.unpacked);
        let step = self.run(&mut plain);
        compressor.unpacked = plain;
        self.compression = Compression::On(compressor);
        match (unpacked, step) {
            (Err(error), Step::Read(_)) => {
                self.bye(&error.to_string());
                Step::Close
            }
            // There is more to unpack.
            (Ok(()), Step::Read(_)) if !input.is_empty() => Step::Continue,
            (_, step) => step,
        }
    }

    fn hand_over(&mut self, output: &mut BytesMut) {
        match &mut self.compression {
            Compression::Off if output.is_empty() => *output = Bytes::from(std::mem::take(&mut self.out)).into(),
            Compression::Off => output.extend_from_slice(&self.out),
            Compression::Starting => {
                output.extend_from_slice(&self.out);
                self.compression = Compression::On(Box::new(Compressor::new()));
            }
            Compression::On(_) if self.out.is_empty() => {}
            Compression::On(compressor) => compressor.pack(&self.out, output),
        }
        self.out.clear();
        // A burst should not be paid for during the silence after it.
        let silent = matches!(self.doing, Doing::Nothing | Doing::Idling { .. });
        if silent {
            self.room = OUTPUT_BYTES;
        }
        self.out.shrink_to(if silent { OUTPUT_BYTES_IDLE } else { self.room });
    }
}
