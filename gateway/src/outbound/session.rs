//! Mails on one open connection: MAIL, RCPT, DATA and the text, by lettre's connection, with a fate for each recipient.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Data;
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter, RcptParameter};
use tokio::time::{Instant, timeout};

use super::content::Needs;
use super::fate::{Answer, Fate, Phase, Protection, Reports, Trouble, Why};
use super::heard::{heard, too_many};
use super::mail::{Mail, Returned};
use super::offer::Offer;
use super::opening::Opened;
use super::times::Times;
use super::wire::Gauge;

/// Recipients of one transaction: what every host takes (RFC 5321 §4.5.3.1.8).
pub(crate) const RECIPIENTS_MAX: usize = 100;
/// How long a connection is taken to be there without asking.
const FRESH: Duration = Duration::from_secs(1);
/// How long a host's last words are listened for when it broke off.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A connection that mails can be sent on, one after the other.
pub(crate) struct Session {
    connection: AsyncSmtpConnection,
    gauge: Gauge,
    offer: Offer,
    protection: Protection,
    host: String,
    /// Transactions that it has seen.
    pub(crate) mails: u32,
    /// When the last one ended with an answer to its text, so that nothing of it is left at the host.
    ended: Option<Instant>,
}

/// How a transaction ended.
pub(crate) struct Transaction {
    /// By index of the mail's recipients.
    pub(crate) fates: Vec<(usize, Fate)>,
    /// Recipients that the host wants in another transaction; only beside ones that it took.
    pub(crate) again: Vec<usize>,
    /// Whether the connection is of no further use.
    pub(crate) over: bool,
    /// Whether the host spoke as it should, whatever it said of recipients.
    pub(crate) well: bool,
    /// Whether it was found closed, after earlier mails, before anything of this one was taken.
    pub(crate) stale: bool,
    /// The answer to MAIL, where it asks for a login (RFC 4954 §6).
    pub(crate) not_in: Option<Answer>,
}

impl Session {
    pub(crate) fn new(opened: Opened, host: &str) -> Session {
        let Opened { connection, gauge, offer, protection } = opened;
        Session { connection, gauge, offer, protection, host: host.to_owned(), mails: 0, ended: None }
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Says a line and hears the answer.
    ///
    /// # Errors
    /// When the connection is of no further use.
    pub(crate) async fn say(&mut self, line: impl std::fmt::Display, time: Duration, phase: Phase) -> Result<Answer, Why> {
        heard(timeout(time, self.connection.command(line)).await, phase)
    }

    /// Whether it can take another mail: right after one that ended well, or once RSET (RFC 5321 §4.1.1.5) is answered.
    pub(crate) async fn reset(&mut self, times: &Times) -> bool {
        if self.ended.take().is_some_and(|ended| ended.elapsed() < FRESH) {
            return true;
        }
        self.say("RSET\r\n", times.mail, Phase::Mail).await.is_ok_and(|answer| answer.is_positive())
    }

    /// Says goodbye, without waiting long for an answer.
    pub(crate) async fn quit(mut self, times: &Times) {
        let _ = timeout(times.quit, self.connection.quit()).await;
    }

    /// Sends a mail to those of its recipients whose indices are `wanted`, at most [`RECIPIENTS_MAX`], until `deadline`.
    pub(crate) async fn transact(&mut self, mail: &Mail, wanted: &[usize], times: &Times, deadline: Instant) -> Transaction {
        let mut run = Run {
            session: self,
            mail,
            times,
            deadline,
            done: Transaction { fates: Vec::new(), again: Vec::new(), over: false, well: true, stale: false, not_in: None },
        };
        run.all(wanted).await;
        run.done
    }
}

struct Run<'a> {
    session: &'a mut Session,
    mail: &'a Mail,
    times: &'a Times,
    deadline: Instant,
    done: Transaction,
}

impl Run<'_> {
    async fn all(&mut self, wanted: &[usize]) {
        let sayable = self.what_the_host_can_take(wanted);
        if sayable.is_empty() {
            return;
        }
        let reused = self.session.mails > 0;
        self.session.mails += 1;
        let accepted = match self.envelope(&sayable).await {
            Ok(accepted) => accepted,
            Err((why, rest)) => {
                self.done.stale = reused && matches!(why, Why::Lost(Phase::Mail));
                return self.broken(&why, &rest);
            }
        };
        if accepted.is_empty() {
            return;
        }
        match self.say(Data, self.times.data, Phase::Data).await {
            Ok(answer) if answer.code == 354 => self.text(&accepted).await,
            Ok(answer) if answer.code >= 400 => self.answered(&accepted, &answer),
            Ok(_) => self.broken(&Why::Nonsense(Phase::Data), &accepted),
            Err(why) => self.broken(&why, &accepted),
        }
    }

    /// Which recipients can be tried: what the host does not offer is known before a word is said.
    fn what_the_host_can_take(&mut self, wanted: &[usize]) -> Vec<usize> {
        let offer = &self.session.offer;
        let content = &self.mail.content;
        let bytes = content.bytes().len() as u64;
        let sender_needs_utf8 = self.mail.sender.as_ref().is_some_and(|sender| sender.needs_utf8());
        let whole = match (offer.size_most(), content.needs()) {
            (Some(most), _) if bytes > most => Some(Why::TooLarge { bytes, most }),
            (_, Needs::Utf8) if !offer.utf8 => Some(Why::NoUtf8),
            (_, Needs::EightBit) if !offer.eight_bit => Some(Why::No8Bit),
            (_, _) if sender_needs_utf8 && !offer.utf8 => Some(Why::NoUtf8),
            _ => None,
        };
        let mut sayable = Vec::with_capacity(wanted.len());
        for index in wanted {
            let Some(recipient) = self.mail.recipients.get(*index) else { continue };
            let why = whole.clone().or_else(|| (recipient.address.needs_utf8() && !offer.utf8).then_some(Why::NoUtf8));
            match why {
                Some(why) => self.done.fates.push((*index, Fate::Failed(Trouble::at(&self.session.host, why)))),
                None => sayable.push(*index),
            }
        }
        sayable
    }

    /// MAIL and the RCPTs, in one go where the host allows it; gives the accepted ones. The error has those whose fate is open.
    async fn envelope(&mut self, wanted: &[usize]) -> Result<Vec<usize>, (Why, Vec<usize>)> {
        let first = self.mail_line(wanted);
        let lines: Vec<String> = wanted.iter().map(|index| self.recipient_line(*index)).collect();
        let pipelining = self.session.offer.pipelining;
        let fail = |why| (why, wanted.to_vec());
        let answer = if pipelining {
            self.say(first + &lines.concat(), self.times.mail, Phase::Mail).await.map_err(fail)?
        } else {
            self.say(first, self.times.mail, Phase::Mail).await.map_err(fail)?
        };
        if !answer.is_positive() {
            // Closed for idleness, as its own words say.
            self.done.stale = answer.code == 421 && self.session.mails > 1;
            self.answered(wanted, &answer);
            if matches!(answer.code, 530 | 535 | 538) {
                self.done.well = false;
                self.done.not_in = Some(answer);
            }
            if pipelining {
                // The answers to what was said along with it; without them the next mail would hear them.
                for _ in wanted {
                    if self.hear(self.times.recipient, Phase::Recipients).await.is_err() {
                        self.done.over = true;
                        break;
                    }
                }
            }
            return Ok(Vec::new());
        }
        let mut accepted = Vec::new();
        for (at, (index, line)) in wanted.iter().zip(lines).enumerate() {
            let answer = if pipelining {
                self.hear(self.times.recipient, Phase::Recipients).await
            } else {
                self.say(line, self.times.recipient, Phase::Recipients).await
            };
            match answer {
                Ok(answer) if answer.is_positive() => accepted.push(*index),
                Ok(answer) if too_many(&answer) && !accepted.is_empty() => self.done.again.push(*index),
                Ok(answer) => self.decided(*index, &answer),
                Err(why) => {
                    let open = wanted.get(at..).unwrap_or_default();
                    return Err((why, accepted.iter().chain(open).copied().collect()));
                }
            }
        }
        Ok(accepted)
    }

    fn mail_line(&self, wanted: &[usize]) -> String {
        let (offer, mail) = (&self.session.offer, self.mail);
        let mut parameters = Vec::new();
        if offer.size.is_some() {
            parameters.push(MailParameter::Size(mail.content.bytes().len()));
        }
        if mail.content.needs() != Needs::Nothing && offer.eight_bit {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let recipients_need_utf8 =
            || wanted.iter().filter_map(|index| mail.recipients.get(*index)).any(|recipient| recipient.address.needs_utf8());
        let utf8 = mail.content.needs() == Needs::Utf8
            || mail.sender.as_ref().is_some_and(|sender| sender.needs_utf8())
            || recipients_need_utf8();
        if utf8 {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if offer.dsn {
            let other =
                |keyword: &str, value: &str| MailParameter::Other { keyword: keyword.to_owned(), value: Some(value.to_owned()) };
            parameters.extend(mail.returned.map(|returned| match returned {
                Returned::Header => other("RET", "HDRS"),
                Returned::Full => other("RET", "FULL"),
            }));
            parameters.extend(mail.sayable_envelope_id().map(|id| other("ENVID", id)));
        }
        let sender = mail.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        line(&format!("MAIL FROM:<{sender}>"), &parameters)
    }

    fn recipient_line(&self, index: usize) -> String {
        let Some(recipient) = self.mail.recipients.get(index) else { return String::new() };
        let mut parameters = Vec::new();
        if self.session.offer.dsn {
            let other = |keyword: &str, value: String| RcptParameter::Other { keyword: keyword.to_owned(), value: Some(value) };
            parameters.extend(recipient.notify.map(|notify| other("NOTIFY", notify.value())));
            parameters.extend(recipient.sayable_original().map(|original| other("ORCPT", original.to_owned())));
        }
        line(&format!("RCPT TO:<{}>", recipient.address), &parameters)
    }

    /// The text, its last dot, and the answer that decides.
    async fn text(&mut self, accepted: &[usize]) {
        let pieces = Arc::new(AtomicU64::new(0));
        let gauge = self.session.gauge.clone();
        let result = {
            let counted = self.mail.content.pieces().inspect(|_| {
                pieces.fetch_add(1, Ordering::Relaxed);
            });
            let mut sending = pin!(self.session.connection.message_iter(counted));
            let tick = (self.times.piece.min(self.times.end) / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
            let (mut since, mut seen, mut waited) = (Instant::now(), 0, false);
            loop {
                match timeout(tick, &mut sending).await {
                    Ok(result) => break Ok(result),
                    Err(elapsed) => {
                        let (now, waits) = (pieces.load(Ordering::Relaxed), gauge.waits_for_answer());
                        if now != seen || waits != waited {
                            (since, seen, waited) = (Instant::now(), now, waits);
                        }
                        let most = if waits { self.times.end } else { self.times.piece };
                        // Once all is said the answer is worth its full time: without it the mail may come twice.
                        if since.elapsed() >= most || (!waits && Instant::now() >= self.deadline) {
                            break Err(elapsed);
                        }
                    }
                }
            }
        };
        let all_said = gauge.waits_for_answer();
        match heard(result, if all_said { Phase::End } else { Phase::Text }) {
            Ok(answer) if answer.code / 100 == 3 => self.broken(&Why::Nonsense(Phase::End), accepted),
            Ok(answer) => {
                self.session.ended = Some(Instant::now());
                self.answered(accepted, &answer);
            }
            Err(_) if all_said => {
                self.done.over = true;
                self.done.well = false;
                let host = &self.session.host;
                self.done.fates.extend(accepted.iter().map(|index| (*index, Fate::Unknown { host: host.clone() })));
            }
            Err(why) => match self.hear(LAST_WORDS, Phase::Text).await {
                Ok(answer) if answer.code >= 400 => {
                    self.done.over = true;
                    self.answered(accepted, &answer);
                }
                Ok(_) | Err(_) => self.broken(&why, accepted),
            },
        }
    }

    /// The same answer for all of these.
    fn answered(&mut self, indices: &[usize], answer: &Answer) {
        for index in indices {
            self.decided(*index, answer);
        }
        if answer.is_temporary() {
            self.done.well = false;
        }
    }

    /// What an answer means for one recipient.
    fn decided(&mut self, index: usize, answer: &Answer) {
        let session = &*self.session;
        let trouble = || Trouble::said(&session.host, Why::Refused, answer.clone());
        let fate = match answer.code / 100 {
            2 => Fate::Delivered {
                host: session.host.clone(),
                answer: answer.clone(),
                reports: if session.offer.dsn { Reports::PassedOn } else { Reports::NotOffered },
                protection: session.protection,
            },
            // RFC 5321 §4.5.3.1.10: too many recipients is never for good.
            5 if !too_many(answer) => Fate::Failed(trouble()),
            _ => Fate::Later(trouble()),
        };
        self.done.fates.push((index, fate));
        if answer.code == 421 {
            self.done.over = true;
            self.done.well = false;
        }
    }

    /// The connection is of no further use, and these have heard nothing final.
    fn broken(&mut self, why: &Why, indices: &[usize]) {
        self.done.over = true;
        self.done.well = false;
        let later = |index: &usize| (*index, Fate::Later(Trouble::at(&self.session.host, why.clone())));
        self.done.fates.extend(indices.iter().map(later));
    }

    async fn say(&mut self, line: impl std::fmt::Display, time: Duration, phase: Phase) -> Result<Answer, Why> {
        let time = self.left(time)?;
        self.session.say(line, time, phase).await
    }

    async fn hear(&mut self, time: Duration, phase: Phase) -> Result<Answer, Why> {
        let time = self.left(time)?;
        heard(timeout(time, self.session.connection.read_response()).await, phase)
    }

    fn left(&self, time: Duration) -> Result<Duration, Why> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Why::TookTooLong) } else { Ok(time.min(left)) }
    }
}

fn line(command: &str, parameters: &[impl std::fmt::Display]) -> String {
    let mut line = command.to_owned();
    for parameter in parameters {
        line.push(' ');
        line.push_str(&parameter.to_string());
    }
    line.push_str("\r\n");
    line
}
