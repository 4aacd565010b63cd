//! Edits on both sides of one record, by the real program: the master wins, and what lost is shown and comes back.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::program::Program;

struct World {
    dir: tempfile::TempDir,
    master: Program,
    mirror: Program,
}

impl World {
    /// A master with one category, and a mirror without anything.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self {
            master: Program::init(&dir.path().join("m"), "master-0001"),
            mirror: Program::init(&dir.path().join("r"), "mirror-0001"),
            dir,
        };
        let said = world.put(&world.master, &["--set", "name=Sea", "--set", "rank=3"]);
        assert_eq!(said, "saved category/sea (owned here): id, name, rank\n");
        world
    }

    fn put(&self, node: &Program, how: &[&str]) -> String {
        let args = [&["record", "put", "category", "sea"], how].concat();
        node.run(&args).well().stdout
    }
}

fn get(node: &Program) -> Value {
    node.run(&["record", "get", "category", "sea"])
        .well()
        .json()
}

#[test]
fn an_edit_that_its_master_overrode_is_listed_shown_and_comes_back() {
    let world = World::new();
    let (master, mirror) = (&world.master, &world.mirror);
    let serving = master.serve("127.0.0.1:0");
    mirror.pull_from(master, &serving.url);
    mirror.run(&["seed", "master"]).well();
    assert_eq!(mirror.run(&["conflicts", "list"]).well().stdout, "");

    let said = world.put(mirror, &["--set", "name=Ocean", "--set", "rank=null"]);
    assert_eq!(
        said,
        "saved category/sea (owned by master-0001): name, rank\n"
    );
    let edited = get(mirror);
    let status = &edited["emrecordstatus"];
    assert_eq!(
        (
            &status["mastereditclusterid"],
            &status["lastmodifiedclusterid"]
        ),
        (&json!("master-0001"), &json!("mirror-0001"))
    );
    // Nothing of the master's takes it away, and a comparison says whose it is.
    mirror.run(&["sync", "master"]).well();
    assert_eq!(get(mirror), edited);
    let parity = mirror.run(&["verify", "master", "--json"]).well().json();
    assert_eq!(parity["layers"]["records"]["explained"], 1, "{parity}");

    world.put(master, &["--set", "name=Mer"]);
    mirror.run(&["sync", "master"]).well();
    assert_eq!(get(mirror)["name"], "Mer");
    // Once, however often it is listed again.
    mirror.run(&["seed", "master"]).well();
    let listed = mirror.run(&["conflicts", "list", "--json"]).well().stdout;
    let rows: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lost = rows.iter().filter(|row| row["winner"] == "remote");
    let lost: Vec<_> = lost.collect();
    assert_eq!(lost.len(), 1, "{listed}");
    let (row, id) = (lost[0], lost[0]["id"].to_string());
    assert_eq!(
        (&row["searchtype"], &row["dataid"], &row["masternodeid"]),
        (&json!("category"), &json!("sea"), &json!("master-0001"))
    );
    let kept: Value = serde_json::from_str(row["localsource"].as_str().unwrap()).unwrap();
    assert_eq!(kept, edited, "whole");

    let shown = mirror.run(&["conflicts", "show", &id]).well().stdout;
    for part in [
        "theirs was taken",
        "ours: saved by mirror-0001 at ",
        "theirs: saved by master-0001 at ",
        "name\n    ours: \"Ocean\"\n  theirs: \"Mer\"\n",
        "rank\n    ours: –\n  theirs: 3\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let looked = mirror
        .run(&["conflicts", "restore", &id, "-n"])
        .well()
        .stdout;
    assert_eq!(
        looked,
        "would save category/sea (owned by master-0001): name, rank\n"
    );
    assert_eq!(get(mirror)["name"], "Mer");
    mirror.run(&["conflicts", "restore", &id]).well();
    let restored = get(mirror);
    assert_eq!(
        (&restored["name"], restored.get("rank")),
        (&json!("Ocean"), None)
    );
    let again = mirror.run(&["conflicts", "restore", &id]).well().stdout;
    assert_eq!(again, "category/sea is like that already\n");
    mirror
        .run(&["conflicts", "restore", &id, "--remote"])
        .well();
    assert_eq!(get(mirror)["name"], "Mer");
    drop(serving);
}

#[test]
fn a_record_is_put_whole_from_a_file_or_a_pipe_and_what_cannot_be_meant_is_said() {
    let world = World::new();
    let file = world.dir.path().join("sea.json");
    std::fs::write(&file, r#"{"name": "Ocean", "id": "sea"}"#).unwrap();
    let said = world.put(&world.master, &[file.to_str().unwrap(), "-n"]);
    assert_eq!(said, "would save category/sea (owned here): name, rank\n");
    assert_eq!(get(&world.master)["name"], "Sea");

    let mut child = Command::new(env!("CARGO_BIN_EXE_emsync"));
    child.arg("-C").arg(world.master.dir());
    child.args(["record", "put", "category", "sea"]);
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(br#"{"name": "Piped"}"#).unwrap();
    drop(pipe);
    assert!(child.wait().unwrap().success());
    let record = get(&world.master);
    assert_eq!(
        (&record["name"], record.get("rank"), &record["id"]),
        (&json!("Piped"), None, &json!("sea"))
    );

    std::fs::write(&file, r#"["name"]"#).unwrap();
    let missing = world.dir.path().join("none.json");
    for (args, code, reason) in [
        (
            &["put", "category", "sea", "--set", "name"][..],
            2,
            "write NAME=VALUE",
        ),
        (
            &["put", "category", "sea", file.to_str().unwrap()],
            2,
            "one JSON object",
        ),
        (
            &["put", "category", "sea", missing.to_str().unwrap()],
            2,
            "none.json",
        ),
        (&["put", "no table", "sea", "--set", "a=1"], 2, "no table"),
        (
            &["put", "asset", "new", "--set", "a=1"],
            1,
            "comes into being with its file",
        ),
        (
            &["put", "category", "sea", "--set", "id=lake"],
            1,
            "not of category/sea",
        ),
    ] {
        let done = world.master.run(&[&["record"], args].concat());
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(reason), "{args:?}: {}", done.stderr);
    }
    let done = world.master.run(&["conflicts", "show", "7"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("no conflict 7"), "{}", done.stderr);
}

#[test]
fn another_nodes_asset_is_deleted_here_until_its_owner_says_otherwise() {
    let world = World::new();
    let (master, mirror) = (&world.master, &world.mirror);
    let photos = world.dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("a.txt"), "an original").unwrap();
    master.run(&["import", photos.to_str().unwrap()]).well();
    let id = master.run(&["record", "list", "asset"]).well().stdout;
    let id = id.trim();
    let serving = master.serve("127.0.0.1:0");
    mirror.pull_from(master, &serving.url);
    mirror.run(&["seed", "master"]).well();
    let original = mirror.dir().join("media/assets/catalog/originals/a.txt");
    assert!(original.exists());

    let whose = "(owned by master-0001, which does not hear of it: nothing is pushed from here)";
    let said = mirror
        .run(&["record", "delete", "asset", id, "-n"])
        .well()
        .stdout;
    assert!(
        said.starts_with(&format!("would delete asset/{id} {whose}\n")),
        "{said}"
    );
    assert!(original.exists());
    let said = mirror.run(&["record", "delete", "asset", id]).well().stdout;
    assert_eq!(said, format!("deleted asset/{id} {whose}\n"));
    assert!(!original.exists());
    assert!(
        mirror
            .run(&["trash", "list"])
            .well()
            .stdout
            .contains("a.txt")
    );
    mirror.run(&["sync", "master"]).well();
    assert!(!original.exists(), "its owner has said nothing since");

    master
        .run(&["record", "put", "asset", id, "--set", "headline=Kept"])
        .well();
    mirror.run(&["sync", "master"]).well();
    assert_eq!(std::fs::read_to_string(&original).unwrap(), "an original");
    let listed = mirror.run(&["conflicts", "list", "--json"]).well().stdout;
    let lost = listed
        .lines()
        .filter(|line| line.contains("\"winner\":\"remote\""));
    assert_eq!(lost.count(), 1, "{listed}");
    drop(serving);
}
