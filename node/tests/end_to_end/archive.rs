//! Mail brought along and taken away: nothing is lost, doubled or changed, whatever breaks off in the middle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::clients::{Imap, mail};
use crate::node::{Node, eventually};

/// A Maildir's file, as old as this.
fn file(folder: &Path, name: &str, mail: &str, seconds: u64) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    let path = folder.join(name);
    fs::write(&path, mail).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// Its bytes, flags and date.
type Mail = (Vec<u8>, Vec<String>, String);

/// Everything in a folder: for each mail its bytes, flags and date.
fn contents(imap: &mut Imap, folder: &str) -> Vec<Mail> {
    imap.select(folder);
    let bodies = imap.bodies();
    let facts = imap.ok("UID FETCH 1:* (FLAGS INTERNALDATE)");
    let mut found: Vec<_> = bodies
        .into_iter()
        .zip(facts)
        .map(|(body, fact)| {
            let fact = String::from_utf8(fact).unwrap();
            let between = |from: &str, to: char| fact.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
            let mut flags: Vec<String> = between("FLAGS (", ')').split_whitespace().map(str::to_owned).collect();
            flags.retain(|flag| flag != "\\Recent");
            flags.sort();
            (body, flags, between("INTERNALDATE \"", '"'))
        })
        .collect();
    found.sort();
    found
}

fn all_contents(node: &Node, name: &str, folders: &[&str]) -> BTreeMap<String, Vec<Mail>> {
    let mut imap = Imap::login(node, name);
    folders.iter().map(|folder| ((*folder).to_owned(), contents(&mut imap, folder))).collect()
}

fn old_maildir(home: &Path) {
    file(home, "cur/1100000000.a.host:2,RS", "Subject: in\nX: a\n\n>From x\nFrom y\nlast\n", 1_100_000_000);
    file(home, "new/1100000001.b.host", "Subject: crlf\r\n\r\nlone\nlf\r\n", 1_200_000_000);
    file(&home.join(".Sent"), "cur/1300000000.c.host:2,FSab", "Subject: out\n\nno end", 1_300_000_000);
    fs::write(home.join(".Sent/dovecot-keywords"), "0 $label1\n1 work\n").unwrap();
    file(
        &home.join(".Work.Entw&APw-rfe.v1&AC4-2"),
        "cur/1400000000.d.host:2,DPT",
        "Subject: deep\n\nStatus: RO\n\n\n",
        1_400_000_000,
    );
}

const OLD_FOLDERS: [&str; 3] = ["INBOX", "Sent", "Work/Entw&APw-rfe/v1.2"];

#[test]
fn a_maildir_comes_and_goes_with_folders_flags_dates_and_every_byte() {
    let old = tempfile::tempdir().unwrap();
    old_maildir(old.path());
    let node = Node::started(&["anna"]);
    let told = node.json(&["import", old.path().to_str().unwrap()]);
    assert_eq!((told["filed"].as_u64(), told["problems"].as_u64(), told["folders"].as_u64()), (Some(4), Some(0), Some(3)));
    let there = all_contents(&node, "anna", &OLD_FOLDERS);
    let inbox = &there["INBOX"];
    assert!(
        inbox.iter().any(|(body, flags, date)| {
            body == b"Subject: in\r\nX: a\r\n\r\n>From x\r\nFrom y\r\nlast\r\n"
                && flags[..] == ["\\Answered", "\\Seen"]
                && date.contains("09-Nov-2004")
        }),
        "{inbox:?}"
    );
    assert!(inbox.iter().any(|(body, flags, _)| body == b"Subject: crlf\r\n\r\nlone\nlf\r\n" && flags.is_empty()), "{inbox:?}");
    let (body, flags, date) = &there["Sent"][0];
    assert_eq!(
        (body.as_slice(), &flags[..]),
        (&b"Subject: out\r\n\r\nno end"[..], &["$label1", "\\Flagged", "\\Seen", "work"].map(str::to_owned)[..])
    );
    assert!(date.contains("13-Mar-2011"), "{date}");
    assert_eq!(there[OLD_FOLDERS[2]][0].1, ["$Forwarded", "\\Deleted", "\\Draft"]);
    let listed = Imap::login(&node, "anna").ok("LSUB \"\" *");
    assert!(listed.iter().any(|line| String::from_utf8_lossy(line).contains(OLD_FOLDERS[2])), "programs show what is subscribed");
    // Once more brings nothing twice; a new mail it brings.
    file(old.path(), "new/1500000000.e.host", "Subject: new\n\nx\n", 1_500_000_000);
    let told = node.json(&["import", old.path().to_str().unwrap()]);
    assert_eq!((told["filed"].as_u64(), told["known"].as_u64()), (Some(1), Some(4)));

    let there = all_contents(&node, "anna", &OLD_FOLDERS);
    for format in ["maildir", "mbox"] {
        let taken = node.home().join(format!("taken-{format}"));
        let taken = taken.to_str().unwrap();
        let told = node.json(&["export", taken, "--format", format]);
        assert_eq!(told["written"], 5, "{format}");
        let mut other = Node::with_accounts(&["bob"]);
        assert_eq!(other.json(&["import", taken])["filed"], 5, "{format}, without a running node");
        other.start();
        let mut back = all_contents(&other, "bob", &OLD_FOLDERS);
        if format == "mbox" {
            // Its lines all end alike, and its last one has an end.
            let mut expected = there.clone();
            for mails in expected.values_mut() {
                for (body, _, _) in mails.iter_mut() {
                    *body = String::from_utf8(body.clone()).unwrap().replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
                    if !body.ends_with(b"\r\n") {
                        body.extend_from_slice(b"\r\n");
                    }
                }
                mails.sort();
            }
            back.values_mut().for_each(|mails| mails.sort());
            assert_eq!(back, expected, "{format}");
        } else {
            assert_eq!(back, there, "{format}");
            assert_eq!(node.json(&["export", taken])["known"], 5, "written once");
        }
        fs::remove_dir_all(taken).unwrap();
    }
}

#[test]
fn an_mbox_of_thunderbird_comes_with_its_folders_tags_and_without_what_was_deleted() {
    let profile = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = profile.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let from = "From - Sat Dec 10 21:04:05 2005\n";
    write(
        "Inbox",
        &format!(
            "{from}X-Mozilla-Status: 0001\nX-Mozilla-Keys: $label1\nSubject: kept\n\n>From me\n\n{from}X-Mozilla-Status: 0009\nSubject: gone\n\nx\n\n"
        ),
    );
    write("Inbox.msf", "// index");
    write("Letters.sbd/2005", &format!("{from}Subject: deep\n\nFrom nobody, 2005 at 12:00\nx\n"));
    let node = Node::started(&["anna"]);
    let told = node.json(&["import", profile.path().to_str().unwrap(), "--folder", "Old", "--seen"]);
    assert_eq!((told["filed"].as_u64(), told["left_out_as_deleted"].as_u64()), (Some(2), Some(1)), "{told}");
    let there = all_contents(&node, "anna", &["Old", "Old/Letters/2005"]);
    let (body, flags, date) = &there["Old"][0];
    assert_eq!(
        (body.as_slice(), &flags[..]),
        (&b"Subject: kept\r\n\r\nFrom me\r\n"[..], &["$label1", "\\Seen"].map(str::to_owned)[..])
    );
    assert!(date.contains("10-Dec-2005 21:04:05"), "{date}");
    assert_eq!(there["Old/Letters/2005"].len(), 1);
}

#[test]
fn what_cannot_be_brought_is_named_and_everything_else_comes() {
    let old = tempfile::tempdir().unwrap();
    file(old.path(), "cur/1.a:2,", "Subject: fine\n\n\0\u{ff}\n", 1);
    file(old.path(), "cur/2.empty:2,", "", 1);
    fs::create_dir(old.path().join("cur/3.folder")).unwrap();
    std::os::unix::fs::symlink("/nowhere", old.path().join("cur/4.gone")).unwrap();
    file(&old.path().join(format!(".{}", ["x"; 40].join("."))), "cur/5.deep:2,", "Subject: deep\n\nx\n", 1);
    let node = Node::started(&["anna"]);
    let (code, out, error) = node.try_with(b"", &["import", old.path().to_str().unwrap(), "--json"]);
    assert_eq!(code, 1);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((told["filed"].as_u64(), told["problems"].as_u64()), (Some(1), Some(4)), "{error}");
    for named in ["2.empty", "it is empty", "3.folder", "4.gone", "5.deep", "32 levels"] {
        assert!(error.contains(named), "{named}: {error}");
    }
    let text = old.path().join("text");
    fs::write(&text, "Dear diary").unwrap();
    let (code, _, error) = node.try_with(b"", &["import", text.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(error.contains("neither a Maildir nor an mbox"), "{error}");
    let (code, _, error) = node.try_with(b"", &["import", old.path().to_str().unwrap(), "--account", "nobody"]);
    assert_eq!(code, 1);
    assert!(error.contains("nobody"), "{error}");
    let (code, _, error) = node.try_with(b"", &["export", node.home().join("x").to_str().unwrap(), "--folder", "nowhere"]);
    assert_eq!(code, 1);
    assert!(error.contains("nowhere"), "{error}");
}

/// Starts a command that is to be killed.
fn begin(node: &Node, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
    command.arg("--home").arg(node.home()).args(arguments).env("KITH_PASSPHRASE_FILE", "");
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn messages(node: &Node) -> usize {
    let mut imap = Imap::login(node, "anna");
    imap.select("INBOX")
}

#[test]
fn an_import_killed_anywhere_goes_on_without_doubling() {
    const MAILS: usize = 6_000;
    let old = tempfile::tempdir().unwrap();
    let mut mbox = String::new();
    for number in 0..MAILS {
        // Every tenth mail is there twice, and must be so afterwards.
        let number = if number % 10 == 9 { number - 1 } else { number };
        mbox.push_str(&format!("From - Sat Dec 10 21:04:05 2005\nSubject: {number}\n\n{}\n\n", "text ".repeat(400)));
    }
    fs::write(old.path().join("Inbox"), mbox).unwrap();
    let path = old.path().join("Inbox");
    let path = path.to_str().unwrap();
    let mut node = Node::started(&["anna"]);
    // First the command dies, then the node under it.
    let mut command = begin(&node, &["import", path]);
    eventually("some mails", || (messages(&node) > 500).then_some(()));
    command.kill().unwrap();
    command.wait().unwrap();
    let first = messages(&node);
    assert!(first < MAILS, "killed too late to show anything");
    let mut command = begin(&node, &["import", path]);
    eventually("some more mails", || (messages(&node) > first + 500).then_some(()));
    node.kill();
    assert_eq!(command.wait().unwrap().code(), Some(1), "it says that the node went away");
    node.start();
    let second = messages(&node);
    assert!(second > first && second < MAILS, "{first}, {second}");
    let told = node.json(&["import", path]);
    assert_eq!((told["filed"].as_u64(), told["known"].as_u64()), (Some((MAILS - second) as u64), Some(second as u64)));
    let mut imap = Imap::login(&node, "anna");
    assert_eq!(imap.select("INBOX"), MAILS);
    let mut bodies = imap.bodies();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), MAILS * 9 / 10);

    // And out again, killed too.
    for format in ["maildir", "mbox"] {
        let taken = node.home().join(format!("taken-{format}"));
        let there = || match format {
            "maildir" => fs::read_dir(taken.join("cur")).map_or(0, Iterator::count) > 0,
            _ => taken.join("INBOX.mbox.state").exists(),
        };
        let mut command = begin(&node, &["export", taken.to_str().unwrap(), "--format", format]);
        eventually("something is written", || there().then_some(()));
        command.kill().unwrap();
        command.wait().unwrap();
        node.ask(&["export", taken.to_str().unwrap(), "--format", format]);
        let other = Node::with_accounts(&["bob"]);
        assert_eq!(other.json(&["import", taken.to_str().unwrap()])["filed"], MAILS as u64, "{format}");
        fs::remove_dir_all(taken).unwrap();
    }
}

/// The most memory a process has had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn large_mails_come_and_go_in_bounded_memory_while_the_node_serves() {
    let old = tempfile::tempdir().unwrap();
    let line = "x".repeat(70);
    let large = format!("Subject: large\n\n{}", format!("{line}\n").repeat(50 * 1024 * 1024 / 71));
    for number in 0..3 {
        file(old.path(), &format!("cur/{number}.large:2,"), &format!("X: {number}\n{large}"), 1);
    }
    let one_line = format!("From - Sat Dec 10 21:04:05 2005\nSubject: a line\n\n{}", "y".repeat(40 * 1024 * 1024));
    fs::write(old.path().join("mbox"), one_line).unwrap();
    let node = Node::started(&["anna"]);
    crate::clients::send(&node, "anna", &["anna@kith.alt"], &mail("anna", "before", b"x\r\n"));
    let before = peak(node.pid());
    node.ask(&["import", old.path().to_str().unwrap()]);
    node.ask(&["import", old.path().join("mbox").to_str().unwrap(), "--folder", "One"]);
    let taken = node.home().join("taken");
    node.ask(&["export", taken.to_str().unwrap(), "--format", "mbox"]);
    let after = peak(node.pid());
    assert!(after < before + 24 * 1024, "{before} KiB before, {after} KiB after");
    let written = fs::metadata(taken.join("INBOX.mbox")).unwrap();
    assert!(written.len() > 3 * large.len() as u64);
    assert_eq!(written.permissions().mode() & 0o077, 0, "mail is for its owner alone");
    assert!(fs::metadata(taken.join("One.mbox")).unwrap().len() > 40 * 1024 * 1024);
    fs::remove_dir_all(taken).unwrap();
}
