//! The MX port over real sockets: lettre, swaks and Postfix as senders, and clients that mean no good.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kith_connection::{
    Admission, Certificates, Gatekeeper, Host, Limits, Names, Port, Server, ShutdownTrigger, Timing, shutdown,
};
use kith_smtp::server::MX_LIMITS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::desk::MxDesk;
use crate::home::Home;
use crate::loris::trickle;

const SILENCE: Duration = Duration::from_millis(150);

/// A served port.
struct Mx {
    desk: Arc<MxDesk>,
    address: SocketAddr,
    trigger: ShutdownTrigger,
    served: JoinHandle<()>,
    _home: Home,
}

impl Mx {
    async fn start(timing: Timing, limits: Limits) -> Self {
        let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
        let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), SystemTime::now()).unwrap());
        let (trigger, stop) = shutdown();
        let host = Host {
            admission: Admission::new(limits),
            gatekeeper: Arc::new(Gatekeeper::new(home.store.clone())),
            tls: Some(certificates.server_config().unwrap()),
            shutdown: stop,
        };
        let desk = MxDesk::new(&home);
        let port = Port { timing, ..kith_smtp::mx_port() };
        let server = Server::bind((IpAddr::from([127, 0, 0, 1]), 0).into(), port, host.clone()).await.unwrap();
        let address = server.local_addr();
        let served = tokio::spawn(kith_smtp::serve_mx(server, home.store.clone(), host.gatekeeper, desk.clone(), SILENCE));
        Self { desk, address, trigger, served, _home: home }
    }

    async fn standard() -> Self {
        Self::start(kith_smtp::mx_port().timing, MX_LIMITS).await
    }
}

async fn hear_all(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset ends it as well.
    let _end = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn who_talks_before_the_greeting_is_refused_and_who_listens_is_served() {
    let mx = Mx::standard().await;
    let mut early = TcpStream::connect(mx.address).await.unwrap();
    early.write_all(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n").await.unwrap();
    assert_eq!(hear_all(&mut early).await, "554 5.5.0 You must wait for the greeting; goodbye\r\n");
    let mut patient = TcpStream::connect(mx.address).await.unwrap();
    let mut heard = [0; 100];
    let read = patient.read(&mut heard).await.unwrap();
    assert!(heard[..read].starts_with(b"220 mx.kith.test"));
    patient.write_all(b"QUIT\r\n").await.unwrap();
    assert!(hear_all(&mut patient).await.starts_with("221 "));
}

#[tokio::test]
async fn a_slow_loris_is_sent_away() {
    let timing = Timing { rest_before_login: Duration::from_millis(300), ..kith_smtp::mx_port().timing };
    let mx = Mx::start(timing, MX_LIMITS).await;
    let begun = "MAIL FROM:<a@b.example>\r\nRCPT TO:<mum@kith.test>\r\nBDAT 100000 LAST\r\n";
    let said = trickle(mx.address, &["EHLO x"], begun).await;
    assert!(said.ends_with("421 4.4.2 Too slow; goodbye\r\n"), "{said}");
    assert!(mx.desk.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_that_takes_all_its_places_keeps_nobody_else_out() {
    let mx = Mx::start(kith_smtp::mx_port().timing, Limits { loopback: 8, ..MX_LIMITS }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(mx.address).await.unwrap());
    }
    let mut newcomer = TcpStream::connect(mx.address).await.unwrap();
    let mut heard = [0; 100];
    let read = tokio::time::timeout(Duration::from_secs(3), newcomer.read(&mut heard)).await.unwrap().unwrap();
    assert!(heard[..read].starts_with(b"220 "), "{}", String::from_utf8_lossy(&heard[..read]));
}

#[tokio::test]
async fn a_stopping_node_says_goodbye() {
    let mx = Mx::standard().await;
    let mut idle = TcpStream::connect(mx.address).await.unwrap();
    let mut heard = [0; 100];
    let _greeting = idle.read(&mut heard).await.unwrap();
    mx.trigger.fire();
    assert!(hear_all(&mut idle).await.starts_with("421 4.3.2 "));
    tokio::time::timeout(Duration::from_secs(5), mx.served).await.unwrap().unwrap();
}

fn installed(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !there {
        eprintln!("{program} is not installed: skipped");
    }
    there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaks_delivers_in_the_clear_under_tls_and_pipelined() {
    if !installed("swaks") {
        return;
    }
    let mx = Mx::standard().await;
    let port = mx.address.port().to_string();
    for (extra, protocol) in
        [(vec![], "ESMTP"), (vec!["-tls"], "ESMTPS"), (vec!["--pipeline"], "ESMTP"), (vec!["--protocol", "SMTP"], "SMTP")]
    {
        let mut command = Command::new("swaks");
        command.args(["--server", "127.0.0.1", "--port", &port, "--helo", "mail.example.org", "--from", "anna@example.org"]);
        command.args(["--to", "mum@kith.test", "--body", ".\n..\nhello"]).args(&extra);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{extra:?}: {}", String::from_utf8_lossy(&output.stdout));
        let mail = String::from_utf8(mx.desk.mails().pop().unwrap()).unwrap();
        assert!(mail.contains(&format!(" with {protocol} id ")) && mail.contains("\r\n.\r\n..\r\nhello"), "{mail}");
    }
    assert_eq!(mx.desk.taken().len(), 4);
}

/// A Postfix of its own in a folder, that hands everything to `port`.
struct Postfix {
    folder: tempfile::TempDir,
}

impl Postfix {
    fn start(port: u16) -> Option<Self> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let there = Path::new("/usr/sbin/postfix").exists();
        if !is_root || !there {
            eprintln!("Postfix is not installed, or we are not root: skipped");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("kith-postfix").tempdir_in("/tmp").unwrap();
        let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let root = folder.path().display();
        for name in ["etc", "queue", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let owned = Command::new("chown").arg("postfix").arg(folder.path().join("data")).status().unwrap();
        assert!(owned.success());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\nmyhostname = mail.example.org\n\
             mydestination =\ninet_interfaces = loopback-only\nrelayhost = [127.0.0.1]:{port}\nsmtp_tls_security_level = encrypt\n\
             maillog_file = {root}/log\nmaillog_file_prefixes = {root}\nsmtp_host_lookup = native\nalias_maps =\nalias_database =\n\
             smtputf8_enable = no\n"
        );
        std::fs::write(folder.path().join("etc/main.cf"), main).unwrap();
        let master = "pickup unix n - n 1 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 1 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
            bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nsmtp unix - - n - - smtp\nrelay unix - - n - - smtp\n\
            retry unix - - n - - error\nerror unix - - n - - error\ndiscard unix - - n - - discard\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
            scache unix - - n - 1 scache\nshowq unix n - n - - showq\nproxymap unix - - n - - proxymap\nanvil unix - - n - 1 anvil\n\
            postlog unix-dgram n - n - 1 postlogd\n";
        std::fs::write(folder.path().join("etc/master.cf"), master).unwrap();
        let started = Command::new("/usr/sbin/postfix").arg("-c").arg(folder.path().join("etc")).arg("start").output().unwrap();
        if !started.status.success() {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("{}{log}", String::from_utf8_lossy(&started.stderr));
        }
        Some(Self { folder })
    }

    fn send(&self, from: &str, to: &[&str], mail: &str) {
        use std::io::Write;
        let mut command = Command::new("/usr/sbin/sendmail");
        command.arg("-C").arg(self.folder.path().join("etc")).args(["-i", "-f", from, "--"]).args(to);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its master leads a group of its own, and ends its children.
        let pid = std::fs::read_to_string(self.folder.path().join("queue/pid/master.pid")).unwrap_or_default();
        let _stopped = Command::new("kill").arg(pid.trim()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postfix_delivers_under_tls_and_keeps_what_it_is_told_to_bring_again() {
    let mx = Mx::standard().await;
    let port = mx.address.port();
    let Some(postfix) = tokio::task::spawn_blocking(move || Postfix::start(port)).await.unwrap() else { return };
    let sent = tokio::task::spawn_blocking(move || {
        let body = "x".repeat(70) + "\n";
        postfix.send(
            "anna@example.org",
            &["mum@kith.test", "dad@kith.test"],
            &format!("Subject: large\n\n{}", body.repeat(3000)),
        );
        postfix.send("", &["mum@kith.test"], "Subject: report\n\n.\n..\n");
        postfix.send("anna@example.org", &["grey@kith.test"], "Subject: grey\n\nx\n");
        postfix
    });
    let postfix = sent.await.unwrap();
    let start = Instant::now();
    let deferred = |log: &str| log.contains("451 4.7.1 Come again in five minutes");
    while (mx.desk.taken().len() < 2 || !deferred(&postfix.log())) && start.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = postfix.log();
    assert!(deferred(&log), "{log}");
    let mut taken = mx.desk.taken();
    taken.sort_by_key(|mail| mail.recipients.len());
    let [report, large] = taken.try_into().unwrap_or_else(|_| panic!("{log}"));
    assert_eq!((report.reverse_path.as_str(), report.peer.encrypted, large.recipients.len()), ("", true, 2));
    assert_eq!(large.peer.helo, "mail.example.org");
    tokio::task::spawn_blocking(move || drop(postfix)).await.unwrap();
}
