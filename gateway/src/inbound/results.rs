//! `Authentication-Results` (RFC 8601): ours on top, and none that claims to be ours below.

use std::fmt::Write;

use super::fields::{Field, without};
use super::verdict::{Envelope, Outcome, Request, Verdict};

/// Longest value that is written, bytes.
const VALUE_BYTES_MAX: usize = 320;
/// What a recipient's program is to look for.
const FIELD: &str = "Authentication-Results";

/// The field with what was found out, with its line end. `authserv_id` is who found it out: a domain.
#[must_use]
pub fn field(authserv_id: &str, envelope: &Envelope<'_>, verdict: &Verdict) -> String {
    let mut text = format!("{FIELD}: {}", value(authserv_id));
    // Writing to a string cannot fail.
    let mut add = |part: std::fmt::Arguments<'_>| {
        let _written = write!(text, ";\r\n\t{part}");
    };
    let spf = verdict.spf.outcome.word();
    if envelope.reverse_path.is_empty() {
        add(format_args!("spf={spf} smtp.helo={}", value(envelope.helo)));
    } else {
        add(format_args!("spf={spf} smtp.mailfrom={}", value(envelope.reverse_path)));
    }
    for dkim in &verdict.dkim {
        let reason = if dkim.reason.is_empty() { String::new() } else { format!(" reason={}", quoted(&dkim.reason)) };
        let (outcome, domain, selector) = (dkim.outcome.word(), value(&dkim.domain), value(&dkim.selector));
        add(format_args!("dkim={outcome}{reason} header.d={domain} header.s={selector} header.b={}", value(&dkim.beginning)));
    }
    if verdict.dkim.is_empty() {
        add(format_args!("dkim=none"));
    }
    let dmarc = &verdict.dmarc;
    let domain = if dmarc.domain.is_empty() { String::new() } else { format!(" header.from={}", value(&dmarc.domain)) };
    let request = match dmarc.request {
        Request::None => "none",
        Request::Quarantine => "quarantine",
        Request::Reject => "reject",
    };
    match dmarc.outcome {
        Outcome::None => add(format_args!("dmarc=none{domain}")),
        outcome => add(format_args!("dmarc={} policy.dmarc={request}{domain}", outcome.word())),
    }
    if verdict.arc.outcome != Outcome::None {
        add(format_args!("arc={}", verdict.arc.outcome.word()));
    }
    add(format_args!("iprev={} policy.iprev={}", verdict.iprev.outcome.word(), value(&envelope.ip.to_canonical().to_string())));
    text.push_str("\r\n");
    text
}

/// The header without the fields that claim to be by `authserv_id`, and how many those were (RFC 8601 §5). One that cannot be understood may be taken
/// for ours by somebody, and goes too.
#[must_use]
pub fn without_claims(header: &[u8], authserv_id: &str) -> (Vec<u8>, usize) {
    without(header, |field| claims(field, authserv_id))
}

fn claims(field: &Field<'_>, authserv_id: &str) -> bool {
    field.is(FIELD) && id_of(field.value).is_none_or(|id| same(&id, authserv_id))
}

fn same(id: &str, ours: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_lowercase();
    plain(id) == plain(ours)
}

/// The authserv-id: behind white space and comments, a word or a quoted string (RFC 8601 §2.2).
fn id_of(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let mut letters = text.chars().peekable();
    let mut depth = 0_usize;
    loop {
        match *letters.peek()? {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            '\\' if depth > 0 => drop(letters.next()),
            letter if depth > 0 || letter.is_whitespace() => {}
            _ => break,
        }
        letters.next();
    }
    let mut id = String::new();
    if letters.next_if_eq(&'"').is_some() {
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => id.push(letters.next()?),
                letter => id.push(letter),
            }
        }
    } else {
        while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace() && !matches!(letter, ';' | '(' | '"')) {
            id.push(letter);
        }
    }
    (!id.is_empty()).then_some(id)
}

/// A value as it may stand in the field: a plain word, or in quotes.
fn value(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@' | b'+' | b':' | b'/');
    let plain = !text.is_empty() && text.len() <= VALUE_BYTES_MAX && text.bytes().all(is_plain) && !text.contains('/');
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if quoted.len() >= VALUE_BYTES_MAX {
            break;
        }
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            // Addresses may have such letters (RFC 6532); lines may not end here.
            letter if !letter.is_ascii() && !letter.is_control() => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::author::Author;
    use super::super::verdict::{Arc, Dkim, Dmarc, Iprev, Spf};
    use super::*;

    #[test]
    fn what_was_found_out_is_written_down() {
        let envelope =
            Envelope { ip: "192.0.2.7".parse().expect("an address"), helo: "a.example", reverse_path: "\"x y\"@b.example" };
        let dkim = Dkim {
            outcome: Outcome::Fail,
            domain: "b.example".into(),
            selector: "s".into(),
            beginning: "ab/+".into(),
            reason: "body\r\n\"hash\"".into(),
        };
        let verdict = Verdict {
            author: Author::Missing,
            spf: Spf { outcome: Outcome::SoftFail, domain: "b.example".into() },
            dkim: vec![dkim],
            dmarc: Dmarc { outcome: Outcome::Fail, request: Request::Reject, domain: "b.example".into() },
            arc: Arc { outcome: Outcome::None, sealer: String::new() },
            iprev: Iprev { outcome: Outcome::Pass, name: "a.example".into() },
        };
        let expected = "Authentication-Results: mx.kith.test;\r\n\tspf=softfail smtp.mailfrom=\"\\\"x y\\\"@b.example\";\r\n\
            \tdkim=fail reason=\"body??\\\"hash\\\"\" header.d=b.example header.s=s header.b=\"ab/+\";\r\n\
            \tdmarc=fail policy.dmarc=reject header.from=b.example;\r\n\tiprev=pass policy.iprev=192.0.2.7\r\n";
        assert_eq!(field("mx.kith.test", &envelope, &verdict), expected);
    }

    #[test]
    fn fields_that_claim_to_be_ours_go_and_others_stay() {
        let claims = [
            "Authentication-Results: mx.kith.test; dkim=pass\r\n",
            "authentication-results:\r\n\tMX.Kith.Test 1; dkim=pass\r\n",
            "Authentication-Results : (a (nested\\)) comment) \"mx.kith.test\"; x=pass\r\n",
            "Authentication-Results: mx.kith.test.; dkim=pass\r\n",
            "Authentication-Results: \"mx.ki\\th.test\";\r\n",
            "Authentication-Results: ;\r\n",
            "Authentication-Results: (open\r\n",
        ];
        let others = "Authentication-Results: mx.example.org; dkim=pass\r\nARC-Authentication-Results: i=1; mx.kith.test; dkim=pass\r\nSubject: x\r\n";
        let header = format!("{}{others}", claims.concat());
        let (kept, dropped) = without_claims(header.as_bytes(), "mx.kith.test");
        assert_eq!((String::from_utf8_lossy(&kept).as_ref(), dropped), (others, claims.len()));
    }
}
