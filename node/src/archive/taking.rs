//! The taking end of an export: writes a Maildir (Maildir++) or mboxes, goes on where an earlier run broke off.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Watcher;
use super::lines::{Ends, Lines, Quoting, Regular};
use super::maildir::{KEYWORDS_FILE, ends_for};
use super::marks::{Letters, Marks};
use super::mbox::asctime;
use super::outlet::{Item, Listed};
use super::sources::{INBOX, Kind, encoded, file_name};
use crate::control::{Conversation, Refusal, Request};

/// What became of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Mails written now.
    pub written: u64,
    /// Mails that an earlier run had written.
    pub known: u64,
    /// Folders.
    pub folders: u64,
    /// What could not be written; each was told to the watcher.
    pub problems: u64,
}

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
pub enum TakingError {
    /// The node refuses.
    #[error("{}", .0.cause)]
    Refused(Refusal),
    /// A file cannot be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the node went away: {0}")]
    Broken(io::Error),
}

impl From<Refusal> for TakingError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What is written where.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// Whose; may be left out where there is one account.
    pub account: Option<&'a str>,
    /// The folder of that name and those below; without, all.
    pub only: Option<&'a str>,
    /// In which form.
    pub kind: Kind,
    /// The folder to write into; made where it is missing.
    pub target: &'a Path,
}

/// Writes an account's mail into files.
///
/// # Errors
/// [`TakingError`]; what was written stays, and running it once more goes on from there.
pub fn take(home: &Path, export: Export<'_>, watcher: &dyn Watcher) -> Result<Outcome, TakingError> {
    let mut conversation = Conversation::open(home)?;
    let outcome = take_all(&mut conversation, export, watcher);
    conversation.close();
    outcome
}

fn take_all(conversation: &mut Conversation, export: Export<'_>, watcher: &dyn Watcher) -> Result<Outcome, TakingError> {
    let Export { only, kind, target, .. } = export;
    let account = export.account.map(str::to_owned);
    let answer = conversation.ask(&Request::ExportFolders { account: account.clone() }, &[])?;
    let wanted = |name: &str| {
        only.is_none_or(|only| {
            name.eq_ignore_ascii_case(only) || name.strip_prefix(only).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let mut folders: Vec<Listed> = field(&answer, "folders")?;
    folders.retain(|folder| wanted(&folder.name));
    if let (true, Some(only)) = (folders.is_empty(), only) {
        return Err(Refusal::new(format!("there is no folder `{only}`"), "without --folder everything is exported").into());
    }
    watcher.total(folders.iter().map(|folder| folder.bytes).sum());
    make_dir(target)?;
    let mut outcome = Outcome { folders: folders.len() as u64, ..Outcome::default() };
    for folder in &folders {
        let mut writer = match kind {
            Kind::Maildir => Writer::Maildir(MaildirWriter::open(target, folder)?),
            Kind::Mbox => Writer::Mbox(MboxWriter::open(target, folder)?),
        };
        let mut next = Some(writer.first());
        while let Some(from) = next {
            let request = Request::ExportPage { account: account.clone(), folder: folder.id, from };
            let answer = conversation.ask(&request, &[])?;
            let items: Vec<Item> = field(&answer, "items")?;
            next = answer.get("next").and_then(Value::as_u64).and_then(|next| u32::try_from(next).ok());
            for item in &items {
                if writer.has(item) {
                    outcome.known += 1;
                } else {
                    match writer.write(conversation, item)? {
                        Ok(left_out) if left_out.is_empty() => outcome.written += 1,
                        Ok(left_out) => {
                            outcome.written += 1;
                            outcome.problems += 1;
                            watcher.problem(&format!(
                                "{}, mail {}: written without the keywords {}: a Maildir folder can have 26",
                                folder.name,
                                item.uid,
                                left_out.join(" ")
                            ));
                        }
                        Err(refusal) => {
                            outcome.problems += 1;
                            watcher.problem(&format!("{}, mail {}: {}", folder.name, item.uid, refusal.cause));
                        }
                    }
                }
                watcher.through(item.bytes, 1);
            }
            writer.settle(items.last().map(|item| item.uid))?;
        }
        writer.finish()?;
    }
    Ok(outcome)
}

fn field<T: for<'a> Deserialize<'a>>(answer: &Value, name: &str) -> Result<T, TakingError> {
    let value = answer.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|error| TakingError::Broken(error.into()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TakingError + '_ {
    |error| TakingError::Write { path: path.to_owned(), error }
}

fn make_dir(path: &Path) -> Result<(), TakingError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

fn create(path: &Path) -> Result<File, TakingError> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed(path))
}

/// A small file, whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), TakingError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = create(&temporary)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(&temporary))?;
    fs::rename(&temporary, path).map_err(failed(path))
}

/// What was written into this folder is on the disk.
fn sync_all_below(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    // One call for hundreds of files, where there is such a call.
    #[cfg(target_os = "linux")]
    {
        let _each_by_itself_elsewhere = files;
        Ok(rustix::fs::syncfs(File::open(folder)?)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        files.iter().try_for_each(|path| File::open(path)?.sync_all())?;
        File::open(folder)?.sync_all()
    }
}

enum Writer {
    Maildir(MaildirWriter),
    Mbox(MboxWriter),
}

/// Keywords for which there was no place.
type LeftOut = Vec<String>;

impl Writer {
    fn first(&self) -> u32 {
        match self {
            Self::Maildir(_) => 1,
            Self::Mbox(mbox) => mbox.state.last_uid.saturating_add(1),
        }
    }

    fn has(&self, item: &Item) -> bool {
        match self {
            Self::Maildir(maildir) => maildir.there.contains(&item.uid),
            Self::Mbox(_) => false,
        }
    }

    fn write(&mut self, conversation: &mut Conversation, item: &Item) -> Result<Result<LeftOut, Refusal>, TakingError> {
        match self {
            Self::Maildir(maildir) => maildir.write(conversation, item),
            Self::Mbox(mbox) => mbox.write(conversation, item),
        }
    }

    fn settle(&mut self, last_uid: Option<u32>) -> Result<(), TakingError> {
        match self {
            Self::Maildir(maildir) => maildir.settle(),
            Self::Mbox(mbox) => mbox.settle(last_uid),
        }
    }

    fn finish(self) -> Result<(), TakingError> {
        match self {
            Self::Maildir(_) => Ok(()),
            Self::Mbox(mbox) => mbox.finish(),
        }
    }
}

fn marks(item: &Item) -> Marks {
    Marks { system: item.system, keywords: item.keywords.clone() }
}

/// Mails are written into `tmp`, and moved to `cur` a page at a time when they are on the disk.
struct MaildirWriter {
    folder: PathBuf,
    uid_validity: u32,
    letters: Letters,
    letters_text: String,
    /// UIDs that an earlier run has written.
    there: BTreeSet<u32>,
    /// (in `tmp`, in `cur`)
    pending: Vec<(PathBuf, PathBuf)>,
}

impl MaildirWriter {
    fn open(target: &Path, listed: &Listed) -> Result<Self, TakingError> {
        let folder = if listed.name == INBOX {
            target.to_owned()
        } else {
            let levels: Vec<String> = listed.name.split('/').map(encoded).collect();
            target.join(format!(".{}", levels.join(".")))
        };
        for part in ["tmp", "new", "cur"] {
            make_dir(&folder.join(part))?;
        }
        if folder != target {
            // Maildir++'s mark of a folder that is not the first.
            drop(create(&folder.join("maildirfolder"))?);
        }
        let mut writer = Self {
            letters_text: fs::read_to_string(folder.join(KEYWORDS_FILE)).unwrap_or_default(),
            folder,
            uid_validity: listed.uid_validity,
            letters: Letters::default(),
            there: BTreeSet::new(),
            pending: Vec::new(),
        };
        writer.letters = Letters::parse(&writer.letters_text);
        let cur = writer.folder.join("cur");
        let ours = format!(".V{}U", writer.uid_validity);
        for entry in fs::read_dir(&cur).map_err(failed(&cur))? {
            let name = entry.map_err(failed(&cur))?.file_name();
            let uid: Option<u32> =
                name.to_str().and_then(|name| name.split_once(&ours)).and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
            writer.there.extend(uid);
        }
        Ok(writer)
    }

    fn write(&mut self, conversation: &mut Conversation, item: &Item) -> Result<Result<LeftOut, Refusal>, TakingError> {
        let name = format!("{}.V{}U{}.kith", item.date.max(0), self.uid_validity, item.uid);
        let temporary = self.folder.join("tmp").join(&name);
        // Twice through the mail: its lines can be a file's only if all of them end as they should.
        let mut regular = Regular::default();
        let looked = conversation.mail(&item.hash, &mut |piece| {
            regular.push(piece);
            Ok(())
        });
        if let Err(refusal) = looked.map_err(TakingError::Broken)? {
            return Ok(Err(refusal));
        }
        let mut lines = Lines::new(ends_for(&regular), Quoting::Keep);
        let mut file = BufWriter::new(create(&temporary)?);
        let mut out = Vec::new();
        let mut problem = None;
        let copied = conversation.mail(&item.hash, &mut |piece| {
            out.clear();
            lines.push(piece, &mut out);
            if problem.is_none() {
                problem = file.write_all(&out).err();
            }
            Ok(())
        });
        if let Err(refusal) = copied.map_err(TakingError::Broken)? {
            return Ok(Err(refusal));
        }
        out.clear();
        lines.finish(&mut out);
        let written = problem
            .map_or(Ok(()), Err)
            .and_then(|()| file.write_all(&out))
            .and_then(|()| file.into_inner().map_err(io::IntoInnerError::into_error));
        let came = SystemTime::checked_add(&UNIX_EPOCH, Duration::from_secs(u64::try_from(item.date).unwrap_or(0)));
        written.and_then(|file| file.set_modified(came.unwrap_or(UNIX_EPOCH))).map_err(failed(&temporary))?;
        let (info, left_out) = marks(item).letters(&mut self.letters);
        self.pending.push((temporary, self.folder.join("cur").join(format!("{name}:2,{info}"))));
        Ok(Ok(left_out))
    }

    fn settle(&mut self) -> Result<(), TakingError> {
        // The letters' meaning is there before the letters are.
        let text = self.letters.text();
        if text != self.letters_text {
            replace(&self.folder.join(KEYWORDS_FILE), &text)?;
            self.letters_text = text;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let files: Vec<PathBuf> = self.pending.iter().map(|(temporary, _)| temporary.clone()).collect();
        sync_all_below(&self.folder, &files).map_err(failed(&self.folder))?;
        for (temporary, path) in self.pending.drain(..) {
            fs::rename(&temporary, &path).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// How far an mbox has come; in a file beside it until it is complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct MboxState {
    uid_validity: u32,
    last_uid: u32,
    bytes: u64,
}

/// `Name.mbox.part` grows, and `Name.mbox.state` says up to where it is sound; complete it becomes `Name.mbox`.
struct MboxWriter {
    path: PathBuf,
    part: PathBuf,
    state_path: PathBuf,
    file: BufWriter<File>,
    state: MboxState,
}

impl MboxWriter {
    fn open(target: &Path, listed: &Listed) -> Result<Self, TakingError> {
        let levels: Vec<String> = listed.name.split('/').map(file_name).collect();
        let mut path = target.to_owned();
        if let Some((last, parents)) = levels.split_last() {
            path.extend(parents);
            make_dir(&path)?;
            path.push(format!("{last}.mbox"));
        }
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (part, state_path) = (beside(".part"), beside(".state"));
        let known = fs::read_to_string(&state_path).ok().and_then(|text| serde_json::from_str::<MboxState>(&text).ok());
        let fresh = MboxState { uid_validity: listed.uid_validity, ..MboxState::default() };
        let state = known.filter(|known| known.uid_validity == listed.uid_validity).unwrap_or(fresh);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&part).map_err(failed(&part))?;
        let there = file.metadata().map_err(failed(&part))?.len();
        let state =
            if there < state.bytes { MboxState { uid_validity: listed.uid_validity, ..MboxState::default() } } else { state };
        file.set_len(state.bytes).and_then(|()| file.seek(SeekFrom::Start(state.bytes))).map_err(failed(&part))?;
        Ok(Self { path, part, state_path, file: BufWriter::new(file), state })
    }

    fn write(&mut self, conversation: &mut Conversation, item: &Item) -> Result<Result<LeftOut, Refusal>, TakingError> {
        let before = self.state.bytes;
        let head = format!("From kith@localhost {}\n{}", asctime(item.date), marks(item).status_lines());
        let mut lines = Lines::new(Ends::ToFile, Quoting::Add);
        let mut bytes = head.len() as u64;
        let mut problem = self.file.write_all(head.as_bytes()).err();
        let mut out = Vec::new();
        let file = &mut self.file;
        let copied = conversation.mail(&item.hash, &mut |piece| {
            out.clear();
            lines.push(piece, &mut out);
            bytes += out.len() as u64;
            if problem.is_none() {
                problem = file.write_all(&out).err();
            }
            Ok(())
        });
        out.clear();
        lines.finish(&mut out);
        out.extend_from_slice(if lines.is_at_line_start() { b"\n" } else { b"\n\n" });
        let refused = copied.map_err(TakingError::Broken)?.err();
        match problem {
            Some(error) => return Err(failed(&self.part)(error)),
            None => self.file.write_all(&out).map_err(failed(&self.part))?,
        }
        if let Some(refusal) = refused {
            // Nothing of it stays.
            self.file.flush().map_err(failed(&self.part))?;
            let file = self.file.get_mut();
            file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before))).map_err(failed(&self.part))?;
            return Ok(Err(refusal));
        }
        self.state.bytes = before + bytes + out.len() as u64;
        Ok(Ok(Vec::new()))
    }

    fn settle(&mut self, last_uid: Option<u32>) -> Result<(), TakingError> {
        let Some(last_uid) = last_uid else { return Ok(()) };
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(failed(&self.part))?;
        self.state.last_uid = last_uid;
        replace(&self.state_path, &serde_json::to_string(&self.state).unwrap_or_default())
    }

    fn finish(mut self) -> Result<(), TakingError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(failed(&self.part))?;
        fs::rename(&self.part, &self.path).map_err(failed(&self.path))?;
        match fs::remove_file(&self.state_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.state_path)(error)),
            _ => Ok(()),
        }
    }
}
