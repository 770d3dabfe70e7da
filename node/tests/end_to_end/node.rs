//! A node under test: the real binary in a home of its own, on free ports of the loopback.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything in these tests may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A home, and the process that runs on it while one does.
pub(crate) struct Node {
    home: TempDir,
    child: Option<Child>,
    run: serde_json::Value,
    bootstrap: Vec<String>,
    log: Option<&'static str>,
    interface: &'static str,
    announced: bool,
}

/// Waits until `done` gives something; panics with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Node {
    /// A home with these accounts; every password is `secret`. Nothing runs yet.
    pub(crate) fn with_accounts(names: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = Self {
            home,
            child: None,
            run: serde_json::Value::Null,
            bootstrap: Vec::new(),
            log: None,
            interface: "127.0.0.1",
            announced: false,
        };
        for name in names {
            node.ask_with("secret\n", &["account", "add", name, "--password-stdin"]);
        }
        node
    }

    /// As [`Node::with_accounts`], and running.
    pub(crate) fn started(names: &[&str]) -> Self {
        let mut node = Self::with_accounts(names);
        node.start();
        node
    }

    /// Where everything of it lies.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Adds lines to `kith.toml`.
    pub(crate) fn configure(&self, lines: &str) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.home().join("kith.toml")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        file.write_all(b"\n").unwrap();
    }

    /// From its next start on it writes a log of this filter into its home.
    pub(crate) fn log(&mut self, filter: &'static str) {
        self.log = Some(filter);
    }

    /// From its next start on mail programs reach it from other machines too.
    pub(crate) fn on_all_interfaces(&mut self) {
        self.interface = "0.0.0.0";
    }

    /// From its next start on it is announced on the local network.
    pub(crate) fn announced(&mut self) {
        self.announced = true;
    }

    /// Lets this node find the other one from its next start on.
    pub(crate) fn knows(&mut self, other: &Node) {
        self.bootstrap = other.addresses();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
        command.arg("--home").arg(self.home()).env_remove("KITH_HOME").env("KITH_PASSPHRASE_FILE", "");
        command
    }

    /// Starts it and waits for `ready`.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none());
        let mut command = self.command();
        let any = format!("{}:0", self.interface);
        command.args(["run", "--smtp", &any, "--pop3", &any, "--imap", &any]);
        if !self.announced {
            command.arg("--no-mdns");
        }
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]);
        if !self.bootstrap.is_empty() {
            command.arg("--bootstrap").args(&self.bootstrap);
        }
        if let Some(filter) = self.log {
            let log = std::fs::OpenOptions::new().create(true).append(true).open(self.home().join("log")).unwrap();
            command.args(["--log", filter]).stderr(log);
        } else if let Some(filter) = std::env::var_os("KITH_TEST_LOG") {
            command.arg("--log").arg(filter);
        } else {
            command.args(["--log", "warn"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().map(Result::unwrap);
        assert_eq!(line.as_deref(), Some("ready"), "the node did not start");
        self.child = Some(child);
        let text = std::fs::read_to_string(self.home().join("run.json")).unwrap();
        self.run = serde_json::from_str(&text).unwrap();
    }

    /// The real port of a server, `127.0.0.1:…`.
    pub(crate) fn port(&self, name: &str) -> String {
        self.run[name].as_str().unwrap_or_else(|| panic!("no {name} in run.json")).to_owned()
    }

    /// The process's number, as `run.json` has it.
    pub(crate) fn pid(&self) -> u32 {
        self.run["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// Its overlay addresses, with the peer.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.run["listen"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_owned()).collect()
    }

    /// SIGTERM; gives the exit status and how long it took.
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = eventually("the node ends", || child.try_wait().unwrap());
        (status, begun.elapsed())
    }

    /// SIGKILL: what a power cut does to the process.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs a command on this home; panics unless it succeeds; gives standard output.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        self.ask_with("", arguments)
    }

    /// As [`Node::ask`], with standard input.
    pub(crate) fn ask_with(&self, input: &str, arguments: &[&str]) -> String {
        let (code, out, error) = self.try_with(input.as_bytes(), arguments);
        assert_eq!(code, 0, "kith {arguments:?}: {error}");
        out
    }

    /// Runs a command; gives exit code, standard output and standard error.
    pub(crate) fn try_with(&self, input: &[u8], arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// The key address of an account, `…@kith.alt`.
    pub(crate) fn address(&self, name: &str) -> String {
        self.ask(&["address", name]).trim().to_owned()
    }

    /// Parsed `--json` output.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ask(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// How many mails wait in its queue.
    pub(crate) fn waiting(&self) -> usize {
        self.json(&["queue", "list"])["entries"].as_array().unwrap().len()
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
            let (code, _, error) = self.try_with(b"", &["verify"]);
            assert_eq!(code, 0, "the store is not sound: {error}");
        }
    }
}

/// Two running nodes that know each other, with an account each, each other's contact under its name.
pub(crate) fn pair(left: &str, right: &str) -> (Node, Node) {
    let first = Node::started(&[left]);
    let mut second = Node::with_accounts(&[right]);
    second.knows(&first);
    second.start();
    befriend(&first, left, &second, right);
    (first, second)
}

/// Makes two people each other's contacts.
pub(crate) fn befriend(first: &Node, left: &str, second: &Node, right: &str) {
    first.ask(&["contact", "add", right, &second.address(right), "--account", left]);
    second.ask(&["contact", "add", left, &first.address(left), "--account", right]);
}
