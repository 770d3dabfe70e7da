//! Real nodes on machines of their own: each process in a network namespace, joined by cables that can be pulled.
//!
//! Where namespaces cannot be made (not root, no `ip`), the nodes have loopback addresses of their own instead and no cable is
//! pulled; the tests say so. Routers need `nft`, one that can be asked needs `miniupnpd`; without, those tests are passed over. `KITH_TEST_LOG=debug` keeps each node's log in the build folder's `tmp`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod household;
mod large;
mod network;
mod node;
mod outage;
mod relays;
mod routers;
