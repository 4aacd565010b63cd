//! A moment as people write it: a date, a time, or how long ago.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use crate::model::Timestamp;

/// Reads `2026-11-03T09:41:07Z`, `2026-11-03 09:41` or `2026-11-03` in a zone, `2 days ago`, `2d` or `1h 30m`, seen from `now`.
///
/// # Errors
/// What can be written, when it is none of these, or not in the past.
pub fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let refused = || {
        format!(
            "{text:?} is no moment: write 2026-11-03, \"2026-11-03 09:41\", 2026-11-03T09:41:07Z, or how long ago, such as \"2 days ago\" or 90m"
        )
    };
    let at = read(text.trim(), now, zone).ok_or_else(refused)?;
    if at > now {
        return Err(format!("{text:?} lies in the future"));
    }
    Ok(at)
}

fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(at.as_millisecond()));
    }
    let local = text.parse::<DateTime>().ok();
    let local = local.or_else(|| {
        Some(
            text.parse::<Date>()
                .ok()?
                .to_datetime(jiff::civil::Time::midnight()),
        )
    });
    if let Some(local) = local {
        let at = zone.to_zoned(local).ok()?;
        return Some(Timestamp::from_millis(at.timestamp().as_millisecond()));
    }
    let span: Span = text.trim_end_matches("ago").trim().parse().ok()?;
    if span.is_negative() {
        return None;
    }
    let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
    let then: Zoned = now.to_zoned(zone.clone()).checked_sub(span).ok()?;
    Some(Timestamp::from_millis(then.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_how_long_ago() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| {
            let at: jiff::Timestamp = text.parse().unwrap();
            Timestamp::from_millis(at.as_millisecond())
        };
        let now = at("2026-11-29T12:00:00Z");
        for (text, moment_is) in [
            ("2026-11-03T09:41:07Z", "2026-11-03T09:41:07Z"),
            ("2026-11-03T09:41:07+01:00", "2026-11-03T08:41:07Z"),
            ("2026-11-03 09:41", "2026-11-03T08:41:00Z"),
            ("2026-11-03", "2026-11-02T23:00:00Z"),
            ("2 days ago", "2026-11-27T12:00:00Z"),
            ("2d", "2026-11-27T12:00:00Z"),
            ("1h 30m ago", "2026-11-29T10:30:00Z"),
            // Over a change of clocks a day is a day on the wall.
            ("6 weeks", "2026-10-18T11:00:00Z"),
        ] {
            assert_eq!(moment(text, now, &zone), Ok(at(moment_is)), "{text}");
        }
        for text in ["", "yesterday", "ago", "-2d", "2027-01-01", "12:00"] {
            assert!(moment(text, now, &zone).is_err(), "{text}");
        }
    }
}
