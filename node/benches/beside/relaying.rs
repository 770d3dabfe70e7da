//! Mail for ordinary addresses, from programs through the node to a provider: durable here before the answer, and gone when the provider has it.

use std::time::Instant;

use crate::clients::{Lines, send_in, submission};
use crate::node::{Node, eventually};
use crate::peers::{Postfix, Sink, Towards};
use crate::row;
use crate::sending::{MAIL_BYTES, postfix, text_from};

/// Connections on which mail is submitted, and mails on each.
const CONNECTIONS: usize = 10;
const MAILS: usize = 100;

/// Mails a second, from the first command to the last mail in the sink.
fn rate(sink: &Sink, open: impl Fn() -> Lines + Sync) -> f64 {
    let before = sink.mails();
    let text = text_from("anna@near.test", MAIL_BYTES);
    let sessions: Vec<Lines> = (0..CONNECTIONS).map(|_| open()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for mut smtp in sessions {
            let text = &text;
            scope.spawn(move || {
                for _ in 0..MAILS {
                    assert!(send_in(&mut smtp, "anna", &["carol@far.test"], "", text).starts_with("250 "));
                }
            });
        }
    });
    let all = before + CONNECTIONS * MAILS;
    eventually("all of them", || (sink.mails() >= all).then_some(()));
    (CONNECTIONS * MAILS) as f64 / begun.elapsed().as_secs_f64()
}

/// As a relay: ten programs to one provider.
pub(crate) fn relaying() {
    let Some(sink) = Sink::started() else { return };
    let mut node = Node::with_accounts(&["anna"]);
    node.configure(&format!(
        "[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"{}\"\nsmtp_tls = \"none\"\nmails_per_minute = 0\n",
        sink.smtp()
    ));
    node.start();
    let peer = Postfix::started(&Towards::Sink(&sink));
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(rate(&sink, || submission(&node, "anna")));
        eventually("nothing waits", || (node.waiting() == 0).then_some(()));
        if let Some(peer) = &peer {
            peers.push(rate(&sink, || postfix(&peer.smtp())));
            peer.drained();
        }
    }
    row("mails of 4 KB a second, through the gateway to a provider", "", "", ours, peers);
}
