//! The IMAP port over real sockets: clients that mean no good.

use kith_connection::Encryption;
use kith_imap::Without;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::home::Home;
use crate::loris::{impatient, trickle};

const BYE: &str = "* BYE You were silent for too long\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_loris_is_sent_away_and_holds_nobody_up() {
    let home = tokio::task::spawn_blocking(Home::new).await.unwrap();
    let (server, gatekeeper, _trigger) = impatient(&home.store, kith_imap::server::port(Encryption::Offered)).await;
    let address = server.local_addr();
    tokio::spawn(kith_imap::server::serve(server, home.store.clone(), gatekeeper, Without::default()));
    let mut program = TcpStream::connect(address).await.unwrap();
    program.write_all(b"a LOGIN mum secret\r\n").await.unwrap();
    for (lines, begun) in [
        (&[][..], ""),
        (&[], "a LOGIN mum "),
        (&["a LOGIN mum secret"], "b SELECT "),
        (&["a LOGIN mum secret"], "b APPEND INBOX {100000+}\r\nSubject: "),
        (&["a LOGIN mum secret", "b SELECT INBOX"], "c SEARCH {4000+}\r\n"),
    ] {
        assert_eq!(trickle(address, lines, begun).await, BYE, "{lines:?} {begun:?}");
    }
    // Somebody who only has nothing to say.
    program.write_all(b"b NOOP\r\nc LOGOUT\r\n").await.unwrap();
    let mut said = String::new();
    program.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("b OK") && said.contains("c OK"), "{said}");
}
