//! Commands as RFCs and real programs write them, and smtp-proto's opinion of the same lines.

use proptest::prelude::*;
use smtp_proto::{RCPT_NOTIFY_DELAY, RCPT_NOTIFY_FAILURE, RCPT_NOTIFY_NEVER, RCPT_NOTIFY_SUCCESS, Request};

use super::*;

fn parse(line: &str) -> Result<Command, u16> {
    Command::parse(line.as_bytes()).map_err(|reply| reply.code)
}

fn path(line: &str) -> Option<String> {
    match parse(line) {
        Ok(Command::Mail(mail)) => Some(mail.reverse_path),
        Ok(Command::Rcpt(rcpt)) => Some(rcpt.address),
        _ => None,
    }
}

#[test]
fn thunderbirds_lines_are_understood() {
    assert_eq!(parse("EHLO [127.0.0.1]"), Ok(Command::Ehlo("[127.0.0.1]".into())));
    let mail = MailFrom { reverse_path: "mum@kith.alt".into(), size: Some(417), ..MailFrom::default() };
    assert_eq!(parse("MAIL FROM:<mum@kith.alt> BODY=8BITMIME SIZE=417"), Ok(Command::Mail(mail)));
    assert!(matches!(parse("AUTH PLAIN AG11bQBz"), Ok(Command::Auth(Some(Mechanism::Plain), Some(_)))));
    assert!(matches!(parse("auth login"), Ok(Command::Auth(Some(Mechanism::Login), None))));
    assert!(matches!(parse("AUTH CRAM-MD5"), Ok(Command::Auth(None, None))));
}

#[test]
fn paths_come_in_many_forms() {
    for (line, expected) in [
        ("MAIL FROM:<>", ""),
        ("mail from: <a@b> ", "a@b"),
        ("RCPT TO:<@relay,@other:a@b.c>", "a@b.c"),
        ("RCPT TO:<Postmaster>", "postmaster"),
        ("RCPT TO:<\"mum\"@kith.alt>", "mum@kith.alt"),
        ("RCPT TO:<\"a>b@\\\"c\"@kith.alt>", "\"a>b@\\\"c\"@kith.alt"),
        ("RCPT TO:<a@[127.0.0.1]>", "a@[127.0.0.1]"),
        ("RCPT TO:<a@[IPv6:::1]>", "a@[IPv6:::1]"),
        ("RCPT TO:<m\u{fc}m@kith.alt>", "m\u{fc}m@kith.alt"),
    ] {
        assert_eq!(path(line).as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn malformed_lines_are_refused() {
    let long = format!("RCPT TO:<{}@kith.alt>", "a".repeat(65));
    for line in [
        "MAIL FROM:a@b",
        "MAIL FROM:<a@b",
        "MAIL FROM:<a@b>SIZE=1",
        "MAIL <a@b>",
        "MAIL FROM:<a>",
        "MAIL FROM:<@b:>",
        "MAIL FROM:<.a@b>",
        "MAIL FROM:<a..b@c>",
        "MAIL FROM:<a b@c>",
        "MAIL FROM:<a@b@>",
        "MAIL FROM:<a@-b>",
        "MAIL FROM:<a@[1.2.3]>",
        "MAIL FROM:<\"a\"b@c>",
        "MAIL FROM:<a@b> SIZE",
        "MAIL FROM:<a@b> SIZE=x",
        "MAIL FROM:<a@b> SIZE=1 size=2",
        "MAIL FROM:<a@b> BODY=BINARYMIME",
        "MAIL FROM:<a@b> RET=ALL",
        "MAIL FROM:<a@b> ENVID=",
        "MAIL FROM:<a@b> ENVID=+4",
        "MAIL FROM:<a@b> ENVID=+0D+0A",
        "MAIL FROM:<a@b> SMTPUTF8=1",
        "RCPT TO:<>",
        "RCPT TO:<a@b> NOTIFY=NEVER,DELAY",
        "RCPT TO:<a@b> NOTIFY=",
        "RCPT TO:<a@b> ORCPT=x",
        "RCPT TO:<a@b> ORCPT=rfc822;a+0Ab",
        "EHLO",
        "HELO a b",
        "DATA now",
        "BDAT",
        "BDAT x",
        "BDAT 1 FIRST",
        "BDAT 1 LAST 2",
        "BDAT -1",
        "AUTH",
        "AUTH PLAIN a b",
        &long,
    ] {
        assert_eq!(parse(line), Err(501), "{line}");
    }
    assert_eq!(parse("MAIL FROM:<a@b> FUTURERELEASE=1"), Err(555));
    assert_eq!(parse("MAIL FROM:<m\u{fc}m@kith.alt>"), Err(553));
    for line in ["", "FROB", "NOOP\0", "NOOP\rNOOP"] {
        assert_eq!(parse(line), Err(500), "{line:?}");
    }
}

#[test]
fn dsn_parameters_are_decoded() {
    let Ok(Command::Mail(mail)) = parse("MAIL FROM:<a@b> RET=full ENVID=QQ+2B+3D AUTH=<> SMTPUTF8") else { panic!() };
    assert_eq!((mail.ret_full, mail.envid.as_deref(), mail.smtputf8), (true, Some("QQ+="), true));
    let Ok(Command::Rcpt(rcpt)) = parse("RCPT TO:<a@b> NOTIFY=success,Delay ORCPT=rfc822;a+2Bc@b") else { panic!() };
    assert_eq!(rcpt.params.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(rcpt.params.orcpt.as_deref(), Some("rfc822;a+c@b"));
    let Ok(Command::Rcpt(rcpt)) = parse("RCPT TO:<a@b> NOTIFY=NEVER ORCPT=utf-8;m\\x{FC}m@b") else { panic!() };
    assert_eq!(rcpt.params.notify, Some(Notify { success: false, failure: false, delay: false }));
    assert_eq!(rcpt.params.orcpt.as_deref(), Some("utf-8;m\u{fc}m@b"));
}

#[test]
fn an_absurd_size_is_a_large_one() {
    let Ok(Command::Mail(mail)) = parse("MAIL FROM:<a@b> SIZE=99999999999999999999") else { panic!() };
    assert_eq!(mail.size, Some(u64::MAX));
    assert_eq!(parse("BDAT 99999999999999999999 last"), Ok(Command::Bdat(u64::MAX, true)));
}

fn oracle(line: &str) -> Option<String> {
    let bytes = format!("{line}\r\n").into_bytes();
    match Request::parse(&mut bytes.iter()).ok()? {
        Request::Mail { from } => Some(format!("{} {} {:?}", from.address, from.size, from.env_id)),
        Request::Rcpt { to } => {
            let bits = to.flags & (RCPT_NOTIFY_SUCCESS | RCPT_NOTIFY_FAILURE | RCPT_NOTIFY_DELAY | RCPT_NOTIFY_NEVER);
            Some(format!("{} {bits:x} {:?}", to.address, to.orcpt))
        }
        _ => None,
    }
}

fn ours(line: &str) -> Option<String> {
    match parse(line).ok()? {
        Command::Mail(mail) => Some(format!("{} {} {:?}", mail.reverse_path, mail.size.unwrap_or(0), mail.envid)),
        Command::Rcpt(rcpt) => {
            let bits = rcpt.params.notify.map_or(0, |notify| {
                let bit = |on: bool, bit| if on { bit } else { 0 };
                let bits = bit(notify.success, RCPT_NOTIFY_SUCCESS)
                    | bit(notify.failure, RCPT_NOTIFY_FAILURE)
                    | bit(notify.delay, RCPT_NOTIFY_DELAY);
                if bits == 0 { RCPT_NOTIFY_NEVER } else { bits }
            });
            let orcpt = rcpt.params.orcpt.and_then(|orcpt| orcpt.split_once(';').map(|(_, address)| address.to_owned()));
            Some(format!("{} {bits:x} {orcpt:?}", rcpt.address))
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn smtp_proto_reads_the_same_in_mail(
        local in "[a-z0-9]{1,10}(\\.[a-z0-9+_-]{1,5}){0,2}", domain in "[a-z]{1,8}(\\.[a-z]{2,4}){1,2}", size in proptest::option::of(1u32..),
        envid in proptest::option::of("[A-Za-z0-9]{1,20}(\\+2B|\\+3D)?"), verb in "(mail from|MAIL FROM|Mail From)",
    ) {
        let size = size.map(|size| format!(" SIZE={size}")).unwrap_or_default();
        let envid = envid.map(|envid| format!(" ENVID={envid}")).unwrap_or_default();
        let line = format!("{verb}:<{local}@{domain}>{size}{envid}");
        prop_assert_eq!(ours(&line), oracle(&line), "{}", line);
    }

    #[test]
    fn smtp_proto_reads_the_same_in_rcpt(
        local in "[a-z0-9]{1,10}(\\.[a-z0-9+_-]{1,5}){0,2}", domain in "[a-z]{1,8}(\\.[a-z]{2,4}){1,2}",
        notify in proptest::option::of("NEVER|SUCCESS|FAILURE|DELAY|SUCCESS,DELAY|FAILURE,DELAY,SUCCESS"), orcpt in proptest::option::of("rfc822;[a-z]{1,9}(\\+2B)?@[a-z]{1,5}"),
    ) {
        let notify = notify.map(|notify| format!(" NOTIFY={notify}")).unwrap_or_default();
        let orcpt = orcpt.map(|orcpt| format!(" ORCPT={orcpt}")).unwrap_or_default();
        let line = format!("RCPT TO:<{local}@{domain}>{notify}{orcpt}");
        prop_assert_eq!(ours(&line), oracle(&line), "{}", line);
    }

    #[test]
    fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..100),
                              start in "(MAIL FROM:<|RCPT TO:<|AUTH |BDAT |EHLO |RCPT TO:<a@b> ORCPT=|MAIL FROM:<a@b> ENVID=)?") {
        let _outcome = Command::parse(&[start.as_bytes(), &line].concat());
    }
}
