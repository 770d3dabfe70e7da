//! Somebody else's parser (imap-codec) on the other side: what we answer it must read, what it takes for a command we must take the same way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../connection/tests/support/dialogue.rs"]
#[expect(dead_code, reason = "conversations are played elsewhere")]
mod dialogue;
#[expect(dead_code, reason = "nothing here restarts the node or needs a second person")]
#[path = "../../connection/tests/support/home.rs"]
mod home;

use arbitrary::{Arbitrary as _, Unstructured};
use imap_codec::decode::Decoder as _;
use imap_codec::encode::{Encoder as _, Fragment};
use imap_codec::{CommandCodec, ResponseCodec};
use imap_types::command::{Command, CommandBody};
use kith_imap::{Link, Session, Shared, Without};
use kith_store::disk::SimulatedDisk;
use proptest::prelude::*;

use crate::dialogue::converse;
use crate::home::Home;

fn said_to(talk: &str) -> Vec<u8> {
    let home = Home::simulated(&SimulatedDisk::default());
    let link = Link { may_log_in: true, can_start_tls: false };
    let mut session = Session::new(Shared::new(home.store.clone(), Without::default()), link, || 1_795_000_000);
    converse(&mut session, talk.as_bytes(), usize::MAX, |credentials| home.login(credentials)).0
}

/// The responses one by one, literals included.
fn responses(said: &[u8]) -> Vec<&[u8]> {
    let mut responses = Vec::new();
    let mut rest = said;
    while !rest.is_empty() {
        let mut end = 0;
        loop {
            let line = rest[end..].windows(2).position(|pair| pair == b"\r\n").unwrap();
            let text = String::from_utf8_lossy(&rest[end..end + line]).into_owned();
            end += line + 2;
            let literal = text
                .strip_suffix('}')
                .and_then(|text| text.rsplit_once('{'))
                .and_then(|(_, number)| number.parse::<usize>().ok());
            match literal {
                Some(bytes) => end += bytes,
                None => break,
            }
        }
        let (response, after) = rest.split_at(end);
        responses.push(response);
        rest = after;
    }
    responses
}

/// What the other parser does not know: extensions younger than it, or that it lacks.
const UNKNOWN_TO_IT: [&str; 6] = ["ESEARCH", "EMAILID", "SAVEDATE", "PREVIEW", "MAILBOXID", "DELETED"];

/// Commands as programs send them; every line of the answers must be IMAP to somebody else's parser too.
const TALK: &str = "a LOGIN mum secret\r\nb LIST \"\" *\r\nc LSUB \"\" *\r\nd STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)\r\n\
    e APPEND INBOX (\\Seen $label1) \"17-Jul-1996 02:44:25 -0700\" {51+}\r\nFrom: A <a@b.c>\r\nSubject: \"x\" {3}\r\n\r\nbody text\r\n\r\n\r\n\
    e2 APPEND INBOX {229+}\r\nSubject: two\r\nTo: Group: a@b, \"c d\"@e;\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Language: de, en\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\nrest\r\n\r\n\
    f SELECT INBOX\r\ng FETCH 1:2 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)\r\nh FETCH 1:2 FULL\r\n\
    i FETCH 1 (BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)] BODY.PEEK[TEXT]<0.4>)\r\nj SEARCH ALL\r\nk UID SEARCH UNSEEN\r\n\
    j1 SORT (SUBJECT) UTF-8 ALL\r\nj2 THREAD REFERENCES UTF-8 ALL\r\nj3 UID THREAD ORDEREDSUBJECT UTF-8 ALL\r\nj4 SEARCH MODSEQ 1\r\n\
    j5 FETCH 2 (BINARY.PEEK[1] BINARY.SIZE[1])\r\nj6 GETQUOTAROOT INBOX\r\nj7 STATUS INBOX (SIZE HIGHESTMODSEQ)\r\nj8 FETCH 1 (MODSEQ)\r\n\
    j9 UID SEARCH RETURN (ALL COUNT) ALL\r\nja FETCH 1 (EMAILID THREADID SAVEDATE PREVIEW)\r\njb STATUS INBOX (MAILBOXID DELETED)\r\n\
    l STORE 1 +FLAGS (\\Deleted)\r\nm UID COPY 1 Archive\r\nn EXPUNGE\r\no CREATE Work/2026\r\np NOOP\r\nq BOGUS\r\n\
    r CREATE Entw&APw-rfe\r\ns LIST (SUBSCRIBED RECURSIVEMATCH) \"\" % RETURN (CHILDREN STATUS (MESSAGES))\r\nt UNSELECT\r\n\
    u ENABLE QRESYNC\r\nv SELECT INBOX\r\nw STORE 1 +FLAGS.SILENT (\\Deleted)\r\nx EXPUNGE\r\ny NAMESPACE\r\nz ID NIL\r\nz1 LOGOUT\r\n";

#[test]
fn what_is_answered_is_imap_to_another_parser_too() {
    let said = said_to(TALK);
    let responses = responses(&said);
    for response in &responses {
        let text = String::from_utf8_lossy(response);
        match ResponseCodec::default().decode(response) {
            Ok((rest, _)) => assert!(rest.is_empty(), "{text}"),
            Err(error) => assert!(UNKNOWN_TO_IT.iter().any(|word| text.contains(word)), "{error:?} at {text}"),
        }
    }
    assert!(responses.len() > 90, "{} responses:\n{}", responses.len(), String::from_utf8_lossy(&said));
    let tagged = |tag: &str| responses.iter().any(|response| response.starts_with(tag.as_bytes()));
    assert!(tagged("z1 OK "), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn what_another_parser_takes_for_a_command_is_one_here_too() {
    for line in [
        "a CAPABILITY",
        "a NOOP",
        "a LOGOUT",
        "a STARTTLS",
        "a SELECT INBOX (CONDSTORE)",
        "a SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
        "a SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1,3,5 41,43,45)))",
        "a EXAMINE INBOX (CONDSTORE)",
        "a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
        "a STORE 7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)",
        "a SEARCH MODSEQ \"/flags/\\\\draft\" all 620162338",
        "a SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
        "a UID SORT (ARRIVAL) US-ASCII SUBJECT x",
        "a THREAD REFERENCES UTF-8 SINCE 5-MAR-2000",
        "a UID THREAD ORDEREDSUBJECT UTF-8 ALL",
        "a COMPRESS DEFLATE",
        "a GETQUOTA mail",
        "a GETQUOTAROOT INBOX",
        "a SETQUOTA mail (STORAGE 512)",
        "a FETCH 1 BINARY.PEEK[1.2]<0.100>",
        "a FETCH 1 (BINARY.SIZE[1] BINARY[2])",
        "a MOVE 1:3 x",
        "a ENABLE QRESYNC UTF8=ACCEPT",
        "a STATUS x (MESSAGES HIGHESTMODSEQ)",
        "a LOGIN mum secret",
        "a LOGIN \"m u\" \"s\\\"x\"",
        "a AUTHENTICATE PLAIN",
        "a SELECT INBOX",
        "a SELECT \"a b\"",
        "a EXAMINE inbox",
        "a CREATE x/y",
        "a DELETE x",
        "a RENAME x y",
        "a SUBSCRIBE x",
        "a UNSUBSCRIBE x",
        "a LIST \"\" *",
        "a LIST \"\" %",
        "a LSUB \"\" \"*\"",
        "a STATUS x (MESSAGES UNSEEN)",
        "a CHECK",
        "a CLOSE",
        "a EXPUNGE",
        "a UID EXPUNGE 1:3",
        "a SEARCH ALL",
        "a SEARCH 1:* NOT DELETED",
        "a SEARCH OR FROM x (SEEN SINCE 1-Feb-1994)",
        "a SEARCH CHARSET UTF-8 TEXT x",
        "a FETCH 1 FAST",
        "a FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        "a FETCH 1 BODY.PEEK[1.2.MIME]<0.100>",
        "a UID FETCH 1:* (UID FLAGS)",
        "a STORE 2:4 +FLAGS (\\Deleted)",
        "a STORE 1 FLAGS.SILENT ()",
        "a COPY 2:4 MEETING",
        "a UID MOVE 42:69 foo",
        "a IDLE",
        "a ENABLE CONDSTORE",
        "a ID NIL",
        "a ID (\"name\" \"x\")",
        "a NAMESPACE",
        "a UNSELECT",
        "a FETCH 1 (FLAGS) (CHANGEDSINCE 12)",
    ] {
        assert!(CommandCodec::default().decode(format!("{line}\r\n").as_bytes()).is_ok(), "the oracle does not know {line}");
        assert!(kith_imap::command::parse(line.as_bytes()).is_ok(), "{line}");
    }
}

/// A command as it goes over the wire, literals in place, without its line end.
fn wire(command: &Command<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fragment in CommandCodec::default().encode(command) {
        match fragment {
            Fragment::Line { data } | Fragment::Literal { data, .. } => bytes.extend_from_slice(&data),
        }
    }
    bytes.truncate(bytes.len().saturating_sub(2));
    bytes
}

/// Commands that are not offered here, or that the session reads as they come.
fn is_elsewhere(body: &CommandBody<'_>) -> bool {
    matches!(
        body,
        CommandBody::GetMetadata { .. }
            | CommandBody::SetMetadata { .. }
            | CommandBody::Append { .. }
            | CommandBody::Login { .. }
    )
}

/// Where the other parser is more generous than the RFCs, or knows what is not offered here.
const REFUSED_ON_PURPOSE: [&str; 7] = [
    // RFC 3501 §9 wants one at least.
    "something to fetch",
    "a status item",
    // RFC 7162 §3.2.6 and §7.
    "CHANGEDSINCE beside VANISHED",
    "a set without *",
    // Other algorithms, and RFC 5957.
    "threading algorithm",
    "ORDEREDSUBJECT or REFERENCES",
    "ARRIVAL, CC, DATE, FROM, SIZE, SUBJECT or TO",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_that_it_makes_up_are_taken_too(seed in proptest::collection::vec(any::<u8>(), 0..600)) {
        let Ok(command) = Command::arbitrary(&mut Unstructured::new(&seed)) else { return Ok(()) };
        let line = wire(&command);
        let whole = [&*line, b"\r\n"].concat();
        if is_elsewhere(&command.body) || CommandCodec::default().decode(&whole).is_err() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        match kith_imap::command::parse(&line) {
            Ok(tagged) => prop_assert_eq!(tagged.tag, command.tag.as_ref()),
            Err(error) => {
                let why = error.to_string();
                prop_assert!(REFUSED_ON_PURPOSE.iter().any(|known| why.contains(known)), "{why}: {text}");
            }
        }
    }
}

/// Messages out of what parsers stumble over.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"Content-Type: multipart/mixed; boundary=b\r\n".to_vec()),
        Just(b"Content-Type: multipart/digest; boundary=\"c d\"\r\n".to_vec()),
        Just(b"Content-Type: message/rfc822\r\n".to_vec()),
        Just(b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n".to_vec()),
        Just(b"Content-Type: text/plain; charset=\"\xfc\"; x*0=\"a\"; x*1=b\r\n".to_vec()),
        Just(b"Content-Type: /; =; ;;\r\n".to_vec()),
        Just(
            b"Content-Disposition: attachment; filename=\"a\\\"b\"\r\nContent-Language: de, , en\r\nContent-MD5: \0\r\n".to_vec()
        ),
        Just(b"From: A (c) <a@b>, \"x\" <y>, g: h@i;;\r\nTo: \r\nCc: \"\\\r\n".to_vec()),
        Just(b"Subject: \xff {5}\r\n folded\r\nDate: \r\nIn-Reply-To: <\"\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"--b\r\n".to_vec()),
        Just(b"--b--\r\n".to_vec()),
        Just(b"--c d\n".to_vec()),
        Just(b"--c d--".to_vec()),
        Just(b"text".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_message_is_its_description_can_be_read(message in any_message()) {
        let (envelope, structure, parts) = kith_imap::structure::described(&message);
        let response = [&b"* 1 FETCH (ENVELOPE "[..], &envelope, b" BODYSTRUCTURE ", &structure, b")\r\n"].concat();
        match ResponseCodec::default().decode(&response) {
            Ok((rest, _)) => prop_assert!(rest.is_empty() && parts > 0),
            // It looks no deeper than eight levels.
            Err(error) => prop_assert!(parts > 8, "{error:?} at {}", String::from_utf8_lossy(&response)),
        }
    }
}
