//! Waiting for news in a folder: IDLE (RFC 2177), or looking now and then.

use std::time::Duration;

use tokio::time::Instant;

use super::super::FetchError;
use super::response::{self, Response};
use super::{RESPONSES_MAX, Session};

/// RFC 2177: IDLE is said anew before 29 minutes.
const IDLE: Duration = Duration::from_secs(28 * 60);

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something happened in the folder.
    News,
    /// The time is over.
    TimedOut,
}

impl Session {
    /// Waits until something happens in the open folder, or for so long.
    ///
    /// # Errors
    /// The connection is gone: connect anew.
    pub async fn wait(&mut self, at_most: Duration) -> Result<Woken, FetchError> {
        let end = Instant::now() + at_most;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::TimedOut);
            }
            let news = if self.can("IDLE") {
                self.idle(left.min(IDLE)).await?
            } else {
                tokio::time::sleep(left.min(self.poll)).await;
                let mut news = false;
                self.run("NOOP", |line| news |= response::is_news(line)).await?;
                news
            };
            if news {
                return Ok(Woken::News);
            }
        }
    }

    async fn idle(&mut self, at_most: Duration) -> Result<bool, FetchError> {
        let tag = self.start("IDLE").await?;
        let end = Instant::now() + at_most;
        let mut news = false;
        let mut said_done = false;
        for _ in 0..RESPONSES_MAX {
            let left = end.saturating_duration_since(Instant::now());
            let line = if said_done || left.is_zero() {
                if !said_done {
                    self.wire.send(b"DONE\r\n").await?;
                    said_done = true;
                }
                self.wire.line().await?
            } else {
                match self.wire.line_within(left).await {
                    Ok(line) => line,
                    Err(FetchError::Silent(_)) => continue,
                    Err(error) => return Err(error),
                }
            };
            match Response::parse(&line) {
                Response::Tagged(answered, status, said) if answered == tag => return self.outcome(status, &said).map(|()| news),
                Response::Bye(said) => return Err(self.later(&said)),
                _ if response::is_news(&line) => {
                    news = true;
                    if !said_done {
                        self.wire.send(b"DONE\r\n").await?;
                        said_done = true;
                    }
                }
                _ => {}
            }
        }
        Err(self.wire.nonsense("responses without end"))
    }
}
