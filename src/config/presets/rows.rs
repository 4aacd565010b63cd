//! One XML file of a list table, as EMDB writes them: the children of its root are rows.
//!
//! A row's properties are its attributes, then its own children by name; its text is `name` where neither is. What such files
//! never hold is refused, so that a hostile one costs no more than its size: document types, and with them entities; more levels,
//! rows or attributes than a list has.

use std::collections::BTreeMap;
use std::path::Path;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::model::preset::{Row, Whence};

/// Most rows of a file.
const MOST_ROWS: usize = 20_000;
/// Most attributes of an element.
const MOST_ATTRIBUTES: usize = 200;
/// Most elements inside one another.
const MOST_LEVELS: usize = 16;

/// What is wrong with the text, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

/// The rows of a file, in its order. `file` is only named in them.
pub(super) fn rows(text: &str, file: &Path) -> Result<Vec<Row>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reading = Reading {
        file,
        levels: 0,
        has_root: false,
        open: None,
        rows: Vec::new(),
    };
    let mut reader = Reader::from_str(text);
    let mut lines = Lines {
        text,
        at: 0,
        line: 1,
    };
    loop {
        // What stands before an event is read already: its line is where the last one ended.
        let begins = offset(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Eof) if reading.levels > 0 => {
                let message = "the file ends inside an element: the last closing tags are missing";
                return Err(lines.fault(begins, message));
            }
            Ok(Event::Eof) if !reading.has_root => {
                return Err(lines.fault(begins, "no element: it should be a list of rows"));
            }
            Ok(Event::Eof) => return Ok(reading.rows),
            Ok(event) => {
                let line = lines.of(begins);
                let taken = reading.take(&event, line);
                taken.map_err(|message| Fault { line, message })?;
            }
            Err(error) => {
                let at = offset(reader.error_position());
                return Err(lines.fault(at, &error.to_string()));
            }
        }
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Counts lines while going forward.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of an offset that is not before the last one.
    fn of(&mut self, offset: usize) -> usize {
        let until = offset.min(self.text.len());
        if until > self.at {
            let between = &self.text.as_bytes()[self.at..until];
            self.line += between.iter().filter(|byte| **byte == b'\n').count();
            self.at = until;
        }
        self.line
    }

    fn fault(&mut self, offset: usize, message: &str) -> Fault {
        Fault {
            line: self.of(offset),
            message: message.to_owned(),
        }
    }
}

/// How far a file has been read.
struct Reading<'f> {
    file: &'f Path,
    /// Elements that are open: 1 inside the root, 2 inside a row.
    levels: usize,
    has_root: bool,
    open: Option<OpenRow>,
    rows: Vec<Row>,
}

/// A row whose end is still to come.
struct OpenRow {
    attributes: BTreeMap<String, String>,
    /// Its children's texts, and its own under `name`.
    texts: BTreeMap<String, String>,
    /// The child that is open.
    member: Option<String>,
    /// Whether the open child has said what it says: of a name in several languages the first counts.
    is_said: bool,
    line: usize,
}

impl Reading<'_> {
    fn take(&mut self, event: &Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Start(start) => {
                self.begin(start, line)?;
                self.levels += 1;
                if self.levels > MOST_LEVELS {
                    return Err(format!(
                        "more than {MOST_LEVELS} elements inside one another"
                    ));
                }
            }
            Event::Empty(start) => {
                self.begin(start, line)?;
                self.end();
            }
            Event::End(_) => {
                self.levels -= 1;
                self.end();
            }
            Event::Text(text) => self.say(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(text) => self.say(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(entity) => {
                let character = entity
                    .resolve_char_ref()
                    .map_err(|error| error.to_string())?;
                let name = entity.xml_content(XmlVersion::Implicit1_0);
                match (character, resolve_predefined_entity(&name)) {
                    (Some(character), _) => self.say(character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => self.say(text),
                    (None, None) => return Err(format!("unknown entity &{name};")),
                }
            }
            Event::DocType(_) => {
                let message = "a document type has no place in a list: remove <!DOCTYPE …>";
                return Err(message.to_owned());
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => {}
        }
        Ok(())
    }

    /// At the start of an element inside `levels` others.
    fn begin(&mut self, start: &BytesStart<'_>, line: usize) -> Result<(), String> {
        match (self.levels, &mut self.open) {
            (0, _) if self.has_root => return Err("a second root element".to_owned()),
            (0, _) => self.has_root = true,
            (1, _) if self.rows.len() == MOST_ROWS => {
                return Err(format!("more than {MOST_ROWS} rows"));
            }
            (1, open) => {
                *open = Some(OpenRow {
                    attributes: attributes(start)?,
                    texts: BTreeMap::new(),
                    member: None,
                    is_said: false,
                    line,
                });
            }
            (2, Some(row)) => {
                (row.member, row.is_said) = (Some(start.name().as_ref().to_owned()), false);
            }
            _ => {}
        }
        Ok(())
    }

    /// After the end of an element inside `levels` others.
    fn end(&mut self) {
        match (self.levels, &mut self.open) {
            (1, open) => {
                let row = open.take().map(|row| row.finish(self.file));
                self.rows.extend(row);
            }
            (2, Some(row)) => row.member = None,
            (_, Some(row)) => row.is_said |= row.has_text(),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(row) = &mut self.open
            && !(row.member.is_some() && row.is_said)
        {
            let name = row.member.as_deref().unwrap_or("name");
            row.texts.entry(name.to_owned()).or_default().push_str(text);
        }
    }
}

impl OpenRow {
    fn has_text(&self) -> bool {
        let text = self.member.as_ref().and_then(|name| self.texts.get(name));
        text.is_some_and(|text| !text.trim().is_empty())
    }

    fn finish(self, file: &Path) -> Row {
        let mut properties = self.attributes;
        for (name, text) in self.texts {
            let text = text.trim();
            if !text.is_empty() {
                properties.entry(name).or_insert_with(|| text.to_owned());
            }
        }
        Row {
            properties,
            whence: Some(Whence {
                file: file.to_owned(),
                line: self.line,
            }),
        }
    }
}

fn attributes(start: &BytesStart<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|error| error.to_string())?.into_owned();
        attributes.insert(attribute.key.as_ref().to_owned(), value);
        if attributes.len() > MOST_ATTRIBUTES {
            return Err(format!(
                "more than {MOST_ATTRIBUTES} attributes of one element"
            ));
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Row>, Fault> {
        rows(text, Path::new("custom.xml"))
    }

    /// Each row as its line and its properties in order of name.
    fn shown(text: &str) -> Vec<String> {
        let shown = |row: &Row| {
            let line = row.whence.as_ref().unwrap().line;
            let properties = row
                .properties
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{line}:{}", properties.collect::<String>())
        };
        read(text).unwrap().iter().map(shown).collect()
    }

    #[test]
    fn a_row_is_its_attributes_and_its_text_is_its_name() {
        let text = "<?xml version=\"1.0\"?>\n<properties>\n  <!-- a remark -->\n  <parameter id=\"a1\" value=\"4:2:0\" > quality\n</parameter>\n\
                    <data\n id='b' name=\"crop\" value=\"a&lt;&#98;\"/>\n<x>A &amp; B</x></properties>";
        assert_eq!(
            shown(text),
            [
                "4: id=a1 name=quality value=4:2:0",
                "6: id=b name=crop value=a<b",
                "8: name=A & B"
            ]
        );
    }

    #[test]
    fn children_of_a_row_are_properties_that_no_attribute_says() {
        let text = "<p><row id=\"1\" value=\"of the attribute\"><value>of the child</value>\n<name>\
                    <language id=\"en\"><![CDATA[quality]]></language>\n<language id=\"de\">Güte</language></name></row></p>";
        assert_eq!(shown(text), ["1: id=1 name=quality value=of the attribute"]);
    }

    #[test]
    fn a_list_may_be_empty() {
        assert!(shown("<properties/>").is_empty());
        assert!(shown("\u{feff}<properties>\n</properties>\n").is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        let deep = format!("<p>{}", "<x>".repeat(MOST_LEVELS));
        let wide: String = (0..=MOST_ATTRIBUTES)
            .map(|n| format!(" a{n}='1'"))
            .collect();
        for (text, line, part) in [
            ("", 1, "no element"),
            ("just words", 1, "no element"),
            ("<p>\n<row id='1'>\n", 3, "ends inside an element"),
            ("<p>\n<row>\n</p>", 3, "expected `</row>`"),
            ("<p>\n<row id=1/></p>", 2, "attribute value"),
            ("<p>\n<row id='1' id='2'/></p>", 2, "duplicated attribute"),
            ("<p>\n\n<row>&boom;</row></p>", 3, "unknown entity &boom;"),
            ("<p>\n<row id='&boom;'/></p>", 2, "boom"),
            ("<!DOCTYPE p [<!ENTITY a 'b'>]>\n<p/>", 1, "document type"),
            ("<p/>\n<p/>", 2, "second root"),
            (&deep, 1, "inside one another"),
            (
                &format!("<p><row{wide}/></p>"),
                1,
                "attributes of one element",
            ),
            (
                &format!("<p>{}</p>", "<r/>".repeat(MOST_ROWS + 1)),
                1,
                "rows",
            ),
        ] {
            let fault = read(text).unwrap_err();
            let start: String = text.chars().take(40).collect();
            assert_eq!(fault.line, line, "{start}: {fault:?}");
            assert!(fault.message.contains(part), "{start}: {fault:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([<>/=&;'\"!\\[\\]a-c \n-]|<r|/>|<!--|-->|<!\\[CDATA\\[|\\]\\]>|&#){0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn whatever_a_value_says_it_comes_back(value in "[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{fffe}\u{ffff}]{0,40}") {
            let escaped = quick_xml::escape::escape(&value);
            let rows = read(&format!("<p><r v=\"{escaped}\"/></p>")).unwrap();
            prop_assert_eq!(rows[0].get("v"), Some(value.as_str()));
        }
    }
}
