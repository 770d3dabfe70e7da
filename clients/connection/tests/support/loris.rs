//! A client that sends a byte now and then, to keep a port busy for nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_connection::{Admission, Gatekeeper, Host, Limits, Port, Server, ShutdownTrigger, Timing, shutdown};
use kith_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Much less than a port's own.
const REST: Duration = Duration::from_millis(300);
/// The longest that a port may put up with it here.
const PATIENCE: Duration = Duration::from_secs(3);

/// A port that loses its patience soon, before what serves it is started. It ends with the trigger.
pub(crate) async fn impatient(store: &Store, port: Port) -> (Server, Arc<Gatekeeper>, ShutdownTrigger) {
    let timing = Timing { rest_before_login: REST, idle_before_login: 2 * REST, rest: REST, ..port.timing };
    let (trigger, stop) = shutdown();
    let gatekeeper = Arc::new(Gatekeeper::new(store.clone()));
    let host =
        Host { admission: Admission::new(Limits::default()), gatekeeper: Arc::clone(&gatekeeper), tls: None, shutdown: stop };
    let server = Server::bind((IpAddr::from([127, 0, 0, 1]), 0).into(), Port { timing, ..port }, host).await.unwrap();
    (server, gatekeeper, trigger)
}

/// Says these lines and hears the answers, begins something, and goes on with a byte at a time until it is sent away; gives what it heard last.
pub(crate) async fn trickle(address: SocketAddr, lines: &[&str], begun: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut heard = [0; 1000];
    let _greeting = stream.read(&mut heard).await.unwrap();
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        let _answer = stream.read(&mut heard).await.unwrap();
    }
    stream.write_all(begun.as_bytes()).await.unwrap();
    let (start, mut said) = (Instant::now(), String::new());
    loop {
        assert!(start.elapsed() < PATIENCE, "it is still there, after {said:?}");
        let gone = !begun.is_empty() && stream.write_all(b"X").await.is_err();
        match timeout(Duration::from_millis(50), stream.read(&mut heard)).await {
            Ok(Ok(0) | Err(_)) => return said,
            Ok(Ok(read)) => said += &String::from_utf8_lossy(&heard[..read]),
            Err(_) if gone => return said,
            Err(_) => {}
        }
    }
}
