//! Real nodes on loopback sockets: peers, envelopes, the directory, and peers that mean harm.

mod directory;
mod hostile;
mod peers;
mod raw;
mod support;
mod transfer;
