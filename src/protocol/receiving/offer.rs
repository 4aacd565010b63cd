//! Originals on offer, a page of assets at a time (wire spec 3.5). It is read as the originals listing is
//! ([`uploads::parse`](crate::protocol::uploads::parse)): both have the same members.

use serde::Serialize;
use serde_json::json;

use crate::model::{AssetId, CatalogId, FileKind, ListedFile, MediaPath, Timestamp};
use crate::protocol::lenient;
use crate::protocol::listed::OriginalEntry;

/// One asset and the originals that are offered of it.
#[derive(Debug, Clone, Copy)]
pub struct OfferedAsset<'a> {
    /// The asset.
    pub asset: &'a AssetId,
    /// Where its original lies: [`Asset::original_root`](crate::model::Asset::original_root).
    pub root: &'a MediaPath,
    /// Whether the original is a directory.
    pub is_folder: bool,
    /// Its files. Those whose size or date is unknown are not offered, nor what EMDB keeps for itself (H-42).
    pub files: &'a [ListedFile],
}

/// One page of an offer.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The sender's catalog.
    pub catalog: &'a CatalogId,
    /// Since when these assets changed.
    pub since: Timestamp,
    /// The assets of this page, which is offered as a listing of its own.
    pub assets: &'a [OfferedAsset<'a>],
}

#[derive(Serialize)]
struct RowOut<'a> {
    id: &'a AssetId,
    sourcepath: &'a MediaPath,
    isfolder: bool,
    parentsourcepath: &'a str,
    files: Vec<OriginalEntry<'a>>,
}

/// Writes the body of a request.
///
/// `parentsourcepath` is the directory that the original lies in. EMDB names the file itself there, and its own receiver then
/// fails on every file that it has already (H-12).
#[must_use]
pub fn encode(offer: &Offer<'_>) -> Vec<u8> {
    let rows: Vec<RowOut<'_>> = offer.assets.iter().map(|asset| row(asset, offer)).collect();
    let body = json!({
        "response": {
            "status": "ok",
            "totalhits": rows.len(),
            "hitsperpage": 100,
            "pages": 1,
            "page": 1,
            "catalogid": offer.catalog.as_str(),
            "sincedate": lenient::format_since(offer.since),
        },
        "results": rows,
    });
    body.to_string().into_bytes()
}

fn row<'a>(asset: &OfferedAsset<'a>, offer: &Offer<'_>) -> RowOut<'a> {
    let root = asset.root.as_str();
    let files = (asset.files.iter())
        .filter(|file| file.kind == FileKind::Original && !file.path.is_bookkeeping());
    RowOut {
        id: asset.asset,
        sourcepath: asset.root,
        isfolder: asset.is_folder,
        parentsourcepath: match root.rsplit_once('/') {
            _ if asset.is_folder => root,
            Some((parent, _)) => parent,
            None => "",
        },
        files: files
            .filter_map(|file| OriginalEntry::of(file, offer.catalog))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::captures::{assert_same_types, request_body};
    use crate::protocol::uploads;

    fn file(path: &str) -> ListedFile {
        ListedFile {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            size: Some(21_416),
            modified: Some(Timestamp::from_millis(1_795_410_359_641)),
            sha256: None,
            md5: None,
            exact: true,
        }
    }

    fn written(root: &str, is_folder: bool, files: &[ListedFile]) -> Value {
        let asset = AssetId::new("AaIGy_ld5CAMFoh-hnKt").unwrap();
        let root = MediaPath::new(root).unwrap();
        let offered = OfferedAsset {
            asset: &asset,
            root: &root,
            is_folder,
            files,
        };
        let offer = Offer {
            catalog: &CatalogId::new("finder/catalog").unwrap(),
            since: lenient::parse_date("2026-11-16T05:07:32.000Z").unwrap(),
            assets: &[offered],
        };
        serde_json::from_slice(&encode(&offer)).unwrap()
    }

    #[test]
    fn an_offer_is_emdbs_but_for_the_directory_that_its_receiver_needs() {
        let mut theirs: Value =
            serde_json::from_str(&request_body("c13-push-receiveoriginalschanges")).unwrap();
        let ours = written(
            "FromB/owned-by-b.jpg",
            false,
            &[file("FromB/owned-by-b.jpg")],
        );
        assert_same_types(&ours, &theirs, "");
        theirs["results"][0]["parentsourcepath"] = "FromB".into();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_folders_members_are_offered_below_it_without_bookkeeping() {
        let files = [
            file("Set/b.jpg"),
            file("Set/.versions/b.jpg"),
            file("Set/x/a.txt"),
        ];
        let ours = written("Set", true, &files);
        assert_eq!(ours["results"][0]["parentsourcepath"], "Set");
        let page = uploads::parse(ours.to_string().as_bytes()).unwrap();
        let read = (page.assets[0].files.iter()).map(|file| file.clone().unwrap());
        assert_eq!(
            read.collect::<Vec<_>>(),
            [files[0].clone(), files[2].clone()]
        );
        assert_eq!(
            written("a.jpg", false, &[])["results"][0]["parentsourcepath"],
            ""
        );
    }
}
