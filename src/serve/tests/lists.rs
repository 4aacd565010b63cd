//! The change feed and the originals listing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{NOW, Running, asset, assets, record, start, start_with};
use crate::model::{FileKind, Record, RecordKey};
use crate::protocol::captures::{assert_same_types, body, request_body};
use crate::protocol::changes::{ChangesPage, Status, parse};
use crate::protocol::{Error, uploads};

const EVER: i64 = i64::MAX;

fn keys(page: &ChangesPage) -> Vec<RecordKey> {
    let records = page.records.iter();
    records
        .map(|record| record.as_ref().unwrap().key.clone())
        .collect()
}

async fn put_without_status(node: &Running, id: &str) {
    let mut bare = asset(id, "Port/bare.jpg");
    bare.status = None;
    node.put(&[bare]).await;
}

#[tokio::test]
async fn pages_in_any_order_and_repeated_are_the_listing() {
    for (count, pages) in [(0, 0), (1, 1), (5, 1), (6, 2), (11, 3), (31, 7)] {
        let node = start().await;
        let all = assets(count);
        node.put(&all).await;
        let first = node.first(EVER).await;
        let head = &first.head;
        assert_eq!((head.total, head.pages), (count as u64, pages));
        assert_eq!((head.page, head.per_page), (1, 5));
        let status = if count == 0 {
            Status::Empty
        } else {
            Status::Ok
        };
        assert_eq!(head.status, status);
        let mut seen: BTreeSet<_> = keys(&first).into_iter().collect();
        for page in (2..=pages).rev().chain(2..=pages) {
            let later = node.later(&head.session, page).await;
            assert_eq!((later.head.page, later.head.pages), (page, pages));
            assert_eq!(later.head.session, head.session);
            seen.extend(keys(&later));
        }
        let expected: BTreeSet<_> = all.iter().map(|record| record.key.clone()).collect();
        assert_eq!(seen, expected, "{count} records");
    }
}

#[tokio::test]
async fn a_page_past_the_end_is_ok_and_has_nothing() {
    let node = start().await;
    node.put(&assets(6)).await;
    let session = node.first(EVER).await.head.session;
    let past = node.later(&session, 3).await;
    assert_eq!(
        (past.head.status, past.head.page, past.head.total),
        (Status::Ok, 3, 6)
    );
    assert!(past.records.is_empty() && past.files.is_empty());
}

#[tokio::test]
async fn records_that_come_or_change_in_mid_listing_lose_none() {
    let node = start().await;
    let all = assets(23);
    node.put(&all).await;
    let first = node.first(EVER).await;
    let mut seen = keys(&first);
    for page in 2..=first.head.pages {
        if page == 3 {
            node.clock.set(NOW + 5_000);
            let changed = record(
                "asset",
                "n001",
                false,
                json!({ "sourcepath": "x", "new": 1 }),
            );
            let later = record(
                "asset",
                "n020",
                false,
                json!({ "sourcepath": "y", "new": 1 }),
            );
            node.put(&[changed, later, asset("n0011", "z"), asset("zz", "w")])
                .await;
        }
        seen.extend(keys(&node.later(&first.head.session, page).await));
    }
    let unique: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "something came twice");
    assert!(all.iter().all(|record| unique.contains(&record.key)));
}

#[tokio::test]
async fn a_page_that_outgrew_its_listing_sends_the_client_back_to_the_beginning() {
    let node = start().await;
    node.put(&assets(1)).await;
    let session = node.first(EVER).await.head.session;
    node.put(&assets(20)).await;
    assert_eq!(node.later(&session, 1).await.records.len(), 20);
    node.put(&assets(21)).await;
    let form = format!("lastpullago=1&hitssessionid={session}&page=1");
    let reply = node.post("cluster/nextall.json", &form).await;
    let error = parse(&reply.body).unwrap_err();
    assert!(matches!(error, Error::Status { .. }), "{error}");
    assert_eq!(node.first(EVER).await.head.total, 21);
}

#[tokio::test]
async fn listalldocs_honours_a_known_session_and_its_page() {
    let node = start().await;
    node.put(&assets(6)).await;
    let first = node.first(EVER).await;
    let form = format!("page=2&lastpullago=1&hitssessionid={}", first.head.session);
    let reply = node.post("cluster/listalldocs.json", &form).await;
    assert_eq!(keys(&parse(&reply.body).unwrap())[0].id, "n005");
    let other = node.first(EVER).await;
    assert_ne!(other.head.session, first.head.session);
}

#[tokio::test]
async fn a_later_page_of_an_unknown_listing_is_an_error_that_keeps_watermarks() {
    let node = start().await;
    node.put(&assets(6)).await;
    for form in [
        "lastpullago=9&page=2&hitssessionid=hitsallchanges",
        "lastpullago=9&page=2",
    ] {
        for service in ["cluster/nextall.json", "cluster/listalldocs"] {
            let reply = node.post(service, form).await;
            assert_eq!(reply.status, 200);
            let error = parse(&reply.body).unwrap_err();
            assert!(matches!(error, Error::Status { .. }), "{error}");
        }
    }
    let form = "lastpullago=9&page=1&hitssessionid=hitsallchanges";
    let reply = node.post("cluster/nextall.json", form).await;
    assert_eq!(parse(&reply.body).unwrap().head.total, 6);
}

#[tokio::test]
async fn the_window_reaches_a_margin_further_back_than_asked() {
    let node = start().await;
    node.put(&[asset("a1", "a")]).await;
    node.clock.set(NOW + 100_000);
    let total = async |ago| node.first(ago).await.head.total;
    assert_eq!(total(40_000).await, 1);
    assert_eq!(total(39_999).await, 0);
    assert_eq!(total(-1).await, 0);
    let since = node.first(40_000).await.head.since.unwrap();
    assert_eq!(
        since.as_millis(),
        NOW + 60_000,
        "what is stated is what was asked"
    );
    assert_eq!(node.first(EVER).await.head.since.unwrap().as_millis(), 0);
}

#[tokio::test]
async fn a_window_without_a_number_is_emdbs_500() {
    let node = start().await;
    for form in ["", "lastpullago=abc", "lastpullago=", "sincedate=1"] {
        for service in ["cluster/listalldocs.json", "cluster/pullrecentuploads.json"] {
            let reply = node.post(service, form).await;
            assert_eq!(reply.status, 500, "{form}");
            let theirs = serde_json::from_str(&body("s008-list-no-lastpullago")).unwrap();
            assert_same_types(&reply.json(), &theirs, "");
        }
    }
}

#[tokio::test]
async fn a_window_and_a_key_may_come_in_a_json_body() {
    let node = start().await;
    node.put(&assets(6)).await;
    let path = "/assets/mediadb/services/cluster/listalldocs.json";
    let ask = async |lines: &str, body: &str| {
        let lines = format!("Content-Type: application/json; charset=UTF-8\r\n{lines}");
        node.ask("POST", path, &lines, body).await
    };
    let captured = ask("", &request_body("s058-list-json-body-number")).await;
    assert_eq!(parse(&captured.body).unwrap().head.total, 6);
    let body =
        json!({ "lastpullago": "60000", "entermedia.key": node.key, "other": [1, { "a": 2 }] });
    let with_key = ask("Anonymous: yes\r\n", &body.to_string()).await;
    assert_eq!(parse(&with_key.body).unwrap().head.total, 6);
    for broken in [
        "",
        "[60000]",
        "{\"lastpullago\": 60000",
        "{\"lastpullago\": [60000]}",
    ] {
        assert_eq!(ask("", broken).await.status, 500, "{broken}");
    }
}

#[tokio::test]
async fn lists_are_labelled_and_measured_as_emdb_wants_and_come_by_get_too() {
    let node = start().await;
    node.put(&assets(6)).await;
    let path = "/assets//mediadb/services/cluster//listalldocs?lastpullago=9999999999999";
    let reply = node
        .ask("GET", path, "Accept-Encoding: gzip, deflate, br\r\n", "")
        .await;
    assert_eq!(
        reply.header("content-type"),
        Some("text/json;charset=UTF-8")
    );
    let length = reply.header("content-length").unwrap();
    assert_eq!(length, reply.body.len().to_string());
    assert_eq!(reply.header("content-encoding"), None);
    assert_eq!(parse(&reply.body).unwrap().head.total, 6);
}

#[tokio::test]
async fn every_member_has_the_type_of_a_captured_page() {
    let node = start().await;
    let path = "Collections/Port/harbour.jpg";
    node.put(&[asset("a1", path)]).await;
    let generated = format!("{path}/image1024x768.webp");
    node.publish(FileKind::Generated, &generated, b"small")
        .await;
    let original = node.publish(FileKind::Original, path, b"large").await;
    let form = format!("lastpullago={EVER}");
    let ours = node.post("cluster/listalldocs.json", &form).await.json();
    for capture in ["s012-list-page1", "c17-pull-tombstones"] {
        let theirs: Value = serde_json::from_str(&body(capture)).unwrap();
        assert_same_types(&ours, &theirs, "");
    }
    let entry = &ours["generated"][0];
    assert_eq!(entry["files"][0]["filename"], "image1024x768.webp");
    let local =
        "/WEB-INF/data/assets/catalog/generated/Collections/Port/harbour.jpg/image1024x768.webp";
    assert_eq!(entry["files"][0]["localpath"], local);
    assert_eq!(entry["originals"][0]["sha256"], original.sha256.to_string());
    assert_eq!(
        ours["response"]["emsync"]["features"],
        json!(["sha256", "originals", "digests"])
    );
    assert_eq!(ours["response"]["emsync"]["node"], "node-a");
    let empty = node
        .post("cluster/listalldocs.json", "lastpullago=-999999")
        .await;
    let theirs: Value = serde_json::from_str(&body("s050-auth-param-form")).unwrap();
    assert_same_types(&empty.json(), &theirs, "");
}

#[tokio::test]
async fn every_asset_of_a_page_has_an_entry_and_a_tombstone_has_its_whole_source() {
    let node = start().await;
    let members = json!({ "sourcepath": "Port/a.jpg", "name": "a", "odd": [1, null] });
    let tombstone = record("asset", "a1", true, members);
    let nowhere = record("asset", "a2", false, json!({ "name": "no path" }));
    let outside = record("asset", "a3", false, json!({ "sourcepath": "../x" }));
    let category = record("category", "c", true, json!({ "name": "c" }));
    let all = [tombstone, nowhere, outside, category];
    node.put(&all).await;
    node.publish(FileKind::Generated, "Port/a.jpg/x.webp", b"x")
        .await;
    let page = node.first(EVER).await;
    let listed: Vec<Record> = page.records.into_iter().map(Result::unwrap).collect();
    assert_eq!(listed, all);
    let entries: Vec<_> = (page.files.iter())
        .map(|entry| (entry.asset.as_str(), entry.files.len()))
        .collect();
    assert_eq!(entries, [("a1", 0), ("a2", 0), ("a3", 0)]);
}

#[tokio::test]
async fn tables_that_grant_things_leave_only_when_they_are_named() {
    let records = [
        record("userprofile", "u1", false, json!({ "name": "u" })),
        record("settingsgroup", "s1", false, json!({})),
        record("user", "u2", false, json!({})),
        record("usergroup", "g1", false, json!({})),
        record(
            "editingcluster",
            "e1",
            false,
            json!({ "entermediakey": "x" }),
        ),
        record("library", "l1", false, json!({})),
    ];
    let closed = start().await;
    closed.put(&records).await;
    let page = closed.first(EVER).await;
    assert_eq!(page.head.total, 1);
    assert_eq!(keys(&page)[0].module.as_str(), "library");
    let count = async |node: &Running| {
        let reply = node.post("lists/search/userprofile.json", "").await;
        reply.json()["response"]["totalhits"].as_u64().unwrap()
    };
    assert_eq!(count(&closed).await, 0);

    let open = start_with(&["userprofile"]).await;
    open.put(&records).await;
    assert_eq!(open.first(EVER).await.head.total, 2);
    assert_eq!(count(&open).await, 1);
}

#[tokio::test]
async fn records_nobody_stamped_are_not_listed() {
    let node = start().await;
    node.put(&[asset("a1", "a")]).await;
    put_without_status(&node, "bare").await;
    let page = node.first(EVER).await;
    assert_eq!((page.head.total, keys(&page).len()), (1, 1));
}

#[tokio::test]
async fn originals_come_in_one_page_without_bookkeeping() {
    let node = start().await;
    let mut all = assets(12);
    all.push(asset("a1", "Port/harbour.jpg"));
    all.push(record("category", "c", false, json!({})));
    all.push(record(
        "asset",
        "gone",
        true,
        json!({ "sourcepath": "Port/gone.jpg" }),
    ));
    node.put(&all).await;
    let original = node
        .publish(FileKind::Original, "Port/harbour.jpg", b"large")
        .await;
    node.publish(FileKind::Original, "Port/.versions/1~harbour.jpg", b"old")
        .await;
    node.publish(FileKind::Generated, "Port/harbour.jpg/x.webp", b"small")
        .await;

    let form = format!("lastpullago={EVER}");
    let reply = node.post("cluster/pullrecentuploads.json", &form).await;
    let page = uploads::parse(&reply.body).unwrap();
    assert_eq!(
        (page.status, page.total, page.page, page.pages),
        (Status::Ok, 15, 1, 1)
    );
    assert_eq!(
        (page.catalog.as_str(), page.assets.len()),
        ("assets/catalog", 14)
    );
    let with_files: Vec<_> = page
        .assets
        .iter()
        .filter(|asset| !asset.files.is_empty())
        .collect();
    assert_eq!((with_files.len(), with_files[0].id.as_str()), (1, "a1"));
    let file = with_files[0].files[0].as_ref().unwrap();
    assert_eq!(
        (with_files[0].files.len(), file.sha256),
        (1, Some(original.sha256))
    );
    assert!(!String::from_utf8_lossy(&reply.body).contains(".versions"));
    let theirs: Value = serde_json::from_str(&body("s040-recentuploads")).unwrap();
    let mut ours = reply.json();
    ours["results"]
        .as_array_mut()
        .unwrap()
        .retain(|row| row["id"] == "a1");
    assert_same_types(&ours, &theirs, "");

    let past = node
        .post("cluster/pullrecentuploads.json", &format!("{form}&page=2"))
        .await;
    assert!(uploads::parse(&past.body).unwrap().assets.is_empty());
    let none = node
        .post("cluster/pullrecentuploads.json", "lastpullago=-999999")
        .await;
    assert_eq!(none.body, uploads::EMPTY.as_bytes());
}
