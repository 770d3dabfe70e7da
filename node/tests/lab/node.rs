//! A node under test: the real binary, on a machine of the test's network, and what its owner does with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::network::{Network, Place};

/// How long anything in these tests may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One person's node with one account: home, machine, and the process while one runs.
pub(crate) struct Node {
    name: &'static str,
    home: TempDir,
    place: Place,
    child: Option<Child>,
    run: Value,
    bootstrap: Vec<String>,
    reachable: bool,
    everywhere: bool,
}

/// Waits until `done` gives something; panics with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success(), "the home could not be copied");
}

impl Node {
    /// A machine that everybody can reach, with a home and an account of this name; its password is `secret`. Nothing runs yet.
    pub(crate) fn new(network: &Network, name: &'static str) -> Self {
        let node = Self::at(network.place(), name);
        let address = node.place.address();
        node.configure(&format!("external = [\"/ip4/{address}/tcp/4725\", \"/ip4/{address}/udp/4725/quic-v1\"]"));
        node
    }

    /// As [`Node::new`], on this machine, of which it does not know how it is reached.
    pub(crate) fn at(place: Place, name: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let node =
            Self { name, home, place, child: None, run: Value::Null, bootstrap: Vec::new(), reachable: true, everywhere: false };
        node.ask_with(b"secret\n", &["account", "add", name, "--password-stdin"]);
        node
    }

    /// The account's name, which is its owner's.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where everything of it lies.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its machine.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Its machine, to be changed.
    pub(crate) fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }

    /// On every address of the machine, in place of the one that it has now.
    pub(crate) fn listen_everywhere(&mut self) {
        self.everywhere = true;
    }

    /// Lets this node find the other one from its next start on.
    pub(crate) fn knows(&mut self, other: &Node) {
        self.bootstrap.extend(other.run["listen"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()));
    }

    /// From its next start on it listens on no address that others reach, as behind a router that lets nobody in.
    pub(crate) fn hide(&mut self) {
        std::fs::remove_file(self.home().join("kith.toml")).unwrap();
        self.reachable = false;
    }

    /// Adds a line to `kith.toml`.
    pub(crate) fn configure(&self, line: &str) {
        let mut file = File::options().create(true).append(true).open(self.home().join("kith.toml")).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// Starts it and waits for `ready`.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut command = self.place.command(env!("CARGO_BIN_EXE_kith"));
        self.settle(&mut command);
        command.args(["run", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--imap", "127.0.0.1:0", "--no-mdns", "--listen"]);
        if self.reachable {
            let own = self.place.address();
            let address = if self.everywhere { std::net::Ipv4Addr::UNSPECIFIED } else { own };
            command.args([format!("/ip4/{address}/tcp/4725"), format!("/ip4/{address}/udp/4725/quic-v1")]);
        } else {
            command.arg("/ip4/127.0.0.1/tcp/0");
        }
        if !self.bootstrap.is_empty() {
            command.arg("--bootstrap").args(&self.bootstrap);
        }
        if let Some(filter) = std::env::var_os("KITH_TEST_LOG") {
            let path = format!("{}/lab-{}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id(), self.name);
            eprintln!("{}'s log: {path}", self.name);
            command.arg("--log").arg(filter).stderr(File::options().create(true).append(true).open(path).unwrap());
        } else {
            command.args(["--log", "warn"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().map(Result::unwrap);
        // Kept before anything can fail, so that it is ended with the test.
        self.child = Some(child);
        assert_eq!(line.as_deref(), Some("ready"), "{} did not start", self.name);
        let text = std::fs::read_to_string(self.home().join("run.json")).unwrap();
        self.run = serde_json::from_str(&text).unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = eventually("the node ends", || child.try_wait().unwrap());
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// SIGKILL: what a power cut does to the process.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What its disk holds now; it must not run.
    pub(crate) fn disk(&self) -> TempDir {
        assert!(self.child.is_none(), "{} runs", self.name);
        let kept = tempfile::tempdir().unwrap();
        copy(self.home(), kept.path());
        kept
    }

    /// Puts an older copy of the disk in the place of the present one; it must not run.
    pub(crate) fn put_back(&mut self, disk: &TempDir) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let home = tempfile::tempdir().unwrap();
        copy(disk.path(), home.path());
        self.home = home;
    }

    /// The most memory its process ever had resident, in KiB.
    pub(crate) fn memory_peak(&self) -> u64 {
        let pid = self.run["pid"].as_u64().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn settle(&self, command: &mut Command) {
        command.arg("--home").arg(self.home()).env_remove("KITH_HOME").env("KITH_PASSPHRASE_FILE", "");
    }

    /// Runs a command on this home; panics unless it succeeds; gives standard output.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        self.ask_with(b"", arguments)
    }

    /// As [`Node::ask`], with standard input.
    fn ask_with(&self, input: &[u8], arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
        self.settle(&mut command);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: kith {arguments:?}: {error}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Parsed `--json` output.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ask(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Sends a plain mail to a contact.
    pub(crate) fn send(&self, to: &Node, subject: &str, body: &[u8]) {
        let header = format!(
            "From: <{}@kith.alt>\r\nTo: <{}@kith.alt>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            self.name, to.name
        );
        self.ask_with(&[header.as_bytes(), body].concat(), &["sendmail", "-i", &format!("{}@kith.alt", to.name)]);
    }

    /// How many mails of its owner wait for a receipt.
    pub(crate) fn waiting(&self) -> usize {
        self.json(&["queue", "list"])["entries"].as_array().unwrap().len()
    }

    /// Waits for the receipts of all mails sent.
    pub(crate) fn wait_for_receipts(&self) {
        eventually(&format!("{}'s receipts", self.name), || (self.waiting() == 0).then_some(()));
    }

    /// Waits until the only mail that waits is with this many relays.
    pub(crate) fn wait_for_copies(&self, count: usize) {
        eventually(&format!("{}'s mail is with {count} relays", self.name), || {
            let list = self.json(&["queue", "list"]);
            let copies = list["entries"][0]["copies"].as_array()?;
            (copies.iter().filter(|copy| copy["at"] == "relay").count() >= count).then_some(())
        });
    }

    /// How many mails lie in the inbox.
    pub(crate) fn arrived(&self) -> usize {
        let answer = String::from_utf8(self.curl("", &["-X", "STATUS INBOX (MESSAGES)"])).unwrap();
        let count = answer.split("MESSAGES ").nth(1).and_then(|rest| rest.split(')').next());
        count.unwrap_or_else(|| panic!("no number in {answer}")).parse().unwrap()
    }

    /// Waits for so many mails in the inbox; no more than those may be there.
    pub(crate) fn wait_for_mails(&self, count: usize) {
        eventually(&format!("{count} mails in {}'s inbox", self.name), || (self.arrived() >= count).then_some(()));
        assert_eq!(self.arrived(), count, "each mail exactly once");
    }

    /// A mail of the inbox, whole; the first is 1.
    pub(crate) fn mail(&self, number: usize) -> Vec<u8> {
        self.curl(&format!("INBOX;MAILINDEX={number}"), &[])
    }

    /// Whether a mail of the inbox has this subject.
    pub(crate) fn has_subject(&self, number: usize, subject: &str) -> bool {
        String::from_utf8_lossy(&self.mail(number)).contains(&format!("\r\nSubject: {subject}\r\n"))
    }

    /// Reads by IMAP, on its machine.
    fn curl(&self, path: &str, more: &[&str]) -> Vec<u8> {
        let mut command = self.place.command("curl");
        command.args(["-sS", "--max-time", "30", "--user", &format!("{}:secret", self.name)]).args(more);
        command.arg(format!("imap://{}/{path}", self.run["imap"].as_str().unwrap()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}: curl: {}", self.name, String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The test is over; whether it ended by itself does not matter.
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            self.ask(&["verify"]);
        }
    }
}
