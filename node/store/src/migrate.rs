//! Formats of the store: which one a file has, and whether this Kith can serve it.
//!
//! There has been one format so far. A store of a newer one is left alone: serving it could lose what it says.

use std::path::Path;

use crate::error::OpenError;
use crate::schema::FORMAT;

/// Refuses what cannot be served.
pub(crate) fn check(home: &Path, found: u64) -> Result<(), OpenError> {
    match found {
        FORMAT => Ok(()),
        0 => Err(OpenError::Damaged { home: home.to_path_buf(), what: "format 0 has never existed".to_owned() }),
        _ => Err(OpenError::Newer { home: home.to_path_buf(), found, known: FORMAT }),
    }
}

/// No format will have so great a number; a damaged row may.
const FORMAT_MAX: u64 = 1000;

/// Whether a number is that of a newer Kith's store rather than a damaged one.
pub(crate) fn is_newer(found: u64) -> bool {
    found > FORMAT && found < FORMAT_MAX
}
