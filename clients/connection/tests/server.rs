//! A port over real sockets, without a protocol: encryption, certificates, faults and stopping.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use kith_connection::{
    Admission, Certificates, Connection, ConnectionError, Encryption, Gatekeeper, Host, Limits, Names, Port, Server,
    ShutdownTrigger, Timing, Waiting, shutdown,
};
use kith_store::{Options, Store};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Node {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    trigger: ShutdownTrigger,
    served: JoinHandle<()>,
    _home: tempfile::TempDir,
}

/// Says back what it hears; a `!` makes it fail.
async fn echo(mut connection: Connection) {
    let mut input = BytesMut::new();
    loop {
        match connection.read(&mut input, Waiting::Command).await {
            Ok(0) | Err(ConnectionError::ShuttingDown) => break,
            heard => assert!(heard.is_ok() && !input.contains(&b'!'), "asked to fail"),
        }
        let flags = [u8::from(connection.is_encrypted()), u8::from(connection.is_loopback())];
        connection.write(&[&input.split()[..], &flags].concat()).await.unwrap();
    }
    connection.close().await;
}

impl Node {
    async fn start(encryption: Encryption) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), Options { cache_bytes: 1 << 20, passphrase: None }).unwrap();
        let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), SystemTime::now()).unwrap());
        let (trigger, stop) = shutdown();
        let host = Host {
            admission: Admission::new(Limits::default()),
            gatekeeper: Arc::new(Gatekeeper::new(store)),
            tls: Some(certificates.server_config().unwrap()),
            shutdown: stop,
        };
        let port = Port { service: "echo", encryption, timing: Timing::default(), busy: b"busy\r\n" };
        let server = Server::bind((IpAddr::from([127, 0, 0, 1]), 0).into(), port, host).await.unwrap();
        let address = server.local_addr();
        let served = tokio::spawn(server.serve(echo));
        Self { address, certificates, trigger, served, _home: home }
    }

    async fn connect_tls(&self, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificates.authority_der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn the_port_shows_a_leaf_of_the_authority_and_the_renewed_one_afterwards() {
    let node = Node::start(Encryption::Implicit).await;
    let mut first = node.connect_tls("localhost").await.unwrap();
    first.write_all(b"hi").await.unwrap();
    let mut heard = [0; 4];
    first.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, *b"hi\x01\x01");
    let mut names = Names::loopback();
    assert!(names.add_host("attic.local"));
    assert!(node.connect_tls("attic.local").await.is_err());
    assert!(node.certificates.renew_if_due(&names, SystemTime::now()).unwrap());
    let second = node.connect_tls("attic.local").await.unwrap();
    assert_ne!(shown(&first), shown(&second));
    // The first goes on undisturbed.
    first.write_all(b"ho").await.unwrap();
    first.read_exact(&mut heard).await.unwrap();
}

#[tokio::test]
async fn a_fault_in_one_session_ends_that_one_only() {
    let node = Node::start(Encryption::Offered).await;
    let mut good = TcpStream::connect(node.address).await.unwrap();
    let mut bad = TcpStream::connect(node.address).await.unwrap();
    bad.write_all(b"!").await.unwrap();
    let mut heard = Vec::new();
    // A reset ends it as well.
    let _end = bad.read_to_end(&mut heard).await;
    assert!(heard.is_empty());
    good.write_all(b"x").await.unwrap();
    let mut heard = [0; 3];
    good.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, *b"x\x00\x01");
}

#[tokio::test]
async fn who_speaks_no_tls_gets_nowhere_on_a_tls_port() {
    let node = Node::start(Encryption::Implicit).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut heard)).await.unwrap();
    assert!(!heard.windows(4).any(|window| window == b"GET "));
}

#[tokio::test]
async fn stopping_closes_tls_properly() {
    let node = Node::start(Encryption::Implicit).await;
    let mut idle = node.connect_tls("127.0.0.1").await.unwrap();
    idle.write_all(b"x").await.unwrap();
    idle.read_exact(&mut [0; 3]).await.unwrap();
    node.trigger.fire();
    // Without a close_notify this would be an error.
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    drop(idle);
    tokio::time::timeout(Duration::from_secs(5), node.served).await.unwrap().unwrap();
}
