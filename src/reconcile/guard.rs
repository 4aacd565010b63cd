//! What stands between a delete and the only other copy of somebody's file (I4). Pure: no clock, no I/O.
//!
//! ```text
//! a tombstone                     -> may go, within the limit
//! a record missing from a listing -> noted; may go when a second complete listing lacks it too, both believed, within the limit
//! a listing is believed           when every record in it could be read, it shows any asset at all, the peer says how many it has,
//!                                 and that is not more than usual beyond what it listed
//! the limit                       per peer and run, on by default; more than it allows: all of them are held
//! ```
//!
//! Whatever passes here is looked at once more at the moment it goes ([`deletes`](super::deletes)), and goes to the trash.

use crate::config::MaxDelete;

/// Most deletes of one run (design section 8, Guard): `max(10, min(5 % of the live assets before the run, 1000))`, unless a
/// person said otherwise.
#[must_use]
pub fn limit(live_before: u64, said: Option<MaxDelete>) -> u64 {
    match said {
        Some(MaxDelete::Count(count)) => count,
        Some(MaxDelete::Percent(percent)) => percent_of(live_before, percent),
        None => percent_of(live_before, 5.0).clamp(10, 1_000),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts stay far below 2^52"
)]
fn percent_of(count: u64, percent: f64) -> u64 {
    (count as f64 * percent / 100.0).floor().max(0.0) as u64
}

/// Whether so many deletes may go: all of them, or none.
#[must_use]
pub fn lets_go(waiting: u64, limit: u64) -> bool {
    waiting <= limit
}

/// What a complete listing showed and did not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Records of the peer that are here and that it lacks.
    pub absent: u64,
    /// Records in it that could not be read well enough to know which they are.
    pub unkeyed: u64,
    /// Live assets in it.
    pub listed: u64,
    /// Live assets that the peer counts.
    pub counted: Option<u64>,
    /// How many more than it lists it usually counts; `None` before that was ever known.
    pub usual_surplus: Option<i64>,
    /// Whether a person said for this run how many may go.
    pub is_told: bool,
}

impl Evidence {
    /// How many live assets the peer counts beyond those it listed.
    #[must_use]
    pub fn surplus(&self) -> Option<i64> {
        let counted = i64::try_from(self.counted?).ok()?;
        Some(counted.saturating_sub(i64::try_from(self.listed).ok()?))
    }
}

/// Why nothing follows from what a listing lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// A record that cannot be read may be any record.
    #[error(
        "{0} of its records cannot be read, and any of those may be one that seems to be missing"
    )]
    Unread(u64),
    /// A peer that has nothing at all is more likely to be broken than empty.
    #[error(
        "the peer lists no live asset at all; if it is meant to be empty, say so with --max-delete"
    )]
    Empty,
    /// Nobody says how many there should be.
    #[error("the peer does not say how many assets it has")]
    NoTotal,
    /// The peer has more than it lists.
    #[error("the peer counts {counted} live assets and listed {listed}")]
    More {
        /// What it counts.
        counted: u64,
        /// What it listed.
        listed: u64,
    },
    /// The peer has what it did not list.
    #[error("the peer still has records that it did not list")]
    Contradicted,
}

/// Whether a complete listing is believed in what it lacks.
///
/// EMDB counts assets that no listing shows, those never saved since it tracks edits (wire spec 4.1); so the difference is
/// measured when nothing is missing, and only a greater one is in doubt.
///
/// # Errors
/// The first [`Doubt`].
pub fn believe(evidence: &Evidence) -> Result<(), Doubt> {
    if evidence.absent == 0 {
        return Ok(());
    }
    if evidence.unkeyed > 0 {
        return Err(Doubt::Unread(evidence.unkeyed));
    }
    if evidence.listed == 0 && !evidence.is_told {
        return Err(Doubt::Empty);
    }
    let (Some(counted), Some(surplus)) = (evidence.counted, evidence.surplus()) else {
        return Err(Doubt::NoTotal);
    };
    if surplus > evidence.usual_surplus.unwrap_or(surplus) {
        return Err(Doubt::More {
            counted,
            listed: evidence.listed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design section 8, Guard.
    #[test]
    fn the_guard_allows_five_percent_between_ten_and_a_thousand() {
        for (live, allowed) in [
            (0, 10),
            (100, 10),
            (200, 10),
            (219, 10),
            (220, 11),
            (10_000, 500),
            (20_000, 1_000),
            (1_000_000, 1_000),
        ] {
            assert_eq!(limit(live, None), allowed, "{live} live assets");
        }
        assert_eq!(limit(1_000, Some(MaxDelete::Count(3))), 3);
        assert_eq!(limit(1_000, Some(MaxDelete::Percent(50.0))), 500);
        assert_eq!(limit(5, Some(MaxDelete::Count(0))), 0);
        assert_eq!(limit(10, Some(MaxDelete::Percent(-3.0))), 0);
    }

    #[test]
    fn the_guard_trips_at_exactly_the_limit() {
        assert!(lets_go(0, 0) && lets_go(10, 10));
        assert!(!lets_go(1, 0) && !lets_go(11, 10));
    }

    const SOUND: Evidence = Evidence {
        absent: 3,
        unkeyed: 0,
        listed: 97,
        counted: Some(97),
        usual_surplus: Some(0),
        is_told: false,
    };

    #[test]
    fn an_empty_listing_is_believed_on_a_persons_word_only() {
        let empty = Evidence {
            listed: 0,
            counted: Some(0),
            ..SOUND
        };
        assert_eq!(believe(&empty), Err(Doubt::Empty));
        let told = Evidence {
            is_told: true,
            ..empty
        };
        assert_eq!(believe(&told), Ok(()));
    }

    #[test]
    fn a_listing_is_believed_when_the_peers_own_count_agrees() {
        assert_eq!(believe(&SOUND), Ok(()));
        let usual = Evidence {
            counted: Some(102),
            usual_surplus: Some(5),
            ..SOUND
        };
        assert_eq!(believe(&usual), Ok(()));
        let fewer = Evidence {
            counted: Some(90),
            ..SOUND
        };
        assert_eq!(believe(&fewer), Ok(()));
        let first = Evidence {
            counted: Some(102),
            usual_surplus: None,
            ..SOUND
        };
        assert_eq!(believe(&first), Ok(()), "two are needed anyway");
    }

    #[test]
    fn a_listing_that_may_lack_what_is_there_is_not_believed() {
        let more = Evidence {
            counted: Some(98),
            ..SOUND
        };
        assert_eq!(
            believe(&more),
            Err(Doubt::More {
                counted: 98,
                listed: 97
            })
        );
        let silent = Evidence {
            counted: None,
            ..SOUND
        };
        assert_eq!(believe(&silent), Err(Doubt::NoTotal));
        let unread = Evidence {
            unkeyed: 1,
            ..SOUND
        };
        assert_eq!(believe(&unread), Err(Doubt::Unread(1)));
        let nothing_absent = Evidence {
            absent: 0,
            unkeyed: 9,
            counted: None,
            ..SOUND
        };
        assert_eq!(believe(&nothing_absent), Ok(()));
    }
}
