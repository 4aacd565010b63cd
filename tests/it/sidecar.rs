//! A node beside an EMDB: one data directory, one cluster id. What the EMDB has is taken where it lies, what comes from elsewhere is
//! handed to it, and what is edited there goes out.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use emsync::model::Timestamp;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::program::Program;

const BESIDE: &str = "emdb-main";
const MTIME: i64 = 1_772_201_000_123;

/// Puts a file where both see it, and tells the EMDB that it has it.
fn lies(data: &Path, content: &mut Content, path: &str, bytes: &'static [u8]) {
    let file = data.join("finder/catalog/originals").join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(MTIME.unsigned_abs());
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    content.original(path, bytes, MTIME);
}

fn beside(dir: &Path, data: &Path, url: &str) -> Program {
    let mut init = Command::new(env!("CARGO_BIN_EXE_emsync"));
    init.args(["init", dir.to_str().unwrap(), "--cluster-id", BESIDE]);
    init.args([
        "--catalog",
        "finder/catalog",
        "--media",
        data.to_str().unwrap(),
    ]);
    assert!(init.status().unwrap().success());
    let node = Program::at(dir);
    let key = dir.join("emdb.key");
    fs::write(&key, KEY).unwrap();
    let add = [
        "peer",
        "add",
        "emdb",
        "--url",
        url,
        "--sidecar",
        "--key-file",
        key.to_str().unwrap(),
    ];
    node.run(&add).well();
    node
}

fn report(node: &Program, args: &[&str]) -> Value {
    node.run(args).well().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_beside_an_emdb_carries_records_both_ways_and_copies_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let emdb = Emdb::start_as(Setup::default(), BESIDE).await;
    let saved = emdb.now().minus(Duration::from_secs(60));
    emdb.edit(|content| {
        lies(&data, content, "Own/a.bin", b"of the EMDB");
        let members = asset_members("Own/a.bin", 11, MTIME);
        content.record(Doc::new("asset", "own1", BESIDE, saved, members));
    });
    let remote = Program::init(&dir.path().join("m"), "remote-0001");
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("far.bin"), "from far away").unwrap();
    remote.run(&["import", photos.to_str().unwrap()]).well();
    let serving = remote.serve("127.0.0.1:0");

    let node = beside(&dir.path().join("s"), &data, emdb.base());
    let seeded = report(&node, &["seed", "emdb", "--json"]);
    assert_eq!(
        (&seeded["bytes_received"], &seeded["files_adopted"]),
        (&json!(0), &json!(1)),
        "{seeded}"
    );
    let key = remote
        .run(&["key", "add", "beside", "--write"])
        .well()
        .stdout;
    let file = dir.path().join("remote.key");
    fs::write(&file, key).unwrap();
    let add = [
        "peer",
        "add",
        "remote",
        "--url",
        &serving.url,
        "--push",
        "--key-file",
        file.to_str().unwrap(),
    ];
    node.run(&add).well();
    node.run(&["sync", "--json"]).well();
    node.run(&["sync", "--json"]).well();

    // What came from far lies in the EMDB's own directory, and its record is there; no file was sent to it.
    let far = data.join("finder/catalog/originals/far.bin");
    assert_eq!(fs::read_to_string(&far).unwrap(), "from far away");
    emdb.refresh();
    let names = emdb.edit(|content| {
        let assets = content.docs.iter().filter(|doc| doc.module == "asset");
        assets
            .map(|doc| doc.source["sourcepath"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(names, ["Own/a.bin", "far.bin"]);
    assert!(emdb.requests("uploadfile").is_empty());
    // And what the EMDB owns is far away, with its file.
    let there = remote
        .run(&["record", "get", "asset", "own1"])
        .well()
        .json();
    assert_eq!(there["emrecordstatus"]["mastereditclusterid"], BESIDE);
    let copied = dir
        .path()
        .join("m/media/assets/catalog/originals/Own/a.bin");
    assert_eq!(fs::read(copied).unwrap(), b"of the EMDB");

    // An edit in the EMDB goes out; one of its records is not edited beside it.
    let now: Timestamp = emdb.now();
    emdb.edit(|content| {
        content.save(BESIDE, now, ("asset", "own1"), false, |source| {
            source["headline"] = json!("There")
        });
    });
    node.run(&["sync"]).well();
    let there = remote
        .run(&["record", "get", "asset", "own1"])
        .well()
        .json();
    assert_eq!(there["headline"], "There");
    for edit in [
        ["record", "put", "asset", "own1", "--set", "a=1"].as_slice(),
        &["record", "delete", "asset", "own1"],
    ] {
        let done = node.run(edit);
        assert_eq!(done.code, Some(1), "{edit:?}");
        assert!(done.stderr.contains("edit it there"), "{}", done.stderr);
    }
    // What it would make or draw itself, it is not asked to do here.
    let photos = photos.to_str().unwrap();
    for (work, says) in [
        (["import", photos].as_slice(), "imports for both"),
        (
            &["crop", "set", "own1", "webpthumbimage", "20x20+0+0"],
            "draw them there",
        ),
    ] {
        let done = node.run(work);
        assert_ne!(done.code, Some(0), "{work:?}");
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
    // A delete far away is one in the EMDB, and the file goes to the trash of the directory.
    let far_id = remote.run(&["record", "list", "asset"]).well().stdout;
    let far_id = far_id.lines().find(|id| *id != "own1").unwrap();
    remote.run(&["record", "delete", "asset", far_id]).well();
    node.run(&["sync"]).well();
    node.run(&["sync"]).well();
    assert!(!far.exists());
    emdb.refresh();
    let deleted = emdb.edit(|content| {
        content.doc("asset", far_id).unwrap().source["emrecordstatus"]["recorddeleted"].clone()
    });
    assert_eq!(deleted, true);
    // Quiet: nothing moves any more.
    let quiet = report(&node, &["sync", "emdb", "--json"]);
    assert_eq!(
        (
            &quiet["bytes_received"],
            &quiet["bytes_sent"],
            &quiet["records"]
        ),
        (&json!(0), &json!(0), &json!(0)),
        "{quiet}"
    );
    // The EMDB's version of what was deleted is the only one that was ever refused.
    let conflicts = node.run(&["conflicts", "list"]).well().stdout;
    let others = conflicts
        .lines()
        .filter(|line| !(line.contains(far_id) && line.ends_with("ours was kept")));
    assert_eq!(others.count(), 0, "{conflicts}");
    drop(serving);
}
