//! What is remembered of messages changes no answer: the same questions worked out, asked again, asked by a session that has nothing but what
//! the store kept, and asked in a way that the folder's index cannot answer.

use kith_imap::structure::described;
use kith_store::disk::SimulatedDisk;
use kith_store::folder::Uid;
use kith_store::mailbox::Gist;
use proptest::prelude::*;

use crate::client::Client;
use crate::home::Home;

/// So many that what is worked out of them is written at once.
const MAILS: usize = 66;

const LISTING: &str = "BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To \
    Content-Type Reply-To Received)]";

/// Sorted, threaded and searched in two ways: by keys alone, and with a condition that holds of all and takes a look at their flags.
const BY_KEYS: [&str; 10] = [
    "UID SORT (SUBJECT) UTF-8 {all}",
    "UID SORT (REVERSE DATE FROM) UTF-8 {all}",
    "UID SORT (TO REVERSE CC SIZE) UTF-8 {all}",
    "SORT (ARRIVAL REVERSE SUBJECT) UTF-8 {all}",
    "UID THREAD REFERENCES UTF-8 {all}",
    "THREAD ORDEREDSUBJECT UTF-8 {all}",
    "UID SEARCH SENTSINCE 2-Feb-1994 {all}",
    "UID SEARCH OR SENTON 7-Feb-1994 NOT SENTBEFORE 1-Jan-2020 {all}",
    "UID THREAD REFERENCES UTF-8 UID 2:30 {all}",
    "UID SEARCH RETURN (COUNT MIN MAX) NOT (SENTBEFORE 2-Feb-1994 UID 5:50) {all}",
];

fn ways(question: &str) -> [String; 2] {
    ["ALL", "UNKEYWORD never"].map(|all| question.replace("{all}", all))
}

const STRUCTURES: [&str; 4] = ["BODYSTRUCTURE", "BODY", "(FLAGS BODYSTRUCTURE ENVELOPE BODY)", "FULL"];

fn listings() -> [String; 3] {
    [
        LISTING.to_owned(),
        format!("({LISTING}<3.40> UID)"),
        "(BODY.PEEK[HEADER.FIELDS (Received)] BODY.PEEK[HEADER.FIELDS (To)])".to_owned(),
    ]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"Subject: a\r\n".to_vec()),
        Just(b"Subject: Re: =?utf-8?q?=C3=A4?= b\r\n".to_vec()),
        Just(b"From: A (c) <a@b>, \"x\" <y>\r\nTo: g: h@i;;\r\nCc: \"\\\r\n".to_vec()),
        Just(b"TO: \xff@\xe4, c@d\r\n".to_vec()),
        Just(b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n".to_vec()),
        Just(b"Date: Tue, 1 Feb 1994 21:52:25 +0000\r\nDate: now\r\n".to_vec()),
        Just(b"Date: Thu, 31 Feb 2099 99:99:99\r\n".to_vec()),
        "(Message-ID|References|In-Reply-To): <[1-9]@x> (<\"[1-9]\"@x>|<broken)\r\n".prop_map(String::into_bytes),
        Just(b"Received: from a\r\n\tby b\0\r\nX-Other: c\r\n".to_vec()),
        Just(b"X-Priority : 1\nPriority:\xfc\n".to_vec()),
        Just(b"Content-Type: multipart/mixed; boundary=b\r\n".to_vec()),
        Just(b"Content-Type: multipart/digest; boundary=\"c d\"\r\n".to_vec()),
        Just(b"Content-Type: message/rfc822\r\n\r\n".to_vec()),
        Just(b"Content-Type: text/plain; charset=\"\xfc\"; x*0=\"a\"\r\nContent-MD5: \0\r\n".to_vec()),
        Just(b"Content-Disposition: attachment; filename=\"a\\\"b\"\r\nContent-Language: de, , en\r\n".to_vec()),
        Just(b"Content-Type: multipart/mixed; boundary=never\r\n\r\nno such line\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"--b\r\n".to_vec()),
        Just(b"--b--\r\n".to_vec()),
        Just(b"--c d\n".to_vec()),
        Just(b"text".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn mail() -> impl Strategy<Value = Vec<u8>> {
    let any = proptest::collection::vec(piece(), 1..20).prop_map(|pieces| pieces.concat());
    any.prop_filter("an empty one cannot be stored", |mail| !mail.is_empty())
}

fn filled(home: &Home, mails: &[Vec<u8>]) {
    let mut client = Client::new(home);
    for mail in mails {
        client.append("INBOX", mail);
    }
    // From here on none is recent.
    client.ok("SELECT INBOX");
}

fn selected(home: &Home) -> Client<'_> {
    let mut client = Client::new(home);
    client.ok("SELECT INBOX");
    client
}

/// Gists of the inbox that the store keeps, once the writer has come to them.
fn kept(home: &Home, kind: Gist) -> usize {
    let store = &home.store;
    let account = home.mum.id;
    store.subscribe(account, "anything", true).unwrap();
    let inbox = store.folder_by_name(account, "INBOX").unwrap().unwrap().id;
    let messages = store.messages(account, inbox, Uid(1), Uid(u32::MAX), usize::MAX).unwrap();
    let gists = store.gists(account, kind, &messages).unwrap();
    (0..messages.len()).filter(|index| gists.find(*index).is_some()).count()
}

/// An answer without what differs from one time to the next: the tag that ESEARCH repeats.
fn tagless(lines: Vec<String>) -> Vec<String> {
    let without = |line: String| match line.strip_prefix("* ESEARCH (TAG ").and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => format!("* ESEARCH{rest}"),
        None => line,
    };
    lines.into_iter().map(without).collect()
}

fn ask(home: &Home, question: &str) -> Vec<String> {
    tagless(selected(home).ok(question))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn answers_are_the_same_whether_worked_out_or_remembered(mails in proptest::collection::vec(mail(), MAILS)) {
        let home = Home::simulated(&SimulatedDisk::default());
        filled(&home, &mails);
        let mut client = selected(&home);
        for question in BY_KEYS {
            let [by_keys, by_flags] = ways(question);
            // Of the first question nothing is remembered yet.
            let first = tagless(client.ok(&by_flags));
            prop_assert_eq!(&tagless(client.ok(&by_keys)), &first, "{}", question);
            prop_assert_eq!(&tagless(client.ok(&by_keys)), &first, "{}", question);
            prop_assert_eq!(kept(&home, Gist::Keys), MAILS);
            prop_assert_eq!(&ask(&home, &by_keys), &first, "{}", question);
            prop_assert_eq!(&ask(&home, &by_flags), &first, "{}", question);
        }
        // A few at a time nothing is written: each is worked out anew.
        for (question, kind) in STRUCTURES.iter().map(|items| (*items, Gist::Structure)).chain(listings().iter().map(|items| (&**items, Gist::Listing))) {
            let mut afresh = Vec::new();
            if kept(&home, kind) == 0 {
                for range in ["1:30", "31:60", "61:66"] {
                    afresh.extend(ask(&home, &format!("FETCH {range} {question}")));
                }
                prop_assert_eq!(kept(&home, kind), 0);
            }
            let all = format!("FETCH 1:* {question}");
            let first = client.ok(&all);
            prop_assert!(afresh.is_empty() || afresh == first);
            prop_assert_eq!(kept(&home, kind), MAILS);
            prop_assert_eq!(&client.ok(&all), &first);
            prop_assert_eq!(&ask(&home, &all), &first);
        }
        for (number, mail) in mails.iter().enumerate() {
            client.send(format!("x FETCH {} BODYSTRUCTURE\r\n", number + 1).as_bytes());
            let said = client.take_bytes();
            let structure = described(mail).1;
            let expected = [format!("* {} FETCH (BODYSTRUCTURE ", number + 1).as_bytes(), &structure, b")\r\nx OK FETCH completed\r\n"].concat();
            prop_assert_eq!(said, expected);
        }
    }
}

/// What happens to a folder.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Expunge(usize),
    Flag(usize),
    /// What is asked, and whether by a session that has not heard of the last changes.
    Ask(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => mail().prop_map(Step::Append),
        1 => (1_usize..12).prop_map(Step::Expunge),
        1 => (1_usize..12).prop_map(Step::Flag),
        3 => (0..BY_KEYS.len(), any::<bool>()).prop_map(|(question, late)| Step::Ask(question, late)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn an_index_follows_what_happens_to_its_folder(steps in proptest::collection::vec(step(), 1..30)) {
        let home = Home::simulated(&SimulatedDisk::default());
        filled(&home, &[b"Subject: z\r\n\r\n".to_vec(), b"Subject: y\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n".to_vec()]);
        let (mut asking, mut other, mut changing) = (selected(&home), selected(&home), selected(&home));
        asking.ok("UID SORT (SUBJECT) UTF-8 ALL");
        for step in steps {
            match step {
                Step::Append(mail) => changing.append("INBOX", &mail),
                Step::Expunge(number) => {
                    changing.command(&format!("STORE {number} +FLAGS (\\Deleted)"));
                    changing.ok("EXPUNGE");
                }
                Step::Flag(number) => drop(changing.command(&format!("STORE {number} +FLAGS (\\Flagged)"))),
                Step::Ask(question, late) => {
                    if !late {
                        asking.ok("NOOP");
                        other.ok("NOOP");
                    }
                    let [by_keys, by_flags] = ways(BY_KEYS[question]);
                    // Either may end with news.
                    let is_answer = |line: &String| ["SORT", "THREAD", "SEARCH", "ESEARCH"].iter().any(|name| line.starts_with(&format!("* {name}")));
                    let said = |lines: Vec<String>| tagless(lines).into_iter().filter(is_answer).collect::<Vec<_>>();
                    prop_assert_eq!(said(asking.ok(&by_keys)), said(other.ok(&by_flags)), "{}", by_keys);
                }
            }
        }
    }
}
