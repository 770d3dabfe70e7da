//! Programs that send mail, driven against a running node without encryption, with STARTTLS and with TLS from the first byte. One that is not
//! installed is skipped, with a word.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::clients::{body, header, inbox, mail};
use crate::fetching::{MODES, Mode, authority, node, secret_file};
use crate::programs::{installed, run};

#[test]
fn swaks_sends_with_each_mechanism_and_is_refused_with_a_reason() {
    if !installed("swaks") {
        return;
    }
    let node = node();
    let ca = authority(&node);
    let swaks = |mode: Mode, more: &[&str]| {
        let mut command = Command::new("swaks");
        command.args([
            "--server",
            "localhost",
            "--port",
            &mode.port(&node, "smtp"),
            "--from",
            "anna@kith.alt",
            "--to",
            "anna@kith.alt",
        ]);
        match mode {
            Mode::Plain => {}
            Mode::Starttls => {
                command.args(["--tls", "--tls-verify", "--tls-ca-path", &ca]);
            }
            Mode::Tls => {
                command.args(["--tls-on-connect", "--tls-verify", "--tls-ca-path", &ca]);
            }
        }
        command.args(more);
        command
    };
    let has_tls = Command::new("perl").args(["-MNet::SSLeay", "-e", "1"]).status().is_ok_and(|status| status.success());
    let mut sent = 0;
    for mode in MODES {
        if mode != Mode::Plain && !has_tls {
            eprintln!("libnet-ssleay-perl is not installed: {mode:?} is skipped");
            continue;
        }
        for mechanism in ["PLAIN", "LOGIN"] {
            run(&mut swaks(
                mode,
                &["--auth", mechanism, "--auth-user", "anna", "--auth-password", "secret", "--header", "Subject: by swaks"],
            ));
            sent += 1;
        }
    }
    for arrived in inbox(&node, "anna", sent) {
        assert_eq!(header(&arrived, "Subject"), "by swaks");
    }
    let refused = |more: &[&str], answer: &str| {
        let output = swaks(Mode::Plain, more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(answer), "{more:?}: {said}");
    };
    refused(&["--auth", "PLAIN", "--auth-user", "anna", "--auth-password", "wrong"], "535 5.7.8");
    refused(&["--auth", "PLAIN", "--auth-user", "anna", "--auth-password", "secret", "--from", "eve@kith.alt"], "550 5.7.1");
    refused(&["--auth", "PLAIN", "--auth-user", "anna", "--auth-password", "secret", "--to", "nobody@kith.alt"], "550 5.1.1");
    refused(&[], "530 5.7.0");
}

#[test]
fn msmtp_sends_as_sendmail_does() {
    if !installed("msmtp") {
        return;
    }
    let node = node();
    for (number, mode) in MODES.into_iter().enumerate() {
        let tls = match mode {
            Mode::Plain => "tls off".to_owned(),
            Mode::Starttls => format!("tls on\ntls_starttls on\ntls_trust_file {}", authority(&node)),
            Mode::Tls => format!("tls on\ntls_starttls off\ntls_trust_file {}", authority(&node)),
        };
        let text = format!(
            "account kith\nhost localhost\nport {}\nauth plain\nuser anna\npassword secret\nfrom anna@kith.alt\n{tls}\ndsn_notify success\ndsn_return headers\naccount default : kith\n",
            mode.port(&node, "smtp")
        );
        let rc = secret_file(node.home().join("msmtprc"), &text);
        let mut child = Command::new("msmtp").arg("-C").arg(rc).arg("-t").stdin(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"From: anna@kith.alt\nTo: anna@kith.alt\nBcc: anna@kith.alt\nSubject: by msmtp\n\n.one\n")
            .unwrap();
        assert!(child.wait().unwrap().success(), "{mode:?}");
        // The mail, and the report that msmtp asked for.
        let arrived = inbox(&node, "anna", (number + 1) * 2);
        assert_eq!(
            arrived.iter().filter(|mail| header(mail, "Subject") == "by msmtp" && body(mail) == b".one\r\n").count(),
            number + 1
        );
        assert!(arrived.iter().all(|mail| header(mail, "Bcc").is_empty()));
    }
}

#[test]
fn pythons_smtplib_sends_in_every_mode_with_letters_of_any_language() {
    if !installed("python3") {
        return;
    }
    let node = node();
    let script = r#"
import smtplib, ssl, sys
from email.message import EmailMessage
plain, starttls, tls, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
for mode, port in (("plain", plain), ("starttls", starttls), ("tls", tls)):
    s = smtplib.SMTP_SSL("localhost", int(port), context=context) if mode == "tls" else smtplib.SMTP("localhost", int(port))
    s.ehlo()
    if mode == "starttls": s.starttls(context=context); s.ehlo()
    for word in ("size", "8bitmime", "smtputf8", "enhancedstatuscodes", "chunking", "dsn", "pipelining", "limits", "auth"): assert s.has_extn(word), word
    assert s.esmtp_features["limits"].startswith("RCPTMAX="), s.esmtp_features
    s.login("anna", "secret")
    mail = EmailMessage(); mail["From"] = "anna@kith.alt"; mail["To"] = "Jürgen <anna@kith.alt>"; mail["Subject"] = "grüße " + mode
    mail.set_content("日本語\n")
    s.sendmail("anna@kith.alt", ["anna@kith.alt"], mail.as_bytes(policy=mail.policy.clone(utf8=True, linesep="\r\n", cte_type="8bit")), mail_options=["SMTPUTF8", "BODY=8BITMIME"], rcpt_options=["NOTIFY=NEVER"])
    s.quit()
"#;
    run(Command::new("python3").args([
        "-c",
        script,
        &Mode::Plain.port(&node, "smtp"),
        &Mode::Starttls.port(&node, "smtp"),
        &Mode::Tls.port(&node, "smtp"),
        &authority(&node),
    ]));
    let subjects: Vec<String> = inbox(&node, "anna", 3).iter().map(|mail| header(mail, "Subject")).collect();
    for mode in ["plain", "starttls", "tls"] {
        assert!(subjects.contains(&format!("grüße {mode}")), "{subjects:?}");
    }
    // What curl sends of itself: pipelined, with SIZE.
    if installed("curl") {
        let file = secret_file(node.home().join("mail.eml"), &String::from_utf8(mail("anna", "by curl", b"x\r\n")).unwrap());
        for mode in MODES {
            let scheme = if mode == Mode::Tls { "smtps" } else { "smtp" };
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "--cacert",
                &authority(&node),
                "--user",
                "anna:secret",
                "--mail-from",
                "anna@kith.alt",
                "--mail-rcpt",
                "anna@kith.alt",
            ]);
            if mode == Mode::Starttls {
                curl.arg("--ssl-reqd");
            }
            run(curl
                .arg("--upload-file")
                .arg(&file)
                .args(["--url", &format!("{scheme}://localhost:{}", mode.port(&node, "smtp"))]));
        }
        inbox(&node, "anna", 6);
    }
}
