//! Between the project's peer names (raw public keys) and libp2p's, and what the text of an address says.

use std::net::IpAddr;

use kith_protocol::ids::PeerId;
use libp2p::Multiaddr;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;

/// Bytes of the longest multiaddress that is taken from anybody.
const ADDRESS_BYTES_MAX: usize = 256;

/// libp2p's name of a peer; `None` when the bytes are no Ed25519 key.
pub(crate) fn to_libp2p(peer: PeerId) -> Option<libp2p::PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&peer.0).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The project's name of a peer; `None` for keys other than Ed25519, which no Kith node has.
pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<PeerId> {
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(PeerId(key.try_into_ed25519().ok()?.to_bytes()))
}

/// An address from its text, without a trailing `/p2p/…`; `None` when it is none, or names another peer than `peer`.
pub(crate) fn address_of(peer: &libp2p::PeerId, text: &str) -> Option<Multiaddr> {
    if text.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let (address, named) = split_peer(text.parse().ok()?);
    (named.is_none_or(|named| named == *peer) && (is_dialable(&address) || is_circuit(&address))).then_some(address)
}

/// Takes a trailing `/p2p/…` off.
pub(crate) fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<libp2p::PeerId>) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (address, Some(peer)),
        Some(other) => (address.with(other), None),
        None => (address, None),
    }
}

/// Is it an address that a connection can be made to directly?
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => true,
        _ => false,
    };
    host && address.len() <= ADDRESS_BYTES_MAX && !address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Is it a way through another node?
pub(crate) fn is_circuit(address: &Multiaddr) -> bool {
    let mut parts = address.iter().skip_while(|part| !matches!(part, Protocol::P2p(_)));
    let through = matches!(parts.next(), Some(Protocol::P2p(_))) && matches!(parts.next(), Some(Protocol::P2pCircuit));
    through && address.len() <= ADDRESS_BYTES_MAX
}

/// The IP address that a multiaddress begins with.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Is the address one of a home network, a link or the machine itself? Names are not.
pub(crate) fn is_private(address: &Multiaddr) -> bool {
    match ip(address) {
        Some(IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared(ip.octets()),
        Some(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        None => false,
    }
}

/// 100.64.0.0/10, what providers put between their customers and the Internet (RFC 6598).
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

/// The neighbourhood of a global address, for diversity: the /16 of IPv4, the /32 of IPv6. `None` for private addresses and names.
pub(crate) fn neighbourhood(address: &Multiaddr) -> Option<[u8; 5]> {
    if is_private(address) {
        return None;
    }
    match ip(address)? {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            Some([4, a, b, 0, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            Some([6, a, b, c, d])
        }
    }
}

/// Does the address speak QUIC?
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_convert_both_ways() {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([7; 32]).unwrap();
        let theirs = key.public().to_peer_id();
        let ours = from_libp2p(&theirs).unwrap();
        assert_eq!(to_libp2p(ours), Some(theirs));
    }

    #[test]
    fn addresses_are_told_apart() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        assert!(is_private(&parse("/ip4/192.168.1.2/tcp/1")));
        assert!(is_private(&parse("/ip4/100.100.0.1/tcp/1")));
        assert!(is_private(&parse("/ip6/::1/udp/1/quic-v1")));
        assert!(!is_private(&parse("/ip4/9.9.9.9/tcp/1")));
        assert_eq!(neighbourhood(&parse("/ip4/9.8.7.6/tcp/1")), Some([4, 9, 8, 0, 0]));
        assert_eq!(neighbourhood(&parse("/ip4/10.8.7.6/tcp/1")), None);
        assert!(!is_dialable(&parse("/ip4/0.0.0.0/tcp/1")));
        assert!(is_dialable(&parse("/dns4/example.org/tcp/1")));
    }
}
