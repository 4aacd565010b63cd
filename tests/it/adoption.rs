//! What is on disk already is never fetched: files put there by hand, moves, twins.
//!
//! `EMSYNC_RENAMED=10000` renames a bigger tree than the 700 files of the normal run.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use emsync::model::{FileKind, Hasher, Sha256, Timestamp};
use emsync::pipeline::{Options, preview_peer};
use emsync::pull::metadata::Scope;
use serde_json::json;

use crate::support::emdb::{Doc, Emdb, KEY, Setup};
use crate::support::master::Master;
use crate::support::node::Mirror;
use crate::support::pair::{self, assert_equal, import, put, sync};
use crate::support::process::Place;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

fn noise(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    let mut block = Sha256::of(&n.to_le_bytes());
    while bytes.len() < len {
        bytes.extend_from_slice(block.as_bytes());
        block = Sha256::of(block.as_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn a_node_whose_media_was_copied_beforehand_seeds_without_receiving_a_byte() {
    let place = Place::new();
    let files: Vec<(String, Vec<u8>)> = (0..40)
        .map(|n| (format!("Set {}/f{n}.bin", n % 7), noise(n, 3_000)))
        .chain([("large.bin".to_owned(), noise(99, 9 << 20))])
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let serving = pair::master(&place, &files);
    pair::mirror(&place, &serving.base, &pair::key(&place));
    let (from, to) = (place.path("m/media/assets"), place.path("r/media/"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status();
    assert!(copied.unwrap().success());
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let large = pair::mirrored(&place, "large.bin");
    let before = inode(&large);
    let report = pair::seed(&place).ends(0).json();
    assert_eq!(
        (
            &report["bytes_received"],
            &report["files_written"],
            &report["files_adopted"]
        ),
        (&json!(0), &json!(0), &json!(41)),
        "{report}"
    );
    assert_eq!(inode(&large), before, "it was written again");
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
    let again = pair::seed(&place).ends(0).json();
    assert_eq!(
        (&again["files_adopted"], &again["files_written"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_adopted_is_given_the_right_time_and_what_is_wrong_is_fetched() {
    let master = Master::new(100).await;
    for n in 0..4 {
        master
            .add(&format!("a{n}"), &format!("f{n}.bin"), &noise(n, 1_000))
            .await;
    }
    let mirror = master.mirror().await;
    let at = |name: &str| mirror.path(FileKind::Original, name);
    std::fs::write(at("f0.bin"), noise(0, 1_000)).unwrap();
    std::fs::write(at("f1.bin"), noise(7, 1_000)).unwrap();
    std::fs::write(at("f2.bin"), &noise(2, 1_000)[..999]).unwrap();
    // Two names of one file: what is written under the other name would change ours.
    std::fs::write(at("f3.bin"), noise(3, 1_000)).unwrap();
    let elsewhere = mirror.node.config.media.root.join("elsewhere");
    std::fs::hard_link(at("f3.bin"), &elsewhere).unwrap();
    let report = mirror.seed().await.report;
    assert_eq!(
        (
            report.files_adopted,
            report.files_written,
            report.bytes_received
        ),
        (2, 2, 2_000)
    );
    mirror.assert_in_sync().await;
    std::fs::write(&elsewhere, "changed").unwrap();
    mirror.assert_in_sync().await;
    let row = mirror.row(FileKind::Original, "f0.bin").await.unwrap();
    let modified = std::fs::metadata(at("f0.bin")).unwrap().modified().unwrap();
    assert_eq!(Timestamp::from(modified), row.file.modified);
    master.end().await;
}

#[test]
fn a_renamed_tree_is_moved_and_not_fetched() {
    let count: u64 = std::env::var("EMSYNC_RENAMED").map_or(700, |text| text.parse().unwrap());
    let place = Place::new();
    let files: Vec<(String, Vec<u8>)> = (0..count)
        .map(|n| (format!("Old/{}/f{n}.bin", n % 50), noise(n, 40)))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let serving = pair::pair(&place, &files);
    let inode = std::fs::metadata(pair::mirrored(&place, "Old/7/f7.bin")).unwrap();
    std::fs::rename(place.path("photos/Old"), place.path("photos/New")).unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&import(&place, &["--json"]).ok()).unwrap();
    assert_eq!(report["moved"], json!(count), "{report}");
    let report = sync(&place).ends(0).json();
    assert_eq!(
        (
            &report["bytes_received"],
            &report["files_moved"],
            &report["deleted"]
        ),
        (&json!(0), &json!(count), &json!(0)),
        "{report}"
    );
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
    let moved = std::fs::metadata(pair::mirrored(&place, "New/7/f7.bin")).unwrap();
    assert_eq!((moved.ino(), moved.nlink()), (inode.ino(), 1));
    assert!(!pair::mirrored(&place, "Old").exists());
    let trash = walkdir::WalkDir::new(place.path("r/media/.emsync/trash")).into_iter();
    assert_eq!(
        trash
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .count(),
        0,
        "a move left copies in the trash"
    );
    drop(serving);
}

#[test]
fn an_equal_file_under_another_path_is_cloned() {
    let place = Place::new();
    let _serving = pair::pair(&place, &[("one.bin", b"the same"), ("two.bin", b"another")]);
    put(&place.path("photos"), "Copies/three.bin", b"the same");
    import(&place, &[]).ends(0);
    let report = sync(&place).ends(0).json();
    assert_eq!(
        (&report["bytes_received"], &report["files_cloned"]),
        (&json!(0), &json!(1)),
        "{report}"
    );
    let inode = |name: &str| {
        std::fs::metadata(pair::mirrored(&place, name))
            .unwrap()
            .ino()
    };
    assert_ne!(inode("one.bin"), inode("Copies/three.bin"));
    assert_equal(&pair::verify(&place, &["--checksum"]).ends(0).json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asset_of_an_emdb_peer_that_moved_is_moved_with_its_renditions() {
    let emdb = Emdb::start(Setup::default()).await;
    let bytes = noise(5, 2_000);
    let mut hasher = Hasher::new(true);
    hasher.update(&bytes);
    let md5 = hasher.finish().md5.unwrap().to_string();
    let asset = |path: &str| {
        let members = json!({
            "sourcepath": path, "isfolder": false, "filesize": bytes.len(), "fileformat": "bin", "importstatus": "complete",
            "editstatus": "6", "md5hex": md5, "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
        });
        Doc::new(
            "asset",
            "a1",
            CLUSTER,
            std::time::SystemTime::now().into(),
            members,
        )
    };
    let thumb = |path: &str| format!("{path}/image200x200.webp");
    emdb.edit(|content| {
        content.record(asset("Here/a.bin"));
        content.original("Here/a.bin", bytes.clone(), MTIME);
        content.generated(&thumb("Here/a.bin"), "thumb", MTIME + 1_000);
    });
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    emdb.edit(|content| {
        content.remove_file("Here/a.bin");
        content.remove_file(&thumb("Here/a.bin"));
        content.record(asset("There/b.bin"));
        content.original("There/b.bin", bytes.clone(), MTIME);
        content.generated(&thumb("There/b.bin"), "thumb", MTIME + 1_000);
    });
    let report = mirror.sync().await.report;
    assert_eq!((report.bytes_received, report.files_moved), (0, 2));
    mirror.assert_in_sync().await;
    assert_eq!(mirror.read(FileKind::Original, "Here/a.bin"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_file_that_changed_on_disk_is_not_moved_but_fetched() {
    let master = Master::new(100).await;
    master.add("a1", "old.bin", b"content").await;
    let mirror = master.mirror().await;
    mirror.seed().await;
    std::fs::write(mirror.path(FileKind::Original, "old.bin"), b"CONTENT").unwrap();
    master.add("a1", "new.bin", b"content").await;
    let report = mirror.sync().await.report;
    assert_eq!((report.files_moved, report.bytes_received), (0, 7));
    assert_eq!(
        mirror.read(FileKind::Original, "new.bin").as_deref(),
        Some(&b"content"[..])
    );
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_only_touched_gets_its_date_back_and_one_that_was_edited_is_fetched() {
    let master = Master::new(100).await;
    for n in 0..3 {
        master
            .add(&format!("a{n}"), &format!("f{n}.bin"), &noise(n, 1_000))
            .await;
    }
    let mirror = master.mirror().await;
    mirror.seed().await;
    let at = |name: &str| mirror.path(FileKind::Original, name);
    let date = |name: &str| std::fs::metadata(at(name)).unwrap().modified().unwrap();
    let before = date("f0.bin");
    let later = before + std::time::Duration::from_secs(90);
    std::fs::write(at("f1.bin"), noise(7, 1_000)).unwrap();
    for name in ["f0.bin", "f1.bin"] {
        let file = std::fs::File::options().append(true).open(at(name));
        file.unwrap().set_modified(later).unwrap();
    }
    let options = Options {
        checksum: true,
        ..Options::of(Scope::Everything)
    };
    let (node, peer) = (&mirror.node, mirror.peer());
    let monitor = mirror.monitor.clone();
    let preview = preview_peer(node, &peer, options, monitor, &mirror.shutdown);
    assert_eq!(preview.await.unwrap().originals.files, 1);
    assert_eq!(date("f0.bin"), later, "a dry run changed a date");
    assert_eq!(node.catalogue.damaged().await.unwrap(), 0);
    let report = mirror.seed().await.report;
    assert_eq!(
        (
            report.files_written,
            report.files_adopted,
            report.bytes_received
        ),
        (1, 0, 1_000)
    );
    assert_eq!(date("f0.bin"), before);
    mirror.assert_in_sync().await;
    master.end().await;
}
