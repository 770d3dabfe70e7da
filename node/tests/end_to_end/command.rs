//! The command line: what it prints, what it keeps, how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::clients::{by_pop3, header, inbox};
use crate::node::{Node, pair};

#[test]
fn stopping_is_clean_and_quick() {
    let mut node = Node::started(&["anna"]);
    assert!(node.home().join("run.json").exists());
    assert!(std::path::Path::new(&format!("/proc/{}", node.pid())).exists());
    let (status, took) = node.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!node.home().join("run.json").exists());
}

#[test]
fn files_are_for_the_owner_alone() {
    fn check(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.path().display());
            if entry.metadata().unwrap().is_dir() {
                check(&entry.path());
            }
        }
    }
    let node = Node::started(&["anna"]);
    assert_eq!(std::fs::metadata(node.home()).unwrap().permissions().mode() & 0o777, 0o700);
    check(node.home());
}

#[test]
fn the_first_start_needs_no_argument_and_says_all_there_is_to_type() {
    let mut node = Node::with_accounts(&[]);
    node.configure("smtp = \"127.0.0.1:0\"\npop3 = \"127.0.0.1:0\"\nimap = \"127.0.0.1:0\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nmdns = false");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kith"))
        .env("KITH_HOME", node.home())
        .env("USER", "Maria Luisa")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let run: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(node.home().join("run.json")).unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let port = run["imap"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let accounts = node.json(&["account", "list"]);
    for wanted in [accounts["accounts"][0]["address"].as_str().unwrap(), &port, "Password", "kith key words"] {
        assert!(words.contains(wanted), "{wanted} is missing in: {words}");
    }
    let password = words.split("Password").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(password.len() >= 16);
    node.start();
    assert!(node.ask(&["status"]).contains("running for"));
}

#[test]
fn accounts_and_contacts_can_be_kept_with_and_without_a_running_node() {
    let mut node = Node::with_accounts(&["anna"]);
    let friend = Node::with_accounts(&["bob"]);
    for running in [false, true] {
        if running {
            node.start();
        }
        let name = if running { "second" } else { "first" };
        node.ask_with("secret\n", &["account", "add", name, "--password-stdin"]);
        let link = friend.ask(&["address", "bob", "--uri"]);
        node.ask(&["contact", "add", "bob", link.trim(), "--email", "bob@example.org", "--account", name]);
        let listed = node.json(&["contact", "list", "--account", name]);
        assert_eq!(listed["contacts"][0]["emails"][0], "bob@example.org");
        node.ask(&["contact", "verify", "bob", "--account", name]);
        assert_eq!(node.json(&["contact", "list", "--account", name])["contacts"][0]["grade"], "in-person");
        for format in ["vcard", "csv"] {
            let exported = node.ask(&["contact", "export", "--format", format, "--account", name]);
            node.ask(&["contact", "remove", "bob", "--account", name]);
            let file = node.home().join(format!("contacts.{format}"));
            std::fs::write(&file, exported).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            node.ask(&["contact", "import", file.to_str().unwrap(), "--format", format, "--account", name]);
            assert_eq!(node.json(&["contact", "list", "--account", name])["contacts"][0]["name"], "bob");
        }
        let (code, _, error) = node.try_with(b"", &["contact", "add", "x", "qqqq", "--account", name]);
        assert_eq!(code, 1, "{error}");
    }
    assert_eq!(node.json(&["account", "list"])["accounts"].as_array().unwrap().len(), 3);
    node.ask_with("changed\n", &["account", "passwd", "first", "--password-stdin"]);
    node.ask(&["account", "remove", "second", "--yes"]);
    assert_eq!(node.json(&["account", "list"])["accounts"].as_array().unwrap().len(), 2);
}

#[test]
fn the_words_are_shown_once_written_down_and_then_gone() {
    let node = Node::with_accounts(&["anna"]);
    let words = node.ask(&["key", "words"]);
    assert_eq!(words.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).count(), 24);
    let (code, _, _) = node.try_with(b"", &["key", "forget-words"]);
    assert_eq!(code, 1);
    node.ask(&["key", "forget-words", "--written-down"]);
    let (code, _, error) = node.try_with(b"", &["key", "words"]);
    assert_eq!(code, 1, "{error}");
}

#[test]
fn the_code_can_be_drawn() {
    let node = Node::with_accounts(&["anna"]);
    let drawn = node.ask(&["address", "--qr"]);
    assert!(drawn.lines().count() > 10 && drawn.contains('▀'), "{drawn}");
}

#[test]
fn sendmail_sends_from_headers_with_and_without_a_running_node() {
    let (anna, bob) = pair("anna", "bob");
    let text = b"To: Bob <bob@kith.alt>\nBcc: anna@kith.alt\nSubject: from cron\n\nline one\n.\nline three\n";
    let (code, _, error) = anna.try_with(text, &["sendmail", "-t", "-i"]);
    assert_eq!(code, 0, "{error}");
    let arrived = inbox(&bob, "bob", 1).remove(0);
    assert_eq!(header(&arrived, "Subject"), "from cron");
    assert!(header(&arrived, "Bcc").is_empty());
    assert!(arrived.ends_with(b"line one\r\n.\r\nline three\r\n"));
    assert_eq!(by_pop3(&anna, "anna").len(), 1);
    let mut anna = anna;
    anna.stop();
    let (code, _, error) = anna.try_with(text, &["sendmail", "-i", "bob@kith.alt"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(anna.waiting(), 1);
}

#[test]
fn usage_errors_exit_2_and_say_what_is_allowed() {
    let node = Node::with_accounts(&[]);
    let (code, _, error) = node.try_with(b"", &["quue"]);
    assert_eq!(code, 2);
    assert!(error.contains("queue"), "{error}");
}
