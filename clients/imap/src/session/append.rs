//! APPEND and REPLACE: messages go from the wire straight into the store's stage, and into the folder all at once (RFC 3501 §6.3.11, RFC
//! 3502, RFC 4315, RFC 6855 §4, RFC 7889, RFC 8508).

mod sent;

use std::io::Write as _;

use kith_store::StoreError;
use kith_store::blob::Stage;
use kith_store::folder::{Folder, FolderId, Message, Uid};
use kith_store::mailbox::Filing;

use super::update::Expunges;
use super::{Completion, Doing, Refused, Session, refusal};
use crate::command::{Access, AppendOptions, AppendStart, Numbering};
use crate::date::DateTime;
use crate::frame::{Announced, Frame};
use crate::limits::{APPEND_MESSAGES_MAX, MESSAGE_BYTES_MAX};
use crate::response::put;
use crate::set::{InOrder, SequenceSet};

/// Where messages go whose folder vanished while they were on their way.
const RECOVERED: &str = "Recovered";

/// Messages on their way.
pub(super) struct Upload {
    tag: String,
    folder: Folder,
    /// The message that is to go when the new one is there, and its folder.
    replaces: Option<(FolderId, Uid)>,
    /// Those that are complete.
    complete: Vec<Filing>,
    /// The one that comes now.
    options: AppendOptions,
    stage: Stage,
    /// It came as `~{n}`, which may hold NUL.
    binary: bool,
    has_nul: bool,
}

impl Session {
    /// The first literal is announced: everything that can be refused is, before it comes.
    pub(super) fn append_begin(&mut self, start: AppendStart, literal: Announced) -> Doing {
        let AppendStart { tag, replaces, mailbox, options } = start;
        let ready = (|| {
            check(literal)?;
            let replaces = replaces.map(|(numbering, set)| self.replaced(numbering, &set)).transpose()?;
            let folder = self.target_folder(&mailbox)?;
            Ok((folder, replaces, self.store().stage()?))
        })();
        match ready {
            Ok((folder, replaces, stage)) => {
                let upload = Upload {
                    tag,
                    folder,
                    replaces,
                    complete: Vec::new(),
                    options,
                    stage,
                    binary: literal.binary,
                    has_nul: false,
                };
                self.append_take(upload, literal)
            }
            Err(Refused(completion)) => self.append_refuse(tag, completion, literal),
        }
    }

    /// The message that a REPLACE means: one of the selected folder.
    fn replaced(&self, numbering: Numbering, set: &SequenceSet) -> Result<(FolderId, Uid), Refused> {
        let selected = self.selected()?;
        if selected.access == Access::ReadOnly {
            return Err(Completion::no("READ-ONLY", "The folder was opened with EXAMINE").into());
        }
        let ranges = selected.view.pieces(&self.ranges(numbering, set)?, usize::MAX).concat();
        match *ranges {
            [(uid, to)] if uid == to => Ok((selected.folder, uid)),
            [] => Err(Completion::no("NONEXISTENT", "The message to be replaced is not there").into()),
            _ => Err(Completion::bad("One message is replaced at a time").into()),
        }
    }

    fn append_take(&mut self, upload: Upload, literal: Announced) -> Doing {
        self.framer.stream();
        if literal.synchronising {
            put!(&mut self.out, "+ Go on\r\n");
        }
        Doing::Appending(Box::new(upload))
    }

    fn append_refuse(&mut self, tag: String, completion: Completion, literal: Announced) -> Doing {
        self.refuse_literal(literal);
        self.finish(tag, completion, Expunges::Told)
    }

    pub(super) fn append_on(&mut self, mut upload: Box<Upload>, frame: Frame) -> Doing {
        match frame {
            Frame::StreamEnd => Doing::Appended(upload),
            Frame::Chunk(bytes) => {
                upload.has_nul |= upload.binary && memchr::memchr(0, &bytes).is_some();
                match upload.stage.write_all(&bytes) {
                    Ok(()) => Doing::Appending(upload),
                    Err(error) => {
                        self.framer.abandon();
                        let full = error.kind() == std::io::ErrorKind::StorageFull;
                        let error = if full { StoreError::DiskFull } else { StoreError::Broken(error.to_string()) };
                        self.finish(upload.tag, refusal(&error), Expunges::Told)
                    }
                }
            }
            _ => Doing::Appending(upload),
        }
    }

    /// What follows a message: the line's end, or another message.
    pub(super) fn append_end(&mut self, upload: Upload, frame: &Frame) -> Doing {
        let tag = upload.tag.clone();
        match frame {
            Frame::Command(rest) if upload.options.is_ended_by(rest) => {
                let outcome = if upload.replaces.is_some() { self.replace(upload) } else { self.file(upload) };
                let completion = outcome.unwrap_or_else(|Refused(completion)| completion);
                self.finish_removal(tag, completion)
            }
            Frame::Literal(literal) => {
                let next = upload.options.parse_next(self.framer.announced()).filter(|_| upload.replaces.is_none());
                let Some(options) = next else {
                    self.refuse_literal(*literal);
                    return self.bad(&tag, "Expected the end of the command, or another message");
                };
                match self.append_next(upload, options, *literal) {
                    Ok(upload) => self.append_take(upload, *literal),
                    Err(Refused(completion)) => self.append_refuse(tag, completion, *literal),
                }
            }
            _ => self.bad(&tag, "Expected the end of the command"),
        }
    }

    fn append_next(&self, mut upload: Upload, options: AppendOptions, literal: Announced) -> Result<Upload, Refused> {
        check(literal)?;
        if upload.complete.len() + 1 >= APPEND_MESSAGES_MAX {
            let text = format!("At most {APPEND_MESSAGES_MAX} messages are taken at once");
            return Err(Completion::no("LIMIT", text).into());
        }
        let stage = std::mem::replace(&mut upload.stage, self.store().stage()?);
        let options = std::mem::replace(&mut upload.options, options);
        let filing = self.filing(stage, options, upload.has_nul)?;
        upload.complete.push(filing);
        (upload.binary, upload.has_nul) = (literal.binary, false);
        Ok(upload)
    }

    fn filing(&self, stage: Stage, options: AppendOptions, has_nul: bool) -> Result<Filing, Refused> {
        if has_nul {
            // RFC 3516 §4.4: what could be given back only as binary is not taken.
            return Err(Completion::no("UNKNOWN-CTE", "Messages with NUL are not taken; encode them in base64").into());
        }
        let date = options.date.unwrap_or(DateTime { seconds: (self.now)(), zone: 0 });
        Ok(Filing { blob: stage.finish()?, flags: options.flags, internal_date: date.seconds, internal_zone: date.zone })
    }

    fn file(&self, upload: Upload) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let mut filings = upload.complete;
        filings.push(self.filing(upload.stage, upload.options, upload.has_nul)?);
        let filings = filings
            .into_iter()
            .map(|filing| sent::marked(self.store(), account, &upload.folder, filing))
            .collect::<Result<Vec<Filing>, StoreError>>()?;
        match self.store().file(account, upload.folder.id, filings.clone()) {
            Ok(filed) => Ok(Completion::ok("APPEND completed").with_code(append_uid(upload.folder.uid_validity, &filed))),
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
                self.store().file(account, recovered.id, filings)?;
                Err(Completion::no("TRYCREATE", "The folder was deleted meanwhile; what you sent is kept in Recovered").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// RFC 8508 §3.3: the new UID is told before the old message goes.
    fn replace(&mut self, upload: Upload) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let Some((from, uid)) = upload.replaces else { return Err(Completion::bad("Nothing to replace").into()) };
        let filing = self.filing(upload.stage, upload.options, upload.has_nul)?;
        let filed = match self.store().replace(account, from, uid, upload.folder.id, filing) {
            Ok(filed) => filed,
            Err(StoreError::NotFound(_)) => {
                return Err(Completion::no("EXPUNGEISSUED", "The message to be replaced, or the folder, is gone").into());
            }
            Err(error) => return Err(error.into()),
        };
        let code = append_uid(upload.folder.uid_validity, &[filed]);
        Completion::ok("The replacement is there").with_code(code).write(&mut self.out, "*");
        if let Some(selected) = self.selected.as_mut().filter(|selected| selected.folder == from) {
            selected.view.lose(uid);
        }
        Ok(Completion::ok("REPLACE completed"))
    }
}

fn check(literal: Announced) -> Result<(), Refused> {
    if literal.bytes > MESSAGE_BYTES_MAX {
        let text = format!("The message has {} bytes; {MESSAGE_BYTES_MAX} are the limit", literal.bytes);
        return Err(Completion::no("TOOBIG", text).into());
    }
    // RFC 3502 §3: this is how a client takes everything back.
    if literal.bytes == 0 {
        return Err(Completion::no("CANNOT", "An empty message cannot be stored; nothing was").into());
    }
    Ok(())
}

fn append_uid(uid_validity: u32, filed: &[Message]) -> String {
    let uids: Vec<u32> = filed.iter().map(|message| message.uid.0).collect();
    format!("APPENDUID {uid_validity} {}", InOrder(&uids))
}
