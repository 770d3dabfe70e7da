//! The smallest mail programs that can be: one that sends, one that watches an inbox.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;

/// How long a server may take for a line.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line that is listened to.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Everybody's password: the nodes listen on the loopback, for minutes.
pub const PASSWORD: &str = "secret";

fn unexpected(said: &str, heard: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{said:?} was answered with {heard:?}"))
}

struct Lines {
    reader: BufReader<TcpStream>,
}

impl Lines {
    fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        io::Read::take(&mut self.reader, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// A submission session, logged in.
pub struct Sender {
    lines: Lines,
    name: String,
}

impl Sender {
    /// Logs in.
    ///
    /// # Errors
    /// The server is not there, or does not want us.
    pub fn login(address: &str, name: &str) -> io::Result<Self> {
        let mut this = Self { lines: Lines::connect(address)?, name: name.to_owned() };
        this.expect("", '2')?;
        this.talk("EHLO [127.0.0.1]", '2')?;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0{PASSWORD}"));
        this.talk(&format!("AUTH PLAIN {login}"), '2')?;
        Ok(this)
    }

    fn talk(&mut self, line: &str, class: char) -> io::Result<()> {
        self.lines.say(line)?;
        self.expect(line, class)
    }

    fn expect(&mut self, said: &str, class: char) -> io::Result<()> {
        loop {
            let line = self.lines.hear()?;
            if !line.starts_with(class) {
                return Err(unexpected(said, &line));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    /// Sends a mail of so many bytes with this subject to a contact; gives the moment at which the server promised to deliver it.
    ///
    /// # Errors
    /// The server went away, or does not take the mail.
    pub fn send(&mut self, to: &str, subject: &str, bytes: u64) -> io::Result<Instant> {
        let from = self.name.clone();
        let mail = mail(&from, to, subject, bytes);
        self.talk(&format!("MAIL FROM:<{from}@kith.alt>"), '2')?;
        self.talk(&format!("RCPT TO:<{to}@kith.alt>"), '2')?;
        self.talk("DATA", '3')?;
        self.lines.reader.get_mut().write_all(&mail)?;
        self.talk(".", '2')?;
        Ok(Instant::now())
    }
}

/// A mail of so many bytes, if its headers are not longer; no line begins with a dot.
fn mail(from: &str, to: &str, subject: &str, bytes: u64) -> Vec<u8> {
    const LINE: &[u8] = b"The quick brown fox jumps over the lazy dog, and over the next one, too.\r\n";
    let mut mail = format!(
        "From: <{from}@kith.alt>\r\nTo: <{to}@kith.alt>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@lab.invalid>\r\n\r\n"
    )
    .into_bytes();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    while mail.len() + LINE.len() <= bytes {
        mail.extend_from_slice(LINE);
    }
    mail.extend_from_slice(b"End\r\n");
    mail
}

/// An IMAP session with the inbox selected.
pub struct Watcher {
    lines: Lines,
    tag: u32,
    /// The first UID that was not looked at.
    next: u64,
    /// The server has said that there is something new.
    news: bool,
}

impl Watcher {
    /// Logs in and selects the inbox.
    ///
    /// # Errors
    /// The server is not there, or does not want us.
    pub fn login(address: &str, name: &str) -> io::Result<Self> {
        let mut this = Self { lines: Lines::connect(address)?, tag: 0, next: 1, news: false };
        let greeting = this.lines.hear()?;
        if !greeting.starts_with("* OK") {
            return Err(unexpected("", &greeting));
        }
        this.ask(&format!("LOGIN {name} {PASSWORD}"))?;
        this.ask("SELECT INBOX")?;
        Ok(this)
    }

    /// Ends the session from another thread.
    ///
    /// # Errors
    /// The system has no more of what it takes.
    pub fn handle(&self) -> io::Result<Handle> {
        self.lines.reader.get_ref().try_clone().map(Handle)
    }

    /// Looks only at what comes after UID `next`.
    pub fn skip_to(&mut self, next: u64) {
        self.next = next.max(1);
    }

    /// The UID after the last one that was looked at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How long the server takes to answer a question about nothing.
    ///
    /// # Errors
    /// The server went away.
    pub fn round_trip(&mut self) -> io::Result<Duration> {
        let begun = Instant::now();
        self.ask("NOOP")?;
        Ok(begun.elapsed())
    }

    fn ask(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        self.lines.say(&format!("{tag}{command}"))?;
        let mut answers = Vec::new();
        loop {
            let line = self.lines.hear()?;
            match line.strip_prefix(&tag) {
                Some(end) if end.starts_with("OK") => return Ok(answers),
                Some(_) => return Err(unexpected(command, &line)),
                None => {
                    self.news |= line.ends_with(" EXISTS");
                    answers.push(line);
                }
            }
        }
    }

    /// The subjects of mails that were not looked at yet.
    ///
    /// # Errors
    /// The server went away.
    pub fn subjects(&mut self) -> io::Result<Vec<String>> {
        self.news = false;
        let first = self.next;
        let answers = self.ask(&format!("UID FETCH {first}:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))?;
        let (mut subjects, mut uid) = (Vec::new(), 0);
        for line in answers {
            if let Some(said) = line.split("UID ").nth(1).filter(|_| line.starts_with("* ")) {
                let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
                uid = digits.parse().unwrap_or(0);
                self.next = self.next.max(uid + 1);
            } else if let Some(subject) = line.strip_prefix("Subject: ")
                && uid >= first
            {
                // Of an empty range the last mail is shown, which is an old one.
                subjects.push(subject.to_owned());
            }
        }
        Ok(subjects)
    }

    /// Waits for news; gives the moment at which they came.
    ///
    /// # Errors
    /// The server went away, or the session was ended.
    pub fn wait(&mut self) -> io::Result<Instant> {
        if self.news {
            return Ok(Instant::now());
        }
        self.lines.reader.get_ref().set_read_timeout(None)?;
        self.lines.say("idle IDLE")?;
        loop {
            if self.lines.hear()?.ends_with(" EXISTS") {
                break;
            }
        }
        let moment = Instant::now();
        self.lines.say("DONE")?;
        self.lines.reader.get_ref().set_read_timeout(Some(PATIENCE))?;
        while !self.lines.hear()?.starts_with("idle ") {}
        Ok(moment)
    }
}

/// Ends a session that another thread listens to.
pub struct Handle(TcpStream);

impl Handle {
    /// Ends it. Nothing is left to be done where it has ended already.
    pub fn end(&self) {
        self.0.shutdown(Shutdown::Both).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_have_about_the_size_that_was_asked_for() {
        for bytes in [600_u64, 5_000, 100_000] {
            let length = mail("anna", "bob", "lab-1", bytes).len() as u64;
            assert!(length.abs_diff(bytes) < 80, "{length} instead of {bytes}");
        }
    }
}
