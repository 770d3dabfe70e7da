use std::io::Write as _;

use kith_store::folder::Flags;
use proptest::prelude::*;

use super::*;

fn read(text: &[u8]) -> Vec<(Found, Vec<u8>)> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let mut mbox = Mbox::open(file.path()).unwrap();
    let mut mails = Vec::new();
    let mut last = 0;
    while let Some(found) = mbox.next_mail().unwrap() {
        assert!(found.begins == last && found.ends > last, "every byte belongs to one mail");
        last = found.ends;
        let mut mail = Vec::new();
        mbox.copy(&found, &mut |piece| {
            mail.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert!(mail.is_empty() || mail.ends_with(b"\r\n"), "a mail's last line has an end");
        assert!(
            !mail.starts_with(b"\n") && !mail.windows(2).any(|two| two[0] != b'\r' && two[1] == b'\n'),
            "lines end as in mail"
        );
        mails.push((found, mail));
    }
    assert_eq!(last, text.len() as u64);
    mails
}

fn texts(text: &str) -> Vec<String> {
    read(text.as_bytes()).into_iter().map(|(_, mail)| String::from_utf8(mail).unwrap()).collect()
}

#[test]
fn mails_are_parted_and_their_lines_unquoted() {
    let mails = texts(
        "From anna@kith.alt Thu Jan  1 00:00:00 1970\nSubject: one\n\n>From here\n>>From there\nFrom nowhere at all\n\nFrom now on\n\n\
         From - Sat Dec 10 21:04:05 2005\nSubject: two\n\nend\n",
    );
    assert_eq!(
        mails,
        [
            "Subject: one\r\n\r\nFrom here\r\n>From there\r\nFrom nowhere at all\r\n\r\nFrom now on\r\n",
            "Subject: two\r\n\r\nend\r\n"
        ]
    );
}

#[test]
fn flags_and_dates_are_read_and_their_fields_taken_away() {
    let mails = read(
        b"From a@b Sat Dec 10 21:04:05 2005 +0100\nStatus: RO\nSubject: one\nX-Status: F\nX-Keywords: work\n  home\nTo: me\n\nx\n\n\
          From \nX-Mozilla-Status: 0009\nX-Mozilla-Keys: $label1   \nDate: Sat, 10 Dec 2005 21:04:05 +0100\n\ny\n",
    );
    let [(one, first), (two, second)] = &mails[..] else { panic!() };
    assert_eq!(first, b"Subject: one\r\nTo: me\r\n\r\nx\r\n");
    assert_eq!(one.marks, Marks { system: Flags::SEEN | Flags::FLAGGED, keywords: vec!["work".into(), "home".into()] });
    assert_eq!((one.date, two.date), (Some((1_134_245_045, 60)), Some((1_134_245_045, 60))));
    assert!(two.erased && !one.erased);
    assert_eq!(second, b"Date: Sat, 10 Dec 2005 21:04:05 +0100\r\n\r\ny\r\n");
}

#[test]
fn our_own_lines_go_and_the_mails_own_stay() {
    let [(found, mail)] =
        &read(b"From - Thu Jan  1 00:00:00 1970\nStatus: RO\nX-Status: A\nX-Keywords: \nStatus: mine\nSubject: x\n\ny\n\n")[..]
    else {
        panic!()
    };
    assert_eq!(mail, b"Status: mine\r\nSubject: x\r\n\r\ny\r\n");
    assert_eq!(found.marks, Marks { system: Flags::SEEN | Flags::ANSWERED, keywords: Vec::new() });
}

#[test]
fn a_count_that_leads_to_the_next_mail_is_believed() {
    let body = "first\n\nFrom a@b Sat Dec 10 21:04:05 2005\n>From quoted\n";
    let text = format!(
        "From a@b Sat Dec 10 21:04:05 2005\nContent-Length: {}\n\n{body}\nFrom a@b Sat Dec 10 21:04:05 2005\nContent-Length: 5000\n\nlast\n",
        body.len()
    );
    let mails = texts(&text);
    assert_eq!(mails.len(), 2);
    assert!(mails[0].ends_with("first\r\n\r\nFrom a@b Sat Dec 10 21:04:05 2005\r\n>From quoted\r\n"), "{}", mails[0]);
    assert!(mails[1].ends_with("\r\n\r\nlast\r\n"));
    // The same with quoting: mboxcl.
    let body = ">From a@b Sat Dec 10 21:04:05 2005\n";
    let text = format!("From a@b Sat Dec 10 21:04:05 2005\nContent-Length: {}\n\n{body}\n", body.len());
    assert!(texts(&text)[0].ends_with("\r\n\r\nFrom a@b Sat Dec 10 21:04:05 2005\r\n"));
}

#[test]
fn odd_ones_are_read_as_well_as_can_be() {
    assert_eq!((texts("From "), texts("From x\n")), (vec![String::new()], vec![String::new()]));
    assert_eq!(texts("From x\nSubject: no body"), ["Subject: no body\r\n"]);
    assert_eq!(
        texts("From x\r\nSubject: x\r\n\r\na\r\n\r\nFrom - Sat Dec 10 21:04:05 2005\r\n\r\nb\r\n"),
        ["Subject: x\r\n\r\na\r\n", "\r\nb\r\n"]
    );
    let nul = read(b"From x\nA: \0\xff\n\n\0\xff\r\n");
    assert_eq!(nul[0].1, b"A: \0\xff\r\n\r\n\0\xff\r\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Subject: x\n\nno mbox").unwrap();
    assert!(matches!(Mbox::open(file.path()), Err(MboxError::NoMbox)));
}

#[test]
fn dates_of_from_lines_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "Thu Jan  1 00:00:00 1970"),
        (1_134_245_045, "Sat Dec 10 20:04:05 2005"),
        (951_782_400, "Tue Feb 29 00:00:00 2000"),
        (1_795_000_000, "Wed Nov 18 11:06:40 2026"),
    ] {
        assert_eq!(asctime(seconds), text);
        assert_eq!(from_line_date(format!("From a@b {text}").as_bytes()), Some((seconds, 0)));
    }
    assert_eq!(from_line_date(b"From a Sat Dec 10 21:04 MET 2005").map(|date| date.0), Some(1_134_248_640));
    assert_eq!(from_line_date(b"From a"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_none_is_lost(text in proptest::collection::vec(prop_oneof![
        Just(b"From ".to_vec()), Just(b"\nFrom a Sat Dec 10 21:04:05 2005\n".to_vec()), Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"Content-Length: 12\n".to_vec()),
        Just(b"X".to_vec()), proptest::collection::vec(any::<u8>(), 0..9)], 0..40)) {
        read(&[b"From ".to_vec(), text.concat()].concat());
    }

    #[test]
    fn what_is_written_is_read_back(bodies in proptest::collection::vec("([>]{0,2}(From )?[a-c ]{0,9}\r\n){0,6}", 1..5)) {
        let mut text = Vec::new();
        let mails: Vec<String> = bodies.iter().map(|body| format!("Subject: x\r\n\r\n{body}")).collect();
        for mail in &mails {
            text.extend_from_slice(format!("From kith {}\n{}", asctime(5), Marks::default().status_lines()).as_bytes());
            let mut lines = Lines::new(Ends::ToFile, Quoting::Add);
            lines.push(mail.as_bytes(), &mut text);
            lines.finish(&mut text);
            text.push(b'\n');
        }
        let back: Vec<String> = read(&text).into_iter().map(|(_, mail)| String::from_utf8(mail).unwrap()).collect();
        prop_assert_eq!(back, mails);
    }
}
