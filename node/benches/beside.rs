//! The rows about mail programs beside Dovecot and Postfix, in one run on one disk: `cargo bench -p kithmail --bench beside`.
//!
//! `-- folders sync pop3 import` measures these parts only, of: submission, notice, nodes, gateway, memory, folders, sync, pop3, import. The peers are
//! those of the machine's packages, started as root on free ports of the loopback in temporary folders below `TMPDIR`; one that is not installed
//! is left out, with a word. Dovecot keeps Maildirs, Postfix delivers into them. Prints figures, asserts none: machines are shared and noisy, so
//! both sides take turns, and medians stand beside each other.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints its figures and ends at the first surprise")]

use std::time::Duration;

#[path = "../tests/end_to_end/clients.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod clients;
#[path = "beside/folders.rs"]
mod folders;
#[path = "../../clients/imap/benches/figures/mails.rs"]
mod mails;
#[path = "../tests/end_to_end/node.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod node;
#[path = "beside/peers.rs"]
mod peers;
#[path = "beside/relaying.rs"]
mod relaying;
#[path = "beside/sending.rs"]
mod sending;
#[path = "beside/talk.rs"]
mod talk;

/// The parts, in the order in which they run.
const PARTS: [(&str, fn()); 9] = [
    ("submission", sending::submissions),
    ("notice", sending::notices),
    ("nodes", sending::nodes),
    ("gateway", relaying::relaying),
    ("memory", sending::memory),
    ("import", folders::import),
    ("folders", folders::folders),
    ("sync", folders::sync),
    ("pop3", folders::pop3),
];

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A row: ours, the peer's, and ours for each of the peer's.
fn row(what: &str, unit: &str, goal: &str, ours: Vec<f64>, peers: Vec<f64>) {
    let ours = median(ours);
    if peers.is_empty() {
        println!("| {what} | {} | | | {goal} |", figure(ours, unit));
        return;
    }
    let peer = median(peers);
    println!("| {what} | {} | {} | {:.2} | {goal} |", figure(ours, unit), figure(peer, unit), ours / peer);
}

/// Three digits that say something.
fn figure(figure: f64, unit: &str) -> String {
    let digits = if figure < 1.0 {
        2
    } else if figure < 100.0 {
        1
    } else {
        0
    };
    format!("{figure:.digits$} {unit}").trim_end().to_owned()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("| | Kith | peer | ratio | goal |\n|---|---|---|---|---|");
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}
