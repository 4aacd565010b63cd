//! A rehearsal of the day the master is lost: its mirror takes its place, edits are made, and the old master comes back with edits of
//! its own. By the real program throughout.

use std::collections::{BTreeMap, BTreeSet};

use emsync::model::{FileKind, Sha256};
use serde_json::Value;

use crate::support::program::{Program, Serving};

const ORIGINALS: usize = 24;

struct World {
    dir: tempfile::TempDir,
    old: Program,
    new: Program,
}

fn content(n: usize) -> Vec<u8> {
    format!("original number {n} ").repeat(400 + n).into_bytes()
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self {
            old: Program::init(&dir.path().join("old"), "old-0001"),
            new: Program::init(&dir.path().join("new"), "new-0001"),
            dir,
        };
        for n in 0..ORIGINALS {
            world.put_file(&format!("Port/f{n:02}.bin"), &content(n));
        }
        world.import();
        world
    }

    fn put_file(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join("photos").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn import(&self) {
        let photos = self.dir.path().join("photos");
        self.old.run(&["import", photos.to_str().unwrap()]).well();
    }

    /// Ids of the old master's live assets by their paths.
    fn assets(node: &Program) -> BTreeMap<String, String> {
        let listed = node.run(&["record", "list", "asset", "--json"]).well();
        let records = listed
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let assets = records.map(|record| (text(&record["sourcepath"]), text(&record["id"])));
        assets.collect()
    }
}

fn headline(node: &Program, id: &str) -> Value {
    node.run(&["record", "get", "asset", id]).well().json()["headline"].clone()
}

fn put(node: &Program, id: &str, headline: &str) {
    let set = format!("headline={headline}");
    node.run(&["record", "put", "asset", id, "--set", &set])
        .well();
}

/// Both sides of every conflict that a node keeps, as text.
fn conflicts(node: &Program) -> String {
    node.run(&["conflicts", "list", "--json"]).well().stdout
}

fn originals(node: &Program) -> BTreeSet<Sha256> {
    let mut all = node.trash();
    let files = node.files().into_iter();
    all.extend(
        files
            .filter(|((kind, _), _)| *kind == FileKind::Original)
            .map(|(_, (_, digest))| digest),
    );
    all
}

#[test]
fn a_mirror_takes_the_place_of_its_master_which_comes_back_with_edits_of_its_own() {
    let world = World::new();
    let (old, new) = (&world.old, &world.new);
    let serving: Serving = old.serve("127.0.0.1:0");
    new.pull_from(old, &serving.url);
    // The name that `pull_from` gives it.
    let master = "master";
    let cut = new.run(&["seed", master, "--max-transfer", "60k", "--transfers", "1"]);
    assert_eq!(cut.code, Some(8), "{cut:?}");
    let assets = World::assets(old);
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| assets[&format!("Port/f{n:02}.bin")].as_str());
    // The master is lost in mid-seed.
    let address = serving.address().to_string();
    drop(serving);

    let check = new.run(&["promote", master, "--check", "--json"]);
    assert_eq!(check.code, Some(26), "{check:?}");
    let check = check.json();
    let missing = check["gaps_total"].as_u64().unwrap();
    assert!(missing > 0 && missing < ORIGINALS as u64, "{check}");
    assert_eq!(check["gaps"].as_array().unwrap().len() as u64, missing);
    let refused = new.run(&["promote", master]);
    assert_eq!(refused.code, Some(26));
    assert!(
        refused.stdout.contains("NOT fit") && refused.stdout.contains("nothing was changed"),
        "{refused:?}"
    );
    assert!(
        !new.run(&["record", "get", "asset", a])
            .well()
            .stdout
            .contains("\"mastereditclusterid\":\"new-0001\"")
    );

    let done = new
        .run(&["promote", master, "--force", "--json"])
        .well()
        .json();
    assert_eq!(done["promoted"]["former"], "old-0001", "{done}");
    let taken = done["promoted"]["records"].as_u64().unwrap();
    assert!(taken >= ORIGINALS as u64, "{done}");
    let again = new.run(&["promote", master, "--force"]).well().stdout;
    assert!(
        again.contains("\n0 records of old-0001 are"),
        "twice equals once: {again}"
    );
    // What is to be typed on the other nodes.
    for line in [
        "emsync peer add new --url http://HOST:7700/assets --key-file",
        "clustername new-0001",
    ] {
        assert!(again.contains(line), "{again}");
    }
    // Edits here are the master's now.
    put(new, a, "from the new master");
    put(new, c, "from the new master alone");
    new.run(&["record", "delete", "asset", d]).well();

    // The old one comes back, and its users have gone on working.
    put(old, a, "from the old master");
    put(old, b, "from the old master alone");
    put(old, d, "still in use on the old master");
    world.put_file(
        "Port/late.bin",
        b"imported on the old master after it was lost",
    );
    world.put_file(
        "Port/f05.bin",
        b"replaced on the old master after it was lost",
    );
    world.import();
    let all: BTreeSet<Sha256> = originals(old).into_iter().chain(originals(new)).collect();

    // Whatever it says of records that were taken over is held off, before it has pulled: nothing of ours is overwritten.
    let serving = old.serve(&address);
    new.run(&["sync", master, "--json"]);
    assert_eq!(headline(new, a), "from the new master");
    assert_eq!(headline(new, b), Value::Null);
    assert!(conflicts(new).contains("from the old master alone"));

    // It pulls from its successor, then both go on as master and mirror.
    let successor = new.serve("127.0.0.1:0");
    old.pull_from(new, &successor.url);
    for _ in 0..3 {
        old.run(&["sync", master]);
        new.run(&["sync", master]);
    }
    // It says so to whoever pulls from it, who need not know the new one.
    let third = Program::init(&world.dir.path().join("third"), "third-0001");
    third.pull_from(old, &serving.url);
    third.run(&["pull", master, "--exclude", "*"]);
    for (node, line) in [
        (old, "this node's place was taken by new-0001"),
        (new, "peer master: its place was taken by this node"),
        (&third, "peer master: its place was taken by new-0001"),
    ] {
        let status = node.run(&["status"]).well().stdout;
        assert!(status.contains(line), "{status}");
    }
    // And so does every record that this decided about.
    for (node, line) in [
        (old, "new-0001 took the place of old-0001"),
        (new, "this node took the place of old-0001"),
        (&third, "new-0001 took the place of old-0001"),
    ] {
        let why = node.run(&["why", &format!("asset/{b}")]).stdout;
        assert!(
            why.contains(line) && why.contains("what old-0001 owned is new-0001's since then"),
            "{why}"
        );
    }
    for (node, who) in [(old, "old"), (new, "new")] {
        assert_eq!(headline(node, a), "from the new master", "{who}");
        assert_eq!(headline(node, c), "from the new master alone", "{who}");
        let kept = conflicts(node);
        for lost in [
            "from the old master",
            "from the old master alone",
            "still in use on the old master",
        ] {
            assert!(
                kept.contains(lost),
                "{lost:?} is not kept on the {who} one: {kept}"
            );
        }
        let lasting = originals(node);
        assert!(World::assets(node).contains_key("Port/late.bin"), "{who}");
        assert!(!World::assets(node).contains_key("Port/f03.bin"), "{who}");
        if who == "new" {
            // What it lacked when its master was lost has come.
            assert!(
                (0..ORIGINALS)
                    .filter(|n| *n != 5)
                    .all(|n| lasting.contains(&Sha256::of(&content(n))) || n == 3),
                "{who}"
            );
        }
    }
    let lasting: BTreeSet<Sha256> = originals(old).into_iter().chain(originals(new)).collect();
    assert!(all.is_subset(&lasting), "an original was lost");
    for node in [old, new] {
        let parity = node.run(&["verify", master, "--json"]);
        let report = parity.json();
        assert_eq!(report["in_sync"], true, "{report:#}");
    }
    // And the old one's edits count again.
    let key = new.run(&["key", "add", "sender", "--write"]).well().stdout;
    std::fs::write(old.dir().join("master.key"), key).unwrap();
    let settings = old.dir().join("emsync.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let pushed = text.replace(
        "name = \"master\"\nbase_url",
        "name = \"master\"\npush = true\nbase_url",
    );
    assert_ne!(text, pushed);
    std::fs::write(&settings, pushed).unwrap();
    put(old, b, "back as a mirror");
    old.run(&["push", master]).well();
    assert_eq!(headline(new, b), "back as a mirror");
    drop((serving, successor));
}
