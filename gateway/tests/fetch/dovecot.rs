//! A Dovecot of its own in a folder, on private ports, with one mailbox: `anna`, whose password is `secret`.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kith_gateway::fetch::{Account, Afterwards, Begin, Login, Protocol, Security};
use kith_gateway::secret::SecretSource;

use crate::ports::free_port;

pub(crate) struct Dovecot {
    folder: tempfile::TempDir,
    child: Child,
    ports: [u16; 4],
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Asked, so that it ends its own children.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ended = self.child.wait();
    }
}

/// Makes these Dovecot's: only what a test has made, since files of Dovecot's own come and go meanwhile.
fn give(paths: &[impl AsRef<OsStr>]) {
    assert!(Command::new("chown").arg("nobody:nogroup").args(paths).status().unwrap().success());
}

impl Dovecot {
    /// Starts it; `None`, and says so, where it is not installed or we are not root.
    pub(crate) fn start() -> Option<Self> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let all = ["/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3"];
        if !is_root || !all.iter().all(|path| Path::new(path).exists()) {
            eprintln!("Dovecot (dovecot-imapd, dovecot-pop3d) is not installed, or we are not root: skipped");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("kith-dovecot").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = folder.path().display().to_string();
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certified.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("users"), "anna:{PLAIN}secret\n").unwrap();
        std::fs::write(folder.path().join("secret"), "secret\n").unwrap();
        std::fs::create_dir(folder.path().join("mail")).unwrap();
        give(&[folder.path().join("mail")]);
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let [imap, imaps, pop3, pop3s] = ports;
        let listener = |name: &str, port, ssl: &str| {
            format!("  inet_listener {name} {{\n    address = 127.0.0.1\n    port = {port}\n{ssl}  }}\n")
        };
        let ssl = "    ssl = yes\n";
        let settings = format!(
            "protocols = imap pop3\nbase_dir = {root}/run\nlog_path = {root}/log\nssl = yes\nssl_cert = <{root}/cert.pem\nssl_key = <{root}/key.pem\n\
             disable_plaintext_auth = no\nmail_location = maildir:{root}/mail/%u\nfirst_valid_uid = 1\nauth_failure_delay = 0\n\
             default_process_limit = 20\nmaildir_very_dirty_syncs = no\nmail_max_userip_connections = 50\n\
             passdb {{\n  driver = passwd-file\n  args = {root}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home={root}/mail/%u\n}}\n\
             service imap-login {{\n{}{}}}\nservice pop3-login {{\n{}{}}}\nservice anvil {{\n  client_limit = 500\n}}\n\
             service stats {{\n  client_limit = 100\n}}\n",
            listener("imap", imap, ""),
            listener("imaps", imaps, ssl),
            listener("pop3", pop3, ""),
            listener("pop3s", pop3s, ssl),
        );
        std::fs::write(folder.path().join("dovecot.conf"), settings).unwrap();
        let child = Command::new("/usr/sbin/dovecot")
            .args(["-F", "-c", &format!("{root}/dovecot.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let dovecot = Self { folder, child, ports };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", imaps)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", dovecot.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(dovecot)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn account(&self, protocol: Protocol, security: Security) -> Account {
        let [imap, imaps, pop3, pop3s] = self.ports;
        let port = match (protocol, security) {
            (Protocol::Imap, Security::Tls) => imaps,
            (Protocol::Imap, _) => imap,
            (Protocol::Pop3, Security::Tls) => pop3s,
            (Protocol::Pop3, _) => pop3,
        };
        Account {
            protocol,
            host: "localhost".to_owned(),
            port: Some(port),
            security,
            user: "anna".to_owned(),
            login: Login::Password,
            secret: SecretSource::File(self.folder.path().join("secret")),
            folders: vec!["INBOX".to_owned()],
            afterwards: Afterwards::Keep,
            begin: Begin::All,
            size_limit: 1 << 20,
            authority: Some(self.folder.path().join("cert.pem")),
        }
    }

    pub(crate) fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail/anna")
    }

    /// Makes a folder of the Maildir where there is none; the empty name is the inbox.
    pub(crate) fn make(&self, folder: &str) {
        let folder = self.maildir().join(folder);
        let made = ["", "cur", "new", "tmp"].map(|part| folder.join(part));
        made.iter().for_each(|part| std::fs::create_dir_all(part).unwrap());
        give(&made);
    }

    /// Puts a mail into the inbox, as a delivery agent does.
    pub(crate) fn deliver(&self, mail: &str) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.make("");
        let name = format!("{}.M{number:06}P1.test", 1_795_000_000 + number);
        let (tmp, new) = (self.maildir().join("tmp").join(&name), self.maildir().join("new").join(&name));
        std::fs::write(&tmp, mail).unwrap();
        give(&[&tmp]);
        std::fs::rename(tmp, new).unwrap();
    }

    /// Files of mails in a folder of the Maildir.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let list = |part: &str| std::fs::read_dir(self.maildir().join(folder).join(part)).ok();
        let names = |entries: std::fs::ReadDir| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        ["cur", "new"].iter().filter_map(|part| list(part)).flat_map(names).collect()
    }
}
