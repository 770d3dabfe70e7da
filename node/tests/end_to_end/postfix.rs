//! The other world: a real Postfix in a folder of its own, on private ports, with mailboxes in `far.test`.

use crate::ports::free_port;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::node::{PATIENCE, eventually};
use crate::programs::installed;

/// Who owns the mailboxes; Postfix wants nobody below 100.
const KEEPER: u32 = 5_000;

/// A running Postfix, stopped when dropped. Takes mail for carol and dave at `far.test`, and relays for this machine.
pub(crate) struct Postfix {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Postfix {
    /// One that brings mail for `near.test` to this port of the machine. `None`, with a word, where there is no Postfix or no right to start one.
    pub(crate) fn start(near: u16, settings: &str) -> Option<Self> {
        if !installed("postfix") {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("Postfix can be started by root alone: skipped");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("postfix").tempdir_in("/tmp").unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "spool", "data", "mail"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        chown(path.join("mail"), Some(KEEPER), Some(KEEPER)).unwrap();
        let owner = Command::new("id").args(["-u", "postfix"]).output().unwrap();
        chown(path.join("data"), Some(String::from_utf8_lossy(&owner.stdout).trim().parse().unwrap()), None).unwrap();
        let (here, port) = (path.display(), free_port());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {here}/spool\ndata_directory = {here}/data\ncommand_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmyhostname = mx.far.test\nmydestination =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmaillog_file = {here}/log\nmaillog_file_prefixes = {here}\n\
             smtpd_peername_lookup = no\nvirtual_mailbox_domains = far.test\nvirtual_mailbox_base = {here}/mail\n\
             virtual_mailbox_maps = inline:{{ {{carol@far.test=carol/}} {{dave@far.test=dave/}} }}\n\
             virtual_minimum_uid = 100\nvirtual_uid_maps = static:{KEEPER}\nvirtual_gid_maps = static:{KEEPER}\nvirtual_mailbox_limit = 0\n\
             transport_maps = inline:{{ {{near.test=smtp:[127.0.0.1]:{near}}} }}\nsmtpd_relay_restrictions = permit_mynetworks reject_unauth_destination\n\
             message_size_limit = 60000000\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n{settings}\n"
        );
        fs::write(path.join("conf/main.cf"), main).unwrap();
        let services = [
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify",
            "proxymap unix - - n - - proxymap",
            "smtp unix - - n - - smtp",
            "relay unix - - n - - smtp",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "virtual unix - n n - - virtual",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "flush unix n - n 1000? 0 flush",
            "showq unix n - n - - showq",
            "postlog unix-dgram n - n - 1 postlogd",
        ];
        let listening = format!("127.0.0.1:{port} inet n - n - - smtpd\n{}\n", services.join("\n"));
        fs::write(path.join("conf/master.cf"), listening).unwrap();
        let postfix = Self { folder, port };
        let started = postfix.command("start");
        assert!(started.status.success(), "{}\n{}", String::from_utf8_lossy(&started.stderr), postfix.log());
        Some(postfix)
    }

    /// `postfix start`, `stop` and the like.
    pub(crate) fn command(&self, what: &str) -> Output {
        Command::new("/usr/sbin/postfix").arg("-c").arg(self.folder.path().join("conf")).arg(what).output().unwrap()
    }

    /// What it wrote down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The mails in a mailbox as they are, oldest first; with line ends as they were sent.
    pub(crate) fn mails(&self, name: &str) -> Vec<Vec<u8>> {
        let Ok(listed) = fs::read_dir(self.folder.path().join("mail").join(name).join("new")) else { return Vec::new() };
        let mut files: Vec<(std::time::SystemTime, PathBuf)> =
            listed.flatten().map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry.path())).collect();
        files.sort();
        files
            .iter()
            .map(|(_, file)| String::from_utf8_lossy(&fs::read(file).unwrap()).replace('\n', "\r\n").into_bytes())
            .collect()
    }

    /// Waits until it has nothing under way: what it has taken is in the mailboxes, or where else it goes.
    pub(crate) fn settled(&self) {
        let postqueue = |what: &str| {
            let said =
                Command::new("/usr/sbin/postqueue").arg("-c").arg(self.folder.path().join("conf")).arg(what).output().unwrap();
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
        };
        // What was just being said when the other side went is not in the queue yet.
        let (mut quiet, since, mut asked) = (0, Instant::now(), Instant::now());
        while quiet < 4 {
            let queue = postqueue("-p");
            quiet = if queue.contains("queue is empty") { quiet + 1 } else { 0 };
            if since.elapsed() > PATIENCE {
                let log = self.log();
                let last: Vec<&str> = log.lines().rev().take(40).collect();
                panic!("waited in vain: something is under way all the time:\n{queue}\n{}", last.join("\n"));
            }
            // A mail that it meant to try again while the last attempt was still being written down ("skipped, still being delivered") rests for a minute.
            if asked.elapsed() > Duration::from_secs(5) {
                postqueue("-f");
                asked = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The mails in a mailbox, when there are as many as these.
    pub(crate) fn mailbox(&self, name: &str, count: usize) -> Vec<Vec<u8>> {
        eventually(&format!("{count} mails for {name}"), || Some(self.mails(name)).filter(|mails| mails.len() >= count))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.command("stop");
    }
}
