//! How fast media may move, by day and hour, in rclone's notation.
//!
//! ```text
//! 10M                                     both ways; a bare number counts KiB a second, as in rclone
//! 10M:1M                                  up and down: what this node sends, and what it fetches
//! 08:00,512k 19:00,10M 23:00,off          by the hour, every day
//! Mon-08:00,512k Fri-19:00,off            by the hour of the week
//! ```
//!
//! An entry holds until the next one begins, around the end of the day or week as well. Times are local.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::civil::DateTime;

use super::units::{self, UnitError};

/// Rates by minute of the week.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// In order of `from`, each once. Empty: no limit at any time.
    slots: Vec<Slot>,
}

/// What holds from a minute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// Minutes since Monday 00:00.
    from: u16,
    rates: Rates,
}

/// Bytes a second in each direction; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// What this node sends.
    pub up: Option<NonZeroU64>,
    /// What it fetches.
    pub down: Option<NonZeroU64>,
}

const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Bandwidth {
    /// What holds at a local time.
    #[must_use]
    pub fn at(&self, local: DateTime) -> Rates {
        self.at_minute(minute_of_week(local))
    }

    /// What holds at a minute of the week, counted from Monday 00:00.
    #[must_use]
    pub fn at_minute(&self, minute: u16) -> Rates {
        let begun = self.slots.partition_point(|slot| slot.from <= minute);
        // Before the first entry of the week the last one of the week before holds.
        let slot = begun
            .checked_sub(1)
            .map_or(self.slots.last(), |at| self.slots.get(at));
        slot.map_or_else(Rates::default, |slot| slot.rates)
    }

    /// The same timetable with other rates on some days of the week, Monday first, between two hours of the day. Where the second is not
    /// after the first, it is one of the next day.
    #[must_use]
    pub fn with(&self, days: [bool; 7], (from, to): (u16, u16), rates: Rates) -> Self {
        let length = match to > from {
            true => to - from,
            false => 24 - from + to,
        };
        let mut minutes: Vec<Rates> = (0..WEEK).map(|minute| self.at_minute(minute)).collect();
        for (day, _) in (0_u16..).zip(days).filter(|(_, is_meant)| *is_meant) {
            let begin = day * DAY + from * 60;
            for minute in begin..begin + length * 60 {
                minutes[usize::from(minute % WEEK)] = rates;
            }
        }
        let slots = (0..WEEK).zip(minutes);
        Self::of(slots.map(|(from, rates)| Slot { from, rates }).collect())
    }

    /// Of slots in order, each of another minute.
    fn of(mut slots: Vec<Slot>) -> Self {
        // An entry that says what the one before says begins nothing.
        slots.dedup_by_key(|slot| slot.rates);
        if let [first, .., last] = slots.as_slice()
            && first.rates == last.rates
        {
            slots.remove(0);
        }
        match slots.as_mut_slice() {
            [only] if only.rates == Rates::default() => slots.clear(),
            [only] => only.from = 0,
            _ => {}
        }
        Self { slots }
    }

    /// Entries that every day has, where all days are alike.
    fn daily(&self) -> Option<&[Slot]> {
        let a_day = self.slots.len() / 7;
        let (first, rest) = self.slots.split_at(a_day);
        let is_alike = |slot: (usize, &Slot)| {
            let (at, slot) = slot;
            let like = first.get(at % a_day)?;
            let days = u16::try_from(at / a_day + 1).ok()?;
            (slot.from == like.from + days * DAY && slot.rates == like.rates).then_some(())
        };
        let is_daily = a_day > 0
            && rest.len() == 6 * a_day
            && rest.iter().enumerate().all(|slot| is_alike(slot).is_some());
        is_daily.then_some(first)
    }

    /// Whether nothing is limited at any time.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.slots.is_empty()
    }

    /// The rates, if they are the same at all times.
    fn constant(&self) -> Option<Rates> {
        match self.slots.as_slice() {
            [] => Some(Rates::default()),
            [only] => Some(only.rates),
            _ => None,
        }
    }
}

fn minute_of_week(local: DateTime) -> u16 {
    let day = local
        .date()
        .weekday()
        .to_monday_zero_offset()
        .unsigned_abs();
    let (hour, minute) = (local.hour().unsigned_abs(), local.minute().unsigned_abs());
    u16::from(day) * DAY + u16::from(hour) * 60 + u16::from(minute)
}

impl FromStr for Bandwidth {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Bandwidth(text.to_owned());
        let entries: Vec<&str> = text.split_whitespace().collect();
        let mut slots: Vec<Slot> = Vec::new();
        match entries.as_slice() {
            [] => return Err(wrong()),
            [only] if !only.contains(',') => slots.push(Slot {
                from: 0,
                rates: rates(only)?,
            }),
            _ => {
                for entry in entries {
                    let (when, rate) = entry.split_once(',').ok_or_else(wrong)?;
                    let rates = rates(rate)?;
                    for from in begins(when).ok_or_else(wrong)? {
                        slots.push(Slot { from, rates });
                    }
                }
            }
        }
        slots.sort_by_key(|slot| slot.from);
        if slots.windows(2).any(|pair| pair[0].from == pair[1].from) {
            return Err(UnitError::Twice(text.to_owned()));
        }
        Ok(Self::of(slots))
    }
}

impl FromStr for Rates {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        rates(text)
    }
}

/// The minutes of the week at which an entry begins: one, or one a day.
fn begins(when: &str) -> Option<Vec<u16>> {
    let Some((day, clock)) = when.split_once('-') else {
        let minute = time(when)?;
        return Some((0..7).map(|day| day * DAY + minute).collect());
    };
    let known = DAYS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(day))?;
    Some(vec![u16::try_from(known).ok()? * DAY + time(clock)?])
}

/// The minute of the day that `HH:MM` names.
fn time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn rates(text: &str) -> Result<Rates, UnitError> {
    match text.split_once(':') {
        // A time without a rate, as far as anybody can tell.
        Some(_) if time(text).is_some() => Err(UnitError::Bandwidth(text.to_owned())),
        Some((up, down)) => Ok(Rates {
            up: rate(up)?,
            down: rate(down)?,
        }),
        None => rate(text).map(|both| Rates {
            up: both,
            down: both,
        }),
    }
}

fn rate(text: &str) -> Result<Option<NonZeroU64>, UnitError> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let bytes = units::size_in_kib(text).map_err(|error| match error {
        // What a size looks like says nothing of what else may stand here.
        UnitError::Size(text) => UnitError::Bandwidth(text),
        other => other,
    });
    bytes.map(NonZeroU64::new)
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rates) = self.constant() {
            return rates.fmt(f);
        }
        if let Some(entries) = self.daily() {
            for (at, Slot { from, rates }) in entries.iter().enumerate() {
                let space = if at == 0 { "" } else { " " };
                write!(f, "{space}{:02}:{:02},{rates}", from / 60, from % 60)?;
            }
            return Ok(());
        }
        for (at, Slot { from, rates }) in self.slots.iter().enumerate() {
            let (day, minute) = (usize::from(from / DAY), from % DAY);
            let space = if at == 0 { "" } else { " " };
            write!(
                f,
                "{space}{}-{:02}:{:02},{rates}",
                DAYS[day],
                minute / 60,
                minute % 60
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |rate: Option<NonZeroU64>| {
            rate.map_or_else(
                || "off".to_owned(),
                |rate| units::show_size_in_kib(rate.get()),
            )
        };
        if self.up == self.down {
            return f.write_str(&show(self.up));
        }
        write!(f, "{}:{}", show(self.up), show(self.down))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Bandwidth {
        text.parse().unwrap()
    }

    /// The down rate on a day of the week that began on Monday, 2 March 2026.
    fn down(bandwidth: &Bandwidth, day: i8, hour: i8, minute: i8) -> u64 {
        let rates = bandwidth.at(date(2026, 3, 2 + day).at(hour, minute, 59, 0));
        rates.down.map_or(0, NonZeroU64::get)
    }

    #[test]
    fn one_rate_holds_always_and_a_bare_number_counts_kib() {
        for (text, bytes) in [
            ("512", 512 << 10),
            ("512k", 512 << 10),
            ("1000B", 1000),
            ("10M", 10 << 20),
            ("1.5G", 3 << 29),
            ("0.5", 512),
            ("off", 0),
            ("0", 0),
        ] {
            assert_eq!(down(&read(text), 3, 12, 0), bytes, "{text}");
        }
        let both = read("10M:off").at(date(2026, 3, 2).at(0, 0, 0, 0));
        assert_eq!((both.up, both.down), (NonZeroU64::new(10 << 20), None));
    }

    #[test]
    fn an_entry_holds_until_the_next_begins_around_midnight_and_the_end_of_the_week() {
        let daily = read("08:00,1k 19:00,2k 23:30,off");
        for (hour, minute, kib) in [
            (8, 0, 1),
            (18, 59, 1),
            (19, 0, 2),
            (23, 29, 2),
            (23, 30, 0),
            (0, 0, 0),
            (7, 59, 0),
        ] {
            for day in 0..7 {
                assert_eq!(
                    down(&daily, day, hour, minute),
                    kib << 10,
                    "day {day}, {hour}:{minute}"
                );
            }
        }
        let weekly = read("Mon-00:00,512 Fri-23:59,10M Sat-10:00,1M Sun-20:00,off");
        assert_eq!(down(&weekly, 0, 0, 0), 512 << 10);
        assert_eq!(down(&weekly, 4, 23, 58), 512 << 10);
        assert_eq!(down(&weekly, 5, 9, 59), 10 << 20);
        assert_eq!(down(&weekly, 6, 19, 59), 1 << 20);
        assert_eq!(down(&weekly, 6, 23, 59), 0);
        let late = read("wed-12:00,1M thu-12:00,2M");
        assert_eq!(
            down(&late, 0, 0, 0),
            2 << 20,
            "what began last week goes on"
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_an_example() {
        for text in [
            "",
            "fast",
            "10MB",
            "-1",
            "1M:2M:3M",
            "8:00,1M",
            "08:00",
            "25:00,1M",
            "08:60,1M",
            "Foo-08:00,1M",
            "08:00,1M 1M",
            "08:00,1M,2M",
        ] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text:?}");
        }
        let error = "08:00,1M 08:00,2M".parse::<Bandwidth>().unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        let error = "night".parse::<Bandwidth>().unwrap_err();
        assert!(error.to_string().contains("512k"), "{error}");
    }

    #[test]
    fn hours_are_exchanged_and_the_rest_of_the_week_stays() {
        let rates = |text: &str| text.parse::<Rates>().unwrap();
        let workdays = [true, true, true, true, true, false, false];
        let painted = Bandwidth::default().with(workdays, (8, 19), rates("512k"));
        assert_eq!(
            painted.to_string(),
            "Mon-08:00,512KiB Mon-19:00,off Tue-08:00,512KiB Tue-19:00,off Wed-08:00,512KiB Wed-19:00,off Thu-08:00,512KiB Thu-19:00,off \
             Fri-08:00,512KiB Fri-19:00,off"
        );
        // The same on the other days is every day, as a person would write it.
        let weekend = workdays.map(|is_workday| !is_workday);
        let painted = painted.with(weekend, (8, 19), rates("512k"));
        assert_eq!(painted.to_string(), "08:00,512KiB 19:00,off");
        // Over midnight, and over the end of the week.
        let sunday = [false, false, false, false, false, false, true];
        let night = painted.with(sunday, (22, 6), rates("1M:2M"));
        assert_eq!(
            (
                down(&night, 6, 22, 0),
                down(&night, 0, 5, 59),
                down(&night, 0, 6, 0)
            ),
            (2 << 20, 2 << 20, 0)
        );
        assert_eq!(down(&night, 1, 5, 0), 0, "Tuesday is as it was");
        // What is written to the minute stays so outside of the hours.
        let odd = read("08:30,1k 19:45,off").with(sunday, (0, 12), Rates::default());
        assert_eq!(down(&odd, 6, 11, 0), 0);
        assert_eq!(down(&odd, 6, 12, 0), 1 << 10);
        assert_eq!(down(&odd, 5, 8, 29), 0);
        assert_eq!(down(&odd, 5, 8, 30), 1 << 10);
        let all = [true; 7];
        let off = odd.with(all, (0, 24), Rates::default());
        assert!(off.is_off(), "{off}");
        assert_eq!(off.with(all, (5, 5), rates("3k")).to_string(), "3KiB");
        assert_eq!(read(&night.to_string()), night);
    }

    #[test]
    fn what_limits_nothing_is_known_as_off() {
        assert!(Bandwidth::default().is_off());
        assert!(
            read("off").is_off() && read("08:00,off 9:00,0".replace("9:", "09:").as_str()).is_off()
        );
        assert!(!read("08:00,off 09:00,off:1M").is_off());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(entries in proptest::collection::btree_map(0_u16..7 * DAY, (0_u64..1 << 40, 0_u64..1 << 40), 1..9)) {
            let text = |(from, (up, down)): (&u16, &(u64, u64))| {
                let minute = from % DAY;
                format!("{}-{:02}:{:02},{up}B:{down}B", DAYS[usize::from(from / DAY)], minute / 60, minute % 60)
            };
            let written = entries.iter().map(text).collect::<Vec<_>>().join(" ");
            let bandwidth = read(&written);
            prop_assert_eq!(read(&bandwidth.to_string()), bandwidth);
        }
    }
}
