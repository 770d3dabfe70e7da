//! The smallest mail programs that can be: lines in, lines out, nothing clever, so that what is tested is the node.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::node::{Node, PATIENCE, eventually};

/// A connection that speaks lines.
pub(crate) struct Lines {
    reader: BufReader<TcpStream>,
}

impl Lines {
    /// Connects.
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// Reads a line, without its end; empty at the end of the stream.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).unwrap();
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Reads this many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads an SMTP reply, all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let line = self.hear();
            let more = line.as_bytes().get(3) == Some(&b'-');
            all.push_str(&line);
            all.push('\n');
            if !more {
                return all;
            }
        }
    }

    /// Says a line and reads the SMTP reply.
    pub(crate) fn talk(&mut self, line: &str) -> String {
        self.say(line);
        self.reply()
    }
}

/// Escapes what SMTP and POP3 escape: a dot at the beginning of a line.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 16);
    let mut beginning = true;
    for byte in mail {
        if beginning && *byte == b'.' {
            out.push(b'.');
        }
        beginning = *byte == b'\n';
        out.push(*byte);
    }
    out
}

/// A submission session, logged in.
pub(crate) fn submission(node: &Node, name: &str) -> Lines {
    let mut smtp = Lines::connect(&node.port("smtp"));
    assert!(smtp.reply().starts_with("220 "));
    assert!(smtp.talk("EHLO [127.0.0.1]").contains("AUTH"));
    let login = base64(format!("\0{name}\0secret").as_bytes());
    let reply = smtp.talk(&format!("AUTH PLAIN {login}"));
    assert!(reply.starts_with("235 "), "{reply}");
    smtp
}

/// Base64 of a login.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Sends one mail in an open session; gives the final reply.
pub(crate) fn send_in(smtp: &mut Lines, from: &str, to: &[&str], parameters: &str, mail: &[u8]) -> String {
    let reply = smtp.talk(&format!("MAIL FROM:<{from}@kith.alt>{parameters}"));
    assert!(reply.starts_with("250 "), "{reply}");
    for recipient in to {
        let reply = smtp.talk(&format!("RCPT TO:<{recipient}>"));
        assert!(reply.starts_with("250 "), "{recipient}: {reply}");
    }
    let reply = smtp.talk("DATA");
    assert!(reply.starts_with("354 "), "{reply}");
    smtp.send(&stuffed(mail));
    if !mail.ends_with(b"\r\n") {
        smtp.send(b"\r\n");
    }
    smtp.send(b".\r\n");
    smtp.reply()
}

/// Sends one mail.
pub(crate) fn send(node: &Node, from: &str, to: &[&str], mail: &[u8]) {
    let reply = send_in(&mut submission(node, from), from, to, " BODY=8BITMIME SMTPUTF8", mail);
    assert!(reply.starts_with("250 "), "{reply}");
}

/// A plain mail with this subject and body.
pub(crate) fn mail(from: &str, subject: &str, body: &[u8]) -> Vec<u8> {
    let mut mail = format!("From: <{from}@kith.alt>\r\nTo: somebody <friend@kith.alt>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").into_bytes();
    mail.extend_from_slice(body);
    mail
}

/// The body of a mail: what follows the first empty line.
pub(crate) fn body(mail: &[u8]) -> &[u8] {
    let at = mail.windows(4).position(|four| four == b"\r\n\r\n").expect("an empty line");
    &mail[at + 4..]
}

/// The value of a header, unfolded; empty where there is none.
pub(crate) fn header(mail: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(mail).replace("\r\n ", " ").replace("\r\n\t", " ");
    let wanted = format!("{}:", name.to_lowercase());
    text.split("\r\n")
        .take_while(|line| !line.is_empty())
        .find(|line| line.to_lowercase().starts_with(&wanted))
        .map(|line| line[wanted.len()..].trim().to_owned())
        .unwrap_or_default()
}

/// Every mail in the inbox, by POP3.
pub(crate) fn by_pop3(node: &Node, name: &str) -> Vec<Vec<u8>> {
    let mut pop = Lines::connect(&node.port("pop3"));
    assert!(pop.hear().starts_with("+OK"));
    for line in [format!("USER {name}"), "PASS secret".into()] {
        pop.say(&line);
        let reply = pop.hear();
        assert!(reply.starts_with("+OK"), "{reply}");
    }
    pop.say("STAT");
    let stat = pop.hear();
    let count: usize = stat.split(' ').nth(1).unwrap().parse().unwrap();
    (1..=count)
        .map(|number| {
            pop.say(&format!("RETR {number}"));
            let reply = pop.hear();
            assert!(reply.starts_with("+OK"), "{reply}");
            let mut mail = Vec::new();
            loop {
                let mut line = Vec::new();
                pop.reader.read_until(b'\n', &mut line).unwrap();
                if line == b".\r\n" {
                    return mail;
                }
                mail.extend_from_slice(if line.starts_with(b".") { &line[1..] } else { &line });
            }
        })
        .collect()
}

/// An IMAP session, logged in.
pub(crate) struct Imap {
    lines: Lines,
    tag: u32,
}

impl Imap {
    /// Logs in.
    pub(crate) fn login(node: &Node, name: &str) -> Self {
        Self::at(&node.port("imap"), name)
    }

    /// Logs in at any server.
    pub(crate) fn at(address: &str, name: &str) -> Self {
        let mut lines = Lines::connect(address);
        assert!(lines.hear().starts_with("* OK"));
        let mut imap = Self { lines, tag: 0 };
        imap.ok(&format!("LOGIN {name} secret"));
        imap
    }

    /// Says a command and gives every answer up to the tagged one, literals in place.
    pub(crate) fn ask(&mut self, command: &str) -> (String, Vec<Vec<u8>>) {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.lines.say(&format!("{tag} {command}"));
        let mut answers = Vec::new();
        loop {
            let answer = self.answer();
            if answer.starts_with(format!("{tag} ").as_bytes()) {
                return (String::from_utf8_lossy(&answer).into_owned(), answers);
            }
            answers.push(answer);
        }
    }

    /// As [`Imap::ask`], and it must be OK.
    pub(crate) fn ok(&mut self, command: &str) -> Vec<Vec<u8>> {
        let (end, answers) = self.ask(command);
        assert!(end.contains(" OK"), "{command}: {end}");
        answers
    }

    /// One answer with its literals.
    fn answer(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        loop {
            let line = self.lines.hear();
            whole.extend_from_slice(line.as_bytes());
            let literal = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')).and_then(|(_, size)| size.parse().ok());
            match literal {
                Some(size) => {
                    whole.extend_from_slice(b"\r\n");
                    whole.extend(self.lines.take(size));
                }
                None => return whole,
            }
        }
    }

    /// Selects a folder; gives how many messages it has.
    pub(crate) fn select(&mut self, folder: &str) -> usize {
        let answers = self.ok(&format!("SELECT \"{folder}\""));
        answers
            .iter()
            .find_map(|answer| String::from_utf8_lossy(answer).strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok())
            .expect("EXISTS")
    }

    /// Every message of the selected folder, whole.
    pub(crate) fn bodies(&mut self) -> Vec<Vec<u8>> {
        self.ok("UID FETCH 1:* (BODY.PEEK[])")
            .into_iter()
            .filter_map(|answer| {
                let at = answer.windows(2).position(|two| two == b"\r\n")?;
                let size: usize = String::from_utf8_lossy(&answer[..at]).strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()?;
                Some(answer[at + 2..at + 2 + size].to_vec())
            })
            .collect()
    }

    /// Starts idling.
    pub(crate) fn idle(&mut self) {
        self.lines.say("idle IDLE");
        assert!(self.lines.hear().starts_with('+'));
    }

    /// Waits for an unasked line that ends so.
    pub(crate) fn wait_for(&mut self, ending: &str) -> String {
        loop {
            let line = self.lines.hear();
            assert!(!line.is_empty(), "the server went away");
            if line.ends_with(ending) {
                return line;
            }
        }
    }
}

/// The inbox by IMAP, once it has this many mails; and no more than that a moment later.
pub(crate) fn inbox(node: &Node, name: &str, count: usize) -> Vec<Vec<u8>> {
    let mut imap = Imap::login(node, name);
    eventually(&format!("{count} mails in {name}'s inbox"), || (imap.select("INBOX") >= count).then_some(()));
    let mails = imap.bodies();
    assert_eq!(mails.len(), count, "each mail exactly once");
    mails
}
