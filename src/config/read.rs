//! Takes a parsed TOML table apart key by key, so that every complaint can name the key and the line.
//!
//! A [`Section`] hands each key out once and with the kind asked for; [`Section::done`] refuses what nobody asked for.
//! Serde would do this in fewer lines, but its messages quote the value they stumble over, which may be a peer's key.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::{Error, Place, Problem};
use super::secret::Secret;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
    /// With its section: `limits.transfers`.
    pub(super) key: String,
}

impl<T> At<T> {
    /// What `use_it` makes of the value; its complaint gets the place and the key.
    pub(super) fn check<U, P: Into<Problem>>(
        &self,
        use_it: impl FnOnce(&T) -> Result<U, P>,
    ) -> Result<U, Error> {
        use_it(&self.value).map_err(|problem| self.wrong(problem))
    }

    /// The error that this value has `problem`.
    pub(super) fn wrong(&self, problem: impl Into<Problem>) -> Error {
        Error::Value {
            place: self.place.clone(),
            key: self.key.clone(),
            source: Box::new(problem.into()),
        }
    }
}

/// One table of the file, whose keys are taken out one by one.
pub(super) struct Section<'i> {
    text: &'i str,
    file: &'i Path,
    /// Put before a key in messages: `limits.`, or nothing at the top.
    prefix: String,
    line: Option<usize>,
    left: DeTable<'i>,
    known: Vec<&'static str>,
}

impl<'i> Section<'i> {
    /// The whole document.
    pub(super) fn parse(text: &'i str, file: &'i Path) -> Result<Self, Error> {
        let root = DeTable::parse(text).map_err(|error| syntax(&error, text, file))?;
        Ok(Self::of(root.into_inner(), text, file))
    }

    /// A document that was parsed from `text`.
    pub(super) fn of(root: DeTable<'i>, text: &'i str, file: &'i Path) -> Self {
        Self {
            text,
            file,
            prefix: String::new(),
            line: None,
            left: root,
            known: Vec::new(),
        }
    }

    /// Where the section's header is.
    pub(super) fn place(&self) -> Place {
        Place {
            file: self.file.to_owned(),
            line: self.line,
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<At<String>>, Error> {
        self.take(key, "text in quotes", plain_text)
    }

    /// A span of time, still as text.
    pub(super) fn span(&mut self, key: &'static str) -> Result<Option<At<String>>, Error> {
        self.take(key, "a duration in quotes, such as \"15m\"", plain_text)
    }

    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<At<Secret>>, Error> {
        self.take(key, "text in quotes", |value| match value {
            DeValue::String(text) => Some(Secret::new(text.clone())),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<At<bool>>, Error> {
        self.take(key, "true or false", |value| match value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A program: its path, or whether it is used at all.
    pub(super) fn program(&mut self, key: &'static str) -> Result<Option<At<String>>, Error> {
        let expected = "false, or a path in quotes";
        self.take(key, expected, |value| match value {
            DeValue::Boolean(false) => Some(String::new()),
            other => plain_text(other).filter(|text| !text.is_empty()),
        })
    }

    pub(super) fn whole(&mut self, key: &'static str) -> Result<Option<At<u64>>, Error> {
        self.take(key, "a whole number, 0 or more", |value| match value {
            DeValue::Integer(number) => whole_number(number),
            _ => None,
        })
    }

    /// A whole number that may be negative.
    pub(super) fn integer(&mut self, key: &'static str) -> Result<Option<At<i64>>, Error> {
        self.take(key, "a whole number", |value| match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        })
    }

    /// A number, or text such as `64MiB` or `5%`; a number comes as its digits.
    pub(super) fn amount(&mut self, key: &'static str) -> Result<Option<At<String>>, Error> {
        self.take(
            key,
            "a whole number or text in quotes",
            |value| match value {
                DeValue::Integer(number) => whole_number(number).map(|number| number.to_string()),
                other => plain_text(other),
            },
        )
    }

    /// A number that may have a fraction, as its digits.
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<At<String>>, Error> {
        self.take(key, "a number, 0 or more", |value| match value {
            DeValue::Integer(number) => whole_number(number).map(|number| number.to_string()),
            DeValue::Float(number) => Some(number.as_str().replace('_', "")),
            _ => None,
        })
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<At<String>>, Error> {
        let Some((key, value)) = self.remove(key) else {
            return Ok(Vec::new());
        };
        let wanted = "a list of texts in quotes";
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_kind(key, value.span().start, value.get_ref(), wanted));
        };
        let text = |item: &Spanned<DeValue<'i>>| match item.get_ref() {
            DeValue::String(text) => Ok(self.at(key, item.span().start, text.clone().into_owned())),
            other => Err(self.wrong_kind(key, item.span().start, other, wanted)),
        };
        array.iter().map(text).collect()
    }

    /// The section `[key]`, empty when it is absent.
    pub(super) fn table(&mut self, key: &'static str) -> Result<Section<'i>, Error> {
        match self.remove(key) {
            None => Ok(self.inner(key, self.line, DeTable::new())),
            Some((key, value)) => self.enter(key, value, "a section, [name]"),
        }
    }

    /// The sections `[[key]]`, in the order of the file.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        wanted: &'static str,
    ) -> Result<Vec<Section<'i>>, Error> {
        let Some((key, value)) = self.remove(key) else {
            return Ok(Vec::new());
        };
        let start = value.span().start;
        match value.into_inner() {
            DeValue::Array(array) => array
                .into_iter()
                .map(|item| self.enter(key, item, wanted))
                .collect(),
            other => Err(self.wrong_kind(key, start, &other, wanted)),
        }
    }

    /// Refuses keys nobody took, the first in the file before the others.
    pub(super) fn done(self) -> Result<(), Error> {
        let Some(key) = self.left.keys().min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        Err(Error::UnknownKey {
            place: Place {
                file: self.file.to_owned(),
                line: Some(line_of(self.text, key.span().start)),
            },
            key: format!("{}{}", self.prefix, key.get_ref()),
            hint: hint(key.get_ref(), &self.known),
        })
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        read: impl FnOnce(&DeValue<'i>) -> Option<T>,
    ) -> Result<Option<At<T>>, Error> {
        let Some((key, value)) = self.remove(key) else {
            return Ok(None);
        };
        match read(value.get_ref()) {
            Some(read) => Ok(Some(self.at(key, value.span().start, read))),
            None => Err(self.wrong_kind(key, value.span().start, value.get_ref(), wanted)),
        }
    }

    fn remove(&mut self, key: &'static str) -> Option<(&'static str, Spanned<DeValue<'i>>)> {
        self.known.push(key);
        self.left.remove(key).map(|value| (key, value))
    }

    fn enter(
        &self,
        key: &'static str,
        value: Spanned<DeValue<'i>>,
        wanted: &'static str,
    ) -> Result<Section<'i>, Error> {
        let start = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Ok(self.inner(key, Some(line_of(self.text, start)), table)),
            other => Err(self.wrong_kind(key, start, &other, wanted)),
        }
    }

    fn inner(&self, key: &str, line: Option<usize>, left: DeTable<'i>) -> Section<'i> {
        Section {
            text: self.text,
            file: self.file,
            prefix: format!("{}{key}.", self.prefix),
            line,
            left,
            known: Vec::new(),
        }
    }

    fn at<T>(&self, key: &str, start: usize, value: T) -> At<T> {
        At {
            value,
            place: Place {
                file: self.file.to_owned(),
                line: Some(line_of(self.text, start)),
            },
            key: format!("{}{key}", self.prefix),
        }
    }

    fn wrong_kind(
        &self,
        key: &str,
        start: usize,
        value: &DeValue<'_>,
        wanted: &'static str,
    ) -> Error {
        let found = kind(value);
        self.at(key, start, ())
            .wrong(Problem::Kind { wanted, found })
    }
}

/// The parser's complaint, which never quotes the text.
pub(super) fn syntax(error: &toml::de::Error, text: &str, file: &Path) -> Error {
    Error::Syntax {
        place: Place {
            file: file.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
        },
        message: error.message().to_owned(),
    }
}

fn plain_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}

fn whole_number(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(number) if number.as_str().starts_with('-') => "a negative number",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The line of a byte offset, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// What was probably meant by `key`, or all there is.
fn hint(key: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let meant = known
        .iter()
        .map(|known| (distance(&plain(key), &plain(known)), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 2);
    match meant {
        Some((_, meant)) => format!("did you mean {meant}?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// Letters to insert, drop or exchange to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let exchanged = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = exchanged.min(corner + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_close_to_a_known_one_is_named() {
        let known = ["base_url", "pull_originals", "key_file"];
        assert_eq!(hint("baseurl", &known), "did you mean base_url?");
        assert_eq!(
            hint("pull-orignals", &known),
            "did you mean pull_originals?"
        );
        assert_eq!(
            hint("colour", &known),
            "known here: base_url, pull_originals, key_file"
        );
    }

    #[test]
    fn distance_counts_single_letter_changes() {
        for (from, to, steps) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abd", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), steps, "{from} {to}");
            assert_eq!(distance(to, from), steps, "{to} {from}");
        }
    }
}
