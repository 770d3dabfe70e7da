//! Ctrl-C: what was simulated so far is written, and nothing more begun. The second one ends it at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell calls the end by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Becomes true with the first Ctrl-C.
pub(super) fn asked() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let heard = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        });
        // Without it Ctrl-C does what it always does.
        drop(heard);
    });
    &STOP
}
