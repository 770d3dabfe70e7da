//! A mailbox at a provider, which is a real Dovecot with a Postfix beside it: tokens and passwords by every mechanism, fetching by IMAP and POP3,
//! what a person is told, and that nobody is stormed.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rand::RngExt as _;

use crate::clients::{Imap, body, header, inbox, mail, send};
use crate::dovecot::{Dovecot, Tokens};
use crate::node::{Node, eventually};
use crate::ports::free_port;
use crate::postfix::Postfix;

/// The provider, and what says which tokens are good. `None`, with a word, where one of its programs is not there.
fn provider(more: &str) -> Option<(Dovecot, Postfix, Tokens)> {
    let tokens = Tokens::start();
    let dovecot = Dovecot::start(&tokens)?;
    let postfix = Postfix::start(free_port(), &format!("{}{more}", dovecot.names()))?;
    Some((dovecot, postfix, tokens))
}

/// A command that prints what is in the file `token` and notes that it ran; what is in the file `ended` it prints once, before that.
fn prints_tokens(anna: &Node) -> String {
    let (script, here) = (anna.home().join("print-token"), anna.home().display());
    let text = format!(
        "#!/bin/sh\necho run >> {here}/runs\nif [ -e {here}/ended ]; then cat {here}/ended; rm {here}/ended; else cat {here}/token; fi\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    format!("token_command = [\"{}\"]\n", script.display())
}

fn put(anna: &Node, file: &str, token: &str) {
    // The command may run meanwhile.
    let other = anna.home().join("token-to-be");
    std::fs::write(&other, format!("{token}\n")).unwrap();
    std::fs::rename(other, anna.home().join(file)).unwrap();
}

/// How often the command ran.
fn runs(anna: &Node) -> usize {
    std::fs::read_to_string(anna.home().join("runs")).unwrap_or_default().lines().count()
}

fn by_provider(postfix: &Postfix) -> String {
    format!(
        "[gateway]\nretry_seconds = 1\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nuser = \"anna\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\nfetch_seconds = 1\n",
        postfix.port
    )
}

fn subjects(mails: &[Vec<u8>]) -> Vec<String> {
    mails.iter().map(|mail| header(mail, "Subject")).collect()
}

/// By a token mail comes and goes; when it ends a new one is got, also where the old one was just printed.
#[test]
fn a_token_opens_the_providers_servers_and_one_that_has_ended_is_got_anew() {
    for by in ["imap", "pop3"] {
        let Some((mut dovecot, postfix, tokens)) = provider("smtpd_sasl_mechanism_filter = xoauth2\n") else { return };
        let mut anna = Node::with_accounts(&["anna"]);
        anna.configure(&format!("{}{}{}", by_provider(&postfix), prints_tokens(&anna), dovecot.fetch(by, "none")));
        tokens.only("ya29.first");
        put(&anna, "token", "ya29.first");
        dovecot.deliver(&mail("carol", "one", b"x\r\n"));
        anna.start();
        inbox(&anna, "anna", 1);
        send(&anna, "anna", &["carol@far.test"], &mail("anna", "out one", b"x\r\n"));
        postfix.mailbox("carol", 1);
        // It ends, and connections break; what the command prints first has ended too.
        tokens.only("ya29.second");
        put(&anna, "token", "ya29.second");
        put(&anna, "ended", "ya29.first");
        assert!(postfix.command("stop").status.success());
        assert!(postfix.command("start").status.success());
        send(&anna, "anna", &["carol@far.test"], &mail("anna", "out two", b"x\r\n"));
        postfix.mailbox("carol", 2);
        let before = runs(&anna);
        put(&anna, "ended", "ya29.first");
        dovecot.restart();
        eventually("the command runs again, and again", || {
            anna.ask(&["queue", "retry"]);
            (runs(&anna) >= before + 2).then_some(())
        });
        dovecot.deliver(&mail("carol", "two", b"x\r\n"));
        // The notice that something went in the clear is there too.
        let all = eventually("the second one", || {
            let mut imap = Imap::login(&anna, "anna");
            (imap.select("INBOX") == 3).then(|| imap.bodies())
        });
        assert!(subjects(&all).contains(&"two".to_owned()), "{by}: {:?}", subjects(&all));
        assert!(!anna.ask(&["status"]).contains("to mend"), "{by}: {}\n{}", anna.ask(&["status"]), dovecot.log());
    }
}

#[test]
fn a_token_that_is_refused_is_said_at_once_and_nobody_is_stormed_with_it() {
    for by in ["imap", "pop3"] {
        let Some((dovecot, postfix, tokens)) = provider("smtpd_sasl_mechanism_filter = xoauth2\n") else { return };
        let mut anna = Node::with_accounts(&["anna"]);
        anna.configure(&format!("{}{}{}", by_provider(&postfix), prints_tokens(&anna), dovecot.fetch(by, "none")));
        tokens.only("ya29.right");
        put(&anna, "token", "ya29.wrong");
        dovecot.deliver(&mail("carol", "one", b"x\r\n"));
        anna.start();
        send(&anna, "anna", &["carol@far.test"], &mail("anna", "out", b"x\r\n"));
        send(&anna, "anna", &["dave@far.test"], &mail("anna", "out too", b"x\r\n"));
        let told = eventually("the status says both", || {
            let told = anna.ask(&["status"]);
            (told.matches("to mend ").count() == 2).then_some(told)
        });
        assert!(told.contains("refuses the user name or token") && told.contains("the name and token"), "{told}");
        assert!(!told.contains("ya29"), "{told}");
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(tokens.asked(), 2, "{by}: once for sending, once for fetching: {}", dovecot.log());
        assert_eq!((anna.waiting(), dovecot.count()), (2, 1));
        put(&anna, "token", "ya29.right");
        anna.ask(&["queue", "retry"]);
        postfix.mailbox("carol", 1);
        postfix.mailbox("dave", 1);
        eventually("all is well", || (!anna.ask(&["status"]).contains("to mend")).then_some(()));
        // What came, and two notices.
        assert!(subjects(&inbox(&anna, "anna", 3)).contains(&"one".to_owned()), "{by}");
    }
}

#[test]
fn a_password_is_said_by_whichever_mechanism_the_provider_knows() {
    for mechanism in ["login", "plain"] {
        let Some((_dovecot, postfix, _tokens)) = provider(&format!("smtpd_sasl_mechanism_filter = {mechanism}\n")) else {
            return;
        };
        let mut anna = Node::with_accounts(&["anna"]);
        std::fs::write(anna.home().join("password"), "wrong\n").unwrap();
        anna.configure(&format!("{}password_file = \"password\"\n", by_provider(&postfix)));
        anna.start();
        send(&anna, "anna", &["carol@far.test"], &mail("anna", mechanism, b"x\r\n"));
        eventually("the status says so", || anna.ask(&["status"]).contains("or password (535").then_some(()));
        std::thread::sleep(Duration::from_secs(3));
        let log = postfix.log();
        assert_eq!(log.matches("authentication failed").count(), 1, "no storm of attempts: {log}");
        std::fs::write(anna.home().join("password"), "secret\n").unwrap();
        anna.ask(&["queue", "retry"]);
        postfix.mailbox("carol", 1);
        let log = postfix.log();
        assert!(log.contains(&format!("sasl_method={}", mechanism.to_uppercase())), "{log}");
        eventually("all is well", || (!anna.ask(&["status"]).contains("to mend")).then_some(()));
    }
}

#[test]
fn a_command_that_prints_no_password_is_said_too() {
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\npassword_command = [\"false\"]",
        free_port()
    ));
    anna.start();
    send(&anna, "anna", &["carol@far.test"], &mail("anna", "x", b"x\r\n"));
    eventually("the status says so", || {
        anna.ask(&["status"]).contains("nothing can be sent by 127.0.0.1: the password could not be had").then_some(())
    });
    assert_eq!(anna.waiting(), 1, "nothing is lost");
}

/// A mailbox at Dovecot: what is there and what comes is here once, by TLS, however often the node is killed and Dovecot goes away, and IDLE wakes at once.
#[test]
fn what_is_in_a_mailbox_at_dovecot_is_here_once_after_any_kill() {
    for (by, then) in [("imap", "keep"), ("imap", "delete"), ("pop3", "keep"), ("pop3", "delete")] {
        let tokens = Tokens::start();
        let Some(mut dovecot) = Dovecot::start(&tokens) else { return };
        let mut anna = Node::with_accounts(&["anna"]);
        std::fs::write(anna.home().join("password"), "secret\n").unwrap();
        anna.configure(&format!(
            "[gateway]\ntrust = \"{}\"\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nuser = \"anna\"\npassword_file = \"password\"\nfetch_then = \"{then}\"\nfetch_seconds = {}\n{}",
            dovecot.certificate().display(),
            // By IMAP nothing but IDLE says that there is more.
            if by == "imap" { 3_600 } else { 1 },
            dovecot.fetch(by, "tls")
        ));
        let mut put = 0;
        let mut deliver = |dovecot: &Dovecot, count: usize| {
            for _ in 0..count {
                dovecot.deliver(&mail("carol", &format!("mail {put}"), b".x\r\n"));
                put += 1;
            }
            put
        };
        deliver(&dovecot, 30);
        for _ in 0..8 {
            anna.start();
            deliver(&dovecot, 2);
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..250)));
            anna.kill();
        }
        anna.start();
        let all = deliver(&dovecot, 1);
        let mails = inbox(&anna, "anna", all);
        let mut found = subjects(&mails);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all, "{by} {then}: each once");
        assert_eq!(String::from_utf8_lossy(body(&mails[0])), ".x\r\n");
        if then == "delete" {
            eventually("nothing is left there", || (dovecot.count() == 0).then_some(()));
        } else {
            assert_eq!(dovecot.count(), all, "{by} {then}");
        }
        if by == "imap" {
            let begun = std::time::Instant::now();
            let all = deliver(&dovecot, 1);
            inbox(&anna, "anna", all);
            assert!(begun.elapsed() < Duration::from_secs(20), "IDLE woke it: {:?}", begun.elapsed());
        }
        dovecot.restart();
        let all = deliver(&dovecot, 1);
        // It rests after a connection that broke, until somebody says so.
        std::thread::sleep(Duration::from_millis(500));
        anna.ask(&["queue", "retry"]);
        inbox(&anna, "anna", all);
    }
}
