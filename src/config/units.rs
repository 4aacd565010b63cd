//! Spans of time, sizes and shares as people write them: `1h 30m`, `64MiB`, `5%`. Shared with the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// A text that is no span, size or share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a span of time.
    #[error("{0:?} is not a duration: write for example 500ms, 15m or 1h 30m")]
    Duration(String),
    /// A span that runs backwards.
    #[error("{0:?} is negative")]
    Negative(String),
    /// Not a size.
    #[error("{0:?} is not a size: write for example 512k, 64MiB or 1.5G (units of 1024)")]
    Size(String),
    /// A size with a unit some read as 1000 and some as 1024.
    #[error("{0:?} is ambiguous: write {1} (units of 1024)")]
    Ambiguous(String, String),
    /// A size beyond 64 bits.
    #[error("{0:?} is too large")]
    TooLarge(String),
    /// Not a limit of deletes.
    #[error("{0:?} is not a limit of deletes: write a number, or a share such as 5%")]
    MaxDelete(String),
    /// Not a bandwidth.
    #[error(
        "{0:?} is not a bandwidth: write for example 512k, 10M:1M (up and down), or \"08:00,512k 19:00,10M 23:00,off\""
    )]
    Bandwidth(String),
    /// Not a part of the day.
    #[error("{0:?} is no part of the day: write for example \"22:00-06:00\", in local time")]
    Window(String),
    /// A timetable with two entries for one time.
    #[error("{0:?} names one time twice")]
    Twice(String),
    /// Not an age.
    #[error("{0:?} is not an age: write for example 12h, 30d, 2w, 6M or 1y")]
    Age(String),
    /// Not a number of requests a second.
    #[error(
        "{0:?} is not a number of requests a second: write for example 10, 0.5, or 0 for no limit"
    )]
    Rate(String),
}

/// Reads a span of time: `500ms`, `15m`, `1h 30m`. A unit is needed, hours are the largest.
///
/// # Errors
/// [`UnitError`] for anything else, negative spans included.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let span = text
        .trim()
        .parse::<SignedDuration>()
        .map_err(|_| UnitError::Duration(text.to_owned()))?;
    Duration::try_from(span).map_err(|_| UnitError::Negative(text.to_owned()))
}

/// Reads an age: a span as [`duration`] reads it, or days, weeks, months of 30 and years of 365 days as rclone writes them: `30d`,
/// `2w`, `6M`, `1y`.
///
/// # Errors
/// [`UnitError`] for anything else, negative ages included.
pub fn age(text: &str) -> Result<Duration, UnitError> {
    let bad = || UnitError::Age(text.to_owned());
    for (unit, days) in [('d', 1), ('w', 7), ('M', 30), ('y', 365)] {
        if let Some(number) = text.trim().strip_suffix(unit) {
            let number: u64 = number.trim().parse().map_err(|_| bad())?;
            let seconds = number.checked_mul(days * 86_400).ok_or_else(bad)?;
            return Ok(Duration::from_secs(seconds));
        }
    }
    duration(text).map_err(|_| bad())
}

/// A span as [`duration`] reads it: `1h 30m`.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    SignedDuration::try_from(span).map_or_else(
        |_| format!("{}s", span.as_secs()),
        |span| format!("{span:#}"),
    )
}

/// Reads a number of requests a second; `None` for 0, which is no limit.
///
/// # Errors
/// [`UnitError::Rate`] for anything but a number from 0 to a million.
pub fn per_second(text: &str) -> Result<Option<f64>, UnitError> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(Some(rate).filter(|rate| *rate > 0.0)),
        _ => Err(UnitError::Rate(text.to_owned())),
    }
}

const UNITS: [&str; 7] = ["", "k", "m", "g", "t", "p", "e"];

/// Reads a size in bytes: `512k`, `10M`, `64MiB`, `1.5G`, or a bare number of bytes. Every unit is a power of 1024, as in
/// rclone; `MB` is refused because people differ about it.
///
/// # Errors
/// [`UnitError`] for anything else.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let prefix = match unit.strip_suffix("ib").or(unit.strip_suffix('i')) {
        Some("") => return Err(wrong()),
        Some(prefix) => prefix,
        None if unit == "b" => "",
        None => match unit.strip_suffix('b') {
            Some(prefix) if UNITS.contains(&prefix) => {
                let mend = format!("{number}{}iB", prefix.to_ascii_uppercase());
                return Err(UnitError::Ambiguous(text.to_owned(), mend));
            }
            _ => unit.as_str(),
        },
    };
    let power = UNITS
        .iter()
        .position(|known| *known == prefix)
        .ok_or_else(wrong)?;
    scale(number, 1 << (10 * power), text)
}

/// Reads a size as rclone reads those of its flags: as [`size`], but that a bare number counts KiB.
///
/// # Errors
/// [`UnitError`] for anything else.
pub fn size_in_kib(text: &str) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    if trimmed.ends_with(|c: char| c.is_ascii_digit()) {
        return scale(trimmed, 1 << 10, text);
    }
    size(text)
}

/// `number` times `unit`, without rounding through a float; what is less than a byte is dropped.
fn scale(number: &str, unit: u64, text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let too_large = || UnitError::TooLarge(text.to_owned());
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && (!digits(part) || part.len() > 12 || unit == 1)) {
        return Err(wrong());
    }
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let tenths = 10_u128.pow(u32::try_from(part.len()).expect("at most twelve digits"));
    let part: u128 = if part.is_empty() {
        0
    } else {
        part.parse().map_err(|_| wrong())?
    };
    whole
        .checked_mul(u128::from(unit))
        .and_then(|bytes| bytes.checked_add(part * u128::from(unit) / tenths))
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(too_large)
}

/// A size as [`size`] reads it, exact: in the largest unit that divides it, `64MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    match bytes.trailing_zeros() as usize / 10 {
        0 => bytes.to_string(),
        power => format!(
            "{}{}iB",
            bytes >> (10 * power),
            UNITS[power].to_ascii_uppercase()
        ),
    }
}

/// A size as [`size_in_kib`] reads it, exact.
#[must_use]
pub fn show_size_in_kib(bytes: u64) -> String {
    let text = show_size(bytes);
    if text.ends_with('B') || bytes == 0 {
        text
    } else {
        text + "B"
    }
}

/// How many deletes one run may carry out unasked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxDelete {
    /// That many items.
    Count(u64),
    /// That share of what is live before the run, 0 to 100.
    Percent(f64),
}

impl FromStr for MaxDelete {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::MaxDelete(text.to_owned());
        let trimmed = text.trim();
        let Some(share) = trimmed.strip_suffix('%') else {
            return trimmed.parse().map(Self::Count).map_err(|_| wrong());
        };
        match share.trim_end().parse::<f64>() {
            Ok(share) if (0.0..=100.0).contains(&share) => Ok(Self::Percent(share)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MaxDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit_and_run_forward() {
        for (text, millis) in [
            ("500ms", 500),
            ("15m", 900_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "5x", "30d", "1mo", "m", "fast"] {
            assert_eq!(
                duration(text),
                Err(UnitError::Duration(text.to_owned())),
                "{text:?}"
            );
        }
        assert_eq!(duration("-5m"), Err(UnitError::Negative("-5m".to_owned())));
    }

    #[test]
    fn sizes_count_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("512k", 512 << 10),
            ("512K", 512 << 10),
            ("1Ki", 1 << 10),
            ("10M", 10 << 20),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
            ("15E", 15 << 60),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "k", "MiB", "1.5", "1.k", ".5k", "-1k", "1x", "1iB", "1i", "1 2k", "1.2.3k", "1e3",
            "0x10",
        ] {
            assert_eq!(
                size(text),
                Err(UnitError::Size(text.to_owned())),
                "{text:?}"
            );
        }
        assert_eq!(
            size("64MB").unwrap_err().to_string(),
            "\"64MB\" is ambiguous: write 64MiB (units of 1024)"
        );
        for text in ["16E", "99999999999999999999", &"9".repeat(60)] {
            assert_eq!(size(text), Err(UnitError::TooLarge(text.to_owned())));
        }
    }

    #[test]
    fn a_bare_number_of_a_flag_of_rclones_counts_kib() {
        for (text, bytes) in [
            ("512", 512 << 10),
            ("1.5", 1536),
            (" 0 ", 0),
            ("512B", 512),
            ("2M", 2 << 20),
        ] {
            assert_eq!(size_in_kib(text), Ok(bytes), "{text}");
        }
        assert!(
            size_in_kib("").is_err() && size_in_kib("1.").is_err() && size_in_kib("x1").is_err()
        );
    }

    #[test]
    fn requests_a_second_may_be_a_fraction_and_none_is_no_limit() {
        assert_eq!(per_second("10"), Ok(Some(10.0)));
        assert_eq!(per_second(" 0.5 "), Ok(Some(0.5)));
        assert_eq!(per_second("0"), Ok(None));
        for text in ["", "-1", "inf", "NaN", "1e7", "ten"] {
            assert_eq!(per_second(text), Err(UnitError::Rate(text.to_owned())));
        }
    }

    #[test]
    fn a_limit_of_deletes_is_a_number_or_a_share() {
        assert_eq!("50".parse(), Ok(MaxDelete::Count(50)));
        assert_eq!("5%".parse(), Ok(MaxDelete::Percent(5.0)));
        assert_eq!("0.5 %".parse(), Ok(MaxDelete::Percent(0.5)));
        for text in ["", "%", "-1", "101%", "NaN%", "inf%", "5 items", "1.5"] {
            assert!(text.parse::<MaxDelete>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(bytes: u64, millis in 0_u64..1 << 50, count: u64) {
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
            prop_assert_eq!(size(&show_size(bytes << 30)), Ok(bytes << 30));
            prop_assert_eq!(size_in_kib(&show_size_in_kib(bytes)), Ok(bytes));
            let span = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(span)), Ok(span));
            let limit = MaxDelete::Count(count);
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }
}
