//! Masters that forget, fail or come late: hazards that have no wire fault of their own.

use bytes::Bytes;
use emsync::config::{Config, Generated};
use emsync::media::{Limits, render};
use emsync::model::preset::image_presets;
use emsync::model::{FileKind, Timestamp};
use emsync::pipeline::{Options, sync_peer};
use emsync::pull::metadata::Scope;
use emsync::renditions::rebuild::{self, Selection};

use crate::support::emdb::{Doc, Emdb, KEY, Setup, asset_members};
use crate::support::node::Mirror;
use crate::support::pair::{mirrored, pair, put};
use crate::support::process::{Place, nowhere};

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;
/// A record of long ago, as far as any window of days is concerned.
const LONG_AGO: Timestamp = Timestamp::from_millis(1_100_000_000_000);

fn asset(id: &str, modified: Timestamp) -> Doc {
    let members = asset_members(&format!("{id}.bin"), 7, MTIME);
    Doc::new("asset", id, CLUSTER, modified, members)
}

async fn server(modified: Timestamp) -> Emdb {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        for id in ["a1", "a2", "a3"] {
            content.record(asset(id, modified));
            content.original(&format!("{id}.bin"), Bytes::from_static(b"content"), MTIME);
        }
    });
    emdb
}

/// H-26.
#[test]
fn one_peer_that_is_away_keeps_no_other_from_being_synced() {
    let place = Place::new();
    let _serving = pair(&place, &[("a.bin", b"one")]);
    let away = nowhere();
    let add = [
        "-C",
        "r",
        "peer",
        "add",
        "away",
        "--url",
        &away,
        "--key-file",
        "key.txt",
    ];
    place.run(&add).ends(0);
    // In the order of the file, the one that is away comes first.
    let settings = place.path("r/emsync.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let (head, peers) = text.split_at(text.find("\n[[peer]]\n").unwrap());
    let (first, second) = peers.split_at(peers.rfind("\n[[peer]]\n").unwrap());
    std::fs::write(&settings, format!("{head}{second}\n{first}")).unwrap();
    put(&place.path("photos"), "b.bin", b"two");
    crate::support::pair::import(&place, &[]).ends(0);
    let ran = place.run(&["-C", "r", "sync"]).ends(5);
    assert!(ran.stderr.contains("away"), "{}", ran.stderr);
    assert!(mirrored(&place, "b.bin").exists());
}

/// H-32.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_sync_brings_records_of_any_age() {
    let emdb = server(LONG_AGO).await;
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    let report = mirror.sync().await.report;
    assert_eq!((report.records, report.files_written), (3, 3));
    mirror.assert_in_sync().await;
}

/// H-32.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn originals_that_are_wanted_later_come_with_the_next_seed() {
    let emdb = server(LONG_AGO).await;
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    let options = Options::of(Scope::Everything);
    let mut settings = mirror.peer();
    for (wanted, files) in [(false, 0), (true, 3)] {
        settings.pull_originals = wanted;
        let monitor = mirror.monitor.clone();
        let outcome = sync_peer(
            &mirror.node,
            &settings,
            options.clone(),
            monitor,
            &mirror.shutdown,
        );
        assert_eq!(outcome.await.unwrap().report.files_written, files);
    }
    mirror.assert_in_sync().await;
}

/// An EMDB makes a rendition again and forgets the crop of it, whose row stays (media spec 4.4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crop_that_its_author_forgot_is_drawn_again_and_stays() {
    const PATH: &str = "photo.png/image200x200.webp";
    let mut photo = std::io::Cursor::new(Vec::new());
    let shades = |x: u32, y: u32| image::Rgb([(x * 2) as u8, (y * 3) as u8, 90]);
    let picture = image::RgbImage::from_fn(90, 60, shades);
    picture
        .write_to(&mut photo, image::ImageFormat::Png)
        .unwrap();
    let (photo, thumb) = (photo.into_inner(), image_presets().swap_remove(3));
    let whole = render(&photo, &vec![thumb].into(), &Limits::default()).unwrap();
    let whole = whole[0].bytes.clone();
    let drawn = Timestamp::from_millis(MTIME + 60_000);
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        let mut members = asset_members("photo.png", photo.len(), MTIME);
        members["fileformat"] = "png".into();
        content.record(Doc::new("asset", "a1", CLUSTER, drawn, members));
        content.original("photo.png", photo, MTIME);
        let rectangle = serde_json::json!({
            "assetid": "a1", "presetid": "webpthumbimage", "cropx": 10, "cropy": 5, "cropwidth": 30, "cropheight": 30,
        });
        content.record(Doc::new("assetcrop", "c1", CLUSTER, drawn, rectangle));
        content.generated(PATH, whole.clone(), MTIME + 600_000);
    });
    let copies = |config: &mut Config| config.peers[0].generated = Generated::Copy;
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), copies).await;
    mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Generated, PATH), Some(whole.clone()));
    let rebuild = async || {
        let selection = Selection {
            missing: true,
            stale: true,
            ..Selection::default()
        };
        let monitor = mirror.monitor.clone();
        let (node, stop) = (&mirror.node, &mirror.shutdown);
        let report = rebuild::rebuild(node, rebuild::ACTIVITY, &selection, false, monitor, stop);
        let report = report.await.unwrap();
        (report.stale, report.rebuilt)
    };
    assert_eq!(rebuild().await, (1, 1));
    let cropped = mirror.read(FileKind::Generated, PATH).unwrap();
    let size = image::load_from_memory(&cropped)
        .unwrap()
        .into_rgb8()
        .dimensions();
    assert_eq!(
        size,
        (200, 200),
        "a crop fills its box, the whole is not enlarged"
    );
    // Its author lists the same file for ever: that is older, and no difference.
    mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Generated, PATH), Some(cropped));
    assert_eq!(rebuild().await, (0, 0));
    mirror.assert_in_sync().await;
    // Made once more after that, it is copied again: who knows what it shows now.
    emdb.edit(|content| {
        let now = Timestamp::from(std::time::SystemTime::now());
        content.generated(PATH, whole.clone(), now.as_millis() + 3_600_000);
    });
    mirror.seed().await;
    assert_eq!(mirror.read(FileKind::Generated, PATH), Some(whole));
}

/// H-37.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_that_its_master_forgot_stays_ours_and_is_no_difference() {
    let now = || Timestamp::from(std::time::SystemTime::now());
    let emdb = server(LONG_AGO).await;
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    emdb.edit(|content| content.record(asset("a2", now()).deleted()));
    assert_eq!(mirror.sync().await.report.deleted, 1);
    emdb.edit(|content| content.hard_delete("asset", "a2"));
    for _ in 0..3 {
        mirror.seed().await;
    }
    let key = emsync::model::RecordKey::new("asset", "a2").unwrap();
    let ours = mirror.node.catalogue.record(&key).await.unwrap().unwrap();
    assert!(ours.record.is_deleted());
    assert_eq!(mirror.read(FileKind::Original, "a2.bin"), None);
    mirror.assert_in_sync().await;
}
