//! What was edited and deleted, and what became of it. A change is found again by what it left in its record: an edit by its note, a
//! delete by who made it and when.

use std::collections::{BTreeMap, BTreeSet};

use emsync::protocol::lenient::parse_date;
use serde_json::{Value, json};

/// Table and id.
pub(super) type Key = (String, String);
/// What a node holds.
pub(super) type Records = BTreeMap<Key, Value>;

/// What somebody did to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Edit(String),
    /// The cluster id of who deleted it, and when, ms.
    Delete(String, i64),
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) node: usize,
    /// The cluster id of the record's owner.
    pub(super) owner: String,
    key: Key,
    change: Change,
}

/// Changes that were met somewhere.
#[derive(Debug, Default)]
pub(super) struct Traces {
    notes: BTreeSet<String>,
    deletes: BTreeSet<(Key, String, i64)>,
}

impl Traces {
    /// A version of a record, with whatever changes show in it.
    pub(super) fn add(&mut self, key: &Key, source: &Value) {
        self.notes.extend(note(source).map(str::to_owned));
        if let Some((by, at)) = deleted(source) {
            self.deletes.insert((key.clone(), by.to_owned(), at));
        }
    }

    /// Whether a change was met. A delete that its maker stamped anew, since it refused a stale edit, is still that delete.
    pub(super) fn show(&self, made: &Made) -> bool {
        match &made.change {
            Change::Edit(note) => self.notes.contains(note),
            Change::Delete(by, since) => {
                let of = |at| (made.key.clone(), by.clone(), at);
                let later = self.deletes.range(of(*since)..=of(i64::MAX));
                later.count() > 0
            }
        }
    }
}

/// Every change that was made so far.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) made: Vec<Made>,
    /// Those whose record was seen with them and changed by whoever saw it.
    pub(super) seen: Traces,
    /// Those that the owner of the record was seen with; noted in worlds with an EMDB.
    pub(super) taken: Traces,
}

impl Edits {
    /// Somebody acted on a node, which held `before` and holds `after`; `is_delete` if records were deleted by name.
    pub(super) fn acted(
        &mut self,
        node: usize,
        is_delete: bool,
        before: &Records,
        after: &Records,
    ) {
        for (key, source) in before {
            let is = after.get(key).unwrap_or(&Value::Null);
            if note(is) != note(source) || deleted(is) != deleted(source) {
                self.seen.add(key, source);
            }
        }
        for (key, source) in after {
            let was = before.get(key).unwrap_or(&Value::Null);
            let edit = note(source).filter(|note_now| note(was) != Some(note_now));
            let delete = deleted(source).filter(|_| is_delete && deleted(was).is_none());
            let changes = [
                edit.map(|note| Change::Edit(note.to_owned())),
                delete.map(|(by, at)| Change::Delete(by.to_owned(), at)),
            ];
            let owner = &source["emrecordstatus"]["mastereditclusterid"];
            self.made
                .extend(changes.into_iter().flatten().map(|change| Made {
                    node,
                    owner: owner.as_str().unwrap_or_default().to_owned(),
                    key: key.clone(),
                    change,
                }));
        }
    }

    /// The node of this cluster id holds these records.
    pub(super) fn holds(&mut self, own: &str, records: &Records) {
        for (key, source) in records {
            if source["emrecordstatus"]["mastereditclusterid"] == json!(own) {
                self.taken.add(key, source);
            }
        }
    }
}

fn note(source: &Value) -> Option<&str> {
    source["note"].as_str()
}

/// Who deleted the record and when, ms; `None` if it lives.
fn deleted(source: &Value) -> Option<(&str, i64)> {
    let status = &source["emrecordstatus"];
    let at = status["recordmodificationdate"]
        .as_str()
        .and_then(parse_date)?;
    let by = status["lastmodifiedclusterid"].as_str()?;
    (status["recorddeleted"] == json!(true)).then_some((by, at.as_millis()))
}
