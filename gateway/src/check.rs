//! What the DNS must say of a domain so that mail comes and goes by this node, whether it does, and what the world makes of a mail from here.
//!
//! [`gather`] asks, [`compare()`] compares (pure), [`Report`] says it: as text for a person with the line to enter, or by serde.

mod compare;
pub mod lookup;
mod opinions;
mod render;
pub mod shown;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use compare::compare;
pub use lookup::{Live, Lookup, gather};

use self::shown::Shown;
use crate::inbound::verdict::Outcome;
use crate::outbound::sts::Policy;

/// A key that mails are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Key {
    /// The selector.
    pub selector: String,
    /// The record's text: `v=DKIM1; k=…; p=…`.
    pub record: String,
}

/// What the domain is to say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Wanted {
    /// The domain.
    pub domain: String,
    /// What this machine is called: where the MX record points, what it says in HELO.
    pub host: String,
    /// Its addresses, as the world sees them.
    pub addresses: Vec<IpAddr>,
    /// What mails are signed with.
    pub keys: Vec<Key>,
    /// What SPF must permit besides this machine: `include:provider.example` where mail leaves by a provider.
    pub spf: Vec<String>,
    /// Whether mail leaves from here and not by a provider.
    pub direct: bool,
    /// Who gets reports of DMARC and TLS.
    pub reports_to: Option<String>,
    /// Where mail programs submit, from outside; host and port.
    pub submission: Option<(String, u16)>,
    /// Where mail programs read, from outside; host and port.
    pub imap: Option<(String, u16)>,
    /// Whether this node tells mail programs by `autoconfig.DOMAIN` how to reach it.
    pub autoconfig: bool,
    /// The MTA-STS policy that this node serves for the domain.
    pub policy: Option<Policy>,
    /// What the world must be able to reach: host and port.
    pub ports: Vec<(String, u16)>,
    /// At which port of the host the world's mail comes in, 25 but for trials: what is shown there when TLS begins is looked at. `None` where none does.
    pub mail_port: Option<u16>,
}

/// What the DNS answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// This.
    Found(T),
    /// There is nothing.
    Nothing,
    /// It does not answer for now, for this reason.
    Later(String),
}

impl<T> Answer<T> {
    /// What was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Nothing | Self::Later(_) => None,
        }
    }
}

/// Everything that is published. Names are lower case, without the dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Preference and host.
    pub mx: Answer<Vec<(u16, String)>>,
    /// Texts by name.
    pub txt: BTreeMap<String, Answer<Vec<String>>>,
    /// Addresses by name.
    pub addresses: BTreeMap<String, Answer<Vec<IpAddr>>>,
    /// Names by address.
    pub names: BTreeMap<IpAddr, Answer<Vec<String>>>,
    /// Host and port, by name.
    pub srv: BTreeMap<String, Answer<Vec<(String, u16)>>>,
    /// The text of the MTA-STS policy.
    pub policy: Answer<String>,
    /// Who answers at a host's port, asked from here; [`Answer::Later`] says why nobody does.
    pub ports: BTreeMap<(String, u16), Answer<IpAddr>>,
    /// What the host shows at its mail port when TLS begins; [`Answer::Nothing`] where TLS is not offered.
    pub shown: Answer<Shown>,
    /// What SPF says of a mail from each of our addresses.
    pub spf: BTreeMap<IpAddr, Outcome>,
}

/// How it is with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not there.
    Missing,
    /// There, and not as it should be.
    Different,
    /// Could not be asked.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What it is called: `MX`, `SPF`, …
    pub what: &'static str,
    /// The name in the DNS.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Without it mail is lost or refused; else it is only better with it.
    pub needed: bool,
    /// Lines to enter, in the form of zone files; empty where nothing is to be done, or not in the domain.
    pub enter: Vec<String>,
    /// What is there now.
    pub found: Vec<String>,
    /// What that means, and what to do.
    pub sentence: String,
}

/// What the world says of a mail from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opinion {
    /// `SPF`, `DKIM`, `DMARC`, `name`.
    pub what: &'static str,
    /// Whether it is a good one; not known where the DNS does not answer.
    pub good: Option<bool>,
    /// The opinion.
    pub sentence: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The domain.
    pub domain: String,
    /// What was looked at.
    pub items: Vec<Item>,
    /// What the world says.
    pub opinions: Vec<Opinion>,
}

impl Report {
    /// Whether nothing that is needed is wrong.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.items.iter().all(|item| !item.needed || item.state == State::Ok)
    }

    /// As text, for a person.
    #[must_use]
    pub fn text(&self) -> String {
        render::text(self)
    }
}
