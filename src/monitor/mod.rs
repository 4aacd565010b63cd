//! How the library tells the outside what it is doing, without knowing who listens: a terminal, a log, a test.

mod tally;

use std::collections::BTreeMap;
use std::sync::Mutex;

pub use tally::{Done, Tally};

/// What is being done, as a person would call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Walking a folder.
    Import,
    /// Fetching record pages.
    Records,
    /// Fetching files.
    Files,
    /// Making renditions.
    Renditions,
    /// Applying deletes and moves.
    Reconcile,
    /// Comparing two nodes.
    Verify,
    /// Sending records and files.
    Push,
    /// Reading what is here again.
    Scrub,
}

impl Phase {
    /// What goes on, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "walking a folder",
            Self::Records => "fetching records",
            Self::Files => "fetching files",
            Self::Renditions => "making renditions",
            Self::Reconcile => "deleting and moving",
            Self::Verify => "comparing",
            Self::Push => "sending",
            Self::Scrub => "reading again what is here",
        }
    }
}

/// What is being counted. Each name ends in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Records looked at.
    Records,
    /// Files that reached their final name.
    Files,
    /// Media bytes brought here, whatever the way.
    Bytes,
    /// Assets whose renditions were made or found impossible.
    Renditions,
    /// Records that a peer took.
    RecordsSent,
    /// Media bytes sent.
    BytesSent,
    /// Of [`Renditions`](Self::Renditions), assets that allow none.
    RenditionsFailed,
    /// Files that are tried again.
    Retries,
    /// Files that came whole and had another digest than was stated.
    Mismatches,
}

impl Counter {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::Records,
        Self::Files,
        Self::Bytes,
        Self::Renditions,
        Self::RecordsSent,
        Self::BytesSent,
        Self::RenditionsFailed,
        Self::Retries,
        Self::Mismatches,
    ];
}

/// Receives progress. Calls are cheap and may come from any thread.
pub trait Monitor: Send + Sync {
    /// A new phase began; several may overlap.
    fn phase(&self, phase: Phase);
    /// `more` units of `counter` are now known to lie ahead.
    fn expect(&self, counter: Counter, more: u64);
    /// `by` units are done.
    fn advance(&self, counter: Counter, by: u64);
    /// One item needs a person, now or later; the run goes on.
    fn finding(&self, text: &str);
    /// As many files may be in flight from now on.
    fn transfers(&self, _transfers: &Transfers) {}
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn phase(&self, _: Phase) {}
    fn expect(&self, _: Counter, _: u64) {}
    fn advance(&self, _: Counter, _: u64) {}
    fn finding(&self, _: &str) {}
}

/// Remembers everything, for assertions.
#[derive(Debug, Default)]
pub struct TestMonitor {
    seen: Mutex<Seen>,
}

/// What a [`TestMonitor`] remembers.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Phases in the order they began.
    pub phases: Vec<Phase>,
    /// Units announced, by counter.
    pub expected: BTreeMap<Counter, u64>,
    /// Units done, by counter.
    pub advanced: BTreeMap<Counter, u64>,
    /// Findings in order.
    pub findings: Vec<String>,
}

impl TestMonitor {
    /// What was reported so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while the notes are held")
    }
}

impl Monitor for TestMonitor {
    fn phase(&self, phase: Phase) {
        self.lock().phases.push(phase);
    }

    fn expect(&self, counter: Counter, more: u64) {
        let mut seen = self.lock();
        let expected = seen.expected.entry(counter).or_default();
        *expected = expected.saturating_add(more);
    }

    fn advance(&self, counter: Counter, by: u64) {
        *self.lock().advanced.entry(counter).or_default() += by;
    }

    fn finding(&self, text: &str) {
        self.lock().findings.push(text.to_owned());
    }
}

/// How many files were in flight at once, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Transfers {
    /// The most that both lanes together may have in flight: `limits.transfers`.
    pub ceiling: u64,
    /// Files below `limits.large_file`.
    pub small: LaneReport,
    /// Files from there on.
    pub large: LaneReport,
}

impl Transfers {
    /// Files of both lanes that may be in flight.
    #[must_use]
    pub fn width(&self) -> u64 {
        (self.small.width + self.large.width).min(self.ceiling)
    }
}

/// How many files of one lane were in flight at once, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct LaneReport {
    /// Files that may be in flight now, or could when the run ended.
    pub width: u64,
    /// The most files that were in flight at once.
    pub most: u64,
    /// Requests that the peer did not take, or whose connection failed.
    pub pushed_back: u64,
}

/// What one run did: the shape that `seed`, `sync`, `pull` and `push` print (design section 8, Failures and exit codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct RunReport {
    /// Records stored because they were new or newer.
    pub records: u64,
    /// Media files that reached their final name.
    pub files_written: u64,
    /// Media files that were under their names before we came: read once, and kept where they lie.
    pub files_adopted: u64,
    /// Of the written ones, those that only got another name.
    pub files_moved: u64,
    /// Of the written ones, those made of an equal file that is here.
    pub files_cloned: u64,
    /// Media bytes received from the peer; bodies only.
    pub bytes_received: u64,
    /// Records that the peer took of those that were sent.
    pub records_sent: u64,
    /// Media files sent to the peer.
    pub files_sent: u64,
    /// Media bytes sent to the peer; bodies only.
    pub bytes_sent: u64,
    /// Records that were sent and that the peer has otherwise, or does not show.
    pub refused: u64,
    /// Assets deleted.
    pub deleted: u64,
    /// Items set aside after their last try.
    pub quarantined: u64,
    /// Originals no rendition can be made of: findings, not failures.
    pub unrenderable: u64,
    /// Wall time.
    pub elapsed_ms: u64,
    /// How many files were in flight at once.
    pub transfers: Transfers,
}

impl RunReport {
    /// Both together: what came in one part of a run, and what went in the other.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let transfers = match self.transfers == Transfers::default() {
            true => other.transfers,
            false => self.transfers,
        };
        Self {
            records: self.records + other.records,
            files_written: self.files_written + other.files_written,
            files_adopted: self.files_adopted + other.files_adopted,
            files_moved: self.files_moved + other.files_moved,
            files_cloned: self.files_cloned + other.files_cloned,
            bytes_received: self.bytes_received + other.bytes_received,
            records_sent: self.records_sent + other.records_sent,
            files_sent: self.files_sent + other.files_sent,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            refused: self.refused + other.refused,
            deleted: self.deleted + other.deleted,
            quarantined: self.quarantined + other.quarantined,
            unrenderable: self.unrenderable + other.unrenderable,
            elapsed_ms: self.elapsed_ms + other.elapsed_ms,
            transfers,
        }
    }
}
