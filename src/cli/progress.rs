//! Progress for people: a bar with an ETA on a terminal, a line per interval elsewhere.
//!
//! Totals come from the metadata pass, which announces what lies ahead before it is fetched, so the ETA holds once the
//! listing is through; until then it says that it is still counting.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Global;
use super::output;
use crate::monitor::{Counter, Monitor, Phase, Tally, Transfers};

/// Counts, and shows them.
#[derive(Debug)]
pub(super) struct Progress {
    tally: Tally,
    bar: ProgressBar,
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
            tally: Tally::default(),
            bar,
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

    /// The state in one line.
    fn line(&self) -> String {
        let of = |counter| {
            let count = self.tally.read(counter);
            format!(
                "{} of {}",
                output::count(count.done),
                output::count(count.of)
            )
        };
        let bytes = self.tally.read(Counter::Bytes);
        let renditions = self.tally.read(Counter::Renditions).done;
        let mut line = format!(
            "records {}, files {}",
            of(Counter::Records),
            of(Counter::Files)
        );
        line.push_str(&format!(
            ", {} of {}",
            output::bytes(bytes.done),
            output::bytes(bytes.of)
        ));
        if renditions > 0 {
            line.push_str(&format!(", {} rendered", output::count(renditions)));
        }
        let sent = self.tally.read(Counter::RecordsSent);
        let bytes = self.tally.read(Counter::BytesSent);
        if sent.of > 0 || bytes.of > 0 {
            let (done, of) = (output::bytes(bytes.done), output::bytes(bytes.of));
            let sent = output::count(sent.done);
            line.push_str(&format!(", sent {sent} records, {done} of {of}"));
        }
        let transfers = self.tally.transfers();
        if transfers.of > 0 {
            line.push_str(&format!(", {}/{} transfers", transfers.done, transfers.of));
        }
        line.push_str(&match self.tally.eta() {
            Some(eta) => format!(", ETA {}", indicatif::HumanDuration(eta)),
            None => ", counting".to_owned(),
        });
        line
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Monitor for Progress {
    fn phase(&self, phase: Phase) {
        tracing::debug!(?phase, "phase");
    }

    fn expect(&self, counter: Counter, more: u64) {
        self.tally.expect(counter, more);
    }

    fn advance(&self, counter: Counter, by: u64) {
        self.tally.advance(counter, by);
        if !self.bar.is_hidden() {
            self.bar.set_message(self.line());
        }
    }

    fn transfers(&self, transfers: &Transfers) {
        self.tally.set_transfers(transfers);
    }

    fn finding(&self, text: &str) {
        self.bar
            .suspend(|| tracing::warn!(target: "finding", "{text}"));
    }
}
