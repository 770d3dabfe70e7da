//! The names and addresses that a node's certificate may stand for: this machine and private networks, nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

/// Most names in a certificate.
pub(super) const NAMES_MAX: usize = 64;
/// Domains that no public authority vouches for and no public DNS serves; `.local` is RFC 6762, `.home.arpa` RFC 8375, `.internal` is reserved by ICANN.
const DOMAINS: [&str; 5] = ["localhost", "local", "home.arpa", "internal", "lan"];
/// Private, shared, link-local and loopback networks with their prefix lengths.
const NETWORKS_V4: [([u8; 4], u8); 6] = [
    ([127, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([169, 254, 0, 0], 16),
    ([100, 64, 0, 0], 10),
];
const NETWORKS_V6: [(u16, u8); 2] = [(0xfc00, 7), (0xfe80, 10)];

/// What mail programs call this node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Names {
    /// Host names, lower case.
    pub(super) hosts: BTreeSet<String>,
    /// Addresses.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// Those that never change: `localhost`, 127.0.0.1 and `::1`.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            hosts: BTreeSet::from(["localhost".to_owned()]),
            addresses: BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        }
    }

    /// The loopback's, `<host>.local` and `kith-<host>.local`, and the private IPv4 addresses of this machine. Sends nothing. Addresses of IPv6
    /// are left to the names: many of them are new every day, and the leaf would be too.
    #[must_use]
    pub fn discover() -> Self {
        let mut names = Self::loopback();
        if let Some(label) = host_label() {
            names.add_host(&format!("{label}.local"));
        }
        if let Some(host) = announced_host() {
            names.add_host(&host);
        }
        // Without a list of them the loopback's are still there.
        for address in lan_addresses() {
            names.add_address(address);
        }
        names
    }

    /// Adds a host name; whether the authority may vouch for it.
    pub fn add_host(&mut self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let allowed = is_private_host(&host) && self.count() < NAMES_MAX;
        if allowed {
            self.hosts.insert(host);
        }
        allowed
    }

    /// Adds an address, for instance one that a port is bound to; whether the authority may vouch for it.
    pub fn add_address(&mut self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let allowed = is_private_address(address) && self.count() < NAMES_MAX;
        if allowed {
            self.addresses.insert(address);
        }
        allowed
    }

    /// All names and addresses as text.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        self.hosts.iter().cloned().chain(self.addresses.iter().map(IpAddr::to_string))
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.hosts.is_superset(&other.hosts) && self.addresses.is_superset(&other.addresses)
    }

    /// Adds the other's names as long as there is room.
    pub(super) fn extend(&mut self, other: &Self) {
        for host in &other.hosts {
            self.add_host(host);
        }
        for address in &other.addresses {
            self.add_address(*address);
        }
    }

    fn count(&self) -> usize {
        self.hosts.len() + self.addresses.len()
    }
}

/// This machine's private IPv4 addresses but for the loopback's, the one that its routes prefer first; none where the system does not say.
/// Sends nothing.
#[must_use]
pub fn lan_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let fits = |address: &IpAddr| address.is_ipv4() && !address.is_loopback() && is_private_address(*address);
    let mut addresses: Vec<IpAddr> = interfaces.map(|interface| interface.ip()).filter(fits).collect();
    // Connecting a datagram socket only looks a route up; the destination is a network for documentation.
    let preferred = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()))
        .map(|local| local.ip());
    if let Ok(preferred) = preferred {
        addresses.sort_by_key(|address| *address != preferred);
    }
    addresses
}

/// This machine's name: the first label of its host name, lower case, where it can be one.
#[must_use]
pub fn host_label() -> Option<String> {
    let host = hostname::get().ok()?;
    let label = host.to_string_lossy().split('.').next()?.to_ascii_lowercase();
    is_private_host(&format!("{label}.local")).then_some(label)
}

/// What the node calls itself on the local network: a name of its own beside `<host>.local`, which another program of this machine answers
/// for where one does.
#[must_use]
pub fn announced_host() -> Option<String> {
    let host = format!("kith-{}.local", host_label()?);
    is_private_host(&host).then_some(host)
}

/// What the authority may vouch for (RFC 5280 §4.2.1.10).
pub(super) fn constraints() -> NameConstraints {
    let domains = DOMAINS.iter().map(|domain| GeneralSubtree::DnsName((*domain).to_owned()));
    let v4 = NETWORKS_V4
        .iter()
        .map(|(network, bits)| CidrSubnet::V4(*network, u32::MAX.unbounded_shl(32 - u32::from(*bits)).to_be_bytes()));
    let v6 = NETWORKS_V6.iter().map(|(head, bits)| {
        CidrSubnet::V6((u128::from(*head) << 112).to_be_bytes(), u128::MAX.unbounded_shl(128 - u32::from(*bits)).to_be_bytes())
    });
    let loopback = CidrSubnet::V6(Ipv6Addr::LOCALHOST.octets(), [0xff; 16]);
    let networks = v4.chain(v6).chain([loopback]).map(GeneralSubtree::IpAddress);
    NameConstraints { permitted_subtrees: domains.chain(networks).collect(), excluded_subtrees: Vec::new() }
}

fn is_private_host(host: &str) -> bool {
    let labels_fit = host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    let within = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    host.len() <= 253 && labels_fit && DOMAINS.iter().any(|domain| within(domain))
}

fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => NETWORKS_V4.iter().any(|(network, bits)| {
            let difference = u32::from(v4) ^ u32::from_be_bytes(*network);
            !v4.is_unspecified() && difference.unbounded_shr(32 - u32::from(*bits)) == 0
        }),
        IpAddr::V6(v6) => {
            let within = |(head, bits): &(u16, u8)| {
                (u128::from(v6) ^ (u128::from(*head) << 112)).unbounded_shr(128 - u32::from(*bits)) == 0
            };
            v6.is_loopback() || NETWORKS_V6.iter().any(within)
        }
    }
}
