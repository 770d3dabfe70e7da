//! One attempt to hand a mail over: a conversation with each host in turn, until every recipient has a fate or the hosts are through.

use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::fate::{Answer, Fate, Trouble, Why};
use super::login::{Kind, Login, NotIn, login};
use super::mail::Mail;
use super::opening::{Opened, Peer, Wish, open};
use super::pool::Key;
use super::session::{RECIPIENTS_MAX, Session};
use super::smarthost::Smarthost;
use crate::secret::Secret;

/// Whom to talk with.
pub(crate) struct Target<'a> {
    /// Its name, for TLS, reports and reuse.
    pub(crate) host: String,
    /// Its addresses, in the order in which they are tried.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) wish: Wish,
    /// Its settings, if it is a smarthost.
    pub(crate) smarthost: Option<&'a Smarthost>,
}

/// What is learned of a next hop while talking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Talk {
    /// A host spoke as it should.
    Well,
    /// None could be reached, or it broke off or refused us for now.
    Badly,
    /// Our credentials were refused.
    NotIn,
}

pub(crate) struct Attempt<'a> {
    shared: &'a Shared,
    mail: &'a Mail,
    fates: Vec<Option<Fate>>,
    deadline: Instant,
    search_deadline: Instant,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(shared: &'a Shared, mail: &'a Mail) -> Attempt<'a> {
        let now = Instant::now();
        let times = &shared.settings.times;
        Attempt {
            shared,
            mail,
            fates: vec![None; mail.recipients.len()],
            deadline: now + times.mail_in_all,
            search_deadline: now + times.search,
        }
    }

    /// Recipients that another host may still take.
    pub(crate) fn open(&self) -> Vec<usize> {
        let open = |fate: &Option<Fate>| matches!(fate, None | Some(Fate::Later(_)));
        self.fates.iter().enumerate().filter(|(_, fate)| open(fate)).map(|(index, _)| index).collect()
    }

    /// Whether nothing at all is known of any recipient.
    pub(crate) fn is_untouched(&self) -> bool {
        self.fates.iter().all(Option::is_none)
    }

    /// Whether there is time for another host.
    pub(crate) fn has_time(&self) -> bool {
        Instant::now() < self.search_deadline
    }

    /// No way to a host, for those that are open. What a host said before is worth more.
    pub(crate) fn later(&mut self, trouble: &Trouble) {
        for index in self.open() {
            self.set(index, Fate::Later(trouble.clone()));
        }
    }

    /// No way at all, for those that are open.
    pub(crate) fn failed(&mut self, trouble: &Trouble) {
        for index in self.open() {
            self.set(index, Fate::Failed(trouble.clone()));
        }
    }

    pub(crate) fn fates(self) -> Vec<Fate> {
        let late = || Fate::Later(Trouble::here(Why::TookTooLong));
        self.fates.into_iter().map(|fate| fate.unwrap_or_else(late)).collect()
    }

    fn set(&mut self, index: usize, fate: Fate) {
        let Some(slot) = self.fates.get_mut(index) else { return };
        let silent = matches!(&fate, Fate::Later(trouble) if trouble.answer.is_none());
        let answered = matches!(slot, Some(Fate::Later(trouble)) if trouble.answer.is_some());
        if !(silent && answered) {
            *slot = Some(fate);
        }
    }

    /// Talks with one host about every recipient that is open, on a connection that waits or a new one.
    pub(crate) async fn talk(&mut self, target: &Target<'_>) -> Talk {
        let times = self.shared.settings.times;
        let key = Key {
            host: target.host.clone(),
            port: target.addresses.first().map_or(0, SocketAddr::port),
            wish: target.wish.clone(),
            smarthost: target.smarthost.cloned(),
        };
        let mut waiting = self.waiting(&key).await;
        loop {
            let reused = waiting.is_some();
            let mut session = match waiting.take() {
                Some(session) => session,
                None => match self.connect(target).await {
                    Ok(session) => session,
                    Err((trouble, talk)) => {
                        self.later(&trouble);
                        return talk;
                    }
                },
            };
            let spoken = self.converse(&mut session, target).await;
            if let Some(answer) = spoken.not_in {
                session.quit(&times).await;
                // A token ends while a connection waits; a new one may do.
                if reused {
                    continue;
                }
                self.later(&Trouble::said(&target.host, Why::Credentials, answer));
                return Talk::NotIn;
            }
            if spoken.usable && session.mails < self.shared.settings.mails_per_connection {
                self.shared.pool.put(key.clone(), session, &times);
            } else if spoken.usable {
                session.quit(&times).await;
            }
            // It had gone while it waited: nothing was said, nothing was lost.
            if reused && spoken.stale {
                continue;
            }
            return if spoken.well { Talk::Well } else { Talk::Badly };
        }
    }

    async fn waiting(&self, key: &Key) -> Option<Session> {
        while let Some(mut session) = self.shared.pool.take(key) {
            if session.reset(&self.shared.settings.times).await {
                return Some(session);
            }
        }
        None
    }

    async fn converse(&mut self, session: &mut Session, target: &Target<'_>) -> Spoken {
        let times = self.shared.settings.times;
        let mut left = self.open();
        let mut first = true;
        while !left.is_empty() {
            let batch: Vec<usize> = left.drain(..left.len().min(RECIPIENTS_MAX)).collect();
            if !first && !session.reset(&times).await {
                self.later_for(&batch, &Trouble::here(Why::Lost(super::fate::Phase::Mail)));
                return Spoken { usable: false, well: false, stale: false, not_in: None };
            }
            first = false;
            let done = session.transact(self.mail, &batch, &times, self.deadline).await;
            if done.not_in.is_some() && target.smarthost.is_some() {
                return Spoken { usable: true, well: false, stale: false, not_in: done.not_in };
            }
            if done.stale {
                return Spoken { usable: false, well: false, stale: true, not_in: None };
            }
            for (index, fate) in done.fates {
                self.set(index, fate);
            }
            if done.over || !done.well {
                return Spoken { usable: !done.over, well: done.well, stale: false, not_in: None };
            }
            // Each round delivers at least one, so that this ends.
            left.extend(done.again);
        }
        Spoken { usable: true, well: true, stale: false, not_in: None }
    }

    fn later_for(&mut self, indices: &[usize], trouble: &Trouble) {
        for index in indices {
            self.set(*index, Fate::Later(trouble.clone()));
        }
    }

    /// A new connection to the first address that talks, logged in if need be.
    async fn connect(&self, target: &Target<'_>) -> Result<Session, (Trouble, Talk)> {
        let secret = match target.smarthost {
            Some(smarthost) => Some(secret_of(smarthost).await.map_err(|why| (Trouble::at(&target.host, why), Talk::Badly))?),
            None => None,
        };
        let opened = self.opened(target).await.map_err(|trouble| (trouble, Talk::Badly))?;
        let mut session = Session::new(opened, &target.host);
        let (Some(Some((secret, kind))), Some(user)) = (secret, target.smarthost.and_then(|smarthost| smarthost.user.as_deref()))
        else {
            return Ok(session);
        };
        let times = &self.shared.settings.times;
        let host = target.host.as_str();
        let mut outcome = login(&mut session, &Login { user, secret: &secret, kind }, times).await;
        // Tokens end; whoever prints them makes a new one when asked again, and one that is refused for good is the same again.
        if let (Err(NotIn::Refused(Some(_))), Kind::Token, Some(smarthost)) = (&outcome, kind, target.smarthost)
            && let Ok(Some((other, kind))) = secret_of(smarthost).await
            && other.text() != secret.text()
        {
            outcome = login(&mut session, &Login { user, secret: &other, kind }, times).await;
        }
        match outcome {
            Ok(()) => Ok(session),
            Err(NotIn::Refused(Some(answer))) => {
                session.quit(times).await;
                Err((Trouble::said(host, Why::Credentials, answer), Talk::NotIn))
            }
            Err(NotIn::Refused(None)) => {
                session.quit(times).await;
                Err((Trouble::at(host, Why::Credentials), Talk::NotIn))
            }
            Err(NotIn::Later(answer)) => {
                session.quit(times).await;
                Err((Trouble::said(host, Why::Refused, answer), Talk::Badly))
            }
            Err(NotIn::Broken(why)) => Err((Trouble::at(host, why), Talk::Badly)),
        }
    }

    async fn opened(&self, target: &Target<'_>) -> Result<Opened, Trouble> {
        let Shared { settings, roots, .. } = self.shared;
        let mut last = Trouble::at(&target.host, Why::Unreachable("it has no address".to_owned()));
        for address in &target.addresses {
            let peer = Peer { address: *address, host: &target.host, hello: &settings.hello };
            let mut wish = &target.wish;
            loop {
                match timeout_at(self.search_deadline, open(&peer, wish, &settings.times, roots)).await {
                    Ok(Ok(opened)) => return Ok(opened),
                    // Who would have taken it in clear takes it in clear: the choice is between a broken lock and none, and none is asked for (RFC 7435).
                    Ok(Err(error)) if error.tls_failed && *wish == Wish::IfOffered => wish = &Wish::Clear,
                    Ok(Err(error)) => {
                        last = error.trouble;
                        break;
                    }
                    Err(_) => return Err(Trouble::at(&target.host, Why::TookTooLong)),
                }
            }
        }
        Err(last)
    }
}

struct Spoken {
    usable: bool,
    well: bool,
    stale: bool,
    /// What was said instead of taking mail from somebody who is not logged in.
    not_in: Option<Answer>,
}

/// The password or token, where there is a login.
async fn secret_of(smarthost: &Smarthost) -> Result<Option<(Secret, Kind)>, Why> {
    let (source, kind) = match (&smarthost.password, &smarthost.token) {
        (Some(source), _) => (source, Kind::Password),
        (None, Some(source)) => (source, Kind::Token),
        (None, None) => return Ok(None),
    };
    source.read().await.map(|secret| Some((secret, kind))).map_err(Why::NoSecret)
}
