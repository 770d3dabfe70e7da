//! What mail-auth is lenient about and RFCs are not: SPF records with errors of syntax, and several DMARC records at one name.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text is an SPF record at all (RFC 7208 §4.5).
pub(super) fn is_spf(text: &str) -> bool {
    text.get(..6).is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"))
        && matches!(text.as_bytes().get(6), None | Some(b' '))
}

/// Whether a text is a DMARC record (RFC 9989 §4.10): the version comes first.
pub(super) fn is_dmarc(text: &str) -> bool {
    let mut parts = text.split(';').next().unwrap_or_default().splitn(2, '=');
    let name = parts.next().unwrap_or_default().trim();
    name == "v" && parts.next().is_some_and(|value| value.trim() == "DMARC1")
}

/// RFC 7208 §4.6: an error of syntax anywhere in the record makes it worthless.
pub(super) fn spf_is_sound(record: &str) -> bool {
    let (mut redirects, mut explanations) = (0, 0);
    let terms = record.get(6..).unwrap_or_default();
    let sound = terms.split(' ').filter(|term| !term.is_empty()).all(|term| match modifier(term) {
        Some((name, value)) => {
            redirects += u32::from(name.eq_ignore_ascii_case("redirect"));
            explanations += u32::from(name.eq_ignore_ascii_case("exp"));
            let is_known = name.eq_ignore_ascii_case("redirect") || name.eq_ignore_ascii_case("exp");
            is_macro(value) && !(is_known && value.is_empty())
        }
        None => is_mechanism(term.strip_prefix(['+', '-', '?', '~']).unwrap_or(term)),
    });
    sound && redirects <= 1 && explanations <= 1
}

fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    is_name.then_some((name, value))
}

fn is_mechanism(term: &str) -> bool {
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    let argument = rest.strip_prefix(':');
    let is_domain = |text: &str| !text.is_empty() && is_macro(text);
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty(),
        "include" | "exists" => argument.is_some_and(is_domain),
        "ptr" => rest.is_empty() || argument.is_some_and(is_domain),
        "a" | "mx" => {
            let (domain, prefixes) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
            (domain.is_empty() || domain.strip_prefix(':').is_some_and(is_domain)) && is_dual_prefix(prefixes)
        }
        "ip4" => argument.is_some_and(|net| is_net::<Ipv4Addr>(net, 32)),
        "ip6" => argument.is_some_and(|net| is_net::<Ipv6Addr>(net, 128)),
        _ => false,
    }
}

fn is_net<A: std::str::FromStr>(net: &str, max: u8) -> bool {
    let (address, prefix) = net.split_once('/').map_or((net, None), |(address, prefix)| (address, Some(prefix)));
    address.parse::<A>().is_ok() && prefix.is_none_or(|prefix| is_prefix(prefix, max))
}

/// `/24`, `//64`, `/24//64`, or nothing.
fn is_dual_prefix(text: &str) -> bool {
    let (v4, v6) = match text.split_once("//") {
        Some((v4, v6)) => (v4, Some(v6)),
        None => (text, None),
    };
    let v4 = v4.is_empty() || v4.strip_prefix('/').is_some_and(|prefix| is_prefix(prefix, 32));
    v4 && v6.is_none_or(|prefix| is_prefix(prefix, 128))
}

fn is_prefix(text: &str, max: u8) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain && text.parse::<u8>().is_ok_and(|prefix| prefix <= max)
}

/// RFC 7208 §7.1, loosely: percent signs mean something.
fn is_macro(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if !('!'..='~').contains(&letter) {
            return false;
        }
        if letter != '%' {
            continue;
        }
        match letters.next() {
            Some('%' | '_' | '-') => {}
            Some('{') => {
                let inner: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                let is_kind = |kind: char| "slodiphcrtvSLODIPHCRTV".contains(kind);
                if !inner.starts_with(is_kind) {
                    return false;
                }
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sound_records_are_told_from_others() {
        for record in [
            "v=spf1",
            "v=spf1 -all",
            "V=SPF1  +a ?mx:x.example/24//64 ~ptr include:_spf.example ip4:1.2.3.4/32 ip6:::1/0 -ALL",
            "v=spf1 exists:%{ir}.%{l1r-}._spf.%{d} redirect=a.example exp=b.example future=x",
            "v=spf1 a//64 mx/0 other=",
        ] {
            assert!(is_spf(record) && spf_is_sound(record), "{record}");
        }
        for record in [
            "v=spf1 nonsense:x",
            "v=spf1 ip4:192.0.2.0/33",
            "v=spf1 ip4:192.0.2",
            "v=spf1 include",
            "v=spf1 include:",
            "v=spf1 all:x",
            "v=spf1 a/024",
            "v=spf1 redirect=a redirect=b",
            "v=spf1 redirect=",
            "v=spf1 exists:%x",
            "v=spf1 --all",
            "v=spf1 -all,",
        ] {
            assert!(is_spf(record) && !spf_is_sound(record), "{record}");
        }
        assert!(!is_spf("v=spf10 -all") && !is_spf("spf1") && is_dmarc("v = DMARC1 ; p=none") && !is_dmarc("p=none; v=DMARC1"));
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(text in "[v=spf1 :/%{}a-z0-9]{0,60}|.{0,40}") {
            let _sound = (is_spf(&text), is_dmarc(&text), spf_is_sound(&text));
        }
    }
}
