//! What a person does on a node, by the drivers that the commands use, and what the node then holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use emsync::edits::{self, Change, Edit};
use emsync::model::preset::PresetId;
use emsync::model::{AssetId, FileKind, RecordKey};
use emsync::monitor::Silent;
use emsync::node::Node;
use emsync::reconcile::deletes::{self, Deletes};
use emsync::renditions::cropping::{self, CropError};
use emsync::renditions::rebuild::{Selection, rebuild};
use emsync::shutdown::Shutdown;
use serde_json::Value;
use walkdir::WalkDir;

/// `record put`: these members, the others stay.
pub(crate) async fn put(
    node: &Node,
    (module, id): (&str, &str),
    members: &Value,
) -> Result<Option<Edit>, edits::Error> {
    let key = RecordKey::new(module, id).unwrap();
    let change = Change::Some(members.as_object().unwrap().clone());
    edits::put(node, &key, &change, false).await
}

/// `record delete`.
pub(crate) async fn delete(node: &Node, (module, id): (&str, &str)) -> Result<(), deletes::Error> {
    let deletes = Deletes {
        peer: "",
        own: &node.config.node.cluster_id,
        catalogue: &node.catalogue,
        store: &node.store,
        seams: &node.seams,
        monitor: &Silent,
        is_owner: true,
        master: None,
    };
    deletes
        .delete_here(&RecordKey::new(module, id).unwrap())
        .await
}

/// `crop set`, with the rendition that follows.
pub(crate) async fn crop(
    node: &Node,
    asset: &str,
    preset: &str,
    rectangle: &str,
) -> Result<(), CropError> {
    draw(node, asset, preset, rectangle).await?;
    show(node, asset).await
}

/// The first half of [`crop`]: the row alone.
pub(crate) async fn draw(
    node: &Node,
    asset: &str,
    preset: &str,
    rectangle: &str,
) -> Result<(), CropError> {
    let (asset, preset) = (AssetId::new(asset).unwrap(), PresetId::new(preset));
    let drawn = cropping::set(node, &asset, &preset, rectangle.parse().unwrap(), false).await;
    drawn.map(drop)
}

/// The other half: what shows the rectangle.
pub(crate) async fn show(node: &Node, asset: &str) -> Result<(), CropError> {
    let selection = Selection {
        missing: true,
        stale: true,
        assets: vec![AssetId::new(asset).unwrap()],
        ..Selection::default()
    };
    let _lock = node.turn_for_a_moment("crop", &Shutdown::new()).await;
    let (silent, stop) = (Arc::new(Silent), Shutdown::new());
    rebuild(node, "crop", &selection, false, silent, &stop).await?;
    Ok(())
}

/// Every record, tombstones too, by table and id.
pub(crate) async fn records(node: &Node) -> BTreeMap<(String, String), Value> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = node.catalogue.records_after(None, after.as_ref(), 500);
        let page = page.await.unwrap();
        let Some(last) = page.last() else {
            return all;
        };
        after = Some(last.record.key.clone());
        for stored in page {
            let key = stored.record.key;
            let source = serde_json::from_str(&stored.record.source).unwrap();
            all.insert((key.module.as_str().to_owned(), key.id), source);
        }
    }
}

/// A file on disk: its content and its modification time, ms.
pub(crate) type OnDisk = (Vec<u8>, i64);

/// Every file of one tree, by its path.
pub(crate) fn files(node: &Node, kind: FileKind) -> BTreeMap<String, OnDisk> {
    let config = &node.config;
    let root = config.media.root.join(config.node.catalog.as_str());
    let root = root.join(kind.dir());
    let entries = WalkDir::new(&root).into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            let ms = emsync::model::Timestamp::from(modified).as_millis();
            let bytes = std::fs::read(entry.path()).unwrap();
            (path.to_str().unwrap().to_owned(), (bytes, ms))
        })
        .collect()
}
