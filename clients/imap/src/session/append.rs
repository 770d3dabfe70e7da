//! APPEND: the message goes from the wire straight into the store's stage (RFC 3501 §6.3.11, RFC 4315, RFC 7889).

use std::io::Write as _;

use kith_store::StoreError;
use kith_store::blob::Stage;
use kith_store::folder::{Folder, Message};
use kith_store::mailbox::Filing;

use super::update::Expunges;
use super::{Completion, Doing, Refused, Session, refusal};
use crate::command::{AppendOptions, AppendStart};
use crate::date::DateTime;
use crate::frame::{Announced, Frame};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::response::put;

/// Where messages go whose folder vanished while they were on their way.
const RECOVERED: &str = "Recovered";

/// A message on its way.
pub(super) struct Upload {
    tag: String,
    folder: Folder,
    options: AppendOptions,
    stage: Stage,
}

impl Session {
    /// The literal is announced: everything that can be refused is, before it comes.
    pub(super) fn append_begin(&mut self, start: AppendStart, literal: Announced) -> Doing {
        let AppendStart { tag, mailbox, options } = start;
        let ready = (|| {
            if literal.binary {
                return Err(Refused(Completion::no("UNKNOWN-CTE", "Binary messages are not taken")));
            }
            if literal.bytes > MESSAGE_BYTES_MAX {
                let text = format!("The message has {} bytes; {MESSAGE_BYTES_MAX} are the limit", literal.bytes);
                return Err(Refused(Completion::no("TOOBIG", text)));
            }
            if literal.bytes == 0 {
                return Err(Refused(Completion::no("CANNOT", "An empty message cannot be stored")));
            }
            let folder = self.target_folder(&mailbox)?;
            Ok((folder, self.store().stage()?))
        })();
        match ready {
            Ok((folder, stage)) => {
                self.framer.stream();
                if literal.synchronising {
                    put!(&mut self.out, "+ Go on\r\n");
                }
                Doing::Appending(Box::new(Upload { tag, folder, options, stage }))
            }
            Err(Refused(completion)) => {
                self.refuse_literal(literal);
                self.finish(tag, completion, Expunges::Told)
            }
        }
    }

    pub(super) fn append_on(&mut self, mut upload: Box<Upload>, frame: Frame) -> Doing {
        match frame {
            Frame::StreamEnd => Doing::Appended(upload),
            Frame::Chunk(bytes) => match upload.stage.write_all(&bytes) {
                Ok(()) => Doing::Appending(upload),
                Err(error) => {
                    self.framer.abandon();
                    let full = error.kind() == std::io::ErrorKind::StorageFull;
                    let error = if full { StoreError::DiskFull } else { StoreError::Broken(error.to_string()) };
                    self.finish(upload.tag, refusal(&error), Expunges::Told)
                }
            },
            _ => Doing::Appending(upload),
        }
    }

    /// What follows the message: nothing but the line's end.
    pub(super) fn append_end(&mut self, upload: Upload, frame: &Frame) -> Doing {
        let rest_is_empty = matches!(frame, Frame::Command(rest) if rest.trim_ascii().is_empty());
        if !rest_is_empty {
            if let Frame::Literal(literal) = frame {
                self.refuse_literal(*literal);
            }
            return self.bad(&upload.tag, "Expected the end of the command: one message at a time");
        }
        let tag = upload.tag.clone();
        let completion = self.file(upload).unwrap_or_else(|Refused(completion)| completion);
        self.finish(tag, completion, Expunges::Told)
    }

    fn file(&self, upload: Upload) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let blob = upload.stage.finish()?;
        let date = upload.options.date.unwrap_or(DateTime { seconds: (self.now)(), zone: 0 });
        let filing = Filing { blob, flags: upload.options.flags, internal_date: date.seconds, internal_zone: date.zone };
        match self.store().file(account, upload.folder.id, vec![filing.clone()]) {
            Ok(filed) => Ok(appended(upload.folder.uid_validity, &filed)),
            // Nobody may have another copy: kept where it can be seen, and said so.
            Err(StoreError::NotFound(_)) => {
                let recovered = match self.store().folder_by_name(account, RECOVERED)? {
                    Some(folder) => folder,
                    None => {
                        let folder = self.store().create_folder(account, RECOVERED, None)?;
                        self.store().subscribe(account, RECOVERED, true)?;
                        folder
                    }
                };
                self.store().file(account, recovered.id, vec![filing])?;
                Err(Completion::no("TRYCREATE", "The folder was deleted meanwhile; the message is kept in Recovered").into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn appended(uid_validity: u32, filed: &[Message]) -> Completion {
    let completion = Completion::ok("APPEND completed");
    match filed.first() {
        Some(message) => completion.with_code(format!("APPENDUID {uid_validity} {}", message.uid.0)),
        None => completion,
    }
}
