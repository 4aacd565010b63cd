//! Progress for people: a bar with an ETA on a terminal, a line per interval elsewhere.
//!
//! Totals come from the metadata pass, which announces what lies ahead before it is fetched, so the ETA holds once the
//! listing is through; until then it says that it is still counting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Global;
use super::output;
use crate::monitor::{Counter, Monitor, Phase, Transfers};

/// Counts, and shows them.
#[derive(Debug)]
pub(super) struct Progress {
    counters: [(AtomicU64, AtomicU64); 6],
    phase: AtomicU64,
    /// How many files may be in flight, and at most.
    transfers: (AtomicU64, AtomicU64),
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// A display that fits where stderr goes. Lines per interval are printed by a task that ends with the last handle.
    #[must_use]
    pub(super) fn new(global: &Global) -> Arc<Self> {
        use std::io::IsTerminal as _;
        let bars = !global.quiet && (global.progress || std::io::stderr().is_terminal());
        let bar = if bars {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(style());
        if bars {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let progress = Arc::new(Self {
            counters: Default::default(),
            phase: AtomicU64::new(0),
            transfers: Default::default(),
            bar,
            started: Instant::now(),
        });
        if !bars && !global.quiet && !global.stats.is_zero() {
            let (watched, interval) = (Arc::downgrade(&progress), global.stats);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(interval).await;
                    let Some(progress) = watched.upgrade() else {
                        return;
                    };
                    tracing::info!(target: "progress", "{}", progress.line());
                }
            });
        }
        progress
    }

    /// Takes the display away, so that the result stands alone.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn counter(&self, counter: Counter) -> &(AtomicU64, AtomicU64) {
        &self.counters[counter as usize]
    }

    fn read(&self, counter: Counter) -> (u64, u64) {
        let (done, expected) = self.counter(counter);
        let done = done.load(Ordering::Relaxed);
        (done, expected.load(Ordering::Relaxed).max(done))
    }

    /// The state in one line.
    fn line(&self) -> String {
        let of = |counter| {
            let (done, expected) = self.read(counter);
            format!("{} of {}", output::count(done), output::count(expected))
        };
        let (bytes, all_bytes) = self.read(Counter::Bytes);
        let renditions = self.read(Counter::Renditions).0;
        let mut line = format!(
            "records {}, files {}",
            of(Counter::Records),
            of(Counter::Files)
        );
        line.push_str(&format!(
            ", {} of {}",
            output::bytes(bytes),
            output::bytes(all_bytes)
        ));
        if renditions > 0 {
            line.push_str(&format!(", {} rendered", output::count(renditions)));
        }
        let (sent, to_send) = self.read(Counter::RecordsSent);
        let (bytes, all_bytes) = self.read(Counter::BytesSent);
        if to_send > 0 || all_bytes > 0 {
            let (bytes, all_bytes) = (output::bytes(bytes), output::bytes(all_bytes));
            let sent = output::count(sent);
            line.push_str(&format!(", sent {sent} records, {bytes} of {all_bytes}"));
        }
        let (now, most) = &self.transfers;
        let (now, most) = (now.load(Ordering::Relaxed), most.load(Ordering::Relaxed));
        if most > 0 {
            line.push_str(&format!(", {now}/{most} transfers"));
        }
        line.push_str(&match self.eta() {
            Some(eta) => format!(", ETA {}", indicatif::HumanDuration(eta)),
            None => ", counting".to_owned(),
        });
        line
    }

    /// What is left at the pace so far; `None` while records are still being counted.
    fn eta(&self) -> Option<Duration> {
        let (records, all_records) = self.read(Counter::Records);
        if records < all_records {
            return None;
        }
        let (bytes, all_bytes) = self.read(Counter::Bytes);
        let (files, all_files) = self.read(Counter::Files);
        let left = |done: u64, all: u64| {
            let spent = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let per_unit = spent.checked_div(done).unwrap_or(0);
            let whole = all
                .saturating_sub(done)
                .saturating_mul(spent)
                .checked_div(done);
            Duration::from_millis(whole.unwrap_or(per_unit))
        };
        Some(left(bytes, all_bytes).max(left(files, all_files)))
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Monitor for Progress {
    fn phase(&self, phase: Phase) {
        self.phase.store(phase as u64, Ordering::Relaxed);
        tracing::debug!(?phase, "phase");
    }

    fn expect(&self, counter: Counter, more: u64) {
        self.counter(counter).1.fetch_add(more, Ordering::Relaxed);
    }

    fn advance(&self, counter: Counter, by: u64) {
        self.counter(counter).0.fetch_add(by, Ordering::Relaxed);
        if !self.bar.is_hidden() {
            self.bar.set_message(self.line());
        }
    }

    fn transfers(&self, transfers: &Transfers) {
        let (now, most) = &self.transfers;
        now.store(transfers.width(), Ordering::Relaxed);
        most.store(transfers.ceiling, Ordering::Relaxed);
    }

    fn finding(&self, text: &str) {
        self.bar
            .suspend(|| tracing::warn!(target: "finding", "{text}"));
    }
}
