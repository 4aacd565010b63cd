//! A node near its readers: what caches hear, who may have what, files that are fetched when somebody reads them, and files that go to
//! make room.

use std::sync::Arc;
use std::time::Duration;

use emsync::edge::{Edge, Evicted, Patience, Room};
use emsync::model::{FileKind, Hasher, MediaFile, MediaPath, RecordKey, Sha256, Timestamp};
use emsync::node::Node;
use emsync::protocol::record::stamped;
use emsync::protocol::wire_path;
use emsync::pull::metadata::Scope;
use emsync::serve::{self, Settings, Sharing};
use emsync::shutdown::Shutdown;
use emsync::store::Publish;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::emdb::{Doc, Emdb, KEY, OWN, Setup, asset_members};
use crate::support::fault::{Fault, Gate, Reply};
use crate::support::liar::Liar;
use crate::support::master::Master;
use crate::support::node::Mirror;

const PATH: &str = "Port/a.bin";
const SMALL: &str = "Port/a.bin/image200x200.webp";

/// Short, since what fails in these tests is scripted; and long enough that nothing is forgotten in between.
const PATIENCE: Patience = Patience {
    wait: Duration::from_secs(60),
    silence: Duration::from_secs(30),
    file_rest: Duration::from_secs(3_600),
    peer_rest: Duration::from_secs(3_600),
};

/// A mirror that is served to readers.
struct Cdn {
    base: String,
    key: String,
    edge: Edge,
    client: reqwest::Client,
    stop: Shutdown,
    served: JoinHandle<Result<(), serve::Error>>,
}

/// What a reader hears.
struct Heard {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Heard {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
    }
}

impl Cdn {
    async fn serve(node: &Node, key: &str, patience: Patience, room: Option<Room>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/assets", listener.local_addr().unwrap());
        let settings = Settings {
            node: node.config.node.cluster_id.clone(),
            site: node.config.node.site.clone(),
            catalog: node.config.node.catalog.clone(),
            relay_tables: Vec::new(),
            per_page: 100,
            margin: Duration::from_secs(60),
        };
        let stop = Shutdown::new();
        let edge = Edge::open(node, (patience, room), &stop).await.unwrap();
        let http = serve::Node::new(
            settings,
            node.catalogue.clone(),
            node.store.clone(),
            node.seams.clone(),
            node.throttle.clone(),
        )
        .sharing(Sharing {
            public_renditions: true,
            max_age: Duration::from_secs(3_600),
            stale: Duration::from_secs(86_400),
        })
        .fetching(edge.clone());
        Self {
            base,
            key: key.to_owned(),
            edge,
            client: reqwest::Client::builder().gzip(false).build().unwrap(),
            served: tokio::spawn(serve::run(listener, http, stop.clone())),
            stop,
        }
    }

    fn url(&self, kind: FileKind, path: &str) -> String {
        let path = MediaPath::new(path).unwrap();
        let below = match kind {
            FileKind::Original => wire_path::original_url(&path),
            FileKind::Generated => wire_path::generated_url(&path),
        };
        format!("{}/{below}", self.base)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Heard {
        let answer = request.send().await.unwrap();
        Heard {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .header("x-token", &self.key)
            .header("x-tokentype", "entermedia")
    }

    /// A file, for somebody with a key.
    async fn get(&self, kind: FileKind, path: &str) -> Heard {
        let request = self.client.get(self.url(kind, path));
        self.ask(self.with_key(request)).await
    }

    /// A generated file, for anybody.
    async fn get_without_key(&self, path: &str) -> Heard {
        let request = self.client.get(self.url(FileKind::Generated, path));
        self.ask(request).await
    }

    async fn end(self) {
        self.stop.request();
        self.served.await.unwrap().unwrap();
    }
}

/// Publishes a generated file of an asset of the master, which is listed again then.
async fn add_rendition(node: &Node, asset: &str, path: &str, content: &[u8]) -> MediaFile {
    let file = MediaFile {
        kind: FileKind::Generated,
        path: MediaPath::new(path).unwrap(),
        place: None,
        asset: emsync::model::AssetId::new(asset).unwrap(),
        size: content.len() as u64,
        modified: Timestamp::from_millis(1_772_201_000_000),
        sha256: Sha256::of(content),
        md5: None,
        authored: false,
        fingerprint: None,
    };
    let mut staged = node.store.staging("test").unwrap().create().unwrap();
    staged.write_all(content).unwrap();
    let publish = Publish {
        content: staged.into(),
        kind: file.kind,
        path: file.path.clone(),
        modified: file.modified,
        keep_replaced: false,
    };
    node.store.publish(vec![publish]).pop().unwrap().unwrap();
    let mut batch = node.catalogue.batch().await.unwrap();
    let now = node.seams.clock.now();
    batch.put_file(&file, now).await.unwrap();
    batch.commit().await.unwrap();
    file
}

/// Adds members to the record of an asset of the master.
async fn edit(master: &Master, id: &str, members: Value) {
    let key = RecordKey::new("asset", id).unwrap();
    let stored = master.node.catalogue.record(&key).await.unwrap().unwrap();
    let mut all: Value = serde_json::from_str(&stored.record.source).unwrap();
    let all = all.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    let now = master.node.seams.clock.now();
    let record = stamped(all.clone(), &key, &master.status(now));
    let mut batch = master.node.catalogue.batch().await.unwrap();
    batch.put_records(&[&record], "", now).await.unwrap();
    batch.commit().await.unwrap();
}

/// A master with one approved asset that has an original and a rendition, and a liar in front of it.
async fn master() -> (Master, Liar) {
    let master = Master::new(100).await;
    master.add("a1", PATH, b"the original").await;
    add_rendition(&master.node, "a1", SMALL, b"a small picture").await;
    edit(&master, "a1", json!({ "editstatus": "6" })).await;
    let liar = Liar::before(&master.url).await;
    (master, liar)
}

/// A mirror that knows what its master lists, and has none of its files: it was ended while the first of them stalled.
async fn cold(master: &Master, liar: &Liar) -> Mirror {
    let mirror = Mirror::of(&liar.base, &master.key, None).await;
    let gate = Gate::default();
    liar.faults()
        .always("/asset/downloads/", Fault::Stall(0, gate.clone()));
    let run = mirror.run(Scope::Everything);
    let end = async {
        gate.reached().await;
        mirror.shutdown.request();
    };
    tokio::join!(run, end);
    liar.faults().clear();
    gate.open();
    let mirror = mirror.restarted();
    assert_eq!(mirror.read(FileKind::Original, PATH), None);
    mirror
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_hear_what_they_may_keep_and_for_how_long() {
    let (master, _liar) = master().await;
    let mirror = master.mirror().await;
    mirror.seed().await;
    let cdn = Cdn::serve(&mirror.node, "", PATIENCE, None).await;
    let first = cdn.get_without_key(SMALL).await;
    assert_eq!(
        (first.status, &first.body[..]),
        (200, &b"a small picture"[..])
    );
    let tag = format!("\"{}\"", Sha256::of(b"a small picture"));
    for (name, value) in [
        (
            "cache-control",
            "public, max-age=3600, stale-while-revalidate=86400",
        ),
        ("vary", "x-emsync-asset"),
        ("etag", tag.as_str()),
        ("last-modified", "Fri, 27 Feb 2026 14:03:20 GMT"),
        ("accept-ranges", "bytes"),
        ("content-type", "image/webp"),
        ("x-content-type-options", "nosniff"),
        ("content-length", "15"),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    let url = cdn.url(FileKind::Generated, SMALL);
    for (header, value, status) in [
        ("if-none-match", tag.as_str(), 304),
        ("if-none-match", "\"another\"", 200),
        ("if-modified-since", first.header("last-modified"), 304),
        ("range", "bytes=2-6", 206),
        ("range", "bytes=15-", 416),
    ] {
        let request = cdn.client.get(&url).header(header, value);
        let heard = cdn.ask(request).await;
        assert_eq!(heard.status, status, "{header}: {value}");
        for kept in ["cache-control", "vary", "etag"] {
            assert_eq!(heard.header(kept), first.header(kept), "{header}: {value}");
        }
    }
    let head = cdn.ask(cdn.client.head(&url)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "15");
    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anybody_may_have_the_renditions_that_nothing_restricts_and_no_original() {
    let (master, _liar) = master().await;
    for (id, members) in [
        ("open", json!({ "editstatus": "6" })),
        ("new", json!({ "editstatus": "1" })),
        ("marked", json!({ "editstatus": "7" })),
        (
            "locked",
            json!({ "editstatus": "6", "securityenabled": true }),
        ),
        (
            "group",
            json!({ "editstatus": "6", "viewgroups": ["press"] }),
        ),
    ] {
        let path = format!("{id}.bin");
        master.add(id, &path, id.as_bytes()).await;
        add_rendition(
            &master.node,
            id,
            &format!("{path}/image200x200.webp"),
            id.as_bytes(),
        )
        .await;
        edit(&master, id, members).await;
    }
    let mirror = master.mirror().await;
    mirror.seed().await;
    let (row, key) = serve::make_key(
        &mirror.node.seams,
        "reader",
        emsync::catalogue::Scope::Read,
        mirror.node.seams.clock.now(),
    );
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    batch.put_key(&row).await.unwrap();
    batch.commit().await.unwrap();
    let cdn = Cdn::serve(&mirror.node, &key, PATIENCE, None).await;
    for id in ["open", "new", "marked", "locked", "group"] {
        let path = format!("{id}.bin/image200x200.webp");
        let (heard, is_open) = (cdn.get_without_key(&path).await, id == "open");
        assert_eq!(heard.status, if is_open { 200 } else { 404 }, "{id}");
        assert_eq!(heard.body, if is_open { id.as_bytes() } else { b"" });
        let holder = cdn.get(FileKind::Generated, &path).await;
        assert_eq!((holder.status, &holder.body[..]), (200, id.as_bytes()));
        let cache = holder.header("cache-control");
        assert_eq!(cache.starts_with("public"), is_open, "{id}: {cache}");
    }
    let request = cdn.client.get(cdn.url(FileKind::Original, PATH));
    let heard = cdn.ask(request).await;
    assert_eq!(
        (heard.status, heard.header("cache-control")),
        (403, "no-store")
    );
    let original = cdn.get(FileKind::Original, PATH).await;
    assert_eq!(
        (original.status, &original.body[..]),
        (200, &b"the original"[..])
    );
    assert_eq!(
        original.header("cache-control"),
        "private, max-age=0, must-revalidate"
    );
    assert!(original.header("vary").contains("x-token"));
    // Who shows a key that is none hears that, where it matters.
    let wrong = cdn
        .client
        .get(cdn.url(FileKind::Generated, "new.bin/image200x200.webp"));
    let wrong = wrong
        .header("x-token", "emsync_x_y")
        .header("x-tokentype", "entermedia");
    assert_eq!(cdn.ask(wrong).await.status, 403);
    assert_eq!(
        cdn.get_without_key("none.bin/image200x200.webp")
            .await
            .status,
        404
    );
    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_read_a_cold_file_it_is_fetched_once() {
    let (master, liar) = master().await;
    let mirror = cold(&master, &liar).await;
    let before = liar.fetched(SMALL);
    let cdn = Arc::new(Cdn::serve(&mirror.node, "", PATIENCE, None).await);
    let gate = Gate::default();
    liar.faults().once(SMALL, 1, Fault::Stall(4, gate.clone()));
    let readers: Vec<_> = (0..256)
        .map(|_| {
            let cdn = Arc::clone(&cdn);
            tokio::spawn(async move { cdn.get_without_key(SMALL).await })
        })
        .collect();
    gate.reached().await;
    gate.open();
    for reader in readers {
        let heard = reader.await.unwrap();
        assert_eq!(
            (heard.status, &heard.body[..]),
            (200, &b"a small picture"[..])
        );
    }
    assert_eq!(liar.fetched(SMALL) - before, 1);
    let outcome = mirror.sync().await;
    assert_eq!(
        outcome.report.files_written, 1,
        "the original was left to the run"
    );
    mirror.assert_in_sync().await;
    Arc::into_inner(cdn).unwrap().end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_other_bytes_than_were_listed_and_what_fails_is_not_hammered() {
    for (fault, status) in [
        (Fault::WrongBytes, 502),
        (Fault::ShortBody(7), 502),
        (Fault::CutAfter(7), 502),
        (Fault::LoginPage, 502),
        (Fault::Reset, 502),
        (Fault::Stall(7, Gate::default()), 504),
        (Fault::Unavailable(Some(5)), 503),
        (Fault::Answer(Reply::plain(404, "text/plain", "")), 404),
    ] {
        let (master, liar) = master().await;
        let mirror = cold(&master, &liar).await;
        let patience = Patience {
            silence: Duration::from_millis(300),
            ..PATIENCE
        };
        let cdn = Cdn::serve(&mirror.node, "", patience, None).await;
        let before = liar.fetched(SMALL);
        liar.faults().always(SMALL, fault.clone());
        for _ in 0..3 {
            let heard = cdn.get_without_key(SMALL).await;
            assert_eq!((heard.status, heard.body.len()), (status, 0), "{fault:?}");
            assert_eq!(heard.header("cache-control"), "no-store");
            let retry = heard.headers.get("retry-after");
            assert_eq!(retry.is_some(), status != 404, "{fault:?}");
        }
        assert_eq!(liar.fetched(SMALL) - before, 1, "{fault:?}");
        assert_eq!(mirror.read(FileKind::Generated, SMALL), None, "{fault:?}");
        assert!(mirror.row(FileKind::Generated, SMALL).await.is_none());
        cdn.end().await;
        // The wish is still there: once the fault is gone a run brings the file.
        liar.faults().clear();
        mirror.sync().await;
        mirror.assert_in_sync().await;
        master.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_away_rests_and_a_file_that_is_wrong_keeps_nobody_from_the_others() {
    let (master, liar) = master().await;
    master.add("a2", "Port/b.bin", b"another").await;
    let mirror = cold(&master, &liar).await;
    let (row, key) = serve::make_key(
        &mirror.node.seams,
        "reader",
        emsync::catalogue::Scope::Read,
        mirror.node.seams.clock.now(),
    );
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    batch.put_key(&row).await.unwrap();
    batch.commit().await.unwrap();
    let cdn = Cdn::serve(&mirror.node, &key, PATIENCE, None).await;
    liar.faults().always(SMALL, Fault::WrongBytes);
    assert_eq!(cdn.get_without_key(SMALL).await.status, 502);
    let other = cdn.get(FileKind::Original, "Port/b.bin").await;
    assert_eq!((other.status, &other.body[..]), (200, &b"another"[..]));
    liar.faults().always(PATH, Fault::Reset);
    assert_eq!(cdn.get(FileKind::Original, PATH).await.status, 502);
    assert_eq!(
        cdn.get(FileKind::Original, "Port/none.bin").await.status,
        404
    );
    let fetched = liar.fetched("");
    assert_eq!(cdn.get(FileKind::Original, PATH).await.status, 502);
    assert_eq!(liar.fetched(""), fetched, "a peer in trouble is left alone");
    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_is_told_to_come_again_and_the_fetch_goes_on() {
    let (master, liar) = master().await;
    let mut mirror = cold(&master, &liar).await;
    let patience = Patience {
        wait: Duration::from_millis(50),
        ..PATIENCE
    };
    let cdn = Cdn::serve(&mirror.node, "", patience, None).await;
    let (before, gate) = (liar.fetched(SMALL), Gate::default());
    liar.faults().once(SMALL, 1, Fault::Stall(4, gate.clone()));
    let late = cdn.get_without_key(SMALL).await;
    assert_eq!((late.status, late.header("retry-after")), (503, "2"));
    gate.reached().await;
    // Another configuration meanwhile cuts nothing off.
    mirror.configure(|config| config.limits.attempts += 1);
    cdn.edge.follow(&mirror.node, None);
    gate.open();
    let heard = loop {
        let heard = cdn.get_without_key(SMALL).await;
        if heard.status != 503 {
            break heard;
        }
    };
    assert_eq!(
        (heard.status, &heard.body[..]),
        (200, &b"a small picture"[..])
    );
    assert_eq!(liar.fetched(SMALL) - before, 1);
    // What comes after it goes by the new one: from a peer that is gone nothing comes, from one that is back it does.
    let (path, kind) = (MediaPath::new(PATH).unwrap(), FileKind::Original);
    let peers = mirror.node.config.peers.clone();
    mirror.configure(|config| config.peers.clear());
    cdn.edge.follow(&mirror.node, None);
    let settled = async || loop {
        // Each waits for a moment only.
        match cdn.edge.bring(kind, &path, None).await {
            Err(emsync::edge::Error::Late) => {}
            other => break other,
        }
    };
    assert!(settled().await.is_err());
    // Whoever comes while a fetch ends hears what became of that one.
    while cdn.edge.under_way() > 0 {
        tokio::task::yield_now().await;
    }
    mirror.configure(|config| config.peers = peers);
    cdn.edge.follow(&mirror.node, None);
    settled().await.unwrap();
    assert_eq!(mirror.read(kind, PATH).unwrap(), b"the original");
    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_the_run_that_fetches_the_very_file() {
    let (master, liar) = master().await;
    let mirror = Mirror::of(&liar.base, &master.key, None).await;
    let cdn = Cdn::serve(&mirror.node, "", PATIENCE, None).await;
    let gate = Gate::default();
    liar.faults().once(SMALL, 1, Fault::Stall(4, gate.clone()));
    let reading = async {
        gate.reached().await;
        let heard = cdn.get_without_key(SMALL);
        let opening = async {
            // The reader has joined when its fetch is under way; the run holds the file until the gate opens.
            while cdn.edge.under_way() == 0 {
                tokio::task::yield_now().await;
            }
            gate.open();
        };
        tokio::join!(heard, opening).0
    };
    let (_, heard) = tokio::join!(mirror.seed(), reading);
    assert_eq!(
        (heard.status, &heard.body[..]),
        (200, &b"a small picture"[..])
    );
    assert_eq!(liar.fetched(SMALL), 1);
    mirror.assert_in_sync().await;

    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_leaves_the_file_to_the_reader_that_has_it() {
    let (master, liar) = master().await;
    let mirror = cold(&master, &liar).await;
    let cdn = Cdn::serve(&mirror.node, "", PATIENCE, None).await;
    let (before, gate) = (liar.fetched(SMALL), Gate::default());
    liar.faults().once(SMALL, 1, Fault::Stall(4, gate.clone()));
    let run = async {
        gate.reached().await;
        let outcome = mirror.sync().await;
        gate.open();
        outcome.report.files_written
    };
    let (heard, written) = tokio::join!(cdn.get_without_key(SMALL), run);
    assert_eq!(
        (heard.status, &heard.body[..]),
        (200, &b"a small picture"[..])
    );
    assert_eq!((liar.fetched(SMALL) - before, written), (1, 1));
    mirror.assert_in_sync().await;
    cdn.end().await;
    master.end().await;
}

/// No room for anything, and no grace.
const NO_ROOM: Option<Room> = Some(Room {
    most: 0,
    grace: Duration::ZERO,
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_comes_back_when_it_is_read_and_no_sync_brings_it() {
    let (master, liar) = master().await;
    let mirror = Mirror::of(&liar.base, &master.key, None).await;
    mirror.seed().await;
    let cdn = Cdn::serve(&mirror.node, "", PATIENCE, NO_ROOM).await;
    let gone = cdn.edge.make_room().await.unwrap();
    assert_eq!(
        gone,
        Evicted {
            files: 2,
            bytes: 27
        }
    );
    for (kind, path) in [(FileKind::Original, PATH), (FileKind::Generated, SMALL)] {
        assert_eq!(mirror.read(kind, path), None);
        assert!(mirror.row(kind, path).await.unwrap().evicted);
    }
    assert_eq!(mirror.node.catalogue.evicted().await.unwrap(), (2, 27));
    // Neither a sync nor a listing of everything brings it back, and nothing differs.
    for scope in [Scope::Changes, Scope::Everything] {
        let report = mirror.run(scope).await.report;
        assert_eq!((report.files_written, report.bytes_received), (0, 0));
    }
    mirror.assert_in_sync().await;
    // What can be said without the bytes is said without them.
    let (fetched, url) = (liar.fetched(SMALL), cdn.url(FileKind::Generated, SMALL));
    let head = cdn.ask(cdn.client.head(&url)).await;
    assert_eq!((head.status, head.header("x-emsync-bytes")), (200, "away"));
    let known = cdn
        .client
        .get(&url)
        .header("if-none-match", head.header("etag"));
    assert_eq!(cdn.ask(known).await.status, 304);
    assert_eq!(liar.fetched(SMALL), fetched);
    let back = cdn.get_without_key(SMALL).await;
    assert_eq!(
        (back.status, &back.body[..]),
        (200, &b"a small picture"[..])
    );
    assert_eq!(liar.fetched(SMALL), fetched + 1);
    assert!(
        mirror
            .row(FileKind::Generated, SMALL)
            .await
            .unwrap()
            .is_here()
    );
    // A new version is fetched by the next sync, as ever.
    add_rendition(&master.node, "a1", SMALL, b"a new picture").await;
    master.add("a1", PATH, b"a new original").await;
    edit(&master, "a1", json!({ "editstatus": "6" })).await;
    assert_eq!(mirror.sync().await.report.files_written, 2);
    mirror.assert_in_sync().await;
    cdn.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_recently_read_go_and_only_what_the_peer_still_has() {
    let master = Master::new(100).await;
    for n in 0..10 {
        let path = format!("f{n}.bin");
        master.add(&format!("a{n}"), &path, &[n; 1_000]).await;
    }
    let mirror = master.mirror().await;
    mirror.seed().await;
    // An own asset, an edit of a file that the peer has otherwise, and one that the peer lost.
    let own = Master::serving(mirror.node.clone(), 100).await;
    own.add("mine", "mine.bin", &[77; 1_000]).await;
    std::fs::remove_file(
        master
            .node
            .config
            .media
            .root
            .join("assets/catalog/originals/f3.bin"),
    )
    .unwrap();
    let room = Room {
        most: 6_000,
        grace: Duration::ZERO,
    };
    let cdn = Cdn::serve(&mirror.node, &own.key, PATIENCE, Some(room)).await;
    for n in [0, 1] {
        let path = format!("f{n}.bin");
        assert_eq!(cdn.get(FileKind::Original, &path).await.status, 200);
    }
    let gone = cdn.edge.make_room().await.unwrap();
    assert_eq!(
        gone,
        Evicted {
            files: 5,
            bytes: 5_000
        }
    );
    let is_here = |n: u8| {
        mirror
            .read(FileKind::Original, &format!("f{n}.bin"))
            .is_some()
    };
    for n in [0, 1, 3] {
        assert!(is_here(n), "f{n} was read just now, or nobody else has it");
    }
    assert_eq!((0..10).filter(|n| is_here(*n)).count(), 5);
    assert!(mirror.read(FileKind::Original, "mine.bin").is_some());
    assert_eq!(cdn.edge.make_room().await.unwrap(), Evicted::default());
    cdn.end().await;
    own.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_row_and_the_bytes_loses_nothing() {
    let (master, liar) = master().await;
    let mirror = Mirror::of(&liar.base, &master.key, None).await;
    mirror.seed().await;
    // The row is written, the bytes are still there: what a kill leaves.
    let row = mirror.row(FileKind::Original, PATH).await.unwrap();
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    assert!(batch.let_go(&row).await.unwrap());
    batch.commit().await.unwrap();
    mirror.assert_in_sync().await;
    // Read before anybody finished it: taken as it lies there.
    let own = Master::serving(mirror.node.clone(), 100).await;
    let cdn = Cdn::serve(&mirror.node, &own.key, PATIENCE, None).await;
    let fetched = liar.fetched(PATH);
    let heard = cdn.get(FileKind::Original, PATH).await;
    assert_eq!((heard.status, &heard.body[..]), (200, &b"the original"[..]));
    assert_eq!(liar.fetched(PATH), fetched);
    cdn.end().await;
    // The same, and the next server finishes it first.
    let row = mirror.row(FileKind::Original, PATH).await.unwrap();
    assert!(row.is_here());
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    assert!(batch.let_go(&row).await.unwrap());
    batch.commit().await.unwrap();
    let room = Room {
        most: 1 << 30,
        grace: Duration::ZERO,
    };
    let cdn = Cdn::serve(&mirror.node, &own.key, PATIENCE, Some(room)).await;
    assert_eq!(cdn.edge.make_room().await.unwrap(), Evicted::default());
    assert_eq!(mirror.read(FileKind::Original, PATH), None);
    mirror.assert_in_sync().await;
    let heard = cdn.get(FileKind::Original, PATH).await;
    assert_eq!((heard.status, &heard.body[..]), (200, &b"the original"[..]));
    assert_eq!(liar.fetched(PATH), fetched + 1);
    mirror.assert_in_sync().await;
    cdn.end().await;
    own.end().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_emdb_files_come_when_they_are_read_and_only_originals_with_an_md5_go() {
    let emdb = Emdb::start(Setup::default()).await;
    let bytes = b"an original of an EMDB";
    let mut hasher = Hasher::new(true);
    hasher.update(bytes);
    let md5 = hasher.finish().md5.unwrap().to_string();
    emdb.edit(|content| {
        for (id, path, md5) in [("a1", PATH, Some(md5)), ("a2", "Port/b.bin", None)] {
            let mut members = asset_members(path, bytes.len(), 1_772_201_000_000);
            if let Some(md5) = md5 {
                members["md5hex"] = json!(md5);
            }
            let now = emsync::seams::Clock::now(&emsync::seams::Os);
            content.record(Doc::new("asset", id, OWN, now, members));
            content.original(path, bytes.to_vec(), 1_772_201_000_000);
        }
        content.generated(SMALL, "a small picture", 1_772_201_001_000);
    });
    let mirror = Mirror::of(emdb.base(), KEY, Some(OWN)).await;
    let gate = Gate::default();
    emdb.faults()
        .always("/asset/downloads/", Fault::Stall(0, gate.clone()));
    let end = async {
        gate.reached().await;
        mirror.shutdown.request();
    };
    tokio::join!(mirror.run(Scope::Everything), end);
    emdb.faults().clear();
    gate.open();
    let mirror = mirror.restarted();
    let own = Master::serving(mirror.node.clone(), 100).await;
    let cdn = Cdn::serve(&mirror.node, &own.key, PATIENCE, NO_ROOM).await;
    emdb.faults().once(SMALL, 1, Fault::ShortBody(7));
    assert_eq!(cdn.get_without_key(SMALL).await.status, 502);
    for path in [PATH, "Port/b.bin"] {
        let heard = cdn.get(FileKind::Original, path).await;
        assert_eq!((heard.status, &heard.body[..]), (200, &bytes[..]), "{path}");
    }
    mirror.sync().await;
    mirror.assert_in_sync().await;
    let gone = cdn.edge.make_room().await.unwrap();
    assert_eq!((gone.files, gone.bytes), (1, bytes.len() as u64));
    assert_eq!(mirror.read(FileKind::Original, PATH), None);
    assert!(mirror.read(FileKind::Original, "Port/b.bin").is_some());
    assert!(mirror.read(FileKind::Generated, SMALL).is_some());
    assert_eq!(mirror.run(Scope::Everything).await.report.files_written, 0);
    mirror.assert_in_sync().await;
    let heard = cdn.get(FileKind::Original, PATH).await;
    assert_eq!((heard.status, &heard.body[..]), (200, &bytes[..]));
    cdn.end().await;
    own.end().await;
}
