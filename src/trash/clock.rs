//! Whether the clock may be believed, before anything ends by its age.
//!
//! A clock that is years ahead for one run would end all of the trash. So one that went on by more than a week since it was last
//! looked at has a day to be set right: what is past its days ends when the clock still says so a day later. A run with a peer stops
//! before that where the two clocks differ (`limits.max_clock_skew`); this is for nodes that have nobody to compare theirs with.

use std::time::Duration;

use super::Error;
use crate::catalogue::{Catalogue, ClockSeen};
use crate::model::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// More than a node that is at work lets pass between two looks.
const LEAP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What was seen is not written anew before.
const APART: Duration = Duration::from_secs(60 * 60);

/// Looks at the clock; answers whether what it says may end something.
pub(super) async fn is_believed(catalogue: &Catalogue, now: Timestamp) -> Result<bool, Error> {
    let seen = catalogue.clock_seen().await?;
    let next = judged(seen, now);
    let is_news = seen.is_none_or(|seen| {
        seen.leapt != next.leapt || now < seen.at || now.since(seen.at) >= APART
    });
    if is_news {
        let mut batch = catalogue.batch().await?;
        batch.note_clock(next).await?;
        batch.commit().await?;
    }
    if let (Some(seen), Some(leapt)) = (seen, next.leapt) {
        tracing::warn!(
            last = %seen.at,
            leapt = %leapt,
            "the clock of this machine went on by more than a week since it was last looked at: \
             in case it is wrong, what is past its days stays in the trash for another day"
        );
    }
    Ok(next.leapt.is_none())
}

fn judged(seen: Option<ClockSeen>, now: Timestamp) -> ClockSeen {
    let leapt = seen.and_then(|seen| match seen.leapt {
        None => (now.since(seen.at) > LEAP).then_some(now),
        // Before: it was set right since.
        Some(leapt) => (now >= leapt && now.since(leapt) < DAY).then_some(leapt),
    });
    ClockSeen { at: now, leapt }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the hours, one after the other; answers at which of them the clock is believed.
    fn believed(hours: &[u64]) -> Vec<bool> {
        let mut seen = None;
        let looks = hours.iter().map(|hour| {
            let now = Timestamp::EPOCH.plus(Duration::from_secs(hour * 60 * 60));
            let next = judged(seen, now);
            seen = Some(next);
            next.leapt.is_none()
        });
        looks.collect()
    }

    #[test]
    fn a_leap_is_believed_a_day_later_and_not_at_all_once_it_was_set_right() {
        const YEARS: u64 = 90_000;
        let at_work = believed(&[0, 24, 48, 48 + 7 * 24]);
        assert_eq!(at_work, [true; 4]);
        let wrong_for_a_while = believed(&[0, YEARS, YEARS + 1, YEARS + 23, 5, 29]);
        assert_eq!(wrong_for_a_while, [true, false, false, false, true, true]);
        let was_off_for_long = believed(&[0, YEARS, YEARS + 24, YEARS + 48]);
        assert_eq!(was_off_for_long, [true, false, true, true]);
        let once_a_month = believed(&[0, 720, 1_440, 2_160, 2_880]);
        assert_eq!(once_a_month, [true, false, true, false, true]);
    }
}
