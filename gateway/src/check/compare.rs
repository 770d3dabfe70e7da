//! What is published against what is wanted. Pure.

mod tls;

use std::net::IpAddr;

use super::opinions::opinions;
use super::{Answer, Item, Key, Published, Report, State, Wanted};
use crate::inbound::verdict::Outcome;

/// Compares everything.
#[must_use]
pub fn compare(wanted: &Wanted, published: &Published) -> Report {
    let mut items = vec![mx(wanted, published), host(wanted, published), spf(wanted, published)];
    items.extend(wanted.keys.iter().map(|key| dkim(wanted, key, published)));
    items.push(dmarc(wanted, published));
    if wanted.direct {
        items.extend(wanted.addresses.iter().map(|ip| name(wanted, *ip, published)));
    }
    items.push(tls::sts(wanted, published));
    if wanted.policy.is_some() {
        items.push(tls::policy_host(wanted, published));
    }
    items.extend([tls::policy(wanted, published), tls::reports(wanted, published)]);
    let services = [("_submissions._tcp", &wanted.submission), ("_imaps._tcp", &wanted.imap)];
    items.extend(services.iter().filter_map(|(label, target)| srv(wanted, label, target.as_ref()?, published)));
    if wanted.autoconfig {
        items.push(autoconfig(wanted, published));
    }
    items.extend(wanted.ports.iter().map(|(host, port)| reached(host, *port, published)));
    if let Some(port) = wanted.mail_port {
        items.push(tls::certificate(wanted, port, published));
        items.extend(tls::dane(wanted, port, published));
    }
    let opinions = opinions(wanted, published, &items);
    Report { domain: wanted.domain.clone(), items, opinions }
}

/// A TXT record as zone files have it, in pieces of at most 255 bytes.
pub(super) fn txt_line(name: &str, text: &str) -> String {
    let pieces: Vec<String> = text
        .as_bytes()
        .chunks(255)
        .map(|piece| format!("\"{}\"", String::from_utf8_lossy(piece).replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{name}. IN TXT {}", pieces.join(" "))
}

struct Draft<'a> {
    what: &'static str,
    name: String,
    needed: bool,
    enter: Vec<String>,
    missing: &'a str,
}

impl Draft<'_> {
    /// Whether its name leads to this machine, and what that means.
    fn leads_here(self, wanted: &Wanted, published: &Published, here: &str, elsewhere: &str) -> Item {
        let show = |all: &Vec<IpAddr>| all.iter().map(ToString::to_string).collect();
        let answer = published.addresses.get(&self.name.to_lowercase());
        self.judge(answer, show, |all| {
            if all.iter().any(|ip| wanted.addresses.contains(ip)) { Ok(here.to_owned()) } else { Err(elsewhere.to_owned()) }
        })
    }

    /// What is there, judged: `Ok` and `Err` are sentences.
    fn judge<T>(
        self,
        answer: Option<&Answer<T>>,
        show: impl Fn(&T) -> Vec<String>,
        judge: impl Fn(&T) -> Result<String, String>,
    ) -> Item {
        let Self { what, name, needed, enter, missing } = self;
        let (state, found, sentence) = match answer {
            Some(Answer::Found(value)) => match judge(value) {
                Ok(sentence) => (State::Ok, show(value), sentence),
                Err(sentence) => (State::Different, show(value), sentence),
            },
            Some(Answer::Nothing) => (State::Missing, Vec::new(), missing.to_owned()),
            Some(Answer::Later(why)) => (State::Unknown, Vec::new(), format!("It could not be asked: {why}.")),
            None => (State::Unknown, Vec::new(), "It was not asked.".to_owned()),
        };
        let enter = if matches!(state, State::Ok | State::Unknown) { Vec::new() } else { enter };
        Item { what, name, state, needed, enter, found, sentence }
    }
}

pub(super) fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

fn mx(wanted: &Wanted, published: &Published) -> Item {
    let Wanted { domain, host, .. } = wanted;
    let draft = Draft {
        what: "MX",
        name: domain.clone(),
        needed: true,
        enter: vec![format!("{domain}. IN MX 10 {host}.")],
        missing: "Nobody knows where to bring mail for the domain.",
    };
    let show = |all: &Vec<(u16, String)>| all.iter().map(|(preference, host)| format!("{preference} {host}")).collect();
    draft.judge(Some(&published.mx), show, |all| {
        let ours = all.iter().filter(|(_, name)| same(name, host)).count();
        match (ours, all.len()) {
            (0, _) => Err(format!("Mail for the domain is brought elsewhere; it must point to {host}.")),
            (_, 1) => Ok("Mail for the domain is brought here.".to_owned()),
            _ => Ok("Mail for the domain is brought here, and to other machines, which must pass it on.".to_owned()),
        }
    })
}

fn host(wanted: &Wanted, published: &Published) -> Item {
    let Wanted { host, addresses, .. } = wanted;
    let line = |ip: &IpAddr| format!("{host}. IN {} {ip}", if ip.is_ipv4() { "A" } else { "AAAA" });
    let draft = Draft {
        what: "address",
        name: host.clone(),
        needed: true,
        enter: addresses.iter().map(line).collect(),
        missing: "The name has no address, so nobody can connect.",
    };
    let show = |all: &Vec<IpAddr>| all.iter().map(ToString::to_string).collect();
    draft.judge(published.addresses.get(&host.to_lowercase()), show, |all| {
        let missing: Vec<String> = addresses.iter().filter(|ip| !all.contains(ip)).map(ToString::to_string).collect();
        let foreign = all.iter().any(|ip| !addresses.contains(ip));
        if !missing.is_empty() {
            Err(format!("The name does not lead to {}.", missing.join(" and ")))
        } else if foreign {
            Err("The name leads to other machines too; take those addresses away.".to_owned())
        } else {
            Ok("The name leads here.".to_owned())
        }
    })
}

fn texts<'a>(wanted: &Wanted, label: &str, published: &'a Published) -> (String, Option<&'a Answer<Vec<String>>>) {
    let domain = &wanted.domain;
    let name = if label.is_empty() { domain.clone() } else { format!("{label}.{domain}") };
    let answer = published.txt.get(&name.to_lowercase());
    (name, answer)
}

/// Only the texts that are of the kind; none of them is nothing.
fn of_kind(answer: Option<&Answer<Vec<String>>>, version: &str) -> Option<Answer<Vec<String>>> {
    answer.map(|answer| match answer {
        Answer::Found(all) => {
            let is_version = |text: &&String| {
                let (start, rest) = text.split_at_checked(version.len()).unwrap_or((text, ""));
                start.eq_ignore_ascii_case(version) && rest.chars().next().is_none_or(|next| matches!(next, ';' | ' ' | '\t'))
            };
            let all: Vec<String> = all.iter().filter(is_version).cloned().collect();
            if all.is_empty() { Answer::Nothing } else { Answer::Found(all) }
        }
        Answer::Nothing => Answer::Nothing,
        Answer::Later(why) => Answer::Later(why.clone()),
    })
}

/// The value of a tag in `a=b; c=d`, without white space.
fn tag(text: &str, name: &str) -> Option<String> {
    let value = text.split(';').filter_map(|part| part.split_once('=')).find(|(tag, _)| tag.trim().eq_ignore_ascii_case(name))?.1;
    Some(value.chars().filter(|letter| !letter.is_whitespace()).collect())
}

fn spf(wanted: &Wanted, published: &Published) -> Item {
    let (name, answer) = texts(wanted, "", published);
    let answer = of_kind(answer, "v=spf1");
    let mut mechanisms: Vec<String> = if wanted.direct {
        let each = |ip: &IpAddr| format!("{}:{ip}", if ip.is_ipv4() { "ip4" } else { "ip6" });
        wanted.addresses.iter().map(each).collect()
    } else {
        Vec::new()
    };
    mechanisms.extend(wanted.spf.iter().cloned());
    // Where this machine's addresses are not known, its name stands for them.
    if wanted.direct && mechanisms.is_empty() {
        mechanisms.push("mx".to_owned());
    }
    let existing = match &answer {
        Some(Answer::Found(all)) if all.len() == 1 => all.first().map(String::as_str),
        _ => None,
    };
    let record = match existing {
        // What is there stays, ours comes first.
        Some(text) => text.splitn(2, ' ').map(str::to_owned).collect::<Vec<_>>().join(&format!(" {} ", mechanisms.join(" "))),
        None => format!("v=spf1 {} -all", mechanisms.join(" ")),
    };
    let draft = Draft {
        what: "SPF",
        name: name.clone(),
        needed: true,
        enter: if mechanisms.is_empty() { Vec::new() } else { vec![txt_line(&name, &record)] },
        missing: if mechanisms.is_empty() {
            "The domain does not say whose mail is its own: many servers refuse it or call it junk. Its mail leaves by a provider: enter what that one tells, as \"v=spf1 include:PROVIDER -all\"."
        } else {
            "The domain does not say whose mail is its own: many servers refuse it or call it junk."
        },
    };
    draft.judge(answer.as_ref(), Clone::clone, |all| {
        if all.len() > 1 {
            return Err("There are several SPF records, which counts as none; leave one.".to_owned());
        }
        let text = all.first().map(String::as_str).unwrap_or_default();
        let lacks: Vec<&str> = wanted
            .spf
            .iter()
            .map(String::as_str)
            .filter(|one| !text.split(' ').any(|word| word.eq_ignore_ascii_case(one)))
            .collect();
        if !lacks.is_empty() {
            return Err(format!("It lacks {}.", lacks.join(" and ")));
        }
        let refused: Vec<String> =
            published.spf.iter().filter(|(_, outcome)| **outcome != Outcome::Pass).map(|(ip, _)| ip.to_string()).collect();
        if wanted.direct && !refused.is_empty() {
            return Err(format!("It does not permit mail from {}.", refused.join(" and ")));
        }
        Ok("It permits the mail that leaves from here.".to_owned())
    })
}

fn dkim(wanted: &Wanted, key: &Key, published: &Published) -> Item {
    let (name, answer) = texts(wanted, &format!("{}._domainkey", key.selector), published);
    let draft = Draft {
        what: "DKIM",
        name: name.clone(),
        needed: true,
        enter: vec![txt_line(&name, &key.record)],
        missing: "Nobody can check the signatures of mail from here.",
    };
    draft.judge(answer, Clone::clone, |all| {
        let kind = |text: &str| tag(text, "k").unwrap_or_else(|| "rsa".to_owned());
        match all.as_slice() {
            [text] if tag(text, "p").as_deref() == Some("") => Err("The key is withdrawn.".to_owned()),
            [text] if tag(text, "p") == tag(&key.record, "p") && kind(text) == kind(&key.record) => {
                Ok("The key is the one that mails are signed with.".to_owned())
            }
            [_] => Err("It is another key than the one that mails are signed with.".to_owned()),
            _ => Err("There are several records where one belongs.".to_owned()),
        }
    })
}

fn dmarc(wanted: &Wanted, published: &Published) -> Item {
    let (name, answer) = texts(wanted, "_dmarc", published);
    let reports = wanted.reports_to.as_ref().map_or_else(String::new, |to| format!("; rua=mailto:{to}"));
    let draft = Draft {
        what: "DMARC",
        name: name.clone(),
        needed: true,
        enter: vec![txt_line(&name, &format!("v=DMARC1; p=quarantine{reports}"))],
        missing: "The domain does not say what to do with mail that only claims to be its own; large providers refuse mail of such domains.",
    };
    draft.judge(of_kind(answer, "v=DMARC1").as_ref(), Clone::clone, |all| match all.as_slice() {
        [text] => match tag(text, "p").map(|policy| policy.to_lowercase()).as_deref() {
            Some("reject" | "quarantine") => Ok("Mail that only claims to be the domain's is refused or doubted.".to_owned()),
            Some("none") => Ok("It only watches; p=quarantine protects the domain's name.".to_owned()),
            _ => Err("It has no policy: p=none, p=quarantine or p=reject.".to_owned()),
        },
        _ => Err("There are several DMARC records, which counts as none; leave one.".to_owned()),
    })
}

fn name(wanted: &Wanted, ip: IpAddr, published: &Published) -> Item {
    let host = &wanted.host;
    let draft = Draft {
        what: "PTR",
        name: ip.to_string(),
        needed: true,
        enter: Vec::new(),
        missing: "The address has no name; many servers refuse mail from it. Whoever provides the connection sets it, not the domain.",
    };
    draft.judge(published.names.get(&ip), Clone::clone, |all| {
        if all.iter().any(|name| same(name, host)) {
            Ok("The address has this machine's name.".to_owned())
        } else {
            Err(format!("The address has another name than {host}; whoever provides the connection can change it."))
        }
    })
}

/// Whether a port can be reached, as far as that can be told from inside.
fn reached(host: &str, port: u16, published: &Published) -> Item {
    let what = match port {
        25 => "port 25",
        80 => "port 80",
        443 => "port 443",
        _ => "port",
    };
    let draft = Draft {
        what,
        name: format!("{host}:{port}"),
        needed: false,
        enter: Vec::new(),
        missing: "The name has no address, so nobody can connect.",
    };
    let mut item = draft.judge(
        published.ports.get(&(host.to_owned(), port)),
        |ip| vec![ip.to_string()],
        |ip| {
            Ok(format!(
                "It answers at {ip}, asked from this machine. Whether it does from everywhere, only somebody elsewhere can tell."
            ))
        },
    );
    if let Some(Answer::Later(why)) = published.ports.get(&(host.to_owned(), port)) {
        item.sentence = format!(
            "From this machine it cannot be reached: {why}. It must be open, and forwarded where a router stands between; some routers show it to the world and not to those behind them, so ask from outside."
        );
    }
    item
}

fn srv(wanted: &Wanted, label: &str, target: &(String, u16), published: &Published) -> Option<Item> {
    let name = format!("{label}.{}", wanted.domain);
    let (host, port) = target;
    let draft = Draft {
        what: "SRV",
        name: name.clone(),
        needed: false,
        enter: vec![format!("{name}. IN SRV 0 1 {port} {host}.")],
        missing: "Mail programs that look there do not find this machine by themselves.",
    };
    let show = |all: &Vec<(String, u16)>| all.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    Some(draft.judge(published.srv.get(&name.to_lowercase()), show, |all| {
        if all.iter().any(|(name, number)| same(name, host) && number == port) {
            Ok("Mail programs find this machine by themselves.".to_owned())
        } else {
            Err(format!("Mail programs are sent elsewhere than to {host}:{port}."))
        }
    }))
}

fn autoconfig(wanted: &Wanted, published: &Published) -> Item {
    let name = format!("autoconfig.{}", wanted.domain);
    let draft = Draft {
        what: "autoconfig",
        name: name.clone(),
        needed: false,
        enter: vec![format!("{name}. IN CNAME {}.", wanted.host)],
        missing: "Thunderbird does not find this machine's settings by itself.",
    };
    draft.leads_here(
        wanted,
        published,
        "Thunderbird asks this machine for its settings.",
        "Thunderbird asks another machine for the settings.",
    )
}

#[cfg(test)]
mod tests;
