//! What the node says while it runs: levels, fields, and the wrapper that keeps names out of ordinary logs.
//!
//! A level says what the reader does: error – repair or report; warn – look; info – rare and wanted; debug – an operator's question; trace – ours.
//! No line per mail at info: who writes to whom, and when, is the secret.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error with a filter like `info` or `kith_network=debug`. A filter that does not parse falls back to `info`, with a word.
pub fn start(filter: &str) {
    let (filter, complaint) = match EnvFilter::try_new(filter) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error.to_string())),
    };
    // The libraries below speak at info about peers by address: only their warnings are wanted.
    let quiet = [
        "libp2p",
        "libp2p_swarm",
        "libp2p_kad",
        "libp2p_mdns",
        "libp2p_identify",
        "libp2p_tcp",
        "libp2p_quic",
        "rustls",
        "quinn",
    ];
    // These speak of the names of domains: who writes to whom is the secret.
    let silent = ["hickory_resolver", "hickory_proto", "hickory_net"];
    let filter = silent.iter().filter_map(|name| format!("{name}=off").parse().ok()).fold(filter, EnvFilter::add_directive);
    let filter = quiet.iter().fold(filter, |filter, name| match format!("{name}=error").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    });
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(true)
        .try_init();
    if let (Ok(()), Some(error)) = (started, complaint) {
        tracing::warn!(error, "the log filter is not understood; logging at info");
    }
}
