//! What a window goes by: what arrived in a round, over some rounds, and the earliest that answers begin.

use std::time::Duration;

/// How long a floor holds; after that it is what was measured since, so that another route is noticed.
const FLOOR_HOLDS: Duration = Duration::from_secs(10);

/// Bytes that a file counts for beyond its own: what asking for it costs.
const EACH: u64 = 32 << 10;

/// A file that arrived.
#[derive(Debug, Clone, Copy)]
pub(in crate::pull) struct Arrival {
    /// When it was first in flight.
    pub(in crate::pull) begun: Duration,
    /// From the request to the head of its answer.
    pub(in crate::pull) waited: Duration,
    /// Bytes of its body.
    pub(in crate::pull) bytes: u64,
}

/// Goodput of some rounds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) rounds: u32,
    pub(super) goodput: f64,
}

impl Seen {
    pub(super) const NOTHING: Self = Self {
        rounds: 0,
        goodput: 0.0,
    };

    pub(super) fn with(self, goodput: f64) -> Self {
        Self {
            rounds: self.rounds + 1,
            goodput: self.goodput + goodput,
        }
    }

    pub(super) fn mean(self) -> f64 {
        self.goodput / f64::from(self.rounds.max(1))
    }
}

/// What happened since a round began.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) begun: Duration,
    pub(super) work: u64,
    pub(super) files: usize,
    /// How long its files were in flight, together.
    in_flight: Duration,
    waited: Vec<Duration>,
    /// Whether one that began in it has arrived: then a round trip is over.
    pub(super) has_own: bool,
    pub(super) held_up: bool,
}

impl Round {
    pub(super) fn at(begun: Duration) -> Self {
        Self {
            begun,
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, now: Duration, file: Arrival) {
        self.work += file.bytes + EACH;
        self.files += 1;
        self.in_flight += now.saturating_sub(file.begun);
        self.has_own |= file.begun >= self.begun;
        self.waited.push(file.waited);
    }

    pub(super) fn goodput(&self, now: Duration) -> f64 {
        self.work as f64 / now.saturating_sub(self.begun).as_secs_f64().max(1e-6)
    }

    /// How many files were in flight for this goodput: the time that each took, over the time that all took (Little's law).
    pub(super) fn carried(&self, now: Duration) -> f64 {
        self.in_flight.as_secs_f64() / now.saturating_sub(self.begun).as_secs_f64().max(1e-6)
    }

    /// The lower quartile: new connections and stalls of our own make some answers late, a queue makes all of them late.
    pub(super) fn latency(mut self) -> Option<Duration> {
        let at = self.waited.len() / 4;
        if self.waited.is_empty() {
            return None;
        }
        Some(*self.waited.select_nth_unstable(at).1)
    }
}

/// The earliest that answers began, in the best round of late.
#[derive(Debug, Default)]
pub(super) struct Floor {
    turned: Duration,
    before: Option<Duration>,
    now: Option<Duration>,
}

impl Floor {
    pub(super) fn note(&mut self, now: Duration, latency: Duration) {
        if now.saturating_sub(self.turned) >= FLOOR_HOLDS {
            self.turned = now;
            self.before = self.now.take();
        }
        self.now = Some(self.now.map_or(latency, |floor| floor.min(latency)));
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.now.into_iter().chain(self.before).min()
    }
}
