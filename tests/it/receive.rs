//! What a served node takes from a sender that speaks as EMDB does (wire spec 3.4 to 3.7, 8), and what it does not take.

use emsync::catalogue::{FileRow, Winner};
use emsync::model::{FileKind, RecordKey, Timestamp};
use emsync::pull::metadata::Scope;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::captured::Captured;
use crate::support::emdb::asset_members;
use crate::support::master::Master;
use crate::support::node::use_one_tls_provider;

const MTIME: i64 = 1_795_410_359_641;

/// A node that hands changes to a master.
struct Sender<'a> {
    master: &'a Master,
    http: reqwest::Client,
    key: String,
    catalog: &'static str,
}

impl<'a> Sender<'a> {
    fn new(master: &'a Master) -> Self {
        use_one_tls_provider();
        Self {
            master,
            http: reqwest::Client::new(),
            key: master.write_key.clone(),
            catalog: "finder/catalog",
        }
    }

    async fn post(&self, endpoint: &str, kind: &str, body: Vec<u8>) -> (StatusCode, String) {
        let url = format!("{}/mediadb/services/{endpoint}", self.master.url);
        let reply = (self.http.post(url))
            .header("X-token", &self.key)
            .header("X-tokentype", "entermedia")
            .header(CONTENT_TYPE, kind)
            .body(body)
            .send()
            .await
            .unwrap();
        if endpoint.ends_with("uploadfile.json") {
            assert_eq!(reply.headers()[CONTENT_LENGTH], "0", "{endpoint}");
        }
        (reply.status(), reply.text().await.unwrap())
    }

    /// Hands records and generated files over; answers with the paths that are wanted.
    async fn changes(&self, records: &[Value], generated: Value) -> Vec<String> {
        let (status, text) = self.page(records, generated).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        wanted(&text, "fileuploads", "localpath")
    }

    async fn page(&self, records: &[Value], generated: Value) -> (StatusCode, String) {
        let page = json!({
            "response": { "status": "ok", "totalhits": records.len(), "hitsperpage": 1000, "page": 1, "pages": 1,
                "hitssessionid": "nullnullnull", "catalogid": self.catalog, "sincedate": "2026-11-16 05:07:32 +0000" },
            "results": records, "generated": generated,
        });
        let endpoint = "cluster/receive/uploadchanges.json";
        self.post(endpoint, "application/json", page.to_string().into())
            .await
    }

    /// Offers originals; answers with the paths that are wanted.
    async fn offer(&self, results: Value) -> Vec<String> {
        let offer = json!({
            "response": { "status": "ok", "totalhits": 1, "hitsperpage": 100, "page": 1, "pages": 1,
                "catalogid": self.catalog, "sincedate": "2026-11-16 05:07:32 +0000" },
            "results": results,
        });
        let endpoint = "cluster/receive/receiveoriginalschanges.json";
        let (status, text) = self
            .post(endpoint, "application/json", offer.to_string().into())
            .await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(!text.contains("error"), "{text}");
        wanted(&text, "results", "path")
    }

    /// Brings a file in a form of these parts; the part `file.0` has these bytes.
    async fn bring(&self, parts: &[(&str, &str)], bytes: &[u8]) -> StatusCode {
        self.bring_to("module/asset/sync/uploadfile.json", parts, bytes)
            .await
    }

    async fn bring_to(&self, endpoint: &str, parts: &[(&str, &str)], bytes: &[u8]) -> StatusCode {
        let mut body = Vec::new();
        for (name, text) in parts {
            body.extend_from_slice(b"--zKKjK-i1\r\n");
            if *name == "file.0" {
                let head = "Content-Disposition: form-data; name=\"file.0\"; filename=\"b?.webp\"\r\n\
                    Content-Type: application/octect-stream; charset=UTF-8\r\nContent-Transfer-Encoding: binary\r\n\r\n";
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(bytes);
            } else {
                let head = format!(
                    "Content-Disposition: form-data; name=\"{name}\"\r\n\
                     Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}"
                );
                body.extend_from_slice(head.as_bytes());
            }
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--zKKjK-i1--\r\n");
        self.post(endpoint, "multipart/form-data; boundary=zKKjK-i1", body)
            .await
            .0
    }
}

fn wanted(reply: &str, list: &str, path: &str) -> Vec<String> {
    let reply: Value = serde_json::from_str(reply).unwrap();
    let entries = reply[list].as_array().cloned().unwrap_or_default();
    let paths = entries
        .iter()
        .map(|entry| entry[path].as_str().unwrap().to_owned());
    paths.collect()
}

fn at(ms: i64) -> String {
    Timestamp::from_millis(ms).to_string()
}

/// A record as it travels: owned by `master`, edited by `editor`.
fn record(id: &str, [master, editor]: [&str; 2], dates: [i64; 2], members: Value) -> Value {
    let mut source = members;
    source["id"] = json!(id);
    source["emrecordstatus"] = json!({
        "recorddeleted": source.get("gone").is_some(), "mastereditclusterid": master, "lastmodifiedclusterid": editor,
        "masterrecordmodificationdate": at(dates[0]), "recordmodificationdate": at(dates[1]),
    });
    json!({ "searchtype": "asset", "index": "finder_catalog-0", "catalog": "finder_catalog", "id": id, "source": source })
}

fn asset(id: &str, path: &str, size: usize) -> Value {
    record(
        id,
        ["node-b", "node-b"],
        [1_000, 1_000],
        asset_members(path, size, MTIME),
    )
}

fn generated(id: &str, path: &str, name: &str, size: usize) -> Value {
    json!([{ "id": id, "sourcepath": path, "files": [{ "filename": name, "size": size.to_string(), "lastmodified": MTIME,
        "localpath": format!("/WEB-INF/data/finder/catalog/generated/{path}/{name}"), "mastereditclusterid": "node-b" }] }])
}

fn offered(id: &str, path: &str, size: usize) -> Value {
    json!([{ "id": id, "sourcepath": path, "isfolder": false, "parentsourcepath": path, "files": [{ "filename": "x",
        "path": format!("/WEB-INF/data/finder/catalog/originals/{path}"), "originalspath": format!("/{path}"),
        "filesize": size.to_string(), "filedate": MTIME }] }])
}

async fn rows(master: &Master, id: &str) -> Vec<FileRow> {
    let mut rows = master.node.catalogue.files_of(&[id]).await.unwrap();
    rows.sort_by_key(|row| row.file.kind);
    rows
}

fn on_disk(master: &Master, row: &FileRow) -> Vec<u8> {
    let config = &master.node.config;
    let tree = config
        .media
        .root
        .join(config.node.catalog.as_str())
        .join(row.file.kind.dir());
    std::fs::read(tree.join(row.file.place().as_str())).unwrap()
}

#[tokio::test]
async fn an_asset_is_taken_with_its_files_and_their_dates_and_a_second_time_nothing_is_asked_for() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let (path, bytes, webp) = (
        "FromB/ü (1) #7.jpg",
        vec![7_u8; 900_000],
        b"webp".as_slice(),
    );
    let records = [asset("b1", path, bytes.len())];
    let page = generated("b1", path, "image200x200.webp", webp.len());
    let wanted = sender.changes(&records, page.clone()).await;
    let savepath = format!("/WEB-INF/data/assets/catalog/generated/{path}/image200x200.webp");
    assert_eq!(wanted, [savepath.as_str()]);
    let ours = sender.offer(offered("b1", path, bytes.len())).await;
    let theirs = format!("/WEB-INF/data/finder/catalog/originals/{path}");
    assert_eq!(ours, [theirs.as_str()], "told as the sender told it");

    let parts = [
        ("savepath", savepath.as_str()),
        ("filename", "image200x200.webp"),
        ("catalogid", "finder/catalog"),
        ("localpath", savepath.as_str()),
        ("file.0", ""),
    ];
    assert_eq!(sender.bring(&parts, webp).await, StatusCode::OK);
    // The parts of an original, and in another order.
    let parts = [
        ("file.0", ""),
        ("path", theirs.as_str()),
        ("catalogid", "finder/catalog"),
        ("savepath", theirs.as_str()),
    ];
    assert_eq!(sender.bring(&parts, &bytes).await, StatusCode::OK);
    let rows = rows(&master, "b1").await;
    let kinds: Vec<_> = rows.iter().map(|row| row.file.kind).collect();
    assert_eq!(kinds, [FileKind::Original, FileKind::Generated]);
    assert!(
        rows.iter()
            .all(|row| row.file.modified == Timestamp::from_millis(MTIME))
    );
    assert_eq!(
        (on_disk(&master, &rows[0]), on_disk(&master, &rows[1])),
        (bytes.clone(), webp.to_vec())
    );

    // A second try after a lost answer is done already; and nothing is wanted twice.
    assert_eq!(sender.bring(&parts, &bytes).await, StatusCode::OK);
    assert!(sender.changes(&records, page).await.is_empty());
    assert!(
        sender
            .offer(offered("b1", path, bytes.len()))
            .await
            .is_empty()
    );
    assert_eq!(master.node.catalogue.count_conflicts().await.unwrap(), 0);
    master.end().await;
}

#[tokio::test]
async fn an_original_of_no_bytes_is_not_asked_for() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    sender.changes(&[asset("b1", "a.jpg", 5)], json!([])).await;
    // EMDB offers what it does not have so (H-36), and lists a rendition that it is just making.
    assert!(sender.offer(offered("b1", "a.jpg", 0)).await.is_empty());
    let records = [asset("b2", "b.jpg", 5)];
    let page = generated("b2", "b.jpg", "image200x200.webp", 0);
    assert!(sender.changes(&records, page).await.is_empty());
    assert_eq!(sender.offer(offered("b1", "a.jpg", 5)).await.len(), 1);
    master.end().await;
}

/// EMDB pushes records and originals in runs of their own, and offers an original once unless it hears `error` (wire spec 8.2, 3).
#[tokio::test]
async fn an_offer_that_comes_before_its_record_is_to_come_again() {
    const ID: &str = "AaIGy_ld5CAMFoh-hnKt";
    const PATH: &str = "FromB/owned-by-b.jpg";
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let offer = Captured::read("c13-push-receiveoriginalschanges").body;
    let answer = async || {
        let endpoint = "cluster/receive/receiveoriginalschanges.json";
        let (status, text) = sender
            .post(endpoint, "application/json", offer.clone())
            .await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(answer().await, json!({ "response": { "status": "error" } }));
    sender.changes(&[asset(ID, PATH, 21_416)], json!([])).await;
    let wanted = answer().await;
    assert_eq!(wanted["response"]["status"], "ok");
    let path = format!("/WEB-INF/data/finder/catalog/originals/{PATH}");
    assert_eq!(wanted["results"][0]["path"], path);
    // A record that is set aside or deleted holds nobody up.
    let mut bad = asset("b2", "b.jpg", 5);
    bad["source"]["emrecordstatus"]["mastereditclusterid"] = Value::Null;
    let mut gone = asset("b3", "c.jpg", 5);
    gone["source"]["emrecordstatus"]["recorddeleted"] = json!(true);
    sender.changes(&[bad, gone], json!([])).await;
    for (id, path) in [("b2", "b.jpg"), ("b3", "c.jpg")] {
        assert!(sender.offer(offered(id, path, 5)).await.is_empty(), "{id}");
    }
    master.end().await;
}

#[tokio::test]
async fn a_page_of_some_size_is_taken() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let mut long = asset("b1", "a.jpg", 5);
    long["source"]["description"] = json!("x".repeat(3 << 20));
    let records: Vec<_> = (2..=1_000)
        .map(|n| asset(&format!("b{n}"), &format!("{n}.jpg"), 5))
        .chain([long])
        .collect();
    assert!(sender.changes(&records, json!([])).await.is_empty());
    assert_eq!(master.node.catalogue.live_assets().await.unwrap(), 1_000);
    let key = RecordKey::new("asset", "b1").unwrap();
    let stored = master.node.catalogue.record(&key).await.unwrap().unwrap();
    assert!(stored.record.source.len() > 3 << 20);
    master.end().await;
}

#[tokio::test]
async fn a_mirror_of_the_receiver_gets_what_was_handed_in() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let mirror = master.mirror().await;
    mirror.run(Scope::Changes).await;
    sender.changes(&[asset("b1", "a.jpg", 5)], json!([])).await;
    sender.offer(offered("b1", "a.jpg", 5)).await;
    let path = "/WEB-INF/data/finder/catalog/originals/a.jpg";
    let parts = [
        ("savepath", path),
        ("catalogid", "finder/catalog"),
        ("file.0", ""),
    ];
    assert_eq!(sender.bring(&parts, b"bytes").await, StatusCode::OK);
    let outcome = mirror.run(Scope::Changes).await;
    assert_eq!(
        (outcome.report.records, outcome.report.files_written),
        (1, 1)
    );
    master.end().await;
}

#[tokio::test]
async fn a_file_that_was_not_asked_for_is_not_taken() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    master.add("own", "own.jpg", b"ours").await;
    sender.changes(&[asset("b1", "a.jpg", 5)], json!([])).await;
    sender.offer(offered("b1", "a.jpg", 5)).await;
    let bring = async |path: &str, bytes: &[u8]| {
        let parts = [
            ("savepath", path),
            ("catalogid", "finder/catalog"),
            ("file.0", ""),
        ];
        sender.bring(&parts, bytes).await
    };
    let prefix = "/WEB-INF/data/finder/catalog";
    for (path, status) in [
        (format!("{prefix}/originals/other.jpg"), 409),
        (format!("{prefix}/originals/own.jpg"), 409),
        (format!("{prefix}/originals/../../../x"), 400),
        (format!("{prefix}/lists/settings.xml"), 400),
        ("/etc/cron.d/x".to_owned(), 400),
        ("originals/a.jpg".to_owned(), 400),
    ] {
        assert_eq!(bring(&path, b"other").await.as_u16(), status, "{path}");
    }
    let path = format!("{prefix}/originals/a.jpg");
    for (bytes, what) in [
        (b"byte".to_vec(), "short"),
        (b"bytes and more".to_vec(), "long"),
    ] {
        assert_eq!(bring(&path, &bytes).await.as_u16(), 400, "{what}");
    }
    let (status, _) = sender
        .post(
            "module/asset/sync/uploadfile.json",
            "text/plain",
            b"x".to_vec(),
        )
        .await;
    assert_eq!(status.as_u16(), 400, "no form");
    assert_eq!(
        sender.bring(&[("savepath", &path)], b"").await.as_u16(),
        400,
        "no file"
    );
    assert_eq!(
        sender.bring(&[("file.0", "")], b"bytes").await.as_u16(),
        400,
        "no path"
    );
    assert!(rows(&master, "b1").await.is_empty());
    assert_eq!(on_disk(&master, &rows(&master, "own").await[0]), b"ours");
    let staging = master
        .node
        .config
        .media
        .root
        .join(".emsync/staging/receive");
    assert_eq!(
        std::fs::read_dir(staging).unwrap().count(),
        0,
        "something stayed in staging"
    );
    // The wish stands all the same; the other form of EMDB's brings it.
    let parts = [
        ("localpath", path.as_str()),
        ("catalogid", "finder/catalog"),
        ("file", ""),
        ("file.0", ""),
    ];
    let other = "cluster/receive/uploadfile.json";
    assert_eq!(sender.bring_to(other, &parts[..2], b"").await.as_u16(), 400);
    let parts = [parts[0], parts[1], parts[3]];
    assert_eq!(
        sender.bring_to(other, &parts, b"bytes").await,
        StatusCode::OK
    );
    master.end().await;
}

#[tokio::test]
async fn a_key_that_may_only_read_hands_nothing_in() {
    let master = Master::new(1_000).await;
    let mut sender = Sender::new(&master);
    for key in [master.key.clone(), "emsync_x_y".to_owned()] {
        sender.key = key;
        let (status, body) = sender.page(&[asset("b1", "a.jpg", 5)], json!([])).await;
        assert_eq!((status.as_u16(), body.as_str()), (403, ""));
        let status = sender
            .bring(&[("savepath", "/x"), ("file.0", "")], b"x")
            .await;
        assert_eq!(status.as_u16(), 403);
    }
    let key = RecordKey::new("asset", "b1").unwrap();
    assert!(master.node.catalogue.record(&key).await.unwrap().is_none());
    master.end().await;
}

#[tokio::test]
async fn bad_records_are_set_aside_and_the_others_taken() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let future = master.node.seams.clock.now().as_millis() + 3_600_000;
    let mut nameless = asset("b2", "b.jpg", 5);
    nameless["source"]["emrecordstatus"]["mastereditclusterid"] = Value::Null;
    let mut foreign = asset("b3", "c.jpg", 5);
    foreign["searchtype"] = json!("../../x");
    let mut note = asset("b4", "d.jpg", 5);
    note["searchtype"] = json!("remotesaveconflictLog");
    let mut no_id = asset("b5", "e.jpg", 5);
    no_id["id"] = Value::Null;
    let late = record(
        "b6",
        ["node-b", "node-b"],
        [1_000, future],
        asset_members("f.jpg", 5, MTIME),
    );
    let outside = record(
        "b7",
        ["node-b", "node-b"],
        [1_000, 1_000],
        asset_members("../f.jpg", 5, MTIME),
    );
    let records = [
        nameless,
        foreign,
        note,
        no_id,
        late,
        outside,
        asset("b1", "a.jpg", 5),
    ];
    sender.changes(&records, json!([])).await;
    let catalogue = &master.node.catalogue;
    let stored = |id: &str| RecordKey::new("asset", id).unwrap();
    assert!(catalogue.record(&stored("b1")).await.unwrap().is_some());
    assert!(catalogue.record(&stored("b6")).await.unwrap().is_none());
    let counts = catalogue.job_counts(Some("sender")).await.unwrap();
    assert_eq!(counts.quarantined, 6, "each is kept with its reason");
    // What does not read as a page at all is told so.
    let endpoint = "cluster/receive/uploadchanges.json";
    for body in ["", "{}", "<html>", "{\"response\":{\"status\":\"ok\"}}"] {
        let (status, text) = sender.post(endpoint, "application/json", body.into()).await;
        assert_eq!(status.as_u16(), 500, "{body}: {text}");
    }
    master.end().await;
}

#[tokio::test]
async fn a_stale_edit_is_refused_once_and_answered_with_a_later_version() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let own = master.own().to_string();
    let ours = master.add("m1", "m.jpg", b"ours!").await;
    let date = ours.status.unwrap().modified.as_millis();
    let members = |name: &str| {
        let mut members = asset_members("m.jpg", 5, MTIME);
        members["name"] = json!(name);
        members
    };
    let stale = record(
        "m1",
        [&own, "node-b"],
        [date - 5, date + 60_000],
        members("stale"),
    );
    for _ in 0..2 {
        sender
            .changes(std::slice::from_ref(&stale), json!([]))
            .await;
    }
    let key = RecordKey::new("asset", "m1").unwrap();
    let stored = master
        .node
        .catalogue
        .record(&key)
        .await
        .unwrap()
        .unwrap()
        .record;
    let status = stored.status.clone().unwrap();
    assert!(
        status.modified.as_millis() > date + 60_000,
        "everybody takes it now (row 8)"
    );
    assert_eq!(status.master_modified, Some(status.modified));
    assert!(!stored.source.contains("stale"));
    let conflicts = master.node.catalogue.conflicts(10).await.unwrap();
    assert_eq!(conflicts.len(), 1, "once, not again on every listing");
    assert_eq!(conflicts[0].winner, Winner::Local);
    assert!(conflicts[0].remote_source.contains("stale"));
    // An edit of that very version is taken.
    let dates = [status.modified.as_millis(), status.modified.as_millis() + 1];
    let edit = record("m1", [&own, "node-b"], dates, members("edited"));
    sender.changes(&[edit], json!([])).await;
    let stored = master
        .node
        .catalogue
        .record(&key)
        .await
        .unwrap()
        .unwrap()
        .record;
    assert!(stored.source.contains("edited"));
    assert_eq!(
        on_disk(&master, &rows(&master, "m1").await[0]),
        b"ours!",
        "its file is ours"
    );
    master.end().await;
}

#[tokio::test]
async fn deletes_pass_the_guard_also_when_they_come_in_many_pages() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    for n in 0..30 {
        master
            .add(&format!("m{n}"), &format!("d/{n}.jpg"), b"x")
            .await;
    }
    let own = master.own().to_string();
    let now = master.node.seams.clock.now().as_millis();
    let tombstone = |n: usize| {
        let members = json!({ "name": "x", "sourcepath": format!("d/{n}.jpg"), "gone": true });
        record(
            &format!("m{n}"),
            [&own, "node-b"],
            [now, now + 1_000],
            members,
        )
    };
    // Ten are let go of a small archive, however many pages they come in.
    for n in 0..12 {
        sender.changes(&[tombstone(n)], json!([])).await;
    }
    let catalogue = &master.node.catalogue;
    assert_eq!(catalogue.live_assets().await.unwrap(), 20);
    assert!(rows(&master, "m0").await.is_empty());
    assert_eq!(rows(&master, "m11").await.len(), 1, "held");
    let trash = master.node.config.media.root.join(".emsync/trash");
    let trashed = walkdir::WalkDir::new(trash).into_iter().flatten();
    assert_eq!(
        trashed
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "jpg"))
            .count(),
        10
    );
    master.end().await;
}

#[tokio::test]
async fn a_moved_original_is_not_asked_for_again() {
    let master = Master::new(1_000).await;
    let sender = Sender::new(&master);
    let bytes = b"the bytes of a picture";
    let stated = |path: &str, date: i64| {
        let members = asset_members(path, bytes.len(), MTIME);
        record("b1", ["node-b", "node-b"], [date, date], members)
    };
    sender
        .changes(&[stated("old/a.jpg", 1_000)], json!([]))
        .await;
    sender.offer(offered("b1", "old/a.jpg", bytes.len())).await;
    let path = "/WEB-INF/data/finder/catalog/originals/old/a.jpg";
    let parts = [
        ("savepath", path),
        ("catalogid", "finder/catalog"),
        ("file.0", ""),
    ];
    assert_eq!(sender.bring(&parts, bytes).await, StatusCode::OK);
    sender
        .changes(&[stated("new/a.jpg", 2_000)], json!([]))
        .await;
    assert!(
        sender
            .offer(offered("b1", "new/a.jpg", bytes.len()))
            .await
            .is_empty()
    );
    let rows = rows(&master, "b1").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].file.path.as_str(), "new/a.jpg");
    assert_eq!(on_disk(&master, &rows[0]), bytes);
    master.end().await;
}
