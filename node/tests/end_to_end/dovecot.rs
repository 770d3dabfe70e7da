//! A provider: a real Dovecot in a folder of its own, on private ports, with a mailbox for `anna` (password `secret`, or a token), which checks
//! names for a Postfix beside it too; and what says whether a token is good.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::node::eventually;
use crate::ports::free_port;
use crate::programs::installed;

/// Nobody, who keeps the mailbox.
const KEEPER: u32 = 65_534;

/// Says which tokens are good (RFC 7662), to whoever asks; they are anna's.
#[derive(Clone)]
pub(crate) struct Tokens {
    port: u16,
    good: Arc<Mutex<BTreeSet<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Tokens {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tokens = Self { port: listener.local_addr().unwrap().port(), good: Arc::default(), asked: Arc::default() };
        let answering = tokens.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answering.answer(stream);
            }
        });
        tokens
    }

    /// From now on this one is good, and no other.
    pub(crate) fn only(&self, token: &str) {
        *self.good.lock().unwrap() = BTreeSet::from([token.to_owned()]);
    }

    /// How often somebody showed one.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 2048];
        while !request.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(1..) => request.extend_from_slice(&piece),
                Ok(0) | Err(_) => return,
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let token = text.lines().find_map(|line| line.strip_prefix("Authorization: Bearer ")).unwrap_or_default().trim();
        self.asked.fetch_add(1, Ordering::Relaxed);
        let good = self.good.lock().unwrap().contains(token);
        let body = format!("{{\"active\":{good},\"username\":\"anna\"}}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // Whoever has gone goes without.
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// A running Dovecot, stopped when dropped.
pub(crate) struct Dovecot {
    folder: tempfile::TempDir,
    child: Option<Child>,
    ports: [u16; 4],
}

impl Dovecot {
    /// One that asks `tokens` about tokens. `None`, with a word, where there is no Dovecot or no right to start one.
    pub(crate) fn start(tokens: &Tokens) -> Option<Self> {
        if !installed("dovecot") || !Path::new("/usr/lib/dovecot/imap").exists() || !Path::new("/usr/lib/dovecot/pop3").exists() {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("Dovecot can be started by root alone: skipped");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("dovecot").tempdir_in("/tmp").unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(path.join("cert.pem"), certified.cert.pem()).unwrap();
        fs::write(path.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        fs::write(path.join("users"), "anna:{PLAIN}secret\n").unwrap();
        for part in ["mail", "mail/anna", "mail/anna/cur", "mail/anna/new", "mail/anna/tmp"] {
            fs::create_dir(path.join(part)).unwrap();
            chown(path.join(part), Some(KEEPER), Some(KEEPER)).unwrap();
        }
        let (here, ports) = (path.display(), [free_port(), free_port(), free_port(), free_port()]);
        let [imap, imaps, pop3, pop3s] = ports;
        fs::write(
            path.join("tokens"),
            format!(
                "introspection_mode = auth\nintrospection_url = http://127.0.0.1:{}/\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n",
                tokens.port
            ),
        )
        .unwrap();
        let listener = |name: &str, port, more: &str| {
            format!("  inet_listener {name} {{\n    address = 127.0.0.1\n    port = {port}\n{more}  }}\n")
        };
        let settings = format!(
            "protocols = imap pop3\nbase_dir = {here}/run\nlog_path = {here}/log\nssl = yes\nssl_cert = <{here}/cert.pem\nssl_key = <{here}/key.pem\n\
             disable_plaintext_auth = no\nauth_mechanisms = plain login xoauth2\nauth_failure_delay = 0\nmail_location = maildir:{here}/mail/%u\n\
             first_valid_uid = 1\ndefault_process_limit = 20\nmaildir_very_dirty_syncs = no\nmail_max_userip_connections = 50\n\
             passdb {{\n  driver = oauth2\n  mechanisms = xoauth2\n  args = {here}/tokens\n}}\n\
             passdb {{\n  driver = passwd-file\n  mechanisms = plain login\n  args = {here}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid={KEEPER} gid={KEEPER} home={here}/mail/%u\n}}\n\
             service imap-login {{\n{}{}}}\nservice pop3-login {{\n{}{}}}\n\
             service auth {{\n  unix_listener {here}/names {{\n    mode = 0666\n  }}\n}}\n\
             service anvil {{\n  client_limit = 500\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\nservice stats {{\n  client_limit = 100\n}}\n",
            listener("imap", imap, ""),
            listener("imaps", imaps, "    ssl = yes\n"),
            listener("pop3", pop3, ""),
            listener("pop3s", pop3s, "    ssl = yes\n"),
        );
        fs::write(path.join("dovecot.conf"), settings).unwrap();
        let mut dovecot = Self { folder, child: None, ports };
        dovecot.run();
        Some(dovecot)
    }

    fn run(&mut self) {
        let child = Command::new("/usr/sbin/dovecot")
            .arg("-F")
            .arg("-c")
            .arg(self.folder.path().join("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("Dovecot listens", || TcpStream::connect(("127.0.0.1", self.ports[1])).ok());
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Asked, so that it ends its own children.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// Every connection breaks, and it is there again.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.run();
    }

    /// `kith.toml`'s lines for fetching from it by `imap` or `pop3`, in the clear or, by the name that its certificate has, with TLS.
    pub(crate) fn fetch(&self, by: &str, tls: &str) -> String {
        let [imap, imaps, pop3, pop3s] = self.ports;
        let port = match (by, tls) {
            ("imap", "tls") => imaps,
            ("imap", _) => imap,
            (_, "tls") => pop3s,
            _ => pop3,
        };
        let host = if tls == "none" { "127.0.0.1" } else { "localhost" };
        format!("fetch = \"{host}:{port}\"\nfetch_by = \"{by}\"\nfetch_tls = \"{tls}\"\n")
    }

    /// What vouches for its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Settings of a Postfix that takes mail from those alone whom this one knows.
    pub(crate) fn names(&self) -> String {
        format!(
            "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}/names\nsmtpd_client_restrictions = permit_sasl_authenticated, reject\n",
            self.folder.path().display()
        )
    }

    /// What it wrote down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Puts a mail into the mailbox, as a delivery agent does.
    pub(crate) fn deliver(&self, mail: &[u8]) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let anna = self.folder.path().join("mail/anna");
        let name = format!("{}.M{number:06}P1.test", 1_795_000_000 + number);
        fs::write(anna.join("tmp").join(&name), mail).unwrap();
        chown(anna.join("tmp").join(&name), Some(KEEPER), Some(KEEPER)).unwrap();
        fs::rename(anna.join("tmp").join(&name), anna.join("new").join(name)).unwrap();
    }

    /// How many mails are in the mailbox.
    pub(crate) fn count(&self) -> usize {
        let anna = self.folder.path().join("mail/anna");
        ["cur", "new"].iter().map(|part| fs::read_dir(anna.join(part)).unwrap().count()).sum()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.end();
    }
}
