//! Records between their JSON and the model. The JSON text is kept byte for byte, so that members nobody here knows about
//! travel on unharmed; only `emrecordstatus`, and the members of an asset that decide about files, are looked into.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lenient;
use crate::model::{
    Asset, AssetId, Md5, MediaPath, NodeId, Record, RecordKey, RecordStatus, Sha256, Timestamp,
};

/// The member that holds the record status.
pub(super) const STATUS: &str = "emrecordstatus";
/// Most of a bad record's text that is kept with it.
const KEPT: usize = 64 * 1024;

/// One record that cannot be used, to be set aside with its reason; the rest of its page is fine (I3, H-20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its address, where that much is right.
    pub key: Option<RecordKey>,
    /// Its table as stated, or empty.
    pub module: String,
    /// Its id as stated, or empty.
    pub id: String,
    /// The rule it breaks.
    pub reason: String,
    /// The record as received, cut at 64 KiB.
    pub source: String,
}

// By hand: thiserror takes a field of the name `source` for the cause.
impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {:?} {:?} {}", self.module, self.id, self.reason)
    }
}

impl std::error::Error for BadRecord {}

impl BadRecord {
    pub(super) fn new(module: &str, id: &str, source: &str, reason: impl ToString) -> Self {
        Self {
            key: RecordKey::new(module, id).ok(),
            module: module.to_owned(),
            id: id.to_owned(),
            reason: reason.to_string(),
            source: source[..source.floor_char_boundary(KEPT)].to_owned(),
        }
    }

    /// A record that was read and is not to be used all the same.
    #[must_use]
    pub fn of(record: &Record, reason: impl ToString) -> Self {
        let key = &record.key;
        Self::new(key.module.as_str(), &key.id, &record.source, reason)
    }
}

/// Reads one record. `module` and `id` come from the entry around it, which alone is right (wire spec 11.2.4).
///
/// # Errors
/// [`BadRecord`] when the address cannot be one, the JSON is not an object, or `emrecordstatus` is there but incomplete
/// (wire spec 4.2): the cases in which EMDB's own client aborts its run.
pub fn record(module: &str, id: &str, source: &RawValue) -> Result<Record, BadRecord> {
    let text = source.get();
    let bad = |reason: String| BadRecord::new(module, id, text, reason);
    let key = RecordKey::new(module, id).map_err(|error| bad(error.to_string()))?;
    let value: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if !value.is_object() {
        return Err(bad("is not an object".to_owned()));
    }
    let status = match value.get(STATUS) {
        None | Some(Value::Null) => None,
        Some(status) => Some(read_status(status).map_err(bad)?),
    };
    Ok(Record {
        key,
        content: content(&value),
        source: text.to_owned(),
        status,
    })
}

/// Makes a record of its own members and a status, which gets its member `emrecordstatus` in EMDB's exact form.
#[must_use]
pub fn stamped(
    mut members: serde_json::Map<String, Value>,
    key: &RecordKey,
    status: &RecordStatus,
) -> Record {
    members.insert(STATUS.to_owned(), write_status(status));
    let value = Value::Object(members);
    Record {
        key: key.clone(),
        content: content(&value),
        source: value.to_string(),
        status: Some(status.clone()),
    }
}

/// The members of a record, to be changed and stored again.
///
/// # Errors
/// [`BadRecord`] when the record's JSON is not an object.
pub fn members(record: &Record) -> Result<serde_json::Map<String, Value>, BadRecord> {
    serde_json::from_str(&record.source).map_err(|error| BadRecord::of(record, error))
}

/// The members of a record without its status.
///
/// # Errors
/// [`BadRecord`] when the record's JSON is not an object.
pub fn unstamped(record: &Record) -> Result<serde_json::Map<String, Value>, BadRecord> {
    let mut members = members(record)?;
    take_stamp(&mut members);
    Ok(members)
}

/// Takes the status out of the members of a record.
pub fn take_stamp(members: &mut serde_json::Map<String, Value>) {
    members.remove(STATUS);
}

/// The same record with another status; every other member keeps its text.
///
/// # Errors
/// [`BadRecord`] when the record's JSON is not an object, which a record made by this module always is.
pub fn restamped(record: &Record, status: &RecordStatus) -> Result<Record, BadRecord> {
    let Members(members) =
        serde_json::from_str(&record.source).map_err(|error| BadRecord::of(record, error))?;
    let mut source = String::with_capacity(record.source.len() + 64);
    source.push('{');
    for (name, text) in members.iter().filter(|(name, _)| name != STATUS) {
        let name = Value::String(name.clone());
        write!(source, "{name}:{},", text.get()).expect("text takes everything");
    }
    let written = write_status(status);
    write!(source, "\"{STATUS}\":{written}}}").expect("text takes everything");
    let value: Value =
        serde_json::from_str(&source).map_err(|error| BadRecord::of(record, error))?;
    Ok(Record {
        key: record.key.clone(),
        content: content(&value),
        source,
        status: Some(status.clone()),
    })
}

/// A record of this node with a date later than that of a stale edit that was refused, so that whoever took the edit takes this instead;
/// `None` where one of the two bears no status.
#[must_use]
pub fn answer(ours: &Record, refused: &Record, own: &NodeId, now: Timestamp) -> Option<Record> {
    let (status, theirs) = (ours.status.as_ref()?, refused.status.as_ref()?);
    let later = if theirs.modified > status.modified {
        theirs
    } else {
        status
    };
    let anew = RecordStatus::saved_by_master(own, Some(later), now, status.deleted);
    restamped(ours, &anew).ok()
}

/// The members of an object in their order, with the text of each.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

fn read_status(value: &Value) -> Result<RecordStatus, String> {
    if !value.is_object() {
        return Err(format!("has an {STATUS} that is not an object"));
    }
    let text = |name: &str| {
        let found = value.get(name).and_then(Value::as_str);
        found.ok_or_else(|| format!("has no text {STATUS}.{name}"))
    };
    let node =
        |name: &str| NodeId::new(text(name)?).map_err(|_| format!("has an empty {STATUS}.{name}"));
    let date = |name: &str| -> Result<Timestamp, String> {
        let text = text(name)?;
        lenient::parse_date(text).ok_or_else(|| format!("has {STATUS}.{name} {text:?}, no date"))
    };
    let deleted = match value.get("recorddeleted") {
        None | Some(Value::Null) => false,
        Some(flag) => lenient::to_bool(flag)
            .ok_or_else(|| format!("has {STATUS}.recorddeleted that is neither true nor false"))?,
    };
    Ok(RecordStatus {
        deleted,
        master: node("mastereditclusterid")?,
        modified_by: node("lastmodifiedclusterid")?,
        modified: date("recordmodificationdate")?,
        master_modified: Some(date("masterrecordmodificationdate")?),
    })
}

fn write_status(status: &RecordStatus) -> Value {
    let mut written = serde_json::json!({
        "recorddeleted": status.deleted,
        "mastereditclusterid": status.master.as_str(),
        "lastmodifiedclusterid": status.modified_by.as_str(),
        "recordmodificationdate": status.modified.to_string(),
    });
    if let Some(date) = status.master_modified {
        written["masterrecordmodificationdate"] = Value::String(date.to_string());
    }
    written
}

/// Digest of a JSON value with the members of every object sorted, so that their order is no difference.
fn content(value: &Value) -> Sha256 {
    let mut text = String::new();
    sorted(value, &mut text);
    Sha256::of(text.as_bytes())
}

fn sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, member) in members {
                write!(out, "{}:", Value::String(name.clone())).expect("text takes everything");
                sorted(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => write!(out, "{plain}").expect("text takes everything"),
    }
}

/// The members of wire spec 12.1 that decide about files. Hints (size, date, digest) may be garbage; the rest may not.
#[derive(Deserialize)]
struct AssetMembers {
    sourcepath: Option<Value>,
    archivesourcepath: Option<Value>,
    #[serde(default, deserialize_with = "lenient::bool")]
    isfolder: Option<bool>,
    primaryfile: Option<Value>,
    filesize: Option<Value>,
    assetmodificationdate: Option<Value>,
    md5hex: Option<Value>,
    category: Option<Value>,
    #[serde(rename = "category-exact")]
    category_exact: Option<Value>,
    fileformat: Option<Value>,
    detectedfileformat: Option<Value>,
    pages: Option<Value>,
    editstatus: Option<Value>,
    previewstatus: Option<Value>,
    importstatus: Option<Value>,
}

/// Reads what an asset record says about its files (wire spec 12.1).
///
/// # Errors
/// [`BadRecord`] for a record of another table, a missing source path or a path that [`MediaPath`] refuses. Tombstones can
/// lack their source path; whoever handles them does not need this.
pub fn asset(record: &Record) -> Result<Asset, BadRecord> {
    let bad = |reason: String| BadRecord::of(record, reason);
    let id: AssetId = (record.key.as_asset()).ok_or_else(|| bad("is not an asset".to_owned()))?;
    let members: AssetMembers =
        serde_json::from_str(&record.source).map_err(|error| bad(error.to_string()))?;
    let path = |name: &str, member: &Option<Value>| match member {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => MediaPath::new(text.as_str())
            .map(Some)
            .map_err(|error| bad(format!("has a bad {name}: {error}"))),
        Some(_) => Err(bad(format!("has a {name} that is not text"))),
    };
    let source_path = path("sourcepath", &members.sourcepath)?
        .ok_or_else(|| bad("has no sourcepath".to_owned()))?;
    let format = text(&members.fileformat).or_else(|| text(&members.detectedfileformat));
    Ok(Asset {
        id,
        source_path,
        archive_path: path("archivesourcepath", &members.archivesourcepath)?,
        is_folder: members.isfolder.unwrap_or(false),
        primary_file: path("primaryfile", &members.primaryfile)?,
        size: members.filesize.as_ref().and_then(lenient::to_u64),
        modified: members.assetmodificationdate.as_ref().and_then(date),
        md5: text(&members.md5hex).and_then(|hex| Md5::parse(hex).ok()),
        format: format.map(str::to_lowercase),
        pages: (members.pages.as_ref().and_then(lenient::to_u64))
            .map_or(0, |pages| u32::try_from(pages).unwrap_or(u32::MAX)),
        categories: ids(&[&members.category, &members.category_exact]),
        marked_deleted: is(&members.editstatus, 7),
        unrenderable: is(&members.previewstatus, 3),
        unfinished: text(&members.importstatus).is_some_and(|status| status != "complete"),
    })
}

/// Whether anybody may see the generated files of an asset without a key: its record is live and approved (`editstatus` 6, the
/// only ones that EMDB shows to everybody), and restricts nobody (wire spec 12.1). EMDB itself looks at none of it (H-29); what
/// cannot be read counts against it.
#[must_use]
pub fn is_public(record: &Record) -> bool {
    if record.is_deleted() || !record.key.module.is_asset() {
        return false;
    }
    let Ok(members) = serde_json::from_str::<Access>(&record.source) else {
        return false;
    };
    let state = match &members.editstatus {
        Some(Value::Object(row)) => row.get("id").and_then(lenient::to_i64),
        plain => plain.as_ref().and_then(lenient::to_i64),
    };
    let is_open = |flag: &Option<Value>| match flag {
        None | Some(Value::Null) => true,
        Some(flag) => lenient::to_bool(flag) == Some(false),
    };
    let is_empty = |list: &Option<Value>| match list {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    state == Some(6)
        && is_open(&members.securityenabled)
        && [&members.viewusers, &members.viewgroups, &members.viewroles]
            .into_iter()
            .all(is_empty)
}

/// What a record says of who may see it.
#[derive(Deserialize)]
struct Access {
    editstatus: Option<Value>,
    securityenabled: Option<Value>,
    viewusers: Option<Value>,
    viewgroups: Option<Value>,
    viewroles: Option<Value>,
}

fn text(member: &Option<Value>) -> Option<&str> {
    let text = member.as_ref()?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// The ids in some lists, each once.
fn ids(lists: &[&Option<Value>]) -> Vec<String> {
    let lists = lists.iter().filter_map(|list| list.as_ref()?.as_array());
    let mut ids: Vec<String> = Vec::new();
    for id in lists.flatten().filter_map(Value::as_str) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

fn date(member: &Value) -> Option<Timestamp> {
    match member {
        Value::String(text) => lenient::parse_date(text),
        number => lenient::to_i64(number).map(Timestamp::from_millis),
    }
}

fn is(member: &Option<Value>, state: i64) -> bool {
    member.as_ref().and_then(lenient::to_i64) == Some(state)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STATUS_TEXT: &str = r#"{"recorddeleted":"true","mastereditclusterid":"a","lastmodifiedclusterid":"b",
        "recordmodificationdate":"2026-03-01T09:41:07.512Z","masterrecordmodificationdate":"2026-03-01T09:41:07Z"}"#;

    fn read(source: &str) -> Result<Record, BadRecord> {
        record("asset", "a1", serde_json::from_str(source).unwrap())
    }

    fn read_asset(members: Value) -> Result<Asset, BadRecord> {
        asset(&read(&members.to_string()).unwrap())
    }

    #[test]
    fn the_text_is_kept_and_the_status_is_read() {
        let source = format!(r#"{{ "x" : 1.10, "emrecordstatus":{STATUS_TEXT}, "path":"a\/b" }}"#);
        let record = read(&source).unwrap();
        assert_eq!(record.source, source);
        let status = record.status.unwrap();
        assert!(status.deleted);
        assert_eq!(status.master.as_str(), "a");
        assert_eq!(status.modified_by.as_str(), "b");
        assert_eq!(status.modified.as_millis(), 1_772_358_067_512);
        assert_eq!(
            status.master_modified.unwrap().as_millis(),
            1_772_358_067_000
        );
    }

    #[test]
    fn the_order_of_members_is_no_difference() {
        let left = read(r#"{"a":1,"b":{"x":[1,2],"y":null}}"#).unwrap();
        let same = read(r#"{"b":{"y":null,"x":[1, 2]},"a":1}"#).unwrap();
        let other = read(r#"{"b":{"y":null,"x":[2,1]},"a":1}"#).unwrap();
        assert_eq!(left.content, same.content);
        assert_ne!(left.content, other.content);
    }

    #[test]
    fn a_record_nobody_stamped_has_no_status() {
        for source in ["{}", r#"{"emrecordstatus":null}"#] {
            assert_eq!(read(source).unwrap().status, None);
        }
    }

    #[test]
    fn an_incomplete_status_makes_a_bad_record() {
        let whole: Value = serde_json::from_str(STATUS_TEXT).unwrap();
        for member in [
            "mastereditclusterid",
            "lastmodifiedclusterid",
            "recordmodificationdate",
            "masterrecordmodificationdate",
        ] {
            for wrong in [
                json!(null),
                json!(1_772_358_067_512_i64),
                json!(""),
                json!({}),
            ] {
                let mut status = whole.clone();
                status[member] = wrong.clone();
                let bad = read(&json!({ "emrecordstatus": status }).to_string()).unwrap_err();
                assert!(bad.reason.contains(member), "{member} = {wrong}: {bad}");
                assert_eq!(bad.key, Some(RecordKey::new("asset", "a1").unwrap()));
            }
            let mut status = whole.clone();
            status.as_object_mut().unwrap().remove(member);
            assert!(read(&json!({ "emrecordstatus": status }).to_string()).is_err());
        }
        assert!(read(r#"{"emrecordstatus":"{}"}"#).is_err());
        assert!(read("[]").is_err());
    }

    #[test]
    fn only_what_is_live_approved_and_restricts_nobody_is_public() {
        let says = |members: Value| is_public(&read(&members.to_string()).unwrap());
        for open in [
            json!({ "editstatus": "6" }),
            json!({ "editstatus": 6, "securityenabled": "false", "viewusers": [], "viewroles": null }),
            json!({ "editstatus": { "id": "6", "name": "Approved" }, "securityenabled": false }),
        ] {
            assert!(says(open.clone()), "{open}");
        }
        for closed in [
            json!({}),
            json!({ "editstatus": "1" }),
            json!({ "editstatus": "7" }),
            json!({ "editstatus": ["6"] }),
            json!({ "editstatus": "6", "securityenabled": true }),
            json!({ "editstatus": "6", "securityenabled": "yes" }),
            json!({ "editstatus": "6", "viewusers": ["ann"] }),
            json!({ "editstatus": "6", "viewgroups": "staff" }),
            json!({ "editstatus": "6", "viewroles": { "id": "editor" } }),
        ] {
            assert!(!says(closed.clone()), "{closed}");
        }
    }

    #[test]
    fn the_text_of_a_bad_record_is_cut() {
        let source = format!(r#""{}""#, "é".repeat(40_000));
        let bad = read(&source).unwrap_err();
        assert!(bad.source.len() <= KEPT && bad.source.len() > KEPT - 4);
    }

    #[test]
    fn stamps_are_read_back_and_leave_other_members_alone() {
        let Value::Object(members) = json!({ "name": "x", "filesize": 3 }) else {
            unreachable!("an object")
        };
        let status = RecordStatus {
            deleted: false,
            master: NodeId::new("a").unwrap(),
            modified_by: NodeId::new("a").unwrap(),
            modified: Timestamp::from_millis(1_772_358_067_000),
            master_modified: Some(Timestamp::from_millis(1_772_358_067_000)),
        };
        let key = RecordKey::new("asset", "a1").unwrap();
        let made = stamped(members, &key, &status);
        assert_eq!(read(&made.source), Ok(made.clone()));
        assert!(made.source.contains("\"2026-03-01T09:41:07.000Z\""));

        let source = format!(
            r#"{{"n": 1.10,"emrecordstatus":{STATUS_TEXT},"big":123456789012345678901234,"é":"a\/b"}}"#
        );
        let before = read(&source).unwrap();
        let after = restamped(&before, &status).unwrap();
        assert_eq!(read(&after.source), Ok(after.clone()));
        assert_eq!(after.status, Some(status));
        for kept in [r#""n":1.10"#, "123456789012345678901234", r#""é":"a\/b""#] {
            assert!(after.source.contains(kept), "{kept} in {}", after.source);
        }
        let back = restamped(&after, &before.status.clone().unwrap()).unwrap();
        assert_eq!(back.status, before.status);
    }

    #[test]
    fn an_assets_members_are_read_whatever_their_type() {
        let found = read_asset(json!({
            "sourcepath": "sourcepath/a 7.JPG", "archivesourcepath": "a #7.JPG", "isfolder": "false", "primaryfile": "",
            "filesize": "123", "fileformat": null, "detectedfileformat": "JPEG", "md5hex": "900150983CD24FB0D6963F7D28E17F72",
            "assetmodificationdate": "2026-02-27T14:03:11.000Z", "editstatus": 7, "previewstatus": "3",
        }))
        .unwrap();
        assert_eq!(found.original().unwrap().as_str(), "a #7.JPG");
        assert_eq!(found.size, Some(123));
        assert_eq!(found.format.as_deref(), Some("jpeg"));
        assert_eq!(
            found.modified.unwrap().to_string(),
            "2026-02-27T14:03:11.000Z"
        );
        assert!(found.md5.is_some() && found.marked_deleted && found.unrenderable);
        assert!(found.primary_file.is_none() && !found.is_folder);

        let vague = read_asset(
            json!({ "sourcepath": "a", "filesize": {}, "md5hex": "?", "editstatus": "rejected" }),
        )
        .unwrap();
        assert_eq!(
            (vague.size, vague.md5, vague.marked_deleted),
            (None, None, false)
        );
    }

    #[test]
    fn an_asset_with_a_hostile_or_missing_path_is_a_bad_record() {
        for members in [
            json!({}),
            json!({ "sourcepath": null }),
            json!({ "sourcepath": 5 }),
            json!({ "sourcepath": "../x" }),
            json!({ "sourcepath": "a", "archivesourcepath": "/etc/passwd" }),
            json!({ "sourcepath": "a", "isfolder": true, "primaryfile": "../../x" }),
            json!({ "sourcepath": "a", "isfolder": "perhaps" }),
        ] {
            assert!(read_asset(members.clone()).is_err(), "{members}");
        }
        let category = record(
            "category",
            "index",
            serde_json::from_str(r#"{"sourcepath":"a"}"#).unwrap(),
        );
        assert!(asset(&category.unwrap()).is_err());
    }
}
