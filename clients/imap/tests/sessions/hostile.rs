//! What malformed input gets: a tagged BAD and the session goes on, bounded time and memory, and messages that stay readable byte for byte.

use kith_store::disk::SimulatedDisk;

use crate::client::Client;
use crate::home::Home;

/// The most that a session may hand over at once.
const STEP_BYTES_MAX: usize = 256 * 1024;

fn with_message(message: &[u8], test: impl FnOnce(&mut Client<'_>)) {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.append("INBOX", message);
    client.ok("SELECT INBOX");
    client.longest_step = 0;
    // Whatever it is: described, searched, sorted, threaded, previewed, and given back as it came.
    for command in [
        "FETCH 1 (ENVELOPE BODYSTRUCTURE BODY PREVIEW RFC822.SIZE)",
        "FETCH 1 (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[1.1.1.HEADER] BINARY.SIZE[1] BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
        "SEARCH TEXT nowhere HEADER X-None a SENTSINCE 1-Jan-2000",
        "SORT (SUBJECT FROM DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
    ] {
        client.send(format!("x {command}\r\n").as_bytes());
        let said = client.take_bytes();
        assert!(said.windows(5).any(|window| window == b"x OK "), "{command}: {}", String::from_utf8_lossy(&said));
    }
    client.send(b"y FETCH 1 BODY.PEEK[]\r\n");
    let said = client.take_bytes();
    let start = said.windows(3).position(|window| window == b"}\r\n").unwrap() + 3;
    assert_eq!(&said[start..start + message.len()], message, "byte for byte");
    test(&mut client);
    assert!(client.longest_step <= STEP_BYTES_MAX, "{} bytes at once", client.longest_step);
}

#[test]
fn ten_thousand_levels_of_parts_are_shown_as_far_as_anybody_looks() {
    let mut message = String::new();
    for level in 0..10_000 {
        message.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    message.push_str("\r\ndeep down\r\n");
    with_message(message.as_bytes(), |client| {
        let path = vec!["1"; 60].join(".");
        assert!(client.ok(&format!("FETCH 1 BODY.PEEK[{path}]"))[0].contains("NIL"));
        let path = vec!["1"; 65].join(".");
        assert!(client.command(&format!("FETCH 1 BODY.PEEK[{path}]")).1.starts_with("BAD"));
    });
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
    with_message(messages.as_bytes(), |_| {});
}

#[test]
fn a_million_headers_are_carried_and_no_more_than_some_are_looked_into() {
    with_message(&[&b"Subject: first\r\n"[..], &b"A: b\r\n".repeat(1_000_000), b"\r\nbody"].concat(), |client| {
        assert!(client.ok("FETCH 1 ENVELOPE")[0].contains("first"));
        assert_eq!(client.ok("SEARCH SUBJECT first"), ["* SEARCH 1"]);
        client.send(b"z FETCH 1 BODY.PEEK[TEXT]\r\n");
        assert!(client.take().contains("{4}\r\nbody"));
    });
}

#[test]
fn nul_8_bit_and_what_is_broken_stay_as_they_are() {
    with_message(b"Subject: n\0l\r\nFrom: \xff\xfe <\0@\x80>\r\n\r\na\0b\r\n", |client| {
        assert_eq!(client.ok("SEARCH SUBJECT nl"), ["* SEARCH 1"]);
    });
    with_message("Subject: Grüße aus Köln\r\n\r\nohne Zeichensatz\r\n".as_bytes(), |client| {
        assert_eq!(client.ok("SEARCH SUBJECT \"KÖLN\""), ["* SEARCH 1"]);
    });
    with_message(b"Content-Transfer-Encoding: base64\r\n\r\n!!!! SGVs*bG8= ???? ===\r\n", |client| {
        assert_eq!(client.ok("SEARCH BODY hello"), ["* SEARCH 1"]);
    });
    with_message(b"Content-Type: multipart/mixed; boundary=never\r\n\r\nno such line\r\n", |_| {});
    with_message(b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\n----\r\n", |_| {});
    with_message(b"\r\n", |_| {});
    with_message(b"no header at all, no end of line", |_| {});
    with_message(b"a:b\nonly line feeds\n\nbody\n", |_| {});
    with_message(&vec![b'x'; 3_000_000], |_| {});
    with_message(
        &[b"Subject: ".as_slice(), &b"=?utf-8?q?".repeat(20_000), b"\r\nReferences: ", &b"<".repeat(100_000), b"\r\n\r\n"]
            .concat(),
        |_| {},
    );
    with_message(&[b"To: ".as_slice(), &b"(".repeat(100_000), &b"a@b,".repeat(20_000), b"\r\n\r\n"].concat(), |_| {});
    with_message(&[b"Content-Type: text/plain; ".as_slice(), &b"a=b;".repeat(40_000), b"\r\n\r\n"].concat(), |_| {});
}

#[test]
fn every_malformed_command_is_answered_and_the_session_goes_on() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.append("INBOX", b"a: b\r\n\r\n");
    client.ok("SELECT INBOX");
    for command in [
        "FETCH",
        "FETCH 1",
        "FETCH 1 (",
        "FETCH 1 ()",
        "FETCH 0 FLAGS",
        "FETCH 1:: FLAGS",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[]<1>",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 99999999999999 FLAGS",
        "FETCH 2 FLAGS",
        "STORE 1 FLAGS",
        "STORE 1 +FLAGS (\\Nonsense)",
        "STORE 1 (UNCHANGEDSINCE) FLAGS ()",
        "SEARCH",
        "SEARCH NOT",
        "SEARCH OR ALL",
        "SEARCH (",
        "SEARCH ()",
        "SEARCH LARGER x",
        "SEARCH ON 31-Feb-2000",
        "SEARCH RETURN (X) ALL",
        "SORT () UTF-8 ALL",
        "SORT (SUBJECT) UTF-8",
        "THREAD X UTF-8 ALL",
        "UID",
        "UID FETCH",
        "UID NOOP 1",
        "COPY 1",
        "MOVE 1",
        "LIST",
        "LIST \"\"",
        "LIST (RECURSIVEMATCH) \"\" *",
        "STATUS INBOX",
        "STATUS INBOX ()",
        "STATUS INBOX (X)",
        "SELECT",
        "SELECT INBOX (X)",
        "APPEND",
        "APPEND INBOX",
        "APPEND INBOX x",
        "APPEND INBOX CATENATE (URL \"x\")",
        "REPLACE 1 INBOX",
        "ENABLE",
        "ID",
        "ID (\"a\")",
        "AUTHENTICATE",
        "LOGIN x",
        "COMPRESS",
        "COMPRESS GZIP",
        "GETQUOTA",
        "SETQUOTA x",
        "NOTIFY",
        "NONSENSE",
        "\"",
        "{",
        "NOOP x",
    ] {
        let (_, last) = client.command(command);
        assert!(last.starts_with("BAD "), "{command}: {last}");
    }
    assert!(!client.ended);
    client.ok("NOOP");
    for line in ["\r\n", "(\r\n", "* NOOP\r\n", "+ NOOP\r\n", "tag\r\n", "\0\0\r\n", "\u{fc} NOOP\r\n"] {
        client.send(line.as_bytes());
        assert!(client.take().contains(" BAD "), "{line:?}");
    }
    client.ok("NOOP");
}

#[test]
fn a_hundred_commands_that_make_no_sense_end_the_session() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.send("x NONSENSE\r\n".repeat(99).as_bytes());
    assert!(!client.ended);
    client.send(b"x NONSENSE\r\n");
    let said = client.take();
    assert!(client.ended && said.ends_with("* BYE Too many commands that make no sense\r\n"));
    assert_eq!(said.matches("x BAD").count(), 100);
}

#[test]
fn literals_over_the_limit_are_refused_before_they_are_read() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    client.take();
    client.send(b"a APPEND INBOX {52428801}\r\n");
    let said = client.take();
    assert!(said.starts_with("a NO [TOOBIG]") && !said.contains('+'), "{said}");
    client.send(b"b SELECT {70000}\r\n");
    assert!(client.take().starts_with("b BAD"));
    client.send(b"c SELECT {70000+}\r\n");
    client.send(&vec![b'x'; 70_000]);
    client.send(b"\r\n");
    assert!(client.take().starts_with("c BAD"));
    client.send(b"d SEARCH TEXT {18446744073709551615}\r\n");
    assert!(client.take().starts_with("d BAD"));
    client.send(&[b"e ".as_slice(), &vec![b'x'; 1_000_000], b"\r\n"].concat());
    assert!(client.take().contains("BAD"));
    client.ok("NOOP");
    client.send(&[b"f SEARCH ".as_slice(), &b"NOT ".repeat(5_000), b"ALL\r\n"].concat());
    assert!(client.take().starts_with("f BAD"));
    client.send(&[b"g FETCH ".as_slice(), &b"1,".repeat(25_000), b"1 FLAGS\r\n"].concat());
    assert!(client.take().starts_with("g BAD"));
    client.ok("NOOP");
}
