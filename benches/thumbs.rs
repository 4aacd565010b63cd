//! How long it takes to find out which renditions are to be made again: that none are, and that one crop changed.
//!
//! ```text
//! cargo bench --bench thumbs                  100,000 images, each with its original and what an import makes of it
//! EMSYNC_BENCH_ASSETS=1000000                 more of them
//! EMSYNC_BENCH_ROUNDS=5                       rounds (3)
//! ```
//!
//! Everything stands in the catalogue, made from numbers, and nothing lies on the disk but the one original that is cropped: a
//! rebuild that opened any other file to find out whether its renditions are current would fail on it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::collections::BTreeMap;

use emsync::media::Recipe;
use emsync::model::{AssetId, FileKind, MediaFile, MediaPath, Record, Sha256, Timestamp};
use emsync::protocol::record::{members, stamped};
use serde_json::Value;
use support::node::Node;
use support::process::Ran;
use support::table::Row;
use support::{machine, number, records};

/// When everything was made: long ago.
const MADE: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// Assets that are stored together.
const CHUNK: u64 = 1_000;
/// Sides of the picture that is really there, in pixels.
const SIDES: (u32, u32) = (1_200, 800);

fn main() {
    let assets = number("EMSYNC_BENCH_ASSETS", 100_000);
    let dir = support::directory();
    let node = Node::init(dir.path().join("m"), "Master");
    let renditions = support::wait(fill(&node, assets));
    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    println!("input     {assets} images with {renditions} renditions, by the catalogue alone");
    println!();
    let mut current = Row::new("`thumbs rebuild --stale`, nothing changed");
    let mut cropped = Row::new("the same, one crop changed");
    for round in 0..number("EMSYNC_BENCH_ROUNDS", 3) {
        let report = rebuild(&node, &mut current);
        assert_eq!(report["current"], renditions, "{report}");
        assert_eq!(report["selected"], 0, "{report}");
        crop(&node, round);
        let report = rebuild(&node, &mut cropped);
        assert_eq!(report["rebuilt"], 1, "{report}");
    }
    println!("| 100 % of {assets} images looked at | wall | user+sys | peak RSS |");
    println!("| --- | ---: | ---: | ---: |");
    for row in [&current, &cropped] {
        println!(
            "| {} | {:.2} s | {:.2} s | {} MiB |",
            row.name,
            row.wall().as_secs_f64(),
            row.cpu().as_secs_f64(),
            row.peak_mib()
        );
    }
}

fn rebuild(node: &Node, row: &mut Row) -> Value {
    let ran: Ran = node.run(&["thumbs", "rebuild", "--stale", "--json"]);
    let report = serde_json::from_slice(&ran.stdout).unwrap();
    row.rounds.push(ran.cost);
    report
}

/// Another rectangle for a thumbnail of the one picture that is there.
fn crop(node: &Node, round: u64) {
    let rectangle = format!("600x600+{}+10", 10 + round);
    let asset = records::id("asset", 0);
    node.run(&[
        "crop",
        "set",
        &asset,
        "webpthumbimage",
        &rectangle,
        "--no-rebuild",
    ]);
}

/// Rows of so many images; answers how many renditions they have.
async fn fill(node: &Node, assets: u64) -> u64 {
    let picture = picture();
    let place = node.media().join("originals").join(path(0).as_str());
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, &picture).unwrap();
    let node = records::open(&node.dir).await;
    let own = &node.config.node.cluster_id;
    let table = &node.config.media.presets;
    let recipe = Recipe::by(table, None, BTreeMap::new(), node.config.mode());
    let now = node.seams.clock.now();
    for first in (0..assets).step_by(usize::try_from(CHUNK).unwrap()) {
        let numbers = first..assets.min(first + CHUNK);
        let images = numbers
            .clone()
            .map(|n| image(records::asset(n, path(n).as_str(), 10, own, MADE)));
        records::put_all(&node, images, now).await;
        let mut batch = node.catalogue.batch().await.unwrap();
        for n in numbers {
            let content = match n {
                0 => Sha256::of(&picture),
                n => Sha256::of(&n.to_le_bytes()),
            };
            let original = file(FileKind::Original, n, path(n), content);
            let made = recipe.presets.iter().map(|preset| MediaFile {
                authored: true,
                fingerprint: Some(recipe.fingerprint(&content, preset)),
                ..file(
                    FileKind::Generated,
                    n,
                    path(n).join(&preset.file_name).unwrap(),
                    content,
                )
            });
            let files: Vec<_> = std::iter::once(original).chain(made).collect();
            batch
                .put_files(&files.iter().collect::<Vec<_>>(), now)
                .await
                .unwrap();
        }
        batch.commit().await.unwrap();
    }
    node.catalogue.close().await;
    assets * recipe.presets.len() as u64
}

/// The same asset as one whose renditions are made.
fn image(record: Record) -> Record {
    let mut members = members(&record).unwrap();
    members.insert("fileformat".to_owned(), "png".into());
    members.insert("previewstatus".to_owned(), "2".into());
    stamped(members, &record.key, record.status.as_ref().unwrap())
}

fn file(kind: FileKind, n: u64, path: MediaPath, content: Sha256) -> MediaFile {
    MediaFile {
        kind,
        path,
        place: None,
        asset: AssetId::new(records::id("asset", n)).unwrap(),
        size: 1,
        modified: MADE,
        sha256: content,
        md5: None,
        authored: false,
        fingerprint: None,
    }
}

fn path(n: u64) -> MediaPath {
    MediaPath::new(format!("Archive/{:04}/f{n:09}.png", n / 1_000)).unwrap()
}

fn picture() -> Vec<u8> {
    let shade = |x, y| image::Rgb([(x % 256) as u8, (y % 256) as u8, 90]);
    let picture = image::RgbImage::from_fn(SIDES.0, SIDES.1, shade);
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
