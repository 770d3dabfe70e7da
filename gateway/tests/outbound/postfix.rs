//! Mail to a real Postfix on a private port, and what it makes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kith_gateway::domain::{Domain, Place};
use kith_gateway::outbound::fate::{Enhanced, Fate, HopState, Protection, Reports, Why};
use kith_gateway::outbound::mail::{Mail, Notify, Recipient};
use kith_gateway::outbound::smarthost::{Security, Smarthost};
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{Hop, OutboundSettings};
use kith_gateway::secret::SecretSource;
use sha2::{Digest, Sha256};

use crate::ports::free_port;
use crate::support::dns::Names;
use crate::support::host::{Host, Tls, conduct};
use crate::support::{Authority, address, content, mail, no_dns, program, sender, settings};

/// Whoever keeps the mailboxes; Postfix wants none below 100.
const KEEPER: u32 = 5_000;

/// A Postfix of its own, in a folder of its own.
pub(crate) struct Postfix {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    /// Whoever signed its certificate.
    pub(crate) authority: Authority,
    /// The digest of its key, as a TLSA record has it.
    pub(crate) digest: String,
}

impl Postfix {
    /// Takes mail for `far.test`: b@, c@, and nobody else. None where there is no Postfix, or no right to start one.
    pub(crate) fn start(settings: &str) -> Option<Postfix> {
        program("postfix")?;
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: Postfix can be started by root alone");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("postfix").tempdir_in("/tmp").unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "spool", "data", "mail"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        chown(path.join("mail"), Some(KEEPER), Some(KEEPER)).unwrap();
        let owner = Command::new("id").args(["-u", "postfix"]).output().ok().filter(|out| out.status.success())?;
        chown(path.join("data"), Some(String::from_utf8_lossy(&owner.stdout).trim().parse().unwrap()), None).unwrap();
        let (here, port, authority) = (path.display(), free_port(), Authority::new());
        let shown = authority.issue(&["mx.far.test", "127.0.0.1"]);
        let digest = Sha256::digest(&shown.spki).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(path.join("conf/cert.pem"), shown.pem).unwrap();
        fs::write(path.join("conf/key.pem"), shown.key_pem).unwrap();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {here}/spool\ndata_directory = {here}/data\ncommand_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\nsetgid_group = postdrop\nmyhostname = mx.far.test\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             maillog_file = {here}/log\nmaillog_file_prefixes = {here}\nsmtpd_peername_lookup = no\n\
             virtual_mailbox_domains = far.test\nvirtual_mailbox_base = {here}/mail\nvirtual_mailbox_maps = inline:{{ {{b@far.test=b/}} {{c@far.test=c/}} }}\n\
             virtual_minimum_uid = 100\nvirtual_uid_maps = static:{KEEPER}\nvirtual_gid_maps = static:{KEEPER}\nvirtual_mailbox_limit = 0\n\
             smtpd_tls_cert_file = {here}/conf/cert.pem\nsmtpd_tls_key_file = {here}/conf/key.pem\nsmtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\n\
             smtpd_relay_restrictions = reject_unauth_destination\nmessage_size_limit = 20000000\nanvil_rate_time_unit = 60s\n{settings}\n"
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
            "postlog unix-dgram n - n - 1 postlogd",
        ];
        fs::write(path.join("conf/master.cf"), format!("127.0.0.1:{port} inet n - n - - smtpd\n{}\n", services.join("\n")))
            .unwrap();
        let postfix = Postfix { folder, port, authority, digest };
        let started = postfix.command("start");
        assert!(started.status.success(), "{}\n{}", String::from_utf8_lossy(&started.stderr), postfix.log());
        Some(postfix)
    }

    fn command(&self, what: &str) -> std::process::Output {
        Command::new("/usr/sbin/postfix").arg("-c").arg(self.folder.path().join("conf")).arg(what).output().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The mails in a mailbox, when there are as many as these.
    async fn mailbox(&self, name: &str, count: usize) -> Vec<Vec<u8>> {
        let new = self.folder.path().join("mail").join(name).join("new");
        for _ in 0..300 {
            let files = mails(&new);
            if files.len() >= count {
                return files.iter().map(|file| fs::read(file).unwrap()).collect();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} mails for {name} did not come: {}", self.log());
    }

    fn settings(&self) -> OutboundSettings {
        OutboundSettings { port: self.port, ..settings() }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.command("stop");
    }
}

fn mails(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

async fn names() -> Names {
    Names::start("", "far.test. 60 IN MX 10 mx.far.test.\nmx.far.test. 60 IN A 127.0.0.1").await
}

fn far() -> Place {
    Place::Domain(Domain::parse("far.test").unwrap())
}

#[tokio::test]
async fn postfix_takes_mail_by_mx_and_tls_and_each_recipient_has_its_fate() {
    let Some(postfix) = Postfix::start("") else { return };
    let names = names().await;
    let outbound = sender(postfix.settings(), &names.dns, Roots::web());
    let mut mail = mail(&["b@far.test", "nobody@far.test", "c@far.test", "x@elsewhere.test"]);
    mail.content = content("dots:\n.\n..\n.end\r\nbücher\r\rlast");
    let outcome = outbound.send(Hop::Place(&far()), &mail).await;
    let [Fate::Delivered { host, reports, protection, .. }, Fate::Failed(nobody), Fate::Delivered { .. }, Fate::Failed(relay)] =
        &outcome.fates[..]
    else {
        panic!("{outcome:?}\n{}", postfix.log());
    };
    assert_eq!((host.as_str(), *reports, *protection), ("mx.far.test", Reports::PassedOn, Protection::Encrypted));
    assert_eq!((nobody.status(5), relay.status(5)), (Enhanced(5, 1, 1), Enhanced(5, 7, 1)));
    for name in ["b", "c"] {
        let mails = postfix.mailbox(name, 1).await;
        let text = String::from_utf8(mails[0].clone()).unwrap();
        assert!(text.ends_with("\n\ndots:\n.\n..\n.end\nbücher\n\nlast\n"), "{text}");
        assert!(text.contains("Return-Path: <anna@home.test>") && text.contains("using TLSv1.3"), "{text}");
    }
}

#[tokio::test]
async fn one_connection_to_postfix_serves_many_mails() {
    let Some(postfix) = Postfix::start("smtpd_client_connection_rate_limit = 1\n") else { return };
    let names = names().await;
    let outbound = sender(postfix.settings(), &names.dns, Roots::web());
    for _ in 0..10 {
        let outcome = outbound.send(Hop::Place(&far()), &mail(&["b@far.test"])).await;
        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}\n{}", postfix.log());
    }
    assert_eq!(postfix.mailbox("b", 10).await.len(), 10);
    outbound.close().await;
}

#[tokio::test]
async fn large_mails_arrive_whole_and_too_large_ones_fail_at_once() {
    let Some(postfix) = Postfix::start("") else { return };
    let names = names().await;
    let outbound = sender(postfix.settings(), &names.dns, Roots::web());
    let body = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n".repeat(8 * 1024 * 1024 / 63);
    let outcome = outbound.send(Hop::Place(&far()), &Mail { content: content(&body), ..mail(&["b@far.test"]) }).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
    let mails = postfix.mailbox("b", 1).await;
    assert!(mails[0].ends_with(body.replace("\r\n", "\n").as_bytes()));
    let outcome = outbound.send(Hop::Place(&far()), &Mail { content: content(&body.repeat(3)), ..mail(&["b@far.test"]) }).await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Failed(trouble)] if matches!(trouble.why, Why::TooLarge { most: 20_000_000, .. })),
        "{outcome:?}"
    );
    assert_eq!(outcome.hop, HopState::Fine);
}

#[tokio::test]
async fn postfix_reports_a_delivery_that_the_sender_wants_to_hear_of() {
    // What Postfix would send back to home.test is dropped there; its log says that it wrote it.
    let Some(postfix) = Postfix::start("transport_maps = inline:{ {home.test=discard:} }\n") else { return };
    let names = names().await;
    let outbound = sender(postfix.settings(), &names.dns, Roots::web());
    let to = Recipient { notify: Some(Notify { success: true, ..Notify::default() }), ..address("b@far.test").into() };
    let outcome = outbound.send(Hop::Place(&far()), &Mail { recipients: vec![to], ..mail(&[]) }).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { reports: Reports::PassedOn, .. }]), "{outcome:?}");
    postfix.mailbox("b", 1).await;
    for _ in 0..200 {
        if postfix.log().contains("sender delivery status notification") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no report: {}", postfix.log());
}

#[tokio::test]
async fn postfix_is_believed_by_its_key_in_the_signed_dns() {
    let Some(postfix) = Postfix::start("") else { return };
    for (digest, believed) in [(postfix.digest.clone(), true), ("ab".repeat(32), false)] {
        let port = postfix.port;
        let zone = format!("far. 60 IN MX 10 mx.far.\nmx.far. 60 IN A 127.0.0.1\n_{port}._tcp.mx.far. 60 IN TLSA 3 1 1 {digest}");
        let names = Names::start(&zone, "").await;
        let outbound = sender(postfix.settings(), &names.dns, Roots::web());
        let outcome = outbound.send(Hop::Place(&Place::Domain(Domain::parse("far").unwrap())), &mail(&["b@far.test"])).await;
        let fits = match &outcome.fates[0] {
            Fate::Delivered { protection, .. } => believed && *protection == Protection::Dane,
            Fate::Later(trouble) => !believed && matches!(trouble.why, Why::Tls(_)),
            Fate::Failed(_) | Fate::Unknown { .. } => false,
        };
        assert!(fits, "{outcome:?}");
    }
}

/// What checks passwords for Postfix.
struct Dovecot {
    folder: tempfile::TempDir,
}

impl Dovecot {
    /// Knows anna with the password `geheim`, at the socket that Postfix asks.
    fn start(postfix: &Postfix) -> Option<Dovecot> {
        program("dovecot")?;
        let folder = tempfile::Builder::new().prefix("dovecot").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (here, socket) = (folder.path().display(), postfix.folder.path().join("spool/private/auth"));
        fs::write(folder.path().join("users"), "anna:{PLAIN}geheim::::::\n").unwrap();
        let conf = format!(
            "base_dir = {here}/run\nlog_path = {here}/log\nprotocols =\nssl = no\ndisable_plaintext_auth = no\nauth_mechanisms = plain login\n\
             auth_failure_delay = 0\npassdb {{\n driver = passwd-file\n args = {here}/users\n}}\nuserdb {{\n driver = static\n args = uid={KEEPER} gid={KEEPER} home={here}\n}}\n\
             service auth {{\n unix_listener {} {{\n mode = 0666\n }}\n}}\nservice stats {{\n chroot =\n}}\n",
            socket.display()
        );
        fs::write(folder.path().join("conf"), conf).unwrap();
        let dovecot = Dovecot { folder };
        assert!(dovecot.command(&[]).success());
        Some(dovecot)
    }

    /// What it says is left alone: the daemon keeps the other end for as long as it runs.
    fn command(&self, words: &[&str]) -> std::process::ExitStatus {
        let conf = self.folder.path().join("conf");
        Command::new("/usr/sbin/dovecot")
            .arg("-c")
            .arg(conf)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.command(&["stop"]);
    }
}

#[tokio::test]
async fn postfix_as_a_smarthost_takes_mail_for_the_world_from_who_is_logged_in() {
    let world = Host::start(&["PIPELINING", "8BITMIME", "SIZE"], Tls::No, conduct(|_, _| None)).await;
    let settings = format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_tls_auth_only = yes\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\nrelayhost = [127.0.0.1]:{}\nsmtp_tls_security_level = none\n",
        world.address.port()
    );
    let Some(postfix) = Postfix::start(&settings) else { return };
    let Some(_dovecot) = Dovecot::start(&postfix) else { return };
    let hop = |password: &str| Smarthost {
        host: "127.0.0.1".into(),
        port: Some(postfix.port),
        security: Security::Starttls,
        user: Some("anna".into()),
        password: Some(SecretSource::Command(vec!["echo".into(), password.into()])),
        token: None,
        allow_clear: false,
        mails_per_minute: None,
    };
    let outbound = sender(postfix.settings(), &no_dns(), postfix.authority.roots());
    let outcome = outbound.send(Hop::Smarthost(&hop("falsch")), &mail(&["x@world.test"])).await;
    assert!(matches!(outcome.hop, HopState::CredentialsRefused { .. }), "{outcome:?}\n{}", postfix.log());
    assert!(
        matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.answer.as_ref().is_some_and(|answer| answer.code == 535)),
        "{outcome:?}"
    );
    let outcome = outbound.send(Hop::Smarthost(&hop("geheim")), &mail(&["x@world.test", "b@far.test"])).await;
    assert!(
        outcome.fates.iter().all(|fate| matches!(fate, Fate::Delivered { protection: Protection::Named, .. })),
        "{outcome:?}\n{}",
        postfix.log()
    );
    postfix.mailbox("b", 1).await;
    for _ in 0..300 {
        if world.log().mails.len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not reach the world: {}", postfix.log());
}

/// How many mails of 4 KB leave in a second, beside Postfix's own relaying of the same mails to the same sink. Prints the figures.
#[tokio::test]
#[ignore = "measures for half a minute; run alone, with --release"]
async fn throughput_beside_postfix() {
    const MAILS: usize = 3_000;
    let (Some(sink), Some(source)) = (program("smtp-sink"), program("smtp-source")) else { return };
    let (port, other_port) = (free_port(), free_port());
    let mut sinks: Vec<_> = [port, other_port]
        .iter()
        .map(|port| Command::new(&sink).args(["-u", "nobody", &format!("127.0.0.1:{port}"), "500"]).spawn().unwrap())
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let hop = Smarthost {
        host: "127.0.0.1".into(),
        port: Some(port),
        security: Security::None,
        user: None,
        password: None,
        token: None,
        allow_clear: false,
        mails_per_minute: None,
    };
    let mail = Mail {
        content: content(&"0123456789012345678901234567890123456789012345678901234567\r\n".repeat(66)),
        ..mail(&["b@far.test"])
    };
    for at_once in [1, 4] {
        let mut settings = settings();
        settings.limits.connections = at_once;
        settings.mails_per_connection = 1_000_000;
        let outbound = sender(settings, &no_dns(), Roots::web());
        let start = std::time::Instant::now();
        let sending: Vec<_> = (0..at_once)
            .map(|_| {
                let (outbound, hop, mail) = (outbound.clone(), hop.clone(), mail.clone());
                tokio::spawn(async move {
                    for _ in 0..MAILS / at_once as usize {
                        let outcome = outbound.send(Hop::Smarthost(&hop), &mail).await;
                        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
                    }
                })
            })
            .collect();
        for one in sending {
            one.await.unwrap();
        }
        eprintln!("ours, {at_once} connection(s): {:.0} mails/s", MAILS as f64 / start.elapsed().as_secs_f64());
    }
    if let Some(postfix) = Postfix::start(&format!(
        "relayhost = [127.0.0.1]:{other_port}\nrelay_domains = sink.test\nsmtp_tls_security_level = none\nsmtpd_tls_security_level = none\n"
    )) {
        for at_once in ["1", "4"] {
            let before = postfix.log().matches("status=sent").count();
            let start = std::time::Instant::now();
            let done = Command::new(&source)
                .args([
                    "-s",
                    at_once,
                    "-m",
                    &MAILS.to_string(),
                    "-l",
                    "4096",
                    "-d",
                    "-f",
                    "a@home.test",
                    "-t",
                    "b@sink.test",
                    &format!("127.0.0.1:{}", postfix.port),
                ])
                .status();
            assert!(done.unwrap().success());
            let taken = start.elapsed();
            while postfix.log().matches("status=sent").count() < before + MAILS {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let all = start.elapsed();
            eprintln!(
                "postfix, {at_once} in: taken {:.0} mails/s, relayed {:.0} mails/s",
                MAILS as f64 / taken.as_secs_f64(),
                MAILS as f64 / all.as_secs_f64()
            );
        }
    }
    for sink in &mut sinks {
        let _ = sink.kill();
        let _ = sink.wait();
    }
}
