//! What `kith settings` prints is what works: programs are set up with nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clients::{inbox, mail, send};
use crate::node::Node;
use crate::programs::{installed, run};

/// A node that listens on all ports, TLS from the first byte on every interface.
fn at_home() -> Node {
    let mut node = Node::with_accounts(&["anna"]);
    node.announced();
    node.configure("smtps = \"0.0.0.0:0\"\npop3s = \"0.0.0.0:0\"\nimaps = \"0.0.0.0:0\"");
    node.start();
    node
}

fn port_of(node: &Node, name: &str) -> String {
    node.port(name).rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn the_settings_are_those_of_the_running_node() {
    let mut node = at_home();
    let told = node.json(&["settings"]);
    let servers = told["settings"]["servers"].as_array().unwrap();
    assert_eq!(told["settings"]["email"], "anna@kith.alt");
    assert_eq!(told["settings"]["fingerprint"], node.json(&["status"])["certificate"]);
    for name in ["imap", "imaps", "pop3s", "smtp", "smtps"] {
        let port: u64 = port_of(&node, name).parse().unwrap();
        assert!(servers.iter().any(|server| server["port"] == port), "{name}: {servers:?}");
    }
    let words = node.ask(&["settings"]);
    for wanted in
        ["On this machine", "thunderbird", "apple-mail", "outlook", "k9", "mutt", "msmtp", "mbsync", &port_of(&node, "imap")]
    {
        assert!(words.contains(wanted), "{wanted}: {words}");
    }
    let file = node.ask(&["settings", "--thunderbird", "-"]);
    assert!(file.contains(&format!("<port>{}</port>", port_of(&node, "imap"))), "{file}");
    let path = node.home().join("kith.mobileconfig");
    node.ask(&["settings", "--apple", path.to_str().unwrap(), "--lan"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if installed("python3") {
        let script = r#"
import plistlib, ssl, sys, uuid, xml.etree.ElementTree as tree
profile = plistlib.load(open(sys.argv[1], "rb"))
authority, account = profile["PayloadContent"]
assert profile["PayloadType"] == "Configuration" and authority["PayloadType"] == "com.apple.security.root"
assert ssl.DER_cert_to_PEM_cert(authority["PayloadContent"]).split() == open(sys.argv[2]).read().split()
assert account["EmailAddress"] == "anna@kith.alt" and account["IncomingMailServerUseSSL"] is True
assert account["IncomingMailServerPortNumber"] == int(sys.argv[3]) and account["OutgoingMailServerPortNumber"] == int(sys.argv[4])
for payload in (profile, authority, account): uuid.UUID(payload["PayloadUUID"])
config = tree.fromstring(sys.argv[5].encode())
first = config.find("emailProvider/incomingServer")
assert (first.get("type"), first.findtext("hostname"), first.findtext("socketType")) == ("imap", "127.0.0.1", "plain")
"#;
        let authority = node.home().join("tls/authority.crt");
        run(Command::new("python3").args(["-c", script]).arg(&path).arg(authority).args([
            port_of(&node, "imaps"),
            port_of(&node, "smtps"),
            file,
        ]));
    }
    node.stop();
    let (code, out, error) = node.try_with(b"", &["settings", "--program", "mutt"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("127.0.0.1:1143") && error.contains("does not run"), "{out}{error}");
}

#[test]
fn programs_work_with_the_lines_that_are_printed_for_them() {
    let node = at_home();
    let password = node.home().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let home = node.home().to_str().unwrap();
    let lines = |arguments: &[&str]| {
        node.ask(&[&["settings", "--program"][..], arguments].concat())
            .replace("~/.kith-password", password.to_str().unwrap())
            .replace("/path/to/kith", home)
            .replace("~/Mail", &format!("{home}/near"))
    };
    // The name that is announced may not be known to this machine's resolver; this one is in the certificate too.
    let by_local_name = |text: String| {
        let told = node.json(&["settings"]);
        let servers = told["settings"]["servers"].as_array().unwrap();
        let host = servers.iter().find(|server| server["place"] == "home").unwrap()["host"].as_str().unwrap().to_owned();
        text.replace(&host, "localhost")
    };
    let file = |name: &str, text: &str| {
        let path = node.home().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let mut sent = 0;
    if installed("msmtp") {
        for (name, text) in [("here", lines(&["msmtp", "--here"])), ("lan", by_local_name(lines(&["msmtp", "--lan"])))] {
            let rc = file(name, &text);
            let mut msmtp = Command::new("msmtp").arg("-C").arg(rc).arg("anna@kith.alt").stdin(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut msmtp.stdin.take().unwrap(), &mail("anna", name, b"x\r\n")).unwrap();
            assert!(msmtp.wait().unwrap().success(), "{text}");
            sent += 1;
        }
    }
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "more", b"x\r\n"));
    inbox(&node, "anna", sent + 1);
    if installed("mbsync") {
        std::fs::create_dir(node.home().join("near")).unwrap();
        for (name, text) in [("mbsync", lines(&["mbsync", "--here"])), ("mbsync-lan", by_local_name(lines(&["mbsync", "--lan"])))]
        {
            run(Command::new("mbsync").arg("-c").arg(file(name, &text)).arg("-a"));
        }
        let new = std::fs::read_dir(node.home().join("near/INBOX/new")).unwrap().count();
        assert_eq!(new, sent + 1);
        std::fs::remove_dir_all(node.home().join("near")).unwrap();
    }
    if installed("neomutt") {
        let text = format!("{}set smtp_pass = \"secret\"\n", lines(&["mutt", "--here"]));
        let mut mutt = Command::new("neomutt")
            .args(["-n", "-F", file("muttrc", &text).to_str().unwrap(), "-s", "by mutt", "anna@kith.alt"])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut mutt.stdin.take().unwrap(), b"x\n").unwrap();
        assert!(mutt.wait().unwrap().success(), "{text}");
        inbox(&node, "anna", sent + 2);
    }
}

#[test]
fn programs_that_look_on_the_network_find_the_ports_and_trust_the_name() {
    let browser = mdns_sd::ServiceDaemon::new().unwrap();
    let found = browser.browse("_imaps._tcp.local.").unwrap();
    let mut node = at_home();
    let port: u16 = port_of(&node, "imaps").parse().unwrap();
    let until = Instant::now() + Duration::from_secs(15);
    let mut resolved = None;
    while resolved.is_none() && Instant::now() < until {
        if let Ok(mdns_sd::ServiceEvent::ServiceResolved(service)) = found.recv_timeout(Duration::from_millis(200)) {
            // Its addresses may come one by one.
            let reachable = service.addresses.iter().any(|address| address.to_ip_addr().is_ipv4());
            resolved = (service.port == port && reachable).then_some(service);
        }
    }
    let Some(service) = resolved else {
        eprintln!("no multicast on this machine: skipped");
        return;
    };
    let host = service.host.trim_end_matches('.').to_owned();
    assert!(host.starts_with("kith-") && host.ends_with(".local"), "{host}");
    let told = node.json(&["settings"]);
    assert!(told["settings"]["servers"].as_array().unwrap().iter().any(|server| server["host"] == *host), "{told}");
    let address = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).find(std::net::IpAddr::is_ipv4).unwrap();
    if installed("curl") {
        let authority = node.home().join("tls/authority.crt");
        let folders = run(Command::new("curl")
            .args(["-sS", "--user", "anna:secret", "--cacert", authority.to_str().unwrap()])
            .args(["--resolve", &format!("{host}:{port}:{address}"), &format!("imaps://{host}:{port}/")]));
        assert!(folders.contains("INBOX"), "{folders}");
    }
    node.stop();
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if let Ok(mdns_sd::ServiceEvent::ServiceRemoved(..)) = found.recv_timeout(Duration::from_millis(200)) {
            return;
        }
    }
    panic!("nobody was told that the node has gone");
}
