//! What MX records mean to a sender: which hosts, in which order (RFC 5321 §5.1, RFC 7505). Pure, but for the question itself.

use rand::RngExt;

use super::{Dns, DnsFailure, Found};
use crate::domain::Domain;

/// Hosts that are tried for one domain; further ones are left out.
pub const HOSTS_MAX: usize = 5;
/// Records that are read of an answer before it is put in order.
pub const EXCHANGES_READ_MAX: usize = 1_024;

/// One MX record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// Lower is tried earlier.
    pub preference: u16,
    /// The host, without its last dot, in lower case; empty for the root.
    pub host: String,
}

/// Where mail for a domain goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Hosts in the order in which they are tried, at least one, at most [`HOSTS_MAX`].
    pub hosts: Vec<String>,
    /// Whether DNSSEC vouches for that: a condition of DANE (RFC 7672 §2.2.1).
    pub secure: bool,
    /// Whether the domain has MX records; if not, its one host is itself.
    pub explicit: bool,
}

/// Why mail for a domain goes nowhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRoute {
    /// The domain says that it takes no mail (RFC 7505).
    #[error("the domain says that it takes no mail")]
    NullMx,
    /// The domain does not exist, or has neither MX nor address.
    #[error("there is no such mail domain: {0}")]
    NoDomain(DnsFailure),
    /// The best host for it is this node: sending would loop.
    #[error("mail for this domain would come back to this node")]
    Ourselves,
    /// The DNS does not say for now.
    #[error("{0}")]
    Later(DnsFailure),
}

/// Asks where mail for `domain` goes. `own` are the names of this node: hosts that are as good as it, or worse, are left out, so that mail does not go round.
///
/// # Errors
/// [`NoRoute`].
pub async fn route(dns: &Dns, domain: &Domain, own: &[Domain], random: &mut impl rand::Rng) -> Result<Route, NoRoute> {
    match dns.exchanges(domain).await {
        Ok(Found { value, secure }) => order(value, own, random).map(|hosts| Route { hosts, secure, explicit: true }),
        // Only where the DNS says that there is none: a failure to answer is no such word (RFC 5321 §5.1).
        Err(DnsFailure::NoRecord { secure }) => Ok(Route { hosts: vec![domain.as_str().to_owned()], secure, explicit: false }),
        Err(error @ DnsFailure::NoName { .. }) => Err(NoRoute::NoDomain(error)),
        Err(error @ (DnsFailure::Bogus | DnsFailure::Later(_))) => Err(NoRoute::Later(error)),
    }
}

/// The order of hosts: by preference, by chance among equals; each once; none that is as far as this node or farther.
///
/// # Errors
/// [`NoRoute::NullMx`] and [`NoRoute::Ourselves`].
pub fn order(mut exchanges: Vec<Exchange>, own: &[Domain], random: &mut impl rand::Rng) -> Result<Vec<String>, NoRoute> {
    let ours = exchanges
        .iter()
        .filter(|exchange| own.iter().any(|own| own.as_str() == exchange.host))
        .map(|exchange| exchange.preference)
        .min();
    // "." says "no mail" alone; beside others it is a mistake that names no host (RFC 7505 §3).
    exchanges.retain(|exchange| !exchange.host.is_empty());
    if exchanges.is_empty() {
        return Err(NoRoute::NullMx);
    }
    if let Some(ours) = ours {
        exchanges.retain(|exchange| exchange.preference < ours);
        if exchanges.is_empty() {
            return Err(NoRoute::Ourselves);
        }
    }
    let mut drawn: Vec<(u16, u32, String)> =
        exchanges.into_iter().map(|exchange| (exchange.preference, random.random(), exchange.host)).collect();
    drawn.sort();
    let mut hosts = Vec::with_capacity(HOSTS_MAX);
    for (_, _, host) in drawn {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.truncate(HOSTS_MAX);
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn exchange(preference: u16, host: &str) -> Exchange {
        Exchange { preference, host: host.to_owned() }
    }

    fn ordered(exchanges: &[Exchange], own: &[&str], seed: u64) -> Result<Vec<String>, NoRoute> {
        let own: Vec<Domain> = own.iter().map(|name| Domain::parse(name).unwrap()).collect();
        order(exchanges.to_vec(), &own, &mut SmallRng::seed_from_u64(seed))
    }

    #[test]
    fn a_lone_dot_says_that_no_mail_is_taken() {
        assert_eq!(ordered(&[exchange(0, "")], &[], 1), Err(NoRoute::NullMx));
        assert_eq!(ordered(&[exchange(0, ""), exchange(5, "a.example")], &[], 1), Ok(vec!["a.example".to_owned()]));
    }

    #[test]
    fn mail_never_goes_to_hosts_as_far_as_ourselves() {
        let exchanges =
            [exchange(10, "near.example"), exchange(20, "we.example"), exchange(20, "like.example"), exchange(30, "far.example")];
        assert_eq!(ordered(&exchanges, &["we.example"], 1), Ok(vec!["near.example".to_owned()]));
        assert_eq!(ordered(&exchanges[1..], &["we.example"], 1), Err(NoRoute::Ourselves));
    }

    #[test]
    fn equals_share_the_load() {
        let exchanges = [exchange(10, "a.example"), exchange(10, "b.example"), exchange(20, "c.example")];
        let mut first = [0; 2];
        for seed in 0..200 {
            let hosts = ordered(&exchanges, &[], seed).unwrap();
            assert_eq!(hosts[2], "c.example");
            first[usize::from(hosts[0] == "b.example")] += 1;
        }
        assert!(first[0] > 60 && first[1] > 60, "{first:?}");
    }

    proptest! {
        #[test]
        fn hosts_are_bounded_distinct_and_in_order(list in prop::collection::vec((0u16..4, 0u8..20), 1..60), seed: u64) {
            let exchanges: Vec<Exchange> = list.iter().map(|(preference, host)| exchange(*preference, &format!("h{host}.example"))).collect();
            let hosts = ordered(&exchanges, &[], seed).unwrap();
            prop_assert!(!hosts.is_empty() && hosts.len() <= HOSTS_MAX);
            let best = |host: &String| exchanges.iter().filter(|e| e.host == *host).map(|e| e.preference).min().unwrap();
            prop_assert!(hosts.windows(2).all(|pair| pair[0] != pair[1] && best(&pair[0]) <= best(&pair[1])));
        }
    }
}
