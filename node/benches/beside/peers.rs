//! Dovecot and Postfix as Debian has them, each with everything in a temporary folder, on a free port of the loopback.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::node::eventually;

/// Whom the mailboxes belong to: `nobody`.
const OWNER: u32 = 65_534;

/// Who has a mailbox behind Postfix.
const PEOPLE: [&str; 3] = ["anna", "ben", "bob"];

/// A port that nobody uses at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether a peer can be measured; says so where it cannot.
fn there(program: &str) -> bool {
    let found = Path::new(program).exists() && rustix::process::geteuid().is_root();
    if !found {
        eprintln!("{program} is not installed, or this is not root: left out");
    }
    found
}

/// A folder that other users may enter.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn end(child: &mut Child) {
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    // It may be gone already.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    eventually("a peer ends", || child.try_wait().unwrap());
}

fn answers(port: u16) {
    eventually("a peer answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
}

/// Makes everything below a folder the mailboxes' owner's.
pub(crate) fn give_away(path: &Path) {
    let done = Command::new("chown").arg("-R").arg(format!("{OWNER}:{OWNER}")).arg(path).status().unwrap();
    assert!(done.success());
}

/// A running Dovecot; every password is `secret`.
pub(crate) struct Dovecot {
    folder: TempDir,
    child: Child,
    imap: u16,
    pop3: u16,
}

impl Dovecot {
    /// `None` where there is none on this machine.
    pub(crate) fn started() -> Option<Self> {
        if !there("/usr/sbin/dovecot") {
            return None;
        }
        let (folder, imap, pop3) = (folder(), free_port(), free_port());
        let home = folder.path().display();
        std::fs::create_dir(folder.path().join("mail")).unwrap();
        give_away(&folder.path().join("mail"));
        let listener = |name: &str, port: u16| {
            format!(
                "service {name}-login {{\n chroot =\n inet_listener {name} {{\n  port = {port}\n }}\n inet_listener {name}s {{\n  port = 0\n }}\n}}\n"
            )
        };
        let settings = format!(
            "base_dir = {home}/run\nstate_dir = {home}/run\ninstance_name = beside\nlog_path = {home}/log\nprotocols = imap pop3\n\
             listen = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\nfirst_valid_uid = 1\nmail_location = maildir:{home}/mail/%u\n\
             mail_max_userip_connections = 200\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid={OWNER} gid={OWNER} home={home}/mail/%u\n}}\n\
             namespace inbox {{\n inbox = yes\n}}\nservice anvil {{\n chroot =\n}}\nservice stats {{\n chroot =\n}}\n{}{}",
            listener("imap", imap),
            listener("pop3", pop3),
        );
        let file = folder.path().join("dovecot.conf");
        std::fs::write(&file, settings).unwrap();
        let child = Command::new("/usr/sbin/dovecot").args(["-F", "-c"]).arg(&file).spawn().unwrap();
        answers(imap);
        Some(Self { folder, child, imap, pop3 })
    }

    pub(crate) fn imap(&self) -> String {
        format!("127.0.0.1:{}", self.imap)
    }

    pub(crate) fn pop3(&self) -> String {
        format!("127.0.0.1:{}", self.pop3)
    }

    /// Where all mailboxes are.
    pub(crate) fn mail(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// Puts a Maildir in place of somebody's mailbox.
    pub(crate) fn takes_over(&self, name: &str, maildir: &Path) {
        let there = self.mail().join(name);
        let done = Command::new("cp").arg("-r").arg(maildir).arg(&there).status().unwrap();
        assert!(done.success());
        give_away(&there);
    }

    /// `doveadm` on this Dovecot.
    pub(crate) fn administer(&self, arguments: &[&str]) {
        let mut command = Command::new("/usr/bin/doveadm");
        command.arg("-c").arg(self.folder.path().join("dovecot.conf")).args(arguments).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "doveadm {arguments:?}");
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What a Postfix does with its mail.
pub(crate) enum Towards<'a> {
    /// Delivers into Maildirs below this folder, whoever it is for.
    Maildirs(&'a Path),
    /// Hands it to another one.
    Other(&'a Postfix),
    /// Hands what is for ordinary addresses to a sink.
    Sink(&'a Sink),
}

/// A running Postfix.
pub(crate) struct Postfix {
    folder: TempDir,
    child: Child,
    smtp: u16,
}

impl Postfix {
    /// `None` where there is none on this machine.
    pub(crate) fn started(towards: &Towards<'_>) -> Option<Self> {
        if !there("/usr/lib/postfix/sbin/master") {
            return None;
        }
        let (folder, smtp) = (folder(), free_port());
        let (uid, drop) = (id("-u", "postfix"), id("-g", "postdrop"));
        let path = |name: &str| folder.path().join(name);
        for (name, mode) in [("etc", 0o755), ("queue", 0o755), ("data", 0o700), ("queue/pid", 0o755)] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        chown(path("data"), Some(uid), None).unwrap();
        for name in ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"]
        {
            let name = path("queue").join(name);
            std::fs::create_dir(&name).unwrap();
            std::fs::set_permissions(&name, PermissionsExt::from_mode(0o700)).unwrap();
            chown(&name, Some(uid), None).unwrap();
        }
        for (name, mode) in [("public", 0o710), ("maildrop", 0o730)] {
            let name = path("queue").join(name);
            std::fs::create_dir(&name).unwrap();
            chown(&name, Some(uid), Some(drop)).unwrap();
            std::fs::set_permissions(&name, PermissionsExt::from_mode(mode)).unwrap();
        }
        let home = folder.path().display();
        let towards = match towards {
            Towards::Maildirs(mail) => format!(
                "virtual_mailbox_domains = kith.alt\nvirtual_mailbox_base = {}\nvirtual_mailbox_maps = texthash:{home}/etc/boxes\n",
                mail.display()
            ),
            Towards::Other(other) => format!("relay_domains = kith.alt\nrelayhost = [127.0.0.1]:{}\n", other.smtp),
            Towards::Sink(sink) => format!("relayhost = [127.0.0.1]:{}\n", sink.port),
        };
        let boxes: String = PEOPLE.iter().map(|name| format!("{name}@kith.alt {name}/\n")).collect();
        std::fs::write(path("etc/boxes"), boxes).unwrap();
        let settings = format!(
            "compatibility_level = 3.6\nqueue_directory = {home}/queue\ndata_directory = {home}/data\ncommand_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {home}/log\n\
             maillog_file_prefixes = {home}\nmyhostname = beside.invalid\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\nalias_maps =\n\
             local_recipient_maps =\nvirtual_uid_maps = static:{OWNER}\nvirtual_gid_maps = static:{OWNER}\nvirtual_minimum_uid = 1\n\
             message_size_limit = 60000000\nvirtual_mailbox_limit = 0\nmailbox_size_limit = 0\n\
             smtpd_client_connection_count_limit = 0\nsmtp_host_lookup = native\n{towards}"
        );
        std::fs::write(path("etc/main.cf"), settings).unwrap();
        let services = format!(
            "127.0.0.1:{smtp} inet n - n - 200 smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
             rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
             trace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n\
             error unix - - n - - error\nretry unix - - n - - error\nvirtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\n\
             scache unix - - n - 1 scache\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\n"
        );
        std::fs::write(path("etc/master.cf"), services).unwrap();
        let mut master = Command::new("/usr/lib/postfix/sbin/master");
        let child = master.arg("-c").arg(path("etc")).arg("-d").stderr(Stdio::null()).spawn().unwrap();
        answers(smtp);
        Some(Self { folder, child, smtp })
    }

    pub(crate) fn smtp(&self) -> String {
        format!("127.0.0.1:{}", self.smtp)
    }

    /// The process that all others come from.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has nothing more to do.
    pub(crate) fn drained(&self) {
        let has_none = |name: &str| {
            let folder = self.folder.path().join("queue").join(name);
            std::fs::read_dir(folder).unwrap().next().is_none()
        };
        eventually("Postfix has delivered everything", || (has_none("incoming") && has_none("active")).then_some(()));
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Postfix's `smtp-sink`: takes every mail, and keeps each in a file.
pub(crate) struct Sink {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Sink {
    /// `None` where there is none on this machine.
    pub(crate) fn started() -> Option<Self> {
        if !there("/usr/sbin/smtp-sink") {
            return None;
        }
        let (folder, port) = (folder(), free_port());
        let mut sink = Command::new("/usr/sbin/smtp-sink");
        sink.current_dir(folder.path()).args(["-u", "root", "-d", "mail.", &format!("127.0.0.1:{port}"), "200"]);
        let child = sink.stdout(Stdio::null()).spawn().unwrap();
        answers(port);
        Some(Self { folder, child, port })
    }

    pub(crate) fn smtp(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Files begun so far: one for each mail.
    pub(crate) fn mails(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A user's or a group's number.
fn id(kind: &str, name: &str) -> u32 {
    let output = match kind {
        "-u" => Command::new("id").args(["-u", name]).output().unwrap(),
        _ => Command::new("sh").args(["-c", &format!("getent group {name} | cut -d: -f3")]).output().unwrap(),
    };
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
