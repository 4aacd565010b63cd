//! The JSON of what an import makes: asset and category records with the fields of wire spec 12.1 and 12.2, and the status
//! of 4.2. Members that somebody else added to a record stay as they are.

use serde_json::{Map, Value, json};

use super::ids;
use super::read::{self, Reading};
use crate::model::{AssetId, MediaPath, NodeId, Record, RecordKey, RecordStatus, Timestamp};
use crate::protocol::record;
use crate::renditions::preview::{self, Preview};

/// The members of a record.
pub(super) type Members = Map<String, Value>;

/// A save by this node, which is the record's master.
pub(super) fn saved(
    own: &NodeId,
    before: Option<&Record>,
    now: Timestamp,
    deleted: bool,
) -> RecordStatus {
    let before = before.and_then(|record| record.status.as_ref());
    RecordStatus::saved_by_master(own, before, now, deleted)
}

/// What only a first import sets.
pub(super) fn added(to: &mut Members, id: &AssetId, now: Timestamp) {
    set(to, "id", id.as_str());
    set(to, "isfolder", false);
    set(to, "assetaddeddate", now.to_string());
    set(to, "importstatus", "complete");
    set(to, "editstatus", "6");
}

/// What depends on where the asset lies. `old` and `new` are the ids of the directories from the top down; an asset of
/// the folder itself is filed under the root category. Categories that somebody else filed it under stay.
pub(super) fn filed(to: &mut Members, path: &MediaPath, old: &[String], new: &[String]) {
    set(to, "name", path.name());
    set(to, "sourcepath", path.as_str());
    if let Some(format) = read::extension(path.name()) {
        set(to, "fileformat", format);
    } else {
        to.remove("fileformat");
    }
    let root = ids::ROOT_CATEGORY.to_owned();
    let exact = |chain: &[String]| chain.last().cloned().unwrap_or_else(|| root.clone());
    let refiled = |member: Option<&Value>, left: &[String], entered: &[String]| {
        let kept = member
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let kept = kept
            .filter(|id| !left.iter().chain(entered).any(|known| known == id))
            .map(str::to_owned);
        entered.iter().cloned().chain(kept).collect::<Vec<_>>()
    };
    let direct = refiled(to.get("category-exact"), &[exact(old)], &[exact(new)]);
    let above: Vec<_> = std::iter::once(root.clone())
        .chain(new.iter().cloned())
        .collect();
    let all = refiled(to.get("category"), old, &above);
    set(to, "category-exact", direct);
    set(to, "category", all);
}

/// What depends on the content.
pub(super) fn content(to: &mut Members, reading: &Reading) {
    set(to, "filesize", reading.size);
    set(to, "md5hex", reading.md5.to_string());
    set_or_remove(to, "detectedfileformat", reading.look.detected.clone());
    set_or_remove(to, "width", reading.look.size.map(|(width, _)| width));
    set_or_remove(to, "height", reading.look.size.map(|(_, height)| height));
    // What exiftool tells EMDB of a file (media spec 2.4), so that both make files of the same pages.
    set_or_remove(to, "pages", reading.look.pages);
    set_or_remove(
        to,
        "assetcreationdate",
        reading.look.captured.map(|date| date.to_string()),
    );
    set(to, "assetmodificationdate", reading.modified().to_string());
}

/// Where the asset stands with its renditions.
pub(super) fn preview(to: &mut Members, state: Preview) {
    set(to, preview::MEMBER, state.as_str());
}

/// Only the date of the original.
pub(super) fn touched(to: &mut Members, modified: Timestamp) {
    set(to, "assetmodificationdate", modified.to_string());
}

/// A category's members; `chain` are the ids from the top down to itself, without the root.
pub(super) fn category(path: &MediaPath, chain: &[String], now: Timestamp) -> Members {
    let root = ids::ROOT_CATEGORY;
    let parent = chain.iter().rev().nth(1).map_or(root, String::as_str);
    let parents: Vec<_> = std::iter::once(root)
        .chain(chain.iter().map(String::as_str))
        .collect();
    let value = json!({
        "id": chain.last(),
        "name": path.name(),
        "parentid": parent,
        "parents": parents,
        "categorypath": path.as_str(),
        "creationdate": now.to_string(),
    });
    match value {
        Value::Object(members) => members,
        _ => unreachable!("an object was written above"),
    }
}

/// The record of these members, saved by this node.
pub(super) fn stamped(members: Members, key: &RecordKey, status: &RecordStatus) -> Record {
    record::stamped(members, key, status)
}

fn set(to: &mut Members, name: &str, value: impl Into<Value>) {
    to.insert(name.to_owned(), value.into());
}

fn set_or_remove(to: &mut Members, name: &str, value: Option<impl Into<Value>>) {
    match value {
        Some(value) => set(to, name, value),
        None => {
            to.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(members: &Members, name: &str) -> Vec<String> {
        serde_json::from_value(members[name].clone()).unwrap()
    }

    #[test]
    fn refiling_keeps_the_categories_somebody_else_chose() {
        let mut members = Members::new();
        let (a, b) = (["ida".to_owned()], ["idb".to_owned(), "idbc".to_owned()]);
        filed(&mut members, &MediaPath::new("a/x.JPG").unwrap(), &[], &a);
        assert_eq!(texts(&members, "category-exact"), ["ida"]);
        assert_eq!(texts(&members, "category"), ["index", "ida"]);
        assert_eq!(members["fileformat"], "jpg");
        members["category-exact"] = json!(["ida", "theirs"]);
        members["category"] = json!(["theirs", "ida", "index"]);
        filed(&mut members, &MediaPath::new("b/c/x").unwrap(), &a, &b);
        assert_eq!(texts(&members, "category-exact"), ["idbc", "theirs"]);
        assert_eq!(
            texts(&members, "category"),
            ["index", "idb", "idbc", "theirs"]
        );
        assert!(!members.contains_key("fileformat"));
    }

    #[test]
    fn a_file_of_the_folder_itself_is_filed_under_the_root() {
        let mut members = Members::new();
        filed(&mut members, &MediaPath::new("x").unwrap(), &[], &[]);
        assert_eq!(texts(&members, "category-exact"), ["index"]);
        assert_eq!(texts(&members, "category"), ["index"]);
    }

    #[test]
    fn a_save_is_younger_than_the_one_before_even_when_the_clock_stands_still() {
        let own = NodeId::new("n").unwrap();
        let key = RecordKey::new("asset", "a").unwrap();
        let now = Timestamp::from_millis(1000);
        let first = saved(&own, None, now, false);
        let record = stamped(Members::new(), &key, &first);
        let second = saved(&own, Some(&record), now, true);
        assert_eq!(second.modified.as_millis(), 1001);
        assert_eq!(second.master_modified, Some(second.modified));
        assert!(second.deleted);
    }

    #[test]
    fn the_chain_of_a_category_holds_the_root_and_itself() {
        let chain = ["p".to_owned(), "c".to_owned()];
        let members = category(&MediaPath::new("up/low").unwrap(), &chain, Timestamp::EPOCH);
        assert_eq!(texts(&members, "parents"), ["index", "p", "c"]);
        assert_eq!(
            (&members["parentid"], &members["name"]),
            (&json!("p"), &json!("low"))
        );
        assert_eq!(
            category(
                &MediaPath::new("up").unwrap(),
                &chain[..1],
                Timestamp::EPOCH
            )["parentid"],
            "index"
        );
    }
}
