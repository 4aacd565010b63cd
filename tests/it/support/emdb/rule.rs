//! EMDB's own rule for a record that comes from another node, pulled or pushed (wire spec 6): row by row, with its crashes.

use emsync::model::Timestamp;
use emsync::protocol::lenient::parse_date;
use serde_json::{Value, json};

use super::{Content, Doc};

/// Tables whose local copies are looked up; in every other one row 1 decides.
const LOOKED_UP: [&str; 8] = [
    "library",
    "category",
    "asset",
    "librarycollection",
    "convertpreset",
    "presetparameter",
    "settingsgroup",
    "userprofile",
];

/// What the Java code threw; the rest of the page is not imported.
#[derive(Debug, Clone)]
pub(crate) enum Crash {
    /// In the rule itself.
    Rule(&'static str),
    /// In the index.
    Index(String),
}

/// What the rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Save,
    Skip,
    Conflict,
}

impl Content {
    /// Imports the rows of a page into the node `own`; those before a bad one stay imported.
    pub(super) fn import_rows(
        &mut self,
        rows: &[Value],
        own: &str,
        now: Timestamp,
    ) -> Result<(), Crash> {
        for row in rows {
            let (Some(module), Some(id), true) = (
                row["searchtype"].as_str(),
                row["id"].as_str(),
                row["source"].is_object(),
            ) else {
                return Err(Crash::Rule(
                    "java.lang.NullPointerException: \"searchtype\" or \"id\" is null",
                ));
            };
            let theirs = &row["source"];
            let ours = match LOOKED_UP.contains(&module) {
                true => self.doc(module, id).map(|doc| doc.source.clone()),
                false => None,
            };
            match decide(ours.as_ref(), theirs, own)? {
                Decision::Skip => {}
                Decision::Save => {
                    index(module, theirs)?;
                    let (module, id, source) = (module.to_owned(), id.to_owned(), theirs.clone());
                    self.import(Doc { module, id, source }, now);
                }
                Decision::Conflict => {
                    let ours = ours.expect("a conflict has two sides");
                    self.conflicts.push(json!({
                        "searchtype": module, "pulltime": now.to_string(), "dataid": id,
                        "masternodeid": theirs["emrecordstatus"]["mastereditclusterid"],
                        "remoterecordstatus": theirs["emrecordstatus"].to_string(), "remotesource": theirs.to_string(),
                        "localrecordstatus": java_text(&ours["emrecordstatus"]), "localsource": java_text(&ours),
                    }));
                }
            }
        }
        Ok(())
    }
}

/// Rows 1 to 9, top to bottom.
fn decide(ours: Option<&Value>, theirs: &Value, own: &str) -> Result<Decision, Crash> {
    let Some(ours) = ours else {
        return Ok(Decision::Save);
    };
    let (ours, theirs) = (&ours["emrecordstatus"], &theirs["emrecordstatus"]);
    if theirs.is_null() || ours.is_null() {
        return Ok(Decision::Save);
    }
    let Some(master) = text(&theirs["mastereditclusterid"])? else {
        return Err(Crash::Rule(
            "java.lang.NullPointerException: Cannot invoke \"String.equals(Object)\" because \"remotemasterclusterid\" is null",
        ));
    };
    if master == own && text(&theirs["lastmodifiedclusterid"])? == Some(own) {
        return Ok(Decision::Skip);
    }
    let Some(our_master_date) = date(&ours["masterrecordmodificationdate"])? else {
        return Ok(Decision::Save);
    };
    let missing = Crash::Rule("java.lang.NullPointerException: a date is null");
    let must = |value: &Value| date(value)?.ok_or(missing.clone());
    if must(&theirs["masterrecordmodificationdate"])? < our_master_date {
        return Ok(Decision::Conflict);
    }
    let (theirs, ours) = (
        must(&theirs["recordmodificationdate"])?,
        must(&ours["recordmodificationdate"])?,
    );
    Ok(match theirs.cmp(&ours) {
        std::cmp::Ordering::Equal => Decision::Skip,
        std::cmp::Ordering::Greater => Decision::Save,
        std::cmp::Ordering::Less => Decision::Conflict,
    })
}

/// s103: whatever is no text and not absent cannot be cast.
fn text(value: &Value) -> Result<Option<&str>, Crash> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(Crash::Rule(
            "java.lang.ClassCastException: class java.lang.Long cannot be cast to class java.lang.String (java.lang.Long and \
             java.lang.String are in module java.base of loader 'bootstrap')",
        )),
    }
}

fn date(value: &Value) -> Result<Option<i64>, Crash> {
    Ok(text(value)?.and_then(java_date))
}

/// A date in milliseconds as EMDB reads it (wire spec 4.3): digits after the point are a number of milliseconds, whatever their
/// count, and are mandatory where an offset follows; a date of 20 characters is local time, which here is UTC.
fn java_date(text: &str) -> Option<i64> {
    let whole = text
        .get(..19)
        .and_then(|start| parse_date(&format!("{start}.000Z")));
    let base = whole?.as_millis();
    if text.len() <= 20 {
        return Some(base);
    }
    let rest = text[19..].strip_prefix('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(digits);
    let hours = match zone {
        "Z" => 0,
        // Minutes of an offset are not honoured.
        zone => zone.get(..3)?.parse::<i64>().ok()?,
    };
    Some(base + fraction.parse::<i64>().ok()? - hours * 3_600_000)
}

/// s106: the one mapping that tests break.
fn index(module: &str, source: &Value) -> Result<(), Crash> {
    match &source["filesize"] {
        Value::String(text) if module == "asset" && text.parse::<i64>().is_err() => {
            Err(Crash::Index(format!(
                "Error importing bulk data: [MapperParsingException[failed to parse [filesize]]; nested: \
                 NumberFormatException[For input string: \"{text}\"];]"
            )))
        }
        _ => Ok(()),
    }
}

/// A map as Java prints it, which is not JSON.
fn java_text(value: &Value) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(java_text).collect())),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| format!("{name}={}", java_text(value)));
            format!("{{{}}}", joined(members.collect()))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wire spec A.5: master / last editor / master date / date of either side, own cluster B.
    #[test]
    fn decides_as_the_examples_of_the_specification() {
        let side = |master: &str, editor: &str, master_date: &str, date: &str| {
            let at = |time: &str| format!("2026-03-01T{time}:00.000Z");
            json!({ "emrecordstatus": {
                "mastereditclusterid": master, "lastmodifiedclusterid": editor,
                "masterrecordmodificationdate": at(master_date), "recordmodificationdate": at(date),
            }})
        };
        let cases = [
            (None, side("A", "A", "10:00", "10:00"), Decision::Save),
            (
                Some(side("A", "A", "10:00", "10:00")),
                side("A", "A", "11:00", "11:00"),
                Decision::Save,
            ),
            (
                Some(side("A", "B", "10:00", "10:30")),
                side("A", "A", "10:00", "10:00"),
                Decision::Conflict,
            ),
            (
                Some(side("A", "B", "10:00", "10:30")),
                side("A", "A", "11:00", "11:00"),
                Decision::Save,
            ),
            (
                Some(side("B", "B", "10:40", "10:40")),
                side("B", "A", "10:00", "10:50"),
                Decision::Conflict,
            ),
            (
                Some(side("B", "B", "10:00", "10:00")),
                side("B", "A", "10:00", "10:50"),
                Decision::Save,
            ),
            (
                Some(side("B", "B", "10:00", "10:00")),
                side("B", "B", "10:00", "10:00"),
                Decision::Skip,
            ),
        ];
        for (number, (ours, theirs, expected)) in cases.into_iter().enumerate() {
            let decision = decide(ours.as_ref(), &theirs, "B").unwrap();
            assert_eq!(decision, expected, "row {} of A.5", number + 1);
        }
    }

    /// Wire spec 4.3.
    #[test]
    fn dates_are_read_with_the_quirks_of_java() {
        let at = |text: &str| java_date(text).map(|ms| Timestamp::from_millis(ms).to_string());
        let is = |text: &str, expected: Option<&str>| {
            assert_eq!(at(text).as_deref(), expected, "{text}");
        };
        is("2026-03-01T09:41:07.512Z", Some("2026-03-01T09:41:07.512Z"));
        is("2026-03-01T09:41:07.6Z", Some("2026-03-01T09:41:07.006Z"));
        is(
            "2026-03-01T09:41:07.123456Z",
            Some("2026-03-01T09:43:10.456Z"),
        );
        is("2026-03-01T09:41:07Z", Some("2026-03-01T09:41:07.000Z"));
        is("2026-03-01T09:41:07+00:00", None);
        is(
            "2026-03-01T09:41:07.000+05:30",
            Some("2026-03-01T04:41:07.000Z"),
        );
    }
}
