//! What the world says of a mail from here, by what is published. Pure.

use std::net::IpAddr;

use super::compare::same;
use super::{Answer, Item, Opinion, Published, State, Wanted};
use crate::inbound::verdict::Outcome;

/// The opinions on SPF, DKIM, DMARC and the machine's name.
pub(super) fn opinions(wanted: &Wanted, published: &Published, items: &[Item]) -> Vec<Opinion> {
    let mut opinions = Vec::new();
    if wanted.direct {
        for (ip, outcome) in &published.spf {
            let good = if *outcome == Outcome::TempError { None } else { Some(*outcome == Outcome::Pass) };
            let sentence = format!("SPF for a mail from {ip}: {}.", outcome.word());
            opinions.push(Opinion { what: "SPF", good, sentence });
        }
    }
    let state_of =
        |what: &str| items.iter().filter(|item| item.what == what).map(|item| item.state).max_by_key(|state| *state as u8);
    let signed = match state_of("DKIM") {
        Some(State::Ok) => {
            Opinion { what: "DKIM", good: Some(true), sentence: "Its signature can be checked, and holds.".into() }
        }
        Some(State::Unknown) => {
            Opinion { what: "DKIM", good: None, sentence: "Whether its signature holds is not known.".into() }
        }
        Some(_) => {
            Opinion { what: "DKIM", good: Some(false), sentence: "Its signature cannot be checked, or does not hold.".into() }
        }
        None => Opinion { what: "DKIM", good: Some(false), sentence: "It is not signed.".into() },
    };
    // Signed by the author's own domain, and sent under it: both are aligned, whatever alignment is asked for.
    let by_spf =
        if wanted.direct { opinions.iter().all(|opinion| opinion.good == Some(true)) && !opinions.is_empty() } else { false };
    let passes = match (by_spf, signed.good) {
        (true, _) | (_, Some(true)) => Some(true),
        (false, None) => None,
        (false, Some(false)) => Some(false),
    };
    let sentence = match (passes, state_of("DMARC")) {
        (_, Some(State::Missing)) => "DMARC: the domain has no record, so nothing is asked for.".to_owned(),
        (Some(true), _) => "DMARC: pass, the domain vouches for it.".to_owned(),
        (Some(false), _) => "DMARC: fail, the domain does not vouch for it.".to_owned(),
        (None, _) => "DMARC: not known, the DNS does not answer.".to_owned(),
    };
    opinions.push(signed);
    opinions.push(Opinion { what: "DMARC", good: passes, sentence });
    if wanted.direct {
        opinions.push(own_name(wanted, published));
    }
    opinions
}

/// Whether the name in HELO, the address and its PTR tell the same.
fn own_name(wanted: &Wanted, published: &Published) -> Opinion {
    let host = &wanted.host;
    let leads_here = |ip: &IpAddr| {
        let forth = published.addresses.get(&host.to_lowercase()).and_then(Answer::found).is_some_and(|all| all.contains(ip));
        let back = published.names.get(ip).and_then(Answer::found).is_some_and(|all| all.iter().any(|name| same(name, host)));
        forth && back
    };
    let good = !wanted.addresses.is_empty() && wanted.addresses.iter().all(leads_here);
    let sentence = if good {
        format!("It comes from {host}, whose name and address confirm each other.")
    } else {
        format!("It says that it comes from {host}, and name and address do not confirm each other; many servers refuse that.")
    };
    Opinion { what: "name", good: Some(good), sentence }
}
