//! Getting in and out: CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ENABLE, ID, LOGOUT.

use kith_connection::{Credentials, Exchange, Mechanism, Reply, SaslError, Step};

use super::{Completion, Compression, Doing, Received, Refused, Session};
use crate::capability;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::response::put;

/// What ENABLE knows.
const ENABLABLE: [&str; 4] = ["CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "IMAP4rev2"];

impl Session {
    pub(super) fn capabilities(&self) -> String {
        let mut text = String::from("CAPABILITY");
        if self.account.is_some() {
            for name in capability::after_login(&self.without) {
                text.push(' ');
                text.push_str(name);
                if name == "APPENDLIMIT" {
                    text.push_str(&format!("={MESSAGE_BYTES_MAX}"));
                }
            }
            return text;
        }
        let mut add = |name: &str| {
            text.push(' ');
            text.push_str(name);
        };
        capability::before_login().for_each(&mut add);
        if self.link.can_start_tls {
            add("STARTTLS");
        }
        add(if self.link.may_log_in { "AUTH=PLAIN" } else { "LOGINDISABLED" });
        text
    }

    pub(super) fn capability(&mut self) -> Completion {
        let capabilities = self.capabilities();
        put!(&mut self.out, "* {capabilities}\r\n");
        Completion::ok("CAPABILITY completed")
    }

    pub(super) fn id(&mut self) -> Completion {
        put!(&mut self.out, "* ID (\"name\" \"Kith\" \"version\" \"{}\")\r\n", env!("CARGO_PKG_VERSION"));
        Completion::ok("ID completed")
    }

    pub(super) fn enable(&mut self, names: &[String]) -> Result<Completion, Refused> {
        self.account_id()?;
        let mut enabled: Vec<&str> = Vec::new();
        for name in names.iter().filter_map(|name| ENABLABLE.into_iter().find(|known| known.eq_ignore_ascii_case(name))) {
            if enabled.contains(&name) || self.without.contains(name) {
                continue;
            }
            match name {
                "CONDSTORE" => self.enabled.condstore = true,
                "UTF8=ACCEPT" => self.enabled.utf8 = true,
                "IMAP4rev2" => self.enabled.rev2 = true,
                // RFC 7162 §3.2.3: QRESYNC implies CONDSTORE.
                _ => (self.enabled.condstore, self.enabled.qresync) = (true, true),
            }
            enabled.push(name);
        }
        put!(&mut self.out, "* ENABLED");
        for name in enabled {
            put!(&mut self.out, " {name}");
        }
        put!(&mut self.out, "\r\n");
        Ok(Completion::ok("ENABLE completed"))
    }

    /// RFC 3501 §6.1.3: BYE first, then the tagged OK, then the end.
    pub(super) fn logout(&mut self, tag: &str) -> Doing {
        self.bye("Goodbye");
        Completion::ok("LOGOUT completed").write(&mut self.out, tag);
        Doing::Nothing
    }

    pub(super) fn start_tls(&mut self, tag: &str) -> Received {
        if !self.link.can_start_tls || self.account.is_some() {
            return Received::Doing(self.bad(tag, "STARTTLS is not possible here"));
        }
        Completion::ok("Begin the TLS handshake").write(&mut self.out, tag);
        Received::Step(Step::StartTls)
    }

    /// RFC 4978 §3: compression begins right after the tagged OK.
    pub(super) fn compress(&mut self, tag: &str) -> Received {
        let refused = if self.account.is_none() {
            Some(Completion::bad("Log in first"))
        } else if self.without.contains("COMPRESS=DEFLATE") {
            Some(Completion::no("CANNOT", "Compression is switched off for this account"))
        } else {
            self.compressed.then(|| Completion::no("COMPRESSIONACTIVE", "What you say is compressed already"))
        };
        if let Some(refused) = refused {
            return Received::Doing(self.finish(tag.to_owned(), refused, super::update::Expunges::Deferred));
        }
        Completion::ok("Compression begins").write(&mut self.out, tag);
        (self.compression, self.compressed) = (Compression::Starting, true);
        Received::Step(Step::Continue)
    }

    pub(super) fn login(&mut self, tag: String, credentials: Credentials) -> Received {
        if let Some(refused) = self.may_not_log_in() {
            return Received::Doing(self.finish(tag, refused, super::update::Expunges::Deferred));
        }
        self.doing = Doing::LoggingIn { tag };
        Received::Step(Step::Login(credentials))
    }

    pub(super) fn authenticate(&mut self, tag: String, mechanism: &str, initial: Option<&str>) -> Received {
        let refused = match Mechanism::parse(mechanism.as_bytes()) {
            Some(Mechanism::Plain) => self.may_not_log_in(),
            Some(Mechanism::Login) | None => Some(Completion::no("CANNOT", "This mechanism is not offered; use PLAIN")),
        };
        if let Some(refused) = refused {
            return Received::Doing(self.finish(tag, refused, super::update::Expunges::Deferred));
        }
        match Exchange::start(Mechanism::Plain, initial.map(str::as_bytes)) {
            Ok((exchange, reply)) => self.exchanged(tag, exchange, reply),
            Err(error) => Received::Doing(self.exchange_failed(&tag, error)),
        }
    }

    pub(super) fn authenticate_on(&mut self, tag: String, mut exchange: Exchange, line: &[u8]) -> Received {
        match exchange.respond(line) {
            Ok(reply) => self.exchanged(tag, exchange, reply),
            Err(error) => Received::Doing(self.exchange_failed(&tag, error)),
        }
    }

    fn exchanged(&mut self, tag: String, exchange: Exchange, reply: Reply) -> Received {
        match reply {
            Reply::Challenge(challenge) => {
                put!(&mut self.out, "+ {challenge}\r\n");
                Received::Doing(Doing::Authenticating { tag, exchange })
            }
            Reply::Done(credentials) => {
                self.doing = Doing::LoggingIn { tag };
                Received::Step(Step::Login(credentials))
            }
        }
    }

    fn exchange_failed(&mut self, tag: &str, error: SaslError) -> Doing {
        match error {
            SaslError::OtherIdentity => {
                Completion::no("AUTHORIZATIONFAILED", error.to_string()).write(&mut self.out, tag);
                self.count_failed_login();
                Doing::Nothing
            }
            _ => self.bad(tag, &error.to_string()),
        }
    }

    fn may_not_log_in(&self) -> Option<Completion> {
        if self.account.is_some() {
            return Some(Completion::bad("You are logged in already"));
        }
        (!self.link.may_log_in)
            .then(|| Completion::no("PRIVACYREQUIRED", "Start TLS first: passwords are not taken in the clear"))
    }
}
