//! What a rectangle that was drawn here shows, for the author of the asset: an EMDB that is given the row of a rectangle makes nothing
//! of it (media spec 4.3), while it takes a file of another length. An author that is a node of ours makes it itself.
//!
//! Only what was made here since the rectangle was saved goes along; the row is listed again when it is made.

use std::collections::{BTreeMap, HashMap};

use super::{Offers, sound};
use crate::catalogue::StoredRecord;
use crate::model::preset::{Preset, PresetId, Source};
use crate::model::{AssetId, ListedFile, MediaFile, NodeId, Timestamp};
use crate::protocol::{AssetListing, crop, record};
use crate::push::{Error, Push};

/// When the rectangles of an asset were saved, by preset.
type Drawn = BTreeMap<PresetId, Timestamp>;

/// Adds the renditions of assets of `author` that the page's own rectangles decide about.
pub(super) async fn add(
    push: &Push,
    records: &[StoredRecord],
    author: &NodeId,
    offers: &mut Offers,
) -> Result<(), Error> {
    let mut drawn: BTreeMap<AssetId, Drawn> = BTreeMap::new();
    for stored in records {
        let record = &stored.record;
        let own = record.status.as_ref();
        let own = own.filter(|status| status.modified_by == push.own);
        if record.key.module.as_str() != crop::TABLE {
            continue;
        }
        // One that was taken back decides as well.
        if let (Some(status), Ok(row)) = (own, crop::read(record)) {
            let drawn = drawn.entry(row.asset).or_default();
            drawn.insert(row.preset, status.modified);
        }
    }
    // Its own page brings all files of an asset that goes along itself.
    let listed = offers
        .listings
        .iter()
        .filter(|listing| !listing.generated.is_empty());
    for listing in listed {
        drawn.remove(&listing.asset);
    }
    let keys: Vec<_> = drawn.keys().map(AssetId::key).collect();
    let stored = push.catalogue.stored(&keys).await?;
    let theirs = stored.values().filter(|stored| {
        let status = stored.record.status.as_ref();
        !stored.record.is_deleted() && status.is_some_and(|status| status.master == *author)
    });
    let assets: Vec<_> = theirs
        .filter_map(|stored| record::asset(&stored.record).ok())
        .collect();
    let with_files: HashMap<&str, _> = assets
        .iter()
        .map(|asset| (asset.id.as_str(), asset.clone()))
        .collect();
    let mut rows = sound(push, &with_files).await?;
    for asset in &assets {
        let follows = |file: &MediaFile| {
            let name = file.path.below(&asset.source_path);
            let format = asset.format.as_deref();
            let drawn = name.and_then(|name| deciding(push, format, &drawn[&asset.id], name));
            // Files made here are dated to the second.
            file.authored && drawn.is_some_and(|drawn| file.modified >= drawn.whole_second())
        };
        let mut files = rows.remove(asset.id.as_str()).unwrap_or_default();
        files.retain(follows);
        if files.is_empty() {
            continue;
        }
        offers.listings.retain(|listing| listing.asset != asset.id);
        offers.listings.push(AssetListing {
            asset: asset.id.clone(),
            source_path: Some(asset.source_path.clone()),
            master: author.clone(),
            generated: files.iter().map(ListedFile::from).collect(),
            originals: Vec::new(),
            partial: false,
        });
        for file in files {
            let name = (file.kind, file.path.clone());
            offers.files.entry(name).or_default().push(file);
        }
    }
    Ok(())
}

/// When the rectangle was saved that decides what a rendition of this name shows: its own, or that of the large picture.
fn deciding(push: &Push, format: Option<&str>, drawn: &Drawn, name: &str) -> Option<Timestamp> {
    let presets = push.presets.renditions(format).iter();
    let preset: &Preset = presets.clone().find(|preset| preset.file_name == name)?;
    let inherited = || {
        let large = push
            .presets
            .large(format)
            .filter(|_| preset.source == Source::Large);
        large.and_then(|large| drawn.get(&large.id))
    };
    drawn.get(&preset.id).or_else(inherited).copied()
}
