//! The bringing end of an import: reads what was found and sends it, mail by mail, in bounded memory.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;

use kith_store::folder::Flags;

use super::Watcher;
use super::intake::{self, Brought, Sent, Told};
use super::maildir::{self, Maildir};
use super::marks::Marks;
use super::mbox::{Mbox, MboxError};
use super::sources::{INBOX, Kind, Source};
use crate::control::{Conversation, Refusal, Request};

/// Sent at once.
const WRITE_BYTES: usize = 256 * 1024;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whose mail it is; the only account's, if that is not said.
    pub account: Option<String>,
    /// The folder that everything goes into or below.
    pub below: Option<String>,
    /// All of it counts as read.
    pub seen: bool,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Mails filed.
    pub filed: u64,
    /// Mails that were there already.
    pub known: u64,
    /// Mails that the program which kept them had deleted, and not cleared away: left out.
    pub erased: u64,
    /// What could not be brought; each was told to the watcher.
    pub problems: u64,
    /// Why it ended before everything was through.
    pub stopped: Option<Refusal>,
}

/// Brings mails along.
///
/// # Errors
/// [`Refusal`]: nothing was brought, and why.
pub fn bring(home: &Path, sources: &[Source], wanted: &Wanted, watcher: &dyn Watcher) -> Result<Outcome, Refusal> {
    watcher.total(sources.iter().map(bytes_of).sum());
    let mut conversation = Conversation::open(home)?;
    if let Err(refusal) = conversation.ask(&Request::Import { account: wanted.account.clone() }, &[]) {
        conversation.close();
        return Err(refusal);
    }
    let (stream, answers, ending) = conversation.split()?;
    let outcome = Mutex::new(Outcome::default());
    let problem = |text: &str| {
        watcher.problem(text);
        locked(&outcome).problems += 1;
    };
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(answers, &outcome, watcher));
        let sending = Sending { stream: BufWriter::with_capacity(WRITE_BYTES, stream), wanted, watcher, problem: &problem };
        let erased = sending.send_all(sources);
        // The listener hears the end, or why there was none.
        let finished = listener.join().unwrap_or(false);
        let mut outcome = locked(&outcome);
        match erased {
            Ok(erased) => outcome.erased = erased,
            Err(error) if outcome.stopped.is_none() => outcome.stopped = Some(broken(&error)),
            Err(_) => {}
        }
        if !finished && outcome.stopped.is_none() {
            outcome.stopped = Some(broken(&io::ErrorKind::UnexpectedEof.into()));
        }
    });
    ending.wait();
    Ok(outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn locked(outcome: &Mutex<Outcome>) -> std::sync::MutexGuard<'_, Outcome> {
    outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::new(format!("the node went away: {error}"), "run the same command again: what is there already is not brought twice")
}

/// Hears what became of the mails; whether it was heard to the end.
fn listen(mut answers: BufReader<UnixStream>, outcome: &Mutex<Outcome>, watcher: &dyn Watcher) -> bool {
    loop {
        match intake::read_line::<Told>(&mut answers) {
            Ok(Some(Told::Kept(tally))) => {
                let mut outcome = locked(outcome);
                outcome.filed += tally.filed;
                outcome.known += tally.known;
                for (label, why) in tally.refused {
                    outcome.problems += 1;
                    watcher.problem(&format!("{label}: {why}"));
                }
            }
            Ok(Some(Told::Stopped(refusal))) => {
                locked(outcome).stopped = Some(refusal);
                // Whoever is in the middle of sending learns that it is of no use.
                let _ = answers.get_ref().shutdown(Shutdown::Both);
                return false;
            }
            Ok(Some(Told::Finished)) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
}

fn bytes_of(source: &Source) -> u64 {
    match source.kind {
        Kind::Mbox => std::fs::metadata(&source.path).map_or(0, |found| found.len()),
        Kind::Maildir => ["cur", "new"]
            .iter()
            .filter_map(|part| std::fs::read_dir(source.path.join(part)).ok())
            .flat_map(Iterator::flatten)
            .filter_map(|entry| entry.metadata().ok())
            .map(|found| found.len())
            .sum(),
    }
}

struct Sending<'a> {
    stream: BufWriter<UnixStream>,
    wanted: &'a Wanted,
    watcher: &'a dyn Watcher,
    problem: &'a dyn Fn(&str),
}

impl Sending<'_> {
    /// Gives how many mails were left out as deleted.
    fn send_all(mut self, sources: &[Source]) -> io::Result<u64> {
        let mut erased = 0;
        for source in sources {
            let folder = self.folder(&source.folder, sources.len());
            match source.kind {
                Kind::Maildir => self.maildir(source, &folder)?,
                Kind::Mbox => erased += self.mbox(source, &folder)?,
            }
        }
        intake::write_line(&mut self.stream, &Sent::End)?;
        self.stream.flush()?;
        Ok(erased)
    }

    fn folder(&self, found: &str, of: usize) -> String {
        match &self.wanted.below {
            None => found.to_owned(),
            Some(below) if found == INBOX || of == 1 => below.clone(),
            Some(below) => format!("{below}/{found}"),
        }
    }

    fn maildir(&mut self, source: &Source, folder: &str) -> io::Result<()> {
        let maildir = match Maildir::open(&source.path) {
            Ok(maildir) => maildir,
            Err(error) => {
                (self.problem)(&format!("{}: {error}", source.path.display()));
                return Ok(());
            }
        };
        maildir.problems.iter().for_each(|text| (self.problem)(text));
        for entry in &maildir.entries {
            let label = maildir.path(entry).display().to_string();
            match maildir.read(entry) {
                Err(error) => (self.problem)(&format!("{label}: {error}")),
                Ok((file, date)) => {
                    self.mail(folder, maildir.marks(entry), Some((date, 0)), label, |take| maildir::copy(file, take))?;
                }
            }
            self.watcher.through(entry.bytes, 1);
        }
        Ok(())
    }

    fn mbox(&mut self, source: &Source, folder: &str) -> io::Result<u64> {
        let name = source.path.display().to_string();
        let mut mbox = match Mbox::open(&source.path) {
            Ok(mbox) => mbox,
            Err(error) => {
                (self.problem)(&format!("{name}: {error}"));
                return Ok(0);
            }
        };
        let mut erased = 0;
        loop {
            let found = match mbox.next_mail() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(erased),
                Err(error) => {
                    (self.problem)(&format!("{name}: {}", MboxError::from(error)));
                    return Ok(erased);
                }
            };
            if found.erased {
                erased += 1;
            } else {
                let label = format!("{name} at byte {}", found.begins);
                self.mail(folder, found.marks.clone(), found.date, label, |take| mbox.copy(&found, take))?;
            }
            self.watcher.through(found.ends - found.begins, 1);
        }
    }

    /// Sends one mail. What goes wrong with reading it is this mail's problem alone.
    fn mail(
        &mut self,
        folder: &str,
        marks: Marks,
        date: Option<(i64, i16)>,
        label: String,
        copy: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let system = marks.system | if self.wanted.seen { Flags::SEEN } else { 0 };
        let brought = Brought { folder: folder.to_owned(), system, keywords: marks.keywords, date, label };
        intake::write_line(&mut self.stream, &Sent::Mail(brought))?;
        let mut sent = Ok(());
        let stream = &mut self.stream;
        let read = copy(&mut |piece| {
            sent = intake::write_piece(stream, piece);
            match &sent {
                Ok(()) => Ok(()),
                Err(error) => Err(error.kind().into()),
            }
        });
        sent?;
        intake::end_mail(&mut self.stream, read.is_ok())
    }
}
