//! What a run tells while it goes on: counts for whoever looks, findings and phases for its log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::log::{Level, RunLog};
use crate::monitor::{Counter, Done, Monitor, Phase, Tally, Transfers};
use crate::seams::Clock;

/// What all runs of this process did together, for rates over time.
#[derive(Debug, Default)]
pub struct Moved([AtomicU64; Counter::ALL.len()]);

impl Moved {
    /// Units that were done since the process began.
    #[must_use]
    pub fn read(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

/// Watches one run.
#[derive(Debug)]
pub(super) struct Watch {
    tally: Tally,
    phase: Mutex<Option<Phase>>,
    moved: Arc<Moved>,
    log: Arc<RunLog>,
    clock: Arc<dyn Clock>,
}

/// What a run has done so far.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    /// What began last.
    pub phase: Option<&'static str>,
    /// Records looked at.
    pub records: Done,
    /// Files that reached their names.
    pub files: Done,
    /// Media bytes brought here.
    pub bytes: Done,
    /// Assets whose renditions were made.
    pub renditions: Done,
    /// Records that a peer took.
    pub records_sent: Done,
    /// Media bytes sent.
    pub bytes_sent: Done,
    /// Files in flight at most, now and ever.
    pub transfers: Done,
    /// What is left at the pace so far, in seconds; `None` while it is still being counted.
    pub eta_s: Option<u64>,
}

impl Watch {
    pub(super) fn new(log: Arc<RunLog>, moved: Arc<Moved>, clock: Arc<dyn Clock>) -> Self {
        Self {
            tally: Tally::default(),
            phase: Mutex::default(),
            moved,
            log,
            clock,
        }
    }

    /// Adds a line to the run's log.
    pub(super) fn say(&self, level: Level, text: &str) {
        self.log.line(self.clock.now(), level, text);
    }

    /// Adds its last line.
    pub(super) fn say_last(&self, level: Level, text: &str) {
        self.log.last_line(self.clock.now(), level, text);
    }

    pub(super) fn seen(&self) -> Seen {
        let read = |counter| self.tally.read(counter);
        Seen {
            phase: self.phase().map(Phase::name),
            records: read(Counter::Records),
            files: read(Counter::Files),
            bytes: read(Counter::Bytes),
            renditions: read(Counter::Renditions),
            records_sent: read(Counter::RecordsSent),
            bytes_sent: read(Counter::BytesSent),
            transfers: self.tally.transfers(),
            eta_s: self.tally.eta().map(|left| left.as_secs()),
        }
    }

    fn phase(&self) -> Option<Phase> {
        *self.phase.lock().expect("no panic while it is held")
    }
}

impl Monitor for Watch {
    fn phase(&self, phase: Phase) {
        let before = self
            .phase
            .lock()
            .expect("no panic while it is held")
            .replace(phase);
        if before != Some(phase) {
            self.say(Level::Info, phase.name());
        }
    }

    fn expect(&self, counter: Counter, more: u64) {
        self.tally.expect(counter, more);
    }

    fn advance(&self, counter: Counter, by: u64) {
        self.tally.advance(counter, by);
        self.moved.0[counter as usize].fetch_add(by, Ordering::Relaxed);
    }

    fn finding(&self, text: &str) {
        self.say(Level::Warn, text);
    }

    fn transfers(&self, transfers: &Transfers) {
        self.tally.set_transfers(transfers);
    }
}
