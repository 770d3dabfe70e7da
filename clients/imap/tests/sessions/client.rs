//! A program at the other end of a session.

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use kith_connection::{Session as _, Step};
use kith_imap::{Link, Session, Shared, Without};

use crate::home::Home;

/// Speaks and listens; logged in.
pub(crate) struct Client<'a> {
    home: &'a Home,
    session: Session,
    input: BytesMut,
    /// What the server said and nobody has looked at.
    said: Vec<u8>,
    pub(crate) ended: bool,
    tags: usize,
    packing: Option<(Compress, Decompress)>,
    /// The most that the session held of the answer at once.
    pub(crate) longest_step: usize,
    /// What it hands over is taken at once.
    pub(crate) quick: bool,
}

impl<'a> Client<'a> {
    pub(crate) fn new(home: &'a Home) -> Self {
        Self::with_clock(home, || 1_795_000_000)
    }

    /// By whose clock the session goes.
    pub(crate) fn with_clock(home: &'a Home, now: fn() -> i64) -> Self {
        let shared = Shared::new(home.store.clone(), Without::default());
        let link = Link { may_log_in: true, can_start_tls: false };
        let mut session = Session::new(shared, link, now);
        let mut greeting = BytesMut::new();
        session.greet(&mut greeting);
        let mut client = Self {
            home,
            session,
            input: BytesMut::new(),
            said: Vec::new(),
            ended: false,
            tags: 0,
            packing: None,
            longest_step: 0,
            quick: false,
        };
        client.ok("LOGIN mum secret");
        client
    }

    /// Sends bytes and takes in whatever the server says to them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match &mut self.packing {
            None => self.input.extend_from_slice(bytes),
            Some((compress, _)) => {
                let mut packed = Vec::with_capacity(bytes.len() + 1_000);
                compress.compress_vec(bytes, &mut packed, FlushCompress::Sync).unwrap();
                assert!(packed.len() < packed.capacity());
                self.input.extend_from_slice(&packed);
            }
        }
        self.run();
    }

    /// As [`Client::send`], a byte at a time and without compression of its own.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.input.extend_from_slice(&[*byte]);
            self.run();
        }
    }

    /// Lets the session go on: what an idling one does when it is woken.
    pub(crate) fn run(&mut self) {
        while !self.ended {
            let mut output = BytesMut::new();
            let step = self.session.step(&mut self.input, &mut output);
            self.hear(&output);
            match step {
                Step::Continue => self.session.taken(self.quick),
                Step::Read(_) => return,
                Step::Close => self.ended = true,
                Step::StartTls => panic!("there is no TLS here"),
                Step::Login(credentials) => {
                    let mut output = BytesMut::new();
                    self.session.login_answered(self.home.login(&credentials), &mut output);
                    self.hear(&output);
                }
            }
        }
    }

    fn hear(&mut self, output: &[u8]) {
        self.longest_step = self.longest_step.max(output.len());
        match &mut self.packing {
            None => self.said.extend_from_slice(output),
            Some((_, decompress)) => {
                let start = decompress.total_in();
                loop {
                    let taken = usize::try_from(decompress.total_in() - start).unwrap();
                    let mut unpacked = Vec::with_capacity(100_000);
                    decompress.decompress_vec(&output[taken..], &mut unpacked, FlushDecompress::Sync).unwrap();
                    self.said.extend_from_slice(&unpacked);
                    if unpacked.len() < 100_000 {
                        break;
                    }
                }
            }
        }
    }

    /// From here on both directions are compressed.
    pub(crate) fn pack(&mut self) {
        self.packing = Some((Compress::new(Compression::default(), false), Decompress::new(false)));
    }

    /// What was said since somebody last looked.
    pub(crate) fn take(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.said)).into_owned()
    }

    /// The same as bytes.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Sends a command; gives the untagged lines and the tagged one without its tag.
    pub(crate) fn command(&mut self, text: &str) -> (Vec<String>, String) {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.take();
        self.send(format!("{tag} {text}\r\n").as_bytes());
        // Empty literals stay in their line.
        let said = self.take().replace("{0}\r\n", "\"\"");
        let mut lines: Vec<String> = said.split_terminator("\r\n").map(str::to_owned).collect();
        let last = lines.pop().unwrap_or_else(|| panic!("no answer to {text}"));
        let last = last.strip_prefix(&format!("{tag} ")).unwrap_or_else(|| panic!("{text}: {said}")).to_owned();
        (lines, last)
    }

    /// Sends a command that must succeed; gives the untagged lines.
    pub(crate) fn ok(&mut self, text: &str) -> Vec<String> {
        let (lines, last) = self.command(text);
        assert!(last.starts_with("OK"), "{text}: {last}");
        lines
    }

    /// Files a message.
    pub(crate) fn append(&mut self, folder: &str, message: &[u8]) {
        self.take();
        self.send(format!("append APPEND \"{folder}\" {{{}+}}\r\n", message.len()).as_bytes());
        self.send(message);
        self.send(b"\r\n");
        let said = self.take();
        assert!(said.contains("append OK"), "{said}");
        self.said = said.split_inclusive("\r\n").filter(|line| !line.starts_with("append ")).collect::<String>().into_bytes();
    }

    /// Somebody else files a message into this person's inbox.
    pub(crate) fn append_elsewhere(&self, home: &Home) {
        Client::new(home).append("INBOX", b"Subject: news\r\n\r\n");
    }

    /// Sends bytes and lets the session take a single step; gives how much it handed over.
    pub(crate) fn one_step(&mut self, bytes: &[u8]) -> usize {
        self.input.extend_from_slice(bytes);
        let mut output = BytesMut::new();
        let _ = self.session.step(&mut self.input, &mut output);
        self.hear(&output);
        output.len()
    }
}
