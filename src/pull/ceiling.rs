//! How many files both lanes may have in flight together: permits in the order of asking, of a number that may move.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Debug)]
pub(super) struct Ceiling {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    most: usize,
    /// Permits that are out and that there must not be any more.
    owed: usize,
}

/// The right to one file, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    ceiling: Arc<Ceiling>,
}

impl Ceiling {
    /// As many permits.
    pub(super) fn of(most: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(most)),
            state: Mutex::new(State { most, owed: 0 }),
        }
    }

    /// How many there are to be.
    pub(super) fn most(&self) -> usize {
        self.state().most
    }

    /// Has another number of permits from now on; those that are out stay out. Answers whether it is another.
    pub(super) fn move_to(&self, most: usize) -> bool {
        let mut state = self.state();
        if most == state.most {
            return false;
        }
        if most < state.most {
            let fewer = state.most - most;
            state.owed += fewer - self.permits.forget_permits(fewer);
        } else {
            let more = most - state.most;
            let paid = more.min(state.owed);
            state.owed -= paid;
            self.permits.add_permits(more - paid);
        }
        state.most = most;
        true
    }

    /// Returns when there is a permit.
    pub(super) async fn share(self: &Arc<Self>) -> Share {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Share {
            permit: Some(permit.expect("the permits are never closed")),
            ceiling: Arc::clone(self),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.ceiling.state();
        if let Some(permit) = self.permit.take()
            && state.owed > 0
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_ceiling_that_sinks_takes_no_permit_away_and_gives_none_out_until_it_holds() {
        let ceiling = Arc::new(Ceiling::of(4));
        let mut out = vec![
            ceiling.share().await,
            ceiling.share().await,
            ceiling.share().await,
        ];
        ceiling.move_to(1);
        assert!(ceiling.share().now_or_never().is_none());
        out.truncate(1);
        assert!(ceiling.share().now_or_never().is_none(), "one is out");
        out.clear();
        out.push(ceiling.share().await);
        assert!(ceiling.share().now_or_never().is_none());
        // Up again while more is owed than there is.
        ceiling.move_to(3);
        out.push(ceiling.share().await);
        out.push(ceiling.share().await);
        assert!(ceiling.share().now_or_never().is_none());
        ceiling.move_to(1);
        ceiling.move_to(2);
        out.truncate(1);
        out.push(ceiling.share().now_or_never().unwrap());
        assert!(ceiling.share().now_or_never().is_none());
        assert_eq!(ceiling.most(), 2);
    }
}
