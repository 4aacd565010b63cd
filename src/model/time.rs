//! Points in time, kept as whole milliseconds since 1970 in UTC: the resolution of EMDB's dates (wire spec 4.3).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment there is.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Cut down to the whole second: the only precision EMDB compares file times at (wire spec 4.5).
    #[must_use]
    pub const fn whole_second(self) -> Self {
        Self(self.0.div_euclid(1000).saturating_mul(1000))
    }

    /// This moment moved by `span`; stays inside the range of the type.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This moment moved back by `span`; stays inside the range of the type.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time passed since `earlier`, zero when that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                // Round towards the past on both sides of the epoch, so that truncation is the same rule everywhere.
                let nanos = before.duration().as_nanos();
                Self(-i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX))
            }
        }
    }
}

impl fmt::Display for Timestamp {
    /// `2026-03-01T09:41:07.512Z`: UTC with exactly three fraction digits, the only form EMDB parses without loss.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_three_fraction_digits_in_utc() {
        assert_eq!(
            Timestamp::from_millis(1_772_358_067_512).to_string(),
            "2026-03-01T09:41:07.512Z"
        );
        assert_eq!(
            Timestamp::from_millis(1_772_358_067_000).to_string(),
            "2026-03-01T09:41:07.000Z"
        );
    }

    #[test]
    fn whole_seconds_are_cut_towards_the_past() {
        assert_eq!(
            Timestamp::from_millis(1999).whole_second(),
            Timestamp::from_millis(1000)
        );
        assert_eq!(
            Timestamp::from_millis(-1).whole_second(),
            Timestamp::from_millis(-1000)
        );
    }
}
