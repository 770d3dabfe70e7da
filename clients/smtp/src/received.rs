//! The `Received` field that an MX puts on top of a mail (RFC 5321 §4.4), with the names of RFC 3848 and RFC 6531 §4.3 for how it came.

use std::fmt::Write;
use std::net::IpAddr;

/// Longest line that is written, bytes; what the client says is cut before (RFC 5321 §4.5.3.1.6 has 1000).
const HELO_BYTES_MAX: usize = 255;

/// What the field says.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// What the client calls itself, as it came.
    pub helo: &'a str,
    /// It said EHLO.
    pub extended: bool,
    /// TLS was on.
    pub encrypted: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// This machine.
    pub by: &'a str,
    /// Unique.
    pub id: [u8; 16],
    /// Only where there is one alone: several must not learn of each other.
    pub recipient: Option<&'a str>,
    /// Unix seconds.
    pub now: i64,
}

impl Received<'_> {
    /// The field, folded, with its line end. ASCII, but for what SMTPUTF8 allows.
    #[must_use]
    pub fn field(&self) -> String {
        let literal = address_literal(self.ip);
        let from = if is_name(self.helo) || self.smtputf8 && is_utf8_name(self.helo) {
            format!("{} ({literal})", self.helo)
        } else {
            // What is no name must not be taken for one, nor for another part of the field.
            format!("{literal} ({literal})")
        };
        let id = self.id.iter().fold(String::new(), |id, byte| id + &format!("{byte:02x}"));
        let mut field = format!("Received: from {from}\r\n\tby {} with {} id {id}", self.by, self.protocol());
        if let Some(recipient) = self.recipient.filter(|recipient| recipient.is_ascii() || self.smtputf8) {
            // Writing to a string cannot fail.
            let _written = write!(field, "\r\n\tfor <{recipient}>");
        }
        let _written = write!(field, ";\r\n\t{}\r\n", mail_parser::DateTime::from_timestamp(self.now).to_rfc822());
        field
    }

    /// RFC 3848; RFC 6531 §4.3.
    fn protocol(&self) -> &'static str {
        match (self.extended, self.encrypted, self.smtputf8) {
            (true, true, true) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTP",
            (true, true, false) => "ESMTPS",
            (true, false, false) => "ESMTP",
            // RFC 3848 has no name for HELO under TLS.
            (false, _, _) => "SMTP",
        }
    }
}

/// RFC 5321 §4.1.3.
#[must_use]
pub fn address_literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// A domain, or an address literal.
fn is_name(helo: &str) -> bool {
    let inner = helo.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(literal) = inner {
        let v6 = literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        return match v6 {
            Some(_) => literal.get(5..).is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
            None => literal.parse::<std::net::Ipv4Addr>().is_ok(),
        };
    }
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    helo.len() <= HELO_BYTES_MAX && helo.strip_suffix('.').unwrap_or(helo).split('.').all(is_label)
}

/// RFC 6531 §3.3: U-labels, loosely.
fn is_utf8_name(helo: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'));
    helo.len() <= HELO_BYTES_MAX && helo.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<'a>(helo: &'a str, recipient: Option<&'a str>) -> Received<'a> {
        Received {
            ip: IpAddr::from([192, 0, 2, 7]),
            helo,
            extended: true,
            encrypted: true,
            smtputf8: false,
            by: "mx.kith.test",
            id: [7; 16],
            recipient,
            now: 1_795_000_000,
        }
    }

    #[test]
    fn the_field_has_the_clauses_of_rfc_5321() {
        let expected = "Received: from mail.example ([192.0.2.7])\r\n\tby mx.kith.test with ESMTPS id 07070707070707070707070707070707\r\n\
            \tfor <mum@kith.test>;\r\n\tWed, 18 Nov 2026 11:06:40 +0000\r\n";
        assert_eq!(received("mail.example", Some("mum@kith.test")).field(), expected);
    }

    #[test]
    fn what_a_client_calls_itself_cannot_forge_clauses() {
        for helo in ["x\tby", "a(b", "a)", "a;b", "<x>", "\u{e4}.example", "[1.2.3]", "a..b", "", &"x".repeat(300)] {
            let field = received(helo, None).field();
            assert!(field.starts_with("Received: from [192.0.2.7] ([192.0.2.7])\r\n\tby mx.kith.test with "), "{field}");
        }
        let v6 = Received { ip: "2001:db8::1".parse().unwrap(), ..received("[IPv6:2001:db8::1]", None) };
        assert!(v6.field().starts_with("Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n"));
    }

    #[test]
    fn how_it_came_is_said_by_the_registered_names() {
        let base = received("a.example", None);
        assert!(Received { encrypted: false, ..base }.field().contains(" with ESMTP id "));
        assert!(Received { extended: false, encrypted: false, ..base }.field().contains(" with SMTP id "));
        assert!(Received { smtputf8: true, ..base }.field().contains(" with UTF8SMTPS id "));
    }
}
