//! The way to a domain's own hosts: MX, and for each host what its certificate must be (DANE, then MTA-STS, then whatever is offered).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::attempt::{Attempt, Talk, Target};
use super::fate::{Trouble, Why};
use super::opening::Wish;
use super::sts::{Mode, Policy, Step, fetch, id};
use super::trust::{Trust, usable};
use super::{DirectTls, LocalAddresses, Shared};
use crate::dns::mx::{self, NoRoute, Route};
use crate::dns::{Addresses, DnsFailure, Found};
use crate::domain::{Domain, Place};

/// Addresses of one host that are tried.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Hosts that are talked with about one mail in one attempt (RFC 5321 §5.1 asks for two).
const TALKS_MAX: usize = 2;

/// Takes a mail to the hosts of `place`.
pub(crate) async fn deliver(shared: &Shared, attempt: &mut Attempt<'_>, place: &Place) -> Talk {
    let domain = match place {
        Place::Domain(domain) => domain,
        Place::Literal(ip) => return to_literal(shared, attempt, place, *ip).await,
    };
    let mut chance = SmallRng::seed_from_u64(rand::random());
    let route = match mx::route(&shared.dns, domain, &shared.settings.own, &mut chance).await {
        Ok(route) => route,
        Err(why @ NoRoute::Later(_)) => {
            attempt.later(&Trouble::here(why.into()));
            return Talk::Badly;
        }
        Err(why @ (NoRoute::NullMx | NoRoute::NoDomain(_) | NoRoute::Ourselves)) => {
            attempt.failed(&Trouble::here(why.into()));
            return Talk::Well;
        }
    };
    let policy = policy(shared, domain).await;
    let (mut talk, mut talks, mut nothing_there) = (Talk::Badly, 0, None);
    for host in &route.hosts {
        if attempt.open().is_empty() || !attempt.has_time() || talks >= TALKS_MAX {
            break;
        }
        let target = match target(shared, domain, host, &route, policy.as_ref()).await {
            Ok(target) => target,
            Err(NoTarget::Nothing(failure)) => {
                nothing_there = Some(failure);
                continue;
            }
            Err(NoTarget::Later(trouble)) => {
                attempt.later(&trouble);
                continue;
            }
        };
        match attempt.talk(&target).await {
            Talk::Well => (talk, talks) = (Talk::Well, talks + 1),
            // Nobody was reached: that is no talk, and the next host has its chance.
            Talk::Badly | Talk::NotIn => {}
        }
    }
    // Neither now nor later: no host of it has an address at all (RFC 5321 §5.1).
    if attempt.is_untouched()
        && let Some(failure) = nothing_there
    {
        attempt.failed(&Trouble::here(NoRoute::NoDomain(failure).into()));
        return Talk::Well;
    }
    talk
}

async fn to_literal(shared: &Shared, attempt: &mut Attempt<'_>, place: &Place, ip: IpAddr) -> Talk {
    if shared.settings.local == LocalAddresses::Refused && !is_public(ip) {
        attempt.failed(&Trouble::here(Why::LocalAddress));
        return Talk::Well;
    }
    let address = SocketAddr::new(ip, shared.settings.port);
    attempt.talk(&Target { host: place.to_string(), addresses: vec![address], wish: unasked(shared), smarthost: None }).await
}

enum NoTarget {
    /// The host has no address, for good.
    Nothing(DnsFailure),
    /// Not now.
    Later(Trouble),
}

async fn target(
    shared: &Shared,
    domain: &Domain,
    host: &str,
    route: &Route,
    policy: Option<&Policy>,
) -> Result<Target<'static>, NoTarget> {
    let Found { value: Addresses { mut addresses, alias_of }, secure } = match shared.dns.addresses(host).await {
        Ok(found) => found,
        Err(failure) if failure.is_temporary() => return Err(NoTarget::Later(Trouble::at(host, NoRoute::Later(failure).into()))),
        Err(failure) => return Err(NoTarget::Nothing(failure)),
    };
    if shared.settings.local == LocalAddresses::Refused {
        addresses.retain(|ip| is_public(*ip));
        if addresses.is_empty() {
            return Err(NoTarget::Later(Trouble::at(host, Why::LocalAddress)));
        }
    }
    let addresses = alternating(&addresses, shared.settings.port);
    let plain = |wish| Target { host: host.to_owned(), addresses: addresses.clone(), wish, smarthost: None };
    if route.secure && secure {
        let bases = alias_of.iter().map(String::as_str).chain([host]);
        for base in bases {
            match shared.dns.tlsa(base, shared.settings.port).await {
                Ok(found) if found.secure => {
                    let records = Arc::new(usable(&found.value));
                    let names = vec![base.to_owned(), host.to_owned(), domain.as_str().to_owned()];
                    let wish = Wish::StartTls(Trust::Dane { records, names });
                    return Ok(Target { host: base.to_owned(), addresses, wish, smarthost: None });
                }
                Ok(_) | Err(DnsFailure::NoName { .. } | DnsFailure::NoRecord { .. }) => {}
                // Whoever can hide these records could read the mail (RFC 7672 §2.1.2).
                Err(failure @ (DnsFailure::Bogus | DnsFailure::Later(_))) => {
                    return Err(NoTarget::Later(Trouble::at(host, Why::NoTlsa(failure.to_string()))));
                }
            }
        }
    }
    match policy {
        Some(policy) if policy.mode == Mode::Enforce && !policy.names(host) => {
            Err(NoTarget::Later(Trouble::at(host, Why::NotInPolicy)))
        }
        Some(policy) if policy.mode == Mode::Enforce => Ok(plain(Wish::StartTls(Trust::Named { by_policy: true }))),
        Some(_) | None => Ok(plain(unasked(shared))),
    }
}

/// What TLS is to be where the domain does not say.
fn unasked(shared: &Shared) -> Wish {
    match shared.settings.tls {
        DirectTls::IfOffered => Wish::IfOffered,
        DirectTls::Always => Wish::StartTls(Trust::Anybody),
    }
}

/// The domain's MTA-STS policy that counts now.
async fn policy(shared: &Shared, domain: &Domain) -> Option<Policy> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let texts = shared.dns.texts(&format!("_mta-sts.{domain}")).await;
    let id = texts.ok().and_then(|found| id(&found.value));
    let step = shared.policies().step(domain, id.as_deref(), now_s);
    match step {
        Step::Use(policy) => policy,
        Step::Fetch { id } => {
            let fetched = match shared.dns.addresses(&fetch::host(domain)).await {
                Ok(mut found) => {
                    if shared.settings.local == LocalAddresses::Refused {
                        found.value.addresses.retain(|ip| is_public(*ip));
                    }
                    let addresses = alternating(&found.value.addresses, shared.settings.policy_port);
                    let text = fetch::fetch(domain, &addresses, &shared.roots, fetch::FETCH_TIME).await;
                    text.map_err(|error| error.to_string())
                        .and_then(|text| Policy::read(&text).map_err(|error| error.to_string()))
                }
                Err(failure) => Err(failure.to_string()),
            };
            if let Err(error) = fetched.as_ref() {
                tracing::debug!(error, "a domain's MTA-STS policy could not be had");
            }
            shared.policies().fetched(domain, &id, fetched.ok(), now_s)
        }
    }
}

/// The families in turn, so that one that leads nowhere costs one attempt and not all.
fn alternating(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let mut v6 = addresses.iter().filter(|ip| ip.is_ipv6());
    let mut v4 = addresses.iter().filter(|ip| ip.is_ipv4());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(v6.next().into_iter().chain(v4.next()).map(|ip| SocketAddr::new(*ip, port)));
        if mixed.len() == before || mixed.len() >= ADDRESSES_TRIED_MAX {
            mixed.truncate(ADDRESSES_TRIED_MAX);
            return mixed;
        }
    }
}

/// Whether an address can be a stranger's mail host: none of this machine, this house, or nobody's.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared_by_providers = a == 100 && (64..128).contains(&b);
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || shared_by_providers
                || a == 0
                || a >= 240)
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                !(ip == Ipv6Addr::LOCALHOST
                    || ip == Ipv6Addr::UNSPECIFIED
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_house_are_no_strangers_hosts() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn families_take_turns() {
        let ips: Vec<IpAddr> =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"].iter().map(|ip| ip.parse().unwrap()).collect();
        let order: Vec<IpAddr> = alternating(&ips, 25).iter().map(SocketAddr::ip).collect();
        assert_eq!(order, [ips[0], ips[3], ips[1], ips[2]]);
        assert!(alternating(&[], 25).is_empty());
    }
}
