//! EMDB's own client, as the wire spec describes it, against a served node of ours: what it pulls is what is there, byte for byte,
//! and none of its defects costs anything here.

use std::collections::BTreeMap;
use std::path::Path;

use emsync::model::{FileKind, Timestamp};
use emsync::node::Node;
use emsync::seams::Seams;
use serde_json::{Value, json};

use crate::support::author::{crop, delete, files, put, records};
use crate::support::captured::Captured;
use crate::support::emdb::{
    Client, Content, Doc, Emdb, File, KEY, Peer, Ran, Setup, asset_members,
};
use crate::support::folder::{change, fill};
use crate::support::master::Master;
use crate::support::node::new_node;
use crate::support::site::import_folder;

/// Records of a page: few, so that listings have several.
const PER_PAGE: u64 = 4;

/// A folder, the served node it is imported into, and an EMDB that pulls from there.
struct World {
    dir: tempfile::TempDir,
    master: Master,
    emdb: Emdb,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("photos"));
        let config = new_node(&dir.path().join("m"), "Master");
        Node::init(&config).await.unwrap();
        let node = Node::open(config, Seams::os()).await.unwrap();
        let master = Master::serving(node, PER_PAGE).await;
        let emdb = Emdb::start(Setup::default()).await;
        let own = master.own().as_str();
        let client = emdb.client(Peer::pulled(&master.url, &master.key, own));
        client.whole_history();
        let world = Self {
            dir,
            master,
            emdb,
            client,
        };
        world.import().await;
        world
    }

    fn photos(&self) -> std::path::PathBuf {
        self.dir.path().join("photos")
    }

    async fn import(&self) {
        let report = import_folder(&self.master.node, &self.photos()).await;
        assert_eq!(report.unwrap().refused, 0);
    }

    /// Both runs, which must lack nothing and leave nothing behind.
    #[track_caller]
    fn pull(&self) -> impl Future<Output = [Ran; 2]> {
        let caller = std::panic::Location::caller();
        async move {
            let ran = self.client.all().await;
            for run in &ran {
                assert_eq!(run.error, None, "{caller}");
                assert_eq!(run.refused, None, "{caller}");
                assert_eq!((&run.skipped[..], run.leaked), (&[][..], 0), "{caller}");
            }
            ran
        }
    }

    /// Id of the live asset at a path.
    async fn asset(&self, path: &str) -> String {
        let records = records(&self.master.node).await;
        let found = records.into_iter().find(|((module, _), source)| {
            module == "asset" && source["sourcepath"] == path && !is_deleted(source)
        });
        found.unwrap().0.1
    }

    /// Every record is the same on both sides; every file of ours is there, with its date.
    #[track_caller]
    fn assert_equal(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let ours = records(&self.master.node).await;
            let theirs = self.emdb.edit(|content| {
                content.refresh();
                docs(content)
            });
            assert_eq!(theirs, ours, "{caller}");
            for kind in [FileKind::Original, FileKind::Generated] {
                let theirs = self.emdb.edit(|content| tree(content, kind).clone());
                for (path, (bytes, mtime)) in files(&self.master.node, kind) {
                    let Some(file) = theirs.get(&path) else {
                        panic!("{caller}: {kind:?} {path} is missing");
                    };
                    assert_eq!(file.mtime, mtime, "{caller}: {path}");
                    assert!(file.bytes == bytes, "{caller}: {path} differs");
                }
            }
        }
    }
}

/// The ids in EMDB's log of conflicts.
fn conflicts(emdb: &Emdb) -> Vec<String> {
    let ids = |log: &Value| log["dataid"].as_str().unwrap().to_owned();
    emdb.edit(|content| content.conflicts.iter().map(ids).collect())
}

fn is_deleted(source: &Value) -> bool {
    source["emrecordstatus"]["recorddeleted"] == json!(true)
}

fn docs(content: &Content) -> BTreeMap<(String, String), Value> {
    let docs = content.docs.iter().cloned();
    docs.map(|doc| ((doc.module, doc.id), doc.source)).collect()
}

fn tree(content: &Content, kind: FileKind) -> &BTreeMap<String, File> {
    match kind {
        FileKind::Original => &content.originals,
        FileKind::Generated => &content.generated,
    }
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    crate::support::folder::write(folder, path, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emdb_pulls_everything_and_then_what_changed() {
    let world = World::new().await;
    let [data, originals] = world.pull().await;
    assert!(data.listed > 2 * usize::try_from(PER_PAGE).unwrap());
    assert_eq!(originals.downloaded.len(), 10);
    world.assert_equal().await;

    change(&world.photos());
    // EMDB takes two dates in one second for the same (H-11).
    let replaced = std::fs::File::options()
        .write(true)
        .open(world.photos().join("Noise/1/n1.bin"));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    replaced.unwrap().set_modified(later).unwrap();
    write(
        &world.photos(),
        "Odd/R&D (2024) 100%~a+b é #7.bin",
        b"a name that must be escaped",
    );
    world.import().await;
    let node = &world.master.node;
    let picture = world.asset("Pictures/stays.png").await;
    crop(node, &picture, "webpthumbimage", "20x20+5+3")
        .await
        .unwrap();
    let edit = put(node, ("asset", &picture), &json!({ "assettitle": "Stays" })).await;
    assert!(edit.unwrap().is_some());
    put(node, ("librarycollection", "c1"), &json!({ "name": "New" }))
        .await
        .unwrap();
    let gone = world.asset("Noise/1/n3.bin").await;
    delete(node, ("asset", &gone)).await.unwrap();
    world.pull().await;
    world.assert_equal().await;
    let told = world
        .emdb
        .edit(|content| content.doc("asset", &gone).cloned());
    assert!(is_deleted(&told.unwrap().source));

    let [data, originals] = world.pull().await;
    let again: Vec<_> = data
        .downloaded
        .iter()
        .chain(&originals.downloaded)
        .collect();
    assert_eq!(
        again,
        Vec::<&String>::new(),
        "what is there is asked for again"
    );
    world.master.end().await;
}

/// H-1: whatever refuses a listing must not look like an answer, or the window is lost for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_loses_no_window() {
    let world = World::new().await;
    let own = world.master.own().as_str();
    let stranger = world
        .emdb
        .client(Peer::pulled(&world.master.url, "no key of ours", own));
    stranger.whole_history();
    for run in stranger.all().await {
        assert!(run.error.is_some() && run.refused.is_none(), "{run:?}");
    }
    // An original that is not there, or that this key may not have, costs EMDB no place in its pool (H-9).
    let missing = world.photos().join("Noise/0/n0.bin");
    assert!(missing.exists());
    let stored = world
        .master
        .node
        .config
        .media
        .root
        .join(world.master.node.config.node.catalog.as_str());
    std::fs::remove_file(stored.join("originals/Noise/0/n0.bin")).unwrap();
    let [_, originals] = world.client.all().await;
    assert_eq!(
        (&originals.skipped[..], originals.leaked),
        (&["Noise/0/n0.bin".to_owned()][..], 0)
    );
    world.master.end().await;
}

/// The body of a captured form of several parts, with our boundary and the file's own bytes.
fn captured_form(name: &str, bytes: &[u8]) -> Vec<u8> {
    let captured = Captured::read(name);
    let kind = captured
        .headers
        .iter()
        .find(|(name, _)| name == "Content-Type");
    let (_, boundary) = kind.unwrap().1.split_once("boundary=").unwrap();
    let filler = "W".repeat(bytes.len());
    let text = String::from_utf8(captured.body).unwrap();
    let text = text.replace(boundary, "zKKjK-i1-hBSAdcMBQ9U0vnzBh8RDEr");
    let (head, tail) = text.split_once(&filler).unwrap();
    [head.as_bytes(), bytes, tail.as_bytes()].concat()
}

/// What the client sends is what a real one was seen to send, between two EMDBs; and so is what comes of it.
#[tokio::test]
async fn one_emdb_pushes_to_another_as_captured() {
    const PATH: &str = "FromB/owned-by-b.jpg";
    let a = Emdb::start(Setup::default()).await;
    let b = Emdb::start_as(Setup::default(), "node-b-cluster").await;
    let mtime = 1_795_410_359_641;
    let (original, generated) = (vec![7; 21_416], vec![8; 6_524]);
    let now = Timestamp::from_millis(mtime + 20_000);
    a.stop_clock(now);
    b.stop_clock(now);
    b.edit(|content| {
        content.original(PATH, original.clone(), mtime);
        content.generated(
            &format!("{PATH}/image3000x3000.webp"),
            generated.clone(),
            mtime,
        );
        let members = asset_members(PATH, original.len(), mtime);
        content.record(Doc::new(
            "asset",
            "AaIGy_ld5CAMFoh-hnKt",
            b.own(),
            now,
            members,
        ));
    });
    let mut peer = Peer::pulled(a.base(), KEY, a.own());
    peer.pull_data_only = false;
    peer.push_originals = true;
    let client = b.client(peer);
    let [data, originals] = client.all().await;
    assert_eq!((data.error, originals.error), (None, None));
    assert_eq!(
        (data.pushed, data.uploaded.len(), originals.uploaded.len()),
        (1, 1, 1)
    );

    let uploads = a.requests("sync/uploadfile");
    assert_eq!(
        uploads[0].bytes,
        captured_form("c07-push-uploadfile-generated", &generated)
    );
    assert_eq!(
        uploads[1].bytes,
        captured_form("c14-push-uploadfile-original", &original)
    );
    let sent: Value = serde_json::from_slice(&a.requests("receiveoriginals")[0].bytes).unwrap();
    let captured = Captured::read("c13-push-receiveoriginalschanges").body;
    let mut captured: Value = serde_json::from_slice(&captured).unwrap();
    captured["response"]["sincedate"] = sent["response"]["sincedate"].clone();
    assert_eq!(sent, captured);
    a.edit(|content| {
        content.refresh();
        assert_eq!(content.originals[PATH].bytes, original);
        assert_eq!(docs(content), b.edit(|content| docs(content)));
    });

    // Neither side learns the date of a file that was pushed: H-11. And the offer is refused from now on: H-12, c20.
    a.edit(|content| assert_ne!(content.originals[PATH].mtime, mtime));
    client.whole_history();
    let refused = client.originals().await.error.unwrap();
    assert_eq!(refused, "originals refused: Some(\"error\")");
}

/// EMDB's own assets, as its people make and change them.
struct People<'a>(&'a Emdb);

impl People<'_> {
    /// An asset with its original, or another original for it, from a file of this date; and one rendition.
    fn upload(&self, id: &str, path: &str, bytes: Vec<u8>, mtime: i64) {
        let members = asset_members(path, bytes.len(), mtime);
        self.0.edit(|content| {
            let rendition: Vec<u8> = bytes.iter().rev().take(200).copied().collect();
            content.generated(
                &format!("{path}/image200x200.webp"),
                rendition,
                mtime + 7_001,
            );
            content.original(path, bytes, mtime);
        });
        self.save(("asset", id), false, |source| {
            for (name, value) in members.as_object().unwrap() {
                source[name] = value.clone();
            }
        });
    }

    fn save(&self, key: (&str, &str), deleted: bool, change: impl FnOnce(&mut Value)) {
        let (own, now) = (self.0.own(), self.0.now());
        self.0
            .edit(|content| content.save(own, now, key, deleted, change));
    }
}

/// A pull and a push: nothing failed, and afterwards nothing is left to be moved.
#[track_caller]
fn pushed(client: &Client) -> impl Future<Output = [Ran; 2]> {
    let caller = std::panic::Location::caller();
    async move {
        let ran = client.all().await;
        client.whole_history();
        let again = client.all().await;
        for (at, run) in ran.iter().chain(&again).enumerate() {
            assert_eq!(run.error, None, "{caller}, run {at}: {run:?}");
            assert_eq!((&run.skipped[..], run.leaked), (&[][..], 0), "{caller}");
        }
        for run in &again {
            assert_eq!(run.uploaded, Vec::<String>::new(), "{caller}: wanted again");
            assert_eq!(
                run.downloaded,
                Vec::<String>::new(),
                "{caller}: fetched back"
            );
        }
        ran
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emdb_pushes_what_it_has_and_then_what_changed() {
    let world = World::new().await;
    let (emdb, master) = (&world.emdb, &world.master);
    let mut peer = Peer::pulled(&master.url, &master.write_key, master.own().as_str());
    peer.pull_data_only = false;
    peer.push_originals = true;
    let client = emdb.client(peer);
    client.whole_history();
    let people = People(emdb);
    let since = 1_700_000_000_123;
    let odd = "Odd/R&D (2024) 100%~a+b é #7.bin";
    people.upload("e1", "Theirs/one.bin", vec![1; 5_000], since);
    people.upload("e2", odd, vec![2; 70_000], since + 1_456);
    people.upload("e3", "Theirs/three.bin", vec![3; 300], since + 9_999);
    people.save(("category", "ec"), false, |source| {
        source["name"] = json!("Theirs")
    });
    let [data, originals] = pushed(&client).await;
    assert_eq!(
        (data.pushed, data.uploaded.len(), originals.uploaded.len()),
        (4, 3, 3)
    );
    world.assert_equal().await;
    let found = master.node.catalogue.count_conflicts().await.unwrap();
    assert_eq!((found, conflicts(emdb)), (0, Vec::new()));
    // Dates of what was pushed are those that were offered.
    for (kind, offered) in [
        (FileKind::Original, since + 1_456),
        (FileKind::Generated, since + 8_457),
    ] {
        let files = files(&master.node, kind);
        let (_, (_, mtime)) = files
            .iter()
            .find(|(path, _)| path.starts_with(odd))
            .unwrap();
        assert_eq!(*mtime, offered, "{kind:?}");
    }

    // Uploaded there between its two runs, an original is offered before its record is pushed, and for the last time if that is well.
    assert_eq!(client.data().await.error, None);
    let soon = emdb.now().as_millis() + 2_000;
    people.upload("e4", "Theirs/four.bin", vec![5; 700], soon);
    let early = client.originals().await.error.unwrap();
    assert_eq!(early, "originals refused: Some(\"error\")");
    let [data, originals] = pushed(&client).await;
    assert_eq!((data.uploaded.len(), originals.uploaded.len()), (1, 1));
    world.assert_equal().await;

    // The file is newer than the last run, or EMDB would not offer it (H-13).
    let later = emdb.now().as_millis() + 2_000;
    people.upload("e1", "Theirs/one.bin", vec![4; 6_000], later);
    people.save(("category", "ec"), false, |source| {
        source["name"] = json!("Still theirs")
    });
    people.save(("asset", "e3"), true, |_| {});
    let ours = world.asset("Noise/0/n2.bin").await;
    people.save(("asset", &ours), false, |source| {
        source["assettitle"] = json!("Seen there")
    });
    let [data, originals] = pushed(&client).await;
    assert_eq!((data.uploaded.len(), originals.uploaded.len()), (0, 1));
    world.assert_equal().await;
    let left = files(&master.node, FileKind::Original);
    assert!(
        !left.contains_key("Theirs/three.bin"),
        "a deleted asset keeps its original"
    );
    // It pulls first, and takes the version that it edited for a rival (row 9); to us it is none.
    assert_eq!(conflicts(emdb), [&ours[..]]);
    let found = master.node.catalogue.count_conflicts().await.unwrap();
    assert_eq!(found, 0);
    let record = &records(&master.node).await[&("asset".to_owned(), ours)];
    assert_eq!(record["assettitle"], "Seen there");
    world.master.end().await;
}
