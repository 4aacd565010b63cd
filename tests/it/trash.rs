//! The trash as people use it: what is in it, what comes back and what may not, and that a dry run touches nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use emsync::model::Sha256;
use serde_json::Value;

use crate::support::pair::{assert_equal, import, mirrored, pair, put, sync, verify};
use crate::support::process::{Place, Ran};

fn picture() -> Vec<u8> {
    let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 5, y as u8 * 8, 99]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

fn run(place: &Place, node: &str, args: &[&str]) -> Ran {
    let mut all = vec!["-C", node];
    all.extend(args);
    place.run(&all)
}

/// The lines of a node's `trash list --json`.
fn listed(place: &Place, node: &str) -> Vec<Value> {
    let said = run(place, node, &["trash", "list", "--json"]).ok();
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The id of the asset at a path.
fn asset(place: &Place, node: &str, path: &str) -> String {
    let said = run(place, node, &["record", "list", "asset", "--json"]).ok();
    let records = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = records
        .into_iter()
        .find(|record| record["sourcepath"] == path);
    text(&found.unwrap()["id"]).to_owned()
}

/// Digest of every file below a directory; what SQLite keeps beside a database that is open is left out.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Sha256> {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.into_path())
        .filter(|path| {
            !path.to_str().unwrap().ends_with("-wal") && !path.to_str().unwrap().ends_with("-shm")
        })
        .map(|path| (path.clone(), Sha256::of(&fs::read(&path).unwrap())))
        .collect()
}

fn files(place: &Place, node: &str) -> BTreeMap<PathBuf, Sha256> {
    snapshot(&place.path(&format!("{node}/media/assets")))
}

#[test]
fn what_a_master_deleted_comes_back_only_there_and_its_bytes_anywhere() {
    let place = Place::new();
    let serving = pair(&place, &[("a/notes.txt", b"one"), ("stays.txt", b"two")]);
    let id = asset(&place, "m", "a/notes.txt");
    run(&place, "m", &["record", "delete", "asset", &id]).ends(0);
    assert_eq!(sync(&place).ends(0).json()["deleted"], 1);

    let trash = listed(&place, "r");
    assert_eq!(trash.len(), 1, "{trash:?}");
    let item = &trash[0];
    assert_eq!(
        (
            text(&item["path"]),
            text(&item["kind"]),
            text(&item["asset"]),
            text(&item["reason"])
        ),
        ("a/notes.txt", "originals", id.as_str(), "deleted")
    );
    assert_eq!(item["size"], 3);
    assert!(text(&item["until"]) > text(&item["when"]));
    let people = run(&place, "r", &["trash", "list"]).ok();
    assert!(
        people.contains("deleted by its master") && people.ends_with("1 file, 3 B\n"),
        "{people}"
    );
    for (args, lines) in [
        (
            ["trash", "list", "--json", "--asset", id.as_str()].as_slice(),
            1,
        ),
        (&["trash", "list", "--json", "--asset", "other"], 0),
        (&["trash", "list", "--json", "--kind", "generated"], 0),
        (&["trash", "list", "--json", "a"], 1),
        (&["trash", "list", "--json", "*.jpg"], 0),
    ] {
        assert_eq!(
            run(&place, "r", args).ok().lines().count(),
            lines,
            "{args:?}"
        );
    }

    let name = text(&item["id"]);
    let refused = run(&place, "r", &["trash", "restore", name]).ends(1);
    assert!(
        refused.stderr.contains("master-") && refused.stderr.contains("--to"),
        "{}",
        refused.stderr
    );
    assert!(!mirrored(&place, "a/notes.txt").exists());
    run(
        &place,
        "r",
        &["trash", "restore", name, "--to", "out", "-n"],
    )
    .ends(0);
    assert!(!place.path("r/out").exists());
    run(
        &place,
        "r",
        &["trash", "restore", "a/notes.txt", "--to", "out"],
    )
    .ends(0);
    assert_eq!(
        fs::read(place.path("r/out/originals/a/notes.txt")).unwrap(),
        b"one"
    );
    // Never over an existing file; one of two is a part.
    fs::write(place.path("r/out/originals/a/notes.txt"), "mine").unwrap();
    run(&place, "r", &["trash", "restore", name, "--to", "out"]).ends(1);
    run(
        &place,
        "r",
        &["trash", "restore", name, "nothing", "--to", "out2"],
    )
    .ends(23);
    assert_eq!(
        fs::read(place.path("r/out/originals/a/notes.txt")).unwrap(),
        b"mine"
    );
    assert_eq!(
        listed(&place, "r").len(),
        1,
        "a copy took the original along"
    );
    assert_equal(&verify(&place, &[]).ends(0).json());
    drop(serving);
}

#[test]
fn what_this_node_deleted_lives_again_with_its_renditions_here_and_at_its_mirrors() {
    let place = Place::new();
    let png = picture();
    let serving = pair(&place, &[("Lake/blue.png", &png), ("stays.txt", b"two")]);
    let (master, mirror) = (files(&place, "m"), files(&place, "r"));
    assert!(master.len() > 4, "no renditions were made: {master:?}");
    let id = asset(&place, "m", "Lake/blue.png");
    run(&place, "m", &["record", "delete", "asset", &id]).ends(0);
    assert_eq!(sync(&place).ends(0).json()["deleted"], 1);
    assert_eq!((files(&place, "m").len(), files(&place, "r").len()), (1, 1));
    assert!(
        listed(&place, "m")
            .iter()
            .all(|item| item["reason"] == "deleted_here")
    );

    let would = run(&place, "m", &["trash", "restore", "Lake/blue.png", "-n"]).ok();
    assert!(would.contains("would be alive again"), "{would}");
    assert_eq!(files(&place, "m").len(), 1);
    // As a kill between bytes and rows leaves it: the name is given, nobody knows of it.
    let trashed = walkdir::WalkDir::new(place.path("m/media/.emsync/trash/originals"));
    let trashed = trashed
        .into_iter()
        .map(Result::unwrap)
        .find(|entry| entry.file_type().is_file());
    let there = place.path("m/media/assets/catalog/originals/Lake/blue.png");
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::hard_link(trashed.unwrap().path(), &there).unwrap();
    let said = run(
        &place,
        "m",
        &["trash", "restore", "originals/Lake/blue.png"],
    )
    .ok();
    assert!(said.contains("alive again"), "{said}");
    assert_eq!(files(&place, "m"), master);
    assert_eq!(listed(&place, "m"), Vec::<Value>::new());

    sync(&place).ends(0);
    assert_eq!(files(&place, "r"), mirror);
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
    let why = run(&place, "m", &["why", &id]).ok();
    assert!(why.contains("nothing is wrong"), "{why}");
    drop(serving);
}

#[test]
fn a_replaced_original_is_kept_and_does_not_take_its_place_back() {
    let place = Place::new();
    let serving = pair(&place, &[("notes.txt", b"old text")]);
    put(&place.path("photos"), "notes.txt", b"new words");
    import(&place, &[]).ends(0);
    sync(&place).ends(0);
    for node in ["m", "r"] {
        let trash = listed(&place, node);
        assert_eq!(trash.len(), 1, "{node}: {trash:?}");
        assert_eq!(trash[0]["reason"], "replaced");
        let refused = run(&place, node, &["trash", "restore", "notes.txt"]).ends(1);
        assert!(
            refused.stderr.contains("taken") && refused.stderr.contains("--to"),
            "{}",
            refused.stderr
        );
        run(
            &place,
            node,
            &["trash", "restore", "notes.txt", "--to", "out"],
        )
        .ends(0);
        let copy = place.path(node).join("out/originals/notes.txt");
        assert_eq!(fs::read(copy).unwrap(), b"old text");
    }
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
    drop(serving);
}

#[test]
fn emptying_asks_first_and_takes_only_what_is_meant() {
    let place = Place::new();
    let serving = pair(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    let id = asset(&place, "m", "a.txt");
    run(&place, "m", &["record", "delete", "asset", &id]).ends(0);
    run(&place, "m", &["trash", "empty", "--all"]).ends(2);
    run(
        &place,
        "m",
        &["trash", "empty", "--all", "--older-than", "1d"],
    )
    .ends(2);
    let said = run(&place, "m", &["trash", "empty"]).ok();
    assert!(said.starts_with("0 files"), "{said}");
    run(&place, "m", &["trash", "empty", "--older-than", "12h"]).ends(0);
    let would = run(&place, "m", &["trash", "empty", "--all", "-n"]).ok();
    assert!(would.contains("would destroy originals/a.txt"), "{would}");
    assert_eq!(listed(&place, "m").len(), 1);
    let done = run(&place, "m", &["trash", "empty", "--all", "--yes", "--json"])
        .ends(0)
        .json();
    assert_eq!(
        (&done["files"], &done["bytes"]),
        (&Value::from(1), &Value::from(3))
    );
    assert_eq!(listed(&place, "m").len(), 0);
    assert_eq!(files(&place, "m").len(), 1);
    run(&place, "m", &["trash", "restore", "a.txt"]).ends(1);
    drop(serving);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_changes_no_byte() {
    let place = Place::new();
    let serving = pair(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    let (gone, stays) = (asset(&place, "m", "a.txt"), asset(&place, "m", "b.txt"));
    run(&place, "m", &["record", "delete", "asset", &gone]).ends(0);
    serving.stop().ends(0);
    let before = snapshot(&place.path("."));
    for (args, says) in [
        (["init", "n", "-n"].as_slice(), "would make node"),
        (
            &[
                "-C",
                "m",
                "peer",
                "add",
                "x",
                "--url",
                "http://h/assets",
                "--key-env",
                "K",
                "-n",
            ],
            "would add to",
        ),
        (
            &["-C", "r", "peer", "remove", "master", "-n"],
            "name = \"master\"",
        ),
        (
            &["-C", "m", "record", "delete", "asset", &stays, "-n"],
            "originals/b.txt",
        ),
        (&["-C", "m", "key", "add", "two", "-n"], "would make a key"),
        (
            &["-C", "m", "key", "revoke", "mirror-1", "-n"],
            "would take the key",
        ),
        (
            &["-C", "m", "trash", "restore", "a.txt", "-n"],
            "would be alive again",
        ),
        (
            &["-C", "m", "trash", "restore", "a.txt", "--to", "out", "-n"],
            "would be copied",
        ),
        (
            &["-C", "m", "trash", "empty", "--all", "-n"],
            "would destroy",
        ),
        (
            &["-C", "r", "quarantine", "retry", "--all", "-n"],
            "0 would be",
        ),
        (
            &["-C", "r", "quarantine", "drop", "--all", "-n"],
            "0 would be",
        ),
        (
            &["-C", "r", "record", "delete", "asset", &stays, "-n"],
            "does not hear of it",
        ),
    ] {
        let said = place.run(args).ok();
        assert!(said.contains(says), "{args:?}: {said}");
        let after = snapshot(&place.path("."));
        // Each run leaves a file of what it said on stderr in the place itself, none in a node.
        let nodes = |all: &BTreeMap<PathBuf, Sha256>| -> Vec<_> {
            let inside = |path: &PathBuf| {
                ["m", "r", "n", "photos"]
                    .iter()
                    .any(|dir| path.starts_with(place.path(".").join(dir)))
            };
            all.iter()
                .filter(|(path, _)| inside(path))
                .map(|(path, sum)| (path.clone(), *sum))
                .collect()
        };
        assert!(nodes(&before).len() > 10);
        assert_eq!(nodes(&before), nodes(&after), "{args:?}");
    }
    for refused in [
        ["-C", "r", "record", "delete", "asset", "none", "-n"].as_slice(),
        &["-C", "m", "key", "add", "mirror-1", "-n"],
        &["-C", "m", "key", "revoke", "nobody", "-n"],
    ] {
        place.run(refused).ends(1);
    }
    for unusable in [
        ["init", "m", "-n"].as_slice(),
        &[
            "-C",
            "r",
            "peer",
            "add",
            "master",
            "--url",
            "http://h/assets",
            "--key-env",
            "K",
            "-n",
        ],
        &["-C", "m", "peer", "remove", "nobody", "-n"],
    ] {
        place.run(unusable).ends(2);
    }
}
