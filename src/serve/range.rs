//! Which bytes of a file a request is after, and whether it needs any (RFC 9110, sections 13 and 14). Pure.
//!
//! What cannot be understood is ignored, as the RFC wants, so that the whole file comes. Several ranges at once are answered with
//! the whole file too; nobody who syncs asks for them.

use crate::model::{Sha256, Timestamp};

/// What tells one content of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// The entity tag, quotes included.
    pub(super) tag: String,
    /// Modification time in whole seconds.
    pub(super) modified: Timestamp,
    /// Bytes.
    pub(super) size: u64,
}

/// The bytes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of them.
    Whole,
    /// From `first` to `last`, both included.
    Span {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// None: the range begins past the end.
    Beyond,
}

impl Version {
    /// The version of a file with this content.
    pub(super) fn new(sha256: &Sha256, modified: Timestamp, size: u64) -> Self {
        Self {
            tag: format!("\"{sha256}\""),
            modified: modified.whole_second(),
            size,
        }
    }

    /// `Last-Modified`, or `None` for a time no header can state.
    pub(super) fn last_modified(&self) -> Option<String> {
        let moment = jiff::Timestamp::from_millisecond(self.modified.as_millis()).ok()?;
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        printer.timestamp_to_rfc9110_string(&moment).ok()
    }

    /// Whether the client has this version already. `If-None-Match` decides alone where there is one.
    pub(super) fn is_known(
        &self,
        if_none_match: Option<&str>,
        if_modified_since: Option<&str>,
    ) -> bool {
        match (if_none_match, if_modified_since) {
            (Some(tags), _) => tags.trim() == "*" || Tags(tags).any(|tag| tag == self.tag),
            (None, Some(date)) => http_date(date).is_some_and(|date| self.modified <= date),
            (None, None) => false,
        }
    }

    /// The bytes that `Range` is after, if `If-Range` still holds.
    pub(super) fn part(&self, range: Option<&str>, if_range: Option<&str>) -> Part {
        let Some(range) = range.and_then(parse) else {
            return Part::Whole;
        };
        if !if_range.is_none_or(|condition| self.is_exactly(condition)) {
            return Part::Whole;
        }
        let size = self.size;
        match range {
            Span::From { first, .. } if first >= size => Part::Beyond,
            Span::Last(0) => Part::Beyond,
            Span::Last(_) if size == 0 => Part::Beyond,
            Span::From { first, last } => Part::Span {
                first,
                last: last.min(size - 1),
            },
            Span::Last(count) => Part::Span {
                first: size.saturating_sub(count),
                last: size - 1,
            },
        }
    }

    /// `If-Range` wants the very same version: a weak tag never is, a date only when it is equal.
    fn is_exactly(&self, condition: &str) -> bool {
        let condition = condition.trim();
        condition == self.tag || http_date(condition) == Some(self.modified)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    From { first: u64, last: u64 },
    Last(u64),
}

fn parse(range: &str) -> Option<Span> {
    let (unit, spans) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spans.contains(',') {
        return None;
    }
    let (first, last) = spans.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", count) => Some(Span::Last(number(count)?)),
        (first, "") => Some(Span::From {
            first: number(first)?,
            last: u64::MAX,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Span::From { first, last })
        }
    }
}

/// Digits only; what is too large for the type is past every end anyway.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let moment = parser.parse_timestamp(text.trim()).ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// The tags of a list, quotes included, weak ones without their mark; ends at the first thing that is no tag.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let rest = rest.strip_prefix("W/").unwrap_or(rest);
        let end = rest.strip_prefix('"')?.find('"')? + 2;
        self.0 = &rest[end..];
        Some(&rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(size: u64) -> Version {
        let modified = Timestamp::from_millis(1_772_358_067_512);
        Version {
            tag: "\"abc\"".to_owned(),
            ..Version::new(&Sha256::of(b"x"), modified, size)
        }
    }

    fn span(first: u64, last: u64) -> Part {
        Part::Span { first, last }
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let of_ten = |range: &str| version(10).part(Some(range), None);
        for (range, part) in [
            ("bytes=0-", span(0, 9)),
            ("bytes=3-5", span(3, 5)),
            ("Bytes = 3-5", span(3, 5)),
            ("bytes=9-99", span(9, 9)),
            ("bytes=-3", span(7, 9)),
            ("bytes=-99", span(0, 9)),
            ("bytes=10-", Part::Beyond),
            ("bytes=99999999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=5-3", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(of_ten(range), part, "{range}");
        }
        assert_eq!(version(0).part(Some("bytes=0-"), None), Part::Beyond);
        assert_eq!(version(0).part(Some("bytes=-1"), None), Part::Beyond);
        assert_eq!(version(0).part(None, None), Part::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_file() {
        let part = |condition: &str| version(10).part(Some("bytes=5-"), Some(condition));
        let date = version(10).last_modified().unwrap();
        assert_eq!(date, "Sun, 01 Mar 2026 09:41:07 GMT");
        assert_eq!(part("\"abc\""), span(5, 9));
        assert_eq!(part(&date), span(5, 9));
        for other in [
            "\"abd\"",
            "W/\"abc\"",
            "abc",
            "Sun, 01 Mar 2026 09:41:08 GMT",
            "Sun, 01 Mar 2026 09:41:06 GMT",
        ] {
            assert_eq!(part(other), Part::Whole, "{other}");
        }
    }

    #[test]
    fn a_known_version_is_recognised_by_tag_or_else_by_date() {
        let known = |tags, date| version(10).is_known(tags, date);
        for tags in ["\"abc\"", "W/\"abc\"", "*", "\"a,b\", W/\"x\" ,\"abc\""] {
            assert!(known(Some(tags), None), "{tags}");
        }
        let later = Some("Sun, 01 Mar 2026 09:41:07 GMT");
        for tags in ["\"abd\"", "abc", "", "\"abc", "1772358067512"] {
            assert!(!known(Some(tags), later), "{tags}");
        }
        assert!(known(None, later));
        assert!(!known(None, Some("Sun, 01 Mar 2026 09:41:06 GMT")));
        assert!(!known(None, Some("yesterday")) && !known(None, None));
    }

    proptest! {
        #[test]
        fn a_span_lies_inside_the_file(range in "bytes=[0-9]{0,3}-[0-9]{0,3}", size in 0_u64..300) {
            if let Part::Span { first, last } = version(size).part(Some(&range), None) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn no_header_panics(range in "\\PC{0,40}", tags in "[W/\",* a]{0,40}") {
            version(5).part(Some(&range), Some(&tags));
            version(5).is_known(Some(&tags), Some(&range));
        }

        #[test]
        fn the_tag_is_found_wherever_it_stands_in_a_list(before in prop::collection::vec("[a-z,]{0,5}", 0..4)) {
            let mut list: Vec<_> = before.iter().map(|tag| format!("\"{tag}\"")).collect();
            list.push("\"abc\"".to_owned());
            prop_assert!(version(5).is_known(Some(&list.join(",")), None));
        }
    }
}
