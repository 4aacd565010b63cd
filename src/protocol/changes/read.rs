//! Change pages from JSON. One wrong record or file is one `Err` in its page.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{AssetFiles, ChangesPage, Hello, PageHead, SUCCESSIONS_MOST};
use crate::model::{FileKind, MediaPath, NodeId, Record, Succession, Timestamp};
use crate::protocol::envelope::{self, Opened};
use crate::protocol::listed::{self, BadFile, Bounds};
use crate::protocol::record::{BadRecord, record};
use crate::protocol::{Error, lenient};

/// Reads one page.
///
/// # Errors
/// [`Error`] when the page as a whole cannot be used; single bad records and files are `Err` entries in it.
pub fn parse(body: &[u8]) -> Result<ChangesPage, Error> {
    let opened = envelope::open(body)?;
    let head = read_head(body, &opened)?;
    let files = (opened.generated.iter())
        .map(|entry| read_files(entry, &head.catalog))
        .collect();
    Ok(ChangesPage {
        records: opened.results.iter().map(|row| read_row(row)).collect(),
        files,
        head,
    })
}

fn read_head(body: &[u8], opened: &Opened<'_>) -> Result<PageHead, Error> {
    let head = &opened.head;
    let since = head.sincedate.as_ref().and_then(Value::as_str);
    Ok(PageHead {
        status: opened.status,
        total: opened.count(body, "totalhits", head.totalhits, 0)?,
        per_page: head.hitsperpage.unwrap_or(PER_PAGE),
        page: opened.count(body, "page", head.page, 1)?,
        pages: opened.count(body, "pages", head.pages, 0)?,
        session: head.hitssessionid.clone().unwrap_or_default(),
        catalog: opened.catalog(body)?,
        since: since.and_then(lenient::parse_date),
        hello: head.emsync.as_ref().and_then(Hello::read),
    })
}

/// EMDB's fixed page size.
const PER_PAGE: u64 = 1_000;

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(default)]
    searchtype: Value,
    #[serde(default)]
    id: Value,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
}

fn read_row(text: &RawValue) -> Result<Record, BadRecord> {
    let bad = |row: &Row<'_>, reason: &str| {
        let stated = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        BadRecord::new(
            &stated(&row.searchtype),
            &stated(&row.id),
            text.get(),
            reason,
        )
    };
    let row: Row<'_> = serde_json::from_str(text.get())
        .map_err(|error| BadRecord::new("", "", text.get(), error))?;
    match (&row.searchtype, &row.id, row.source) {
        (Value::String(module), Value::String(id), Some(source)) => record(module, id, source),
        (Value::String(_), Value::String(_), None) => Err(bad(&row, "has no source")),
        (Value::String(_), _, _) => Err(bad(&row, "has no text id")),
        _ => Err(bad(&row, "has no text searchtype")),
    }
}

#[derive(Deserialize)]
struct FilesRow<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    sourcepath: Value,
    #[serde(borrow)]
    files: Option<&'a RawValue>,
    #[serde(borrow)]
    originals: Option<&'a RawValue>,
    #[serde(default)]
    partial: Value,
}

fn read_files(text: &RawValue, catalog: &str) -> AssetFiles {
    let broken = |asset: String, source_path: String, reason: String| AssetFiles {
        asset,
        files: vec![Err(BadFile {
            path: source_path.clone(),
            reason,
        })],
        source_path,
        originals: None,
        partial: false,
    };
    let row: FilesRow<'_> = match serde_json::from_str(text.get()) {
        Ok(row) => row,
        Err(error) => return broken(String::new(), String::new(), error.to_string()),
    };
    let stated = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (asset, source_path) = (stated(&row.id), stated(&row.sourcepath));
    let below = match MediaPath::new(source_path.as_str()) {
        Ok(below) => below,
        Err(_)
            if source_path.is_empty()
                && lists_nothing(row.files)
                && lists_nothing(row.originals) =>
        {
            return AssetFiles {
                asset,
                source_path,
                files: Vec::new(),
                originals: None,
                partial: false,
            };
        }
        Err(error) => return broken(asset, source_path, error.to_string()),
    };
    let bounds = |kind, below| Bounds {
        catalog,
        kind,
        below,
    };
    AssetFiles {
        asset,
        source_path,
        files: listed::read_all(row.files, &bounds(FileKind::Generated, Some(&below))),
        originals: (row.originals)
            .map(|list| listed::read_all(Some(list), &bounds(FileKind::Original, None))),
        partial: row.partial == Value::Bool(true),
    }
}

/// Whether a member holds no files at all, so that it does not matter where they would lie.
fn lists_nothing(files: Option<&RawValue>) -> bool {
    let text = files.map_or("null", RawValue::get);
    serde_json::from_str::<Option<[Value; 0]>>(text).is_ok()
}

impl Hello {
    /// A greeting that is not in form is no greeting.
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let features = value.get("features").and_then(Value::as_array);
        let features = (features.into_iter().flatten())
            .filter_map(|feature| Some(feature.as_str()?.to_owned()));
        Some(Self {
            version: text("version")?,
            node: NodeId::new(text("node")?).ok()?,
            features: features.collect(),
            successions: successions(value),
        })
    }
}

/// What a peer says of successions; what is not in form is passed over.
fn successions(value: &Value) -> Vec<Succession> {
    let all = value.get("successions").and_then(Value::as_array);
    let read = |one: &Value| {
        let node = |name: &str| NodeId::new(one.get(name)?.as_str()?).ok();
        Some(Succession {
            former: node("former")?,
            successor: node("successor")?,
            at: Timestamp::from_millis(one.get("at")?.as_i64()?),
        })
    };
    let all = all.into_iter().flatten();
    all.filter_map(read).take(SUCCESSIONS_MOST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Status;
    use super::*;
    use crate::protocol::captures::body;
    use crate::protocol::record::asset;

    fn page(capture: &str) -> ChangesPage {
        parse(body(capture).as_bytes()).unwrap()
    }

    fn error(capture: &str) -> Error {
        parse(body(capture).as_bytes()).unwrap_err()
    }

    #[test]
    fn a_real_page_is_read_to_the_last_record_and_file() {
        let page = page("s012-list-page1");
        assert_eq!(
            (page.head.status, page.head.total, page.head.pages),
            (Status::Ok, 15, 1)
        );
        assert_eq!((page.head.page, page.head.per_page), (1, 1_000));
        assert_eq!(page.head.session, "hitsallchanges");
        assert_eq!(page.head.catalog, "finder/catalog");
        assert_eq!(
            page.head.since.unwrap().to_string(),
            "2026-11-22T18:57:57.000Z"
        );
        assert_eq!(page.head.hello, None);
        let records: Vec<_> = page
            .records
            .iter()
            .map(|record| record.as_ref().unwrap())
            .collect();
        assert_eq!(records.len(), 15);
        for record in &records {
            assert_eq!(
                record.status.as_ref().unwrap().master.as_str(),
                "node-a-cluster"
            );
            if record.key.module.is_asset() {
                asset(record).unwrap();
            }
        }
        assert_eq!(page.files.len(), 6);
        assert!(
            page.files
                .iter()
                .all(|files| files.originals.is_none() && files.files.iter().all(Result::is_ok))
        );
        let file = page.files[0].files[0].as_ref().unwrap();
        assert_eq!(
            file.path.as_str(),
            "Collections/Port/harbour.jpg/image3000x3000.webp"
        );
        assert_eq!(
            (file.size, file.modified.unwrap().as_millis()),
            (Some(11_026), 1_795_409_720_546)
        );
    }

    #[test]
    fn tombstones_are_read_whole() {
        let page = page("c17-pull-tombstones");
        let deleted: Vec<_> = (page.records.iter())
            .map(|record| record.as_ref().unwrap())
            .filter(|record| record.is_deleted())
            .map(|record| record.key.to_string())
            .collect();
        let expected = [
            "asset/AaIGxAwBsFKjGeUZNrZr",
            "asset/AaIGxAtmsFKjGeUZNrZp",
            "category/AaIGxA3ssFKjGeUZNrZ2",
            "asset/TAIL0000",
        ];
        assert_eq!(deleted, expected);
        assert_eq!(page.records.len(), 5);
    }

    #[test]
    fn nothing_new_and_a_page_past_the_end_are_told_apart() {
        let empty = page("s050-auth-param-form");
        assert_eq!(
            (empty.head.status, empty.head.pages, empty.records.len()),
            (Status::Empty, 0, 0)
        );
        let past = page("s114-paging-nextall-page4-with-session-cookie");
        assert_eq!(
            (past.head.status, past.head.page, past.head.pages),
            (Status::Ok, 4, 3)
        );
        assert_eq!(past.records, []);
    }

    #[test]
    fn every_way_of_saying_no_is_an_error() {
        assert_eq!(
            error("s006-noaccess"),
            Error::Refused {
                details: "No view permissions for action".to_owned()
            }
        );
        let Error::Status { status, details } = error("s008-list-no-lastpullago") else {
            panic!("an error envelope")
        };
        assert_eq!(
            (status.as_str(), details.as_str()),
            ("error", "lastpull required")
        );
        assert!(matches!(
            error("s118-paging-then-page2"),
            Error::Status { .. }
        ));
        // Not JSON: a quote in it is not escaped (H-38). Cut off in the middle.
        assert!(matches!(
            error("s059-list-bad-lastpullago"),
            Error::Malformed { .. }
        ));
        assert!(matches!(
            error("s115-paging-nextall-page2-without-cookie"),
            Error::Malformed { .. }
        ));
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "<html></html>",
            r#"{"response":{}}"#,
            r#"{"response":null}"#,
            r#"{"response":{"status":5},"results":[]}"#,
            r#"{"response":{"status":"busy"},"results":[]}"#,
            r#"{"response":{"status":"ok"},"results":[]}"#,
            r#"{"response":{"status":"ok","totalhits":1,"page":1,"pages":1,"catalogid":"a/b"}}"#,
            r#"{"response":{"status":"ok","totalhits":1,"page":1,"pages":1,"catalogid":"a/b"},"results":{}}"#,
            r#"{"response":{"status":"ok","totalhits":"x","page":1,"pages":1,"catalogid":"a/b"},"results":[]}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(
            parse(b"{\"response\":\"\xff\"}"),
            Err(Error::Malformed { .. })
        ));
    }

    fn with_rows(results: &Value, generated: &Value) -> ChangesPage {
        let text = json!({
            "results": results, "generated": generated,
            "response": { "status": "ok", "totalhits": "2", "page": "1", "pages": 1.0, "hitsperpage": null, "catalogid": "finder/catalog",
                          "hitssessionid": null, "sincedate": null, "emsync": { "version": "1", "node": "n", "features": ["x", 5] } },
        });
        parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn one_bad_record_is_one_error_and_the_others_stay() {
        let good = json!({ "searchtype": "category", "id": "c1", "source": { "id": null } });
        for bad in [
            json!(null),
            json!("x"),
            json!({ "searchtype": "asset", "source": {} }),
            json!({ "searchtype": "asset", "id": 5, "source": {} }),
            json!({ "searchtype": null, "id": "a", "source": {} }),
            json!({ "searchtype": "../x", "id": "a", "source": {} }),
            json!({ "searchtype": "asset", "id": "a" }),
            json!({ "searchtype": "asset", "id": "a", "source": null }),
            json!({ "searchtype": "asset", "id": "a", "source": "{}" }),
            json!({ "searchtype": "asset", "id": "a", "source": { "emrecordstatus": 5 } }),
        ] {
            let page = with_rows(&json!([bad, good]), &json!([]));
            assert!(page.records[0].is_err(), "{bad}");
            assert_eq!(
                page.records[1].as_ref().unwrap().key.to_string(),
                "category/c1"
            );
        }
    }

    #[test]
    fn counts_as_text_and_null_members_are_read() {
        let page = with_rows(&json!([]), &json!(null));
        assert_eq!(
            (
                page.head.total,
                page.head.page,
                page.head.pages,
                page.head.per_page
            ),
            (2, 1, 1, 1_000)
        );
        assert_eq!((page.head.session.as_str(), page.head.since), ("", None));
        let hello = page.head.hello.unwrap();
        assert_eq!(
            (hello.node.as_str(), hello.features),
            ("n", vec!["x".to_owned()])
        );
    }

    #[test]
    fn bad_file_lists_stay_with_their_asset() {
        let file = json!({ "localpath": "/WEB-INF/data/finder/catalog/generated/b/x.webp", "size": "1", "lastmodified": 1 });
        let page = with_rows(
            &json!([]),
            &json!([
                { "id": "a", "sourcepath": "../a", "files": [] },
                { "id": "b", "sourcepath": "b", "files": "none" },
                7,
                { "id": "b", "sourcepath": "b", "files": [file], "originals": [] },
                { "id": "c", "sourcepath": "c", "files": null },
            ]),
        );
        assert!(
            page.files[..3]
                .iter()
                .all(|files| files.files.len() == 1 && files.files[0].is_err())
        );
        assert!(page.files[3].files[0].is_ok());
        assert_eq!(page.files[3].originals, Some(Vec::new()));
        assert!(page.files[4].files[0].is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_damage_to_a_real_page_makes_the_reader_panic(
            cut in 0.0..1.0_f64,
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            long in any::<bool>(),
        ) {
            let mut bytes = body(if long { "s012-list-page1" } else { "c17-pull-tombstones" }).into_bytes();
            for (at, byte) in hits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = parse(&bytes);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small length")]
            let end = (bytes.len() as f64 * cut) as usize;
            prop_assert!(parse(&bytes[..end]).is_err());
        }
    }
}
