//! When an event runs next: pure, so that nights, changes of clocks and nodes that were down can be tried in no time.
//!
//! An event has beats (its period or pattern). Up to `beat_at` of its row every beat is dealt with; the first one after it is due at
//! its time, or where its window opens next, and a little later if it has a jitter. However many beats went by, it runs once.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::catalogue::{Cause, EventRow};
use crate::config::{Event, When};
use crate::model::Timestamp;

/// A run that begins so much later than it was due was missed, not merely late.
const LATE: Duration = Duration::from_secs(60);

/// How far an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timer {
    pub(super) row: EventRow,
    /// What was drawn for the jitter of the next beat.
    pub(super) delay: Duration,
}

/// When an event runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) at: Timestamp,
    pub(super) cause: Cause,
}

impl Timer {
    /// As it was left, or from now on, for an event that was not seen before or is written otherwise. One that beats in a period and
    /// has no start begins at once.
    pub(super) fn new(event: &Event, stored: Option<EventRow>, now: Timestamp) -> Self {
        let shape = shape(event);
        let known = stored.filter(|row| row.shape == shape);
        let begins_at_once = matches!(event.when, When::Every(_)) && event.start.is_none();
        let mut row = known.unwrap_or_else(|| EventRow {
            name: event.name.clone(),
            shape,
            anchor_at: now,
            beat_at: match begins_at_once {
                true => now.minus(Duration::from_millis(1)),
                false => now,
            },
            is_owed: false,
        });
        // A clock that was set back must not silence an event until it has caught up.
        row.beat_at = row.beat_at.min(now);
        row.anchor_at = row.anchor_at.min(now);
        Self {
            row,
            delay: Duration::ZERO,
        }
    }

    /// When the event runs next, as seen from now; `None` for never.
    pub(super) fn next(&self, event: &Event, now: Timestamp, zone: &TimeZone) -> Option<Next> {
        if !event.enabled {
            return None;
        }
        if self.row.is_owed {
            return Some(Next {
                at: opening(event, now, zone)?,
                cause: Cause::Again,
            });
        }
        let (after, anchor) = (calendar(self.row.beat_at)?, calendar(self.row.anchor_at)?);
        let beat = event.beat_after(after, anchor, zone)?;
        let beat = Timestamp::from_millis(beat.as_millisecond());
        let due = opening(event, beat, zone)?.plus(self.delay);
        if due.plus(LATE) >= now {
            return Some(Next {
                at: due,
                cause: Cause::Beat,
            });
        }
        if event.makes_up {
            return Some(Next {
                at: opening(event, now, zone)?,
                cause: Cause::Missed,
            });
        }
        let mut skipping = self.clone();
        skipping.row.beat_at = now;
        skipping.next(event, now, zone)
    }

    /// The row once a run has begun at `now`: all beats until then are dealt with, and a run is owed until it ends.
    pub(super) fn begun(&self, now: Timestamp) -> EventRow {
        EventRow {
            beat_at: now.max(self.row.beat_at),
            is_owed: true,
            ..self.row.clone()
        }
    }
}

/// What an event is known again by. One that is off has another shape, so that nothing counts as missed once it is on again.
fn shape(event: &Event) -> String {
    let off = if event.enabled { "" } else { "off, " };
    format!("{off}{}", event.shape())
}

/// The moment itself where the event's window is open, else its next opening.
fn opening(event: &Event, moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let Some(window) = &event.window else {
        return Some(moment);
    };
    let zoned = calendar(moment)?.to_zoned(zone.clone());
    let opens = window.first_from(&zoned).timestamp();
    Some(Timestamp::from_millis(opens.as_millisecond()))
}

/// How long a run that begins now may go on for the window of its event.
pub(super) fn time_left(event: &Event, now: Timestamp, zone: &TimeZone) -> Option<Duration> {
    let zoned = calendar(now)?.to_zoned(zone.clone());
    let window = event.window.as_ref()?;
    // One that was wanted by hand outside of it has no end.
    if !window.holds(zoned.time()) {
        return None;
    }
    let closes = window.closing_after(&zoned).timestamp();
    Some(Timestamp::from_millis(closes.as_millisecond()).since(now))
}

/// `None` beyond the calendar.
fn calendar(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(time.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::civil::DateTime;

    use super::*;
    use crate::config::Config;

    fn zone() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        let zoned = text.parse::<DateTime>().unwrap().to_zoned(zone()).unwrap();
        Timestamp::from_millis(zoned.timestamp().as_millisecond())
    }

    fn event(lines: &str) -> Event {
        let text = format!(
            "[node]\nname = \"n\"\ncluster_id = \"n-1\"\n[[event]]\nname = \"e\"\naction = \"pull\"\n{lines}\n"
        );
        let config = Config::parse(&text, Path::new("/x/emsync.toml")).unwrap();
        config.events.into_iter().next().unwrap()
    }

    fn next(timer: &Timer, event: &Event, now: &str) -> (Timestamp, Cause) {
        let next = timer.next(event, at(now), &zone()).unwrap();
        (next.at, next.cause)
    }

    /// The timer after a run that began at a time and has ended.
    fn after_run(timer: &Timer, now: &str) -> Timer {
        let mut row = timer.begun(at(now));
        row.is_owed = false;
        Timer {
            row,
            delay: Duration::ZERO,
        }
    }

    #[test]
    fn a_new_period_begins_at_once_and_a_new_pattern_at_its_time() {
        let now = "2026-11-24T12:00";
        let often = event("every = \"1h\"");
        let timer = Timer::new(&often, None, at(now));
        assert_eq!(next(&timer, &often, now), (at(now), Cause::Beat));
        let timer = after_run(&timer, now);
        assert_eq!(
            next(&timer, &often, now),
            (at("2026-11-24T13:00"), Cause::Beat)
        );
        let nightly = event("cron = \"30 2 * * *\"");
        let timer = Timer::new(&nightly, None, at(now));
        assert_eq!(
            next(&timer, &nightly, now),
            (at("2026-11-25T02:30"), Cause::Beat)
        );
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let nightly = event("cron = \"30 2 * * *\"");
        let timer = Timer::new(&nightly, None, at("2026-11-20T12:00"));
        // Down for four nights.
        let back = "2026-11-24T09:00";
        assert_eq!(next(&timer, &nightly, back), (at(back), Cause::Missed));
        let timer = after_run(&timer, back);
        assert_eq!(
            next(&timer, &nightly, back),
            (at("2026-11-25T02:30"), Cause::Beat)
        );
        // Half a minute late is not missed.
        assert_eq!(
            next(&timer, &nightly, "2026-11-25T02:30:30"),
            (at("2026-11-25T02:30"), Cause::Beat)
        );
        let strict = event("cron = \"30 2 * * *\"\nmake_up = false");
        let timer = Timer::new(&strict, None, at("2026-11-20T12:00"));
        assert_eq!(
            next(&timer, &strict, back),
            (at("2026-11-25T02:30"), Cause::Beat)
        );
    }

    #[test]
    fn what_was_cut_short_begins_again_and_what_is_off_does_not() {
        let nightly = event("cron = \"30 2 * * *\"");
        let timer = Timer::new(&nightly, None, at("2026-11-24T12:00"));
        let row = timer.begun(at("2026-11-25T02:30"));
        let back = "2026-11-25T02:40";
        let timer = Timer::new(&nightly, Some(row.clone()), at(back));
        assert_eq!(next(&timer, &nightly, back), (at(back), Cause::Again));
        let off = event("cron = \"30 2 * * *\"\nenabled = false");
        let timer = Timer::new(&off, Some(row), at(back));
        assert_eq!(timer.next(&off, at(back), &zone()), None);
        // Switched on later, it owes nothing of the time in which it was off.
        let later = "2026-12-24T12:00";
        let timer = Timer::new(&nightly, Some(timer.row), at(later));
        assert_eq!(
            next(&timer, &nightly, later),
            (at("2026-12-25T02:30"), Cause::Beat)
        );
    }

    #[test]
    fn an_event_that_is_written_otherwise_owes_nothing_of_before() {
        let three = event("cron = \"0 3 * * *\"");
        let timer = after_run(
            &Timer::new(&three, None, at("2026-11-23T12:00")),
            "2026-11-24T03:00",
        );
        let four = event("cron = \"0 4 * * *\"");
        let now = "2026-11-24T05:00";
        let timer = Timer::new(&four, Some(timer.row), at(now));
        assert_eq!(
            next(&timer, &four, now),
            (at("2026-11-25T04:00"), Cause::Beat)
        );
    }

    #[test]
    fn beats_outside_of_the_window_wait_for_its_opening_and_are_one() {
        let nights = event("every = \"1h\"\nwindow = \"22:00-06:00\"");
        let now = "2026-11-24T12:10";
        let timer = Timer::new(&nights, None, at(now));
        let opening = (at("2026-11-24T22:00"), Cause::Beat);
        assert_eq!(next(&timer, &nights, now), opening);
        assert_eq!(next(&timer, &nights, "2026-11-24T21:59"), opening);
        let timer = after_run(&timer, "2026-11-24T22:00");
        assert_eq!(
            next(&timer, &nights, "2026-11-24T22:01"),
            (at("2026-11-24T22:10"), Cause::Beat)
        );
        // Missed inside, found outside: it is made up for at the next opening.
        let timer = after_run(&timer, "2026-11-25T02:10");
        assert_eq!(
            next(&timer, &nights, "2026-11-25T09:00"),
            (at("2026-11-25T22:00"), Cause::Missed)
        );
        let left = |now: &str| time_left(&nights, at(now), &zone());
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
        assert_eq!(left("2026-11-25T02:00"), hours(4));
        assert_eq!(left("2026-11-25T12:00"), None);
    }

    #[test]
    fn a_delay_is_part_of_being_due() {
        let nightly = event("cron = \"30 2 * * *\"\njitter = \"10m\"");
        let mut timer = Timer::new(&nightly, None, at("2026-11-24T12:00"));
        timer.delay = Duration::from_secs(120);
        assert_eq!(
            next(&timer, &nightly, "2026-11-25T02:31:30"),
            (at("2026-11-25T02:32"), Cause::Beat)
        );
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let often = event("every = \"1h\"");
        let timer = Timer::new(&often, None, at("2027-11-24T12:00"));
        let row = after_run(&timer, "2027-11-24T12:00").row;
        let now = "2026-11-24T12:00";
        let timer = Timer::new(&often, Some(row), at(now));
        let (next, _) = next(&timer, &often, now);
        assert!(next <= at("2026-11-24T13:00"), "{next}");
    }
}
