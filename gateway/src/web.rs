//! The little that is served on ports 80 and 443: an authority's check of a name, the TLS policy for mail, settings for mail programs; all else is not there.
//! Pure: the head of a request in, the whole answer out. One request on each connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acme::Challenges;
use crate::acme::challenge::PATH as CHALLENGES;

/// The longest head of a request, in bytes.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most fields in it.
const FIELDS_MAX: usize = 64;

/// What is there, by host (lower case) and path. Cheap to ask.
#[derive(Debug, Default)]
pub struct Site {
    pages: BTreeMap<String, BTreeMap<String, Page>>,
    challenges: Arc<Challenges>,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its type: `text/plain`.
    pub kind: &'static str,
    /// What is in it.
    pub body: String,
}

/// By which port a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// 80: checks, and the way to 443.
    Plain,
    /// 443: the pages.
    Tls,
}

/// What to do with what came in so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Wait for more.
    More,
    /// Say this, and close.
    Answer(Vec<u8>),
}

impl Site {
    /// No pages; the checks that are asked for at the moment.
    #[must_use]
    pub fn new(challenges: Arc<Challenges>) -> Self {
        Self { pages: BTreeMap::new(), challenges }
    }

    /// One page more.
    #[must_use]
    pub fn with(mut self, host: &str, path: &str, page: Page) -> Self {
        self.pages.entry(host.to_lowercase()).or_default().insert(path.to_owned(), page);
        self
    }

    /// What to do with what came in so far.
    #[must_use]
    pub fn hear(&self, door: Door, input: &[u8]) -> Heard {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(input) {
            Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => Heard::More,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Heard::Answer(said("431 Request Header Fields Too Large", "", true))
            }
            Err(_) => Heard::Answer(said("400 Bad Request", "", true)),
            Ok(httparse::Status::Complete(_)) => Heard::Answer(self.answer(door, &request)),
        }
    }

    fn answer(&self, door: Door, request: &httparse::Request<'_, '_>) -> Vec<u8> {
        let whole = match request.method {
            Some("GET") => true,
            Some("HEAD") => false,
            _ => return said("405 Method Not Allowed", "Allow: GET, HEAD\r\n", true),
        };
        let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
        let (host, more) = (hosts.next().and_then(|field| std::str::from_utf8(field.value).ok()), hosts.next());
        if more.is_some() || (host.is_none() && request.version == Some(1)) {
            return said("400 Bad Request", "", whole);
        }
        let Some((host, target)) = aim(host.unwrap_or_default(), request.path.unwrap_or_default()) else {
            return said("400 Bad Request", "", whole);
        };
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let host = host.to_lowercase();
        if door == Door::Plain
            && let Some(text) = path.strip_prefix(CHALLENGES).and_then(|token| self.challenges.text(token))
        {
            return page("application/octet-stream", &text, whole);
        }
        match (self.pages.get(&host), door) {
            (Some(_), Door::Plain) => said("301 Moved Permanently", &format!("Location: https://{host}{target}\r\n"), whole),
            (Some(pages), Door::Tls) => match pages.get(path) {
                Some(found) => page(found.kind, &found.body, whole),
                None => said("404 Not Found", "", whole),
            },
            (None, _) => said("404 Not Found", "", whole),
        }
    }
}

/// Host without its port, and what is wanted there, beginning with a slash (RFC 9112 §3.2).
fn aim<'a>(host: &'a str, target: &'a str) -> Option<(&'a str, &'a str)> {
    let (host, target) = match target.split_once("://") {
        Some(("http" | "https", rest)) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        _ => (host, target),
    };
    let target = if target.is_empty() { "/" } else { target };
    let bare =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(bare, _)| bare);
    target.starts_with('/').then_some((bare.trim_end_matches('.'), target))
}

/// An answer that says no more than its first line.
fn said(status: &str, fields: &str, whole: bool) -> Vec<u8> {
    let body = format!("{}\n", status.split_once(' ').map_or(status, |(_, word)| word));
    answer(status, "text/plain", fields, &body, whole)
}

fn page(kind: &str, body: &str, whole: bool) -> Vec<u8> {
    answer("200 OK", kind, "", body, whole)
}

fn answer(status: &str, kind: &str, fields: &str, body: &str, whole: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n{fields}Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), if whole { body.as_bytes() } else { &[] }].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site() -> (Site, Arc<Challenges>) {
        let challenges = Arc::new(Challenges::default());
        let policy = Page { kind: "text/plain", body: "version: STSv1\r\n".into() };
        (Site::new(challenges.clone()).with("mta-sts.near.test", "/.well-known/mta-sts.txt", policy), challenges)
    }

    fn ask(site: &Site, door: Door, request: &str) -> String {
        match site.hear(door, request.as_bytes()) {
            Heard::More => String::new(),
            Heard::Answer(answer) => String::from_utf8(answer).unwrap(),
        }
    }

    #[test]
    fn a_page_is_given_to_who_asks_its_host_for_it_and_to_nobody_else() {
        let (site, _) = site();
        let get = |host: &str, path: &str| ask(&site, Door::Tls, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        for host in ["mta-sts.near.test", "MTA-STS.Near.Test:8443", "mta-sts.near.test."] {
            let answer = get(host, "/.well-known/mta-sts.txt?x=1");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n"), "{answer}");
            assert!(answer.ends_with("Connection: close\r\n\r\nversion: STSv1\r\n"), "{answer}");
        }
        assert!(get("x", "https://mta-sts.near.test/.well-known/mta-sts.txt").starts_with("HTTP/1.1 200"));
        for (host, path) in
            [("near.test", "/.well-known/mta-sts.txt"), ("mta-sts.near.test", "/"), ("mta-sts.near.test", "/../x")]
        {
            assert!(get(host, path).starts_with("HTTP/1.1 404 "), "{host}{path}");
        }
        let head = ask(&site, Door::Tls, "HEAD /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.near.test\r\n\r\n");
        assert!(head.contains("Content-Length: 16\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn port_80_answers_checks_and_sends_all_else_to_443() {
        let (site, challenges) = site();
        let get = |host: &str, path: &str| ask(&site, Door::Plain, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        {
            let _shown = challenges.show_text("tok".into(), "tok.key".into());
            assert!(get("mail.near.test", "/.well-known/acme-challenge/tok").ends_with("\r\n\r\ntok.key"));
            assert!(get("mail.near.test", "/.well-known/acme-challenge/other").starts_with("HTTP/1.1 404 "));
        }
        assert!(get("mail.near.test", "/.well-known/acme-challenge/tok").starts_with("HTTP/1.1 404 "));
        let answer = get("MTA-sts.near.test:80", "/a?b");
        assert!(
            answer.starts_with("HTTP/1.1 301 ") && answer.contains("Location: https://mta-sts.near.test/a?b\r\n"),
            "{answer}"
        );
        assert!(get("elsewhere.test", "/").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn what_is_no_request_or_too_much_is_refused() {
        let (site, _) = site();
        for (request, status) in [
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405"),
            ("GET / HTTP/1.1\r\n\r\n".into(), "400"),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), "400"),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n".into(), "400"),
            ("EHLO x\r\n".into(), "400"),
            ("\x16\x03\x01\x02".into(), "400"),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1)), "431"),
            (format!("GET /{}", "a".repeat(HEAD_BYTES_MAX)), "431"),
        ] {
            let answer = ask(&site, Door::Tls, &request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.40}: {answer}");
        }
        assert_eq!(site.hear(Door::Tls, b"GET / HTTP/1.1\r\nHo"), Heard::More);
        assert_eq!(site.hear(Door::Plain, b""), Heard::More);
    }

    proptest! {
        /// Nothing that comes in makes it fail, wait for more than the most, or write a field of the sender's making.
        #[test]
        fn anything_at_all_is_answered(start in prop::sample::select(vec!["", "GET / HTTP/1.1\r\nHost: ", "GET http://mta-sts.near.test/"]),
                                       noise in prop::collection::vec(any::<u8>(), 0..300), plain in any::<bool>()) {
            let (site, _) = site();
            let door = if plain { Door::Plain } else { Door::Tls };
            let mut input = [start.as_bytes(), &noise].concat();
            let mut answered = site.hear(door, &input);
            if answered == Heard::More {
                input.resize(HEAD_BYTES_MAX, b'a');
                answered = site.hear(door, &input);
            }
            let Heard::Answer(answer) = answered else { panic!("still waiting") };
            let text = String::from_utf8_lossy(&answer).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            prop_assert!(head.starts_with("HTTP/1.1 ") && head.lines().count() <= 6, "{head}");
        }
    }
}
