//! What the caller keeps: mails and positions, committed together; and one round of fetching over it, in the order in which nothing is lost or doubled.

use std::io::Write;

use super::{FetchError, imap, pop3};

/// The caller's side of a round. Its calls may block: rounds belong on a thread that may.
pub trait Keeper<P>: Send {
    /// Where a mail's bytes go.
    type Sink: Write + Send;

    /// Begins a mail.
    ///
    /// # Errors
    /// The disk.
    fn begin(&mut self) -> Result<Self::Sink, FetchError>;

    /// Commits a mail, if there is one, and the position, in one transaction; returns when both are durable.
    ///
    /// # Errors
    /// Nothing of it was kept.
    fn commit(&mut self, mail: Option<Self::Sink>, position: &P) -> Result<(), FetchError>;

    /// A mail of so many bytes is too large and is passed over: tell the person.
    fn passed_over(&mut self, bytes: u64);
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Mails that are here now.
    pub fetched: u32,
    /// Mails that were too large.
    pub passed_over: u32,
    /// The folder was numbered anew: what is here already came again.
    pub renumbered: bool,
}

/// Fetches what is new in a folder, and settles it there. `stored` is what the keeper committed last.
///
/// # Errors
/// As [`imap::Session`]'s; what was committed until then is safe, and the next round goes on behind it. After an error the session is of no use.
pub async fn imap_round<K: Keeper<imap::Position>>(
    session: &mut imap::Session,
    folder: &str,
    stored: Option<&imap::Position>,
    keeper: &mut K,
) -> Result<Tally, FetchError> {
    let opened = session.open(folder, stored).await?;
    let mut position = opened.position;
    let mut tally = Tally { renumbered: opened.renumbered, ..Tally::default() };
    let mut kept = stored.cloned();
    loop {
        let listed = session.list(&position).await?;
        if listed.is_empty() {
            break;
        }
        for mail in listed {
            let mut sink = keeper.begin()?;
            match session.body(&mail, &mut sink).await {
                Ok(Some(_)) => {
                    position = session.after(&position, &mail);
                    keeper.commit(Some(sink), &position)?;
                    kept = Some(position.clone());
                    tally.fetched += 1;
                    session.settle(&mut position).await?;
                }
                // Gone meanwhile.
                Ok(None) => position = session.past(&position, &mail),
                Err(FetchError::TooLarge { size }) => {
                    position = session.past(&position, &mail);
                    keeper.passed_over(size);
                    keeper.commit(None, &position)?;
                    kept = Some(position.clone());
                    tally.passed_over += 1;
                    if mail.size != size {
                        // The server had said otherwise, and is in the middle of it.
                        return Err(FetchError::TooLarge { size });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    if kept.as_ref() != Some(&position) {
        keeper.commit(None, &position)?;
    }
    Ok(tally)
}

/// Fetches what is new in a mailbox, settles it there, and ends the session.
///
/// # Errors
/// As [`pop3::Session`]'s; what was committed until then is safe, and the next round goes on behind it.
pub async fn pop3_round<K: Keeper<pop3::Position>>(
    mut session: pop3::Session,
    stored: &pop3::Position,
    keeper: &mut K,
) -> Result<Tally, FetchError> {
    let listing = session.list(stored).await?;
    let mut position = listing.position;
    let mut tally = Tally::default();
    if position != *stored {
        keeper.commit(None, &position)?;
    }
    for mail in listing.new {
        let mut sink = keeper.begin()?;
        match session.body(&mail, &mut sink).await {
            Ok(_) => {
                position = session.after(&position, &mail);
                keeper.commit(Some(sink), &position)?;
                tally.fetched += 1;
                session.settle(&mail).await?;
            }
            Err(FetchError::TooLarge { size }) => {
                position = session.past(&position, &mail);
                keeper.passed_over(size);
                keeper.commit(None, &position)?;
                tally.passed_over += 1;
                if mail.size != size {
                    return Err(FetchError::TooLarge { size });
                }
            }
            Err(error) => return Err(error),
        }
    }
    session.quit().await?;
    Ok(tally)
}
