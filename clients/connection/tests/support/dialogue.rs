//! Plays conversations written as text against a session, without a socket; the tests of every protocol crate include this file.
//!
//! ```text
//! # what rule this shows
//! @ remote                 the client is not on this machine
//! C: NOOP                  the client sends a line; several in a row are sent at once
//! C x3: NOOP               three times
//! C! a\n.\x00              the client sends exactly this
//! S: 250 *                 the session answers; * stands for anything
//! S x3: 250 *
//! S*: 250 *                some lines, up to this one
//! TLS                      TLS has been started
//! M: Subject: hi           what became of it: the lines of the mail that was taken last, as the scene shows them
//! MAILS 1                  so many mails have been taken in all
//! CLOSED                   the session has ended
//! ```
//!
//! Each conversation is played twice: with the client's bytes at once, and one at a time. Nothing may differ, unless the text says `@ whole`.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use kith_connection::{Credentials, LoginRefusal, Session, Step};
use kith_store::account::Account;

/// What surrounds the sessions of a protocol.
pub(crate) trait Scene {
    /// The protocol's session.
    type Session: Session;
    /// A new session; `remote` if the client is on another machine.
    fn session(&mut self, remote: bool) -> Self::Session;
    /// Who may log in.
    fn login(&self, credentials: &Credentials) -> Result<Account, LoginRefusal>;
    /// The mails taken so far.
    fn mails(&self) -> Vec<Vec<u8>>;
}

/// Plays all conversations in a folder.
pub(crate) fn play_all<S: Scene>(folder: &Path, mut scene: impl FnMut() -> S) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no conversations in {}", folder.display());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Stage::new(&name, &text, scene(), usize::MAX).play(&text);
        if !text.contains("\n@ whole") {
            Stage::new(&name, &text, scene(), 1).play(&text);
        }
    }
}

/// Runs a session on `input`, given in pieces of `chunk` bytes; returns what it says and whether it ended. Logins go to `login`.
pub(crate) fn converse<S: Session>(
    session: &mut S,
    input: &[u8],
    chunk: usize,
    login: impl Fn(&Credentials) -> Result<Account, LoginRefusal>,
) -> (Vec<u8>, bool) {
    let mut talk = Talk { input: BytesMut::new(), said: Vec::new(), ended: false, tls: 0 };
    for piece in input.chunks(chunk.max(1)) {
        talk.feed(session, piece, &login);
    }
    (talk.said, talk.ended)
}

struct Talk {
    input: BytesMut,
    said: Vec<u8>,
    ended: bool,
    tls: usize,
}

impl Talk {
    fn feed<S: Session>(
        &mut self,
        session: &mut S,
        piece: &[u8],
        login: &impl Fn(&Credentials) -> Result<Account, LoginRefusal>,
    ) {
        if self.ended {
            return;
        }
        self.input.extend_from_slice(piece);
        loop {
            let mut output = BytesMut::new();
            let step = session.step(&mut self.input, &mut output);
            assert!(output.len() < 256 * 1024, "too much said at once");
            self.said.extend_from_slice(&output);
            match step {
                Step::Continue => {}
                Step::Read(_) => return,
                Step::Close => {
                    self.ended = true;
                    return;
                }
                Step::StartTls => {
                    self.input.clear();
                    self.tls += 1;
                    session.tls_started();
                }
                Step::Login(credentials) => {
                    let mut output = BytesMut::new();
                    session.login_answered(login(&credentials), &mut output);
                    self.said.extend_from_slice(&output);
                }
            }
        }
    }
}

struct Stage<'a, S: Scene> {
    name: &'a str,
    line: usize,
    scene: S,
    session: S::Session,
    talk: Talk,
    chunk: usize,
    pending: Vec<u8>,
    mail: Option<Vec<String>>,
}

impl<'a, S: Scene> Stage<'a, S> {
    fn new(name: &'a str, text: &str, mut scene: S, chunk: usize) -> Self {
        let mut session = scene.session(text.contains("@ remote"));
        let mut greeting = BytesMut::new();
        session.greet(&mut greeting);
        let talk = Talk { input: BytesMut::new(), said: greeting.to_vec(), ended: false, tls: 0 };
        Self { name, line: 0, scene, session, talk, chunk, pending: Vec::new(), mail: None }
    }

    fn play(mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            self.line = number + 1;
            if line.is_empty() || line.starts_with(['#', '@']) {
                continue;
            }
            let (head, rest) = line.split_once([':', '!']).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let (kind, times) = head.split_once(" x").map_or((head, 1), |(kind, times)| (kind, times.parse().unwrap()));
            for _ in 0..times {
                match (kind, line.starts_with("C!")) {
                    ("C", true) => self.pending.extend(unescape(rest)),
                    ("C", false) => self.pending.extend(format!("{rest}\r\n").bytes()),
                    _ => self.check(kind, rest),
                }
            }
        }
        self.feed();
        let left = String::from_utf8_lossy(&self.talk.said).into_owned();
        assert!(left.is_empty(), "{}: unexpected at the end: {left}", self.name);
    }

    fn check(&mut self, kind: &str, rest: &str) {
        self.feed();
        match kind {
            "S" => {
                let said = self.next_line();
                assert!(matches(rest, &said), "{}:{}: expected {rest:?}, heard {said:?}", self.name, self.line);
            }
            "S*" => while !matches(rest, &self.next_line()) {},
            "TLS" => assert!(self.talk.tls > 0, "{}:{}: no TLS", self.name, self.line),
            "CLOSED" => assert!(self.talk.ended, "{}:{}: not closed", self.name, self.line),
            "M" => {
                let mails = self.scene.mails();
                let lines = self.mail.get_or_insert_with(|| {
                    let mail = mails.last().expect("no mail was taken");
                    let text = String::from_utf8_lossy(mail);
                    text.strip_suffix("\r\n").unwrap_or(&text).rsplit("\r\n").map(str::to_owned).collect()
                });
                let line = lines.pop().unwrap_or_else(|| panic!("{}:{}: the mail is shorter", self.name, self.line));
                assert!(matches(rest, &line), "{}:{}: expected {rest:?}, found {line:?}", self.name, self.line);
            }
            head => {
                let count =
                    head.strip_prefix("MAILS ").unwrap_or_else(|| panic!("{}:{}: what is {head:?}?", self.name, self.line));
                assert_eq!(self.scene.mails().len(), count.parse::<usize>().unwrap(), "{}:{}", self.name, self.line);
                let left = self.mail.take().unwrap_or_default();
                assert!(left.is_empty(), "{}:{}: the mail goes on: {left:?}", self.name, self.line);
            }
        }
    }

    fn feed(&mut self) {
        for piece in std::mem::take(&mut self.pending).chunks(self.chunk) {
            let scene = &self.scene;
            self.talk.feed(&mut self.session, piece, &|credentials: &Credentials| scene.login(credentials));
        }
    }

    fn next_line(&mut self) -> String {
        let end = self.talk.said.windows(2).position(|pair| pair == b"\r\n");
        let end = end.unwrap_or_else(|| panic!("{}:{}: nothing more is said", self.name, self.line));
        let line: Vec<u8> = self.talk.said.drain(..end + 2).collect();
        String::from_utf8_lossy(&line[..end]).into_owned()
    }
}

/// `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else { return false };
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter != '\\' {
            bytes.extend(letter.to_string().bytes());
            continue;
        }
        let code = rest.chars().next().expect("something after a backslash");
        rest = &rest[1..];
        match code {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            other => bytes.push(other as u8),
        }
    }
    bytes
}
