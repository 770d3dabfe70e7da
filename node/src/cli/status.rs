//! `kith status`: is everything all right, and what is there to know.

use std::path::Path;

use serde_json::Value;

use super::output::{self, Failure};
use super::queue::{age, size};
use crate::control::Request;

pub(super) fn perform(home: &Path, json: bool) -> Result<(), Failure> {
    let answer = output::ask(home, &Request::Status, &[])?;
    if json {
        return output::print_json(&answer);
    }
    output::print(&described(home, &answer))
}

/// How others reach the node, and what to do about it.
fn reachable(status: &Value) -> Vec<String> {
    let first = |field: &str| {
        let items = output::items(status, field);
        items.first().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let forward =
        "              to be reached directly: forward port 4725, TCP and UDP, to this machine, or set `external` in kith.toml";
    let router = match status.get("gateway").and_then(Value::as_bool) {
        Some(false) => Some(
            "              the router does not forward by itself (UPnP is off there, or it has no public address)".to_owned(),
        ),
        Some(true) | None => None,
    };
    match output::text(status, "reachability") {
        "direct" => vec![format!("reachable     directly, at {}", first("external"))],
        "circuits" => {
            let mut lines = vec![format!("reachable     through other nodes, at {}", first("circuits"))];
            lines.extend(router);
            lines.push(forward.to_owned());
            lines
        }
        "outgoing" => {
            let mut lines = vec![
                "reachable     from the local network at most; it reaches others, and gets what relays keep for it".to_owned(),
            ];
            lines.extend(router);
            lines.push(forward.to_owned());
            lines
        }
        _ => vec!["reachable     not known yet: it takes a minute and a few peers".to_owned()],
    }
}

/// Days before the authority's end from which on it is told.
const TOLD_DAYS: i64 = 180;

/// What to do when the ten years of the node's authority are nearly over, or over.
fn ending(home: &Path, days: Option<i64>) -> Option<String> {
    let days = days.filter(|days| *days < TOLD_DAYS)?;
    let when = match days {
        ..0 => "its ten years are over: mail programs that connect with TLS refuse it".to_owned(),
        0 => "its ten years end within a day: mail programs that connect with TLS will refuse it".to_owned(),
        _ => format!("its ten years end in {days} days: mail programs that connect with TLS will refuse it then"),
    };
    let folder = home.join("tls");
    Some(format!(
        "              {when}; to have a new one, stop the node, move {} away, start it, and let every such program accept the new one",
        folder.display()
    ))
}

/// A day, as calendars have it.
fn day(seconds: i64) -> String {
    mail_parser::DateTime::from_timestamp(seconds).to_rfc3339().chars().take(10).collect()
}

/// How it is with the certificates that the world believes: what counts, until when, and what there is to mend.
fn given(status: &Value, now_s: i64) -> Vec<String> {
    let mut lines = Vec::new();
    for one in output::items(status, "given_certificates") {
        let number = |field: &str| one.get(field).and_then(Value::as_i64);
        let name = output::text(one, "name");
        let ends = number("ends").filter(|_| one.get("good").and_then(Value::as_bool) == Some(true));
        lines.push(match (ends, number("ends")) {
            (Some(ends), _) => format!("certificate   of {name}, good until {}", day(ends)),
            (None, Some(ended)) => format!("certificate   of {name}, over since {}: the node's own is shown", day(ended)),
            (None, None) => format!("certificate   of {name}, not there yet: the node's own is shown"),
        });
        let said = output::text(one, "said");
        if !said.is_empty() {
            let wait_ms = u64::try_from(number("next").unwrap_or(0).saturating_sub(now_s)).unwrap_or(0).saturating_mul(1000);
            let again =
                if wait_ms == 0 { "about to be tried again".to_owned() } else { format!("tried again in {}", age(wait_ms)) };
            lines.push(format!("to mend       {name}: {said}; {again}, or soon after `kith queue retry`"));
        }
    }
    lines
}

fn described(home: &Path, status: &Value) -> String {
    let number = |field: &str| status.get(field).and_then(Value::as_u64).unwrap_or(0);
    let running = status.get("running").and_then(Value::as_bool).unwrap_or(false);
    let mut lines = Vec::new();
    if running {
        lines.push(format!("running for {}, version {}", age(number("uptime_ms")), output::text(status, "version")));
        lines.push(format!("home          {}", home.display()));
        lines.push(format!("peers         {} connected, {} known to the directory", number("peers"), number("known_peers")));
        for address in output::items(status, "listen") {
            lines.push(format!("listens on    {}", address.as_str().unwrap_or_default()));
        }
        lines.extend(reachable(status));
        for (name, value) in status.get("ports").and_then(Value::as_object).into_iter().flatten() {
            lines.push(format!("{name:<13} {}", value.as_str().unwrap_or_default()));
        }
        lines.push(format!(
            "logins        {}, {} failed, {} sent away after too many failures",
            number("logins"),
            number("failed_logins"),
            number("refused_logins")
        ));
        lines.push(format!("dropped       {} envelopes", number("dropped")));
    } else {
        lines.push("not running".to_owned());
        lines.push(format!("home          {}", home.display()));
    }
    let certificate = output::text(status, "certificate");
    if !certificate.is_empty() {
        lines.push(format!("certificate   of the node's own authority, SHA-256 {certificate}"));
        lines.extend(ending(home, status.get("certificate_days").and_then(Value::as_i64)));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    lines.extend(given(status, i64::try_from(now).unwrap_or(i64::MAX)));
    for (account, trouble) in status.get("gateway_troubles").and_then(Value::as_object).into_iter().flatten() {
        lines.push(format!("to mend       {account}: {}", trouble.as_str().unwrap_or_default()));
    }
    lines.push(format!("accounts      {}", number("accounts")));
    lines.push(format!("queue         {} waiting, the oldest for {}", number("queue"), age(number("oldest_ms"))));
    lines.push(format!("store         {}", size(number("store_bytes"))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_the_authority_is_told_half_a_year_before_and_what_to_do_about_it() {
        let told = |days: Option<i64>| {
            let text = described(Path::new("/h"), &json!({ "certificate": "AB:CD", "certificate_days": days }));
            text.lines().find(|line| line.contains("ten years")).map(str::to_owned)
        };
        assert_eq!(told(None), None);
        assert_eq!(told(Some(3_653)), None);
        assert_eq!(told(Some(180)), None);
        let line = told(Some(179)).unwrap();
        assert!(line.contains("end in 179 days") && line.contains("move /h/tls away"), "{line}");
        assert!(told(Some(0)).unwrap().contains("within a day"));
        assert!(told(Some(-1)).unwrap().contains("are over"));
    }

    #[test]
    fn each_certificate_is_told_with_its_end_and_what_keeps_the_next_one_away() {
        let status = json!({ "given_certificates": [
            { "name": "a.test", "good": true, "ends": 1_800_000_000, "said": null, "next": 1_790_000_000 },
            { "name": "b.test", "good": false, "ends": 1_700_000_000, "said": "ca.test cannot be reached", "next": 1_750_000_060 },
            { "name": "c.test", "good": false, "ends": null, "said": null, "next": 1_750_000_000 },
        ] });
        let lines = given(&status, 1_750_000_000);
        assert_eq!(
            lines,
            [
                "certificate   of a.test, good until 2027-01-15",
                "certificate   of b.test, over since 2023-11-14: the node's own is shown",
                "to mend       b.test: ca.test cannot be reached; tried again in 1 min, or soon after `kith queue retry`",
                "certificate   of c.test, not there yet: the node's own is shown",
            ]
        );
    }
}
