//! Verified originals go on to the regenerator; what it cannot render is a finding and no failure.

use std::sync::Arc;

use emsync::config::{Config, Generated};
use emsync::model::FileKind;
use emsync::model::preset::{PresetTable, Shipped, image_presets};

use crate::support::master::Master;
use crate::support::node::Mirror;

const PHOTO: &[u8] = include_bytes!("../../assets-fixtures/originals/Portraits/orientation-6.jpg");
const BROKEN: &[u8] = include_bytes!("../../assets-fixtures/originals/Broken/truncated.jpg");

async fn master_without_renditions() -> Master {
    let master = Master::new(100).await;
    master
        .add_of_format("photo", "a/photo.jpg", "jpg", PHOTO)
        .await;
    master
        .add_of_format("broken", "a/broken.jpg", "jpg", BROKEN)
        .await;
    master.add("text", "a/notes.bin", b"no picture").await;
    master
}

async fn mirror_with(master: &Master, generated: Generated) -> Mirror {
    Mirror::with(&master.url, &master.key, None, |config| {
        config.peers[0].generated = generated
    })
    .await
}

fn renditions(mirror: &Mirror, asset: &str) -> Vec<String> {
    let presets = image_presets()
        .into_iter()
        .map(|preset| format!("{asset}/{}", preset.file_name));
    presets
        .filter(|path| mirror.read(FileKind::Generated, path).is_some())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renditions_that_the_author_lacks_are_made_here_once() {
    let master = master_without_renditions().await;
    let mirror = mirror_with(&master, Generated::Auto).await;
    let outcome = mirror.seed().await;
    assert_eq!(
        (
            outcome.report.files_written,
            outcome.report.unrenderable,
            outcome.report.quarantined
        ),
        (8, 1, 0)
    );
    assert_eq!(renditions(&mirror, "a/photo.jpg").len(), 5);
    let thumb = mirror
        .read(FileKind::Generated, "a/photo.jpg/image200x200.webp")
        .unwrap();
    let thumb = image::load_from_memory(&thumb).unwrap();
    assert!(
        thumb.height() > thumb.width(),
        "a portrait that was stored lying is not upright"
    );
    let parity = mirror.verify().await;
    let generated = serde_json::to_value(&parity).unwrap()["layers"]["generated"].clone();
    assert!(parity.in_sync, "{:?}", parity.differences);
    assert_eq!(
        (generated["here"].as_u64(), generated["explained"].as_u64()),
        (Some(5), Some(5))
    );

    let again = mirror.sync().await;
    assert_eq!(
        (again.report.files_written, again.report.unrenderable),
        (0, 0),
        "rendered or tried again"
    );
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_only_copies_makes_nothing() {
    let master = master_without_renditions().await;
    let mirror = mirror_with(&master, Generated::Copy).await;
    assert_eq!(mirror.seed().await.report.files_written, 3);
    mirror.assert_in_sync().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_original_gets_fresh_renditions_with_a_later_second() {
    let master = master_without_renditions().await;
    let mirror = mirror_with(&master, Generated::Rebuild).await;
    mirror.seed().await;
    let path = "a/photo.jpg/image200x200.webp";
    let before = mirror.row(FileKind::Generated, path).await.unwrap().file;
    let cat = include_bytes!("../../assets-fixtures/originals/Animals/chelsea.jpg");
    master
        .add_of_format("photo", "a/photo.jpg", "jpg", cat)
        .await;
    mirror.sync().await;
    let after = mirror.row(FileKind::Generated, path).await.unwrap().file;
    assert_ne!(after.sha256, before.sha256);
    assert!(
        after.modified.whole_second() > before.modified.whole_second(),
        "EMDB would not see the change"
    );
    mirror.assert_in_sync().await;
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_renders_by_its_own_presets() {
    let master = master_without_renditions().await;
    let twins = Mirror::with(&master.url, &master.key, None, |config| {
        config.peers[0].generated = Generated::Rebuild;
        config.media.presets = Arc::new(PresetTable::shipped(Shipped::Jpg));
    })
    .await;
    assert_eq!(twins.seed().await.report.files_written, 7);
    assert_eq!(
        renditions(&twins, "a/photo.jpg"),
        ["a/photo.jpg/image3000x3000.jpg"]
    );
    for name in [
        "image550x550.jpg",
        "image200x200.jpg",
        "image110x62cropped.jpg",
    ] {
        let path = format!("a/photo.jpg/{name}");
        let bytes = twins.read(FileKind::Generated, &path).unwrap();
        assert_eq!(
            image::guess_format(&bytes).unwrap(),
            image::ImageFormat::Jpeg,
            "{name}"
        );
    }
    twins.assert_in_sync().await;

    // Of EMDB's own presets without the crop, and with one of ours.
    let text = format!(
        "node = {{ name = \"n\", cluster_id = \"n-1\" }}\n\
         peer = [{{ name = \"m\", base_url = \"{}\", key = \"k\" }}]\n\
         [[preset]]\nid = \"webpimagecrop\"\non_import = false\n\
         [[preset]]\nid = \"strip\"\ninputs = [\"image\"]\nsize = \"300x90\"\nextension = \"webp\"\nshape = \"crop\"\n\
         gravity = \"Center\"\non_import = true\n",
        master.url
    );
    let said = Config::parse(&text, std::path::Path::new("/n/emsync.toml")).unwrap();
    let own = Mirror::with(&master.url, &master.key, None, |config| {
        config.peers[0].generated = Generated::Rebuild;
        config.media.presets = Arc::clone(&said.media.presets);
    })
    .await;
    assert_eq!(own.seed().await.report.files_written, 8);
    assert_eq!(renditions(&own, "a/photo.jpg").len(), 4);
    let strip = own.read(FileKind::Generated, "a/photo.jpg/image300x90cropped.webp");
    let strip = image::load_from_memory(&strip.unwrap()).unwrap();
    assert_eq!((strip.width(), strip.height()), (300, 90));
    own.assert_in_sync().await;
    master.end().await;
}
