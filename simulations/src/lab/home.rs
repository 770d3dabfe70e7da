//! A real node: the `kith` binary in a home of its own, on the loopback.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::programs::PASSWORD;

/// How long a node may take to stop, or a request to be answered.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ports that systems do not give to outgoing connections: a node that is off finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What went wrong with a node.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The system.
    #[error("node {node}: {what}: {source}")]
    System {
        /// Whose.
        node: String,
        /// At what.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// It refuses something, or ends.
    #[error("node {node}: {what}: {said}")]
    Refused {
        /// Whose.
        node: String,
        /// At what.
        what: &'static str,
        /// What it says.
        said: String,
    },
    /// Something did not happen in time.
    #[error("node {node}: waited in vain: {what}")]
    Late {
        /// Whose.
        node: String,
        /// For what.
        what: String,
    },
    /// All ports are taken.
    #[error("none of the ports {} to {} is free", PORTS.start, PORTS.end - 1)]
    Ports,
}

/// A home, and the process that runs on it while one does.
#[derive(Debug)]
pub struct Home {
    binary: PathBuf,
    folder: PathBuf,
    name: String,
    port: u16,
    child: Option<Child>,
    run: Value,
}

/// Ports for this many nodes, the same for as long as they live: cards name them.
///
/// # Errors
/// There are not so many.
pub fn ports(count: usize) -> Result<Vec<u16>, Trouble> {
    // Two runs at once begin at different places.
    let shift = u16::try_from(std::process::id() % 11_000).unwrap_or(0);
    let free = PORTS.map(|port| PORTS.start + (port - PORTS.start + shift) % (PORTS.end - PORTS.start));
    let ports: Vec<u16> = free.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).take(count).collect();
    if ports.len() == count { Ok(ports) } else { Err(Trouble::Ports) }
}

impl Home {
    /// Makes a home with an account of this name.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn make(binary: &Path, folder: &Path, name: &str, port: u16, settings: &str) -> Result<Self, Trouble> {
        let (binary, folder, name) = (binary.to_owned(), folder.to_owned(), name.to_owned());
        let home = Self { binary, folder, name, port, child: None, run: Value::Null };
        std::fs::create_dir_all(&home.folder).map_err(home.failed("its folder"))?;
        std::fs::write(home.folder.join("kith.toml"), settings).map_err(home.failed("kith.toml"))?;
        let mut command = home.command();
        command.args(["account", "add", &home.name, "--password-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(home.failed("kith account add"))?;
        if let Some(mut input) = child.stdin.take() {
            // Whoever ends before it reads says why.
            input.write_all(format!("{PASSWORD}\n").as_bytes()).ok();
        }
        let output = child.wait_with_output().map_err(home.failed("kith account add"))?;
        if !output.status.success() {
            return Err(home.refused("kith account add", &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(home)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Trouble + use<> {
        let node = self.name.clone();
        move |source| Trouble::System { node, what, source }
    }

    fn refused(&self, what: &'static str, said: &str) -> Trouble {
        Trouble::Refused { node: self.name.clone(), what, said: said.trim().to_owned() }
    }

    /// Something about this node did not happen.
    #[must_use]
    pub fn late(&self, what: impl Into<String>) -> Trouble {
        Trouble::Late { node: self.name.clone(), what: what.into() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--home").arg(&self.folder).env_remove("KITH_HOME").env("KITH_PASSPHRASE_FILE", "");
        command
    }

    /// Starts it and waits until it serves; gives how long that took.
    ///
    /// # Errors
    /// [`Trouble`], with the last it said.
    pub fn start(&mut self, bootstrap: &[String]) -> Result<Duration, Trouble> {
        let begun = Instant::now();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let log = log.map_err(self.failed("its log"))?;
        let mut command = self.command();
        command.args(["run", "--smtp", "127.0.0.1:0", "--pop3", "off", "--imap", "127.0.0.1:0", "--no-mdns"]);
        command.args(["--listen", &format!("/ip4/127.0.0.1/tcp/{}", self.port)]);
        if !bootstrap.is_empty() {
            command.arg("--bootstrap").args(bootstrap);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(self.failed("kith run"))?;
        let ready = child.stdout.take().and_then(|out| BufReader::new(out).lines().next()).and_then(Result::ok);
        self.child = Some(child);
        if ready.as_deref() != Some("ready") {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            return Err(self.refused("kith run", log.lines().last().unwrap_or("it ended")));
        }
        let run = std::fs::read(self.folder.join("run.json")).map_err(self.failed("run.json"))?;
        self.run = serde_json::from_slice(&run).map_err(|error| self.failed("run.json")(error.into()))?;
        Ok(begun.elapsed())
    }

    /// SIGTERM; gives how long it took to end.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self) -> Result<Duration, Trouble> {
        let Some(mut child) = self.child.take() else { return Ok(Duration::ZERO) };
        let begun = Instant::now();
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let told = pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok());
        while told && begun.elapsed() < PATIENCE {
            if child.try_wait().map_err(self.failed("its end"))?.is_some() {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child = Some(child);
        Err(self.late("it does not end"))
    }

    /// Whether a process runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.child.is_some()
    }

    /// The real port of a server, `127.0.0.1:…`.
    #[must_use]
    pub fn server(&self, name: &str) -> &str {
        self.run[name].as_str().unwrap_or_default()
    }

    /// Where other nodes reach it, with its name.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let listen = self.run["listen"].as_array().into_iter().flatten();
        listen.filter_map(|address| address.as_str().map(str::to_owned)).collect()
    }

    /// Asks the running node what the command line would, without the time that a command takes to start.
    ///
    /// # Errors
    /// It refuses, or is not there.
    pub fn ask(&self, what: &'static str, mut request: Value) -> Result<Value, Trouble> {
        if let Some(fields) = request.as_object_mut() {
            fields.insert("body".into(), json!(0));
            fields.insert("request".into(), json!(what));
        }
        let heard = self.converse(&request).map_err(self.failed(what))?;
        match (heard.get("done"), heard.get("refused")) {
            (Some(done), _) => Ok(done.clone()),
            (None, refused) => Err(self.refused(what, refused.and_then(|said| said["cause"].as_str()).unwrap_or("nothing"))),
        }
    }

    fn converse(&self, request: &Value) -> io::Result<Value> {
        let stream = UnixStream::connect(self.folder.join("control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        (&stream).write_all(&line)?;
        // The answer is a line; the connection stays for more.
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// What `kith status --json` shows.
    ///
    /// # Errors
    /// It is not there.
    pub fn status(&self) -> Result<Value, Trouble> {
        self.ask("status", json!({}))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Whatever it was about is over.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
