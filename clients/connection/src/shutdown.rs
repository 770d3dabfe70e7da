//! The word that the node is stopping: said once, heard by every port and connection.

use tokio::sync::watch;

/// Says that the node is stopping. Dropping it says so too.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Hears that the node is stopping. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and what listens to it.
#[must_use]
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Says it; saying it twice changes nothing.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether it has been said.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns once it has been said. Cancel-safe.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, which is the same word.
        let _gone = self.0.wait_for(|said| *said).await;
    }
}
