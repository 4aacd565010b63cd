//! What was stored here goes to an unmodified EMDB and to a node of ours (wire spec 3.4 to 3.6, 8, 11.2).

mod command;
mod cropped;
mod ours;

use std::collections::BTreeSet;
use std::sync::Arc;

use emsync::catalogue::FileRow;
use emsync::cli::ExitCode;
use emsync::model::{FileKind, MediaFile, MediaPath, RecordKey, RecordStatus, Sha256, Timestamp};
use emsync::pipeline::{self, Error, Options, Outcome};
use emsync::protocol::record::stamped;
use emsync::pull::metadata::Scope;
use emsync::push;
use emsync::store::Publish;
use serde_json::{Value, json};

use crate::support::author;
use crate::support::emdb::{Doc, Emdb, KEY, Logged, OWN, Setup, Write, asset_members};
use crate::support::fault::{Fault, Gate, Reply};
use crate::support::node::{Mirror, chain};

const CHANGES: &str = "cluster/receive/uploadchanges";
const OFFER: &str = "cluster/receive/receiveoriginalschanges";
const UPLOAD: &str = "module/asset/sync/uploadfile";
const MTIME: i64 = 1_772_201_000_123;

/// A node that pushes to a scripted EMDB, records, generated files and originals.
struct World {
    emdb: Emdb,
    node: Mirror,
}

impl World {
    async fn new() -> Self {
        let emdb = Emdb::start(Setup::default()).await;
        let node = Mirror::with(emdb.base(), KEY, Some(OWN), |config| {
            config.limits.attempts = 3;
            let peer = &mut config.peers[0];
            (peer.push, peer.push_originals) = (true, true);
        })
        .await;
        Self { emdb, node }
    }

    async fn push(&self) -> Outcome {
        push(&self.node, Scope::Changes).await
    }

    #[track_caller]
    fn well(&self) -> impl Future<Output = Outcome> {
        let caller = std::panic::Location::caller();
        async move {
            let outcome = self.push().await;
            if let Some(error) = &outcome.error {
                panic!("{caller}: {}", chain(error));
            }
            outcome
        }
    }

    fn asked(&self) -> usize {
        self.emdb.requests("").len()
    }

    fn source(&self, module: &str, id: &str) -> Option<Value> {
        self.emdb
            .edit(|content| content.doc(module, id).map(|doc| doc.source.clone()))
    }

    fn findings(&self) -> Vec<String> {
        self.node.monitor.seen().findings
    }
}

async fn push(node: &Mirror, scope: Scope) -> Outcome {
    pipeline::push_peer(
        &node.node,
        &node.peer(),
        &Options::of(scope),
        node.monitor.clone(),
        &node.shutdown,
    )
    .await
    .unwrap()
}

/// An asset made here, with its original and generated files, as an import would leave it.
async fn add_asset(
    node: &Mirror,
    id: &str,
    path: &str,
    original: &[u8],
    generated: &[(&str, &[u8])],
) {
    let members = json!({"id": id, "name": path, "filesize": original.len()});
    add_asset_with(node, id, path, members, (original, true), generated).await;
}

async fn add_asset_with(
    node: &Mirror,
    id: &str,
    path: &str,
    more: Value,
    (original, has_original): (&[u8], bool),
    generated: &[(&str, &[u8])],
) {
    let catalogue = &node.node.catalogue;
    let own = &node.node.config.node.cluster_id;
    let now = node.node.seams.clock.now();
    let mut members = asset_members(path, original.len(), MTIME);
    for (name, value) in more.as_object().unwrap() {
        members[name] = value.clone();
    }
    let key = RecordKey::new("asset", id).unwrap();
    let status = RecordStatus::saved_by_master(own, None, now, false);
    let record = stamped(members.as_object().unwrap().clone(), &key, &status);
    let mut batch = catalogue.batch().await.unwrap();
    batch.put_records(&[&record], "", now).await.unwrap();
    batch.commit().await.unwrap();
    let original = has_original.then(|| (FileKind::Original, path.to_owned(), original));
    let generated = generated.iter();
    let generated =
        generated.map(|(name, bytes)| (FileKind::Generated, format!("{path}/{name}"), *bytes));
    add_files(node, id, generated.chain(original)).await;
}

/// Files of an asset, published and noted.
async fn add_files<'a>(
    node: &Mirror,
    id: &str,
    files: impl Iterator<Item = (FileKind, String, &'a [u8])>,
) {
    let (node, now) = (&node.node, node.node.seams.clock.now());
    let key = RecordKey::new("asset", id).unwrap();
    let mut batch = node.catalogue.batch().await.unwrap();
    for (kind, path, bytes) in files {
        let file = MediaFile {
            kind,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: key.as_asset().unwrap(),
            size: bytes.len() as u64,
            modified: Timestamp::from_millis(MTIME),
            sha256: Sha256::of(bytes),
            md5: None,
            authored: kind == FileKind::Generated,
            fingerprint: None,
        };
        let mut staged = node.store.staging("test").unwrap().create().unwrap();
        staged.write_all(bytes).unwrap();
        let publish = Publish {
            content: staged.into(),
            kind,
            path: file.path.clone(),
            modified: file.modified,
            keep_replaced: true,
        };
        let published = node.store.publish(vec![publish]).pop().unwrap();
        published.unwrap();
        batch.put_file(&file, now).await.unwrap();
    }
    batch.commit().await.unwrap();
}

fn body(request: &Logged) -> Value {
    serde_json::from_slice(&request.bytes).unwrap()
}

/// How many records a page holds.
fn rows_of(request: &Logged) -> usize {
    body(request)["results"].as_array().unwrap().len()
}

/// The parts of a form: name, header lines, and content where it is text.
fn parts(request: &Logged) -> Vec<(String, String)> {
    let parts = request.parts.iter();
    parts
        .map(|part| (part.name().unwrap().to_owned(), part.text()))
        .collect()
}

fn members(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn records_and_files_arrive_as_emdb_sends_them_and_nothing_goes_twice() {
    let world = World::new().await;
    let rendition = [("image200x200.webp", &b"rendition"[..])];
    add_asset(
        &world.node,
        "A1",
        "Port/h\u{e9}.jpg",
        b"the original",
        &rendition,
    )
    .await;
    author::put(
        &world.node.node,
        ("category", "sea"),
        &json!({"name": "Sea"}),
    )
    .await
    .unwrap();
    let outcome = world.well().await;
    let report = outcome.report;
    assert_eq!(
        (report.records_sent, report.files_sent, report.bytes_sent),
        (2, 2, 21)
    );
    assert_eq!((report.refused, report.quarantined), (0, 0));

    let own = world.node.node.config.node.cluster_id.as_str();
    let sent = world.emdb.requests(CHANGES);
    assert_eq!(sent.len(), 1);
    let head = &sent[0].headers;
    assert_eq!(head["content-type"], "application/json");
    assert_eq!(head["x-token"], KEY);
    assert_eq!(head["x-tokentype"], "entermedia");
    let page = body(&sent[0]);
    assert_eq!(members(&page), ["generated", "response", "results"].into());
    let response = &page["response"];
    for (name, value) in [
        ("status", json!("ok")),
        ("totalhits", json!(2)),
        ("hitsperpage", json!(100)),
        ("page", json!(1)),
        ("pages", json!(1)),
        ("hitssessionid", json!("nullnullnull")),
        ("catalogid", json!("assets/catalog")),
        ("sincedate", json!("1970-01-01 00:00:00 +0000")),
    ] {
        assert_eq!(response[name], value, "{name}");
    }
    let generated = &page["generated"][0];
    assert_eq!(
        (&generated["id"], &generated["sourcepath"]),
        (&json!("A1"), &json!("Port/h\u{e9}.jpg"))
    );
    let file = &generated["files"][0];
    assert_eq!(file["size"], json!("9"), "a number ends EMDB's run");
    assert_eq!(file["lastmodified"], json!(MTIME));
    assert_eq!(file["mastereditclusterid"], json!(own));
    assert_eq!(generated["files"].as_array().unwrap().len(), 1);

    let offers = world.emdb.requests(OFFER);
    assert_eq!(offers.len(), 1);
    let offer = body(&offers[0]);
    let row = &offer["results"][0];
    assert_eq!(
        row["parentsourcepath"], "Port",
        "not the file itself (H-12)"
    );
    assert_eq!(row["files"][0]["filesize"], json!("12"));
    assert_eq!(row["files"][0]["filedate"], json!(MTIME));
    assert!(row["files"][0]["sha256"].is_string());

    let uploads = world.emdb.requests(UPLOAD);
    assert_eq!(uploads.len(), 2);
    for upload in &uploads {
        let length: usize = upload.headers["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, upload.bytes.len(), "the length is announced");
        assert!(!upload.headers.contains_key("transfer-encoding"));
        let file = upload.parts.last().unwrap();
        assert_eq!(
            file.headers,
            [
                "Content-Disposition: form-data; name=\"file.0\"; filename=\"upload.bin\"",
                "Content-Type: application/octect-stream; charset=UTF-8",
                "Content-Transfer-Encoding: binary",
            ]
        );
        for text in &upload.parts[..upload.parts.len() - 1] {
            assert_eq!(
                text.headers[1..],
                [
                    "Content-Type: text/plain; charset=UTF-8",
                    "Content-Transfer-Encoding: 8bit",
                ]
            );
        }
    }
    let of_kind = |kind: &str| {
        let upload = uploads
            .iter()
            .find(|upload| parts(upload)[0].1.contains(kind));
        parts(upload.unwrap())
    };
    let there = "/WEB-INF/data/finder/catalog/generated/Port/h\u{e9}.jpg/image200x200.webp";
    let pairs = |texts: &[(&str, &str)]| -> Vec<(String, String)> {
        let pairs = texts.iter();
        pairs
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    };
    let (digest, digest_of_original) = (
        Sha256::of(b"rendition").to_string(),
        Sha256::of(b"the original").to_string(),
    );
    assert_eq!(
        of_kind("/generated/"),
        pairs(&[
            ("savepath", there),
            ("filename", "image200x200.webp"),
            ("catalogid", "assets/catalog"),
            ("localpath", there),
            ("asset", "A1"),
            ("sha256", &digest),
            ("file.0", "rendition"),
        ])
    );
    assert_eq!(
        of_kind("/originals/"),
        pairs(&[
            (
                "savepath",
                "/WEB-INF/data/finder/catalog/originals/Port/h\u{e9}.jpg"
            ),
            ("catalogid", "assets/catalog"),
            (
                "path",
                "/WEB-INF/data/assets/catalog/originals/Port/h\u{e9}.jpg"
            ),
            ("asset", "A1"),
            ("sha256", &digest_of_original),
            ("file.0", "the original"),
        ])
    );

    world.emdb.edit(|content| {
        assert_eq!(
            &content.originals["Port/h\u{e9}.jpg"].bytes[..],
            b"the original"
        );
        let generated = &content.generated["Port/h\u{e9}.jpg/image200x200.webp"];
        assert_eq!(&generated.bytes[..], b"rendition");
        assert!(content.elsewhere.is_empty());
    });
    let key = RecordKey::new("category", "sea").unwrap();
    let stored = world
        .node
        .node
        .catalogue
        .record(&key)
        .await
        .unwrap()
        .unwrap()
        .record
        .source;
    let source = world.source("category", "sea").unwrap();
    assert_eq!(source, serde_json::from_str::<Value>(&stored).unwrap());

    // I5, and nobody is asked for it.
    let asked = world.asked();
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.bytes_sent),
        (0, 0)
    );
    assert_eq!(world.asked(), asked);
    // Everything again brings records, and no file.
    let outcome = push(&world.node, Scope::Everything).await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.files_sent),
        (2, 0)
    );
}

#[tokio::test]
async fn what_came_from_the_peer_stays_here_until_it_is_edited() {
    let world = World::new().await;
    let noon = Timestamp::from_millis(world.emdb.now().as_millis() - 3_600_000);
    world.emdb.edit(|content| {
        content.record(Doc::new(
            "category",
            "sea",
            OWN,
            noon,
            json!({"name": "Sea"}),
        ));
        content.record(Doc::new(
            "category",
            "far",
            "third",
            noon,
            json!({"name": "Far"}),
        ));
        content.record(Doc::new("userprofile", "admin", OWN, noon, json!({})));
        let asset = asset_members("a.bin", 3, MTIME);
        content.record(Doc::new("asset", "A1", OWN, noon, asset));
        content.original("a.bin", &b"abc"[..], MTIME);
        content.generated("a.bin/s.webp", &b"s"[..], MTIME);
    });
    world.node.seed().await;
    let asked = world.asked();
    world.well().await;
    assert_eq!(world.asked(), asked, "I8: no echo");

    // Edits of theirs go back, without the files that are theirs.
    for edited in [
        ("category", "sea"),
        ("asset", "A1"),
        ("userprofile", "admin"),
    ] {
        author::put(&world.node.node, edited, &json!({"note": "ours"}))
            .await
            .unwrap();
    }
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.files_sent),
        (2, 0)
    );
    assert!(world.emdb.requests(OFFER).is_empty());
    assert_eq!(
        body(&world.emdb.requests(CHANGES)[0])["generated"][0]["files"],
        json!([])
    );
    let own = world.node.node.config.node.cluster_id.as_str();
    let status = &world.source("category", "sea").unwrap()["emrecordstatus"];
    assert_eq!(
        (
            &status["mastereditclusterid"],
            &status["lastmodifiedclusterid"]
        ),
        (&json!(OWN), &json!(own))
    );
    assert!(world.source("userprofile", "admin").unwrap()["note"].is_null());
    // Their master is known to have them.
    for (module, id, pushed) in [("category", "sea", true), ("category", "far", false)] {
        let key = RecordKey::new(module, id).unwrap();
        let stored = world
            .node
            .node
            .catalogue
            .record(&key)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.version().pushed, pushed, "{key}");
    }
    // And the next pull brings nothing back.
    let outcome = world.node.sync().await;
    assert_eq!(outcome.report.records, 0);
    assert_eq!(
        world.node.node.catalogue.count_conflicts().await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_tombstone_is_a_record_like_any_other() {
    let world = World::new().await;
    add_asset(&world.node, "A1", "a.bin", b"abc", &[("s.webp", b"s")]).await;
    world.well().await;
    author::delete(&world.node.node, ("asset", "A1"))
        .await
        .unwrap();
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.refused),
        (1, 0)
    );
    let source = world.source("asset", "A1").unwrap();
    assert_eq!(source["emrecordstatus"]["recorddeleted"], json!(true));
    let page = body(world.emdb.requests(CHANGES).last().unwrap());
    assert_eq!(page["generated"][0]["files"], json!([]));
    assert_eq!(
        world.emdb.requests(OFFER).len(),
        1,
        "it has no originals to offer"
    );
}

#[tokio::test]
async fn lost_answers_are_asked_for_again_and_leave_everything_once() {
    let world = World::new().await;
    add_asset(&world.node, "A1", "a.bin", b"abc", &[("s.webp", b"small")]).await;
    for path in [CHANGES, OFFER, UPLOAD] {
        world.emdb.faults().once(path, 1, Fault::Reset);
    }
    world
        .emdb
        .faults()
        .once(UPLOAD, 2, Fault::Unavailable(Some(0)));
    let outcome = world.well().await;
    assert_eq!(outcome.report.files_sent, 2);
    world.emdb.edit(|content| {
        assert_eq!((content.originals.len(), content.generated.len()), (1, 1));
        assert_eq!(&content.generated["a.bin/s.webp"].bytes[..], b"small");
    });
    let asked = world.asked();
    world.well().await;
    assert_eq!(world.asked(), asked);
}

#[tokio::test]
async fn a_run_that_dies_between_page_and_upload_leaves_the_upload_to_the_next() {
    let World { emdb, node } = World::new().await;
    add_asset(&node, "A1", "a.bin", b"abc", &[("s.webp", b"small")]).await;
    let gate = Gate::default();
    emdb.faults().always(UPLOAD, Fault::Stall(0, gate.clone()));
    let node = Arc::new(node);
    {
        let running = push(&node, Scope::Changes);
        tokio::pin!(running);
        tokio::select! {
            () = gate.reached() => {}
            _ = &mut running => panic!("it waits for an answer that does not come"),
        }
        // Dropped where it stands, its jobs claimed.
    }
    let claimed = node.node.catalogue.upload_counts(None).await.unwrap();
    assert_eq!(claimed.open, 2);
    emdb.faults().clear();
    emdb.edit(|content| {
        content.generated.clear();
        content.originals.clear();
    });
    let (pages, before) = (emdb.requests(CHANGES).len(), emdb.requests(OFFER).len());
    let outcome = push(&node, Scope::Changes).await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.report.files_sent, 2);
    let after = (emdb.requests(CHANGES).len(), emdb.requests(OFFER).len());
    assert_eq!(after, (pages, before), "the page was taken by then");
    emdb.edit(|content| {
        assert_eq!(&content.originals["a.bin"].bytes[..], b"abc");
        assert_eq!(&content.generated["a.bin/s.webp"].bytes[..], b"small");
    });
}

#[tokio::test]
async fn a_push_that_is_interrupted_goes_on_where_it_was() {
    let world = World::new().await;
    for n in 0..250 {
        let id = format!("c{n:03}");
        author::put(&world.node.node, ("category", &id), &json!({"name": id}))
            .await
            .unwrap();
    }
    world
        .emdb
        .faults()
        .from(CHANGES, 2, Fault::Unavailable(None));
    let outcome = world.push().await;
    assert_eq!(outcome.report.records_sent, 100);
    let error = outcome.error.expect("the second page is not taken");
    assert_eq!(error.class(), emsync::error::Class::Transient);
    world.emdb.faults().clear();
    let before = world.emdb.requests(CHANGES).len();
    author::put(
        &world.node.node,
        ("category", "later"),
        &json!({"name": "later"}),
    )
    .await
    .unwrap();
    let outcome = world.well().await;
    assert_eq!(
        outcome.report.records_sent, 151,
        "the rest, and what came since"
    );
    let pages = &world.emdb.requests(CHANGES)[before..];
    assert_eq!(pages.iter().map(rows_of).collect::<Vec<_>>(), [100, 50, 1]);
    assert_eq!(outcome.report.refused, 0);
}

#[tokio::test]
async fn one_bad_record_is_set_aside_and_holds_up_no_other() {
    let world = World::new().await;
    for n in 0..30 {
        let id = format!("c{n:02}");
        author::put(&world.node.node, ("category", &id), &json!({"name": id}))
            .await
            .unwrap();
    }
    let bad = json!({"filesize": "many"});
    add_asset_with(&world.node, "BAD", "bad.bin", bad, (b"b", true), &[]).await;
    add_asset(&world.node, "GOOD", "good.bin", b"good", &[]).await;
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.quarantined),
        (31, 1)
    );
    assert!(world.source("category", "c29").is_some() && world.source("asset", "GOOD").is_some());
    assert!(world.source("asset", "BAD").is_none());
    let aside = world.node.set_aside().await;
    assert!(
        aside[0].starts_with("push:asset/BAD: ") && aside[0].contains("HTTP 500"),
        "{aside:?}"
    );
    // Halved, not tried one by one: 32 records take 6 levels, of two pages each but the first.
    let pages = world.emdb.requests(CHANGES);
    let sizes = pages.iter().map(rows_of).collect::<Vec<_>>();
    assert!(pages.len() <= 11, "{sizes:?}");
    let pages = pages.len();

    // A later run tries it alone, and a mended one goes as any other.
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.quarantined),
        (0, 1)
    );
    assert_eq!(world.emdb.requests(CHANGES).len(), pages + 1);
    add_asset(&world.node, "BAD", "bad.bin", b"b", &[]).await;
    let outcome = world.well().await;
    assert_eq!(
        (
            outcome.report.quarantined,
            world.node.set_aside().await.len()
        ),
        (0, 0)
    );
    assert!(world.source("asset", "BAD").is_some());
}

#[tokio::test]
async fn a_peer_that_rejects_everything_ends_the_run_and_loses_nothing() {
    let world = World::new().await;
    for n in 0..40 {
        let id = format!("c{n:02}");
        author::put(&world.node.node, ("category", &id), &json!({"name": id}))
            .await
            .unwrap();
    }
    world.emdb.faults().always(
        CHANGES,
        Fault::Answer(Reply::plain(500, "text/html", "down")),
    );
    let outcome = world.push().await;
    let error = outcome.error.expect("the peer is in trouble");
    assert_eq!(error.class(), emsync::error::Class::Transient);
    world.emdb.faults().clear();
    let outcome = world.well().await;
    assert_eq!(outcome.report.quarantined, 0);
    for n in 0..40 {
        assert!(world.source("category", &format!("c{n:02}")).is_some());
    }
}

#[tokio::test]
async fn wishes_for_what_was_not_offered_are_told_and_nothing_is_sent() {
    let world = World::new().await;
    add_asset(&world.node, "A1", "a.bin", b"abc", &[("s.webp", b"small")]).await;
    add_asset(&world.node, "A2", "b.bin", b"def", &[("s.webp", b"other")]).await;
    world.well().await;
    let uploads = world.emdb.requests(UPLOAD).len();
    // From now on only A1 is on the page, and everything else is wished for.
    let inside = "/WEB-INF/data/finder/catalog";
    let wishes: Vec<Value> = [
        "/etc/passwd".to_owned(),
        "../../etc/passwd".to_owned(),
        format!("{inside}/generated/../../../../../etc/passwd"),
        format!("{inside}/generated/b.bin/s.webp"),
        format!("{inside}/originals/b.bin"),
        "/WEB-INF/data/other/catalog/generated/a.bin/s.webp".to_owned(),
        "/WEB-INF/encrypt.properties".to_owned(),
    ]
    .map(|path| json!({"filename": "x", "localpath": path, "lastmodified": 0}))
    .to_vec();
    let wanted = json!({"catalogid": "finder/catalog", "fileuploads": wishes}).to_string();
    world.emdb.faults().always(
        CHANGES,
        Fault::Answer(Reply::plain(200, "text/json", &wanted)),
    );
    let originals =
        json!({"response": {"status": "ok", "catalogid": "finder/catalog"}, "results": [
            {"path": "/etc/shadow"},
            {"path": "/WEB-INF/data/assets/catalog/originals/b.bin"},
            {"path": "/WEB-INF/data/assets/catalog/originals/../../emsync.toml"},
            {"path": "/WEB-INF/data/finder/catalog/originals/a.bin"},
        ]})
        .to_string();
    world.emdb.faults().always(
        OFFER,
        Fault::Answer(Reply::plain(200, "text/json", &originals)),
    );
    author::put(&world.node.node, ("asset", "A1"), &json!({"note": "x"}))
        .await
        .unwrap();
    let before = world.findings().len();
    world.push().await;
    assert_eq!(world.emdb.requests(UPLOAD).len(), uploads, "not one");
    let refused = world.findings()[before..]
        .iter()
        .filter(|finding| finding.contains("asked for") && finding.contains("not sent"))
        .count();
    assert_eq!(refused, 11, "{:#?}", world.findings());
    assert_eq!(
        world
            .node
            .node
            .catalogue
            .upload_counts(None)
            .await
            .unwrap()
            .open,
        0
    );
}

#[tokio::test]
async fn what_is_not_on_disk_as_recorded_is_not_offered() {
    let world = World::new().await;
    let files = [
        ("gone.webp", &b"gone"[..]),
        ("cut.webp", b"whole"),
        ("fine.webp", b"fine"),
    ];
    add_asset(&world.node, "A1", "a.bin", b"abc", &files).await;
    let path = |name: &str| {
        world
            .node
            .path(FileKind::Generated, &format!("a.bin/{name}"))
    };
    std::fs::remove_file(path("gone.webp")).unwrap();
    std::fs::write(path("cut.webp"), b"who").unwrap();
    std::fs::remove_file(world.node.path(FileKind::Original, "a.bin")).unwrap();
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.files_sent, outcome.report.bytes_sent),
        (1, 4)
    );
    assert!(world.emdb.requests(OFFER).is_empty());
    let listed = body(&world.emdb.requests(CHANGES)[0])["generated"][0]["files"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let told = world
        .findings()
        .iter()
        .filter(|text| text.contains("not offered"))
        .count();
    assert_eq!(told, 3);
}

#[tokio::test]
async fn bytes_that_rotted_never_arrive() {
    let world = World::new().await;
    add_asset(&world.node, "A1", "a.bin", b"sound", &[]).await;
    std::fs::write(world.node.path(FileKind::Original, "a.bin"), b"wrong").unwrap();
    let outcome = world.push().await;
    assert_eq!(
        (outcome.report.files_sent, outcome.report.quarantined),
        (0, 1)
    );
    assert!(world.emdb.edit(|content| content.originals.is_empty()));
    let row: FileRow = world.node.row(FileKind::Original, "a.bin").await.unwrap();
    assert!(row.is_damaged(), "and it is known now");
    let told = world.findings();
    assert!(
        told.iter()
            .any(|text| text.contains("a.bin") && text.contains("SHA-256")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_key_that_may_not_write_is_told_which_right_it_needs() {
    for write in [Write::Redirected, Write::Forbidden] {
        let world = World::new().await;
        author::put(
            &world.node.node,
            ("category", "sea"),
            &json!({"name": "Sea"}),
        )
        .await
        .unwrap();
        world.emdb.write(write);
        let outcome = world.push().await;
        let error = anyhow::Error::new(outcome.error.expect("it is refused"));
        assert_eq!(ExitCode::of(&error), ExitCode::KeyRefused);
        let text = format!("{error:#}");
        assert!(
            text.contains("api-load-data") && text.contains("--write"),
            "{text}"
        );
        assert_eq!(world.emdb.requests(CHANGES).len(), 1, "once is enough");
        world.emdb.write(Write::Allowed);
        assert_eq!(world.well().await.report.records_sent, 1);
    }
}

#[tokio::test]
async fn an_edit_that_the_peer_keeps_its_own_version_of_is_told_and_decided_by_the_next_pull() {
    let world = World::new().await;
    let then = Timestamp::from_millis(world.emdb.now().as_millis() - 3_600_000);
    world.emdb.edit(|content| {
        content.record(Doc::new(
            "category",
            "sea",
            OWN,
            then,
            json!({"name": "Sea"}),
        ));
    });
    world.node.seed().await;
    author::put(
        &world.node.node,
        ("category", "sea"),
        &json!({"name": "Ocean"}),
    )
    .await
    .unwrap();
    // Meanwhile its master saved it again, later.
    let later = Timestamp::from_millis(world.emdb.now().as_millis() + 5_000);
    world.emdb.edit(|content| {
        content.record(Doc::new(
            "category",
            "sea",
            OWN,
            later,
            json!({"name": "Mer"}),
        ));
    });
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.refused),
        (1, 1)
    );
    let told = world.findings();
    assert!(
        told.iter()
            .any(|text| text.contains("category/sea") && text.contains(OWN)),
        "{told:?}"
    );
    world.node.sync().await;
    let key = RecordKey::new("category", "sea").unwrap();
    let stored = world
        .node
        .node
        .catalogue
        .record(&key)
        .await
        .unwrap()
        .unwrap();
    assert!(stored.record.source.contains("Mer"));
    assert_eq!(
        world.node.node.catalogue.count_conflicts().await.unwrap(),
        1,
        "the loser is kept"
    );
}

#[tokio::test]
async fn originals_that_go_along_later_are_offered_for_what_was_sent_before() {
    let mut world = World::new().await;
    world
        .node
        .configure(|config| config.peers[0].push_originals = false);
    add_asset(&world.node, "A1", "a.bin", b"abc", &[]).await;
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.files_sent),
        (1, 0)
    );
    world
        .node
        .configure(|config| config.peers[0].push_originals = true);
    let outcome = world.well().await;
    assert_eq!(
        (outcome.report.records_sent, outcome.report.files_sent),
        (1, 1)
    );
    world
        .emdb
        .edit(|content| assert_eq!(&content.originals["a.bin"].bytes[..], b"abc"));
}

#[tokio::test]
async fn a_wrong_node_gets_nothing() {
    let world = World::new().await;
    author::put(
        &world.node.node,
        ("category", "sea"),
        &json!({"name": "Sea"}),
    )
    .await
    .unwrap();
    world.emdb.set_clock_offset(3_600_000);
    let outcome = world.push().await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Push(push::Error::Greeting(
                emsync::greeting::Error::Skew { .. }
            )))
        ),
        "{:?}",
        outcome.error
    );
    assert!(world.emdb.requests(CHANGES).is_empty());
}

#[tokio::test]
async fn every_member_of_a_folder_goes_and_what_emdb_keeps_for_itself_does_not() {
    let world = World::new().await;
    add_asset_with(
        &world.node,
        "F1",
        "Set",
        json!({"isfolder": true, "primaryfile": "b.bin"}),
        (b"", false),
        &[],
    )
    .await;
    let files = ["Set/a.bin", "Set/x/b.bin", "Set/.versions/a.bin"];
    let files = files.map(|path| (FileKind::Original, path.to_owned(), path.as_bytes()));
    add_files(&world.node, "F1", files.into_iter()).await;
    let outcome = world.well().await;
    assert_eq!(outcome.report.files_sent, 2);
    let offer = body(&world.emdb.requests(OFFER)[0]);
    let row = &offer["results"][0];
    assert_eq!(
        (
            &row["isfolder"],
            &row["sourcepath"],
            &row["parentsourcepath"]
        ),
        (&json!(true), &json!("Set"), &json!("Set"))
    );
    world.emdb.edit(|content| {
        let there: Vec<_> = content.originals.keys().collect();
        assert_eq!(there, ["Set/a.bin", "Set/x/b.bin"]);
    });
}

#[tokio::test]
async fn what_is_sent_keeps_to_the_bandwidth_and_every_piece_of_a_large_file_arrives() {
    let mut world = World::new().await;
    let large: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    add_asset(&world.node, "A1", "large.bin", &large, &[]).await;
    world
        .node
        .configure(|config| config.limits.bwlimit = "1M:off".parse().unwrap());
    let throttle = emsync::throttle::Throttle::new(
        &world.node.node.config.limits,
        world.node.node.seams.clock.clone(),
    );
    world.node.node.throttle = throttle;
    let started = std::time::Instant::now();
    let outcome = world.well().await;
    assert_eq!(outcome.report.bytes_sent, 700_000);
    // A tenth of a second's worth goes at once, the rest at a MiB a second.
    let least = std::time::Duration::from_millis(550);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    world
        .emdb
        .edit(|content| assert_eq!(content.originals["large.bin"].bytes, large));
}

#[tokio::test]
async fn asked_to_end_it_lets_go_of_what_is_under_way_and_the_next_run_sends_it() {
    let mut world = World::new().await;
    let files = [("s.webp", &b"small"[..]), ("m.webp", b"medium")];
    add_asset(&world.node, "A1", "a.bin", b"abc", &files).await;
    let gate = Gate::default();
    let stall = Fault::Stall(0, gate.clone());
    world.emdb.faults().always(UPLOAD, stall);
    let (outcome, ()) = tokio::join!(world.push(), async {
        gate.reached().await;
        world.node.shutdown.request();
    });
    let error = outcome.error.expect("it was interrupted");
    assert_eq!(error.class(), emsync::error::Class::Cancelled);
    let left = world.node.node.catalogue.upload_counts(None).await.unwrap();
    assert_eq!((left.open, left.quarantined), (3, 0));
    world.emdb.faults().clear();
    world.node = world.node.restarted();
    world.well().await;
    let left = world.node.node.catalogue.upload_counts(None).await.unwrap();
    assert_eq!((left.open, left.quarantined), (0, 0));
    world
        .emdb
        .edit(|content| assert_eq!(content.generated.len(), 2));
}

#[tokio::test]
async fn a_limit_of_bytes_ends_a_push_and_the_next_goes_on() {
    let world = World::new().await;
    for n in 0..6 {
        let (id, path) = (format!("A{n}"), format!("{n}.bin"));
        add_asset(&world.node, &id, &path, b"0123456789", &[]).await;
    }
    let mut options = Options::of(Scope::Changes);
    options.cutoff = Arc::new(emsync::pull::Cutoff::new(Some(25), None));
    let (monitor, stop) = (world.node.monitor.clone(), &world.node.shutdown);
    let (node, peer) = (&world.node.node, world.node.peer());
    let pushed = pipeline::push_peer(node, &peer, &options, monitor, stop).await;
    let outcome = pushed.unwrap();
    let error = anyhow::Error::new(outcome.error.expect("the limit is reached"));
    assert_eq!(ExitCode::of(&error), ExitCode::TransferLimit, "{error:#}");
    assert_eq!(
        (outcome.report.files_sent, outcome.report.bytes_sent),
        (2, 20)
    );
    let sent = world.emdb.edit(|content| content.originals.len());
    assert_eq!(sent, 2, "what was allowed came to its end");
    world.well().await;
    assert_eq!(world.emdb.edit(|content| content.originals.len()), 6);
}
