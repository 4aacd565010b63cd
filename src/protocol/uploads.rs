//! The originals listing: which original files belong to the assets that changed (`pullrecentuploads.json`, wire spec 3.3).
//!
//! EMDB can serve two pages of it at most and its client reads one, so ours is always one page, written as a stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::changes::Status;
use super::listed::{self, BadFile, Bounds, OriginalEntry};
use super::{Error, envelope};
use crate::model::{AssetId, CatalogId, FileKind, ListedFile, MediaPath};

/// What a client asks for: the fields of the change feed.
pub use super::changes::ChangesRequest as UploadsRequest;

/// One page of originals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsPage {
    /// Whether there is anything.
    pub status: Status,
    /// *Records of all tables* in the window, not entries here.
    pub total: u64,
    /// This page, from 1.
    pub page: u64,
    /// Pages of records.
    pub pages: u64,
    /// The server's catalog, as it states it; empty where the listing is.
    pub catalog: String,
    /// The assets of this page.
    pub assets: Vec<UploadedAsset>,
}

/// One asset and the original files that exist for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedAsset {
    /// Its id as stated.
    pub id: String,
    /// Where its original lies, as stated: the archive path where it has one.
    pub source_path: String,
    /// Whether the original is a directory.
    pub is_folder: bool,
    /// Its files, without EMDB's own `.versions/` (H-42); empty when the original is missing.
    pub files: Vec<Result<ListedFile, BadFile>>,
}

/// Reads one page.
///
/// # Errors
/// [`Error`] when the page as a whole cannot be used; single bad files are `Err` entries in it.
pub fn parse(body: &[u8]) -> Result<UploadsPage, Error> {
    let opened = envelope::open(body)?;
    let catalog = opened.catalog(body)?;
    let assets = opened.results.iter().map(|row| read_row(row, &catalog));
    Ok(UploadsPage {
        status: opened.status,
        total: opened.count(body, "totalhits", opened.head.totalhits, 0)?,
        page: opened.count(body, "page", opened.head.page, 1)?,
        pages: opened.count(body, "pages", opened.head.pages, 0)?,
        assets: assets.collect(),
        catalog,
    })
}

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    sourcepath: Value,
    #[serde(default)]
    isfolder: Value,
    #[serde(borrow)]
    files: Option<&'a RawValue>,
}

fn read_row(text: &RawValue, catalog: &str) -> UploadedAsset {
    let stated = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bounds = Bounds {
        catalog,
        kind: FileKind::Original,
        below: None,
    };
    match serde_json::from_str::<Row<'_>>(text.get()) {
        Ok(row) => UploadedAsset {
            id: stated(&row.id),
            source_path: stated(&row.sourcepath),
            is_folder: super::lenient::to_bool(&row.isfolder).unwrap_or(false),
            files: listed::read_all(row.files, &bounds),
        },
        Err(error) => UploadedAsset {
            id: String::new(),
            source_path: String::new(),
            is_folder: false,
            files: vec![Err(BadFile {
                path: String::new(),
                reason: error.to_string(),
            })],
        },
    }
}

/// One asset to be written.
#[derive(Debug, Clone, Copy)]
pub struct UploadListing<'a> {
    /// The asset.
    pub asset: &'a AssetId,
    /// Where its original lies: [`Asset::original_root`](crate::model::Asset::original_root).
    pub root: &'a MediaPath,
    /// Whether the original is a directory.
    pub is_folder: bool,
    /// Its files; those whose size or date is unknown are not written.
    pub files: &'a [ListedFile],
}

/// The whole reply when nothing changed.
pub const EMPTY: &str = r#"{"response":{"status":"empty"}}"#;

/// The beginning of the reply; `total` counts the records of the window.
#[must_use]
pub fn encode_head(catalog: &CatalogId, total: u64) -> String {
    let response = serde_json::json!({
        "status": "ok",
        "totalhits": total,
        "searchtype": "asset",
        "catalogid": catalog.as_str(),
        "hitsperpage": total.max(1_000),
        "page": 1,
        "pages": 1,
        "hitssessionid": "nullnullnull",
        "query": { "friendly": "", "terms": [] },
    });
    format!("{{\"response\":{response},\"results\":[")
}

#[derive(Serialize)]
struct RowOut<'a> {
    id: &'a AssetId,
    sourcepath: &'a MediaPath,
    isfolder: bool,
    files: Vec<OriginalEntry<'a>>,
}

/// The next asset; `first` says that it is the first one.
#[must_use]
pub fn encode_asset(catalog: &CatalogId, listing: &UploadListing<'_>, first: bool) -> String {
    let files = listing
        .files
        .iter()
        .filter(|file| file.kind == FileKind::Original && !file.path.is_bookkeeping());
    let row = RowOut {
        id: listing.asset,
        sourcepath: listing.root,
        isfolder: listing.is_folder,
        files: files
            .filter_map(|file| OriginalEntry::of(file, catalog))
            .collect(),
    };
    let row = serde_json::to_string(&row).expect("the shape has text keys");
    if first { row } else { format!(",{row}") }
}

/// The end of the reply.
#[must_use]
pub fn encode_tail() -> &'static str {
    "]}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::protocol::captures::body;

    fn page(capture: &str) -> UploadsPage {
        parse(body(capture).as_bytes()).unwrap()
    }

    #[test]
    fn a_real_listing_is_read() {
        let page = page("s040-recentuploads");
        assert_eq!((page.status, page.total, page.pages), (Status::Ok, 15, 1));
        assert_eq!(page.catalog, "finder/catalog");
        assert_eq!(page.assets.len(), 6);
        let odd = page.assets.last().unwrap();
        let file = odd.files[0].as_ref().unwrap();
        assert_eq!(odd.id, "AaIGxA0FsFKjGeUZNrZt");
        assert_eq!(
            file.path.as_str(),
            "Collections/R&D (2024)/odd name #7 100%~a+b.jpg"
        );
        assert_eq!((file.size, file.exact), (Some(34_990), true));
        assert_eq!(
            file.modified,
            Some(Timestamp::from_millis(1_795_409_841_283))
        );
    }

    #[test]
    fn a_folder_assets_members_are_read_without_bookkeeping() {
        let page = page("s141-recentuploads-folder-asset");
        let folder = &page.assets[0];
        assert!(folder.is_folder);
        let paths: Vec<_> = folder
            .files
            .iter()
            .map(|file| file.as_ref().unwrap().path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "Folders/Set1/page2.jpg",
                "Folders/Set1/page1.jpg",
                "Folders/Set1/sub/note.txt"
            ]
        );
    }

    #[test]
    fn nothing_new_and_a_page_past_the_end_are_told_apart() {
        let empty = page("s009-recentuploads-empty");
        assert_eq!(
            (empty.status, empty.total, empty.assets.len()),
            (Status::Empty, 0, 0)
        );
        assert_eq!(parse(EMPTY.as_bytes()).unwrap(), empty);
        let past = page("s041-recentuploads-page2");
        assert_eq!(
            (past.status, past.page, past.assets.len()),
            (Status::Ok, 2, 0)
        );
    }

    #[test]
    fn what_is_written_is_read_back_and_has_emdbs_types() {
        let catalog = CatalogId::new("finder/catalog").unwrap();
        let asset = AssetId::new("a1").unwrap();
        let root = MediaPath::new("Folders/Set1").unwrap();
        let files: Vec<_> = ["page1.jpg", ".versions/page1.jpg", "sub/ü \"2\".txt"]
            .map(|name| ListedFile {
                kind: FileKind::Original,
                path: root.join(name).unwrap(),
                size: Some(3),
                modified: Some(Timestamp::from_millis(1_795_410_988_894)),
                sha256: Some(crate::model::Sha256::of(b"x")),
                md5: None,
                exact: true,
            })
            .to_vec();
        let listing = UploadListing {
            asset: &asset,
            root: &root,
            is_folder: true,
            files: &files,
        };
        let text = [
            encode_head(&catalog, 2),
            encode_asset(&catalog, &listing, true),
            encode_asset(&catalog, &listing, false),
            encode_tail().to_owned(),
        ]
        .concat();
        let page = parse(text.as_bytes()).unwrap();
        assert_eq!((page.total, page.assets.len()), (2, 2));
        let read: Vec<_> = page.assets[1]
            .files
            .iter()
            .map(|file| file.clone().unwrap())
            .collect();
        assert_eq!(read, [files[0].clone(), files[2].clone()]);

        let ours: Value = serde_json::from_str(&text).unwrap();
        let theirs: Value = serde_json::from_str(&body("s141-recentuploads-folder-asset")).unwrap();
        crate::protocol::captures::assert_same_types(&ours, &theirs, "");
    }
}
