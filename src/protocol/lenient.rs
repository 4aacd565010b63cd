//! Reading values the way peers really send them: `12` and `"12"`, `true` and `"true"`, `null` for absent; and dates.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::Timestamp;

/// A whole number from a JSON number or decimal text; `None` for anything else.
#[must_use]
pub fn to_i64(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A whole number that is not negative, from a JSON number or decimal text; `None` for anything else.
#[must_use]
pub fn to_u64(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let whole = whole(number.as_f64()?)?;
            u64::try_from(whole).ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A truth value from JSON or from `"true"` / `"false"`; `None` for anything else.
#[must_use]
pub fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// `12.0` as 12: json-simple writes a Double so. Beyond 2^53 a float is no longer the number that was meant.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range and the missing fraction are checked"
)]
fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

fn lenient<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        value => match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(serde::de::Error::custom(format_args!(
                "{expected} expected, found {}",
                brief(&value)
            ))),
        },
    }
}

fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        plain => plain.to_string().chars().take(60).collect(),
    }
}

/// For `#[serde(default, deserialize_with = …)]`: a count or size.
///
/// # Errors
/// When the member is there and is not one.
pub fn u64<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    lenient(from, "a whole number", to_u64)
}

/// For `#[serde(default, deserialize_with = …)]`: a number that may be negative, such as milliseconds.
///
/// # Errors
/// When the member is there and is not one.
pub fn i64<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    lenient(from, "a whole number", to_i64)
}

/// For `#[serde(default, deserialize_with = …)]`: a truth value.
///
/// # Errors
/// When the member is there and is not one.
pub fn bool<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    lenient(from, "true or false", to_bool)
}

/// A moment from the date texts peers send.
///
/// Three fraction digits are what EMDB writes; other counts are read as the decimal fraction they are and cut to
/// milliseconds, a missing fraction is zero, and a missing offset means UTC (wire spec 4.3: EMDB itself reads some of these
/// wrongly). The form of `sincedate`, `2026-03-01 09:30:00 +0000`, is read too.
#[must_use]
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let end = clock
        .find(|c: char| !matches!(c, '0'..='9' | ':' | '.' | ','))
        .unwrap_or(clock.len());
    let (clock, zone) = (&clock[..end], clock[end..].trim_start());
    let (seconds, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    if seconds.len() != 8 || (!fraction.is_empty() && !digits(fraction)) {
        return None;
    }
    let moment: DateTime = format!("{date}T{seconds}").parse().ok()?;
    let moment = parse_offset(zone)?.to_timestamp(moment).ok()?;
    let millis = (fraction.bytes().map(|digit| i64::from(digit - b'0')))
        .chain(std::iter::repeat(0))
        .take(3)
        .fold(0, |sum, digit| sum * 10 + digit);
    Some(Timestamp::from_millis(moment.as_millisecond() + millis))
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// `Z`, `+0530`, `+05:30` or `+05`; nothing means UTC.
fn parse_offset(zone: &str) -> Option<Offset> {
    if matches!(zone, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at_checked(2)?,
        5 => rest.split_once(':')?,
        _ => return None,
    };
    if hours.len() != 2 || minutes.len() != 2 || !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()
}

/// A moment the way `sincedate` writes it, in UTC and cut to seconds: `2026-03-01 09:30:00 +0000` (wire spec 4.4).
#[must_use]
pub fn format_since(moment: Timestamp) -> String {
    let nearest = moment.as_millis().clamp(
        jiff::Timestamp::MIN.as_millisecond(),
        jiff::Timestamp::MAX.as_millisecond(),
    );
    let moment =
        jiff::Timestamp::from_millisecond(nearest).expect("clamped into the range of the type");
    moment.strftime("%Y-%m-%d %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_are_read_in_every_form_that_occurs() {
        let base = 1_772_358_067_000;
        for (text, millis) in [
            ("2026-03-01T09:41:07.512Z", base + 512),
            ("2026-03-01T09:41:07Z", base),
            ("2026-03-01T09:41:07", base),
            ("2026-03-01T09:41:07.6Z", base + 600),
            ("2026-03-01T09:41:07.123456Z", base + 123),
            ("2026-03-01T15:11:07.512+05:30", base + 512),
            ("2026-03-01T10:41:07.512+0100", base + 512),
            ("2026-03-01T04:41:07-05", base),
            ("2026-03-01 09:41:07 +0000", base),
            ("2026-03-01 10:41:07 +0100", base),
        ] {
            assert_eq!(
                parse_date(text),
                Some(Timestamp::from_millis(millis)),
                "{text:?}"
            );
        }
        for text in [
            "",
            "x",
            "2026-03-01",
            "2026-03-01T",
            "2026-13-01T09:41:07Z",
            "2026-03-01T09:41Z",
            "2026-03-01T09:41:07 +0",
            "2026-03-01T09:41:07.5.5Z",
            "1772358067512",
            "2026-03-01T09:41:07Zjunk",
            "2026-03-0\u{e9}T09:41:07Z",
        ] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_and_truth_values_come_as_themselves_or_as_text() {
        assert_eq!(to_u64(&json!("404649")), Some(404_649));
        assert_eq!(to_u64(&json!(404_649.0)), Some(404_649));
        assert_eq!(to_u64(&json!(-1)), None);
        assert_eq!(to_u64(&json!(1.5)), None);
        assert_eq!(to_i64(&json!(1e300)), None);
        assert_eq!(to_i64(&json!("-5")), Some(-5));
        assert_eq!(to_bool(&json!("false")), Some(false));
        assert_eq!(to_bool(&json!(1)), None);
    }

    #[test]
    fn since_is_written_as_emdb_writes_it() {
        let moment = Timestamp::from_millis(1_772_357_400_999);
        assert_eq!(format_since(moment), "2026-03-01 09:30:00 +0000");
    }

    proptest! {
        #[test]
        fn printed_moments_are_read_back(millis in -60_000_000_000_000_i64..200_000_000_000_000) {
            let moment = Timestamp::from_millis(millis);
            prop_assert_eq!(parse_date(&moment.to_string()), Some(moment));
            prop_assert_eq!(parse_date(&format_since(moment)), Some(moment.whole_second()));
        }

        #[test]
        fn no_text_makes_the_date_reader_panic(text in "\\PC{0,40}", tail in "[0-9T:.+Z -]{0,30}") {
            let _ = parse_date(&text);
            let _ = parse_date(&format!("2026-03-01{tail}"));
        }
    }
}
