//! A part of every day: `22:00-06:00`, in local time. One that ends at or before its beginning ends on the next day.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use super::units::UnitError;

/// From a time of day until another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    opens: Time,
    closes: Time,
}

impl Window {
    /// Whether a local time is in it. The moment of closing is not.
    #[must_use]
    pub fn holds(&self, local: Time) -> bool {
        if self.opens < self.closes {
            self.opens <= local && local < self.closes
        } else {
            self.opens <= local || local < self.closes
        }
    }

    /// The moment itself where it is in the window, else the next opening.
    #[must_use]
    pub fn first_from(&self, moment: &Zoned) -> Zoned {
        if self.holds(moment.time()) {
            return moment.clone();
        }
        next(moment, self.opens)
    }

    /// When the window that holds a moment closes.
    #[must_use]
    pub fn closing_after(&self, moment: &Zoned) -> Zoned {
        next(moment, self.closes)
    }
}

/// The first time after a moment that clocks show `time`; where they skip it, the first one that they show instead.
fn next(moment: &Zoned, time: Time) -> Zoned {
    let zone: &TimeZone = moment.time_zone();
    let on = |days: i32| {
        let date = moment.date().checked_add(Span::new().days(days)).ok()?;
        let local = DateTime::from_parts(date, time);
        zone.to_zoned(local).ok().filter(|next| next > moment)
    };
    // Beyond the calendar nothing opens any more.
    (0..=2).find_map(on).unwrap_or_else(|| moment.clone())
}

impl FromStr for Window {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let window = text.split_once('-').and_then(|(opens, closes)| {
            Some(Self {
                opens: time(opens)?,
                closes: time(closes)?,
            })
        });
        window
            .filter(|window| window.opens != window.closes)
            .ok_or_else(|| UnitError::Window(text.to_owned()))
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| -> Option<i8> {
        let is_plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        is_plain.then(|| text.parse().ok())?
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opens, closes) = (self.opens, self.closes);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            opens.hour(),
            opens.minute(),
            closes.hour(),
            closes.minute()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_in_it_stays_and_all_else_waits_for_the_opening() {
        let day = window("09:00-17:30");
        let noon = at("2026-11-24T12:00[Europe/Berlin]");
        assert_eq!(day.first_from(&noon), noon);
        let early = at("2026-11-24T08:59[Europe/Berlin]");
        assert_eq!(
            day.first_from(&early),
            at("2026-11-24T09:00[Europe/Berlin]")
        );
        let over = at("2026-11-24T17:30[Europe/Berlin]");
        assert_eq!(day.first_from(&over), at("2026-11-25T09:00[Europe/Berlin]"));
        assert_eq!(
            day.closing_after(&noon),
            at("2026-11-24T17:30[Europe/Berlin]")
        );
    }

    #[test]
    fn a_night_goes_over_midnight() {
        let night = window("22:00-06:00");
        for (now, is_in) in [("23:10", true), ("05:59", true), ("06:00", false)] {
            let now = at(&format!("2026-11-24T{now}[UTC]"));
            assert_eq!(night.holds(now.time()), is_in, "{now}");
        }
        let late = at("2026-11-24T23:10[UTC]");
        assert_eq!(night.closing_after(&late), at("2026-11-25T06:00[UTC]"));
        let early = at("2026-11-24T03:00[UTC]");
        assert_eq!(night.closing_after(&early), at("2026-11-24T06:00[UTC]"));
    }

    #[test]
    fn an_opening_that_clocks_skip_is_when_they_go_on() {
        // On 29 March 2026 clocks in Berlin go from 02:00 to 03:00.
        let window = window("02:30-04:00");
        let before = at("2026-03-29T01:00[Europe/Berlin]");
        let opening = window.first_from(&before);
        assert_eq!(opening, at("2026-03-29T03:30[Europe/Berlin]"));
        assert!(window.holds(opening.time()));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "22:00",
            "22-06",
            "9:00-17:00",
            "24:00-06:00",
            "08:00-08:00",
            "aa:bb-cc:dd",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
        assert_eq!(window("22:00-06:00").to_string(), "22:00-06:00");
    }
}
