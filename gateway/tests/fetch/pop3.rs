//! POP3 with Dovecot: everything comes once, and only what is here is deleted there.

use kith_gateway::fetch::pop3::{Position, Session};
use kith_gateway::fetch::{Account, Afterwards, Begin, FetchError, Protocol, Security};
use kith_gateway::secret::SecretSource;

use crate::dovecot::Dovecot;

fn mail(number: u32) -> String {
    format!("From: a@b.example\nSubject: {number}\n\n.\n..\n.x\n{}\n", "x".repeat(number as usize * 100))
}

/// Fetches at most `most`; ends properly unless `cut`.
async fn fetch(
    account: &Account,
    stored: &mut Position,
    mails: &mut Vec<String>,
    most: usize,
    cut: bool,
) -> Result<(), FetchError> {
    let mut session = Session::connect(account).await?;
    let listing = session.list(stored).await?;
    *stored = listing.position;
    for mail in listing.new.iter().take(most) {
        let mut bytes = Vec::new();
        match session.body(mail, &mut bytes).await {
            Ok(size) => {
                assert_eq!((size, size), (bytes.len() as u64, mail.size));
                mails.push(String::from_utf8(bytes).unwrap());
                *stored = session.after(stored, mail);
                session.settle(mail).await?;
            }
            Err(FetchError::TooLarge { .. }) => *stored = session.past(stored, mail),
            Err(error) => return Err(error),
        }
    }
    if cut { Ok(()) } else { session.quit().await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_once_wherever_it_stops() {
    let Some(dovecot) = Dovecot::start() else { return };
    (0..5).for_each(|number| dovecot.deliver(&mail(number)));
    dovecot.deliver(&format!("Subject: large\n\n{}\n", "y".repeat(2 << 20)));
    let expected: Vec<_> = (0..5).map(|number| mail(number).replace('\n', "\r\n")).collect();
    let account = |security, afterwards| Account { afterwards, ..dovecot.account(Protocol::Pop3, security) };
    for security in [Security::Tls, Security::Starttls, Security::None] {
        let (mut stored, mut mails) = (Position::default(), Vec::new());
        for most in [2, 0, 1, 99, 99] {
            fetch(&account(security, Afterwards::Keep), &mut stored, &mut mails, most, most == 1).await.unwrap();
        }
        assert_eq!((&mails, stored.here.len(), stored.left.len()), (&expected, 5, 1));
    }
    let (mut stored, mut mails) = (Position::default(), Vec::new());
    let deleting = account(Security::Tls, Afterwards::Delete);
    // The connection breaks before QUIT: nothing is deleted there, and nothing comes again.
    fetch(&deleting, &mut stored, &mut mails, 3, true).await.unwrap();
    assert_eq!(dovecot.files("").len(), 6);
    for _ in 0..2 {
        fetch(&deleting, &mut stored, &mut mails, 99, false).await.unwrap();
    }
    assert_eq!((&mails, dovecot.files("").len()), (&expected, 1), "the one that is too large stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_left_alone_even_where_mails_are_deleted() {
    let Some(dovecot) = Dovecot::start() else { return };
    (0..3).for_each(|number| dovecot.deliver(&mail(number)));
    let base = dovecot.account(Protocol::Pop3, Security::Tls);
    let account = Account { begin: Begin::New, afterwards: Afterwards::Delete, ..base };
    let (mut stored, mut mails) = (Position::default(), Vec::new());
    fetch(&account, &mut stored, &mut mails, 99, false).await.unwrap();
    dovecot.deliver(&mail(7));
    for _ in 0..3 {
        fetch(&account, &mut stored, &mut mails, 99, false).await.unwrap();
    }
    assert_eq!((mails.len(), dovecot.files("").len()), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_by_its_type() {
    let Some(dovecot) = Dovecot::start() else { return };
    let secret = SecretSource::Command(["echo", "guess"].map(str::to_owned).to_vec());
    let account = Account { secret, ..dovecot.account(Protocol::Pop3, Security::Tls) };
    let failed = Session::connect(&account).await.unwrap_err();
    assert!(matches!(failed, FetchError::Credentials { .. }), "{failed:?}");
}
