//! Ctrl-C: what was simulated so far is written, and nothing more begun. The second one ends it at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Becomes true with the first Ctrl-C.
pub(super) fn asked() -> &'static AtomicBool {
    static STOP: AtomicBool = AtomicBool::new(false);
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        std::thread::spawn(|| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    if STOP.swap(true, Ordering::Relaxed) {
                        std::process::exit(130);
                    }
                }
            });
        });
    });
    &STOP
}
