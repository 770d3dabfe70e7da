//! The mail ports announced on the local network (DNS-SD, RFC 6763, under the names of RFC 6186 and RFC 8314), so that programs that look find
//! them. Only ports that other machines can reach, and nobody's name: the node says what it is, not whose.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kith_connection::{announced_host, host_label};
use mdns_sd::{ServiceDaemon, ServiceInfo};

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Ports by their name in `run.json`, and what they are called on the network.
const SERVICES: [(&str, &str); 6] = [
    ("imaps", "_imaps._tcp.local."),
    ("smtps", "_submissions._tcp.local."),
    ("pop3s", "_pop3s._tcp.local."),
    ("imap", "_imap._tcp.local."),
    ("smtp", "_submission._tcp.local."),
    ("pop3", "_pop3._tcp.local."),
];

/// Answers for as long as it lives.
pub struct Announcer {
    daemon: ServiceDaemon,
    names: Vec<String>,
}

/// What is to be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announcement {
    service: &'static str,
    /// `None`: all addresses of the machine.
    address: Option<IpAddr>,
    port: u16,
}

/// The ports that other machines can reach.
fn announcements(ports: &[(String, String)]) -> Vec<Announcement> {
    SERVICES
        .into_iter()
        .filter_map(|(name, service)| {
            let (_, address) = ports.iter().find(|(found, _)| found == name)?;
            let address: SocketAddr = address.parse().ok()?;
            let ip = address.ip();
            (!ip.is_loopback()).then(|| Announcement {
                service,
                address: (!ip.is_unspecified()).then_some(ip),
                port: address.port(),
            })
        })
        .collect()
}

impl Announcer {
    /// Announces the ports that other machines can reach; `None` where there are none. What goes wrong is logged: mail works without.
    pub fn start(ports: &[(String, String)]) -> Option<Self> {
        let wanted = announcements(ports);
        if wanted.is_empty() {
            return None;
        }
        let (host, label) = (announced_host()?, host_label()?);
        match Self::announce(&wanted, &format!("{host}."), &format!("Kith on {label}")) {
            Ok(announcer) => Some(announcer),
            Err(error) => {
                tracing::warn!(%error, "the mail ports cannot be announced on the local network");
                None
            }
        }
    }

    fn announce(wanted: &[Announcement], host: &str, instance: &str) -> Result<Self, mdns_sd::Error> {
        let mut announcer = Self { daemon: ServiceDaemon::new()?, names: Vec::new() };
        for announcement in wanted {
            let addresses: Vec<IpAddr> = announcement.address.into_iter().collect();
            let properties: [(&str, &str); 0] = [];
            let mut service = ServiceInfo::new(
                announcement.service,
                instance,
                host,
                addresses.as_slice(),
                announcement.port,
                properties.as_slice(),
            )?;
            if announcement.address.is_none() {
                // Follows the machine from network to network.
                service = service.enable_addr_auto();
            }
            announcer.names.push(service.get_fullname().to_owned());
            announcer.daemon.register(service)?;
        }
        tracing::info!(services = announcer.names.len(), "the mail ports are announced on the local network");
        Ok(announcer)
    }

    /// Says goodbye, so that nobody finds what is gone. Blocking, for a moment.
    pub fn stop(self) {
        let until = std::time::Instant::now() + GOODBYE;
        let said: Vec<_> = self.names.iter().filter_map(|name| self.daemon.unregister(name).ok()).collect();
        for receiver in said {
            // Nobody is worse off than after a power cut.
            let _ = receiver.recv_timeout(until.saturating_duration_since(std::time::Instant::now()));
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(until.saturating_duration_since(std::time::Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_other_machines_can_reach_is_announced() {
        let ports: Vec<(String, String)> = [
            ("smtp", "127.0.0.1:1587"),
            ("imap", "[::1]:1143"),
            ("imaps", "0.0.0.0:1993"),
            ("smtps", "192.168.1.5:1465"),
            ("pop3s", "[::]:1995"),
        ]
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .to_vec();
        let found = announcements(&ports);
        assert_eq!(
            found.iter().map(|found| (found.service, found.address, found.port)).collect::<Vec<_>>(),
            [
                ("_imaps._tcp.local.", None, 1993),
                ("_submissions._tcp.local.", Some([192, 168, 1, 5].into()), 1465),
                ("_pop3s._tcp.local.", None, 1995),
            ]
        );
        assert!(Announcer::start(&ports[..2]).is_none());
    }
}
