//! The header leaves as promised, and everything else untouched.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000;

/// The whole mail as it would be kept.
fn submit(mail: &[u8]) -> Vec<u8> {
    submit_in(mail, mail.len().max(1))
}

fn submit_in(mail: &[u8], chunk: usize) -> Vec<u8> {
    let (mut reader, mut kept) = (Some(HeaderReader::default()), Vec::new());
    let write = |split: Split| {
        let mut bytes = Header::parse(&split.fields).rewrite("mum@kith.alt", NOW, [7; 16]);
        bytes.extend_from_slice(&split.rest);
        bytes
    };
    for piece in mail.chunks(chunk) {
        match &mut reader {
            None => kept.extend_from_slice(piece),
            Some(gathering) => {
                if let Some(split) = gathering.push(piece).unwrap() {
                    kept = write(split);
                    reader = None;
                }
            }
        }
    }
    if let Some(reader) = reader {
        kept = write(reader.finish());
    }
    kept
}

#[test]
fn private_and_foreign_fields_do_not_leave() {
    let mail = b"Received: from my.secret.host\r\n\tby x\r\nbcc: dad@kith.alt,\r\n sis@kith.alt\r\nFrom: mum@kith.alt\r\nDATE: x\r\nMessage-id: <a@b>\r\n\
        User-Agent: Thunderbird\r\nx-mailer: y\r\nAuthentication-Results: kith.alt; kith=pass\r\nX-Kith-Route: overlay\r\nSubject: hi\r\n  there\r\n\r\n\
        Bcc: in the body stays\r\n";
    let expected =
        "From: mum@kith.alt\r\nDATE: x\r\nMessage-id: <a@b>\r\nSubject: hi\r\n  there\r\n\r\nBcc: in the body stays\r\n";
    assert_eq!(String::from_utf8(submit(mail)).unwrap(), expected);
}

#[test]
fn what_is_missing_is_added_and_tells_no_host() {
    let kept = String::from_utf8(submit(b"Subject: hi\r\n\r\ntext")).unwrap();
    let expected = "Date: Wed, 18 Nov 2026 11:06:40 +0000\r\nMessage-ID: <07070707070707070707070707070707@kith.alt>\r\nFrom: <mum@kith.alt>\r\n\
        Subject: hi\r\n\r\ntext";
    assert_eq!(kept, expected);
}

#[test]
fn an_unparsable_mail_is_left_alone() {
    for mail in [
        &b"no header here\r\nat all\r\n"[..],
        b"",
        b"\r\nonly a body",
        b" starts with a blank: x\r\n",
        b"\xff\xfe\0: \r\n",
        b"no line end",
    ] {
        assert_eq!(submit(mail), mail);
    }
}

#[test]
fn fields_behind_a_line_that_is_none_are_still_examined() {
    let mail = b"Subject: x\r\nthis is no field\r\nBcc: dad@kith.alt\r\nFrom: boss@kith.alt\r\n\r\n";
    assert!(!submit(mail).windows(3).any(|name| name == b"Bcc"));
    assert_eq!(Header::parse(mail).from_addresses().unwrap(), ["boss@kith.alt"]);
    assert_eq!(Header::parse(b"From: boss@kith.alt").from_addresses().unwrap(), ["boss@kith.alt"], "even without a line end");
}

#[test]
fn from_is_read_from_all_its_fields() {
    let from = |text: &str| Header::parse(text.as_bytes()).from_addresses();
    assert_eq!(from("Subject: x\r\n"), None);
    assert_eq!(from("From: Mum <mum@kith.alt>\r\n"), Some(vec!["mum@kith.alt".into()]));
    assert_eq!(from("From : =?utf-8?q?M=C3=BCm?=\r\n <mum@kith.alt>, \"a, b\" <dad@kith.alt>\r\n").unwrap().len(), 2);
    assert_eq!(from("FROM: a@kith.alt\r\nfrom: b@kith.alt\r\n").unwrap(), ["a@kith.alt", "b@kith.alt"]);
    assert_eq!(from("From: nothing\r\n").unwrap_or_default().iter().filter(|address| address.contains('@')).count(), 0);
}

#[test]
fn an_endless_header_is_refused() {
    let mut reader = HeaderReader::default();
    let line = format!("X: {}\r\n", "y".repeat(1000));
    let refused = (0..400).find_map(|_| reader.push(line.as_bytes()).err());
    assert_eq!(refused, Some(HeaderTooLarge));
}

proptest! {
    #[test]
    fn chunking_does_not_change_what_is_kept(mail in "([A-Z][a-z]{0,3}(:| |\r\n|\r\n )){0,20}", chunk in 1usize..9) {
        prop_assert_eq!(submit_in(mail.as_bytes(), chunk), submit(mail.as_bytes()));
    }

    #[test]
    fn the_body_is_kept_byte_for_byte(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut mail = b"From: mum@kith.alt\r\nDate: x\r\nMessage-ID: <a>\r\n\r\n".to_vec();
        mail.extend_from_slice(&body);
        prop_assert_eq!(submit(&mail), mail);
    }

    #[test]
    fn no_bytes_make_it_panic(mail in proptest::collection::vec(prop_oneof![Just(b':'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
        let kept = submit(&mail);
        let _addresses = Header::parse(&kept).from_addresses();
    }
}
