//! NOTIFY (RFC 5465): what others do is told when they do it, outside of any command.

use kith_store::disk::SimulatedDisk;

use crate::client::Client;
use crate::home::Home;

fn lines(client: &mut Client<'_>) -> Vec<String> {
    client.run();
    client.take().split_terminator("\r\n").map(str::to_owned).collect()
}

#[test]
fn other_folders_are_told_of_as_they_change() {
    let home = Home::simulated(&SimulatedDisk::default());
    let (mut watching, mut other) = (Client::new(&home), Client::new(&home));
    other.append("Archive", b"a: b\r\n\r\n");
    let said = watching.ok("NOTIFY SET STATUS (mailboxes (Archive Junk) (MessageNew MessageExpunge FlagChange)) (personal (MailboxName SubscriptionChange))");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("* STATUS \"Archive\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ") && said[0].ends_with(" UNSEEN 1)"));
    other.append("Archive", b"a: b\r\n\r\n");
    assert!(lines(&mut watching)[0].starts_with("* STATUS \"Archive\" (MESSAGES 2 UIDNEXT 3 "));
    other.append("Drafts", b"a: b\r\n\r\n");
    assert_eq!(lines(&mut watching), Vec::<String>::new(), "nobody asked for messages there");
    other.ok("SELECT Archive");
    other.ok("STORE 1 +FLAGS (\\Seen)");
    assert!(lines(&mut watching)[0].ends_with("UNSEEN 1)"));
    other.ok("STORE 2 +FLAGS (\\Deleted)");
    assert_eq!(lines(&mut watching).len(), 1);
    other.ok("EXPUNGE");
    assert!(lines(&mut watching)[0].contains("MESSAGES 1 "));
    other.ok("CREATE New");
    assert_eq!(lines(&mut watching), ["* LIST () \"/\" \"New\""]);
    other.ok("RENAME New Other");
    assert_eq!(lines(&mut watching), ["* LIST () \"/\" \"Other\" (\"OLDNAME\" (\"New\"))"]);
    other.ok("SUBSCRIBE Other");
    assert_eq!(lines(&mut watching), ["* LIST (\\Subscribed) \"/\" \"Other\""]);
    other.ok("UNSUBSCRIBE Other");
    assert_eq!(lines(&mut watching), ["* LIST () \"/\" \"Other\""]);
    other.ok("DELETE Other");
    assert_eq!(lines(&mut watching), ["* LIST (\\NonExistent) \"/\" \"Other\""]);
    for own in ["CREATE Own/Deep", "SUBSCRIBE Own", "RENAME Own Mine", "UNSUBSCRIBE Own", "DELETE Mine/Deep"] {
        assert_eq!(watching.ok(own), Vec::<String>::new(), "{own} is known to who does it");
    }
    watching.ok("NOTIFY NONE");
    other.append("Archive", b"a: b\r\n\r\n");
    assert_eq!(lines(&mut watching), Vec::<String>::new());
}

#[test]
fn the_selected_folder_is_told_of_at_once_with_what_is_wanted_of_new_mail() {
    let home = Home::simulated(&SimulatedDisk::default());
    let (mut watching, mut other) = (Client::new(&home), Client::new(&home));
    watching.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    watching
        .ok("NOTIFY SET (selected (MessageNew (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange))");
    other.append("INBOX", b"Subject: new\r\n\r\n");
    let said = lines(&mut watching);
    assert_eq!(
        said,
        [
            "* 1 EXISTS",
            "* 0 RECENT",
            "* 1 FETCH (UID 1 RFC822.SIZE 16 BODY[HEADER.FIELDS (SUBJECT)] {16}",
            "Subject: new",
            "",
            ")"
        ]
    );
    other.ok("NOOP");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(lines(&mut watching), ["* 1 FETCH (UID 1 FLAGS (\\Deleted))"]);
    other.ok("EXPUNGE");
    assert_eq!(lines(&mut watching), ["* 1 EXPUNGE"]);
    // In the middle of a command nothing is said.
    watching.send(b"x FETCH 1 {5}\r\n");
    watching.take();
    other.append("INBOX", b"Subject: later\r\n\r\n");
    assert_eq!(lines(&mut watching), Vec::<String>::new());
    watching.send(b"FLAGS\r\n");
    let said = watching.take();
    assert!(said.contains("x BAD"), "{said}");
    assert!(said.contains("* 1 EXISTS") && said.contains("UID 2 "), "{said}");
}

#[test]
fn numbers_stay_until_the_next_command_where_that_is_wanted() {
    let home = Home::simulated(&SimulatedDisk::default());
    let (mut watching, mut other) = (Client::new(&home), Client::new(&home));
    other.append("INBOX", b"a: b\r\n\r\n");
    watching.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    watching
        .ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge)) (subtree (Work) (MailboxName MessageNew MessageExpunge))");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(lines(&mut watching), Vec::<String>::new(), "flags are not asked for");
    other.ok("EXPUNGE");
    other.append("INBOX", b"a: c\r\n\r\n");
    assert_eq!(lines(&mut watching), ["* 2 EXISTS", "* 1 RECENT"]);
    other.ok("CREATE Work/Deep");
    assert_eq!(lines(&mut watching), ["* LIST () \"/\" \"Work\"", "* LIST () \"/\" \"Work/Deep\""]);
    let said = watching.ok("NOOP");
    assert!(said.contains(&"* 1 EXPUNGE".to_owned()), "{said:?}");
}

#[test]
fn what_cannot_be_watched_is_said() {
    let home = Home::simulated(&SimulatedDisk::default());
    let mut client = Client::new(&home);
    assert!(
        client
            .command("NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))")
            .1
            .starts_with("NO [BADEVENT (MessageNew ")
    );
    for command in [
        "NOTIFY SET (personal (MessageNew))",
        "NOTIFY SET (personal (FlagChange))",
        "NOTIFY SET (personal ())",
        "NOTIFY SET (personal (MessageNew (UID) MessageExpunge))",
        "NOTIFY SET (selected (MailboxName))",
        "NOTIFY SET (selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))",
        "NOTIFY SET (mailboxes () (MessageNew MessageExpunge))",
        "NOTIFY SET",
        "NOTIFY ALL",
    ] {
        assert!(client.command(command).1.starts_with("BAD"), "{command}");
    }
    client.ok("NOTIFY SET (selected NONE) (inboxes (MessageNew MessageExpunge)) (subscribed NONE)");
}
