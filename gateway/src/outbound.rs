//! Mail on its way out, to one next hop at a time: through a smarthost, or to the hosts of a domain. What comes back is a fate for each recipient.
//!
//! Not the queue: when to try again is `schedule.rs`'s, and who waits is the caller's. Connections are shared between mails; see [`Outbound::send`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use self::attempt::{Attempt, Talk, Target};
use self::fate::{Fate, HopState, Outcome, Trouble, Why};
use self::mail::Mail;
use self::opening::Wish;
use self::pool::{Gate, Pass, Pool, Whole};
use self::smarthost::{Security, Smarthost};
use self::sts::Policies;
use self::times::Times;
use self::trust::{Roots, Trust};
use crate::dns::Dns;
use crate::dns::mx::NoRoute;
use crate::domain::{Domain, Place};
use crate::schedule::destination::{Ended, Limits};

mod attempt;
pub mod content;
mod direct;
pub mod fate;
mod heard;
mod login;
pub mod mail;
mod offer;
pub(crate) mod opening;
mod pool;
mod session;
pub mod smarthost;
pub mod sts;
pub mod times;
pub mod trust;
mod wire;

/// Mails that one connection takes before a new one is made, unless settings say otherwise.
pub const MAILS_PER_CONNECTION: u32 = 100;

/// How mail leaves.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// How this node introduces itself (EHLO): its name in the DNS, or its address.
    pub hello: Place,
    /// Names of this node as a mail host: mail for a domain whose best host is one of them would loop.
    pub own: Vec<Domain>,
    /// Port of other domains' hosts; 25 but for trials.
    pub port: u16,
    /// Port of MTA-STS policies; 443 but for trials.
    pub policy_port: u16,
    /// What TLS is to be with hosts whose domain does not say.
    pub tls: DirectTls,
    /// Whether the DNS may send mail into this machine or its network.
    pub local: LocalAddresses,
    /// What one destination is asked to bear.
    pub limits: Limits,
    /// Mails that one connection takes.
    pub mails_per_connection: u32,
    /// How long things may take.
    pub times: Times,
}

impl OutboundSettings {
    /// The usual settings, for a node of this name.
    pub fn new(hello: Place) -> OutboundSettings {
        OutboundSettings {
            hello,
            own: Vec::new(),
            port: 25,
            policy_port: 443,
            tls: DirectTls::IfOffered,
            local: LocalAddresses::Refused,
            limits: Limits::default(),
            mails_per_connection: MAILS_PER_CONNECTION,
            times: Times::default(),
        }
    }
}

/// What TLS is to be with hosts whose domain publishes neither DANE nor MTA-STS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectTls {
    /// Used where it is offered, with any certificate; in clear else, as all mail hosts do (RFC 7435).
    #[default]
    IfOffered,
    /// No mail in clear.
    Always,
}

/// Whether a domain's hosts may have addresses of this machine or of the local network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalAddresses {
    /// They are left out: somebody lies (a captive portal, or who wants this node to knock at its neighbours' doors).
    #[default]
    Refused,
    /// They are hosts like others: in laboratories, and where a whole network speaks of itself.
    Allowed,
}

/// Where a mail goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop<'a> {
    /// Every recipient is there: to its own hosts.
    Place(&'a Place),
    /// Everything for everybody.
    Smarthost(&'a Smarthost),
}

/// What sends mail. Cheap to clone; clones share connections and what is remembered of destinations. Needs a tokio runtime.
#[derive(Clone)]
pub struct Outbound {
    shared: Arc<Shared>,
}

/// A mail's place at its destination, taken until this is dropped.
#[must_use = "the next mail waits for it to be dropped"]
pub struct Hold(#[expect(dead_code, reason = "kept for its drop")] Option<Pass>);

struct Shared {
    settings: OutboundSettings,
    dns: Dns,
    roots: Roots,
    pool: Arc<Pool>,
    gate: Arc<Gate>,
    policies: Mutex<Policies>,
}

impl Shared {
    fn policies(&self) -> MutexGuard<'_, Policies> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbound {
    /// By these settings, this DNS, and these authorities. `policies` are the MTA-STS policies that an earlier run remembered ([`Outbound::policies`]).
    pub fn new(settings: OutboundSettings, dns: Dns, roots: Roots, policies: Policies) -> Outbound {
        let gate = Arc::new(Gate::new(settings.limits));
        Outbound { shared: Arc::new(Shared { settings, dns, roots, pool: Arc::default(), gate, policies: Mutex::new(policies) }) }
    }

    /// Tries once to hand a mail to its next hop, on a connection that waits there or a new one, and says what became of each recipient.
    ///
    /// It returns within [`Times::mail_in_all`] and the time for the last answer. Calling it again for recipients with [`Fate::Delivered`] or [`Fate::Failed`] is the caller's
    /// mistake; for [`Fate::Unknown`] it may double the mail. If the future is dropped, recipients are as with [`Fate::Unknown`]. All recipients of a [`Hop::Place`] are taken to be
    /// of that place.
    pub async fn send(&self, hop: Hop<'_>, mail: &Mail) -> Outcome {
        self.send_and_hold(hop, mail).await.0
    }

    /// As [`Outbound::send`], and the mail's place at its destination stays taken until the caller has written down what became of it and lets go. So no more mails than
    /// the destination has connections are ever both there and not known to be: those that a crash at that moment doubles.
    pub async fn send_and_hold(&self, hop: Hop<'_>, mail: &Mail) -> (Outcome, Hold) {
        let shared = &*self.shared;
        if mail.recipients.is_empty() {
            return (Outcome { fates: Vec::new(), hop: HopState::Fine }, Hold(None));
        }
        let mut pass = match shared.gate.pass(&whole(hop)).await {
            Ok(pass) => pass,
            Err(hop) => {
                let why = if matches!(hop, HopState::CredentialsRefused { .. }) { Why::Credentials } else { Why::Resting };
                return (Outcome { fates: vec![Fate::Later(Trouble::here(why)); mail.recipients.len()], hop }, Hold(None));
            }
        };
        let mut attempt = Attempt::new(shared, mail);
        let talk = match hop {
            Hop::Place(place) => direct::deliver(shared, &mut attempt, place).await,
            Hop::Smarthost(smarthost) => through(shared, &mut attempt, smarthost).await,
        };
        let (ended, hop) = match talk {
            Talk::Well => (Ended::Well, HopState::Fine),
            Talk::Badly => (Ended::Trouble, HopState::Trouble),
            Talk::NotIn => {
                let wait = std::time::Duration::from_millis(shared.settings.limits.rest_credentials_ms);
                (Ended::Credentials, HopState::CredentialsRefused { wait })
            }
        };
        pass.learned(ended);
        (Outcome { fates: attempt.fates(), hop }, Hold(Some(pass)))
    }

    /// Forgets that a next hop was in trouble or refused our credentials: a person says "try now". Changed settings of a smarthost are a new destination by themselves.
    pub fn forgive(&self, hop: Hop<'_>) {
        self.shared.gate.forgive(&whole(hop));
    }

    /// The MTA-STS policies that are remembered, to be kept over a restart.
    pub fn policies(&self) -> Policies {
        self.shared.policies().clone()
    }

    /// Says goodbye on every connection that waits.
    pub async fn close(&self) {
        self.shared.pool.close(&self.shared.settings.times).await;
    }
}

fn whole(hop: Hop<'_>) -> Whole {
    match hop {
        Hop::Place(place) => Whole::Place(place.clone()),
        Hop::Smarthost(smarthost) => Whole::Smarthost(smarthost.clone()),
    }
}

/// Takes a mail to the smarthost.
async fn through(shared: &Shared, attempt: &mut Attempt<'_>, smarthost: &Smarthost) -> Talk {
    let port = smarthost.port();
    let addresses = match smarthost.ip() {
        Some(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        None => match shared.dns.addresses(&smarthost.host).await {
            Ok(found) => Ok(found.value.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            // Hosts of the house are known to the system alone (/etc/hosts, mDNS).
            Err(failure) => known_to_the_system(shared, &smarthost.host, port).await.ok_or(failure),
        },
    };
    let addresses = match addresses {
        Ok(addresses) => addresses,
        // A person named it: that the DNS does not know it is no reason to fail people's mail, but to tell that person.
        Err(failure) => {
            attempt.later(&Trouble::at(&smarthost.host, NoRoute::Later(failure).into()));
            return Talk::Badly;
        }
    };
    let trust = Trust::Named { by_policy: false };
    let wish = match smarthost.security {
        Security::Tls => Wish::FromTheFirstByte(trust),
        Security::Starttls => Wish::StartTls(trust),
        Security::None => Wish::Clear,
    };
    attempt.talk(&Target { host: smarthost.host.clone(), addresses, wish, smarthost: Some(smarthost) }).await
}

async fn known_to_the_system(shared: &Shared, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let found = tokio::time::timeout(shared.settings.times.connect, tokio::net::lookup_host((host, port))).await.ok()?.ok()?;
    let addresses: Vec<SocketAddr> = found.take(crate::dns::ADDRESSES_MAX).collect();
    (!addresses.is_empty()).then_some(addresses)
}
