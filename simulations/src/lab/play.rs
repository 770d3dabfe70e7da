//! The play: each node is a thread that starts and stops its process and writes its person's mails, and beside it a mail program that watches the inbox.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cast::Planned;
use super::home::{Home, Trouble};
use super::programs::{Sender, Watcher};
use super::setup::{Lab, name};
use super::trace::Trace;

/// How long a thread sleeps without looking whether all is over.
const NAP: Duration = Duration::from_millis(100);
/// A mail program that could not log in tries again so often.
const LOGINS: u32 = 3;

/// One time that a node was on, as it really was; ms since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// It served.
    pub up: u64,
    /// It was told to stop.
    pub down: u64,
    /// It was gone.
    pub gone: u64,
    /// Its person's mail program looked into the inbox.
    pub looked: u64,
}

/// What came of a mail; ms since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// Its node promised to deliver it.
    pub accepted: Option<u64>,
    /// It was in the reader's mailbox.
    pub arrived: Option<u64>,
}

/// What was played.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// When each node was on.
    pub sessions: Vec<Vec<Session>>,
    /// What came of each mail.
    pub fates: Vec<Fate>,
    /// Envelopes that came whole, wherever.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Envelopes that came again.
    pub duplicates: u64,
    /// Mails that somebody's mail program could not send.
    pub unsent: u64,
    /// How long each mail program waited for the promise, in real ms, sorted: what a commit takes while everybody is at work.
    pub promises: Vec<f64>,
}

struct Board {
    begun: Instant,
    over: AtomicBool,
    arrivals: Mutex<BTreeMap<usize, u64>>,
    accepted: Mutex<BTreeMap<usize, u64>>,
    envelopes: AtomicU64,
    bytes: AtomicU64,
    duplicates: AtomicU64,
    unsent: AtomicU64,
    promises: Mutex<Vec<f64>>,
}

impl Board {
    fn at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Waits for a moment; false when all is over before.
    fn wait(&self, until: u64) -> bool {
        let until = self.begun + Duration::from_millis(until);
        loop {
            if self.over.load(Ordering::Relaxed) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// Nobody panics with these locks; and if somebody did, what they hold would be whole.
fn whole<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(map: &Mutex<BTreeMap<usize, u64>>, mail: usize, at: u64) {
    whole(map).entry(mail).or_insert(at);
}

/// The subject of a mail says its number.
fn subject(mail: usize) -> String {
    format!("lab-{mail}")
}

fn number(subject: &str) -> Option<usize> {
    subject.strip_prefix("lab-")?.parse().ok()
}

enum Step {
    On,
    Off,
    Mail(usize),
}

/// Plays the trace and writes the mails. `look` is called several times a second with the time that has passed, in ms.
///
/// # Errors
/// The first [`Trouble`] of a node; the others are stopped then.
pub fn play(lab: &mut Lab, trace: &Trace, mails: &[Planned], mut look: impl FnMut(u64)) -> Result<Played, Trouble> {
    let board = Board {
        begun: Instant::now(),
        over: AtomicBool::new(false),
        arrivals: Mutex::default(),
        accepted: Mutex::default(),
        envelopes: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        duplicates: AtomicU64::new(0),
        unsent: AtomicU64::new(0),
        promises: Mutex::default(),
    };
    let entry = lab.entry.clone();
    let sessions: Result<Vec<Vec<Session>>, Trouble> = std::thread::scope(|scope| {
        let threads: Vec<_> = lab
            .homes
            .iter_mut()
            .enumerate()
            .map(|(node, home)| {
                let (board, entry) = (&board, &entry);
                let steps = steps(node, trace, mails);
                scope.spawn(move || {
                    let outcome = perform(home, steps, mails, entry, board);
                    if outcome.is_err() {
                        board.over.store(true, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            look(board.now());
            std::thread::sleep(NAP);
        }
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    });
    let (accepted, arrived) = (std::mem::take(&mut *whole(&board.accepted)), std::mem::take(&mut *whole(&board.arrivals)));
    let mut promises = std::mem::take(&mut *whole(&board.promises));
    promises.sort_by(f64::total_cmp);
    let fate = |mail: usize| Fate { accepted: accepted.get(&mail).copied(), arrived: arrived.get(&mail).copied() };
    Ok(Played {
        sessions: sessions?,
        fates: (0..mails.len()).map(fate).collect(),
        envelopes: board.envelopes.into_inner(),
        bytes: board.bytes.into_inner(),
        duplicates: board.duplicates.into_inner(),
        unsent: board.unsent.into_inner(),
        promises,
    })
}

/// What a node does, in the order of time.
fn steps(node: usize, trace: &Trace, mails: &[Planned]) -> Vec<(u64, Step)> {
    let mut steps: Vec<(u64, Step)> = Vec::new();
    for (on, off) in trace.sessions.get(node).into_iter().flatten() {
        steps.extend([(*on, Step::On), (*off, Step::Off)]);
    }
    let own = mails.iter().enumerate().filter(|(_, mail)| mail.from as usize == node);
    steps.extend(own.map(|(number, mail)| (mail.at, Step::Mail(number))));
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn perform(
    home: &mut Home,
    steps: Vec<(u64, Step)>,
    mails: &[Planned],
    entry: &[String],
    board: &Board,
) -> Result<Vec<Session>, Trouble> {
    let mut played = Vec::new();
    let mut steps = steps.into_iter();
    let mut seen = 1;
    while let Some((at, step)) = steps.next() {
        if !board.wait(at) {
            break;
        }
        if !matches!(step, Step::On) {
            continue;
        }
        home.start(entry)?;
        let up = board.now();
        let (looked, next) = serve(home, &mut steps, seen, mails, board)?;
        seen = next;
        let down = board.now();
        home.stop()?;
        played.push(Session { up, down, gone: board.now(), looked });
    }
    Ok(played)
}

/// A node is on: its person writes, and watches, until it is told to stop. Gives the moment at which the inbox was first looked into, and how far.
fn serve(
    home: &Home,
    steps: &mut impl Iterator<Item = (u64, Step)>,
    seen: u64,
    mails: &[Planned],
    board: &Board,
) -> Result<(u64, u64), Trouble> {
    let broken = |error: std::io::Error| home.late(format!("a mail program's session: {error}"));
    let mut watcher = retried(|| Watcher::login(home.server("imap"), home.name())).map_err(broken)?;
    watcher.skip_to(seen);
    let handle = watcher.handle().map_err(broken)?;
    let looked = board.now();
    let seen = std::thread::scope(|scope| {
        let watching = scope.spawn(move || {
            watch(&mut watcher, board);
            watcher.next()
        });
        let mut sender: Option<Sender> = None;
        for (at, step) in steps {
            let go_on = board.wait(at);
            match step {
                Step::Mail(number) if go_on => write(home, &mut sender, number, &mails[number], board),
                Step::Off => break,
                _ => {}
            }
        }
        handle.end();
        watching.join().unwrap_or(seen)
    });
    let status = home.status()?;
    let count = |field: &str, of: &AtomicU64| of.fetch_add(status[field].as_u64().unwrap_or(0), Ordering::Relaxed);
    count("received", &board.envelopes);
    count("received_bytes", &board.bytes);
    count("duplicates", &board.duplicates);
    Ok((looked, seen))
}

fn retried<T>(mut attempt: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    for _ in 1..LOGINS {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
    }
    attempt()
}

/// A session that was closed meanwhile is opened again.
fn write(home: &Home, sender: &mut Option<Sender>, number: usize, mail: &Planned, board: &Board) {
    let sent = retried(|| {
        let mut open = match sender.take() {
            Some(open) => open,
            None => Sender::login(home.server("smtp"), home.name())?,
        };
        let begun = Instant::now();
        let moment = open.send(&name(mail.to), &subject(number), mail.bytes)?;
        whole(&board.promises).push((moment - begun).as_secs_f64() * 1000.0);
        *sender = Some(open);
        Ok(moment)
    });
    match sent {
        Ok(moment) => note(&board.accepted, number, board.at(moment)),
        Err(_) => {
            board.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Notes what comes until the session is ended.
fn watch(watcher: &mut Watcher, board: &Board) {
    let mut moment = Instant::now();
    loop {
        let Ok(subjects) = watcher.subjects() else { return };
        for mail in subjects.iter().filter_map(|subject| number(subject)) {
            note(&board.arrivals, mail, board.at(moment));
        }
        match watcher.wait() {
            Ok(news) => moment = news,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_the_number() {
        assert_eq!(number(&subject(17)), Some(17));
        assert_eq!(number("Mail delayed: lab-17"), None);
    }

    #[test]
    fn a_node_does_what_the_trace_and_its_person_say() {
        let trace = Trace { end: 100, sessions: vec![vec![(0, 10), (20, 100)], vec![(0, 100)]] };
        let mail = |from, at| Planned { from, to: 1 - from, at, bytes: 1 };
        let steps = steps(0, &trace, &[mail(0, 5), mail(1, 6), mail(0, 30)]);
        let shown: Vec<_> = steps
            .iter()
            .map(|(at, step)| match step {
                Step::On => (*at, "on", 0),
                Step::Off => (*at, "off", 0),
                Step::Mail(number) => (*at, "mail", *number),
            })
            .collect();
        assert_eq!(shown, [(0, "on", 0), (5, "mail", 0), (10, "off", 0), (20, "on", 0), (30, "mail", 2), (100, "off", 0)]);
    }
}
