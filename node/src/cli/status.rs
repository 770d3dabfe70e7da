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
        for (name, value) in status.get("ports").and_then(Value::as_object).into_iter().flatten() {
            lines.push(format!("{name:<13} {}", value.as_str().unwrap_or_default()));
        }
        lines.push(format!("certificate   SHA-256 {}", output::text(status, "certificate")));
        lines.push(format!("dropped       {} envelopes", number("dropped")));
    } else {
        lines.push("not running".to_owned());
        lines.push(format!("home          {}", home.display()));
    }
    lines.push(format!("accounts      {}", number("accounts")));
    lines.push(format!("queue         {} waiting, the oldest for {}", number("queue"), age(number("oldest_ms"))));
    lines.push(format!("store         {}", size(number("store_bytes"))));
    lines.join("\n")
}
