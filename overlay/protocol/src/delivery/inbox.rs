//! The recipient's side: from an offer to a filed mail, exactly once.
//!
//! ```text
//! offer ─ Send ─ body ─ Open ─ Commit[File] ─ Have
//! ```
//!
//! *Have* is said after the commit and never before. An envelope that opens to nothing gets *Have* too: who sent it learns nothing. A mail that
//! comes again, in the same envelope or sealed anew, is answered with *Have* and, once in a while, with one more receipt.

use std::collections::VecDeque;

use crate::address::Address;
use crate::card::Strangers;
use crate::envelope;
use crate::event::{
    Answer, CardInfo, Counter, Effect, LaterReason, Letter, LetterKind, Mono, OpenProblem, OwnAccount, RefusedReason, Ticket,
    Write,
};
use crate::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, PeerId, QueueName, Token};
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::small::{SmallMap, SmallSet};

use super::context::Context;
use super::outbox::Outbox;

/// Envelopes remembered as dealt with.
const RECENT_MAX: usize = 4096;
/// Peers whose offences are remembered.
const STRIKES_PEERS_MAX: usize = 1024;
/// Offences after which a peer is dropped.
const STRIKES_MAX: u32 = 64;
/// What an envelope that opens to nothing, or an impossible size, weighs; an unknown queue may be an old card and weighs 1.
const STRIKE_HEAVY: u32 = 4;
/// Offences halve in this time, in ms.
const STRIKES_HALVE_MS: u64 = 60 * 60 * 1000;
/// What a busy node asks for, in s.
const BUSY_S: u32 = 10;
/// What a node asks for while the same letter comes from elsewhere, in s.
const IN_PROGRESS_S: u32 = 10;
/// What a full node asks for, in s.
const FULL_S: u32 = 60;
/// After its disk failed a node takes no bodies for so long, in ms; then the next one is the trial.
const FULL_WAIT_MS: u64 = 60 * 1000;

/// An offer of what comes from elsewhere at this moment waits so long for what becomes of that, in ms: most are taken in less, and then it needs no
/// second one.
const PATIENCE_MS: u64 = 20 * 1000;
/// Offers that wait so, at most.
const PATIENT_MAX: usize = 64;

/// Who may write without paying, at most, in all accounts.
const ACCEPTED_MAX: usize = 100_000;
/// Envelopes of at most this many bytes are opened before anybody is asked to pay.
pub(crate) const TRUST_BYTES_MAX: u64 = 64_000;
/// What a peer is asked for while cards are looked up that may name it, in s.
const SOUGHT_S: u32 = 5;
/// What strangers are asked for while as many requests wait as may, in s.
const REQUESTS_S: u32 = 6 * 3600;

/// What came with an offer that lets it in.
pub(crate) enum Entrance {
    /// The peer is a node of somebody accepted, or a relay of ours that has looked at it.
    Trusted,
    /// Perhaps a node of somebody accepted whose card is being looked up.
    Sought,
    /// A stamp, work, or nothing.
    With(Ticket),
}

/// An offer for a mailbox of this node's.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) token: Token,
    pub(crate) peer: PeerId,
    /// Whose queue it names; `None`: nobody's.
    pub(crate) account: Option<AccountId>,
    pub(crate) queue: QueueName,
    pub(crate) envelope: EnvelopeId,
    pub(crate) size: u64,
}

/// An offer of an envelope that comes from elsewhere.
#[derive(Clone, Debug)]
struct Patient {
    offer: Offer,
    paid: bool,
    until: Mono,
}

type MailName = (AccountId, Address, MailId);

#[derive(Clone, Debug)]
enum Stage {
    Receiving,
    Opening,
    Writing,
}

#[derive(Clone, Debug)]
struct Reception {
    peer: PeerId,
    account: AccountId,
    envelope: EnvelopeId,
    /// It came with a stamp or work, from a node of somebody accepted, or from a relay of ours.
    paid: bool,
    stage: Stage,
    /// When it is given up if its body is not complete.
    until: Mono,
}

/// What a commit of ours does.
#[derive(Clone, Debug)]
struct Batch {
    token: Token,
    mail: Option<MailName>,
    card: Option<CardInfo>,
    ending: Vec<EntryId>,
}

/// What the rest of the core has to know after a commit.
pub(crate) struct Done {
    pub(crate) durable: bool,
    pub(crate) card: Option<CardInfo>,
    pub(crate) ending: Vec<EntryId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    queues: SmallMap<QueueName, AccountId>,
    receptions: SmallMap<Token, Box<Reception>>,
    arriving: SmallSet<EnvelopeId>,
    /// Offers that are answered when it shows what becomes of another one.
    patient: SmallMap<Token, Box<Patient>>,
    filing: SmallSet<MailName>,
    batches: SmallMap<BatchId, Box<Batch>>,
    recent: SmallMap<EnvelopeId, Option<MailName>>,
    recent_order: VecDeque<EnvelopeId>,
    /// Mails filed lately, whichever envelope they came in, and when a receipt was last queued.
    filed: SmallMap<MailName, Option<Mono>>,
    /// Who may write to whom without paying for it.
    accepted: SmallSet<(AccountId, Address)>,
    /// Mails of strangers that wait for a person's decision.
    requests: SmallMap<AccountId, u32>,
    /// Our disk failed us lately: no bodies until then.
    full_until: Mono,
    strikes: SmallMap<PeerId, u32>,
    halve_at: Mono,
}

impl Inbox {
    pub(crate) fn account_added(&mut self, own: &OwnAccount) {
        self.account_removed(own.account);
        self.queues.insert(own.queue, own.account);
    }

    pub(crate) fn account_removed(&mut self, account: AccountId) {
        self.queues.retain(|_, of| *of != account);
    }

    fn refuse(token: Token, answer: Answer, cx: &mut Context<'_>) {
        cx.emit(Effect::Answer { token, answer });
        cx.emit(Effect::Count(Counter::OfferRefused));
    }

    fn strike(&mut self, peer: PeerId, weight: u32, cx: &mut Context<'_>) {
        if self.strikes.len() >= STRIKES_PEERS_MAX && !self.strikes.contains_key(&peer) {
            return;
        }
        if self.strikes.is_empty() {
            self.halve_at = cx.after(STRIKES_HALVE_MS);
        }
        let strikes = self.strikes.or_default(peer);
        *strikes += weight;
        if *strikes >= STRIKES_MAX {
            self.strikes.remove(&peer);
            cx.emit(Effect::Drop(peer));
        }
    }

    /// Takes up what was dealt with before a restart, and who is accepted.
    pub(crate) fn restore(seen: Vec<EnvelopeId>, accepted: Vec<(AccountId, Address)>, requests: Vec<(AccountId, u32)>) -> Self {
        let mut inbox =
            Self { accepted: accepted.into_iter().collect(), requests: requests.into_iter().collect(), ..Self::default() };
        for envelope in seen {
            inbox.remember(envelope, None);
        }
        inbox
    }

    /// Whose queue at this node that is.
    pub(crate) fn account(&self, queue: &QueueName) -> Option<AccountId> {
        self.queues.get(queue).copied()
    }

    pub(crate) fn accepts(&self, account: AccountId, address: &Address) -> bool {
        self.accepted.contains(&(account, *address))
    }

    pub(crate) fn acceptance(&mut self, account: AccountId, address: Address, accepted: bool) {
        if accepted && self.accepted.len() < ACCEPTED_MAX {
            self.accepted.insert((account, address));
        } else {
            self.accepted.remove(&(account, address));
        }
    }

    /// Who is accepted by an account.
    pub(crate) fn accepted_by(&self, account: AccountId) -> impl Iterator<Item = &Address> {
        self.accepted.iter().filter(move |(of, _)| *of == account).map(|(_, address)| address)
    }

    pub(crate) fn requests(&mut self, account: AccountId, waiting: u32) {
        self.requests.insert(account, waiting);
    }

    /// May an envelope come in, before anything of it is known but what came with the offer? Says whether its way is paid. A small one from nobody known
    /// comes in on trust: whoever wrote it may be a contact, which only shows when it is open.
    fn admitted(&self, offer: &Offer, account: AccountId, way: &Entrance, cx: &Context<'_>) -> Result<bool, Answer> {
        let ticket = match way {
            Entrance::Trusted => return Ok(true),
            Entrance::Sought => return Err(Answer::Later { reason: LaterReason::Busy, after_s: SOUGHT_S }),
            Entrance::With(ticket) => ticket,
        };
        let effort = cx.config.stranger_effort;
        let small = offer.size <= TRUST_BYTES_MAX;
        match cx.config.strangers {
            Strangers::Welcome => Ok(true),
            _ if ticket.stamp.is_some() => Ok(true),
            Strangers::Closed if small => Ok(false),
            Strangers::Closed => Err(Answer::Refused(RefusedReason::Closed)),
            Strangers::Work => match ticket.effort(effort, &offer.queue.0, &offer.envelope) {
                Some(_) if self.is_full_of_requests(account, cx) => {
                    Err(Answer::Later { reason: LaterReason::Quota, after_s: REQUESTS_S })
                }
                Some(_) => Ok(true),
                None if small => Ok(false),
                None => Err(Answer::Refused(RefusedReason::Price(effort))),
            },
        }
    }

    fn is_full_of_requests(&self, account: AccountId, cx: &Context<'_>) -> bool {
        let waiting = self.requests.get(&account).copied().unwrap_or(0);
        usize::try_from(waiting).unwrap_or(usize::MAX) >= cx.config.requests_max
    }

    /// A peer offers an envelope for a mailbox of this node's.
    pub(crate) fn offer(&mut self, offer: Offer, way: &Entrance, cx: &mut Context<'_>) {
        let Offer { token, peer, envelope, size, .. } = offer;
        let Some(account) = offer.account else {
            Self::refuse(token, Answer::Refused(RefusedReason::Unknown), cx);
            return self.strike(peer, 1, cx);
        };
        if !envelope::is_size(size) {
            let reason = if size > ENVELOPE_BYTES_MAX { RefusedReason::TooLarge } else { RefusedReason::Malformed };
            Self::refuse(token, Answer::Refused(reason), cx);
            return self.strike(peer, STRIKE_HEAVY, cx);
        }
        if self.is_known(&offer, cx) {
            return;
        }
        let paid = match self.admitted(&offer, account, way, cx) {
            Ok(paid) => paid,
            Err(answer) => return Self::refuse(token, answer, cx),
        };
        if self.arriving.contains(&envelope) && !self.restart(peer, envelope, cx) {
            let from_peer = self.patient.values().filter(|patient| patient.offer.peer == peer).count();
            if self.patient.len() >= PATIENT_MAX || from_peer >= cx.config.receptions_per_peer {
                return Self::refuse(token, Answer::Later { reason: LaterReason::InProgress, after_s: IN_PROGRESS_S }, cx);
            }
            self.patient.insert(token, Box::new(Patient { offer, paid, until: cx.after(PATIENCE_MS) }));
            return;
        }
        self.take(&offer, account, paid, cx);
    }

    /// True, and answered, if the envelope was dealt with lately.
    fn is_known(&mut self, offer: &Offer, cx: &mut Context<'_>) -> bool {
        let Some(mail) = self.recent.get(&offer.envelope).copied() else { return false };
        let answer = Effect::Answer { token: offer.token, answer: Answer::Have };
        cx.emit(Effect::Count(Counter::Duplicate));
        match mail.filter(|mail| self.repeat_receipt(*mail, cx)) {
            Some((account, to, mid)) => {
                cx.commit(vec![Write::Receipt { account, to, mid }], vec![answer]);
            }
            None => cx.emit(answer),
        }
        true
    }

    /// Those who offered what came from elsewhere are answered: it is here, or did not make it, or takes long.
    fn answer_patient(&mut self, cx: &mut Context<'_>) {
        if self.patient.is_empty() {
            return;
        }
        let tokens: Vec<Token> = self.patient.keys().copied().collect();
        for token in tokens {
            // An answer to one of them may be that it shall send now: the others go on waiting.
            let Some(patient) = self.patient.get(&token) else { continue };
            let (arriving, over) = (self.arriving.contains(&patient.offer.envelope), patient.until <= cx.now.mono);
            if arriving && !over {
                continue;
            }
            let Some(Patient { offer, paid, .. }) = self.patient.remove(&token).map(|patient| *patient) else { continue };
            match offer.account {
                _ if self.is_known(&offer, cx) => {}
                Some(account) if !arriving => self.take(&offer, account, paid, cx),
                _ => Self::refuse(token, Answer::Later { reason: LaterReason::InProgress, after_s: IN_PROGRESS_S }, cx),
            }
        }
    }

    /// The envelope is wanted, if there is room.
    fn take(&mut self, offer: &Offer, account: AccountId, paid: bool, cx: &mut Context<'_>) {
        let Offer { token, peer, envelope, .. } = *offer;
        if self.full_until > cx.now.mono {
            return Self::refuse(token, Answer::Later { reason: LaterReason::Full, after_s: FULL_S }, cx);
        }
        let from_peer = self.receptions.values().filter(|reception| reception.peer == peer).count();
        if self.receptions.len() >= cx.config.receptions_max || from_peer >= cx.config.receptions_per_peer {
            return Self::refuse(token, Answer::Later { reason: LaterReason::Busy, after_s: BUSY_S }, cx);
        }
        self.arriving.insert(envelope);
        self.receptions.insert(
            token,
            Box::new(Reception {
                peer,
                account,
                envelope,
                paid,
                stage: Stage::Receiving,
                until: cx.after(cx.config.reception_max_ms),
            }),
        );
        cx.emit(Effect::Answer { token, answer: Answer::Send });
    }

    /// A peer that offers again what it was sending has begun anew: its first attempt is put off. False if the letter comes from elsewhere.
    fn restart(&mut self, peer: PeerId, envelope: EnvelopeId, cx: &mut Context<'_>) -> bool {
        let same = |reception: &Reception| {
            reception.peer == peer && reception.envelope == envelope && matches!(reception.stage, Stage::Receiving)
        };
        let Some(old) = self.receptions.iter().find(|(_, reception)| same(reception)).map(|(token, _)| *token) else {
            return false;
        };
        self.later(old, LaterReason::InProgress, IN_PROGRESS_S, cx);
        true
    }

    /// True, and remembered, if a receipt for this mail may be queued again. Only for mails whose senders may know.
    fn repeat_receipt(&mut self, mail: MailName, cx: &Context<'_>) -> bool {
        let Some(Some(last)) = self.filed.get_mut(&mail) else { return false };
        let due = cx.now.mono.0.saturating_sub(last.0) >= cx.config.receipt_repeat_ms;
        if due {
            *last = cx.now.mono;
        }
        due
    }

    /// The body is complete. One that nobody waits for any more is put off, so that the driver can let go of it.
    pub(crate) fn body(&mut self, token: Token, cx: &mut Context<'_>) {
        match self.receptions.get_mut(&token) {
            Some(reception) if matches!(reception.stage, Stage::Receiving) => {
                reception.stage = Stage::Opening;
                cx.emit(Effect::Open { token, account: reception.account });
            }
            Some(_) => {}
            None => self.later(token, LaterReason::Busy, BUSY_S, cx),
        }
    }

    /// The body broke off, or is not there when it is to be opened.
    pub(crate) fn broken(&mut self, token: Token, cx: &mut Context<'_>) {
        // Who has gone meanwhile is not told to send.
        self.patient.remove(&token);
        match self.receptions.get(&token).map(|reception| &reception.stage) {
            Some(Stage::Receiving) => {
                self.forget(token);
            }
            Some(Stage::Opening) => self.later(token, LaterReason::Busy, BUSY_S, cx),
            Some(Stage::Writing) | None => {}
        }
    }

    /// Bodies of a peer that is gone will not be completed.
    pub(crate) fn peer_down(&mut self, peer: &PeerId) {
        self.patient.retain(|_, patient| patient.offer.peer != *peer);
        let gone = |reception: &Reception| reception.peer == *peer && matches!(reception.stage, Stage::Receiving);
        let tokens: Vec<Token> =
            self.receptions.iter().filter(|(_, reception)| gone(reception)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.forget(token);
        }
    }

    fn forget(&mut self, token: Token) -> Option<Reception> {
        let reception = self.receptions.remove(&token)?;
        self.arriving.remove(&reception.envelope);
        Some(*reception)
    }

    /// The letter is open, or is none.
    pub(crate) fn opened(
        &mut self,
        token: Token,
        result: Result<Letter, OpenProblem>,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) {
        if self.receptions.get(&token).is_none_or(|reception| !matches!(reception.stage, Stage::Opening)) {
            return;
        }
        match result {
            Ok(letter) => self.letter(token, letter, outbox, cx),
            Err(OpenProblem::Temporary) => {
                self.full_until = cx.after(FULL_WAIT_MS);
                self.later(token, LaterReason::Full, FULL_S, cx);
            }
            Err(problem @ (OpenProblem::NotForUs | OpenProblem::Malformed | OpenProblem::WrongSender)) => {
                let Some(reception) = self.forget(token) else { return };
                cx.emit(Effect::Count(Counter::Dropped(problem)));
                cx.emit(Effect::Answer { token, answer: Answer::Have });
                self.strike(reception.peer, STRIKE_HEAVY, cx);
            }
        }
    }

    fn later(&mut self, token: Token, reason: LaterReason, after_s: u32, cx: &mut Context<'_>) {
        self.forget(token);
        Self::refuse(token, Answer::Later { reason, after_s }, cx);
    }

    fn letter(&mut self, token: Token, letter: Letter, outbox: &mut Outbox, cx: &mut Context<'_>) {
        let Some(Reception { envelope, paid, peer, .. }) = self.receptions.get(&token).map(|reception| (**reception).clone())
        else {
            return;
        };
        let mut writes = Vec::new();
        let stranger = cx.config.strangers != Strangers::Welcome && !self.accepts(letter.account, &letter.from);
        let mut batch = Batch { token, mail: None, card: letter.card, ending: Vec::new() };
        match letter.kind {
            LetterKind::Mail => {
                let name = (letter.account, letter.from, letter.mid);
                if stranger && !paid {
                    // Known by now to be no contact's: the price is named, and the next try brings the work along.
                    self.forget(token);
                    self.strike(peer, 1, cx);
                    let reason = match cx.config.strangers {
                        Strangers::Closed => RefusedReason::Closed,
                        Strangers::Work | Strangers::Welcome => RefusedReason::Price(cx.config.stranger_effort),
                    };
                    return Self::refuse(token, Answer::Refused(reason), cx);
                }
                if self.filing.contains(&name) {
                    // The same mail, sealed anew, is being written: not yet ours to confirm.
                    return self.later(token, LaterReason::InProgress, IN_PROGRESS_S, cx);
                }
                let receipt = letter.receipt_wanted && !stranger;
                if letter.known || self.filed.contains_key(&name) {
                    cx.emit(Effect::Count(Counter::Duplicate));
                    let again = receipt && (!self.filed.contains_key(&name) || self.repeat_receipt(name, cx));
                    writes.push(Write::Absorb { token, envelope, receipt: again });
                } else if stranger && self.is_full_of_requests(letter.account, cx) {
                    return self.later(token, LaterReason::Quota, REQUESTS_S, cx);
                } else {
                    if stranger {
                        *self.requests.or_default(letter.account) += 1;
                    }
                    writes.push(Write::File { token, envelope, receipt, request: stranger });
                }
                self.filing.insert(name);
                self.filed.or_insert_with(name, || receipt.then_some(cx.now.mono));
                batch.mail = Some(name);
            }
            LetterKind::Receipt(mails) => {
                let (ending, bogus) = outbox.receipt(letter.from, letter.account, &mails, &mut writes);
                batch.ending = ending;
                writes.push(Write::Absorb { token, envelope, receipt: false });
                for _ in 0..bogus {
                    cx.emit(Effect::Count(Counter::BogusReceipt));
                }
            }
            LetterKind::Card | LetterKind::Relay(_) => writes.push(Write::Absorb { token, envelope, receipt: false }),
        }
        let then = vec![Effect::Answer { token, answer: Answer::Have }];
        if let Some(reception) = self.receptions.get_mut(&token) {
            reception.stage = Stage::Writing;
        }
        let name = cx.commit(writes, then);
        self.batches.insert(name, Box::new(batch));
    }

    /// A commit of ours is durable; `None` if it was not ours.
    pub(crate) fn durable(&mut self, batch: BatchId) -> Option<Done> {
        let done = self.batches.remove(&batch)?;
        if let Some(mail) = &done.mail {
            self.filing.remove(mail);
        }
        if let Some(reception) = self.forget(done.token) {
            self.strikes.remove(&reception.peer);
            self.remember(reception.envelope, done.mail);
        }
        Some(Done { durable: true, card: done.card, ending: done.ending })
    }

    /// The store works.
    pub(crate) fn store_works(&mut self) {
        self.full_until = Mono(0);
    }

    /// A commit of ours failed; `None` if it was not ours.
    pub(crate) fn commit_failed(&mut self, batch: BatchId, cx: &mut Context<'_>) -> Option<Done> {
        let failed = self.batches.remove(&batch)?;
        if let Some(mail) = failed.mail {
            self.filing.remove(&mail);
            self.filed.remove(&mail);
        }
        self.full_until = cx.after(FULL_WAIT_MS);
        self.later(failed.token, LaterReason::Full, FULL_S, cx);
        Some(Done { durable: false, card: None, ending: failed.ending })
    }

    fn remember(&mut self, envelope: EnvelopeId, mail: Option<MailName>) {
        if self.recent.insert(envelope, mail).is_none() {
            self.recent_order.push_back(envelope);
        }
        if self.recent_order.len() > RECENT_MAX
            && let Some(oldest) = self.recent_order.pop_front()
            && let Some(mail) = self.recent.remove(&oldest).flatten()
        {
            self.filed.remove(&mail);
        }
    }

    /// Nothing here waits for the clock.
    fn is_quiet(&self) -> bool {
        self.receptions.is_empty() && self.patient.is_empty() && self.strikes.is_empty()
    }

    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        if self.is_quiet() {
            return;
        }
        let late = |reception: &Reception| matches!(reception.stage, Stage::Receiving) && reception.until <= cx.now.mono;
        let tokens: Vec<Token> =
            self.receptions.iter().filter(|(_, reception)| late(reception)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.later(token, LaterReason::Busy, BUSY_S, cx);
        }
        self.answer_patient(cx);
        if !self.strikes.is_empty() && self.halve_at <= cx.now.mono {
            self.halve_at = cx.after(STRIKES_HALVE_MS);
            self.strikes.retain(|_, strikes| {
                *strikes /= 2;
                *strikes > 0
            });
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        if self.is_quiet() {
            return None;
        }
        let halve = (!self.strikes.is_empty()).then_some(self.halve_at);
        let receiving = self.receptions.values().filter(|reception| matches!(reception.stage, Stage::Receiving));
        let patient = self.patient.values().map(|patient| patient.until);
        receiving.map(|reception| reception.until).chain(patient).chain(halve).min()
    }
}
