//! A mail on its way in: header gathered and examined, body streamed to the store, at most one header in memory.

use std::io::{ErrorKind, Write};

use kith_store::blob::{Stage, Staged};
use kith_store::{Store, StoreError};
use tracing::error;

use crate::header::HeaderReader;
use crate::reply::Reply;

/// A mail that is being received. Once something is wrong with it, the rest is only passed over, so that client and server stay in step.
pub(super) struct Incoming {
    state: State,
    /// Bytes as the client sent them, dots taken away.
    received: u64,
    limit: u64,
}

enum State {
    Header(HeaderReader, Stage),
    Body(Stage),
    Refused(Reply),
}

/// Makes the header that is kept of the fields that came, or says why the mail is refused.
pub(super) type HeaderWork<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Vec<u8>, Reply>;

impl Incoming {
    /// Starts receiving. Errors are the reply.
    pub(super) fn start(store: &Store, limit: u64) -> Result<Self, Reply> {
        let stage = store.stage().map_err(|error| store_reply(&error))?;
        Ok(Self { state: State::Header(HeaderReader::default(), stage), received: 0, limit })
    }

    /// Takes the next bytes of the mail.
    pub(super) fn push(&mut self, bytes: &[u8], header: HeaderWork<'_>) {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > self.limit {
            self.refuse(too_large(self.limit));
        }
        let state = std::mem::replace(&mut self.state, State::Refused(broken()));
        self.state = match state {
            State::Header(mut reader, stage) => match reader.push(bytes) {
                Ok(None) => State::Header(reader, stage),
                Ok(Some(split)) => begin_body(stage, &split.fields, &split.rest, header),
                Err(error) => State::Refused(Reply::new(552, "5.3.4", error.to_string())),
            },
            State::Body(stage) => write(stage, bytes),
            refused @ State::Refused(_) => refused,
        };
    }

    /// Refuses the mail, unless it is refused already.
    pub(super) fn refuse(&mut self, reply: Reply) {
        if !matches!(self.state, State::Refused(_)) {
            self.state = State::Refused(reply);
        }
    }

    /// The refusal, if there is one already.
    pub(super) fn refusal(&self) -> Option<&Reply> {
        match &self.state {
            State::Refused(reply) => Some(reply),
            State::Header(..) | State::Body(_) => None,
        }
    }

    /// The mail is complete.
    pub(super) fn finish(self, header: HeaderWork<'_>) -> Result<Staged, Reply> {
        let state = match self.state {
            State::Header(reader, stage) => begin_body(stage, &reader.finish().fields, b"", header),
            state => state,
        };
        match state {
            State::Refused(reply) => Err(reply),
            State::Body(stage) | State::Header(_, stage) => stage.finish().map_err(|error| store_reply(&error)),
        }
    }
}

fn begin_body(stage: Stage, fields: &[u8], rest: &[u8], header: HeaderWork<'_>) -> State {
    let head = match header(fields) {
        Ok(head) => head,
        Err(reply) => return State::Refused(reply),
    };
    match write(stage, &head) {
        State::Body(stage) => write(stage, rest),
        refused => refused,
    }
}

fn write(mut stage: Stage, bytes: &[u8]) -> State {
    match stage.write_all(bytes) {
        Ok(()) => State::Body(stage),
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => State::Refused(full()),
        Err(error) => {
            error!(%error, "cannot write a mail to disk");
            State::Refused(broken())
        }
    }
}

/// What a failure of the store is to a client.
pub(super) fn store_reply(error: &StoreError) -> Reply {
    match error {
        StoreError::DiskFull => full(),
        error => {
            error!(%error, "the store refused a mail");
            broken()
        }
    }
}

pub(super) fn full() -> Reply {
    Reply::new(452, "4.3.1", "The disk of this node is full; nothing was kept, make room and send again")
}

pub(super) fn broken() -> Reply {
    Reply::new(
        451,
        "4.3.0",
        "This node cannot store mail at the moment; nothing was kept, send again later and look at the node's log",
    )
}

pub(super) fn too_large(limit: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("The mail is larger than the limit of {limit} bytes; send a smaller attachment"))
}
