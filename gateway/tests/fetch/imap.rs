//! IMAP with Dovecot: everything comes once, wherever it stops; and news are heard at once.

use std::time::{Duration, Instant};

use kith_gateway::fetch::imap::{Listed, Position, Session, Woken};
use kith_gateway::fetch::{Account, Afterwards, Begin, FetchError, Protocol, Security};
use kith_gateway::secret::SecretSource;

use crate::dovecot::Dovecot;

fn account(dovecot: &Dovecot, afterwards: Afterwards) -> Account {
    Account { afterwards, ..dovecot.account(Protocol::Imap, Security::Tls) }
}

/// Fetches what is new; every mail is "committed" with its position into `store`.
async fn fetch(account: &Account, store: &mut Store, stop_after: usize) -> Result<(), FetchError> {
    let mut session = Session::connect(account).await?;
    let opened = session.open("INBOX", store.position.as_ref()).await?;
    let mut position = opened.position;
    for (count, mail) in session.list(&position).await?.into_iter().enumerate() {
        if count == stop_after {
            // As when the power fails before anything is settled.
            return Ok(());
        }
        let mut bytes = Vec::new();
        match session.body(&mail, &mut bytes).await {
            Ok(Some(size)) => {
                assert_eq!((size, size), (bytes.len() as u64, mail.size));
                position = session.after(&position, &mail);
                store.commit(Some(bytes), &position);
            }
            Ok(None) => {}
            Err(FetchError::TooLarge { .. }) => {
                position = session.past(&position, &mail);
                store.commit(None, &position);
            }
            Err(error) => return Err(error),
        }
        if count + 1 < stop_after {
            session.settle(&mut position).await?;
            store.position = Some(position.clone());
        }
    }
    session.log_out().await;
    Ok(())
}

#[derive(Default)]
struct Store {
    mails: Vec<String>,
    position: Option<Position>,
}

impl Store {
    fn commit(&mut self, mail: Option<Vec<u8>>, position: &Position) {
        self.mails.extend(mail.map(|mail| String::from_utf8(mail).unwrap()));
        self.position = Some(position.clone());
    }
}

fn mail(number: u32) -> String {
    format!("From: a@b.example\nSubject: {number}\n\n.\n..\nFrom here\n{}", "x".repeat(number as usize * 100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_once_wherever_it_stops() {
    let Some(dovecot) = Dovecot::start() else { return };
    (0..7).for_each(|number| dovecot.deliver(&mail(number)));
    for afterwards in [Afterwards::Keep, Afterwards::Seen] {
        let account = account(&dovecot, afterwards);
        let mut store = Store::default();
        for stop in [0, 2, 1, 3, 99, 99] {
            fetch(&account, &mut store, stop).await.unwrap();
        }
        let expected: Vec<_> = (0..7).map(|number| mail(number).replace('\n', "\r\n")).collect();
        assert_eq!(store.mails, expected);
        assert!(store.position.unwrap().owed.is_empty());
    }
    assert_eq!(dovecot.files("").iter().filter(|name| name.contains(":2,") && name.ends_with('S')).count(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_or_moved_there_is_here_and_nothing_else_goes() {
    let Some(dovecot) = Dovecot::start() else { return };
    (0..3).for_each(|number| dovecot.deliver(&mail(number)));
    dovecot.deliver(&format!("Subject: large\n\n{}", "y".repeat(2 << 20)));
    let mut store = Store::default();
    let deleting = account(&dovecot, Afterwards::Delete);
    // Stops before the last one is settled: it is owed.
    fetch(&deleting, &mut store, 2).await.unwrap();
    assert_eq!((store.mails.len(), store.position.as_ref().unwrap().owed.len(), dovecot.files("").len()), (2, 1, 3));
    fetch(&deleting, &mut store, 99).await.unwrap();
    assert_eq!((store.mails.len(), dovecot.files("").len()), (3, 1), "the one that is too large stays");
    dovecot.deliver(&mail(9));
    let moving = account(&dovecot, Afterwards::Move("Entw\u{fc}rfe & Co".to_owned()));
    let refused = fetch(&moving, &mut store, 99).await;
    assert!(matches!(refused, Err(FetchError::Refused { .. })), "the folder is not there: {refused:?}");
    assert_eq!((store.mails.len(), store.position.as_ref().unwrap().owed.len()), (4, 1));
    dovecot.make(".Entw&APw-rfe &- Co");
    fetch(&moving, &mut store, 99).await.unwrap();
    assert_eq!((store.mails.len(), dovecot.files("").len(), dovecot.files(".Entw&APw-rfe &- Co").len()), (4, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_numbered_anew_says_so_and_a_beginning_from_now_on_skips_what_is_there() {
    let Some(dovecot) = Dovecot::start() else { return };
    (0..3).for_each(|number| dovecot.deliver(&mail(number)));
    let from_now_on = Account { begin: Begin::New, ..account(&dovecot, Afterwards::Keep) };
    let mut session = Session::connect(&from_now_on).await.unwrap();
    let opened = session.open("INBOX", None).await.unwrap();
    assert!(session.list(&opened.position).await.unwrap().is_empty() && !opened.renumbered);
    dovecot.deliver(&mail(3));
    session.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(session.list(&opened.position).await.unwrap().len(), 1);
    let other = Position { uid_validity: opened.position.uid_validity.wrapping_add(1), ..opened.position.clone() };
    let again = session.open("INBOX", Some(&other)).await.unwrap();
    assert!(again.renumbered);
    assert_eq!(session.list(&again.position).await.unwrap().len(), 4, "what was numbered anew is fetched whole");
    let gone = Listed { uid: 4_000_000, size: 5, seen: false };
    assert_eq!(session.body(&gone, &mut Vec::new()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_mail_wakes_at_once_and_silence_ends_in_time() {
    let Some(dovecot) = Dovecot::start() else { return };
    dovecot.deliver(&mail(1));
    let mut session = Session::connect(&account(&dovecot, Afterwards::Keep)).await.unwrap();
    assert!(session.can("IDLE"));
    session.open("INBOX", None).await.unwrap();
    assert_eq!(session.wait(Duration::from_secs(1)).await.unwrap(), Woken::TimedOut);
    let start = Instant::now();
    let (woken, ()) = tokio::join!(session.wait(Duration::from_secs(30)), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        dovecot.deliver(&mail(2));
    });
    assert_eq!(woken.unwrap(), Woken::News);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    session.log_out().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_by_its_type() {
    let Some(dovecot) = Dovecot::start() else { return };
    let right = account(&dovecot, Afterwards::Keep);
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "guess\n").unwrap();
    let guess = Account { secret: SecretSource::File(wrong.path().to_owned()), ..right.clone() };
    let failed = Session::connect(&guess).await.unwrap_err();
    assert!(matches!(failed, FetchError::Credentials { .. }), "{failed:?}");
    assert!(!format!("{failed} {failed:?}").contains("guess"));
    let by_command = SecretSource::Command(["sh", "-c", "echo secret"].map(str::to_owned).to_vec());
    Session::connect(&Account { secret: by_command, ..right.clone() }).await.unwrap();
    let broken = SecretSource::Command(["sh", "-c", "echo secret; exit 3"].map(str::to_owned).to_vec());
    assert!(matches!(Session::connect(&Account { secret: broken, ..right.clone() }).await, Err(FetchError::Secret(_))));
    let stranger = Account { authority: None, ..right.clone() };
    assert!(matches!(Session::connect(&stranger).await, Err(FetchError::Tls { .. })));
    let starttls = Account { afterwards: Afterwards::Keep, ..dovecot.account(Protocol::Imap, Security::Starttls) };
    let mut session = Session::connect(&starttls).await.unwrap();
    assert!(matches!(session.open("Nowhere", None).await, Err(FetchError::Refused { .. })));
    Session::connect(&dovecot.account(Protocol::Imap, Security::None)).await.unwrap();
    let closed = Account { port: Some(1), ..right };
    assert!(matches!(Session::connect(&closed).await, Err(FetchError::Unreachable { .. })));
}
