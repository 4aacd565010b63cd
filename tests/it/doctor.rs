//! A catalogue that is damaged, lost or copied: what every command says, what a rebuild brings back, what it costs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emsync::catalogue::{Catalogue, examine_copy};
use emsync::model::Timestamp;
use emsync::model::preset::{PresetTable, image_presets};
use emsync::node::doctor::{Check, State, examine};
use emsync::node::{Node, snapshots};
use emsync::seams::{Clock, Seams};
use emsync::shutdown::Shutdown;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::node::new_node;
use crate::support::pair::{
    assert_equal, import, key, master, mirror, mirrored, pair, put, seed, sync, verify,
};
use crate::support::process::{Place, Ran};
use crate::support::said::say;

fn files(count: usize) -> Vec<(String, Vec<u8>)> {
    let file = |n: usize| {
        (
            format!("Dir {}/File {n:02}.txt", n % 4),
            vec![n as u8; 500 + n],
        )
    };
    (0..count).map(file).collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    let pairs = files.iter();
    pairs
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect()
}

fn database(place: &Place, node: &str) -> PathBuf {
    place.path(node).join("state/emsync.db")
}

/// Removes the database and what belongs to it.
fn lose(database: &Path) {
    for part in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(part);
        let _ = fs::remove_file(path);
    }
}

fn rebuild(place: &Place, node: &str, more: &[&str]) -> Ran {
    let mut args = vec!["-C", node, "doctor", "--rebuild", "--json"];
    args.extend(more);
    place.run(&args)
}

/// Names of what was moved aside.
fn aside(place: &Place, node: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(place.path(node).join("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".damaged-")).collect()
}

/// The mirror must come back without a media byte, and equal its master.
#[track_caller]
fn assert_comes_back(place: &Place, what: &str) {
    let report = seed(place).ends(0).json();
    assert_eq!(report["bytes_received"], 0, "{what}: {report}");
    assert_eq!(report["in_sync"], true, "{what}: {report}");
    assert_equal(&verify(place, &["--checksum"]).ends(0).json());
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 5] = [
    ("cut in half", |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }),
    ("cut to nothing", |path| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(0)
            .unwrap();
    }),
    ("pages of zeros", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[4096..].fill(0);
        fs::write(path, bytes).unwrap();
    }),
    ("garbage in front", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[..512].fill(0xa5);
        fs::write(path, bytes).unwrap();
    }),
    ("deleted", lose),
];

#[test]
fn a_damaged_catalogue_names_the_doctor_and_comes_back_without_a_media_byte() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(24)));
    let database = database(&place, "r");
    for (count, (what, damage)) in DAMAGES.into_iter().enumerate() {
        damage(&database);
        let was_there = database.exists();
        for command in [
            &["status"][..],
            &["seed", "master"],
            &["serve"],
            &["key", "list"],
        ] {
            let ran = place.run(&[&["-C", "r"], command].concat()).ends(7);
            assert!(
                ran.stderr.contains("doctor --rebuild"),
                "{what}: {}",
                ran.stderr
            );
        }
        let looked = place.run(&["-C", "r", "doctor", "--json"]).ends(7).json();
        assert_eq!(check(&looked, "catalogue")["state"], "fatal", "{looked}");
        let before = aside(&place, "r");
        let would = rebuild(&place, "r", &["-n"]).ends(0).json();
        assert_eq!(would["dry_run"], true);
        assert_eq!(aside(&place, "r"), before, "a dry run moves nothing");
        place.run(&["-C", "r", "status"]).ends(7);

        let rebuilt = rebuild(&place, "r", &[]).ends(0).json();
        assert_eq!(rebuilt["kept"], would["kept"], "{what}");
        let began = rebuilt["began_with"]["path"].as_str().unwrap();
        assert!(began.contains(".emsync/snapshots/catalogue-"), "{began}");
        assert_eq!(rebuilt["rows_missing"], 0, "{what}: {rebuilt}");
        assert_eq!(rebuilt["kept"]["originals"], 24, "{what}: {rebuilt}");
        assert_eq!(rebuilt["next"], json!(["emsync seed master"]));
        assert_eq!(
            aside(&place, "r").len() - before.len(),
            usize::from(was_there)
        );
        assert_comes_back(&place, what);
        place.run(&["-C", "r", "doctor", "--deep"]).ends(0);
        say(&format!("damage {}: {what}", count + 1));
    }
    let again = rebuild(&place, "r", &[]).ends(0).json();
    assert_eq!(again["was_whole"], true, "{again}");

    // Nothing to begin with at all.
    fs::remove_dir_all(place.path("r/media/.emsync/snapshots")).unwrap();
    lose(&database);
    let rebuilt = rebuild(&place, "r", &[]).ends(0).json();
    assert_eq!(
        (&rebuilt["began_with"], &rebuilt["files_without_row"]),
        (&Value::Null, &json!(24)),
        "{rebuilt}"
    );
    assert_comes_back(&place, "without a snapshot");
}

#[track_caller]
fn check<'a>(looked: &'a Value, name: &str) -> &'a Value {
    let checks = looked["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn a_lost_write_ahead_log_is_an_older_catalogue_and_not_a_wrong_one() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(6)));
    let database = database(&place, "r");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Somebody has the database open, so that what the sync commits stays in the log.
    let open = runtime.block_on(Catalogue::open(&database)).unwrap();
    put(&place.path("photos"), "New/late.txt", b"late");
    import(&place, &[]).ends(0);
    assert_eq!(sync(&place).ends(0).json()["bytes_received"], 4);
    let without_log = fs::read(&database).unwrap();
    runtime.block_on(open.close());
    lose(&database);
    fs::write(&database, without_log).unwrap();
    let parity = verify(&place, &[]);
    assert_eq!(parity.code, Some(26), "{}", parity.stderr);
    assert_comes_back(&place, "without its log");
    assert!(mirrored(&place, "New/late.txt").exists());
}

#[test]
fn rows_that_the_disk_contradicts_are_forgotten_and_fetched_again_and_nothing_else_is() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(12)));
    let path = |n: usize| mirrored(&place, &format!("Dir {}/File {n:02}.txt", n % 4));
    fs::remove_file(path(1)).unwrap();
    fs::write(path(2), b"shorter").unwrap();
    // The same size and time: only reading tells.
    let modified = fs::metadata(path(3)).unwrap().modified().unwrap();
    let mut bytes = fs::read(path(3)).unwrap();
    bytes[0] ^= 1;
    fs::write(path(3), bytes).unwrap();
    let open = fs::File::options().write(true).open(path(3)).unwrap();
    open.set_modified(modified).unwrap();
    lose(&database(&place, "r"));
    let rebuilt = rebuild(&place, "r", &["--checksum"]).ends(0).json();
    assert_eq!(
        (&rebuilt["rows_missing"], &rebuilt["rows_changed"]),
        (&json!(1), &json!(2)),
        "{rebuilt}"
    );
    assert_eq!(rebuilt["files_without_row"], 2, "{rebuilt}");
    assert!(rebuilt["forgotten"]["checkpoints"].as_u64().unwrap() <= 1);
    assert!(rebuilt["cannot_know"].as_array().unwrap().len() > 3);
    let report = seed(&place).ends(0).json();
    assert_eq!(report["bytes_received"], 501 + 502 + 503, "{report}");
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
}

fn ids(place: &Place) -> BTreeSet<String> {
    let list = place.run(&["-C", "m", "record", "list", "asset"]).ok();
    let ids = list
        .lines()
        .map(|line| line.split_whitespace().next().unwrap());
    ids.map(str::to_owned).collect()
}

#[test]
fn a_master_that_lost_its_catalogue_has_the_same_assets_after_a_rebuild_and_an_import() {
    let place = Place::new();
    let serving = master(&place, &borrowed(&files(10)));
    mirror(&place, &serving.base, &key(&place));
    seed(&place).ends(0);
    let before = ids(&place);
    assert_eq!(before.len(), 10);

    // Not while it serves, which is said with the process.
    fs::rename(database(&place, "m"), place.path("kept.db")).unwrap();
    let ran = rebuild(&place, "m", &[]).ends(11);
    assert!(
        ran.stderr.contains("serve is already running"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("process "), "{}", ran.stderr);
    let looked = place.run(&["-C", "m", "doctor", "--json"]).ends(7).json();
    let locks = check(&looked, "locks")["detail"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(locks.contains("serve by process"), "{locks}");
    serving.stop();

    // An original that is gone as well comes from the folder.
    let original = place.path("m/media/assets/catalog/originals/Dir 1/File 01.txt");
    fs::remove_file(&original).unwrap();
    lose(&database(&place, "m"));
    let rebuilt = rebuild(&place, "m", &[]).ends(0).json();
    assert_eq!(rebuilt["rows_missing"], 1, "{rebuilt}");
    assert!(
        rebuilt["next"][0].as_str().unwrap().contains("photos"),
        "{rebuilt}"
    );
    import(&place, &[]).ends(0);
    assert_eq!(ids(&place), before);
    assert!(original.exists());
    place
        .run(&["-C", "m", "verify", "--checksum", "--report", "../m.json"])
        .ends(0);
    let serving = place.serve("m");
    rename_peer(&place, &serving.base);
    // The key is in the snapshot, or it is not: it was made after the import took one.
    let fresh = place.run(&["-C", "m", "key", "add", "again"]).ok();
    fs::write(place.path("r/key.txt"), fresh).unwrap();
    let report = seed(&place).ends(0).json();
    assert_eq!(
        (&report["bytes_received"], &report["deleted"]),
        (&json!(0), &json!(0)),
        "{report}"
    );
    serving.stop().ends(0);

    fs::remove_dir_all(place.path("m/media/.emsync/snapshots")).unwrap();
    lose(&database(&place, "m"));
    rebuild(&place, "m", &[]).ends(0);
    let said = import(&place, &["--json"]).ends(0).json();
    assert_eq!(said["added"], 10, "{said}");
    assert_eq!(ids(&place), before);
}

fn rename_peer(place: &Place, url: &str) {
    let settings = place.path("r/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("base_url"))
        .unwrap();
    let text = text.replace(line, &format!("base_url = {url:?}"));
    fs::write(settings, text).unwrap();
}

#[test]
fn a_rebuild_that_is_killed_anywhere_is_finished_by_the_next_one() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(60)));
    let database = database(&place, "r");
    let state = place.path("r/state");
    let is_there = |part: &str| {
        let mut entries = fs::read_dir(&state).unwrap();
        entries.any(|entry| entry.unwrap().file_name().to_string_lossy().contains(part))
    };
    let (mut killed, mut in_place) = (0, 0);
    for round in 0..8 {
        for name in aside(&place, "r") {
            fs::remove_file(state.join(name)).unwrap();
        }
        fs::write(&database, [7; 9_000]).unwrap();
        let running = place.start(&["-C", "r", "doctor", "--rebuild", "--checksum", "--json"]);
        // What it does is seen in the directory: it builds, then it moves.
        let sign = [".db.rebuild", ".db.rebuild-wal", ".damaged-", "rebuild"][round % 4];
        while !is_there(sign) && !running.has_ended() {
            std::thread::yield_now();
        }
        running.signal(Signal::KILL);
        killed += u32::from(running.wait().code.is_none());
        let status = place.run(&["-C", "r", "status"]);
        match status.code {
            Some(0) => in_place += 1,
            _ => assert!(
                status.stderr.contains("doctor --rebuild"),
                "{}",
                status.stderr
            ),
        }
        rebuild(&place, "r", &[]).ends(0);
        place.run(&["-C", "r", "doctor", "--deep"]).ends(0);
        assert!(!is_there(".db.rebuild"), "left behind");
        assert!(
            !aside(&place, "r").is_empty(),
            "the damaged one is never removed"
        );
    }
    assert_comes_back(&place, "killed");
    say(&format!(
        "rebuild: {killed} of 8 were killed before their end, {in_place} of them in place"
    ));
    assert!(killed > 0);
}

#[test]
fn a_snapshot_that_does_not_open_is_passed_over_and_one_that_is_named_must_open() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(3)));
    let dir = place.path("r/media/.emsync/snapshots");
    let good = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    fs::write(dir.join("catalogue-29991231T000000.000.db"), [9; 5_000]).unwrap();
    let looked = place.run(&["-C", "r", "doctor", "--json"]).ends(1).json();
    assert_eq!(check(&looked, "snapshots")["state"], "failed", "{looked}");
    lose(&database(&place, "r"));
    let bad = dir.join("catalogue-29991231T000000.000.db");
    rebuild(&place, "r", &["--snapshot", bad.to_str().unwrap()]).ends(2);
    let rebuilt = rebuild(&place, "r", &[]).ends(0).json();
    assert_eq!(rebuilt["passed_over"].as_array().unwrap().len(), 1);
    assert_eq!(rebuilt["began_with"]["path"], good.to_str().unwrap());
    // On purpose also where the catalogue is whole.
    let rebuilt = rebuild(&place, "r", &["--snapshot", good.to_str().unwrap()]);
    let rebuilt = rebuilt.ends(0).json();
    assert_eq!(rebuilt["was_whole"], false);
    assert_eq!(
        rebuilt["moved_aside"].as_array().unwrap().len(),
        1,
        "{rebuilt}"
    );
    assert_comes_back(&place, "back to a snapshot");
}

#[test]
fn nothing_is_rebuilt_without_the_marker() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&files(3)));
    fs::rename(place.path("r/media"), place.path("unmounted")).unwrap();
    fs::create_dir(place.path("r/media")).unwrap();
    lose(&database(&place, "r"));
    rebuild(&place, "r", &[]).ends(7);
    let looked = place.run(&["-C", "r", "doctor", "--json"]).ends(7).json();
    assert_eq!(check(&looked, "marker")["state"], "fatal", "{looked}");
    fs::remove_dir(place.path("r/media")).unwrap();
    fs::rename(place.path("unmounted"), place.path("r/media")).unwrap();
    rebuild(&place, "r", &[]).ends(0);
    assert_comes_back(&place, "mounted again");
    // The disk is lost, and another one is in its place: nothing takes it by itself.
    fs::remove_dir_all(place.path("r/media")).unwrap();
    fs::create_dir(place.path("r/media")).unwrap();
    let mends = "emsync doctor --new-volume";
    let refused = sync(&place).ends(7);
    assert!(refused.stderr.contains(mends), "{}", refused.stderr);
    let taken = place.run(&["-C", "r", "doctor", "--new-volume"]).ok();
    assert!(taken.contains("emsync seed master"), "{taken}");
    assert_eq!(seed(&place).ends(0).json()["in_sync"], true);
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
}

/// A clock that stands where it is put.
#[derive(Debug)]
struct Standing(Mutex<Timestamp>);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_copy_is_made_once_a_day_and_seven_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = new_node(&dir.path().join("n"), "Node");
    config.limits.reserve = 0;
    Node::init(&config).await.unwrap();
    let start = Timestamp::from_millis(1_772_358_067_512);
    let clock = Arc::new(Standing(Mutex::new(start)));
    let seams = Seams {
        clock: clock.clone(),
        ..Seams::os()
    };
    let node = Node::open(config.clone(), seams.clone()).await.unwrap();
    let stop = Shutdown::new();
    let hour = Duration::from_secs(3_600);
    let mut made = Vec::new();
    for day in 0..8_u32 {
        for at in [Duration::ZERO, hour, 23 * hour] {
            *clock.0.lock().unwrap() = start.plus(24 * hour * day + at);
            made.extend(snapshots::daily(&node, &stop).await);
        }
    }
    assert_eq!(made.len(), 8, "one a day");
    let kept = node.store.snapshots().unwrap().list().unwrap();
    assert_eq!(kept, made[1..], "the newest seven");
    for snapshot in &kept {
        let path = node.store.snapshots().unwrap().path(&snapshot.name);
        assert!(examine_copy(&path).await.unwrap().is_sound());
    }

    // A disk that is nearly full, an end that was asked for, a volume that is not there: no copy, and no failure.
    *clock.0.lock().unwrap() = start.plus(24 * hour * 20);
    config.limits.reserve = u64::MAX / 2;
    let full = Node::open(config, seams).await.unwrap();
    assert_eq!(snapshots::daily(&full, &stop).await, None);
    stop.request();
    assert_eq!(snapshots::daily(&node, &stop).await, None);
    let marker = dir.path().join("n/media/.emsync/root.json");
    fs::rename(&marker, dir.path().join("marker")).unwrap();
    assert_eq!(snapshots::daily(&node, &Shutdown::new()).await, None);
    fs::rename(dir.path().join("marker"), &marker).unwrap();
    assert_eq!(node.store.snapshots().unwrap().list().unwrap(), kept);
    assert!(snapshots::daily(&node, &Shutdown::new()).await.is_some());
}

#[test]
fn a_catalogue_of_an_older_emsync_is_copied_before_its_schema_changes() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    let database = database(&place, "m");
    lose(&database);
    // As the first version made it.
    let migrations = place.path("first");
    fs::create_dir(&migrations).unwrap();
    let first = "0001_catalogue.sql";
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalogue/migrations");
    fs::copy(ours.join(first), migrations.join(first)).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let migrator = sqlx::migrate::Migrator::new(migrations).await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        migrator.run(&pool).await.unwrap();
        sqlx::query(
            "INSERT INTO file (kind, path, asset, size, modified, sha256, authored, received_at)
             VALUES (0, 'Größe/a.bin', 'a1', 3, 5000, zeroblob(32), 0, 0), (1, 'Größe/a.bin/t.webp', 'a1', 4, 5000, zeroblob(32), 0, 0)",
        )
        .execute(&pool)
        .await
        .unwrap();
        pool.close().await;
    });
    let settings = place.path("m/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let limited = text.replace("\n[limits]\n", "\n[limits]\nreserve = \"4000TiB\"\n");
    assert_ne!(text, limited);
    fs::write(&settings, limited).unwrap();
    let ran = place.run(&["-C", "m", "status"]).ends(7);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("limits.reserve"), "{}", ran.stderr);
    fs::write(&settings, text).unwrap();

    let status = place.run(&["-C", "m", "status", "--json"]).ends(0).json();
    let files = &status["files"];
    assert_eq!(
        (&files["originals"], &files["generated_bytes"]),
        (&json!(1), &json!(4)),
        "{status}"
    );
    let dir = place.path("m/media/.emsync/snapshots");
    let copies: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(copies.len(), 1);
    assert!(
        copies[0].to_str().unwrap().contains("-before-"),
        "{copies:?}"
    );
    let copy = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(examine_copy(&copies[0]));
    assert_eq!(copy.unwrap().version, 1);
    place.run(&["-C", "m", "status"]).ends(0);
    lose(&database);
    let rebuilt = rebuild(&place, "m", &[]).ends(0).json();
    let began = rebuilt["began_with"]["path"].as_str().unwrap();
    assert!(began.contains("-before-"), "{rebuilt}");
    place.run(&["-C", "m", "doctor"]).ends(0);
}

#[tokio::test]
async fn a_preset_that_is_not_made_here_is_named_with_what_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = new_node(&dir.path().join("n"), "Node");
    Node::init(&config).await.unwrap();
    let is_named = |check: &Check| check.name == "presets";
    let checks = examine(&config, &Seams::os(), false).await;
    assert!(!checks.iter().any(is_named));
    let mut presets = image_presets();
    presets[3].colour_space = Some("CMYK".to_owned());
    config.media.presets = Arc::new(PresetTable::new(presets));
    let checks = examine(&config, &Seams::os(), false).await;
    let named: Vec<_> = checks.into_iter().filter(is_named).collect();
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].state, State::Warning);
    assert_eq!(
        named[0].detail,
        "webpthumbimage is not made here: it asks for a colorspace"
    );
}
