//! Changes `[[event]]` sections: one comes, goes, or gets other values; comments in it and around it stay.

use std::ops::Range;
use std::path::Path;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

use super::{change, document, ended, extent, line_end};
use crate::config::error::Error;
use crate::config::{Config, Event};

/// Values of an event as a person writes them; what is `None` has its default, and stands nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventText {
    /// What people call it.
    pub name: String,
    /// What it does.
    pub action: String,
    /// With which peer.
    pub peer: Option<String>,
    /// Its period.
    pub every: Option<String>,
    /// Its pattern, instead of a period.
    pub cron: Option<String>,
    /// When it begins to run.
    pub start: Option<String>,
    /// Its part of the day.
    pub window: Option<String>,
    /// How much later it may begin.
    pub jitter: Option<String>,
    /// Whether it makes up for what it missed.
    pub make_up: Option<bool>,
    /// Most media bytes of a run.
    pub max_transfer: Option<String>,
    /// Longest time of a run.
    pub max_duration: Option<String>,
    /// The folder that it imports.
    pub dir: Option<String>,
    /// What that one's paths are put under.
    pub prefix: Option<String>,
    /// Whether its import makes renditions.
    pub thumbs: Option<bool>,
    /// Whether it runs by itself.
    pub enabled: Option<bool>,
}

impl EventText {
    fn values(&self) -> [(&'static str, Option<Value>); 15] {
        let text = |text: &Option<String>| text.as_ref().map(Value::from);
        let flag = |flag: Option<bool>| flag.map(Value::from);
        [
            ("name", Some(Value::from(&self.name))),
            ("action", Some(Value::from(&self.action))),
            ("peer", text(&self.peer)),
            ("every", text(&self.every)),
            ("cron", text(&self.cron)),
            ("start", text(&self.start)),
            ("window", text(&self.window)),
            ("jitter", text(&self.jitter)),
            ("make_up", flag(self.make_up)),
            ("max_transfer", text(&self.max_transfer)),
            ("max_duration", text(&self.max_duration)),
            ("dir", text(&self.dir)),
            ("prefix", text(&self.prefix)),
            ("thumbs", flag(self.thumbs)),
            ("enabled", flag(self.enabled)),
        ]
    }
}

/// The values of an event as they stand in the file.
///
/// # Errors
/// [`Error::UnknownEvent`], or any error of [`Config::load`].
pub fn event_text(file: &Path, name: &str) -> Result<EventText, Error> {
    let text = super::read(file)?;
    let section = section_of(&text, file, name)?;
    let alone: DocumentMut = text[section]
        .parse()
        .expect("a section of a document that was parsed");
    let sections = alone["event"].as_array_of_tables();
    let section = sections.and_then(|sections| sections.get(0));
    let section = section.expect("the piece is this one section");
    let text = |key: &str| section.get(key)?.as_str().map(str::to_owned);
    let flag = |key: &str| section.get(key)?.as_bool();
    Ok(EventText {
        name: name.to_owned(),
        action: text("action").unwrap_or_default(),
        peer: text("peer"),
        every: text("every"),
        cron: text("cron"),
        start: text("start"),
        window: text("window"),
        jitter: text("jitter"),
        make_up: flag("make_up"),
        max_transfer: text("max_transfer"),
        max_duration: text("max_duration"),
        dir: text("dir"),
        prefix: text("prefix"),
        thumbs: flag("thumbs"),
        enabled: flag("enabled"),
    })
}

/// Adds an event at the end of the file.
///
/// # Errors
/// [`Error::Argument`] for a value that cannot be used, or a name that is taken; any error of [`Config::load`] that was in the file
/// before. The file is then as it was.
pub fn add_event(file: &Path, new: &EventText) -> Result<(), Error> {
    let added = change(file, |text| {
        Config::parse(text, file)?;
        check_list(text, file)?;
        let mut table = Table::new();
        set(&mut table, new);
        let end = line_end(text);
        let section = printed(table).replace('\n', end);
        Ok(format!("{}{end}{section}", ended(text)))
    });
    added.map_err(as_argument)
}

/// Gives an event other values. What is `None` in them goes back to its default.
///
/// # Errors
/// [`Error::UnknownEvent`], and as [`add_event`].
pub fn change_event(file: &Path, name: &str, new: &EventText) -> Result<(), Error> {
    with_section(file, name, |table| set(table, new)).map_err(as_argument)
}

/// Turns an event on or off.
///
/// # Errors
/// [`Error::UnknownEvent`], or any error of [`Config::load`]. The file is then as it was.
pub fn enable_event(file: &Path, name: &str, enabled: bool) -> Result<(), Error> {
    with_section(file, name, |table| put(table, "enabled", enabled.into()))
}

/// Takes an event out, with the comment lines that touch it. Its history stays.
///
/// # Errors
/// As [`enable_event`].
pub fn remove_event(file: &Path, name: &str) -> Result<(), Error> {
    change(file, |text| {
        let gone = section_of(text, file, name)?;
        Ok(format!("{}{}", &text[..gone.start], &text[gone.end..]))
    })
}

/// Changes a section alone: it is printed anew, and the rest of the file is copied.
fn with_section(file: &Path, name: &str, change_it: impl FnOnce(&mut Table)) -> Result<(), Error> {
    change(file, |text| {
        let at = section_of(text, file, name)?;
        let mut alone: DocumentMut = text[at.clone()]
            .parse()
            .expect("a section of a document that was parsed");
        let sections = alone["event"].as_array_of_tables_mut();
        let section = sections.and_then(|sections| sections.get_mut(0));
        change_it(section.expect("the piece is this one section"));
        let piece = alone.to_string();
        // It is printed with line ends of one kind.
        let piece = match line_end(text) {
            "\n" => piece,
            end => piece.replace("\r\n", "\n").replace('\n', end),
        };
        Ok(format!("{}{piece}{}", &text[..at.start], &text[at.end..]))
    })
}

fn set(table: &mut Table, new: &EventText) {
    for (key, value) in new.values() {
        match value {
            Some(value) => put(table, key, value),
            None => drop(table.remove(key)),
        }
    }
}

/// Puts a value in place of another, with the comment behind that one.
fn put(table: &mut Table, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

fn printed(table: Table) -> String {
    let mut sections = ArrayOfTables::new();
    sections.push(table);
    let mut doc = DocumentMut::new();
    doc["event"] = Item::ArrayOfTables(sections);
    doc.to_string()
}

/// Where an event's section is.
fn section_of(text: &str, file: &Path, name: &str) -> Result<Range<usize>, Error> {
    Config::parse(text, file)?.event(name)?;
    check_list(text, file)?;
    let doc = document(text, file)?;
    let events = doc.get("event").and_then(Item::as_array_of_tables);
    let section = events
        .into_iter()
        .flatten()
        .find(|event| {
            let named = event.get("name").and_then(Item::as_str);
            named.is_some_and(|named| named.trim() == name)
        })
        .expect("the same text was just loaded with an event of that name");
    Ok(extent(text, section))
}

/// Whether events have sections of their own, so that one can be told from the others.
fn check_list(text: &str, file: &Path) -> Result<(), Error> {
    let doc = document(text, file)?;
    match doc.get("event") {
        Some(events) if !events.is_array_of_tables() => Err(Error::EventsInline {
            file: file.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What is wrong with a value is not at a line, for the file is as it was.
fn as_argument(error: Error) -> Error {
    match error {
        Error::Value { key, source, .. } if key.starts_with("event.") => Error::Argument {
            key: Event::KEYS
                .into_iter()
                .find(|known| key == *known)
                .unwrap_or("event"),
            source,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "\
[node]
name = \"n\"
cluster_id = \"n-1\"

# Mine.
[[event]] # the first
name = \"a\" # short
action = \"thumbs\"
# Not too often.
every = \"1h\" # an hour

[[event]]
name = \"b\"
action = \"empty-trash\"
cron = \"@daily\"
enabled = false
";

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emsync.toml");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn nightly(name: &str) -> EventText {
        EventText {
            name: name.to_owned(),
            action: "thumbs".to_owned(),
            cron: Some("30 2 * * *".to_owned()),
            ..EventText::default()
        }
    }

    #[test]
    fn an_event_comes_at_the_end_and_all_else_stays() {
        for ends in ["\n", "\r\n"] {
            let text = FILE.replace('\n', ends);
            let (_dir, path) = file(&text);
            add_event(&path, &nightly("c")).unwrap();
            let expected =
                "\n[[event]]\nname = \"c\"\naction = \"thumbs\"\ncron = \"30 2 * * *\"\n";
            let expected = format!("{text}{}", expected.replace('\n', ends));
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn other_values_take_their_places_and_comments_stay() {
        let (_dir, path) = file(FILE);
        change_event(&path, "a", &nightly("a")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let head = "# Mine.\n[[event]] # the first\nname = \"a\" # short\naction = \"thumbs\"\n";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("cron = \"30 2 * * *\"\n") && !text.contains("every"));
        assert!(text.ends_with("\n[[event]]\nname = \"b\"\naction = \"empty-trash\"\ncron = \"@daily\"\nenabled = false\n"));
        enable_event(&path, "b", true).unwrap();
        enable_event(&path, "a", false).unwrap();
        let config = Config::load(&path).unwrap();
        let enabled: Vec<_> = config.events.iter().map(|event| event.enabled).collect();
        assert_eq!(enabled, [false, true]);
    }

    #[test]
    fn an_event_goes_with_its_comments() {
        let (_dir, path) = file(FILE);
        remove_event(&path, "a").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = "[node]\nname = \"n\"\ncluster_id = \"n-1\"\n\n[[event]]\nname = \"b\"\naction = \"empty-trash\"\ncron = \"@daily\"\nenabled = false\n";
        assert_eq!(text, expected);
        let unknown = remove_event(&path, "a").unwrap_err().report();
        assert!(
            unknown.contains("no event \"a\"") && unknown.contains('b'),
            "{unknown}"
        );
    }

    #[test]
    fn what_cannot_be_used_changes_nothing_and_names_no_line() {
        let (_dir, path) = file(FILE);
        let mut wrong = nightly("c");
        wrong.cron = Some("soon".to_owned());
        let error = add_event(&path, &wrong).unwrap_err().report();
        assert!(
            error.starts_with("event.cron is not valid: \"soon\""),
            "{error}"
        );
        let error = add_event(&path, &nightly("b")).unwrap_err().report();
        assert!(
            error.starts_with("event.name is not valid: \"b\" is already"),
            "{error}"
        );
        let mut both = nightly("a");
        both.every = Some("1h".to_owned());
        assert!(change_event(&path, "a", &both).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), FILE);
    }
}
