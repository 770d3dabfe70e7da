//! The receiving end of an import: mails come over a stream, are filed in groups, and each is accounted for.
//!
//! After a line that asks for it the stream carries, for each mail, a line of JSON ([`Sent`]) and its bytes in counted pieces; back come lines of
//! JSON ([`Told`]), one for each commit. A mail whose very bytes are in its folder already, and were before the import, is not filed again: so an
//! import that broke off anywhere is finished by running it once more.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _, Write};
use std::sync::Arc;

use kith_store::account::Account;
use kith_store::blob::{BlobHash, Stage};
use kith_store::folder::{Flags, FolderId, Uid};
use kith_store::mailbox::Filing;
use kith_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::IMPORTED_BYTES_MAX;
use crate::control::Refusal;

/// The longest line of the protocol, bytes.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Mails in a commit, at most.
const GROUP_MAILS_MAX: usize = 256;
/// Bytes of mails in a commit, at most; large ones lie in files meanwhile.
const GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Messages asked of the store at once.
const PAGE_MESSAGES: usize = 1000;
/// Instead of a piece's length: the mail could not be read to its end and is given up.
const WITHDRAWN: u32 = u32::MAX;
/// The longest piece.
const PIECE_BYTES_MAX: u32 = 1024 * 1024;

/// What the bringing end says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sent {
    /// A mail; its pieces follow.
    Mail(Brought),
    /// That was all.
    End,
}

/// What there is to know about a mail that is brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Brought {
    /// The folder's full name.
    pub folder: String,
    /// Bits of [`Flags`].
    pub system: u8,
    /// Atoms, each once.
    pub keywords: Vec<String>,
    /// When it came: Unix seconds and minutes from UTC; now, if that is not known.
    pub date: Option<(i64, i16)>,
    /// Where it was found, for people.
    pub label: String,
}

/// What the receiving end says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// A commit is durable.
    Kept(Tally),
    /// It cannot go on; what was kept stays.
    Stopped(Refusal),
    /// Everything is durable.
    Finished,
}

/// What became of the mails since the last word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Filed.
    pub filed: u64,
    /// There already.
    pub known: u64,
    /// Not filed: which, and why.
    pub refused: Vec<(String, String)>,
}

/// Writes a piece of a mail.
///
/// # Errors
/// The stream broke.
pub fn write_piece(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES_MAX as usize) {
        let length = u32::try_from(piece.len()).unwrap_or(PIECE_BYTES_MAX);
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(piece)?;
    }
    Ok(())
}

/// Ends a mail: it is whole, or it is withdrawn.
///
/// # Errors
/// The stream broke.
pub fn end_mail(stream: &mut impl Write, whole: bool) -> io::Result<()> {
    stream.write_all(&if whole { 0_u32 } else { WITHDRAWN }.to_be_bytes())
}

/// Writes a line of the protocol.
///
/// # Errors
/// The stream broke.
pub fn write_line(stream: &mut impl Write, said: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads a line of the protocol; `None` at the end.
///
/// # Errors
/// The stream broke, or it is no such line.
pub fn read_line<T: for<'a> Deserialize<'a>>(stream: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
}

/// Why a mail's bytes were not kept.
enum Unkept {
    /// This mail is not for keeping; the others are.
    Mail(String),
    /// The store cannot keep anything now.
    Store(StoreError),
    /// The stream broke.
    Stream(io::Error),
}

/// Receives mails until the other end says that that was all, or goes away; what has come whole by then is filed.
///
/// # Errors
/// The stream broke.
pub fn serve(stream: &mut impl BufRead, answers: &mut impl Write, store: &Store, account: &Account, now: i64) -> io::Result<()> {
    let mut intake = Intake::new(store, account);
    loop {
        match read_line::<Sent>(stream)? {
            Some(Sent::Mail(brought)) => {
                let received = intake.receive(stream, &brought, now);
                let outcome = match received {
                    Ok(()) if intake.is_full() => intake.commit(),
                    Ok(()) => continue,
                    Err(Unkept::Stream(error)) => {
                        // What has come whole is kept; whoever sent it is gone.
                        drop(intake.commit());
                        return Err(error);
                    }
                    Err(Unkept::Mail(why)) => {
                        intake.tally.refused.push((brought.label, why));
                        continue;
                    }
                    Err(Unkept::Store(error)) => intake.commit().and(Err(error)),
                };
                match outcome {
                    Ok(()) => write_line(answers, &Told::Kept(std::mem::take(&mut intake.tally)))?,
                    Err(error) => return write_line(answers, &Told::Stopped(stopped(&error))),
                }
            }
            Some(Sent::End) => {
                return match intake.commit() {
                    Ok(()) => {
                        write_line(answers, &Told::Kept(std::mem::take(&mut intake.tally)))?;
                        write_line(answers, &Told::Finished)
                    }
                    Err(error) => write_line(answers, &Told::Stopped(stopped(&error))),
                };
            }
            None => {
                drop(intake.commit());
                return Ok(());
            }
        }
    }
}

fn stopped(error: &StoreError) -> Refusal {
    let remedy = match error {
        StoreError::DiskFull => "make room and run the same command again: what is here already is not brought twice",
        _ => "look at the node's log, then run the same command again: what is here already is not brought twice",
    };
    Refusal::new(error.to_string(), remedy)
}

/// The mails of a folder before the import: how often each is there.
type Known = HashMap<BlobHash, u32>;

struct Intake<'a> {
    store: &'a Store,
    account: &'a Account,
    /// The name that was asked for, the folder it means, and what is in it.
    target: Option<(String, FolderId, Known)>,
    /// For the folder of `target`.
    group: Vec<(String, Filing)>,
    bytes: u64,
    tally: Tally,
}

impl<'a> Intake<'a> {
    fn new(store: &'a Store, account: &'a Account) -> Self {
        Self { store, account, target: None, group: Vec::new(), bytes: 0, tally: Tally::default() }
    }

    fn is_full(&self) -> bool {
        self.group.len() >= GROUP_MAILS_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    /// Takes one mail off the stream, whatever becomes of it.
    fn receive(&mut self, stream: &mut impl BufRead, brought: &Brought, now: i64) -> Result<(), Unkept> {
        let mut sink = match self.store.stage() {
            Ok(stage) => Sink { stage: Some(stage), refused: None },
            Err(error) => return Err(Unkept::Store(error)),
        };
        let whole = take_pieces(stream, &mut sink).map_err(Unkept::Stream)?;
        if let Some(refused) = sink.refused {
            return Err(refused);
        }
        let Some(stage) = sink.stage.filter(|_| whole) else {
            return Err(Unkept::Mail("it could not be read to its end".into()));
        };
        if stage.size() == 0 {
            return Err(Unkept::Mail("it is empty".into()));
        }
        let hash = stage.hash();
        let (_, _, known) = self.target(&brought.folder)?;
        if let Some(times) = known.get_mut(&hash).filter(|times| **times > 0) {
            *times -= 1;
            self.tally.known += 1;
            return Ok(());
        }
        let blob = stage.finish().map_err(Unkept::Store)?;
        let (internal_date, internal_zone) = brought.date.unwrap_or((now, 0));
        let mut keywords: Vec<Arc<str>> = brought.keywords.iter().map(|keyword| Arc::from(keyword.as_str())).collect();
        keywords.sort_unstable();
        self.bytes += blob.size;
        let filing = Filing { blob, flags: Flags { system: brought.system, keywords }, internal_date, internal_zone };
        self.group.push((brought.label.clone(), filing));
        Ok(())
    }

    /// The folder of that name, made and subscribed where there is none.
    fn target(&mut self, name: &str) -> Result<&mut (String, FolderId, Known), Unkept> {
        if self.target.as_ref().is_none_or(|(current, ..)| current != name) {
            self.commit().map_err(Unkept::Store)?;
            self.target = None;
            let folder = self.folder(name).map_err(|error| match error {
                StoreError::Invalid(why) => Unkept::Mail(format!("the folder `{name}` cannot be made: {why}")),
                error => Unkept::Store(error),
            })?;
            let known = self.known(folder).map_err(Unkept::Store)?;
            self.target = Some((name.to_owned(), folder, known));
        }
        self.target.as_mut().ok_or_else(|| Unkept::Mail("the folder is gone".into()))
    }

    fn folder(&self, name: &str) -> Result<FolderId, StoreError> {
        let id = self.account.id;
        if let Some(folder) = self.store.folder_by_name(id, name)?.filter(|folder| folder.selectable) {
            return Ok(folder.id);
        }
        // `sent` and `Sent` are the same to a person; at the top, where the folders are that programs look for.
        let (top, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
        let folders = self.store.folders(id)?;
        let spelled = folders.iter().find(|folder| folder.name.eq_ignore_ascii_case(top)).map_or(top, |folder| &folder.name);
        let name = format!("{spelled}{rest}");
        if let Some(folder) = self.store.folder_by_name(id, &name)?.filter(|folder| folder.selectable) {
            return Ok(folder.id);
        }
        let made = self.store.create_folder(id, &name, None)?;
        self.store.subscribe(id, &made.name, true)?;
        Ok(made.id)
    }

    /// Some 50 bytes of memory a mail.
    fn known(&self, folder: FolderId) -> Result<Known, StoreError> {
        let mut known = Known::new();
        let mut next = Some(Uid(1));
        while let Some(from) = next {
            let page = self.store.messages(self.account.id, folder, from, Uid(u32::MAX), PAGE_MESSAGES)?;
            next = page.last().filter(|_| page.len() == PAGE_MESSAGES).and_then(|last| last.uid.0.checked_add(1)).map(Uid);
            for message in page {
                *known.entry(message.hash).or_default() += 1;
            }
        }
        Ok(known)
    }

    /// Files what has gathered, as one commit.
    fn commit(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        let group = std::mem::take(&mut self.group);
        let Some((_, folder, _)) = self.target.as_ref().filter(|_| !group.is_empty()) else { return Ok(()) };
        let folder = *folder;
        let filings: Vec<Filing> = group.iter().map(|(_, filing)| filing.clone()).collect();
        match self.store.file(self.account.id, folder, filings) {
            Ok(filed) => self.tally.filed += filed.len() as u64,
            // One of them cannot be filed as it is: find out which.
            Err(StoreError::Invalid(_)) => {
                for (label, filing) in group {
                    self.commit_alone(folder, label, filing)?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn commit_alone(&mut self, folder: FolderId, label: String, filing: Filing) -> Result<(), StoreError> {
        let without = Filing { flags: Flags { keywords: Vec::new(), ..filing.flags.clone() }, ..filing.clone() };
        match self.store.file(self.account.id, folder, vec![filing]) {
            Ok(_) => self.tally.filed += 1,
            Err(StoreError::Invalid(why)) => match self.store.file(self.account.id, folder, vec![without]) {
                Ok(_) => {
                    self.tally.filed += 1;
                    self.tally.refused.push((label, format!("it was filed without its keywords: {why}")));
                }
                Err(StoreError::Invalid(why)) => self.tally.refused.push((label, why)),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Where pieces go until something is wrong with the mail; then the rest is passed over.
struct Sink {
    stage: Option<Stage>,
    refused: Option<Unkept>,
}

impl Sink {
    fn refuse(&mut self, why: Unkept) {
        self.stage = None;
        self.refused.get_or_insert(why);
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(stage) = &mut self.stage else { return };
        if stage.size() + bytes.len() as u64 > IMPORTED_BYTES_MAX {
            self.refuse(Unkept::Mail(format!("it has more than {IMPORTED_BYTES_MAX} bytes")));
        } else if let Err(error) = stage.write_all(bytes) {
            self.refuse(Unkept::Store(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
                _ => StoreError::Broken(error.to_string()),
            }));
        }
    }
}

/// Reads a mail's pieces; whether it came whole.
fn take_pieces(stream: &mut impl BufRead, sink: &mut Sink) -> io::Result<bool> {
    let mut piece = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        match u32::from_be_bytes(length) {
            0 => return Ok(true),
            WITHDRAWN => return Ok(false),
            length if length > PIECE_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            length => {
                piece.resize(length as usize, 0);
                stream.read_exact(&mut piece)?;
                sink.take(&piece);
            }
        }
    }
}
