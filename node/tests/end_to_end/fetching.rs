//! Programs that fetch mail, driven against a running node without encryption, with STARTTLS and with TLS from the first byte. One that is not
//! installed is skipped, with a word.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::{Imap, inbox, mail, send};
use crate::node::Node;
use crate::programs::{installed, run};

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Starttls,
    Tls,
}

pub(crate) const MODES: [Mode; 3] = [Mode::Plain, Mode::Starttls, Mode::Tls];

impl Mode {
    /// The port of `imap`, `pop3` or `smtp` in this mode.
    pub(crate) fn port(self, node: &Node, service: &str) -> String {
        let name = if self == Self::Tls { format!("{service}s") } else { service.to_owned() };
        node.port(&name).rsplit_once(':').unwrap().1.to_owned()
    }
}

/// A node with all ports open on the loopback.
pub(crate) fn node() -> Node {
    let mut node = Node::with_accounts(&["anna"]);
    node.configure("smtps = \"127.0.0.1:0\"\npop3s = \"127.0.0.1:0\"\nimaps = \"127.0.0.1:0\"");
    node.start();
    node
}

/// The certificate that programs are to trust.
pub(crate) fn authority(node: &Node) -> String {
    node.home().join("tls/authority.crt").to_str().unwrap().to_owned()
}

/// A file with a password in it, as programs want it.
pub(crate) fn secret_file(path: PathBuf, text: &str) -> PathBuf {
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

const BODY: &[u8] = b".a dot\r\n\r\nFrom here\r\n\xc3\xbc\xff\r\n..\r\n";

/// A node with three mails in anna's inbox.
fn node_with_mails() -> Node {
    let node = node();
    for number in 0..3 {
        send(&node, "anna", &["anna@kith.alt"], &mail("anna", &format!("mail {number}"), BODY));
    }
    inbox(&node, "anna", 3);
    node
}

fn maildir(path: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part)).unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["new", "cur"]
        .iter()
        .filter_map(|part| fs::read_dir(folder.join(part)).ok())
        .flat_map(|listed| listed.flatten().map(|entry| entry.path()))
        .collect();
    files.sort();
    files
}

/// Every file is one of the mails, its body as it was sent.
fn check_bodies(files: &[PathBuf]) {
    let body: Vec<u8> = BODY.iter().copied().filter(|byte| *byte != b'\r').collect();
    for file in files {
        let text: Vec<u8> = fs::read(file).unwrap().into_iter().filter(|byte| *byte != b'\r').collect();
        let at = text.windows(2).position(|two| two == b"\n\n").unwrap();
        assert_eq!(&text[at + 2..], &body[..], "{}", file.display());
    }
}

#[test]
fn mpop_fetches_each_mail_once_also_after_a_restart() {
    if !installed("mpop") {
        return;
    }
    let mut node = node_with_mails();
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        maildir(folder.path());
        let config = |node: &Node| {
            let tls = match mode {
                Mode::Plain => "tls off".to_owned(),
                Mode::Starttls => format!("tls on\ntls_starttls on\ntls_trust_file {}", authority(node)),
                Mode::Tls => format!("tls on\ntls_starttls off\ntls_trust_file {}", authority(node)),
            };
            let text = format!(
                "account kith\nhost localhost\nport {}\nuser anna\npassword secret\nauth {}\n{tls}\ndelivery maildir {dir}\nkeep on\nuidls_file {dir}/uidls\naccount default : kith\n",
                mode.port(node, "pop3"),
                if mode == Mode::Plain { "user" } else { "plain" },
                dir = folder.path().display()
            );
            secret_file(folder.path().join("mpoprc"), &text)
        };
        run(Command::new("mpop").arg("-C").arg(config(&node)));
        let fetched = files(folder.path());
        assert_eq!(fetched.len(), 3, "{mode:?}");
        check_bodies(&fetched);
        node.stop();
        node.start();
        run(Command::new("mpop").arg("-C").arg(config(&node)));
        assert_eq!(files(folder.path()).len(), 3, "{mode:?}: the names of mails are theirs for ever");
    }
}

#[test]
fn fetchmail_fetches_by_pop3_and_imap_and_deletes() {
    if !installed("fetchmail") {
        return;
    }
    for service in ["pop3", "imap"] {
        for mode in MODES {
            let node = node_with_mails();
            let folder = tempfile::tempdir().unwrap();
            let got = folder.path().join("got");
            let tls = match mode {
                Mode::Plain => "sslproto ''".to_owned(),
                Mode::Starttls => format!("sslproto 'TLS1.2+' sslcertck sslcertfile \"{}\"", authority(&node)),
                Mode::Tls => format!("ssl sslcertck sslcertfile \"{}\"", authority(&node)),
            };
            let text = format!(
                "set no bouncemail\npoll localhost service {} protocol {service} user \"anna\" password \"secret\" {tls} fetchall no keep mda \"/bin/sh -c 'cat >> {}'\"\n",
                mode.port(&node, service),
                got.display()
            );
            let rc = secret_file(folder.path().join("rc"), &text);
            let output = Command::new("fetchmail")
                .env("HOME", folder.path())
                .env("FETCHMAILHOME", folder.path())
                .arg("-f")
                .arg(&rc)
                .output()
                .unwrap();
            assert!(output.status.success(), "{service} {mode:?}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8_lossy(&fs::read(&got).unwrap()).into_owned();
            for number in 0..3 {
                assert_eq!(text.matches(&format!("Subject: mail {number}")).count(), 1, "{service} {mode:?}");
            }
            assert_eq!(Imap::login(&node, "anna").select("INBOX"), 0, "{service} {mode:?}");
        }
    }
}

#[test]
fn getmail_fetches_by_pop3_and_imap_each_mail_once() {
    if !installed("getmail") {
        return;
    }
    let node = node_with_mails();
    for service in ["POP3", "IMAP"] {
        for mode in [Mode::Plain, Mode::Tls] {
            let folder = tempfile::tempdir().unwrap();
            let near = folder.path().join("near");
            maildir(&near);
            let (kind, tls) = match mode {
                Mode::Tls => (format!("Simple{service}SSLRetriever"), format!("ca_certs = {}\n", authority(&node))),
                Mode::Plain | Mode::Starttls => (format!("Simple{service}Retriever"), String::new()),
            };
            let text = format!(
                "[retriever]\ntype = {kind}\nserver = localhost\nport = {}\nusername = anna\npassword = secret\n{tls}[destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"-c\", \"cat > $(mktemp {}/new/XXXXXX)\")\nallow_root_commands = true\n[options]\nread_all = false\ndelivered_to = false\nreceived = false\n",
                mode.port(&node, &service.to_lowercase()),
                near.display()
            );
            let rc = secret_file(folder.path().join("getmailrc"), &text);
            for _ in 0..2 {
                run(Command::new("getmail").arg("--getmaildir").arg(folder.path()).arg("--rcfile").arg(&rc));
                let fetched = files(&near);
                assert_eq!(fetched.len(), 3, "{service} {mode:?}");
                check_bodies(&fetched);
            }
        }
    }
}

#[test]
fn offlineimap_keeps_a_copy_and_brings_changes_back() {
    if !installed("offlineimap") {
        return;
    }
    for mode in MODES {
        let node = node_with_mails();
        let folder = tempfile::tempdir().unwrap();
        let near = folder.path().join("near");
        let tls = match mode {
            Mode::Plain => "ssl = no\nstarttls = no".to_owned(),
            Mode::Starttls => format!("ssl = no\nstarttls = yes\nsslcacertfile = {}", authority(&node)),
            Mode::Tls => format!("ssl = yes\nsslcacertfile = {}", authority(&node)),
        };
        let text = format!(
            "[general]\naccounts = kith\nmetadata = {dir}/meta\nui = quiet\n[Account kith]\nlocalrepository = near\nremoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {dir}/near\n[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {}\nremoteuser = anna\nremotepass = secret\n{tls}\n",
            mode.port(&node, "imap"),
            dir = folder.path().display()
        );
        let rc = secret_file(folder.path().join("rc"), &text);
        let sync = || run(Command::new("offlineimap").env("HOME", folder.path()).arg("-o").arg("-c").arg(&rc));
        sync();
        let inbox = near.join("INBOX");
        let fetched = files(&inbox);
        assert_eq!(fetched.len(), 3, "{mode:?}");
        check_bodies(&fetched);
        for folder in ["Drafts", "Sent", "Archive", "Junk", "Trash"] {
            assert!(near.join(folder).is_dir(), "{mode:?}: {folder}");
        }
        // One is read and one is thrown away here; one is written here, one arrives there.
        let flagged = |file: &Path, flags: &str| {
            let name = file.file_name().unwrap().to_str().unwrap().split(":2,").next().unwrap().to_owned();
            fs::rename(file, inbox.join("cur").join(format!("{name}:2,{flags}"))).unwrap();
        };
        flagged(&fetched[0], "FS");
        fs::remove_file(&fetched[1]).unwrap();
        fs::write(near.join("Drafts/cur/1700000000.1.here:2,D"), "Subject: written here\n\nx\n").unwrap();
        send(&node, "anna", &["anna@kith.alt"], &mail("anna", "later", b"x\r\n"));
        sync();
        let mut imap = Imap::login(&node, "anna");
        assert_eq!(imap.select("INBOX"), 3, "{mode:?}");
        assert!(String::from_utf8_lossy(&imap.ok("SEARCH SEEN FLAGGED")[0]).trim() != "* SEARCH", "{mode:?}");
        assert_eq!(imap.select("Drafts"), 1, "{mode:?}");
        assert_eq!(files(&inbox).len(), 3, "{mode:?}");
    }
}
