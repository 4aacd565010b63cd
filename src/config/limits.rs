//! How much of everything: workers, tries, waits, queue depths, reserves (promise I10).

use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::error::{Error, Problem};
use super::file;
use super::read::At;
use super::units::{self, MaxDelete};

/// Bounds of one node, from `[limits]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The most files that are fetched at the same time. How many are is found while they are: it follows the peer's answers.
    pub transfers: usize,
    /// How fast media may move.
    pub bwlimit: Bandwidth,
    /// Requests a second to all peers together; `None` is no limit.
    pub tpslimit: Option<f64>,
    /// Requests that may follow each other at once under `tpslimit`, after a pause.
    pub tpslimit_burst: u32,
    /// Tries of one item, the first included.
    pub attempts: u32,
    /// Ceiling of the wait before the second try; doubles with each further one.
    pub retry_base: Duration,
    /// Highest ceiling of a wait.
    pub retry_cap: Duration,
    /// A connection on which nothing moves for so long is given up.
    pub timeout: Duration,
    /// For a connection to come about.
    pub contimeout: Duration,
    /// For one page of a listing: EMDB builds a page of records in minutes (wire spec H-21).
    pub list_timeout: Duration,
    /// A peer's clock may differ by so much; above it the pass stops.
    pub max_clock_skew: Duration,
    /// How far a window reaches back over the last one (wire spec H-3); at least 5 s whatever is said here.
    pub overlap: Duration,
    /// Bytes from which on a file uses the lane of the large ones.
    pub large_file: u64,
    /// Originals that may wait between the transfers and the renditions.
    pub handoff_depth: usize,
    /// Files that become durable together.
    pub publish_batch: usize,
    /// Bytes to leave free on the media's file system.
    pub reserve: u64,
    /// Days a removed file can be restored, less when the reserve needs the room; 0 for ever.
    pub trash_days: u32,
    /// Deletes per peer and run; `None` is the guard of design section 8: max(10, min(5 % of the live assets, 1,000)).
    pub max_delete: Option<MaxDelete>,
    /// A sync lists everything, not only what changed, when it last did so long ago: it finds what left no trace.
    pub full_listing: Duration,
}

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            transfers: 256,
            bwlimit: Bandwidth::default(),
            tpslimit: None,
            tpslimit_burst: 1,
            attempts: 5,
            retry_base: Duration::from_millis(500),
            retry_cap: Duration::from_secs(60),
            timeout: Duration::from_secs(5 * 60),
            contimeout: Duration::from_secs(15),
            list_timeout: Duration::from_secs(20 * 60),
            max_clock_skew: Duration::from_secs(15 * 60),
            overlap: Duration::from_secs(10 * 60),
            large_file: 8 * MIB,
            handoff_depth: 16,
            publish_batch: 1024,
            reserve: 256 * MIB,
            trash_days: 30,
            max_delete: None,
            full_listing: 7 * DAY,
        }
    }
}

impl Limits {
    pub(super) fn resolve(written: &file::Limits) -> Result<Self, Error> {
        let default = Self::default();
        let millisecond = Duration::from_millis(1);
        let limits = Self {
            transfers: whole(&written.transfers, default.transfers, 1, 1024)?,
            bwlimit: bandwidth(&written.bwlimit)?,
            tpslimit: rate(&written.tpslimit)?,
            tpslimit_burst: whole(&written.tpslimit_burst, default.tpslimit_burst, 1, 100_000)?,
            attempts: whole(&written.attempts, default.attempts, 1, 1000)?,
            retry_base: span(&written.retry_base, default.retry_base, millisecond, HOUR)?,
            retry_cap: span(&written.retry_cap, default.retry_cap, millisecond, DAY)?,
            timeout: span(&written.timeout, default.timeout, millisecond, DAY)?,
            contimeout: span(&written.contimeout, default.contimeout, millisecond, HOUR)?,
            list_timeout: span(
                &written.list_timeout,
                default.list_timeout,
                millisecond,
                DAY,
            )?,
            max_clock_skew: span(
                &written.max_clock_skew,
                default.max_clock_skew,
                millisecond,
                DAY,
            )?,
            overlap: span(&written.overlap, default.overlap, Duration::ZERO, 30 * DAY)?,
            large_file: bytes(&written.large_file, default.large_file)?,
            handoff_depth: whole(&written.handoff_depth, default.handoff_depth, 1, 65_536)?,
            publish_batch: whole(&written.publish_batch, default.publish_batch, 1, 65_536)?,
            reserve: bytes(&written.reserve, default.reserve)?,
            trash_days: whole(&written.trash_days, default.trash_days, 0, 36_500)?,
            max_delete: max_delete(&written.max_delete)?,
            full_listing: span(
                &written.full_listing,
                default.full_listing,
                Duration::ZERO,
                3_650 * DAY,
            )?,
        };
        match (&written.retry_cap, &written.retry_base) {
            (Some(at), _) | (None, Some(at)) if limits.retry_cap < limits.retry_base => Err(at
                .wrong(Problem::CapBelowBase {
                    cap: units::show_duration(limits.retry_cap),
                    base: units::show_duration(limits.retry_base),
                })),
            _ => Ok(limits),
        }
    }
}

/// A number between bounds, which both fit `T`.
pub(super) fn whole<T: TryFrom<u64>>(
    written: &Option<At<u64>>,
    default: T,
    least: u64,
    most: u64,
) -> Result<T, Error> {
    let Some(at) = written else {
        return Ok(default);
    };
    at.check(|value| {
        T::try_from(*value)
            .ok()
            .filter(|_| (least..=most).contains(value))
            .ok_or_else(|| Problem::Range {
                value: value.to_string(),
                least: least.to_string(),
                most: most.to_string(),
            })
    })
}

/// A span between bounds.
pub(super) fn span(
    written: &Option<At<String>>,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, Error> {
    let Some(at) = written else {
        return Ok(default);
    };
    let span = at.check(|text| units::duration(text))?;
    if (least..=most).contains(&span) {
        return Ok(span);
    }
    Err(at.wrong(Problem::Range {
        value: units::show_duration(span),
        least: units::show_duration(least),
        most: units::show_duration(most),
    }))
}

fn bytes(written: &Option<At<String>>, default: u64) -> Result<u64, Error> {
    written
        .as_ref()
        .map_or(Ok(default), |at| at.check(|text| units::size(text)))
}

pub(super) fn bandwidth(written: &Option<At<String>>) -> Result<Bandwidth, Error> {
    let read = written.as_ref().map(|at| at.check(|text| text.parse()));
    Ok(read.transpose()?.unwrap_or_default())
}

fn rate(written: &Option<At<String>>) -> Result<Option<f64>, Error> {
    let read = written
        .as_ref()
        .map(|at| at.check(|text| units::per_second(text)));
    Ok(read.transpose()?.flatten())
}

pub(super) fn max_delete(written: &Option<At<String>>) -> Result<Option<MaxDelete>, Error> {
    written
        .as_ref()
        .map(|at| at.check(|text| text.parse::<MaxDelete>()))
        .transpose()
}
