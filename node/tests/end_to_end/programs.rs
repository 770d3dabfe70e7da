//! Mail programs that people have, driven against a running node. One that is not installed is skipped, with a word.

use std::process::{Command, Stdio};

use crate::clients::{body, inbox, mail, send};
use crate::node::{Node, pair};

/// Is the program there? Says so where it is not.
pub(crate) fn installed(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status().unwrap().success();
    if !found {
        eprintln!("{program} is not installed: skipped");
    }
    found
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_sends_and_fetches() {
    if !installed("curl") {
        return;
    }
    let (anna, bob) = pair("anna", "bob");
    let file = anna.home().join("mail.eml");
    std::fs::write(&file, mail("anna", "by curl", b"hello\r\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    run(Command::new("curl").args(["-sS", "--url", &format!("smtp://{}", anna.port("smtp"))]).args([
        "--user",
        "anna:secret",
        "--mail-from",
        "anna@kith.alt",
        "--mail-rcpt",
        "bob@kith.alt",
        "--upload-file",
        file.to_str().unwrap(),
    ]));
    assert_eq!(body(&inbox(&bob, "bob", 1)[0]), b"hello\r\n");
    let by_imap =
        run(Command::new("curl").args(["-sS", "--user", "bob:secret", &format!("imap://{}/INBOX;UID=1", bob.port("imap"))]));
    let by_pop = run(Command::new("curl").args(["-sS", "--user", "bob:secret", &format!("pop3://{}/1", bob.port("pop3"))]));
    assert!(by_imap.contains("Subject: by curl") && by_imap.ends_with("hello\r\n"), "{by_imap}");
    assert_eq!(by_imap, by_pop);
}

#[test]
fn pythons_imaplib_works_through_a_mailbox() {
    if !installed("python3") {
        return;
    }
    let node = Node::started(&["anna"]);
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "findme", b"hello\r\n"));
    inbox(&node, "anna", 1);
    let port = node.port("imap");
    let script = format!(
        r#"
import imaplib
m = imaplib.IMAP4("127.0.0.1", {})
m.login("anna", "secret")
assert m.select("INBOX")[1] == [b"1"]
assert m.search(None, "SUBJECT", "findme")[1] == [b"1"]
assert m.store("1", "+FLAGS", r"(\Flagged $label1)")[0] == "OK"
assert m.create("Work/2026")[0] == "OK"
assert m.copy("1", "Work/2026")[0] == "OK"
assert m.append("Drafts", r"(\Draft)", None, b"Subject: draft\r\n\r\nbody\r\n")[0] == "OK"
assert m.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
assert m.expunge()[1] == [b"1"]
assert m.select("Work/2026")[1] == [b"1"]
assert b"$label1" in m.fetch("1", "(FLAGS)")[1][0]
assert b"findme" in m.fetch("1", "(ENVELOPE)")[1][0]
assert m.status("Drafts", "(MESSAGES)")[1] == [b'"Drafts" (MESSAGES 1)'] or b"MESSAGES 1" in m.status("Drafts", "(MESSAGES)")[1][0]
m.close()
assert m.logout()[0] == "BYE"
"#,
        port.rsplit_once(':').unwrap().1
    );
    run(Command::new("python3").args(["-c", &script]));
}

#[test]
fn pythons_poplib_and_smtplib_work() {
    if !installed("python3") {
        return;
    }
    let node = Node::started(&["anna"]);
    let (smtp, pop) = (node.port("smtp"), node.port("pop3"));
    let script = format!(
        r#"
import smtplib, poplib
from email.message import EmailMessage
mail = EmailMessage()
mail["From"] = "anna@kith.alt"; mail["To"] = "anna@kith.alt"; mail["Subject"] = "grüße"
mail.set_content("früh\n"); mail.add_attachment(bytes(range(256)) * 100, maintype="application", subtype="octet-stream", filename="all")
s = smtplib.SMTP("127.0.0.1", {}); s.login("anna", "secret"); s.send_message(mail); s.quit()
p = poplib.POP3("127.0.0.1", {}); p.user("anna"); p.pass_("secret")
assert p.stat()[0] == 1
import email, email.policy
got = email.message_from_bytes(b"\r\n".join(p.retr(1)[1]), policy=email.policy.default)
assert got["Subject"] == "grüße" and next(got.iter_attachments()).get_content() == bytes(range(256)) * 100
p.dele(1); p.quit()
p = poplib.POP3("127.0.0.1", {}); p.user("anna"); p.pass_("secret"); assert p.stat()[0] == 0; p.quit()
"#,
        smtp.rsplit_once(':').unwrap().1,
        pop.rsplit_once(':').unwrap().1,
        pop.rsplit_once(':').unwrap().1
    );
    run(Command::new("python3").args(["-c", &script]));
}

/// On a terminal of its own, which it needs; its header cache lives through both runs, so that the second one catches up by QRESYNC.
#[test]
fn neomutt_reads_flags_files_and_deletes() {
    if !installed("neomutt") || !installed("script") {
        return;
    }
    let node = Node::started(&["anna"]);
    for number in 1..=3 {
        send(&node, "anna", &["anna@kith.alt"], &mail("anna", &format!("mail {number}"), b"hello\r\n"));
        inbox(&node, "anna", number);
    }
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::create_dir(path("cache")).unwrap();
    let rc = format!(
        "set folder = \"imap://{}/\"\nset spoolfile = \"+INBOX\"\nset imap_user = anna\nset imap_pass = secret\nset ssl_starttls = no\nset ssl_force_tls = no\n\
         set imap_condstore = yes\nset imap_qresync = yes\nset header_cache = \"{}\"\nset sort = mailbox-order\n\
         set move = no\nset confirmappend = no\nset delete = yes\nset mark_old = no\nset wait_key = no\nset quit = yes\n",
        node.port("imap"),
        path("cache").display()
    );
    std::fs::write(path("muttrc"), rc).unwrap();
    let mutt = |keys: &str| {
        let command = format!("neomutt -n -F {} -e 'push \"{keys}<quit>\"' -f +INBOX", path("muttrc").display());
        let mut terminal = Command::new("timeout");
        terminal.args(["60", "script", "-qec", &command, "/dev/null"]).env("TERM", "xterm").env("HOME", home.path());
        run(terminal.stdin(Stdio::null()));
    };
    mutt(
        "1<enter><display-message><exit><flag-message>2<enter><save-message>=Archive<enter>3<enter><delete-message><sync-mailbox>",
    );
    let mut imap = crate::clients::Imap::login(&node, "anna");
    assert_eq!((imap.select("Archive"), imap.select("INBOX")), (1, 1));
    let flags = String::from_utf8(imap.ok("FETCH 1 (FLAGS)").concat()).unwrap();
    assert!(flags.contains("\\Seen") && flags.contains("\\Flagged"), "{flags}");
    // What happened elsewhere meanwhile does not confuse what it remembers.
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "mail 4", b"hello\r\n"));
    inbox(&node, "anna", 2);
    imap.ok("STORE 1 -FLAGS (\\Flagged)");
    mutt("2<enter><flag-message><sync-mailbox>");
    assert_eq!(imap.select("INBOX"), 2);
    let flags: Vec<_> = imap.ok("FETCH 1:2 (FLAGS)").into_iter().map(|answer| String::from_utf8(answer).unwrap()).collect();
    assert_eq!(flags.iter().map(|flags| flags.contains("\\Flagged")).collect::<Vec<_>>(), [false, true], "{flags:?}");
}

#[test]
fn mbsync_brings_the_mailbox_here_and_changes_back() {
    if !installed("mbsync") {
        return;
    }
    let node = Node::started(&["anna"]);
    for number in 0..5 {
        send(&node, "anna", &["anna@kith.alt"], &mail("anna", &format!("mail {number}"), b"hello\r\n"));
    }
    inbox(&node, "anna", 5);
    let maildir = tempfile::tempdir().unwrap();
    let rc = maildir.path().join("mbsyncrc");
    std::fs::write(
        &rc,
        format!(
            "IMAPAccount kith\nHost 127.0.0.1\nPort {}\nUser anna\nPass secret\nSSLType None\nAuthMechs *\n\nIMAPStore far\nAccount kith\n\nMaildirStore near\nPath {dir}/\nInbox {dir}/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
            node.port("imap").rsplit_once(':').unwrap().1,
            dir = maildir.path().display()
        ),
    )
    .unwrap();
    let sync = || run(Command::new("mbsync").arg("-c").arg(&rc).arg("-a"));
    sync();
    let new = maildir.path().join("INBOX/new");
    let cur = maildir.path().join("INBOX/cur");
    let count = |folder: &std::path::Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(count(&new) + count(&cur), 5);
    // One is read here and one is deleted; the node learns both.
    let mut files: Vec<_> =
        std::fs::read_dir(&new).unwrap().chain(std::fs::read_dir(&cur).unwrap()).flatten().map(|entry| entry.path()).collect();
    files.sort();
    let renamed = |file: &std::path::Path, flags: &str| {
        let name = file.file_name().unwrap().to_string_lossy().split(":2,").next().unwrap().to_owned();
        std::fs::rename(file, cur.join(format!("{name}:2,{flags}"))).unwrap();
    };
    renamed(&files[0], "S");
    renamed(&files[1], "T");
    sync();
    let mut imap = crate::clients::Imap::login(&node, "anna");
    assert_eq!(imap.select("INBOX"), 4);
    let seen = imap.ok("UID SEARCH SEEN");
    assert_eq!(
        String::from_utf8_lossy(&seen[0]).split_whitespace().count(),
        3,
        "one UID: {:?}",
        String::from_utf8_lossy(&seen[0])
    );
}

#[test]
fn tls_ports_show_a_certificate_of_the_nodes_own_authority() {
    if !installed("curl") {
        return;
    }
    let mut node = Node::with_accounts(&["anna"]);
    node.configure("smtps = \"127.0.0.1:0\"\npop3s = \"127.0.0.1:0\"\nimaps = \"127.0.0.1:0\"");
    node.start();
    let authority = node.home().join("tls/authority.crt");
    let authority = authority.to_str().unwrap();
    let file = node.home().join("mail.eml");
    std::fs::write(&file, mail("anna", "over TLS", b"hello\r\n")).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let curl = |arguments: &[&str]| {
        run(Command::new("curl").args(["-sS", "--cacert", authority, "--user", "anna:secret"]).args(arguments))
    };
    let sending = ["--mail-from", "anna@kith.alt", "--mail-rcpt", "anna@kith.alt", "--upload-file", file.to_str().unwrap()];
    curl(&[&["--url", &format!("smtps://{}", node.port("smtps"))][..], &sending].concat());
    curl(&[&["--ssl-reqd", "--url", &format!("smtp://{}", node.port("smtp"))][..], &sending].concat());
    inbox(&node, "anna", 2);
    for url in [format!("imaps://{}/INBOX;UID=1", node.port("imaps")), format!("pop3s://{}/1", node.port("pop3s"))] {
        assert!(curl(&[&url]).contains("Subject: over TLS"), "{url}");
    }
    for url in [format!("imap://{}/INBOX;UID=2", node.port("imap")), format!("pop3://{}/2", node.port("pop3"))] {
        assert!(curl(&["--ssl-reqd", &url]).contains("Subject: over TLS"), "{url}");
    }
    let fingerprint = node.json(&["status"])["certificate"].as_str().unwrap().to_owned();
    assert!(fingerprint.len() >= 64, "{fingerprint}");
}
