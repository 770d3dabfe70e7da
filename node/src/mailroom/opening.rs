//! From a received envelope to a letter that the core can decide about; its mail waits, staged, for the commit.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kith_protocol::correspondent::Proof as MacProof;
use kith_protocol::event::{Letter, LetterKind, OpenProblem};
use kith_protocol::forward::{ForwardError, Inward, Outward};
use kith_protocol::ids::{AccountId, Token};
use kith_protocol::letter::Kind;
use kith_protocol::receipt::Receipt;
use kith_protocol::seal::{self, DeviceStanding, OpenKeys, OpenedLetter};
use kith_protocol::talk::Talk;
use kith_store::blob::Staged;
use kith_store::contact::Grade;
use kith_store::folder::Use;
use kith_store::mailbox::Filing;

use super::Room;
use crate::correspondence::{Learned, Taken, TakenMail};
use crate::delivered::{self, Proof, Verdict};
use crate::identity;

/// Letters up to this size are opened in memory; larger ones into a file beside the envelope.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// Where a letter's content goes while it is not trusted yet.
struct Content {
    memory: Vec<u8>,
    file: Option<File>,
    path: PathBuf,
}

impl Content {
    fn beside(envelope: &Path) -> Self {
        Self { memory: Vec::new(), file: None, path: envelope.with_extension("content") }
    }

    /// Reads the content from its beginning.
    fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        match &mut self.file {
            Some(file) => {
                file.seek(SeekFrom::Start(0))?;
                Ok(Box::new(io::BufReader::new(file)))
            }
            None => Ok(Box::new(self.memory.as_slice())),
        }
    }
}

impl Write for Content {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY_BYTES_MAX {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut file =
                std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            // Gone with the handle, whatever happens.
            std::fs::remove_file(&self.path)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn forward(error: ForwardError) -> OpenProblem {
    match error {
        ForwardError::Read(_) => OpenProblem::Temporary,
        ForwardError::Malformed => OpenProblem::Malformed,
    }
}

impl Room {
    pub(super) fn open(&mut self, token: Token, account: AccountId, file: &Path) -> Result<Letter, OpenProblem> {
        let temporary = |_: io::Error| OpenProblem::Temporary;
        let now = self.clock.now();
        let identity = self.identities.get(&account).ok_or(OpenProblem::NotForUs)?;
        let us = identity.address();
        let keys = OpenKeys { address: us, prekeys: identity.prekeys() };
        let envelope = File::open(file).map_err(temporary)?;
        let size = envelope.metadata().map_err(temporary)?.len();
        let mut content = Content::beside(file);
        let shared = self.shared.clone();
        let opened = seal::open(&keys, |id| shared.reply_secret(account, id), io::BufReader::new(envelope), size, &mut content)
            .map_err(|error| error.problem())?;

        let from = opened.head.from;
        // Its dates are not looked at: a letter may have waited for weeks, and a card that has run out loses to a newer one anyway.
        let enclosed = self.cards.of(&from, &opened.head.card).ok_or(OpenProblem::WrongSender)?;
        let known = self.store.card(&from).map_err(|_| OpenProblem::Temporary)?;
        let known_devices = known.and_then(|known| self.cards.of(&from, &known.bytes)).map(|known| known.card_devices());
        let enclosed_devices = enclosed.card_devices();
        let correspondent = self.shared.correspondent(account, from);
        let grade = seal::verify_sender(&opened, &us, &enclosed_devices, known_devices.as_ref(), Some(&correspondent))
            .map_err(|_| OpenProblem::WrongSender)?;

        if self.store.is_blocked(account, &from).map_err(|_| OpenProblem::Temporary)? {
            // Silence, as for what opens to nothing: who is shut out learns no more than that nobody confirms.
            return Err(OpenProblem::NotForUs);
        }
        let kind = match opened.kind {
            Kind::Mail | Kind::Outgoing | Kind::Incoming => LetterKind::Mail,
            Kind::Card => LetterKind::Card,
            Kind::Relay => LetterKind::Relay(Talk::decode(&content.memory).map_err(|_| OpenProblem::Malformed)?),
            Kind::Receipt => {
                let receipt = Receipt::decode(&content.memory).map_err(|_| OpenProblem::Malformed)?;
                LetterKind::Receipt(receipt.mails().to_vec())
            }
        };
        let proof = self.proof(account, &opened, grade.device, grade.proof);
        let mail = match opened.kind {
            Kind::Mail => Some(TakenMail::Filing(Filing::fresh(self.stage(&mut content, &proof)?, now.wall), Use::Inbox)),
            Kind::Incoming => Some(self.incoming(account, &mut content, &proof)?),
            Kind::Outgoing => {
                let mut reader = content.reader().map_err(temporary)?;
                let outward = Outward::read(&mut reader).map_err(forward)?;
                let mut stage = self.store.stage().map_err(|_| OpenProblem::Temporary)?;
                io::copy(&mut reader, &mut stage).map_err(temporary)?;
                Some(TakenMail::Outward(outward, stage.finish().map_err(|_| OpenProblem::Temporary)?))
            }
            Kind::Receipt | Kind::Card | Kind::Relay => None,
        };
        let mid = opened.head.mid;
        let letter_known = self.store.known_letter(account, &from, &mid).map_err(|_| OpenProblem::Temporary)?;
        let card = grade.card_is_newer.then(|| enclosed.info(now.wall));
        let listed = grade.device == DeviceStanding::Listed;
        let learned = Learned { device: opened.sender, head: opened.head, proof: grade.proof, listed, spent: opened.reply_key };
        let newer = grade.card_is_newer.then(|| identity::known(&enclosed, now.wall));
        // Only people whom somebody here knows are asked for room, or offer it.
        let contact = self.store.contact_by_address(account, &from).ok().flatten().is_some();
        let talk = match &kind {
            LetterKind::Relay(talk) if contact && listed => Some(*talk),
            _ => None,
        };
        self.shared.opened(token, Taken { account, from, mid, mail, talk, card: newer, learned });
        Ok(Letter { account, from, mid, kind, known: letter_known, receipt_wanted: true, card })
    }

    /// What `Authentication-Results` will say.
    fn proof(&self, account: AccountId, opened: &OpenedLetter, device: DeviceStanding, mac: MacProof) -> Proof {
        let from = opened.head.from;
        let contact = self.store.contact_by_address(account, &from).ok().flatten();
        let known_as = match (device, contact.map(|contact| contact.grade)) {
            (DeviceStanding::Removed, _) => "from a device since removed",
            (DeviceStanding::Listed, Some(Grade::InPerson)) => "verified in person",
            (DeviceStanding::Listed, Some(Grade::Shared)) => "verified by a shared secret",
            (DeviceStanding::Listed, Some(Grade::Introduced)) => "introduced by a contact",
            (DeviceStanding::Listed, Some(Grade::Unknown)) => "contact, not verified",
            (DeviceStanding::Listed, None) => "not a contact",
        };
        let verdict = match mac {
            MacProof::Contact | MacProof::FirstContact => Verdict::Pass,
            MacProof::KeysReset => Verdict::Reset,
        };
        Proof { from, known_as, verdict }
    }

    fn stage(&self, content: &mut Content, proof: &Proof) -> Result<Staged, OpenProblem> {
        let mut stage = self.store.stage().map_err(|_| OpenProblem::Temporary)?;
        let mail = content.reader().map_err(|_| OpenProblem::Temporary)?;
        delivered::write(mail, proof, self.clock.now().wall, &mut stage).map_err(|_| OpenProblem::Temporary)?;
        stage.finish().map_err(|_| OpenProblem::Temporary)
    }

    /// A mail that came in the clear: what the gateway found of its sender stands above it if it is one that the account uses, and what it doubts
    /// goes with the junk. From anybody else it is a mail of theirs, whose doubts count for nothing.
    fn incoming(&self, account: AccountId, content: &mut Content, proof: &Proof) -> Result<TakenMail, OpenProblem> {
        let temporary = |_: io::Error| OpenProblem::Temporary;
        let wall = self.clock.now().wall;
        let sharing = self.store.gateway_sharing(account, &proof.from).map_err(|_| OpenProblem::Temporary)?;
        let mut reader = content.reader().map_err(temporary)?;
        let inward = Inward::read(&mut reader).map_err(forward)?;
        let mut stage = self.store.stage().map_err(|_| OpenProblem::Temporary)?;
        if sharing.we_may {
            delivered::write_inward(reader, proof, &inward, wall, &mut stage).map_err(temporary)?;
        } else {
            delivered::write(reader, proof, wall, &mut stage).map_err(temporary)?;
        }
        let folder = if sharing.we_may && inward.junk { Use::Junk } else { Use::Inbox };
        Ok(TakenMail::Filing(Filing::fresh(stage.finish().map_err(|_| OpenProblem::Temporary)?, wall), folder))
    }
}
