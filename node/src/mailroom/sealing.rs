//! From a queue entry to an envelope in the spool.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;

use kith_protocol::card::Card;
use kith_protocol::event::{EntryKind, Event, Ladder, PlaceKind, SealProblem, Sealed, Wall};
use kith_protocol::ids::{EntryId, PeerId};
use kith_protocol::letter::Kind;
use kith_protocol::receipt::{self, Receipt};
use kith_protocol::seal::{self, Content, SealError, SealRequest};
use kith_store::StoreError;
use kith_store::queue::{Form, QueueEntry};

use super::Room;
use crate::engine::Answered;

/// A failure of the store as the core is told it.
fn of_store(error: StoreError) -> SealProblem {
    match error {
        StoreError::NotFound(_) | StoreError::Damaged(_) | StoreError::Invalid(_) => SealProblem::Permanent(error.to_string()),
        _ => SealProblem::Temporary(error.to_string()),
    }
}

fn of_disk(error: io::Error) -> SealProblem {
    SealProblem::Temporary(error.to_string())
}

fn of_seal(error: SealError) -> SealProblem {
    match error {
        SealError::Read(error) | SealError::Write(error) => of_disk(error),
        SealError::Devices(_) | SealError::BadKey => SealProblem::NoCard,
        SealError::Head(_) | SealError::ContentChanged => SealProblem::Permanent(error.to_string()),
    }
}

impl Room {
    pub(super) fn seal(&mut self, id: EntryId, with: &[EntryId], ladder: Ladder) -> Result<Sealed, SealProblem> {
        let entry =
            self.store.queue_entry(id).map_err(of_store)?.ok_or_else(|| SealProblem::Permanent("it was withdrawn".into()))?;
        match entry.kind {
            EntryKind::Mail => {
                let (hash, length) = entry.blob.ok_or_else(|| SealProblem::Permanent("its bytes are gone".into()))?;
                let from = self.store.blob(&hash).map_err(of_store)?;
                let kind = match entry.form {
                    Form::Mail => Kind::Mail,
                    Form::Outgoing => Kind::Outgoing,
                    Form::Incoming => Kind::Incoming,
                };
                self.seal_content(&entry, ladder, (kind, 0), Content { from, length, hash: hash.0 })
            }
            EntryKind::Receipt(mid) => {
                let mut mails = vec![mid];
                mails.extend(&entry.also);
                for other in with {
                    // One that was withdrawn meanwhile confirms nothing.
                    let Some(other) = self.store.queue_entry(*other).map_err(of_store)? else { continue };
                    mails.extend(other.confirms());
                }
                let answers = mails.len();
                let bytes = Receipt::new(mails, receipt::State::Stored)
                    .and_then(|receipt| receipt.encode())
                    .map_err(|error| SealProblem::Permanent(error.to_string()))?;
                self.seal_content(&entry, ladder, (Kind::Receipt, answers), Content::of(&bytes))
            }
            EntryKind::Relay(talk) => {
                let bytes = talk.encode().map_err(|error| SealProblem::Permanent(error.to_string()))?;
                self.seal_content(&entry, ladder, (Kind::Relay, 0), Content::of(&bytes))
            }
            EntryKind::Card => self.seal_content(&entry, ladder, (Kind::Card, 0), Content::of(&[])),
        }
    }

    fn seal_content(
        &mut self,
        entry: &QueueEntry,
        ladder: Ladder,
        (kind, answers): (Kind, usize),
        content: Content<impl Read>,
    ) -> Result<Sealed, SealProblem> {
        let now = self.clock.now();
        let known = self.store.card(&entry.recipient).map_err(of_store)?.ok_or(SealProblem::NoCard)?;
        let card = self.cards.of(&known.address, &known.bytes).ok_or(SealProblem::NoCard)?;
        let (devices, order) = (card.devices(), card.order());
        let identity =
            self.identities.get(&entry.account).ok_or_else(|| SealProblem::Permanent("the account was removed".into()))?;
        let path = self.outgoing.join(format!("{}.new", entry.id.0));
        let mut out = open_new(&path).map_err(of_disk)?;
        // Nothing may be learned of this correspondent between the copy and its return.
        let pen = self.shared.pen();
        let mut correspondent = self.shared.correspondent(entry.account, entry.recipient);
        let request = SealRequest {
            device: identity.device_secret(),
            from: identity.address(),
            card: identity.card().ok_or_else(|| SealProblem::Temporary("the account has no card yet".into()))?,
            devices: &devices,
            correspondent: &mut correspondent,
            ladder,
            mid: entry.mid,
            kind,
            answers,
            date: Wall(entry.submitted_ms),
            now: now.wall,
        };
        let sealed = seal::seal(request, content, &mut out, &mut rand::rng()).map_err(of_seal);
        if sealed.is_ok() {
            self.shared.sealed(entry.account, correspondent);
        }
        drop(pen);
        if self.shared.runs_short(entry.account) {
            self.answer(Answered::Event(Event::StampsChanged(entry.account)));
        }
        let sealed = sealed.inspect_err(|_| remove(&path))?;
        // What it was sealed from may go before the receipt comes.
        let fleeting = entry.form == Form::Incoming;
        if fleeting {
            out.sync_all().map_err(of_disk)?;
        }
        std::fs::rename(&path, self.outgoing.join(hex::encode(sealed.envelope.as_bytes()))).map_err(of_disk)?;
        if fleeting {
            File::open(&self.outgoing).and_then(|folder| folder.sync_all()).map_err(of_disk)?;
        }
        Ok(Sealed {
            envelope: sealed.envelope,
            size: sealed.size,
            ladder: sealed.ladder,
            card: order,
            at_age_ms: entry.progress.age_ms,
            kept_here: fleeting && is_kept_at(&card, &self.network.peer_id()),
        })
    }
}

/// Whether a card names that node as one that keeps the mailbox's mail.
fn is_kept_at(card: &Card, peer: &PeerId) -> bool {
    card.places().iter().any(|place| place.kind == PlaceKind::Relay && place.peer == *peer)
}

fn open_new(path: &std::path::Path) -> io::Result<File> {
    std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn remove(path: &std::path::Path) {
    // What stays is overwritten by the next attempt.
    let _ = std::fs::remove_file(path);
}
