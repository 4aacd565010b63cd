//! Going back to a moment, with the real program: records, originals, deletes, and what cannot be had.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;

use serde_json::Value;

use crate::support::pair::{self, put};
use crate::support::process::{Place, Ran};

fn run(place: &Place, args: &[&str]) -> Ran {
    let mut all = vec!["-C", "m"];
    all.extend(args);
    place.run(&all)
}

/// A master of a folder, without anybody else.
fn master(place: &Place, files: &[(&str, &[u8])]) {
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    for (path, bytes) in files {
        put(&place.path("photos"), path, bytes);
    }
    import(place);
}

fn import(place: &Place) {
    pair::import(place, &["--max-delete", "100%"]).ends(0);
}

/// A moment between what was done before and what is done next.
fn moment() -> String {
    let now = || jiff::Timestamp::now().as_millisecond();
    let wait_for_the_next = |at: i64| while now() <= at {};
    wait_for_the_next(now());
    let at = jiff::Timestamp::from_millisecond(now())
        .unwrap()
        .to_string();
    wait_for_the_next(now());
    at
}

fn record(place: &Place, path: &str) -> Value {
    let listed = run(place, &["record", "list", "asset", "--json", "--deleted"]).ok();
    let records = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let mut found = records.filter(|record: &Value| record["sourcepath"] == path);
    found.next().unwrap_or_else(|| panic!("no asset at {path}"))
}

fn id(place: &Place, path: &str) -> String {
    record(place, path)["id"].as_str().unwrap().to_owned()
}

fn original(place: &Place, path: &str) -> Option<Vec<u8>> {
    fs::read(place.path("m/media/assets/catalog/originals").join(path)).ok()
}

/// The lines of a restore for assets, and its sums.
fn restored(ran: Ran) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sums = lines.pop().unwrap();
    (lines, sums)
}

#[track_caller]
fn sound(place: &Place) {
    let looked = run(
        place,
        &["verify", "--checksum", "--report", "report.json", "--json"],
    );
    assert_eq!(looked.ends(0).json()["differences_total"], 0);
}

#[test]
fn a_replaced_original_and_its_record_come_back_and_a_restore_is_undone_by_another() {
    let mut place = Place::new();
    master(&place, &[("a.txt", b"one"), ("b.txt", b"stays")]);
    let a = id(&place, "a.txt");
    run(
        &place,
        &["record", "put", "asset", &a, "--set", "headline=First"],
    )
    .ends(0);
    let name = |id: &str, name: &str| {
        let set = format!("name={name}");
        let put = ["record", "put", "librarycollection", id, "--set", &set];
        run(&place, &put).ends(0);
    };
    name("c1", "First");
    let then = moment();
    run(
        &place,
        &["record", "put", "asset", &a, "--set", "headline=Second"],
    )
    .ends(0);
    name("c1", "Second");
    name("c2", "New");
    put(&place.path("photos"), "a.txt", b"another one");
    import(&place);
    assert_eq!(original(&place, "a.txt").unwrap(), b"another one");
    let before = moment();

    let looked = run(&place, &["restore", &a, "--to", &then, "-n"]).ok();
    assert!(
        looked.contains("its record goes back")
            && looked.contains("3 bytes come back from the trash"),
        "{looked}"
    );
    assert_eq!(record(&place, "a.txt")["headline"], "Second");
    let (lines, sums) = restored(run(&place, &["restore", &a, "--to", &then, "--json"]).ends(0));
    assert_eq!(
        (lines.len(), &lines[0]["done"]),
        (1, &true.into()),
        "{lines:?}"
    );
    assert_eq!(
        (&sums["restored"], &sums["originals"]),
        (&1.into(), &1.into())
    );
    assert_eq!(original(&place, "a.txt").unwrap(), b"one");
    assert_eq!(record(&place, "a.txt")["headline"], "First");
    assert_eq!(
        record(&place, "a.txt")["filesize"],
        record(&place, "a.txt")["filesize"]
    );
    sound(&place);
    // Other tables: one of them, then all of them.
    let of_table = ["restore", "--table", "librarycollection", "--to", &then];
    let looked = run(&place, &[&of_table[..], &["-n"]].concat()).ok();
    assert!(
        looked.contains("librarycollection/c1: goes back")
            && looked.contains("librarycollection/c2: did not exist then"),
        "{looked}"
    );
    let restoring = [&of_table[..], &["--delete-newer", "--json"]].concat();
    let (_, sums) = restored(run(&place, &restoring).ends(0));
    assert_eq!((&sums["records"], &sums["deleted"]), (&1.into(), &1.into()));
    let collection = |place: &Place| {
        run(place, &["record", "get", "librarycollection", "c1"])
            .ends(0)
            .json()
    };
    assert_eq!(collection(&place)["name"], "First");
    // Once more there is nothing to do, and the folder's newer file is no news.
    let (lines, sums) =
        restored(run(&place, &["restore", "--all", "--to", &then, "--json"]).ends(0));
    assert_eq!(
        (lines.len(), &sums["restored"]),
        (0, &0.into()),
        "{lines:?}"
    );
    import(&place);
    assert_eq!(original(&place, "a.txt").unwrap(), b"one");

    // Killed in the middle, it says so until the same is asked for again.
    let to_before = ["restore", "--all", "--to", &before, "--json"];
    let is_open = |place: &Place| {
        run(place, &["status"])
            .ok()
            .contains("ask for the same restore again")
    };
    assert!(!is_open(&place));
    place.set("EMSYNC_CRASH", "restore.published");
    assert_eq!(run(&place, &to_before).code, None);
    // A point that nothing here passes.
    place.set("EMSYNC_CRASH", "scrub.ending");
    assert!(is_open(&place));
    let (_, sums) = restored(run(&place, &to_before).ends(0));
    assert!(!is_open(&place));
    assert_eq!((&sums["restored"], &sums["failed"]), (&1.into(), &0.into()));
    // Their records had gone back before the kill.
    assert_eq!(
        (&sums["records"], &collection(&place)["name"]),
        (&0.into(), &"Second".into())
    );
    assert_eq!(original(&place, "a.txt").unwrap(), b"another one");
    assert_eq!(record(&place, "a.txt")["headline"], "Second");
    sound(&place);
}

/// The renditions of an original, by their names.
fn shown(place: &Place, path: &str) -> BTreeMap<OsString, Vec<u8>> {
    let folder = place.path("m/media/assets/catalog/generated").join(path);
    let files = fs::read_dir(folder).unwrap().map(|file| {
        let file = file.unwrap().path();
        (
            file.file_name().unwrap().to_owned(),
            fs::read(&file).unwrap(),
        )
    });
    files.collect()
}

/// A crop is of the original that it was drawn on, and comes and goes with it.
#[test]
fn the_renditions_and_crops_of_what_is_restored_are_those_of_then() {
    const OTHER: &[u8] = include_bytes!("../../assets-fixtures/originals/Animals/chelsea.jpg");
    const PHOTO: &[u8] =
        include_bytes!("../../assets-fixtures/originals/Portraits/orientation-6.jpg");
    let mut place = Place::new();
    let paths = ["p/a.jpg", "p/b.jpg"];
    master(&place, &paths.map(|path| (path, PHOTO)));
    let ids = paths.map(|path| id(&place, path));
    let crop = |asset: &str, rectangle: &str| {
        let set = ["crop", "set", asset, "webpthumbimage", rectangle];
        run(&place, &set).ends(0);
    };
    for asset in &ids {
        crop(asset, "20x20+5+3");
    }
    let then = moment();
    let as_then = paths.map(|path| shown(&place, path));
    // One gets another original with a crop of that, the other one another crop alone.
    put(&place.path("photos"), paths[0], OTHER);
    import(&place);
    crop(&ids[0], "40x40+60+60");
    crop(&ids[1], "10x10+1+1");
    let before = moment();
    let as_before = paths.map(|path| shown(&place, path));
    let thumb = OsStr::new("image200x200.webp");
    for (then, before) in as_then.iter().zip(&as_before) {
        assert_ne!(then[thumb], before[thumb]);
    }

    let restore = |more: &[&str], to: &str| {
        let args = [&["restore"], more, &["--to", to, "--json"]].concat();
        restored(run(&place, &args).ends(0)).1
    };
    let sums = restore(&[&ids[0]], &then);
    assert_eq!(
        [&sums["restored"], &sums["originals"], &sums["records"]],
        [1, 1, 1],
        "{sums}"
    );
    assert_eq!(shown(&place, paths[0]), as_then[0]);
    assert_eq!(
        shown(&place, paths[1]),
        as_before[1],
        "nobody asked for this one"
    );
    // Of a category, there and back; the first has nothing to do there.
    restore(&["--category", "p"], &then);
    assert_eq!(paths.map(|path| shown(&place, path)), as_then);
    restore(&["--category", "p"], &before);
    assert_eq!(paths.map(|path| shown(&place, path)), as_before);
    // A crop that did not exist then goes where that is asked for, and is shown no more.
    run(&place, &["crop", "clear", &ids[1], "webpthumbimage"]).ends(0);
    let bare = (moment(), shown(&place, paths[1]));
    crop(&ids[1], "10x10+1+1");
    restore(&["--all", "--delete-newer"], &bare.0);
    assert_eq!(shown(&place, paths[1]), bare.1);
    restore(&["--all"], &then);
    assert_eq!(paths.map(|path| shown(&place, path)), as_then);
    // One that is cut short before it comes to the pictures goes on there.
    crop(&ids[1], "10x10+1+1");
    place.set("EMSYNC_CRASH", "restore.rendering");
    let again = ["restore", &ids[1], "--to", &then];
    assert_eq!(run(&place, &again).code, None);
    // A point that nothing here passes.
    place.set("EMSYNC_CRASH", "scrub.ending");
    assert_ne!(shown(&place, paths[1]), as_then[1]);
    run(&place, &again).ends(0);
    assert_eq!(shown(&place, paths[1]), as_then[1]);
    let stale = run(&place, &["thumbs", "rebuild", "-n", "--json"]).ends(0);
    assert_eq!(stale.json()["stale"], 0);
    sound(&place);
}

#[test]
fn deleted_assets_come_back_newer_ones_go_only_when_asked_and_what_is_lost_is_said() {
    let place = Place::new();
    master(
        &place,
        &[
            ("x/a.txt", b"one"),
            ("x/b.txt", b"two"),
            ("c.txt", b"three"),
        ],
    );
    let [a, b, c] = ["x/a.txt", "x/b.txt", "c.txt"].map(|path| id(&place, path));
    let then = moment();
    fs::remove_dir_all(place.path("photos")).unwrap();
    put(&place.path("photos"), "new.txt", b"new");
    import(&place);
    for (asset, path) in [(&a, "x/a.txt"), (&b, "x/b.txt"), (&c, "c.txt")] {
        assert_eq!((original(&place, path), &id(&place, path)), (None, asset));
    }
    // One of them is gone for good.
    let listed = run(&place, &["trash", "list", "--json", "--asset", &c]).ok();
    let item: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let trash = place.path("m/media/.emsync/trash/originals");
    let slots = fs::read_dir(trash)
        .unwrap()
        .map(|slot| slot.unwrap().path());
    let lost: Vec<_> = slots
        .map(|slot| slot.join("c.txt"))
        .filter(|file| file.exists())
        .collect();
    assert_eq!((lost.len(), item["path"].as_str()), (1, Some("c.txt")));
    fs::remove_file(&lost[0]).unwrap();

    let (lines, sums) = restored(
        run(
            &place,
            &["restore", "--category", "x", "--to", &then, "-n", "--json"],
        )
        .ends(0),
    );
    assert_eq!(
        (lines.len(), &sums["undeleted"]),
        (2, &2.into()),
        "{lines:?}"
    );
    assert_eq!(original(&place, "x/a.txt"), None);
    let (lines, sums) =
        restored(run(&place, &["restore", "--all", "--to", &then, "--json"]).ends(23));
    assert_eq!(
        (
            &sums["restored"],
            &sums["undeleted"],
            &sums["failed"],
            &sums["newer"]
        ),
        (&2.into(), &2.into(), &1.into(), &1.into()),
        "{lines:?}"
    );
    let failed = lines
        .iter()
        .find(|line| line["asset"] == c.as_str())
        .unwrap();
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("in the trash no more"),
        "{failed}"
    );
    assert_eq!(original(&place, "x/a.txt").unwrap(), b"one");
    assert_eq!(original(&place, "new.txt").unwrap(), b"new");
    sound(&place);

    let held = [
        "restore",
        "--all",
        "--to",
        &then,
        "--delete-newer",
        "--max-delete",
        "0",
    ];
    run(&place, &held).ends(25);
    assert_eq!(original(&place, "new.txt").unwrap(), b"new");
    let (_, sums) = restored(
        run(
            &place,
            &[
                "restore",
                "--all",
                "--to",
                &then,
                "--delete-newer",
                "--json",
            ],
        )
        .ends(23),
    );
    assert_eq!(sums["deleted"], 1, "{sums}");
    assert_eq!(original(&place, "new.txt"), None);
    sound(&place);
}

#[test]
fn a_moment_or_an_asset_that_cannot_be_meant_is_refused() {
    let place = Place::new();
    master(&place, &[("a.txt", b"one")]);
    let a = id(&place, "a.txt");
    for (args, code) in [
        (vec!["restore", &a, "--to", "yesterday"], 2),
        (vec!["restore", &a, "--to", "2999-01-01"], 2),
        (vec!["restore", "--to", "1h"], 2),
        (vec!["restore", "nobody", "--to", "1h"], 1),
        (vec!["restore", "--category", "none", "--to", "1h"], 2),
    ] {
        run(&place, &args).ends(code);
    }
}

#[test]
fn versions_stay_as_long_as_they_are_told_and_other_trash_as_long_as_it_is() {
    let place = Place::new();
    master(&place, &[("a.txt", b"one"), ("b.txt", b"two")]);
    put(&place.path("photos"), "a.txt", b"another one");
    import(&place);
    let b = id(&place, "b.txt");
    run(&place, &["record", "delete", "asset", &b]).ends(0);
    let settings = place.path("m/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let text = text.replace("#versions", "versions");
    fs::write(
        &settings,
        text.replace("#trash_days = 30", "trash_days = 20"),
    )
    .unwrap();
    let listed = run(&place, &["trash", "list", "--json"]).ok();
    let days = |line: &str| {
        let item: Value = serde_json::from_str(line).unwrap();
        let at = |name: &str| -> jiff::Timestamp { item[name].as_str().unwrap().parse().unwrap() };
        let stays = at("until").as_second() - at("when").as_second();
        (item["reason"].as_str().unwrap().to_owned(), stays / 86_400)
    };
    let mut found: Vec<_> = listed.lines().map(days).collect();
    found.sort();
    assert_eq!(
        found,
        [("deleted_here".to_owned(), 20), ("replaced".to_owned(), 90)]
    );
}
