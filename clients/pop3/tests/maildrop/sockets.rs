//! The POP3 port over real sockets, with passwords really checked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use kith_connection::{Admission, Certificates, Encryption, Gatekeeper, Host, Limits, Names, Server, shutdown};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::Home;
use crate::loris::{impatient, trickle};

/// Says a line and hears an answer of one line.
async fn say(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &str) -> String {
    if !line.is_empty() {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n") {
        heard.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_under_tls_ends_with_a_proper_close() {
    let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
    let certificates = Arc::new(Certificates::open(home.path(), &Names::loopback(), SystemTime::now()).unwrap());
    let (trigger, stop) = shutdown();
    let gatekeeper = Arc::new(Gatekeeper::new(home.store.clone()));
    let host = Host {
        admission: Admission::new(Limits::default()),
        gatekeeper: Arc::clone(&gatekeeper),
        tls: Some(certificates.server_config().unwrap()),
        shutdown: stop,
    };
    let server =
        Server::bind((IpAddr::from([127, 0, 0, 1]), 0).into(), kith_pop3::port(Encryption::Offered), host).await.unwrap();
    let address = server.local_addr();
    let served = tokio::spawn(kith_pop3::serve(server, home.store.clone(), gatekeeper));

    let mut plain = TcpStream::connect(address).await.unwrap();
    assert_eq!(say(&mut plain, "").await, "+OK Kith POP3\r\n");
    assert!(say(&mut plain, "STLS").await.starts_with("+OK"));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificates.authority_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(ServerName::try_from("localhost").unwrap(), plain).await.unwrap();
    assert!(say(&mut tls, "USER mum@kith.alt").await.starts_with("+OK"));
    assert_eq!(say(&mut tls, "PASS wrong").await, "-ERR [AUTH] Wrong name or password\r\n");
    assert!(say(&mut tls, "USER mum@kith.alt").await.starts_with("+OK"));
    assert_eq!(say(&mut tls, "PASS secret").await, "+OK 0 messages, 0 bytes\r\n");
    assert!(say(&mut tls, "QUIT").await.starts_with("+OK"));
    // Without a close_notify this would be an error.
    assert_eq!(tls.read(&mut [0; 1]).await.unwrap(), 0);
    trigger.fire();
    served.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_loris_is_sent_away_and_holds_nobody_up() {
    let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
    let (server, gatekeeper, _trigger) = impatient(&home.store, kith_pop3::port(Encryption::Offered)).await;
    let address = server.local_addr();
    tokio::spawn(kith_pop3::serve(server, home.store.clone(), gatekeeper));
    let mut program = TcpStream::connect(address).await.unwrap();
    for line in ["", "USER mum", "PASS secret"] {
        assert!(say(&mut program, line).await.starts_with("+OK"));
    }
    for (lines, begun) in [(&[][..], ""), (&[], "USER "), (&["USER mum", "PASS secret"], "RETR ")] {
        let said = trickle(address, lines, begun).await;
        assert!(said.starts_with("-ERR [SYS/TEMP]") || said.is_empty(), "{lines:?} {begun:?}: {said}");
    }
    // Somebody who only has nothing to say.
    assert_eq!(say(&mut program, "STAT").await, "+OK 0 0\r\n");
}
