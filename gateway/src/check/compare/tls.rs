//! What a domain says of TLS with its mail servers: that there is a policy and which (MTA-STS, RFC 8461), who hears of failures (TLS-RPT, RFC 8460); and whether
//! what its mail server shows keeps that word. Pure.

use super::{Draft, of_kind, tag, texts, txt_line};
use crate::check::shown::{Dane, Shown};
use crate::check::{Item, Published, State, Wanted};
use crate::domain::Domain;
use crate::outbound::sts::{Mode, Policy, id};

pub(super) fn sts(wanted: &Wanted, published: &Published) -> Item {
    let (name, answer) = texts(wanted, "_mta-sts", published);
    let own = wanted.policy.as_ref().map(Policy::own_id);
    let draft = Draft {
        what: "MTA-STS",
        name: name.clone(),
        needed: false,
        enter: vec![txt_line(&name, &format!("v=STSv1; id={}", own.as_deref().unwrap_or("1")))],
        missing: "Senders are not told to insist on TLS. The id must change whenever the policy does.",
    };
    draft.judge(of_kind(answer, "v=STSv1").as_ref(), Clone::clone, |all| match (all.as_slice(), id(all)) {
        ([_], Some(found)) if own.as_ref().is_some_and(|own| *own != found) => {
            Err("Its id is that of another policy than the one that is served here: senders go on with that for a while."
                .to_owned())
        }
        ([_], Some(_)) => Ok("Senders are told that there is a policy.".to_owned()),
        ([_], None) => Err("It lacks an id of 1 to 32 letters and digits.".to_owned()),
        _ => Err("There are several records, which counts as none; leave one.".to_owned()),
    })
}

/// Where senders fetch the policy that this node serves.
pub(super) fn policy_host(wanted: &Wanted, published: &Published) -> Item {
    let name = format!("mta-sts.{}", wanted.domain);
    let draft = Draft {
        what: "MTA-STS host",
        name: name.clone(),
        needed: false,
        enter: vec![format!("{name}. IN CNAME {}.", wanted.host)],
        missing: "Senders do not find the policy that is served here.",
    };
    draft.leads_here(wanted, published, "Senders fetch the policy from this machine.", "Senders look for the policy elsewhere.")
}

pub(super) fn policy(wanted: &Wanted, published: &Published) -> Item {
    let Wanted { domain, host, .. } = wanted;
    // What this node serves by itself need not be put anywhere.
    let file = match wanted.policy {
        Some(_) => Vec::new(),
        None => ["version: STSv1", "mode: enforce", &format!("mx: {host}"), "max_age: 604800"].map(str::to_owned).to_vec(),
    };
    let draft = Draft {
        what: "MTA-STS policy",
        name: format!("https://mta-sts.{domain}/.well-known/mta-sts.txt"),
        needed: false,
        enter: file,
        missing: "There is no policy.",
    };
    let show = |text: &String| {
        text.lines().take(20).map(|line| line.chars().filter(|letter| !letter.is_control()).take(120).collect()).collect()
    };
    draft.judge(Some(&published.policy), show, |text| {
        let policy = Policy::read(text).map_err(|why| format!("It counts as none: {why}."))?;
        if wanted.policy.as_ref().is_some_and(|own| *own != policy) {
            return Err("It is another policy than the one that this node serves.".to_owned());
        }
        let named = Domain::parse(host).is_ok_and(|host| policy.names(host.as_str()));
        match policy.mode {
            Mode::None => Err("Its mode is none: it asks for nothing.".to_owned()),
            Mode::Testing | Mode::Enforce if !named => {
                Err(format!("It does not name {host}: senders that insist on it bring no mail."))
            }
            Mode::Testing => Ok("Senders would insist on TLS with this machine; mode: testing only has them report.".to_owned()),
            Mode::Enforce => Ok("Senders insist on TLS with this machine.".to_owned()),
        }
    })
}

/// A certificate with less than this left should have been renewed, in seconds.
const RENEWED_S: i64 = 7 * 24 * 3600;

/// The mode of the policy that senders find, where it is one that names the host.
fn asked(wanted: &Wanted, published: &Published) -> Mode {
    let policy = published.policy.found().and_then(|text| Policy::read(text).ok());
    let named = |policy: &Policy| Domain::parse(&wanted.host).is_ok_and(|host| policy.names(host.as_str()));
    policy.filter(named).map_or(Mode::None, |policy| policy.mode)
}

/// What the mail port shows, and what senders make of it.
pub(super) fn certificate(wanted: &Wanted, port: u16, published: &Published) -> Item {
    let Wanted { host, .. } = wanted;
    let mode = asked(wanted, published);
    let draft = Draft {
        what: "TLS",
        name: format!("{host}:{port}"),
        needed: mode == Mode::Enforce,
        enter: Vec::new(),
        missing: "It offers no TLS (STARTTLS), or what stands between takes it away: mail comes in the clear, and senders that insist on TLS bring none.",
    };
    let show = |shown: &Shown| vec![format!("a certificate for {}, until {}", shown.names.join(", "), day(shown.ends_s))];
    draft.judge(Some(&published.shown), show, |shown| match (&shown.doubt, mode) {
        (Some(doubt), Mode::Enforce) => {
            Err(format!("Senders keep to the policy and bring no mail, since they do not believe its certificate: {doubt}."))
        }
        (Some(doubt), Mode::Testing) => Err(format!(
            "Senders that keep to the policy report its certificate, and would bring no mail if it were enforced: {doubt}."
        )),
        (Some(doubt), Mode::None) => Ok(format!(
            "Mail comes encrypted. Senders that insist on a certificate that they can believe would not bring it: {doubt}."
        )),
        (None, _) if shown.left_s < RENEWED_S => {
            Err(format!("Its certificate ends on {}, and should have been renewed by now; see `kith status`.", day(shown.ends_s)))
        }
        (None, _) => Ok(format!("It shows a certificate that the world believes, good until {}.", day(shown.ends_s))),
    })
}

/// What the DNS says of the key that the mail port shows, where it says something.
pub(super) fn dane(wanted: &Wanted, port: u16, published: &Published) -> Option<Item> {
    let (state, needed, sentence) = match &published.shown.found()?.dane {
        Dane::Silent => return None,
        Dane::Fits => (State::Ok, true, "Senders that ask the signed DNS find the key that is shown.".to_owned()),
        Dane::Unsigned => {
            let sentence =
                "Its records count for nothing, since the DNS does not sign them and the MX record (DNSSEC).".to_owned();
            (State::Different, false, sentence)
        }
        Dane::Differs(why) => {
            let sentence = format!(
                "Senders that ask the signed DNS bring no mail: {why}. Take the records away, or change them with every certificate."
            );
            (State::Different, true, sentence)
        }
        Dane::Unknown(why) => (State::Unknown, false, format!("It could not be asked: {why}.")),
    };
    let name = format!("_{port}._tcp.{}", wanted.host);
    Some(Item { what: "DANE", name, state, needed, enter: Vec::new(), found: Vec::new(), sentence })
}

/// A day, as calendars have it.
fn day(seconds: i64) -> String {
    mail_parser::DateTime::from_timestamp(seconds).to_rfc3339().chars().take(10).collect()
}

pub(super) fn reports(wanted: &Wanted, published: &Published) -> Item {
    let (name, answer) = texts(wanted, "_smtp._tls", published);
    let to = wanted.reports_to.clone().unwrap_or_else(|| format!("postmaster@{}", wanted.domain));
    let draft = Draft {
        what: "TLS-RPT",
        name: name.clone(),
        needed: false,
        enter: vec![txt_line(&name, &format!("v=TLSRPTv1; rua=mailto:{to}"))],
        missing: "Nobody tells you when senders find no TLS here.",
    };
    draft.judge(of_kind(answer, "v=TLSRPTv1").as_ref(), Clone::clone, |all| match all.as_slice() {
        // RFC 8460 §3: one address or several, with commas between.
        [text] => match tag(text, "rua").map(|rua| rua.split(',').find(|uri| !takes_reports(uri)).map(str::to_owned)) {
            Some(None) => Ok("Senders report when they find no TLS.".to_owned()),
            Some(Some(odd)) => Err(format!("`{odd}` is no address for reports: mailto:NAME@DOMAIN or https://…")),
            None => Err("It lacks rua=, the address for the reports.".to_owned()),
        },
        _ => Err("There are several records, which counts as none; leave one.".to_owned()),
    })
}

fn takes_reports(uri: &str) -> bool {
    let mailbox =
        |text: &str| text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && Domain::parse(domain).is_ok());
    let web = |rest: &str| rest.split(['/', ':']).next().is_some_and(|host| Domain::parse(host).is_ok());
    uri.strip_prefix("mailto:").is_some_and(mailbox) || uri.strip_prefix("https://").is_some_and(web)
}
