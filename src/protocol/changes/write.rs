//! Change pages to JSON, with the exact members and types that EMDB's reader needs (wire spec 3.1, 11.1.4).

use serde::Serialize;

use super::{AssetListing, Hello, PageHead, Status};
use crate::model::{AssetId, CatalogId, Record, Succession};
use crate::protocol::lenient;
use crate::protocol::listed::{GeneratedEntry, OriginalEntry};

#[derive(Serialize)]
struct HeadOut<'a> {
    status: &'static str,
    totalhits: u64,
    hitsperpage: u64,
    page: u64,
    pages: u64,
    hitssessionid: &'a str,
    catalogid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sincedate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emsync: Option<&'a Hello>,
}

#[derive(Serialize)]
struct ListingOut<'a> {
    id: &'a AssetId,
    sourcepath: &'a str,
    files: Vec<GeneratedEntry<'a>>,
    originals: Vec<OriginalEntry<'a>>,
    #[serde(skip_serializing_if = "is_whole")]
    partial: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_whole(partial: &bool) -> bool {
    !partial
}

/// Writes one page, with every member and type of wire spec 3.1.
///
/// `head.catalog` must be this node's own [`CatalogId`]. Records need a complete status (wire spec 11.1.5): whoever selects
/// them leaves out those without. Their JSON is written as it is.
#[must_use]
pub fn encode(head: &PageHead, records: &[Record], files: &[AssetListing]) -> Vec<u8> {
    let catalog = CatalogId::new(head.catalog.as_str()).expect("a node lists its own catalog");
    let mut out = b"{\"response\":".to_vec();
    json(&mut out, &head_out(head));
    let alias = head.catalog.replace('/', "_");
    let index = format!("{alias}-0");
    out.extend_from_slice(b",\"results\":[");
    for (at, record) in records.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"," });
        write_row(&mut out, record, &index, &alias);
    }
    out.extend_from_slice(b"],\"generated\":");
    let listings: Vec<_> = files.iter().map(|files| listing(files, &catalog)).collect();
    json(&mut out, &listings);
    out.push(b'}');
    out
}

fn head_out(head: &PageHead) -> HeadOut<'_> {
    HeadOut {
        status: match head.status {
            Status::Ok => "ok",
            Status::Empty => "empty",
        },
        totalhits: head.total,
        hitsperpage: head.per_page,
        page: head.page,
        pages: head.pages,
        hitssessionid: &head.session,
        catalogid: &head.catalog,
        sincedate: head.since.map(lenient::format_since),
        emsync: head.hello.as_ref(),
    }
}

fn write_row(out: &mut Vec<u8>, record: &Record, index: &str, alias: &str) {
    for (name, value) in [
        (&b"{\"searchtype\":"[..], record.key.module.as_str()),
        (b",\"index\":", index),
        (b",\"catalog\":", alias),
        (b",\"id\":", &record.key.id),
    ] {
        out.extend_from_slice(name);
        json(out, &value);
    }
    out.extend_from_slice(b",\"source\":");
    out.extend_from_slice(record.source.as_bytes());
    out.push(b'}');
}

fn listing<'a>(files: &'a AssetListing, catalog: &CatalogId) -> ListingOut<'a> {
    let Some(source_path) = &files.source_path else {
        return ListingOut {
            id: &files.asset,
            sourcepath: "",
            files: Vec::new(),
            originals: Vec::new(),
            partial: files.partial,
        };
    };
    let generated = (files.generated.iter())
        .filter_map(|file| GeneratedEntry::of(file, catalog, source_path, &files.master));
    let originals = (files.originals.iter()).filter_map(|file| OriginalEntry::of(file, catalog));
    ListingOut {
        id: &files.asset,
        sourcepath: source_path.as_str(),
        files: generated.collect(),
        originals: originals.collect(),
        partial: files.partial,
    }
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value)
        .expect("memory takes everything and these shapes have text keys");
}

/// A reply of status 200 that makes an EMDB client keep its watermark: any other way to refuse or postpone a listing loses
/// the window on its side (wire spec 11.1.2). `forbidden` adds the code of EMDB's own refusal.
#[must_use]
pub fn encode_error(details: &str, forbidden: bool) -> Vec<u8> {
    let response = serde_json::json!({ "status": "error", "details": details });
    let body = if forbidden {
        serde_json::json!({ "errorcode": "403", "response": response })
    } else {
        serde_json::json!({ "response": response })
    };
    body.to_string().into_bytes()
}

/// Successions on the wire: times in milliseconds.
pub(super) fn successions<S: serde::Serializer>(
    all: &[Succession],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written = all.iter().map(|one| {
        serde_json::json!({
            "former": one.former,
            "successor": one.successor,
            "at": one.at.as_millis(),
        })
    });
    serializer.collect_seq(written)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::parse;
    use super::*;
    use crate::model::{
        FileKind, ListedFile, MediaPath, NodeId, RecordKey, RecordStatus, Sha256, Timestamp,
    };
    use crate::protocol::captures::{assert_same_types, body};
    use crate::protocol::error::Error;
    use crate::protocol::record::stamped;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn head(status: Status) -> PageHead {
        PageHead {
            status,
            total: 2,
            per_page: 1_000,
            page: 1,
            pages: 1,
            session: "c/1+2=é&\"".to_owned(),
            catalog: "finder/catalog".to_owned(),
            since: Some(Timestamp::from_millis(1_772_357_400_000)),
            hello: Some(Hello {
                successions: Vec::new(),
                version: "0.1.0".to_owned(),
                node: node("n-1"),
                features: vec!["sha256".to_owned()],
            }),
        }
    }

    fn made(id: &str) -> Record {
        let Value::Object(members) = json!({ "name": "a\"b.jpg", "filesize": 7, "x": null }) else {
            unreachable!("an object")
        };
        let status = RecordStatus {
            deleted: true,
            master: node("a"),
            modified_by: node("b"),
            modified: Timestamp::from_millis(1_772_358_067_512),
            master_modified: Some(Timestamp::from_millis(1_772_358_067_000)),
        };
        stamped(members, &RecordKey::new("asset", id).unwrap(), &status)
    }

    fn file(kind: FileKind, path: &str) -> ListedFile {
        ListedFile {
            kind,
            path: MediaPath::new(path).unwrap(),
            size: Some(12),
            modified: Some(Timestamp::from_millis(1_795_409_720_546)),
            sha256: Some(Sha256::of(b"x")),
            md5: None,
            exact: true,
        }
    }

    fn listing(generated: Vec<ListedFile>) -> AssetListing {
        AssetListing {
            asset: AssetId::new("a1").unwrap(),
            source_path: Some(MediaPath::new("Port/é.jpg").unwrap()),
            master: node("a"),
            generated,
            originals: vec![file(FileKind::Original, "Raw/é.jpg")],
            partial: false,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let records = [made("a1"), made("a 2")];
        let listing = AssetListing {
            partial: true,
            ..listing(vec![file(FileKind::Generated, "Port/é.jpg/sub/x.webp")])
        };
        let page = parse(&encode(
            &head(Status::Ok),
            &records,
            std::slice::from_ref(&listing),
        ))
        .unwrap();
        assert_eq!(page.head, head(Status::Ok));
        let read: Vec<_> = page.records.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, records);
        let files = &page.files[0];
        assert_eq!(
            (files.asset.as_str(), files.source_path.as_str()),
            ("a1", "Port/é.jpg")
        );
        assert_eq!(files.files, [Ok(listing.generated[0].clone())]);
        assert!(files.partial);
        assert_eq!(
            files.originals,
            Some(vec![Ok(listing.originals[0].clone())])
        );

        let empty = parse(&encode(&head(Status::Empty), &[], &[])).unwrap();
        assert_eq!(
            (empty.head.status, empty.records.len(), empty.files.len()),
            (Status::Empty, 0, 0)
        );
    }

    #[test]
    fn every_member_has_the_type_emdb_gives_it() {
        let listing = listing(vec![file(FileKind::Generated, "Port/é.jpg/x.webp")]);
        let ours: Value =
            serde_json::from_slice(&encode(&head(Status::Ok), &[made("a1")], &[listing])).unwrap();
        for capture in [
            "s012-list-page1",
            "c17-pull-tombstones",
            "s050-auth-param-form",
        ] {
            let theirs: Value = serde_json::from_str(&body(capture)).unwrap();
            assert_same_types(&ours, &theirs, "");
        }
        let status = |page: &Value| page["results"][0]["source"]["emrecordstatus"].clone();
        let theirs: Value = serde_json::from_str(&body("s012-list-page1")).unwrap();
        assert_same_types(&status(&ours), &status(&theirs), "emrecordstatus");
        assert_eq!(ours["results"][0]["index"], theirs["results"][0]["index"]);
        assert_eq!(
            ours["results"][0]["catalog"],
            theirs["results"][0]["catalog"]
        );
        assert_eq!(ours["generated"][0]["files"][0]["filename"], "x.webp");
    }

    #[test]
    fn files_the_wire_has_no_form_for_are_left_out() {
        let mut dateless = file(FileKind::Generated, "Port/é.jpg/x.webp");
        dateless.modified = None;
        let elsewhere = file(FileKind::Generated, "Port/other.jpg/x.webp");
        let page = parse(&encode(
            &head(Status::Ok),
            &[],
            &[listing(vec![dateless, elsewhere])],
        ))
        .unwrap();
        assert_eq!(page.files[0].files, []);
    }

    #[test]
    fn an_asset_without_a_source_path_has_an_entry_without_files() {
        let mut nowhere = listing(vec![file(FileKind::Generated, "Port/é.jpg/x.webp")]);
        nowhere.source_path = None;
        let written = encode(&head(Status::Ok), &[], &[nowhere]);
        let ours: Value = serde_json::from_slice(&written).unwrap();
        let entry = json!({ "id": "a1", "sourcepath": "", "files": [], "originals": [] });
        assert_eq!(ours["generated"], json!([entry]));
        let read = parse(&written).unwrap();
        assert_eq!(
            (read.files[0].asset.as_str(), read.files[0].files.len()),
            ("a1", 0)
        );
    }

    #[test]
    fn an_error_reply_is_read_as_one() {
        let details = "not \"now\"".to_owned();
        assert_eq!(
            parse(&encode_error(&details, true)),
            Err(Error::Refused {
                details: details.clone()
            })
        );
        let status = "error".to_owned();
        assert_eq!(
            parse(&encode_error(&details, false)),
            Err(Error::Status { status, details })
        );
        let ours: Value = serde_json::from_slice(&encode_error("x", true)).unwrap();
        assert_same_types(
            &ours,
            &serde_json::from_str(&body("s006-noaccess")).unwrap(),
            "",
        );
    }
}
