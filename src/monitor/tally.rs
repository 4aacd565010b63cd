//! Counts of a run, done and expected, from which a display makes what it shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Counter, Transfers};

/// Counts what is done and what lies ahead. Calls are cheap and may come from any thread.
#[derive(Debug)]
pub struct Tally {
    counters: [Count; Counter::ALL.len()],
    /// How many files may be in flight, and at most.
    transfers: Count,
    started: Instant,
}

#[derive(Debug, Default)]
struct Count {
    done: AtomicU64,
    expected: AtomicU64,
}

/// Units of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Done {
    /// So many are done.
    pub done: u64,
    /// Of so many that are known of; never fewer than are done.
    pub of: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counters: Default::default(),
            transfers: Count::default(),
            started: Instant::now(),
        }
    }
}

impl Tally {
    /// `more` units lie ahead.
    pub fn expect(&self, counter: Counter, more: u64) {
        let count = &self.counters[counter as usize];
        count.expected.fetch_add(more, Ordering::Relaxed);
    }

    /// `by` units are done.
    pub fn advance(&self, counter: Counter, by: u64) {
        let count = &self.counters[counter as usize];
        count.done.fetch_add(by, Ordering::Relaxed);
    }

    /// As many files may be in flight from now on.
    pub fn set_transfers(&self, transfers: &Transfers) {
        let Count { done, expected } = &self.transfers;
        done.store(transfers.width(), Ordering::Relaxed);
        expected.store(transfers.ceiling, Ordering::Relaxed);
    }

    /// Units of a kind.
    #[must_use]
    pub fn read(&self, counter: Counter) -> Done {
        self.counters[counter as usize].read()
    }

    /// How many files may be in flight, and at most; 0 of 0 before any were.
    #[must_use]
    pub fn transfers(&self) -> Done {
        self.transfers.read()
    }

    /// What is left at the pace so far; `None` while records are still being counted.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let records = self.read(Counter::Records);
        if records.done < records.of {
            return None;
        }
        let left = |count: Done| {
            let spent = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let left = count.of.saturating_sub(count.done);
            let whole = left.saturating_mul(spent).checked_div(count.done);
            Duration::from_millis(whole.unwrap_or(0))
        };
        Some(left(self.read(Counter::Bytes)).max(left(self.read(Counter::Files))))
    }
}

impl Count {
    fn read(&self) -> Done {
        let done = self.done.load(Ordering::Relaxed);
        Done {
            done,
            of: self.expected.load(Ordering::Relaxed).max(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_was_expected_and_nothing_is_told_while_records_are_counted() {
        let tally = Tally::default();
        tally.expect(Counter::Records, 2);
        assert_eq!(tally.eta(), None);
        tally.advance(Counter::Records, 3);
        assert_eq!(tally.read(Counter::Records), Done { done: 3, of: 3 });
        assert_eq!(tally.eta(), Some(Duration::ZERO));
        tally.expect(Counter::Bytes, 10);
        assert_eq!(tally.read(Counter::Bytes), Done { done: 0, of: 10 });
    }
}
