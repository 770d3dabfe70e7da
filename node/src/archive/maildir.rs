//! One folder as a Maildir: `cur`, `new` and `tmp`, a file a mail, its flags in the file's name.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::lines::{Ends, Lines, Quoting, Regular};
use super::marks::{Letters, Marks};

/// Where the letters' keywords are.
pub const KEYWORDS_FILE: &str = "dovecot-keywords";
/// The most of that file that is read.
const KEYWORDS_BYTES_MAX: u64 = 64 * 1024;
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Whether there is a Maildir.
pub fn is_maildir(folder: &Path) -> bool {
    folder.join("cur").is_dir() && (folder.join("new").is_dir() || folder.join("tmp").is_dir())
}

/// A mail's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `cur` or `new`.
    part: &'static str,
    /// Its name there.
    name: String,
    /// Bytes.
    pub bytes: u64,
}

/// A folder whose mails are read.
#[derive(Debug)]
pub struct Maildir {
    folder: PathBuf,
    letters: Letters,
    /// The mails, oldest first as far as names tell.
    pub entries: Vec<Entry>,
    /// What stands there and cannot be a mail, with the reason.
    pub problems: Vec<String>,
}

/// The part of a name that a mail keeps when it is moved and flagged.
fn base(name: &str) -> &str {
    name.split([':', ';', '!']).next().unwrap_or(name)
}

fn info(name: &str) -> &str {
    [":2,", ";2,", "!2,"].iter().find_map(|mark| name.split_once(mark)).map_or("", |(_, info)| info)
}

/// The seconds that a name begins with.
fn seconds(name: &str) -> Option<i64> {
    let digits = name.split('.').next()?;
    (9..=11).contains(&digits.len()).then(|| digits.parse().ok())?
}

impl Maildir {
    /// Lists a folder's mails: some hundred bytes of memory each.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for part in ["cur", "new"] {
            let listed = match fs::read_dir(folder.join(part)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed?,
            };
            for entry in listed {
                let entry = entry?;
                let path = entry.path();
                let Ok(name) = entry.file_name().into_string() else {
                    problems.push(format!("{}: its name is not UTF-8; rename it, then import again", path.display()));
                    continue;
                };
                // Names that begin with a dot are not mails.
                if name.starts_with('.') {
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(found) if found.is_file() => entries.push(Entry { part, name, bytes: found.len() }),
                    Ok(_) => problems.push(format!("{}: it is not a file", path.display())),
                    Err(error) => problems.push(format!("{}: {error}", path.display())),
                }
            }
        }
        entries.sort_by(|a, b| (seconds(&a.name), &a.name).cmp(&(seconds(&b.name), &b.name)));
        let mut text = String::new();
        if let Ok(file) = File::open(folder.join(KEYWORDS_FILE)) {
            // A file that is no text has no keywords.
            let _ = file.take(KEYWORDS_BYTES_MAX).read_to_string(&mut text);
        }
        Ok(Self { folder: folder.to_owned(), letters: Letters::parse(&text), entries, problems })
    }

    /// Where a mail is.
    pub fn path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(entry.part).join(&entry.name)
    }

    /// A mail's flags.
    pub fn marks(&self, entry: &Entry) -> Marks {
        Marks::from_letters(info(&entry.name), &self.letters)
    }

    /// Opens a mail, also where another program has moved or flagged it since it was listed. Gives when it came: the file's time, or the one
    /// in its name where that is earlier, since copying a Maildir makes the files new.
    ///
    /// # Errors
    /// It cannot be read, or is gone.
    pub fn read(&self, entry: &Entry) -> io::Result<(File, i64)> {
        let opened = match File::open(self.path(entry)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(self.moved(entry)?),
            opened => opened,
        };
        let file = opened?;
        let modified = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let modified = i64::try_from(modified).unwrap_or(i64::MAX);
        Ok((file, seconds(&entry.name).filter(|named| *named > 0).map_or(modified, |named| named.min(modified))))
    }

    fn moved(&self, entry: &Entry) -> io::Result<PathBuf> {
        let wanted = base(&entry.name);
        for part in ["cur", "new"] {
            for found in fs::read_dir(self.folder.join(part))?.flatten() {
                if found.file_name().to_str().is_some_and(|name| base(name) == wanted) {
                    return Ok(found.path());
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "it has gone since the import began"))
    }
}

/// Gives a file's bytes as a mail's: where its first line ends with LF, lines get the ends that mail has; where it ends with CR LF, the bytes
/// are those of the mail already.
///
/// # Errors
/// The file cannot be read, or `take` fails.
pub fn copy(mut file: File, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut lines: Option<Lines> = None;
    let mut piece = vec![0; PIECE_BYTES];
    let mut out = Vec::new();
    loop {
        let count = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            break;
        }
        let bytes = piece.get(..count).unwrap_or_default();
        let lines = lines.get_or_insert_with(|| {
            let wire = memchr::memchr(b'\n', bytes).and_then(|at| bytes.get(at.checked_sub(1)?)) == Some(&b'\r');
            Lines::new(if wire { Ends::Keep } else { Ends::ToMail }, Quoting::Keep)
        });
        out.clear();
        lines.push(bytes, &mut out);
        take(&out)?;
    }
    if let Some(mut lines) = lines {
        out.clear();
        lines.finish(&mut out);
        take(&out)?;
    }
    Ok(())
}

/// How a mail's bytes are written into a file: lines that end with LF, as Maildir has them, where they come back as they were, otherwise as
/// they are.
pub fn ends_for(regular: &Regular) -> Ends {
    if regular.is_regular() { Ends::ToFile } else { Ends::Keep }
}

#[cfg(test)]
mod tests {
    use kith_store::folder::Flags;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mails_are_listed_oldest_first_with_their_flags_and_found_again_when_moved() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["cur", "new", "tmp"] {
            fs::create_dir(folder.path().join(part)).unwrap();
        }
        assert!(is_maildir(folder.path()));
        fs::write(folder.path().join("cur/1700000000.b.host:2,FSa"), "Subject: b\n\nb\n").unwrap();
        fs::write(folder.path().join("new/1600000000.a.host"), "Subject: a\r\n\r\na\r\nlone\n").unwrap();
        fs::write(folder.path().join("cur/.hidden"), "").unwrap();
        fs::create_dir(folder.path().join("cur/strange")).unwrap();
        fs::write(folder.path().join(KEYWORDS_FILE), "0 $label1\n").unwrap();
        let maildir = Maildir::open(folder.path()).unwrap();
        assert_eq!(maildir.problems.len(), 1);
        let [a, b] = &maildir.entries[..] else { panic!("{:?}", maildir.entries) };
        assert_eq!(maildir.marks(b), Marks { system: Flags::FLAGGED | Flags::SEEN, keywords: vec!["$label1".into()] });
        fs::rename(maildir.path(a), folder.path().join("cur/1600000000.a.host:2,S")).unwrap();
        let mut mail = Vec::new();
        let mut take = |piece: &[u8]| {
            mail.extend_from_slice(piece);
            Ok(())
        };
        let (file, date) = maildir.read(a).unwrap();
        assert_eq!(date, 1_600_000_000);
        copy(file, &mut take).unwrap();
        copy(maildir.read(b).unwrap().0, &mut take).unwrap();
        assert_eq!(mail, b"Subject: a\r\n\r\na\r\nlone\nSubject: b\r\n\r\nb\r\n");
        fs::remove_file(maildir.path(b)).unwrap();
        assert!(maildir.read(b).is_err());
    }

    proptest! {
        #[test]
        fn any_mail_of_any_name_is_read_and_only_line_ends_change(
            name in "(:2,|;2,|!2,)?[a-zA-Z0-9,.:\u{e4} ]{0,20}",
            keywords in "([0-9]{1,3} [a-z$\\\\( ]{0,9}\n|.{0,9}){0,4}",
            mail in proptest::collection::vec(prop_oneof![Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), any::<[u8; 2]>().prop_map(Vec::from)], 0..40),
        ) {
            let mail = mail.concat();
            let folder = tempfile::tempdir().unwrap();
            for part in ["cur", "new"] {
                fs::create_dir(folder.path().join(part)).unwrap();
            }
            fs::write(folder.path().join(KEYWORDS_FILE), keywords).unwrap();
            fs::write(folder.path().join(format!("cur/x{name}")), &mail).unwrap();
            let maildir = Maildir::open(folder.path()).unwrap();
            prop_assert_eq!((maildir.entries.len(), maildir.problems.len()), (1, 0));
            let marks = maildir.marks(&maildir.entries[0]);
            prop_assert!(marks.keywords.iter().all(|keyword| !keyword.is_empty() && keyword.bytes().all(|byte| byte.is_ascii_graphic())));
            let mut copied = Vec::new();
            let mut take = |piece: &[u8]| {
                copied.extend_from_slice(piece);
                Ok(())
            };
            copy(maildir.read(&maildir.entries[0]).unwrap().0, &mut take).unwrap();
            let bare = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>();
            prop_assert_eq!(bare(&copied), bare(&mail));
        }
    }
}
