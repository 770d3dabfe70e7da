//! What a delivered mail looks like: how it came and whether its sender is proven stand in its first lines, and nothing that only claims so is left.

use std::io::{self, Read, Write};

use kith_gateway::inbound::results::without_claims;
use kith_protocol::address::Address;
use kith_protocol::event::Wall;
use kith_protocol::forward::Inward;
use kith_store::account::Account;
use kith_store::blob::Staged;
use kith_store::{Store, StoreError};
use mail_builder::headers::date::Date;

use crate::route;

/// The largest header block that is looked at, in bytes; a mail whose headers are longer is delivered with its headers as they are, below ours.
const HEADER_BYTES_MAX: usize = 256 * 1024;

/// Who the sealing proved the sender to be, and how well the recipient knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The sender's address.
    pub from: Address,
    /// In words for `Authentication-Results`: `verified in person`, `contact`, `unknown sender`, `household`.
    pub known_as: &'static str,
    /// What the sender's keys say: `pass`, or `fail` when a contact's proof is missing.
    pub verdict: Verdict,
}

/// The outcome for `Authentication-Results` (RFC 8601 §2.7 `kith=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is the sender's, as far as anybody can know.
    Pass,
    /// The contact's keys were reset: verify again.
    Reset,
}

/// A header block, cut into fields (with their line ends and folded lines).
pub(crate) fn fields(block: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < block.len() {
        let end =
            block.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')).map_or(block.len(), |end| at + end + 1);
        let folded = matches!(block.get(at), Some(b' ' | b'\t'));
        if !folded && at > start {
            fields.extend(block.get(start..at));
            start = at;
        }
        at = end;
    }
    fields.extend(block.get(start..).filter(|rest| !rest.is_empty()));
    fields
}

pub(crate) fn is_named(field: &[u8], name: &str) -> bool {
    field.split(|byte| *byte == b':').next().is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// Claims that only this node may make.
pub(crate) fn is_claim(field: &[u8]) -> bool {
    is_named(field, "Authentication-Results") || field.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"X-Kith-"))
}

/// All addresses that a From field names.
fn from_addresses(block: &[u8]) -> Vec<String> {
    let parsed = mail_parser::MessageParser::new().with_address_headers().parse_headers(block);
    let addresses = parsed.as_ref().and_then(|message| message.from());
    addresses.map(|list| list.iter().filter_map(|one| one.address()).map(str::to_lowercase).collect()).unwrap_or_default()
}

/// The lines that go above a mail, and the header block to go below them.
///
/// A From that is not the proven sender's is replaced, and kept as `X-Kith-Claimed-From`: nobody can show another's name by writing it.
fn headers(block: &[u8], proof: &Proof, wall: Wall) -> Vec<u8> {
    let date = Date { date: wall.0.div_euclid(1000) }.to_rfc822();
    let mail = proof.from.mail();
    let mut out = Vec::with_capacity(block.len() + 512);
    let (received, word) = if proof.known_as == "household" { ("local", "household") } else { ("overlay", "KITH") };
    out.extend_from_slice(format!("Received: from {received} by kith.alt\r\n\twith {word}; {date}\r\n").as_bytes());
    let verdict = match proof.verdict {
        Verdict::Pass => format!("kith=pass ({})", proof.known_as),
        Verdict::Reset => "kith=fail (their keys were reset, verify them again)".to_owned(),
    };
    out.extend_from_slice(format!("Authentication-Results: kith.alt;\r\n\t{verdict}\r\n\theader.from={mail}\r\n").as_bytes());
    let claimed = from_addresses(block);
    let honest = !claimed.is_empty() && claimed.iter().all(|address| names(&proof.from, address));
    if !honest {
        out.extend_from_slice(format!("From: {mail}\r\n").as_bytes());
    }
    for field in fields(block) {
        if is_claim(field) {
            continue;
        }
        if !honest && is_named(field, "From") {
            out.extend_from_slice(b"X-Kith-Claimed-");
        }
        out.extend_from_slice(field);
    }
    out
}

/// Does a mail address mean this key?
fn names(key: &Address, address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let text = key.to_string();
    (domain == route::DOMAIN && local.split('+').next() == Some(text.as_str()))
        || domain.strip_suffix(".kith.alt").is_some_and(|label| label == text)
}

/// Copies a mail with the node's own lines above it; the body byte for byte.
///
/// # Errors
/// What reading or writing gives.
pub fn write(mail: impl Read, proof: &Proof, wall: Wall, out: &mut impl Write) -> io::Result<()> {
    with_header(mail, out, |block| headers(block, proof, wall))
}

/// Copies a mail with another header block in place of its own.
fn with_header(mut mail: impl Read, out: &mut impl Write, headers: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
    let mut beginning = Vec::new();
    let mut piece = [0; 8 * 1024];
    let end = loop {
        let from = beginning.len().saturating_sub(3);
        let count = mail.read(&mut piece)?;
        beginning.extend_from_slice(piece.get(..count).unwrap_or_default());
        if beginning.starts_with(b"\r\n") {
            break Some(0);
        }
        if let Some(at) = beginning.get(from..).and_then(|rest| rest.windows(4).position(|four| four == b"\r\n\r\n")) {
            break Some(from + at + 2);
        }
        if count == 0 || beginning.len() > HEADER_BYTES_MAX {
            break None;
        }
    };
    // A mail without an end of its headers (or with too many) keeps them all as they are.
    let (block, rest) = beginning.split_at(end.unwrap_or(0).min(beginning.len()));
    out.write_all(&headers(block))?;
    out.write_all(rest)?;
    io::copy(&mut mail, out).map(drop)
}

/// A mail that came in the clear to the gateway of somebody whom the recipient trusts with that: its From as it is, and what the gateway found of
/// its sender above it.
///
/// # Errors
/// What reading or writing gives.
pub fn write_inward(mail: impl Read, proof: &Proof, inward: &Inward, wall: Wall, out: &mut impl Write) -> io::Result<()> {
    let found = Found {
        by: &proof.from.mail(),
        from: &inward.from,
        to: &inward.to,
        verdict: &inward.verdict,
        junk: inward.junk,
        keep_results: false,
    };
    write_found(mail, &found, wall, out)
}

/// What a gateway found of an ordinary mail.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Whose gateway, as an address.
    pub by: &'a str,
    /// The reverse-path; empty for `<>`.
    pub from: &'a str,
    /// The address that it was sent to.
    pub to: &'a str,
    /// Results of an Authentication-Results field, without its name; empty where nothing was looked at.
    pub verdict: &'a str,
    /// The domain of its From wants it to be looked at with suspicion.
    pub junk: bool,
    /// The Authentication-Results fields that it came with stay.
    pub keep_results: bool,
}

/// Text from outside as it can stand in a field: printable ASCII, one line, bounded.
fn tame(text: &str) -> String {
    text.chars().take(2_000).map(|letter| if (' '..='~').contains(&letter) { letter } else { ' ' }).collect()
}

/// The same, folded where a field of results may be.
fn folded(text: &str) -> String {
    let parts: Vec<String> = tame(text).split(';').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    parts.join(";\r\n\t")
}

/// Copies an ordinary mail with what was found of it above; claims that only this node may make are left out, the body is byte for byte.
///
/// # Errors
/// What reading or writing gives.
pub fn write_found(mail: impl Read, found: &Found<'_>, wall: Wall, out: &mut impl Write) -> io::Result<()> {
    with_header(mail, out, |block| {
        let date = Date { date: wall.0.div_euclid(1000) }.to_rfc822();
        let verdict = if found.verdict.is_empty() { "kith.alt; none".to_owned() } else { folded(found.verdict) };
        let mut text = format!("Return-Path: <{}>\r\n", tame(found.from));
        text.push_str(&format!("Delivered-To: {}\r\n", tame(found.to)));
        text.push_str(&format!("Received: from gateway by kith.alt\r\n\twith KITH; {date}\r\n"));
        text.push_str(&format!("Authentication-Results: {verdict}\r\n"));
        text.push_str(&format!("X-Kith-Gateway: {}\r\n", found.by));
        if found.junk {
            text.push_str("X-Kith-Suspicious: yes\r\n");
        }
        let mut out = text.into_bytes();
        let stays = |field: &&[u8]| !is_claim(field) || (found.keep_results && is_named(field, "Authentication-Results"));
        // Whoever writes to the provider may write results in our name.
        let block = without_claims(&without_claims(block, "kith.alt").0, found.by).0;
        fields(&block).into_iter().filter(stays).for_each(|field| out.extend_from_slice(field));
        out
    })
}

/// The copy of a submitted mail for somebody who lives here.
///
/// # Errors
/// What the store gives.
pub fn for_household(store: &Store, sender: &Account, mail: &Staged, wall: Wall) -> Result<Staged, StoreError> {
    let proof = Proof { from: sender.address, known_as: "household", verdict: Verdict::Pass };
    let mut stage = store.stage()?;
    write(store.blob(&mail.hash)?, &proof, wall, &mut stage).map_err(disk)?;
    stage.finish()
}

/// A failure of the disk as the store says it.
pub fn disk(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull,
        _ => StoreError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_folded_lines() {
        let block = b"A: 1\r\n 2\r\nB: 3\r\n\tx\r\nC: 4\r\n";
        let cut: Vec<&[u8]> = fields(block);
        assert_eq!(cut, [b"A: 1\r\n 2\r\n".as_slice(), b"B: 3\r\n\tx\r\n", b"C: 4\r\n"]);
        assert_eq!(cut.concat(), block);
    }

    #[test]
    fn results_of_a_provider_stay_and_those_in_our_name_go() {
        let mail = b"Authentication-Results: kith.alt; kith=pass\r\nAuthentication-Results: mail.near.test; dmarc=pass\r\nAuthentication-Results: provider.test; dkim=fail\r\nX-Kith-Route: x\r\nSubject: x\r\n\r\nx\r\n";
        let found = Found { by: "mail.near.test", from: "", to: "a@b.c", verdict: "", junk: false, keep_results: true };
        let mut out = Vec::new();
        write_found(mail.as_slice(), &found, Wall(0), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("provider.test; dkim=fail") && text.contains("kith.alt; none"), "{text}");
        assert!(!text.contains("pass") && !text.contains("X-Kith-Route"), "{text}");
    }

    #[test]
    fn claims_are_recognised_in_any_case() {
        assert!(is_claim(b"authentication-results: kith.alt; kith=pass\r\n"));
        assert!(is_claim(b"X-KITH-Route: x\r\n"));
        assert!(!is_claim(b"Subject: X-Kith-\r\n"));
    }
}
