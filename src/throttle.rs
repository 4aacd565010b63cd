//! How fast this node may send, fetch and ask: the limits of `limits.bwlimit` and `limits.tpslimit`, for everything that one
//! process does.
//!
//! Each is a bucket that fills at its rate and holds what may come in one go. Whoever moved bytes takes as many out and waits
//! until there were enough, in the order of asking, so that many transfers share one rate evenly; the connection meanwhile
//! fills its window, and the other side waits too. Without a limit nothing is locked. A rate that changes with the hour is
//! looked up at every look at the bucket, at least once a second.
//!
//! Waiting may be dropped at any time; what was not waited for is not taken. How much may go on at once is in `at_once`.

mod at_once;

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use at_once::{AtOnce, Most};

use crate::config::{Bandwidth, Limits, Rates};
use crate::seams::Clock;

/// The limits of a process. Clones are cheap and share them.
#[derive(Debug, Clone)]
pub struct Throttle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: RwLock<Arc<Rules>>,
    clock: Arc<dyn Clock>,
    zone: TimeZone,
    sent: Bucket,
    fetched: Bucket,
    asked: Bucket,
}

/// What holds, until somebody changes it.
#[derive(Debug)]
struct Rules {
    bandwidth: Bandwidth,
    /// Requests a second, and how many of them may come at once.
    requests: Option<Pace>,
}

impl Rules {
    fn of(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            bandwidth: limits.bwlimit.clone(),
            requests: limits.tpslimit.map(|per_second| Pace {
                per_second,
                burst: f64::from(limits.tpslimit_burst),
            }),
        })
    }
}

/// Longest wait between two looks at the time of day.
const LOOK: Duration = Duration::from_secs(1);

impl Throttle {
    /// The limits of a configuration, in this machine's time zone.
    #[must_use]
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self::in_zone(limits, clock, TimeZone::system())
    }

    fn in_zone(limits: &Limits, clock: Arc<dyn Clock>, zone: TimeZone) -> Self {
        Self(Arc::new(Inner {
            rules: RwLock::new(Rules::of(limits)),
            clock,
            zone,
            sent: Bucket::default(),
            fetched: Bucket::default(),
            asked: Bucket::default(),
        }))
    }

    /// Lets other limits hold from now on; who waits notices within a second.
    pub fn set(&self, limits: &Limits) {
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules::of(limits);
    }

    /// Media bytes that may be sent and fetched in a second right now.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.0.rates()
    }

    /// Returns when a request may go out.
    pub async fn ask(&self) {
        if self.0.rules().requests.is_some() {
            self.0.asked.take(1.0, || self.0.rules().requests).await;
        }
    }

    /// Returns when so many bytes may have come.
    pub async fn fetched(&self, bytes: usize) {
        if !self.0.rules().bandwidth.is_off() {
            self.0
                .fetched
                .take(bytes as f64, || self.0.pace(|rates| rates.down))
                .await;
        }
    }

    /// Returns when so many bytes may go out.
    pub async fn send(&self, bytes: usize) {
        if !self.0.rules().bandwidth.is_off() {
            self.0
                .sent
                .take(bytes as f64, || self.0.pace(|rates| rates.up))
                .await;
        }
    }
}

impl Inner {
    fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    fn rates(&self) -> Rates {
        let now = self.clock.now().as_millis();
        // A clock beyond the calendar limits nothing.
        jiff::Timestamp::from_millisecond(now).map_or_else(
            |_| Rates::default(),
            |now| self.rules().bandwidth.at(self.zone.to_datetime(now)),
        )
    }

    /// What holds for a direction right now.
    fn pace(&self, of: impl Fn(Rates) -> Option<NonZeroU64>) -> Option<Pace> {
        of(self.rates()).map(|bytes| Pace::of_bytes(bytes.get()))
    }
}

/// A rate, and how much may come in one go after a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    per_second: f64,
    burst: f64,
}

impl Pace {
    /// A tenth of a second's worth at once, so that a rate shows in every second.
    fn of_bytes(per_second: u64) -> Self {
        let per_second = per_second as f64;
        Self {
            per_second,
            burst: (per_second / 10.0).max(1.0),
        }
    }
}

/// What may be taken right now.
#[derive(Debug, Default)]
struct Bucket(Mutex<Option<Level>>);

#[derive(Debug, Clone, Copy)]
struct Level {
    /// Below 0 after somebody took more than the bucket can hold.
    held: f64,
    at: Instant,
}

impl Bucket {
    /// Takes `amount`, once there is as much or the bucket is full. Who asks first is served first.
    async fn take(&self, amount: f64, pace: impl Fn() -> Option<Pace>) {
        let mut level = self.0.lock().await;
        while let Some(pace) = pace() {
            let now = Instant::now();
            let held = level.map_or(pace.burst, |level| {
                level.held + now.duration_since(level.at).as_secs_f64() * pace.per_second
            });
            let held = held.min(pace.burst);
            let lacking = amount.min(pace.burst) - held;
            if lacking <= 0.0 {
                *level = Some(Level {
                    held: held - amount,
                    at: now,
                });
                return;
            }
            *level = Some(Level { held, at: now });
            let wait = (lacking / pace.per_second).min(LOOK.as_secs_f64());
            // A timer counts milliseconds; less than one would spin.
            let wait = Duration::from_secs_f64(wait).max(Duration::from_millis(1));
            tokio::time::sleep(wait).await;
        }
        *level = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::model::Timestamp;

    /// A clock that stands still until it is moved.
    #[derive(Debug, Default)]
    struct Standing(AtomicI64);

    impl Clock for Standing {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    fn throttle(limits: &Limits) -> (Throttle, Arc<Standing>) {
        let clock = Arc::new(Standing::default());
        (
            Throttle::in_zone(limits, clock.clone(), TimeZone::UTC),
            clock,
        )
    }

    fn bandwidth(text: &str) -> Limits {
        Limits {
            bwlimit: text.parse().unwrap(),
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_at_once_for_who_waits_already() {
        let (throttle, _clock) = throttle(&bandwidth("1k"));
        let waiting = throttle.clone();
        let started = Instant::now();
        let waiting = tokio::spawn(async move {
            // At this rate it takes 17 minutes.
            for _ in 0..16 {
                waiting.fetched(64 << 10).await;
            }
            Instant::now()
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(throttle.rates().down, NonZeroU64::new(1 << 10));
        throttle.set(&Limits::default());
        let took = waiting.await.unwrap().duration_since(started);
        assert!(took <= Duration::from_secs(6), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_transfers_share_one_rate_and_each_direction_has_its_own() {
        let (throttle, _clock) = throttle(&bandwidth("1M:2M"));
        let started = Instant::now();
        let all = (0..16).map(|_| {
            let throttle = throttle.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    throttle.fetched(64 << 10).await;
                }
                Instant::now()
            })
        });
        let all: Vec<_> = all.collect();
        let mut ends = Vec::new();
        for one in all {
            ends.push(one.await.unwrap().duration_since(started).as_secs_f64());
        }
        // 40 MiB at 2 MiB a second, the first tenth of a second free.
        let last = ends.iter().copied().fold(0.0, f64::max);
        assert!((19.7..20.4).contains(&last), "{last}");
        let first = ends.iter().copied().fold(f64::MAX, f64::min);
        // Who came first had what may come at once, and a round of all takes half a second.
        assert!(last - first < 2.5, "they share evenly: {first} to {last}");
        let started = Instant::now();
        for _ in 0..20 {
            throttle.send(100 << 10).await;
        }
        let took = started.elapsed().as_secs_f64();
        assert!((1.8..2.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_requests_goes_at_once_and_the_next_at_the_rate() {
        let limits = Limits {
            tpslimit: Some(4.0),
            tpslimit_burst: 3,
            ..Limits::default()
        };
        let (throttle, _clock) = throttle(&limits);
        let started = Instant::now();
        let mut at = Vec::new();
        for _ in 0..5 {
            throttle.ask().await;
            at.push(started.elapsed().as_millis());
        }
        assert_eq!(at[..3], [0, 0, 0]);
        assert!(
            (250..260).contains(&at[3]) && (500..510).contains(&at[4]),
            "{at:?}"
        );
        tokio::time::sleep(Duration::from_secs(60)).await;
        let started = Instant::now();
        for _ in 0..4 {
            throttle.ask().await;
        }
        assert!(
            (250..260).contains(&started.elapsed().as_millis()),
            "a pause earns no more than a burst"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_ends_with_the_hour_frees_who_waits_for_it() {
        let (throttle, clock) = throttle(&bandwidth("00:00,1k 01:00,off"));
        let begun = Instant::now();
        throttle.fetched(1 << 20).await;
        let waiting = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.fetched(1 << 20).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished(), "a quarter of an hour at that rate");
        clock.0.store(3_600_000, Ordering::SeqCst);
        waiting.await.unwrap();
        assert!(
            begun.elapsed() <= Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_while_waiting_takes_nothing() {
        let (throttle, _clock) = throttle(&bandwidth("1k"));
        throttle.fetched(2 << 10).await;
        let gone =
            tokio::time::timeout(Duration::from_millis(500), throttle.fetched(1 << 30)).await;
        assert!(gone.is_err());
        let started = Instant::now();
        throttle.fetched(1).await;
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_waits() {
        let (throttle, _clock) = throttle(&Limits::default());
        let started = Instant::now();
        for _ in 0..1_000 {
            throttle.ask().await;
            throttle.fetched(1 << 30).await;
            throttle.send(1 << 30).await;
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
