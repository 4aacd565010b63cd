//! How fast bytes moved and how many were left, over the last hour: noted every few seconds, drawn as a curve.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::Web;
use crate::catalogue;
use crate::model::Timestamp;
use crate::monitor::Counter;
use crate::text::bytes;

/// How often it is noted.
const EVERY: Duration = Duration::from_secs(5);
/// Notes that are kept: an hour's.
const KEPT: usize = 720;

/// What was noted at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at: Timestamp,
    received: u64,
    sent: u64,
    left: u64,
}

/// The last hour.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

impl Samples {
    fn held(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().expect("nothing panics while it is held")
    }

    fn note(&self, sample: Sample) {
        let mut held = self.held();
        if held.len() == KEPT {
            held.pop_front();
        }
        held.push_back(sample);
    }

    /// Bytes a second that runs of this process brought.
    pub(super) fn received(&self) -> Curve {
        Curve::of(&rates(&self.held(), |sample| sample.received), "/s")
    }

    /// Bytes a second that they sent.
    pub(super) fn sent(&self) -> Curve {
        Curve::of(&rates(&self.held(), |sample| sample.sent), "/s")
    }

    /// Bytes that were left to be fetched and sent, whoever does it.
    pub(super) fn left(&self) -> Curve {
        let left: Vec<_> = self.held().iter().map(|sample| sample.left).collect();
        Curve::of(&left, "")
    }
}

/// Starts noting. It ends with the page, or when the end is asked for.
pub(super) fn begin(web: &Arc<Web>) {
    let (web, stop) = (Arc::downgrade(web), web.shutdown.clone());
    tokio::spawn(async move {
        loop {
            let Some(web) = web.upgrade() else { return };
            if let Err(error) = note(&web).await {
                tracing::debug!(%error, "bytes left are not known");
            }
            drop(web);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.wait() => return,
            }
        }
    });
}

async fn note(web: &Web) -> Result<(), catalogue::Error> {
    let (fetch, send) = web.node.catalogue.bytes_left().await?;
    web.samples.note(Sample {
        at: web.node.seams.clock.now(),
        received: web.scheduler.done(Counter::Bytes),
        sent: web.scheduler.done(Counter::BytesSent),
        left: fetch.saturating_add(send),
    });
    Ok(())
}

/// Units a second between each two notes.
fn rates(samples: &VecDeque<Sample>, of: impl Fn(&Sample) -> u64) -> Vec<u64> {
    let later = samples.iter().skip(1);
    let pairs = samples.iter().zip(later);
    pairs
        .map(|(from, to)| {
            let ms = u64::try_from(to.at.since(from.at).as_millis()).unwrap_or(u64::MAX);
            let moved = u128::from(of(to).saturating_sub(of(from)));
            let rate = (moved * 1000).checked_div(u128::from(ms)).unwrap_or(0);
            u64::try_from(rate).unwrap_or(u64::MAX)
        })
        .collect()
}

/// A curve, as SVG has it: `0 0 WIDTH HEIGHT`, the last value at the right edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Curve {
    /// Points of the line.
    pub(super) line: String,
    /// Points of what lies under it.
    pub(super) area: String,
    /// The highest value, as a person reads it.
    pub(super) highest: String,
    /// The last value.
    pub(super) last: String,
}

/// Width of the drawing.
const WIDTH: usize = 720;
/// Height of the drawing.
const HEIGHT: f64 = 100.0;

impl Curve {
    fn of(values: &[u64], unit: &str) -> Self {
        let highest = values.iter().copied().max().unwrap_or(0);
        let first_x = WIDTH.saturating_sub(values.len().saturating_sub(1));
        let mut line = String::new();
        for (n, value) in values.iter().enumerate() {
            // Far from where a double is no whole number any more, or so large that it does not show.
            let y = HEIGHT - HEIGHT * (*value as f64) / (highest.max(1) as f64);
            let gap = if n == 0 { "" } else { " " };
            // Writing to a text does not fail.
            let _ = write!(line, "{gap}{},{y:.1}", first_x + n);
        }
        let area = match values {
            [] => String::new(),
            _ => format!("{first_x},{HEIGHT} {line} {WIDTH},{HEIGHT}"),
        };
        let said = |value: u64| format!("{}{unit}", bytes(value));
        Self {
            line,
            area,
            highest: said(highest),
            last: said(values.last().copied().unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, received: u64) -> Sample {
        Sample {
            at: Timestamp::from_millis(second * 1000),
            received,
            sent: 0,
            left: 10,
        }
    }

    #[test]
    fn rates_are_bytes_over_the_time_that_really_passed() {
        let samples = Samples::default();
        for (second, received) in [(0, 0), (5, 1000), (15, 3000), (15, 9000), (20, 0)] {
            samples.note(sample(second, received));
        }
        let rates = rates(&samples.held(), |sample| sample.received);
        assert_eq!(rates, [200, 200, 0, 0]);
    }

    #[test]
    fn the_hour_is_kept_and_no_more() {
        let samples = Samples::default();
        for n in 0..=KEPT {
            samples.note(sample(i64::try_from(n).unwrap(), 0));
        }
        assert_eq!(samples.held().len(), KEPT);
        assert_eq!(samples.held()[0].at.as_millis(), 1000);
        let curve = samples.left();
        assert!(curve.line.starts_with("1,0.0 2,0.0"), "{}", curve.line);
        assert!(curve.line.ends_with("720,0.0"));
    }

    #[test]
    fn a_curve_fills_its_height_and_ends_at_the_right() {
        let curve = Curve::of(&[0, 1024, 2048], "/s");
        assert_eq!(curve.line, "718,100.0 719,50.0 720,0.0");
        assert_eq!(curve.area, "718,100 718,100.0 719,50.0 720,0.0 720,100");
        assert_eq!(
            (curve.highest.as_str(), curve.last.as_str()),
            ("2.00 KiB/s", "2.00 KiB/s")
        );
        assert_eq!(Curve::of(&[], "").line, "");
    }
}
