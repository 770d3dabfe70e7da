//! What there is to bring along at a path: a Maildir (with Maildir++'s or plain folders below it), an mbox, or a tree of mboxes as Thunderbird,
//! mutt and Apple Mail keep them; and what each folder is called.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::maildir;

/// Folders inside each other.
const DEPTH_MAX: usize = 32;
/// Folders in all.
const SOURCES_MAX: usize = 10_000;
/// The folder that every account has.
pub const INBOX: &str = "INBOX";

/// How mails are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file each.
    Maildir,
    /// All in one file.
    Mbox,
}

/// One folder of mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The folder's name with `/` between its levels.
    pub folder: String,
}

/// Everything that was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Sources {
    /// By path.
    pub found: Vec<Source>,
    /// Sentences.
    pub problems: Vec<String>,
}

/// Looks at a path. Links are followed at the top only.
///
/// # Errors
/// The path cannot be read at all.
pub fn find(path: &Path) -> io::Result<Sources> {
    let mut sources = Sources::default();
    let top = fs::canonicalize(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if top.is_dir() {
        // `Archive.mbox/mbox`, as Apple Mail exports a folder.
        let own = name.strip_suffix(".mbox").filter(|_| top.join("mbox").is_file());
        sources.folder(&top, own.unwrap_or_default(), 0);
    } else if begins_like_an_mbox(&top)? {
        sources.found.push(Source { path: top, kind: Kind::Mbox, folder: mbox_name(&name) });
    }
    sources.found.sort_by(|a, b| (a.folder != INBOX, &a.folder).cmp(&(b.folder != INBOX, &b.folder)));
    Ok(sources)
}

/// A level below another.
fn below(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

impl Sources {
    /// `name` is empty at the top.
    fn folder(&mut self, path: &Path, name: &str, depth: usize) {
        if depth > DEPTH_MAX || self.found.len() >= SOURCES_MAX {
            self.problems.push(format!("{}: there are too many folders below; import it by itself", path.display()));
            return;
        }
        let is_maildir = maildir::is_maildir(path);
        if is_maildir {
            let folder = if name.is_empty() { INBOX.to_owned() } else { name.to_owned() };
            self.found.push(Source { path: path.to_owned(), kind: Kind::Maildir, folder });
        }
        let listed = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(listed) => listed,
            Err(error) => {
                self.problems.push(format!("{}: {error}", path.display()));
                return;
            }
        };
        for entry in listed {
            let (path, file_name) = (entry.path(), entry.file_name());
            let Some(file_name) = file_name.to_str() else {
                self.problems.push(format!("{}: its name is not UTF-8; rename it, then import again", path.display()));
                continue;
            };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.directory(&path, file_name, name, is_maildir, depth);
            } else if kind.is_file() && !is_maildir && !file_name.starts_with('.') {
                self.file(&path, file_name, name);
            }
        }
    }

    fn directory(&mut self, path: &Path, file_name: &str, parent: &str, in_maildir: bool, depth: usize) {
        if in_maildir && matches!(file_name, "cur" | "new" | "tmp") {
            return;
        }
        if let Some(dotted) = file_name.strip_prefix('.') {
            // Maildir++: all folders lie side by side, and their names say what is below what.
            if maildir::is_maildir(path) {
                let levels: Vec<String> = dotted.split('.').map(decoded).collect();
                self.folder(path, &below(parent, &levels.join("/")), depth + 1);
            }
            return;
        }
        // Thunderbird keeps what is below a folder in `Name.sbd`; Apple Mail exports `Name.mbox/mbox`.
        let level = file_name.strip_suffix(".sbd").or_else(|| file_name.strip_suffix(".mbox")).unwrap_or(file_name);
        self.folder(path, &below(parent, &plain(level)), depth + 1);
    }

    fn file(&mut self, path: &Path, file_name: &str, parent: &str) {
        match begins_like_an_mbox(path) {
            Ok(true) => {
                let folder = if file_name == "mbox" && !parent.is_empty() {
                    parent.to_owned()
                } else {
                    below(parent, &mbox_name(file_name))
                };
                self.found.push(Source { path: path.to_owned(), kind: Kind::Mbox, folder });
            }
            // Indexes and whatever else lies beside mboxes.
            Ok(false) => {}
            Err(error) => self.problems.push(format!("{}: {error}", path.display())),
        }
    }
}

fn begins_like_an_mbox(path: &Path) -> io::Result<bool> {
    let mut head = [0; 5];
    let mut file = File::open(path)?;
    match file.read_exact(&mut head) {
        Ok(()) => Ok(head == *b"From "),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn mbox_name(file_name: &str) -> String {
    let name = file_name.strip_suffix(".mbox").or_else(|| file_name.strip_suffix(".mbx")).unwrap_or(file_name);
    if name.eq_ignore_ascii_case("inbox") { INBOX.to_owned() } else { plain(name) }
}

/// A level of a Maildir++ name: modified UTF-7, where we write a dot as `&AC4-` and a slash cannot be.
fn decoded(level: &str) -> String {
    let spelled: Vec<String> =
        level.split("&AC4-").map(|part| kith_imap::utf7::decode(part.as_bytes()).unwrap_or_else(|_| part.to_owned())).collect();
    spelled.join(".").replace('/', "_")
}

/// A level of a name as Maildir++ has it: modified UTF-7, and a dot as `&AC4-`.
pub fn encoded(level: &str) -> String {
    let parts: Vec<String> = level.split('.').map(kith_imap::utf7::encode).collect();
    parts.join("&AC4-")
}

/// A level as a file of our mbox tree is called: names that a file system or this import would take for something else are spelled out.
pub fn file_name(level: &str) -> String {
    let name = level.replace('%', "%25");
    let name = if let Some(rest) = name.strip_prefix('.') { format!("%2E{rest}") } else { name };
    match [".mbox", ".mbx", ".sbd"].iter().find_map(|ending| name.strip_suffix(ending).map(|stem| (stem, ending))) {
        Some((stem, ending)) => format!("{stem}%2E{}", ending.trim_start_matches('.')),
        None => name,
    }
}

/// What `file_name` meant.
fn plain(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maildir_at(path: PathBuf) {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
    }

    fn names(path: &Path) -> Vec<(String, Kind)> {
        let sources = find(path).unwrap();
        assert_eq!(sources.problems, Vec::<String>::new());
        sources.found.into_iter().map(|source| (source.folder, source.kind)).collect()
    }

    #[test]
    fn folders_of_maildirs_have_their_names() {
        let home = tempfile::tempdir().unwrap();
        for path in ["", ".Sent", ".Work.2026", ".Entw&APw-rfe", ".v1&AC4-2", "plain/deeper"] {
            maildir_at(home.path().join(path));
        }
        let found: Vec<String> = names(home.path()).into_iter().map(|(folder, _)| folder).collect();
        assert_eq!(found, ["INBOX", "Entwürfe", "Sent", "Work/2026", "plain/deeper", "v1.2"]);
        for name in ["v1.2", "Entwürfe", "A&B", "..", "日本.語"] {
            assert_eq!(decoded(&encoded(name)), name);
        }
    }

    #[test]
    fn trees_of_mboxes_have_their_names() {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("Inbox", "From - x\n\n"),
            ("Inbox.msf", "// index"),
            ("Work", ""),
            ("Work.sbd/2026", "From \n\n"),
            ("Sent.mbox", "From a\n\n"),
            ("Old.mbox/mbox", "From a\n\n"),
            ("%2Ex%25.mbox", "From a\n\n"),
        ] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found: Vec<String> = names(home.path()).into_iter().map(|(folder, _)| folder).collect();
        assert_eq!(found, ["INBOX", ".x%", "Old", "Sent", "Work/2026"]);
        assert_eq!(names(&home.path().join("Sent.mbox")), [("Sent".to_owned(), Kind::Mbox)]);
        assert_eq!(names(&home.path().join("Old.mbox")), [("Old".to_owned(), Kind::Mbox)]);
        assert_eq!(names(&home.path().join("Inbox.msf")), []);
        for name in [".x%", "a.mbox", "b.sbd", "plain", "..", "100%25"] {
            assert_eq!(plain(&file_name(name)), name);
        }
    }
}
