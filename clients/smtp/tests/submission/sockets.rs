//! The submission port over real sockets: lettre as the client in all three modes of encryption, and clients that mean no good.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kith_connection::{
    Admission, Certificates, Encryption, Gatekeeper, Host, Limits, Names, Port, Server, ShutdownTrigger, Timing, shutdown,
};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::desk::Desk;
use crate::home::Home;
use crate::loris::trickle;

/// A served port.
struct Node {
    desk: Arc<Desk>,
    address: SocketAddr,
    authority: String,
    admission: Arc<Admission>,
    trigger: ShutdownTrigger,
    served: JoinHandle<()>,
    _home: Home,
}

impl Node {
    async fn start(encryption: Encryption, timing: Timing, limits: Limits) -> Self {
        let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
        let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), SystemTime::now()).unwrap());
        let (trigger, stop) = shutdown();
        let host = Host {
            admission: Admission::new(limits),
            gatekeeper: Arc::new(Gatekeeper::new(home.store.clone())),
            tls: Some(certificates.server_config().unwrap()),
            shutdown: stop,
        };
        let desk = Desk::new(&home);
        let port = Port { timing, ..kith_smtp::port(encryption) };
        let server = Server::bind((IpAddr::from([127, 0, 0, 1]), 0).into(), port, host.clone()).await.unwrap();
        let address = server.local_addr();
        let served = tokio::spawn(kith_smtp::serve(server, home.store.clone(), host.gatekeeper, desk.clone()));
        let authority = certificates.authority_pem().to_owned();
        Self { desk, address, authority, admission: host.admission, trigger, served, _home: home }
    }

    async fn standard() -> Self {
        Self::start(Encryption::Offered, Timing::default(), Limits::default()).await
    }

    async fn send(&self, tls: impl FnOnce(TlsParameters) -> Tls + Send + 'static, password: &str) -> Result<(), String> {
        let root = Certificate::from_pem(self.authority.as_bytes()).unwrap();
        let parameters = TlsParameters::builder("localhost".to_owned()).add_root_certificate(root).build_rustls().unwrap();
        let transport = SmtpTransport::builder_dangerous("127.0.0.1")
            .port(self.address.port())
            .tls(tls(parameters))
            .credentials(Credentials::new("mum".to_owned(), password.to_owned()))
            .timeout(Some(Duration::from_secs(20)))
            .build();
        let mail = Message::builder()
            .from("Mum <mum@kith.alt>".parse::<Mailbox>().unwrap())
            .to("dad@kith.alt".parse::<Mailbox>().unwrap())
            .subject("Grüße")
            .body(".\r\n..\r\nd'accord – bis später\r\n".to_owned())
            .unwrap();
        let sent = tokio::task::spawn_blocking(move || transport.send(&mail).map_err(|error| error.to_string()));
        sent.await.unwrap().map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_comes_in_the_clear_and_under_starttls() {
    let node = Node::standard().await;
    node.send(|_| Tls::None, "secret").await.unwrap();
    node.send(Tls::Required, "secret").await.unwrap();
    assert_eq!(node.desk.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_comes_under_implicit_tls() {
    let node = Node::start(Encryption::Implicit, Timing::default(), Limits::default()).await;
    node.send(Tls::Wrapper, "secret").await.unwrap();
    assert_eq!(node.desk.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_and_the_next_attempt_waits() {
    let node = Node::standard().await;
    assert!(node.send(|_| Tls::None, "wrong").await.unwrap_err().contains("Wrong name or password"));
    let start = Instant::now();
    node.send(|_| Tls::None, "secret").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

async fn hear_all(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset ends it as well.
    let _end = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn a_slow_loris_is_sent_away() {
    let timing = Timing {
        rest_before_login: Duration::from_millis(200),
        idle_before_login: Duration::from_millis(400),
        ..Timing::default()
    };
    let node = Node::start(Encryption::Offered, timing, Limits::default()).await;
    assert_eq!(trickle(node.address, &[], "").await, "421 4.4.2 Too slow; goodbye\r\n");
    assert_eq!(trickle(node.address, &[], "X").await, "421 4.4.2 Too slow; goodbye\r\n");
}

/// Resident memory of this process, bytes.
#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_silent_connections_neither_fill_the_memory_nor_keep_people_out() {
    let limits = Limits::default();
    let node = Node::start(Encryption::Offered, Timing::default(), limits).await;
    node.send(|_| Tls::None, "secret").await.unwrap();
    let before = resident_bytes();
    let mut silent = std::collections::VecDeque::new();
    for number in 0..10_000 {
        silent.push_back(TcpStream::connect(node.address).await.unwrap());
        if number == 200 {
            assert!(hear_all(&mut silent[0]).await.contains("421 4.7.0 Too many connections"));
        }
        if silent.len() > 300 {
            silent.pop_front();
        }
    }
    let start = Instant::now();
    node.send(|_| Tls::None, "secret").await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(node.admission.connected() <= limits.waiting);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_stopping_node_says_goodbye_and_closes_its_ports() {
    let node = Node::standard().await;
    let mut idle = TcpStream::connect(node.address).await.unwrap();
    idle.write_all(b"NOOP\r\n").await.unwrap();
    let mut heard = vec![0; 100];
    while !String::from_utf8_lossy(&heard).contains("Here I am") {
        let read = idle.read(&mut heard).await.unwrap();
        assert!(read > 0);
    }
    node.trigger.fire();
    assert!(hear_all(&mut idle).await.starts_with("421 4.3.2 "));
    tokio::time::timeout(Duration::from_secs(5), node.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(node.address).await.is_err());
}
