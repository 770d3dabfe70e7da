//! Certificates that the world believes: got from a real ACME server, shown on every port that they belong to, renewed while the node runs, and what is
//! served beside them. Where there is no such authority, or it refuses, the node goes on with its own.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::names::Names;
use crate::node::{Node, eventually};
use crate::pebble::{Manner, Pebble};
use crate::ports::free_port;

const NAMES: &[(&str, &str)] =
    &[("mail.near.test", "A 127.0.0.1"), ("mta-sts.near.test", "A 127.0.0.1"), ("autoconfig.near.test", "A 127.0.0.1")];

/// Anna at `near.test`, not running yet.
fn anna(names: &Names, section: &str, directory: &str, trust: &Path) -> Node {
    let anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\ndns = [\"{}\"]\n{section}\n\
         [gateway.acme]\nterms_agreed = true\ncontact = \"anna@near.test\"\ndirectory = \"{directory}\"\ntrust = \"{}\"",
        names.address,
        trust.display()
    ));
    anna
}

/// What `openssl` is shown at a port, PEM, if it believes it by this root for this name.
fn shown(port: &str, starttls: Option<&str>, name: Option<&str>, root: &Path) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", port, "-verify_return_error", "-CAfile"]).arg(root);
    if let Some(protocol) = starttls {
        command.args(["-starttls", protocol]);
    }
    match name {
        Some(name) => command.args(["-servername", name, "-verify_hostname", name]),
        None => command.arg("-noservername"),
    };
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begins = text.find("-----BEGIN CERTIFICATE")?;
    let ends = text.find("-----END CERTIFICATE")?;
    output.status.success().then(|| text[begins..ends].to_owned())
}

fn port_of(node: &Node, name: &str) -> u16 {
    node.port(name).rsplit(':').next().unwrap().parse().unwrap()
}

/// What `curl` gets from a host that is this machine: status, type, text.
fn get(scheme: &str, host: &str, port: u16, path: &str, root: &Path) -> (String, String, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--resolve", &format!("{host}:{port}:127.0.0.1"), "--cacert"])
        .arg(root)
        .args(["--write-out", "\n%{http_code} %{content_type} %{redirect_url}"])
        .arg(format!("{scheme}://{host}:{port}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{host}{path}: {}", String::from_utf8_lossy(&output.stderr));
    let (body, last) = text.rsplit_once('\n').unwrap();
    let (status, rest) = last.split_once(' ').unwrap();
    (status.to_owned(), rest.to_owned(), body.to_owned())
}

fn certificates(node: &Node) -> Vec<Value> {
    node.json(&["status"])["given_certificates"].as_array().unwrap().clone()
}

/// Waits until each name has one.
fn all_given(node: &Node, pebble: &Pebble) {
    eventually("all certificates are there", || {
        let all = certificates(node);
        let mended = all.iter().all(|one| one["said"].is_null());
        assert!(mended, "{all:?}\n{}", pebble.log());
        all.iter().all(|one| one["good"] == true).then_some(())
    });
}

fn given(node: &Node, name: &str) -> PathBuf {
    node.home().join(format!("tls/given/{name}.pem"))
}

/// A free port of the loopback, for a configuration that has to name it.
fn any(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[test]
fn a_household_gets_what_the_world_believes_shows_it_and_keeps_it_over_a_crash() {
    let (tls, http) = (free_port(), free_port());
    let names = Names::start(NAMES);
    let Some(pebble) = Pebble::start(names.address, &Manner { refused_nonces: 20, ..Manner::usual(tls, http) }) else { return };
    let section =
        format!("mx = \"127.0.0.1:0\"\nhttps = \"{}\"\nhttp = \"{}\"\nsts = \"enforce\"\nautoconfig = true", any(tls), any(http));
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.on_all_interfaces();
    anna.start();
    all_given(&anna, &pebble);
    let told: Vec<Value> = certificates(&anna).iter().map(|one| one["name"].clone()).collect();
    assert_eq!(told, ["autoconfig.near.test", "mail.near.test", "mta-sts.near.test"]);
    assert_eq!(pebble.orders(), 3, "{}", pebble.log());
    let root = pebble.root();
    let words = anna.ask(&["status"]);
    assert!(words.contains("certificate   of mail.near.test, good until 20") && !words.contains("to mend"), "{words}");

    // Port 25 shows it to who asks for it, for something else, and for nothing.
    let mx = shown(&anna.port("mx"), Some("smtp"), Some("mail.near.test"), &root).unwrap();
    assert_eq!(shown(&anna.port("mx"), Some("smtp"), None, &root).as_ref(), Some(&mx));
    // The ports of mail programs show it by its name alone; the node's own authority stays what it is.
    let local = |name: &str| anna.port(name).replace("0.0.0.0", "127.0.0.1");
    for (port, protocol) in [("smtp", "smtp"), ("imap", "imap"), ("pop3", "pop3")] {
        assert_eq!(shown(&local(port), Some(protocol), Some("mail.near.test"), &root).as_ref(), Some(&mx), "{port}");
        assert_eq!(shown(&local(port), Some(protocol), None, &root), None, "{port}");
        assert!(shown(&local(port), Some(protocol), Some("localhost"), &anna.home().join("tls/authority.crt")).is_some());
    }

    let (status, kind, policy) = get("https", "mta-sts.near.test", tls, "/.well-known/mta-sts.txt", &root);
    assert_eq!((status.as_str(), kind.as_str()), ("200", "text/plain "));
    assert_eq!(policy, "version: STSv1\r\nmode: enforce\r\nmx: mail.near.test\r\nmax_age: 604800\r\n");
    for path in ["/mail/config-v1.1.xml?emailaddress=anna%40near.test", "/.well-known/autoconfig/mail/config-v1.1.xml"] {
        let (status, _, settings) = get("https", "autoconfig.near.test", tls, path, &root);
        assert_eq!(status, "200");
        for wanted in [
            "<domain>near.test</domain>",
            "<username>%EMAILADDRESS%</username>",
            &format!(
                "<hostname>mail.near.test</hostname>\n      <port>{}</port>\n      <socketType>STARTTLS",
                port_of(&anna, "imap")
            ),
        ] {
            assert!(settings.contains(wanted), "{wanted}: {settings}");
        }
        assert!(!settings.contains("127.0.0.1"), "{settings}");
    }
    // As Thunderbird goes on: it puts the address that was typed in where it is told to, and logs in where it is told to.
    anna.ask(&["gateway", "map", "shop@near.test", "anna"]);
    let (_, _, told) = get("https", "autoconfig.near.test", tls, "/mail/config-v1.1.xml?emailaddress=shop%40near.test", &root);
    let between = |text: &str, from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    let server = between(&told, "<incomingServer type=\"imap\">", "</incomingServer>");
    let user = between(&server, "<username>", "<").replace("%EMAILADDRESS%", "shop@near.test");
    let mut imap = crate::clients::Imap::at(&format!("127.0.0.1:{}", between(&server, "<port>", "<")), &user);
    assert_eq!(imap.select("INBOX"), 0);
    assert_eq!(get("https", "mail.near.test", tls, "/", &root).0, "404");
    assert_eq!(get("https", "mta-sts.near.test", tls, "/mail/config-v1.1.xml", &root).0, "404");
    let (status, rest, _) = get("http", "mta-sts.near.test", http, "/x", &root);
    assert_eq!((status.as_str(), rest.split(' ').next_back()), ("301", Some("https://mta-sts.near.test/x")));
    assert_eq!(get("http", "elsewhere.test", http, "/", &root).0, "404");

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&given(&anna, "mail.near.test")), 0o600);
    assert_eq!(mode(given(&anna, "mail.near.test").parent().unwrap()), 0o700);

    anna.kill();
    anna.start();
    assert_eq!(shown(&anna.port("mx"), Some("smtp"), Some("mail.near.test"), &root), Some(mx), "at once, and the same");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pebble.orders(), 3);
}

#[test]
fn a_certificate_is_renewed_while_the_node_runs_and_a_crash_on_the_way_leaves_the_old_one() {
    let tls = free_port();
    let names = Names::start(NAMES);
    let manner = Manner { life: 30, refused_nonces: 5, ..Manner::usual(tls, free_port()) };
    let Some(pebble) = Pebble::start(names.address, &manner) else { return };
    let section = format!("mx = \"127.0.0.1:0\"\nhttps = \"{}\"", any(tls));
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.start();
    all_given(&anna, &pebble);
    let root = pebble.root();
    let now = |anna: &Node| shown(&anna.port("mx"), Some("smtp"), Some("mail.near.test"), &root);
    let pid = anna.pid();
    let first = now(&anna).unwrap();
    let last = eventually("the next one", || {
        let shown = now(&anna);
        // The old one or the new one; never the node's own, and never one that is over.
        assert!(shown.is_some(), "{}", pebble.log());
        shown.filter(|shown| *shown != first)
    });
    assert_eq!((pebble.orders(), anna.pid()), (2, pid));
    // In the middle of the next order.
    eventually("the next order", || (pebble.orders() > 2).then_some(()));
    anna.kill();
    let kept = std::fs::read_to_string(given(&anna, "mail.near.test")).unwrap();
    assert!(kept.contains("PRIVATE KEY") && kept.contains(&last), "{kept}");
    anna.start();
    assert_eq!(now(&anna), Some(last));
    let one = certificates(&anna).remove(0);
    assert!(one["said"].as_str().unwrap().contains("was stopped while it asked"), "{one}");
    assert_eq!(pebble.orders(), 3, "not at once again");
}

#[test]
fn the_check_of_a_domain_fetches_its_policy_and_knocks_at_its_ports() {
    // The ports that the world uses, at an address of this machine that nobody else has.
    let [high, low] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
    let ip = format!("127.77.{high}.{}", low.max(1));
    if let Err(error) = TcpListener::bind(format!("{ip}:443")) {
        eprintln!("port 443 cannot be had here ({error}): skipped");
        return;
    }
    let policy = kith_gateway::outbound::sts::Policy {
        mode: kith_gateway::outbound::sts::Mode::Testing,
        mx: vec!["mail.near.test".into()],
        max_age_s: 86_400,
    };
    let (here, record) = (&*format!("A {ip}").leak(), &*format!("v=STSv1; id={};", policy.own_id()).leak());
    let names = Names::start(
        vec![
            ("near.test", "MX mail.near.test"),
            ("mail.near.test", here),
            ("mta-sts.near.test", here),
            ("autoconfig.near.test", here),
            ("_mta-sts.near.test", record),
            ("_smtp._tls.near.test", "v=TLSRPTv1; rua=mailto:postmaster@near.test"),
        ]
        .leak(),
    );
    let Some(pebble) = Pebble::start(names.address, &Manner::usual(443, 80)) else { return };
    let section = format!(
        "mx = \"{ip}:25\"\nhttps = \"{ip}:443\"\nhttp = \"{ip}:80\"\nsts = \"testing\"\nsts_seconds = 86400\nautoconfig = true"
    );
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.start();
    all_given(&anna, &pebble);
    let check = |anna: &Node| -> Vec<(String, String, String)> {
        let report = anna.json(&["gateway", "check", "near.test", "--address", &ip]);
        let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
        let items = report["items"].as_array().unwrap().iter();
        items.map(|item| (text(item, "what"), text(item, "state"), text(item, "sentence"))).collect()
    };
    let found = check(&anna);
    assert!(found.iter().any(|(what, _, sentence)| what == "TLS" && sentence.contains("good until 20")), "{found:?}");
    let of = |found: &[(String, String, String)], wanted: &str| {
        found.iter().find(|(what, ..)| what == wanted).unwrap_or_else(|| panic!("no {wanted}: {found:?}")).clone()
    };
    let world = ["port 25", "port 80", "port 443", "TLS"];
    for what in ["MX", "address", "MTA-STS", "MTA-STS host", "MTA-STS policy", "TLS-RPT", "autoconfig"].into_iter().chain(world) {
        assert_eq!(of(&found, what).1, "ok", "{found:?}");
    }
    anna.stop();
    let found = check(&anna);
    for what in ["MTA-STS policy"].into_iter().chain(world) {
        let (_, state, sentence) = of(&found, what);
        assert!(state == "unknown" && sentence.contains("refused"), "{what}: {state}: {sentence}");
    }
    assert!(of(&found, "port 443").2.contains("ask from outside"));
    // Whoever does not know that authority does not believe what is shown, and is told so.
    let file = anna.home().join("kith.toml");
    let other = anna.home().join("tls/authority.crt");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(pebble.trust().to_str().unwrap(), other.to_str().unwrap())).unwrap();
    anna.start();
    let (_, _, sentence) = of(&check(&anna), "TLS");
    assert!(sentence.contains("Mail comes encrypted") && sentence.contains("no authority that the world believes"), "{sentence}");
}

#[test]
fn where_only_port_80_comes_in_a_name_is_proven_by_it() {
    let http = free_port();
    let names = Names::start(NAMES);
    let Some(pebble) = Pebble::start(names.address, &Manner { dawdles: 2, ..Manner::usual(free_port(), http) }) else { return };
    let section = format!("mx = \"127.0.0.1:0\"\nhttp = \"{}\"", any(http));
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.start();
    all_given(&anna, &pebble);
    assert!(shown(&anna.port("mx"), Some("smtp"), Some("mail.near.test"), &pebble.root()).is_some());
    assert_eq!(get("http", "mail.near.test", http, "/.well-known/acme-challenge/x", &pebble.root()).0, "404");
}

#[test]
fn an_authority_that_is_not_convinced_is_not_stormed_and_the_node_goes_on_with_its_own_certificate() {
    let names = Names::start(NAMES);
    // It looks where nobody listens.
    let Some(pebble) = Pebble::start(names.address, &Manner::usual(free_port(), free_port())) else { return };
    let section = format!("mx = \"127.0.0.1:0\"\nhttps = \"{}\"", any(free_port()));
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.start();
    let said = |anna: &Node| certificates(anna)[0]["said"].as_str().map(str::to_owned);
    let why = eventually("it is refused", || said(&anna));
    assert!(why.contains("could not see that mail.near.test leads here") && why.contains("port 443"), "{why}");
    let words = anna.ask(&["status"]);
    assert!(words.contains("certificate   of mail.near.test, not there yet") && words.contains("; tried again in 1"), "{words}");
    assert_eq!(shown(&anna.port("mx"), Some("smtp"), Some("mail.near.test"), &pebble.root()), None);
    assert!(shown(&anna.port("mx"), Some("smtp"), Some("localhost"), &anna.home().join("tls/authority.crt")).is_some());
    // A restart is no reason to ask again; a person's word is, up to a number that an authority bears.
    anna.kill();
    anna.start();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    for wanted in 2..=4 {
        anna.ask(&["queue", "retry"]);
        eventually("another order", || (pebble.orders() == wanted).then_some(()));
        eventually("its end", || said(&anna).filter(|said| !said.contains("was stopped")));
        std::thread::sleep(Duration::from_secs(3));
    }
    anna.ask(&["queue", "retry"]);
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(pebble.orders(), 4, "{}", pebble.log());
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let next_s = certificates(&anna)[0]["next"].as_u64().unwrap();
    assert!((now_s + 3_000..now_s + 4 * 3_600).contains(&next_s), "{next_s} after {now_s}");
}

#[test]
fn what_cannot_be_proven_by_port_443_is_tried_by_port_80() {
    let http = free_port();
    let names = Names::start(NAMES);
    let Some(pebble) = Pebble::start(names.address, &Manner::usual(free_port(), http)) else { return };
    let section = format!("mx = \"127.0.0.1:0\"\nhttps = \"{}\"\nhttp = \"{}\"", any(free_port()), any(http));
    let mut anna = anna(&names, &section, &pebble.directory(), &pebble.trust());
    anna.start();
    eventually("443 is in vain", || certificates(&anna)[0]["said"].as_str().map(drop));
    anna.ask(&["queue", "retry"]);
    eventually("80 is not", || (certificates(&anna)[0]["good"] == true).then_some(()));
    assert!(certificates(&anna)[0]["said"].is_null());
    assert_eq!(pebble.orders(), 2, "{}", pebble.log());
}

#[test]
fn an_authority_that_is_down_is_asked_seldom_and_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = format!("https://{}/dir", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            // It takes the first word and says nothing to it.
            let _ = { stream }.read(&mut [0; 64]);
        }
    });
    let names = Names::start(NAMES);
    let section = format!("mx = \"127.0.0.1:0\"\nhttps = \"{}\"", any(free_port()));
    let mut anna = anna(&names, &section, &directory, Path::new("/dev/null"));
    anna.start();
    let why = eventually("it is told", || certificates(&anna)[0]["said"].as_str().map(str::to_owned));
    assert!(why.contains("cannot be reached"), "{why}");
    // Mail comes in all the same, with the node's own certificate.
    let mut smtp = crate::clients::Lines::connect(&anna.port("mx"));
    assert!(smtp.reply().starts_with("220 "));
    assert!(smtp.talk("EHLO mx.far.test").contains("STARTTLS"));
    anna.kill();
    anna.start();
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "once in a minute at first, whatever restarts");
    assert!(anna.ask(&["status"]).contains("to mend       mail.near.test: "));
}
