//! Everything that is wrong with a configuration, not only the first thing.
//!
//! ```text
//! until it loads:  read it as the program would
//!                  note what is wrong; take that value out, or put one that goes in the place of one that must be there
//! ```
//!
//! Loading stops at its first mistake, which is what a program that is about to work wants. Here the same reader is asked again
//! and again, so that there is one reader, and every message is its own. A value that was taken out can cause no second
//! message, and one that stands in for another is never complained about.

use std::borrow::Cow;
use std::path::{self as std_path, Path};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, Place, Problem};
use super::read::{Section, line_of, syntax};
use super::{Config, file};

/// Most mistakes that are looked for; a file with more is not one of ours.
const MOST: usize = 200;

impl Config {
    /// Checks the text of a configuration as [`parse`](Self::parse) does, and goes on behind what is wrong.
    ///
    /// # Errors
    /// All that was found, in the order of the lines. A text that is no TOML is not looked at further.
    pub fn parse_whole(text: &str, path: &Path) -> Result<Self, Vec<Error>> {
        let file = match std_path::absolute(path) {
            Ok(file) => file,
            Err(source) => {
                let file = path.to_owned();
                return Err(vec![Error::Read { file, source }]);
            }
        };
        let (root, wrong) = DeTable::parse_recoverable(text);
        if !wrong.is_empty() {
            let errors = wrong.iter().map(|error| syntax(error, text, &file));
            return Err(in_order(errors.collect()));
        }
        let mut draft = Draft {
            root: root.into_inner(),
            text,
            stand_ins: 0,
        };
        let mut found: Vec<Error> = Vec::new();
        for _ in 0..MOST {
            let top = Section::of(draft.root.clone(), text, &file);
            let read = file::Written::take(top).and_then(|all| Self::resolve(&all, file.clone()));
            let error = match read {
                Ok(config) if found.is_empty() => return Ok(config),
                Ok(_) => break,
                Err(error) => error,
            };
            let goes_on = draft.mend(&error);
            // Two keys on one line are told apart only by trying: the second try says the same.
            if found.iter().all(|one| one.report() != error.report()) {
                found.push(error);
            }
            if !goes_on {
                break;
            }
        }
        Err(in_order(found))
    }
}

fn in_order(mut errors: Vec<Error>) -> Vec<Error> {
    errors.sort_by_key(|error| error.place().and_then(|place| place.line));
    errors.dedup_by_key(|error| error.report());
    errors
}

/// The document, less what was found wrong in it.
struct Draft<'i> {
    root: DeTable<'i>,
    text: &'i str,
    stand_ins: usize,
}

impl<'i> Draft<'i> {
    /// Takes away what caused an error; `false` where that is not known.
    fn mend(&mut self, error: &Error) -> bool {
        match error {
            Error::Missing { place, key, .. } => self.put_in(place, key),
            Error::UnknownKey { place, key, .. } => self.take_out(place, key),
            Error::Value { place, key, source } => match **source {
                // One section says nothing of its own, or says it of nothing.
                Problem::NewPreset(_) | Problem::PresetTwice { .. } | Problem::SameFile { .. } => {
                    self.drop_entry(place, key)
                }
                Problem::CapBelowBase { .. } => {
                    let other = ["limits.retry_cap", "limits.retry_base"];
                    let gone = other.map(|key| self.take_anywhere(key));
                    gone.contains(&true)
                }
                _ => self.take_out(place, key),
            },
            Error::List { .. } => self.take_anywhere("media.preset_lists"),
            Error::Preset(_) => self.root.remove("preset").is_some(),
            _ => false,
        }
    }

    /// Takes the key of that line out, or puts another value in its place where there must be one.
    fn take_out(&mut self, place: &Place, key: &str) -> bool {
        let Some(line) = place.line else { return false };
        let text = self.text;
        let number = self.stand_ins;
        let (section, name) = split(key);
        let is_there = |name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>| {
            let first = line_of(text, name.span().start);
            // What stands in for something has no extent, and nothing is wrong with it.
            !value.span().is_empty() && (first..=line_of(text, value.span().end)).contains(&line)
        };
        for (_, table) in tables(&mut self.root, section) {
            let entry = table.iter().find(|entry| entry.0.get_ref() == name);
            let Some((found, _)) = entry.filter(|(name, value)| is_there(name, value)) else {
                continue;
            };
            let found = found.clone();
            table.remove(name);
            if let Some(stand_in) = stand_in(key, table, number) {
                let start = found.span().start;
                let value = Spanned::new(start..start, DeValue::String(stand_in.into()));
                table.insert(found, value);
                self.stand_ins += 1;
            }
            return true;
        }
        // What no section holds stands at the top, whatever dots there are in it.
        self.root.remove(key).is_some()
    }

    /// Takes a key out of a section that is there once.
    fn take_anywhere(&mut self, key: &str) -> bool {
        let (section, name) = split(key);
        let mut tables = tables(&mut self.root, section).into_iter();
        tables.any(|(_, table)| table.remove(name).is_some())
    }

    /// Puts a value in where one is missing.
    fn put_in(&mut self, place: &Place, key: &str) -> bool {
        let (section, name) = split(key);
        if place.line.is_none() && !self.root.contains_key(section) {
            let table = Spanned::new(0..0, DeValue::Table(DeTable::new()));
            let header = Spanned::new(0..0, Cow::Owned(section.to_owned()));
            self.root.insert(header, table);
        }
        let (text, number) = (self.text, self.stand_ins);
        let starts_there =
            |start: usize| place.line.is_none_or(|line| line_of(text, start) == line);
        for (start, table) in tables(&mut self.root, section) {
            let is_missing = !table.contains_key(name) && starts_there(start);
            if let Some(stand_in) = stand_in(key, table, number).filter(|_| is_missing) {
                let name = Spanned::new(start..start, Cow::Owned(name.to_owned()));
                let value = DeValue::String(stand_in.into());
                table.insert(name, Spanned::new(start..start, value));
                self.stand_ins += 1;
                return true;
            }
        }
        // An entry nobody can name says nothing.
        self.drop_entry(place, key)
    }

    /// Takes the whole entry that a line is in out of its list.
    fn drop_entry(&mut self, place: &Place, key: &str) -> bool {
        let (section, _) = split(key);
        let Some(line) = place.line else { return false };
        let text = self.text;
        let Some(list) = self.root.get_mut(section) else {
            return false;
        };
        let DeValue::Array(array) = list.get_mut() else {
            return false;
        };
        let holds = |entry: &Spanned<DeValue<'_>>| {
            let DeValue::Table(table) = entry.get_ref() else {
                return false;
            };
            let ends = table.values().map(|value| value.span().end).max();
            let last = ends.unwrap_or_default().max(entry.span().end);
            (line_of(text, entry.span().start)..=line_of(text, last)).contains(&line)
        };
        let Some(at) = array.iter().position(holds) else {
            return false;
        };
        let kept = array.iter().enumerate().filter(|(index, _)| *index != at);
        let kept: Vec<_> = kept.map(|(_, entry)| entry.clone()).collect();
        *array = kept.into_iter().collect();
        true
    }
}

/// The tables of a section, and where each starts: one, or each of a list; the whole document for no name.
fn tables<'t, 'i>(root: &'t mut DeTable<'i>, section: &str) -> Vec<(usize, &'t mut DeTable<'i>)> {
    if section.is_empty() {
        return vec![(0, root)];
    }
    let Some(value) = root.get_mut(section) else {
        return Vec::new();
    };
    let start = value.span().start;
    match value.get_mut() {
        DeValue::Table(table) => vec![(start, table)],
        DeValue::Array(array) => {
            let tables = array.iter_mut().filter_map(|entry| {
                let start = entry.span().start;
                match entry.get_mut() {
                    DeValue::Table(table) => Some((start, table)),
                    _ => None,
                }
            });
            tables.collect()
        }
        _ => Vec::new(),
    }
}

/// `limits` and `transfers` of `limits.transfers`.
fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

/// A value that goes in the place of one that must be there.
fn stand_in(key: &str, beside: &DeTable<'_>, number: usize) -> Option<String> {
    let plain = match key {
        "node.name" | "node.cluster_id" | "peer.name" | "event.name" => {
            return Some(format!("stand-in-{number}"));
        }
        "peer.base_url" => "http://nowhere.invalid/none",
        // Whichever explains the other keys.
        "event.action" if beside.contains_key("dir") => "import",
        "event.action" => "sync",
        "event.dir" if is_import(beside) => "/nowhere",
        "event.every" if !beside.contains_key("cron") => "24h",
        "event.cron" if !beside.contains_key("every") => "@daily",
        _ => return None,
    };
    Some(plain.to_owned())
}

fn is_import(event: &DeTable<'_>) -> bool {
    let action = event.get("action").map(Spanned::get_ref);
    action.and_then(DeValue::as_str) == Some("import")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(text: &str) -> Vec<String> {
        let file = Path::new("/c/emsync.toml");
        let errors = Config::parse_whole(text, file).unwrap_err();
        let short = |error: &Error| error.report().replace("/c/emsync.toml:", "");
        errors.iter().map(short).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() {
        let text = "\
[node]
name = \"a\"
cluster_id = \"entermedia-cluster\"
nmae = \"a\"
[limits]
transfers = 0
timeout = \"soon\"
bogus = 1
[serve]
listen = 7
[[peer]]
base_url = \"http://h/\"
[[peer]]
name = \"ok\"
base_url = \"http://h/assets\"
generated = \"never\"
[[event]]
name = \"e\"
action = \"dance\"
every = \"x\"
peer = \"nobody\"
";
        let said = reports(text);
        let lines: Vec<_> = said
            .iter()
            .map(|one| one.split(':').next().unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                "3", "4", "6", "7", "8", "10", "11", "12", "16", "19", "20", "21"
            ],
            "{said:#?}"
        );
        assert!(said[6].contains("peer.name is missing"), "{said:#?}");
        assert!(said[11].contains("there is no peer"), "{said:#?}");
    }

    #[test]
    fn what_a_mistake_would_cause_is_not_a_second_mistake() {
        // The cap is less than the base; the default of neither is.
        let caps = "node = { name = \"a\", cluster_id = \"a-1\" }\n[limits]\nretry_base = \"2m\"\nretry_cap = \"1s\"\n";
        assert_eq!(reports(caps).len(), 1, "{:?}", reports(caps));
        // A peer without an address is a peer still, for the event that names it.
        let peer = "node = { name = \"a\", cluster_id = \"a-1\" }\n[[peer]]\nname = \"m\"\n\
            [[event]]\nname = \"e\"\naction = \"pull\"\npeer = \"m\"\nevery = \"1h\"\n";
        let said = reports(peer);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("peer.base_url is missing"), "{said:?}");
    }

    #[test]
    fn a_key_that_does_not_belong_there_goes_and_one_that_is_missing_comes() {
        let node = "node = { name = \"a\", cluster_id = \"a-1\" }\n";
        let events = "[[event]]\nname = \"e\"\naction = \"thumbs\"\nevery = \"1h\"\ndir = \"x\"\nprefix = \"y\"\n\
            [[event]]\nname = \"f\"\naction = \"import\"\nevery = \"1h\"\nthumbs = 1\n";
        let said = reports(&format!("{node}{events}"));
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said[2].contains("event.dir is missing"), "{said:#?}");
    }

    #[test]
    fn mistakes_on_one_line_are_each_said() {
        let said = reports("node = { name = \"\", cluster_id = \"\", catalog = \"..\" }");
        assert_eq!(said.len(), 3, "{said:?}");
        let said = reports(
            "node = { name = \"a\", cluster_id = \"a-1\" }\npeer = [{ name = \"/\", base_url = \"http://h/a\" }, { name = \"b\", base_url = \"h\" }]",
        );
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn a_text_that_is_no_toml_says_so_and_no_more() {
        let said = reports("[node]\nname = \nstate = \"planted\n");
        assert!(!said.is_empty());
        assert!(
            said.iter().all(|one| one.contains("not valid TOML")),
            "{said:?}"
        );
        assert!(!said.concat().contains("planted"));
    }

    #[test]
    fn every_bad_fixture_says_first_what_loading_says() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/config/bad");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|kind| kind != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let first = Config::parse(&text, &path).unwrap_err().report();
            let all = Config::parse_whole(&text, &path).unwrap_err();
            let all: Vec<_> = all.iter().map(Error::report).collect();
            assert!(all.contains(&first), "{}: {all:?}", path.display());
            assert!(all.len() <= 2, "{}: {all:#?}", path.display());
            assert!(!all.concat().contains("planted"), "{}", path.display());
        }
    }
}
