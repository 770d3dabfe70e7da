//! Space that is set aside while there is some, for when somebody else has filled the disk.
//!
//! What the journal holds is durable, but reading it takes a database that can grow. So the file `reserve` occupies as much as taking the journal in
//! may need; where the disk is found full with rows in the journal, it is given up, the database takes them in for good, and from then on reading
//! needs no more space. Removing mail may take it too. It is made again as soon as there is enough for both it and new mail.

use std::io;

use crate::disk::{Disk, Space};

/// Its name in the home.
pub(crate) const RESERVE: &str = "reserve";
/// Bytes set aside, and as many more that new mail leaves free: this, or [`RESERVE_SHARE`] of a small disk. Four times what the journal holds at most.
const RESERVE_BYTES: u64 = 16 << 20;
/// See [`RESERVE_BYTES`].
const RESERVE_SHARE: u64 = 16;

/// What is set aside on a disk, and what new mail leaves free of it, bytes.
fn bytes(space: Space) -> u64 {
    RESERVE_BYTES.min(space.total / RESERVE_SHARE)
}

/// Space that new mail may still take, bytes: what is free, less what it leaves, and less what is to be set aside still.
pub(crate) fn room(disk: &Disk) -> io::Result<u64> {
    let space = disk.space()?;
    let kept = bytes(space) * if is_set_aside(disk) || !disk.fills_up() { 1 } else { 2 };
    Ok(space.free.saturating_sub(kept))
}

/// Whether there is something to be given up.
pub(crate) fn is_set_aside(disk: &Disk) -> bool {
    disk.exists(RESERVE).unwrap_or(false)
}

/// Whether so little is free that the database may not be able to take in what the journal holds.
pub(crate) fn is_needed(disk: &Disk) -> bool {
    disk.space().is_ok_and(|space| space.free < bytes(space))
}

/// Sets space aside where none is and there is enough. Failing to is harmless: it is tried again after the next turn.
pub(crate) fn set_aside(disk: &Disk) {
    if let Err(error) = try_to_set_aside(disk) {
        tracing::debug!(%error, "no space could be set aside");
        let _ = give_up(disk);
    }
}

fn try_to_set_aside(disk: &Disk) -> io::Result<()> {
    if !disk.fills_up() {
        return Ok(());
    }
    let space = disk.space()?;
    let wanted = bytes(space);
    let there = disk.exists(RESERVE)?;
    if there && disk.open(RESERVE)?.len()? >= wanted {
        return Ok(());
    }
    if space.free < 2 * wanted {
        return Ok(());
    }
    let file = if there { disk.open(RESERVE)? } else { disk.create(RESERVE)? };
    file.allocate(wanted)
}

/// Gives it up. True where that has made room: there was something, and it could be removed.
pub(crate) fn give_up(disk: &Disk) -> bool {
    match disk.remove(RESERVE) {
        Ok(()) => tracing::warn!("the disk is full: space that was set aside is used to keep the mail readable"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => {
            tracing::warn!(%error, "what was set aside on a disk that is full could not be given up");
            return false;
        }
    }
    true
}
