//! The two lanes of downloads: who may begin, and what the run says of it.
//!
//! Each lane has a [`Window`] that says how many of its files may be in flight. Both together keep to the ceiling, which is
//! `limits.transfers`: a file needs a place in its lane first and then one of the ceiling's permits, which are given out in
//! the order of asking, so that neither lane keeps the other waiting for good. A permit travels with its job until the
//! publisher took it. What a lane has learned holds as long as the pull, over all of its rounds. The ceiling may move meanwhile: when
//! it sinks, what is in flight ends as it began, and its permits are not given out again.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ceiling::{Ceiling, Share};
use super::window::{Arrival, Change, Window};
use crate::catalogue;
use crate::monitor::{LaneReport, Monitor, Transfers};

/// Both lanes of one pull.
#[derive(Debug)]
pub(super) struct Lanes {
    small: Arc<Lane>,
    large: Arc<Lane>,
    ceiling: Arc<Ceiling>,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    name: &'static str,
    state: Mutex<State>,
    /// Rung when there may be a place.
    free: Notify,
    ceiling: Arc<Ceiling>,
    since: Instant,
}

#[derive(Debug)]
struct State {
    window: Window,
    in_flight: usize,
    /// The most that were in flight.
    most: usize,
    pushed_back: u64,
}

impl Lanes {
    /// Lanes that together have at most `ceiling` files in flight.
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let permits = Arc::new(Ceiling::of(ceiling));
        let lane = |name, window| {
            Arc::new(Lane {
                name,
                state: Mutex::new(State {
                    window,
                    in_flight: 0,
                    most: 0,
                    pushed_back: 0,
                }),
                free: Notify::new(),
                ceiling: permits.clone(),
                since: Instant::now(),
            })
        };
        Self {
            small: lane("small", Window::of_small(ceiling)),
            large: lane("large", Window::of_large(ceiling)),
            ceiling: permits,
        }
    }

    /// The lane of a kind of job.
    pub(super) fn of(&self, lane: catalogue::Lane) -> &Arc<Lane> {
        match lane {
            catalogue::Lane::Large => &self.large,
            _ => &self.small,
        }
    }

    /// What the lanes did so far.
    pub(super) fn report(&self) -> Transfers {
        Transfers {
            ceiling: self.ceiling.most() as u64,
            small: self.small.report(),
            large: self.large.report(),
        }
    }

    /// Moves the ceiling of both lanes together, and this lane below it; tells of it where it is another.
    pub(super) fn keep_to(&self, monitor: &dyn Monitor, lane: &Lane, most: usize) {
        let most = most.max(1);
        let has_moved = self.ceiling.move_to(most);
        match lane.change(|state| state.window.keep_to(most)) {
            Some(change) => self.tell(monitor, lane, change),
            None if has_moved => monitor.transfers(&self.report()),
            None => {}
        }
    }

    /// Tells of another width.
    pub(super) fn tell(&self, monitor: &dyn Monitor, lane: &Lane, change: Change) {
        let Change { from, to, why } = change;
        tracing::debug!(lane = lane.name, from, to, why, "width");
        monitor.transfers(&self.report());
    }
}

impl Lane {
    /// Returns when one more file may be in flight. Only one task asks at a time.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        let mut has_waited = false;
        let mut permit = loop {
            let free = self.free.notified();
            match self.enter(has_waited) {
                Some(permit) => break permit,
                None => free.await,
            }
            has_waited = true;
        };
        permit.share = Some(self.ceiling.share().await);
        permit.begin();
        permit
    }

    /// Whoever waited for a place finds none in flight where there is but one; the lane did not stand still for that.
    fn enter(self: &Arc<Self>, has_waited: bool) -> Option<Permit> {
        let mut state = self.lock();
        if state.in_flight >= state.window.width() {
            state.window.held_up();
            return None;
        }
        if state.in_flight == 0 && !has_waited {
            state.window.begins(self.since.elapsed());
        }
        state.in_flight += 1;
        Some(Permit {
            lane: self.clone(),
            begun: Duration::ZERO,
            share: None,
        })
    }

    /// How many may be in flight.
    pub(super) fn width(&self) -> usize {
        self.lock().window.width()
    }

    /// So many bytes came over the line since the last call.
    pub(super) fn moved(&self, bytes: u64) -> Option<Change> {
        let now = self.since.elapsed();
        self.change(|state| state.window.moved(now, bytes))
    }

    fn change(&self, by: impl FnOnce(&mut State) -> Option<Change>) -> Option<Change> {
        let change = by(&mut self.lock());
        if change.is_some() {
            self.free.notify_one();
        }
        change
    }

    fn report(&self) -> LaneReport {
        let state = self.lock();
        LaneReport {
            width: state.window.width() as u64,
            most: state.most as u64,
            pushed_back: state.pushed_back,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no panic while a lane's state is held")
    }
}

/// The right to have one file in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    lane: Arc<Lane>,
    begun: Duration,
    share: Option<Share>,
}

impl Permit {
    /// The lane it is of.
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// From now on the file is in flight; called again after a wait that says nothing of the peer's speed.
    pub(super) fn begin(&mut self) {
        self.begun = self.lane.since.elapsed();
        let mut state = self.lane.lock();
        state.most = state.most.max(state.in_flight);
    }

    /// The file arrived; `waited` is from the request to the head of its answer.
    pub(super) fn arrived(&self, waited: Duration, bytes: u64) -> Option<Change> {
        let now = self.lane.since.elapsed();
        let file = Arrival {
            begun: self.begun,
            waited,
            bytes,
        };
        self.lane.change(|state| state.window.arrived(now, file))
    }

    /// The peer did not take the request, or the connection failed.
    pub(super) fn pushed_back(&self) -> Option<Change> {
        let now = self.lane.since.elapsed();
        self.lane.change(|state| {
            state.pushed_back += 1;
            state.window.pushed_back(now, self.begun, state.in_flight)
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lane.lock().in_flight -= 1;
        self.lane.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::catalogue::Lane::{Large, Small};
    use crate::monitor::Silent;

    #[tokio::test]
    async fn a_ceiling_of_one_holds_for_both_lanes_together() {
        let lanes = Lanes::new(1);
        let small = lanes.of(Small).permit().await;
        assert!(lanes.of(Small).permit().now_or_never().is_none());
        let large = lanes.of(Large).permit();
        tokio::pin!(large);
        assert!(large.as_mut().now_or_never().is_none());
        drop(small);
        let large = large.await;
        assert!(lanes.of(Small).permit().now_or_never().is_none());
        drop(large);
        lanes.of(Small).permit().await;
        let report = lanes.report();
        assert_eq!(
            (report.ceiling, report.small.most, report.large.most),
            (1, 1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_of_one_file_at_a_time_widens_once_it_may() {
        let lanes = Lanes::new(1);
        let lane = lanes.of(Small);
        let mut held = lane.permit().await;
        lanes.keep_to(&Silent, lane, 8);
        for _ in 0..8 {
            let next = lane.permit();
            tokio::pin!(next);
            assert!(next.as_mut().now_or_never().is_none(), "one at a time");
            tokio::time::advance(Duration::from_millis(30)).await;
            let change = held.arrived(Duration::from_millis(20), 1_000);
            drop(held);
            held = next.await;
            if change.is_some() {
                break;
            }
        }
        assert!(lane.width() > 1);
        assert_eq!(lanes.report().ceiling, 8);
    }

    #[tokio::test]
    async fn what_waited_for_a_place_and_went_away_leaves_it_to_others() {
        let lanes = Lanes::new(2);
        let held = [
            lanes.of(Small).permit().await,
            lanes.of(Small).permit().await,
        ];
        // It has its place in the lane and waits for the ceiling, then does not wait any more.
        assert!(lanes.of(Large).permit().now_or_never().is_none());
        drop(held);
        assert!(lanes.of(Large).permit().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_push_takes_half_and_who_is_in_flight_ends_first() {
        let lanes = Lanes::new(8);
        let lane = lanes.of(Small);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(lane.permit().await);
        }
        let change = held[0].pushed_back().unwrap();
        assert_eq!((change.from, change.to), (8, 4));
        // The others were under way by then.
        assert_eq!(held[1].pushed_back(), None);
        held.drain(..4);
        assert!(lane.permit().now_or_never().is_none());
        held.pop();
        assert!(lane.permit().now_or_never().is_some());
        assert_eq!(lane.report().pushed_back, 2);
    }
}
