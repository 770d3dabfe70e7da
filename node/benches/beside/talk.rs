//! Programs that take answers in and look at nothing but their end, so that it is the server that is measured.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::node::PATIENCE;

/// Bytes taken in at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// The last line of an answer is no longer.
const LINE_BYTES: usize = 4096;

/// A connection.
pub(crate) struct Talk {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The end of what was said last.
    tail: Vec<u8>,
}

impl Talk {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; BUFFER_BYTES], tail: Vec::new() }
    }

    /// Takes in until the last line satisfies; gives it.
    fn until(&mut self, ends: impl Fn(&str) -> bool) -> String {
        self.tail.clear();
        loop {
            let count = self.stream.read(&mut self.buffer).unwrap();
            assert!(count > 0, "the server went away");
            self.tail.extend_from_slice(&self.buffer[..count]);
            self.tail.drain(..self.tail.len().saturating_sub(LINE_BYTES));
            if let Some(text) = self.tail.strip_suffix(b"\r\n") {
                let start = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
                let last = String::from_utf8_lossy(&text[start..]).into_owned();
                if ends(&last) {
                    return last;
                }
            }
        }
    }

    /// An IMAP session, logged in.
    pub(crate) fn imap(address: &str, name: &str) -> Self {
        let mut talk = Self::connect(address);
        talk.until(|line| line.starts_with("* OK"));
        talk.ask(&format!("LOGIN {name} secret"));
        talk
    }

    /// How long an IMAP command takes, from its first byte to the answer's last.
    pub(crate) fn ask(&mut self, command: &str) -> Duration {
        let begun = Instant::now();
        self.stream.write_all(format!("a {command}\r\n").as_bytes()).unwrap();
        let last = self.until(|line| line.starts_with("a "));
        assert!(last.starts_with("a OK"), "{command}: {last}");
        begun.elapsed()
    }

    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// Files a mail.
    pub(crate) fn append(&mut self, folder: &str, mail: &[u8]) {
        self.stream.write_all(format!("a APPEND {folder} {{{}+}}\r\n", mail.len()).as_bytes()).unwrap();
        self.stream.write_all(mail).unwrap();
        self.stream.write_all(b"\r\n").unwrap();
        let last = self.until(|line| line.starts_with("a "));
        assert!(last.starts_with("a OK"), "{last}");
    }

    /// Downloads a whole mailbox by POP3, one mail after the other; gives how many.
    pub(crate) fn pop3(address: &str, name: &str) -> usize {
        let mut talk = Self::connect(address);
        talk.until(|line| line.starts_with("+OK"));
        let mut say = |line: &str, many: bool| {
            talk.say(line);
            talk.until(|last| if many { last == "." } else { last.starts_with("+OK") })
        };
        say(&format!("USER {name}"), false);
        say("PASS secret", false);
        let stat = say("STAT", false);
        let count = stat.split(' ').nth(1).unwrap().parse().unwrap();
        say("UIDL", true);
        for number in 1..=count {
            say(&format!("RETR {number}"), true);
        }
        say("QUIT", false);
        count
    }
}
