//! Where a run ends although there is more to do: after so many media bytes, or after so long.
//!
//! What one command does over several peers counts together. The run then ends as it does when it is interrupted: what has
//! come of a large file stays, jobs are released, and the next run goes on from there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use crate::config::units::{show_duration, show_size};

/// What a command may bring, and how long it may take.
#[derive(Debug, Default)]
pub struct Cutoff {
    transfer: Option<(u64, AtomicU64)>,
    duration: Option<(Duration, Instant)>,
}

impl Cutoff {
    /// Counts from now on.
    #[must_use]
    pub fn new(max_transfer: Option<u64>, max_duration: Option<Duration>) -> Self {
        Self {
            transfer: max_transfer.map(|bytes| (bytes, AtomicU64::new(bytes))),
            // A span beyond the machine's clock never ends.
            duration: max_duration.and_then(|span| Some((span, Instant::now().checked_add(span)?))),
        }
    }

    /// Takes `bytes` that came.
    ///
    /// # Errors
    /// [`Error::TransferLimit`] when they are more than what is left; then none are taken.
    pub fn take(&self, bytes: u64) -> Result<(), Error> {
        let Some((limit, left)) = &self.transfer else {
            return Ok(());
        };
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes)
        });
        let limit = || Error::TransferLimit {
            limit: show_size(*limit),
        };
        taken.map(drop).map_err(|_| limit())
    }

    /// Whether time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.duration.is_some_and(|(_, at)| Instant::now() >= at)
    }

    /// Returns the error that says so when time is over, never when there is no limit.
    pub async fn expired(&self) -> Error {
        match self.duration {
            Some((span, at)) => {
                tokio::time::sleep_until(at).await;
                Error::TimeLimit {
                    limit: show_duration(span),
                }
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_takes_nothing_of_what_is_left() {
        let cutoff = Cutoff::new(Some(10), None);
        assert!(cutoff.take(6).is_ok());
        let error = cutoff.take(5).unwrap_err();
        assert!(error.to_string().contains("--max-transfer 10"), "{error}");
        assert!(cutoff.take(4).is_ok() && cutoff.take(1).is_err());
        assert!(Cutoff::default().take(u64::MAX).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_over_when_it_was_said_to_be() {
        let hour = Duration::from_secs(3_600);
        let cutoff = Cutoff::new(None, Some(hour));
        let started = Instant::now();
        let error = cutoff.expired().await;
        assert_eq!(started.elapsed().as_secs(), 3_600);
        assert!(cutoff.is_over() && !Cutoff::new(None, Some(hour)).is_over());
        assert!(error.to_string().contains("--max-duration 1h"), "{error}");
        for endless in [Cutoff::default(), Cutoff::new(None, Some(Duration::MAX))] {
            assert!(tokio::time::timeout(hour, endless.expired()).await.is_err());
        }
    }
}
