//! Asking a peer again while it is merely in trouble, under the rules of [`retry`](crate::retry).

use super::{Error, Peer};
use crate::error::Class;
use crate::retry::Policy;
use crate::seams::Seams;
use crate::shutdown::Shutdown;

/// How long to keep asking, and when to stop.
#[derive(Debug, Clone, Copy)]
pub struct Patience<'a> {
    /// The rule for one request.
    pub policy: Policy,
    /// Chance, for the jitter.
    pub seams: &'a Seams,
    /// Whether we were asked to end.
    pub stop: &'a Shutdown,
}

impl Peer {
    /// Sends a list request until it succeeds, the policy or the peer's budget is spent, or the end is asked for.
    ///
    /// # Errors
    /// The last error of the request, or [`Error::Cancelled`].
    pub async fn patiently<T, S>(
        &self,
        patience: Patience<'_>,
        state: &mut S,
        request: impl AsyncFn(&Self, &mut S) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for failed in 1.. {
            if !self.turn(patience.stop).await {
                return Err(Error::Cancelled);
            }
            let result = tokio::select! {
                result = request(self, state) => result,
                () = patience.stop.wait() => return Err(Error::Cancelled),
            };
            let error = match result {
                Ok(value) => {
                    self.budget().earn();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let worth_it =
                matches!(error.class(), Class::Transient | Class::Corrupt) && !error.begins_again();
            let wait = patience
                .policy
                .wait(failed, error.retry_after(), &*patience.seams.rng)
                .filter(|_| worth_it);
            let Some(wait) = wait.filter(|_| self.budget().spend()) else {
                return Err(error);
            };
            tracing::warn!(peer = self.name(), attempt = failed, reason = %error, "asking again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = patience.stop.wait() => return Err(Error::Cancelled),
            }
        }
        unreachable!("the policy ends")
    }
}
