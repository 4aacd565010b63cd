//! One fetch for each name, however many wait for it; and what failed a moment ago, so that it is not tried at once again.
//!
//! The first who asks for a name gets the [`Landing`] and does the work; everybody, the first one too, waits for the outcome. A landing
//! that is dropped without a word, by a panic say, is a failure like any other. Bounded: [`MOST`] names under way, [`FAILURES`] kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Error;
use crate::model::{AssetId, FileKind, MediaPath};

/// Names that are under way or wait for their turn.
const MOST: usize = 256;
/// Failures that are remembered.
const FAILURES: usize = 4_096;

/// What a reader asks for: the file of a name, and of an asset where he says of which.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) kind: FileKind,
    pub(super) path: MediaPath,
    pub(super) asset: Option<AssetId>,
}

/// How a fetch ended.
pub(super) type Outcome = Result<(), Error>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<Name, watch::Receiver<Option<Outcome>>>,
    failed: HashMap<Name, (Instant, Error)>,
}

/// What there is to do for a reader.
pub(super) enum Boarding {
    /// Somebody is at it: wait.
    Wait(Waiting),
    /// Nobody is: do it, and wait.
    Fly(Landing, Waiting),
}

/// Hears how a fetch ended.
pub(super) struct Waiting(watch::Receiver<Option<Outcome>>);

impl Waiting {
    /// How it ended; [`Error::Late`] when that takes longer than `most`.
    pub(super) async fn outcome(mut self, most: Duration) -> Outcome {
        let landed = self.0.wait_for(Option::is_some);
        match tokio::time::timeout(most, landed).await {
            Err(_) => Err(Error::Late),
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Error::Closed)),
            Ok(Err(_)) => Err(broken()),
        }
    }
}

impl Flights {
    /// Joins the fetch of this name, or begins it.
    ///
    /// # Errors
    /// What it failed with a moment ago; [`Error::Full`].
    pub(super) fn board(&self, name: &Name) -> Result<Boarding, Error> {
        let mut state = self.state();
        if let Some(landed) = state.under_way.get(name) {
            return Ok(Boarding::Wait(Waiting(landed.clone())));
        }
        if let Some((until, error)) = state.failed.get(name) {
            let rest = until.saturating_duration_since(Instant::now());
            if !rest.is_zero() {
                return Err(error.clone().resting(rest));
            }
            state.failed.remove(name);
        }
        if state.under_way.len() >= MOST {
            return Err(Error::Full);
        }
        let (tell, landed) = watch::channel(None);
        state.under_way.insert(name.clone(), landed.clone());
        let landing = Landing {
            flights: self.clone(),
            name: name.clone(),
            tell,
        };
        Ok(Boarding::Fly(landing, Waiting(landed)))
    }

    /// Forgets what failed: it may not fail any more.
    pub(super) fn forget_failures(&self) {
        self.state().failed.clear();
    }

    /// Names under way.
    pub(super) fn count(&self) -> usize {
        self.state().under_way.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while flights are held")
    }
}

/// The duty to say how a fetch ended.
pub(super) struct Landing {
    flights: Flights,
    name: Name,
    tell: watch::Sender<Option<Outcome>>,
}

impl Landing {
    /// What is to be fetched.
    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// Tells everybody; a failure is what everybody hears for the `rest` that it states.
    pub(super) fn tell(self, outcome: Outcome) {
        if let Err(error @ Error::Upstream { rest, .. }) = &outcome {
            let (mut state, now) = (self.flights.state(), Instant::now());
            if state.failed.len() >= FAILURES {
                state.failed.retain(|_, (until, _)| *until > now);
            }
            if state.failed.len() < FAILURES {
                let kept = (now + *rest, error.clone());
                state.failed.insert(self.name.clone(), kept);
            }
        }
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.state().under_way.remove(&self.name);
    }
}

fn broken() -> Error {
    Error::Ours {
        reason: "a fetch ended unexpectedly".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Trouble;
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn name(path: &str) -> Name {
        Name {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            asset: None,
        }
    }

    #[track_caller]
    fn first(flights: &Flights, path: &str) -> (Landing, Waiting) {
        match flights.board(&name(path)) {
            Ok(Boarding::Fly(landing, waiting)) => (landing, waiting),
            Ok(Boarding::Wait(_)) => panic!("somebody is at {path}"),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn failed(rest: Duration) -> Error {
        Error::Upstream {
            trouble: Trouble::Wrong,
            reason: "other bytes".to_owned(),
            rest,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_does_it_all_hear_of_it_and_a_failure_is_remembered_for_its_rest() {
        let flights = Flights::default();
        let (landing, mine) = first(&flights, "a");
        let others: Vec<_> = (0..5)
            .map(|_| match flights.board(&name("a")) {
                Ok(Boarding::Wait(waiting)) => waiting,
                _ => panic!("two at one name"),
            })
            .collect();
        let (other_name, _) = first(&flights, "b");
        landing.tell(Err(failed(LONG)));
        assert_eq!(mine.outcome(LONG).await, Err(failed(LONG)));
        for other in others {
            assert_eq!(other.outcome(LONG).await, Err(failed(LONG)));
        }
        tokio::time::advance(LONG / 2).await;
        let again = flights.board(&name("a")).err();
        assert_eq!(again, Some(failed(LONG / 2)));
        tokio::time::advance(LONG / 2).await;
        let (landing, waiting) = first(&flights, "a");
        landing.tell(Ok(()));
        assert_eq!(waiting.outcome(LONG).await, Ok(()));
        drop(first(&flights, "a"));
        drop(other_name);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_or_for_somebody_who_is_gone_hears_so() {
        let flights = Flights::default();
        let (landing, waiting) = first(&flights, "a");
        assert_eq!(waiting.outcome(LONG).await, Err(Error::Late));
        let Ok(Boarding::Wait(waiting)) = flights.board(&name("a")) else {
            panic!("it is still under way")
        };
        drop(landing);
        assert_eq!(waiting.outcome(LONG).await, Err(broken()));
        drop(first(&flights, "a"));
    }

    #[test]
    fn no_more_names_are_under_way_than_may_be_and_no_more_failures_kept() {
        let flights = Flights::default();
        let under_way: Vec<_> = (0..MOST)
            .map(|n| first(&flights, &format!("f{n}")))
            .collect();
        assert_eq!(flights.board(&name("one more")).err(), Some(Error::Full));
        drop(under_way);
        for n in 0..FAILURES + 10 {
            first(&flights, &format!("f{n}")).0.tell(Err(failed(LONG)));
        }
        assert_eq!(flights.state().failed.len(), FAILURES);
        assert!(flights.state().under_way.is_empty());
    }
}
