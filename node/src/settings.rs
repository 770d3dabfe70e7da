//! What to type into a mail program, from what really runs: the facts, and the files that programs read by themselves.
//!
//! `settings/words.rs` says it for people, `settings/thunderbird.rs` and `settings/apple.rs` for programs.

pub mod apple;
pub mod thunderbird;
pub mod words;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Incoming, on the server.
    Imap,
    /// Incoming, fetched.
    Pop3,
    /// Outgoing: submission.
    Smtp,
}

/// From where a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// From programs on the same machine.
    Here,
    /// From other machines at home.
    Home,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Not: it does not leave the machine.
    None,
    /// TLS after a word in the clear.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// A server as a program has to be told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// What it speaks.
    pub protocol: Protocol,
    /// From where.
    pub place: Place,
    /// Its name.
    pub host: String,
    /// The same as an address, for programs that do not know `.local`; empty where the name is one.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// How it is protected.
    pub security: Security,
}

/// Everything there is to type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The account's name, which is the user name.
    pub name: String,
    /// The address to type, `name@kith.alt`.
    pub email: String,
    /// The address to give to others.
    pub address: String,
    /// The servers, the one to be preferred first within protocol and place.
    pub servers: Vec<Server>,
    /// The authority's certificate in PEM; empty before the node's first start.
    pub authority: String,
    /// Its SHA-256; empty before the node's first start.
    pub fingerprint: String,
}

/// What is known of the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// What it answers to on the local network, `….local`; `None` where it does not announce itself.
    pub name: Option<String>,
    /// Its private addresses, IPv4.
    pub addresses: Vec<IpAddr>,
}

/// The servers behind the ports, by their names in `run.json`.
pub fn servers(ports: &[(String, String)], machine: &Machine) -> Vec<Server> {
    let mut servers = Vec::new();
    for (protocol, plain, encrypted) in
        [(Protocol::Imap, "imap", "imaps"), (Protocol::Pop3, "pop3", "pop3s"), (Protocol::Smtp, "smtp", "smtps")]
    {
        let find = |wanted: &str| -> Option<SocketAddr> {
            let (_, address) = ports.iter().find(|(name, _)| name == wanted)?;
            address.parse().ok().filter(|address: &SocketAddr| address.port() != 0)
        };
        let (plain, encrypted) = (find(plain), find(encrypted));
        let here = |bound: Option<SocketAddr>, security| Some(here(protocol, bound?, security)).flatten();
        let home = |bound: Option<SocketAddr>, security| Some(home(protocol, bound?, security, machine)).flatten();
        servers.extend(here(plain, Security::None));
        servers.extend(here(encrypted, Security::Tls));
        servers.extend(home(encrypted, Security::Tls));
        servers.extend(home(plain, Security::Starttls));
    }
    servers
}

fn here(protocol: Protocol, bound: SocketAddr, security: Security) -> Option<Server> {
    let ip = bound.ip();
    if !ip.is_loopback() && !ip.is_unspecified() {
        return None;
    }
    let host = match ip {
        IpAddr::V6(ip) if ip.is_loopback() => ip.to_string(),
        IpAddr::V4(_) | IpAddr::V6(_) => "127.0.0.1".to_owned(),
    };
    Some(Server { protocol, place: Place::Here, host, address: String::new(), port: bound.port(), security })
}

fn home(protocol: Protocol, bound: SocketAddr, security: Security, machine: &Machine) -> Option<Server> {
    let ip = bound.ip();
    if ip.is_loopback() {
        return None;
    }
    let address = if ip.is_unspecified() { machine.addresses.first().map(IpAddr::to_string) } else { Some(ip.to_string()) };
    let (host, address) = match (machine.name.clone(), address) {
        (Some(name), address) => (name, address.unwrap_or_default()),
        (None, Some(address)) => (address, String::new()),
        (None, None) => return None,
    };
    Some(Server { protocol, place: Place::Home, host, address, port: bound.port(), security })
}

impl Settings {
    /// The server to prefer.
    pub fn server(&self, protocol: Protocol, place: Place) -> Option<&Server> {
        self.servers.iter().find(|server| server.protocol == protocol && server.place == place)
    }

    /// Whether other machines at home can send and fetch.
    pub fn is_at_home(&self) -> bool {
        self.server(Protocol::Smtp, Place::Home).is_some()
            && [Protocol::Imap, Protocol::Pop3].into_iter().any(|protocol| self.server(protocol, Place::Home).is_some())
    }
}

/// Text in XML.
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings(ports: &[(&str, &str)]) -> Settings {
        let ports: Vec<(String, String)> = ports.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect();
        let machine = Machine { name: Some("kith-attic.local".into()), addresses: vec![[192, 168, 1, 5].into()] };
        Settings {
            name: "anna".into(),
            email: "anna@kith.alt".into(),
            address: "qqq@kith.alt".into(),
            servers: servers(&ports, &machine),
            authority: "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n".into(),
            fingerprint: "AB:CD".into(),
        }
    }

    pub(crate) const BOTH: [(&str, &str); 6] = [
        ("smtp", "127.0.0.1:1587"),
        ("pop3", "127.0.0.1:1110"),
        ("imap", "127.0.0.1:1143"),
        ("smtps", "0.0.0.0:1465"),
        ("pop3s", "0.0.0.0:1995"),
        ("imaps", "0.0.0.0:1993"),
    ];

    #[test]
    fn each_place_is_offered_what_can_be_reached_from_there() {
        let settings = settings(&BOTH);
        let here = settings.server(Protocol::Imap, Place::Here).unwrap();
        assert_eq!((here.host.as_str(), here.port, here.security), ("127.0.0.1", 1143, Security::None));
        let home = settings.server(Protocol::Imap, Place::Home).unwrap();
        assert_eq!((home.host.as_str(), home.port, home.security), ("kith-attic.local", 1993, Security::Tls));
        assert_eq!(home.address, "192.168.1.5");
        assert!(settings.is_at_home());
        let alone = tests::settings(&BOTH[..3]);
        assert!(!alone.is_at_home() && alone.server(Protocol::Smtp, Place::Home).is_none());
        let open = tests::settings(&[("imap", "0.0.0.0:143"), ("smtp", "192.168.1.9:587"), ("pop3", "127.0.0.1:0")]);
        assert_eq!(open.server(Protocol::Imap, Place::Home).unwrap().security, Security::Starttls);
        assert_eq!(open.server(Protocol::Smtp, Place::Home).unwrap().address, "192.168.1.9");
        assert!(open.server(Protocol::Smtp, Place::Here).is_none() && open.server(Protocol::Pop3, Place::Here).is_none());
    }
}
