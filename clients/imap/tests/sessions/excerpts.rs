//! What the store keeps of headers changes no answer: two folders with the same mails, of one of which it keeps nothing, since their headers
//! are too large for it.

use kith_store::disk::SimulatedDisk;
use proptest::prelude::*;

use crate::client::Client;
use crate::home::Home;

/// More than the store looks through.
const PADDING_BYTES: usize = 70_000;

/// What programs ask of headers.
const QUESTIONS: [&str; 18] = [
    "SEARCH SUBJECT a",
    "SEARCH FROM \"ann\"",
    "SEARCH OR TO b@ CC c@",
    "SEARCH NOT HEADER X-Other o",
    "SEARCH HEADER Message-ID 1",
    "SEARCH HEADER In-Reply-To \"\"",
    "SEARCH OR (HEADER X-Other o SUBJECT a) SENTSINCE 2-Feb-1994",
    "SEARCH SENTON 7-Feb-1994 UNSEEN",
    "UID SORT (SUBJECT) UTF-8 ALL",
    "UID SORT (REVERSE DATE FROM) UTF-8 ALL",
    "UID SORT (TO CC) UTF-8 SUBJECT a",
    "UID THREAD REFERENCES UTF-8 ALL",
    "UID THREAD ORDEREDSUBJECT UTF-8 ALL",
    "FETCH 1:* (FLAGS ENVELOPE)",
    "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject FROM date)])",
    "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (TO References)]<3.7>)",
    "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (To X-Other)])",
    "FETCH 1:* (BODY[HEADER.FIELDS (To)])",
];

fn field() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("Subject"),
        Just("subject "),
        Just("From"),
        Just("TO"),
        Just("Cc"),
        Just("Date"),
        Just("Message-ID"),
        Just("References"),
        Just("In-Reply-To"),
        Just("Sender"),
        Just("Reply-To"),
        Just("Bcc"),
        Just("X-Other"),
        Just("Received"),
    ];
    let value = prop_oneof![
        Just("a".to_owned()),
        Just("Re: a".to_owned()),
        Just("=?utf-8?q?=C3=A4?=\r\n a".to_owned()),
        Just("Ann <ann@x>, b@y".to_owned()),
        Just("g: c@d, e;, f".to_owned()),
        Just("Mon, 7 Feb 1994 21:52:25 -0800".to_owned()),
        Just("Tue, 1 Feb 1994 21:52:25 +0000".to_owned()),
        "<[1-5]@x>( |\r\n\t)<[1-5]@x>",
        "<[1-5]@x>",
        "[ao\"(<,:;\\\\]{0,9}",
        Just("\u{e4}".to_owned()),
        Just(String::new()),
    ];
    (name, value, prop_oneof![8 => Just("\r\n"), 1 => Just("\n")]).prop_map(|(name, value, end)| format!("{name}: {value}{end}"))
}

fn mail() -> impl Strategy<Value = String> {
    let end =
        prop_oneof![8 => Just("\r\nTo: body\r\n"), 1 => Just(""), 1 => Just("no field\r\n\r\n"), 1 => Just("\nSubject: body")];
    (proptest::collection::vec(field(), 1..9), end).prop_map(|(fields, end)| fields.concat() + end)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn answers_are_the_same_whether_or_not_something_of_the_header_is_kept(mails in proptest::collection::vec(mail(), 1..7)) {
        let home = Home::simulated(&SimulatedDisk::default());
        let padding = format!("X-Padding: {}\r\n", "x".repeat(PADDING_BYTES));
        let mut client = Client::new(&home);
        client.ok("CREATE bare");
        for mail in &mails {
            client.append("INBOX", mail.as_bytes());
            client.append("bare", format!("{padding}{mail}").as_bytes());
        }
        let answers = ["INBOX", "bare"].map(|folder| {
            client.ok(&format!("SELECT {folder}"));
            QUESTIONS.map(|question| (question, client.ok(question)))
        });
        prop_assert_eq!(&answers[0], &answers[1]);
    }
}
