//! One file as a page lists it: EMDB's two spellings (`localpath`/`size`/`lastmodified` for generated files,
//! `path`/`filesize`/`filedate` for originals), with the digests that only emsync nodes add.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{lenient, wire_path};
use crate::model::{CatalogId, FileKind, ListedFile, Md5, MediaPath, NodeId, Sha256, Timestamp};

/// One file entry that cannot be used; the rest of its page is fine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("listed file {path:?} {reason}")]
pub struct BadFile {
    /// The path as stated, or empty.
    pub path: String,
    /// The rule it breaks.
    pub reason: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "localpath")]
    path: Option<Value>,
    #[serde(default, alias = "filesize", deserialize_with = "lenient::u64")]
    size: Option<u64>,
    #[serde(default, alias = "filedate", deserialize_with = "lenient::i64")]
    lastmodified: Option<i64>,
    sha256: Option<Sha256>,
    md5: Option<Md5>,
}

/// Where an entry may lie.
pub(super) struct Bounds<'a> {
    /// The peer's catalog, as it states it.
    pub(super) catalog: &'a str,
    /// The tree.
    pub(super) kind: FileKind,
    /// The directory, or `None` for anywhere in the tree.
    pub(super) below: Option<&'a MediaPath>,
}

/// Reads the entries of one `files` array. What EMDB keeps for itself below `.versions` is left out (H-42); a member that
/// is not an array at all, or not there, is one bad entry: an asset without files has an empty list (wire spec 3.1), and
/// whoever says nothing must not be taken to say that all files are gone.
pub(super) fn read_all(
    files: Option<&RawValue>,
    bounds: &Bounds<'_>,
) -> Vec<Result<ListedFile, BadFile>> {
    let Some(files) = files else {
        return vec![Err(BadFile {
            path: String::new(),
            reason: "is not known: the asset's entry has no list of files".to_owned(),
        })];
    };
    match serde_json::from_str::<Vec<&RawValue>>(files.get()) {
        Ok(entries) => (entries.into_iter())
            .map(|entry| read(entry, bounds))
            .filter(|file| !file.as_ref().is_ok_and(|file| file.path.is_bookkeeping()))
            .collect(),
        Err(error) => vec![Err(BadFile {
            path: String::new(),
            reason: format!("is not in a list: {error}"),
        })],
    }
}

fn read(entry: &RawValue, bounds: &Bounds<'_>) -> Result<ListedFile, BadFile> {
    let bad = |path: &str, reason: String| BadFile {
        path: path.to_owned(),
        reason,
    };
    let entry: Entry = serde_json::from_str(entry.get()).map_err(|error| {
        let stated = serde_json::from_str::<Value>(entry.get()).unwrap_or_default();
        let path = stated.get("localpath").or(stated.get("path"));
        bad(
            path.and_then(Value::as_str).unwrap_or_default(),
            error.to_string(),
        )
    })?;
    let text = match &entry.path {
        Some(Value::String(text)) => text.as_str(),
        _ => return Err(bad("", "has no path".to_owned())),
    };
    let (kind, path) =
        wire_path::from_wire(text, bounds.catalog).map_err(|error| bad(text, error.to_string()))?;
    let inside = bounds.below.is_none_or(|dir| path.below(dir).is_some());
    if kind != bounds.kind || !inside {
        return Err(bad(text, "does not lie with its asset".to_owned()));
    }
    Ok(ListedFile {
        kind,
        path,
        size: entry.size,
        modified: entry.lastmodified.map(Timestamp::from_millis),
        sha256: entry.sha256,
        md5: entry.md5,
        exact: entry.size.is_some(),
    })
}

/// A generated file in a change page. The types are EMDB's: a size that is not text, or a date that is not an integer, ends
/// its whole run (wire spec 3.1, 3.4).
#[derive(Serialize)]
pub(super) struct GeneratedEntry<'a> {
    filename: &'a str,
    localpath: String,
    size: String,
    lastmodified: i64,
    mastereditclusterid: &'a str,
    #[serde(flatten)]
    digests: DigestMembers,
}

/// An original, in EMDB's originals listing and in our addition to the change page.
#[derive(Serialize)]
pub(super) struct OriginalEntry<'a> {
    path: String,
    filename: &'a str,
    originalspath: String,
    filesize: String,
    filedate: i64,
    #[serde(flatten)]
    digests: DigestMembers,
}

#[derive(Serialize)]
struct DigestMembers {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<Md5>,
}

impl DigestMembers {
    fn of(file: &ListedFile) -> Self {
        Self {
            sha256: file.sha256,
            md5: file.md5,
        }
    }
}

impl<'a> GeneratedEntry<'a> {
    /// `None` for a file that the wire has no form for: size or date unknown, or not below its asset's directory.
    pub(super) fn of(
        file: &'a ListedFile,
        catalog: &CatalogId,
        source_path: &MediaPath,
        master: &'a NodeId,
    ) -> Option<Self> {
        Some(Self {
            filename: file.path.below(source_path)?,
            localpath: wire_path::to_wire(catalog, FileKind::Generated, &file.path),
            size: file.size?.to_string(),
            lastmodified: file.modified?.as_millis(),
            mastereditclusterid: master.as_str(),
            digests: DigestMembers::of(file),
        })
    }
}

impl<'a> OriginalEntry<'a> {
    /// `None` for a file whose size or date is unknown.
    pub(super) fn of(file: &'a ListedFile, catalog: &CatalogId) -> Option<Self> {
        Some(Self {
            path: wire_path::to_wire(catalog, FileKind::Original, &file.path),
            filename: file.path.name(),
            originalspath: format!("/{}", file.path),
            filesize: file.size?.to_string(),
            filedate: file.modified?.as_millis(),
            digests: DigestMembers::of(file),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(entry: Value) -> Vec<Result<ListedFile, BadFile>> {
        let files = serde_json::value::to_raw_value(&json!([entry])).unwrap();
        let below = MediaPath::new("Port/a.jpg").unwrap();
        let bounds = Bounds {
            catalog: "finder/catalog",
            kind: FileKind::Generated,
            below: Some(&below),
        };
        read_all(Some(&files), &bounds)
    }

    fn at(path: &str) -> Value {
        json!({ "localpath": format!("/WEB-INF/data/finder/catalog/{path}"), "size": "12", "lastmodified": 5 })
    }

    #[test]
    fn sizes_and_dates_come_as_numbers_or_text() {
        let mut entry = at("generated/Port/a.jpg/x/y.webp");
        entry["size"] = json!(12);
        entry["lastmodified"] = json!("5");
        let file = read_one(entry).pop().unwrap().unwrap();
        assert_eq!(file.path.as_str(), "Port/a.jpg/x/y.webp");
        assert_eq!((file.size, file.exact), (Some(12), true));
        assert_eq!(file.modified, Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn a_file_outside_its_assets_directory_is_refused() {
        for path in [
            "generated/Port/a.jpg",
            "generated/Port/other.jpg/x.webp",
            "generated/Port/a.jpg/../other.jpg/x.webp",
            "originals/Port/a.jpg/x.webp",
            "assets/Port/a.jpg/x.webp",
        ] {
            let file = read_one(at(path)).pop().unwrap();
            assert!(file.unwrap_err().path.ends_with(path));
        }
    }

    #[test]
    fn entries_of_the_wrong_shape_name_what_is_known_of_them() {
        let mut entry = at("generated/Port/a.jpg/x.webp");
        entry["size"] = json!("twelve");
        let bad = read_one(entry).pop().unwrap().unwrap_err();
        assert!(
            bad.path.ends_with("x.webp") && bad.reason.contains("twelve"),
            "{bad}"
        );
        assert!(read_one(json!(7)).pop().unwrap().is_err());
        assert!(read_one(json!({ "size": "1" })).pop().unwrap().is_err());
    }

    #[test]
    fn bookkeeping_is_left_out() {
        assert_eq!(read_one(at("generated/Port/a.jpg/.versions/1~x.webp")), []);
    }
}
