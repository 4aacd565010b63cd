//! A user's rectangle set or taken back on this node: a row of `assetcrop`, as EMDB's editor writes it (media spec 4.2 and 4.3).
//!
//! The rendition follows when it is made again ([`rebuild`]): by its fingerprint it is stale from then on.

use std::io::{BufReader, Cursor};
use std::sync::Arc;

use serde_json::Map;

use super::{Error, Original, rebuild};
use crate::adapters::Part;
use crate::catalogue::{self, Cropped, StoredRecord};
use crate::media::{self, probe};
use crate::model::id::derived;
use crate::model::preset::{Preset, PresetId};
use crate::model::{AssetId, Crop, FileKind, Mode, NodeId, Record, RecordKey, RecordStatus};
use crate::monitor::Silent;
use crate::node::Node;
use crate::protocol::crop::{self, AssetCrop};
use crate::protocol::record::{self, BadRecord};
use crate::shutdown::Shutdown;
use crate::store;

/// Largest original that is read whole to see its size, where no program reads it.
const MOST_BYTES: u64 = 2 << 30;

/// Why a rectangle cannot be set or taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CropError {
    /// Making renditions fails as a whole.
    #[error(transparent)]
    Renditions(#[from] Error),
    /// No live asset of ours has this id.
    #[error("there is no asset {asset} here")]
    NoAsset {
        /// What was asked for.
        asset: AssetId,
    },
    /// No preset is called so.
    #[error("there is no preset {preset:?} that is made here; there are {}", known.join(", "))]
    NoPreset {
        /// What was asked for.
        preset: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// The asset's renditions come from another node.
    #[error(
        "the renditions of asset {asset} are copied from {author}, so a crop here would be lost with the next sync; set it there, or \
         let this node make them (generated = \"rebuild\" of that peer)"
    )]
    NotMadeHere {
        /// The asset.
        asset: AssetId,
        /// Who makes them.
        author: String,
    },
    /// An EMDB takes no crop from elsewhere that says it was drawn by that EMDB (row 4 of wire spec section 6).
    #[error(
        "crops of this node are those of the EMDB beside it, {sidecar}: draw them there, and they come here with the next sync"
    )]
    OfTheSidecar {
        /// The EMDB, as a peer of this node.
        sidecar: String,
    },
    /// There is no picture to draw a rectangle on.
    #[error("the original of asset {asset} is no picture that is here and sound")]
    NoPicture {
        /// The asset.
        asset: AssetId,
    },
    /// The picture to draw a rectangle on cannot be read.
    #[error("the original of asset {asset} shows no picture to draw on")]
    Unreadable {
        /// The asset.
        asset: AssetId,
        /// Why.
        source: media::Error,
    },
    /// The rectangle is not inside the picture.
    #[error("{crop} is not inside the picture, which is {width}x{height}")]
    Outside {
        /// The rectangle.
        crop: Crop,
        /// Width of the picture in pixels, as it is shown.
        width: u32,
        /// Height of the picture in pixels, as it is shown.
        height: u32,
    },
    /// There is nothing to take back.
    #[error("asset {asset} has no crop for preset {preset}")]
    NoCrop {
        /// The asset.
        asset: AssetId,
        /// The preset.
        preset: PresetId,
    },
}

impl From<catalogue::Error> for CropError {
    fn from(error: catalogue::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<store::Error> for CropError {
    fn from(error: store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<BadRecord> for CropError {
    fn from(error: BadRecord) -> Self {
        Error::from(error).into()
    }
}

/// Sets the rectangle of an asset for a preset; answers what stands in its row, in the grid of the stored original.
///
/// `crop` is what a person sees: pixels of the upright picture. In faithful mode it is taken as EMDB takes it, pixels of the
/// stored one (media spec 4.5).
///
/// # Errors
/// [`CropError`]; then nothing was changed.
pub async fn set(
    node: &Node,
    asset: &AssetId,
    preset: &PresetId,
    seen: Crop,
    dry_run: bool,
) -> Result<AssetCrop, CropError> {
    check_node(node)?;
    let (stored, original) = original(node, asset).await?;
    check_preset(node, original.format.as_deref(), preset)?;
    check_author(node, &stored)?;
    let on = sheet(node, &stored, &original).await?;
    let drawn = match node.config.mode() {
        Mode::Faithful => seen,
        Mode::Corrected => seen.from_upright((on.width, on.height), on.orientation),
    };
    check_inside(seen, &on, node.config.mode())?;
    let row = AssetCrop {
        asset: asset.clone(),
        preset: preset.clone(),
        crop: drawn,
        drawn_on: Some(original.content),
    };
    if dry_run {
        return Ok(row);
    }
    let before = of_preset(node, asset, preset).await?;
    let own = &node.config.node.cluster_id;
    let key = match &before {
        Some(cropped) => cropped.record.key.clone(),
        None => new_key(own, &row),
    };
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await?;
    // A row that was taken back keeps its id, so the next save has to be younger than that.
    let known = batch.stored(std::slice::from_ref(&key)).await?;
    let known = known.get(&key).map(|stored| &stored.record);
    let mut members = match known.filter(|known| !known.is_deleted()) {
        Some(record) => record::members(record)?,
        None => Map::from_iter([("id".to_owned(), key.id.clone().into())]),
    };
    crop::write(&row, &mut members);
    let status = known.and_then(|record| record.status.as_ref());
    let status = RecordStatus::saved(own, status, now, false);
    let record = record::stamped(members, &key, &status);
    batch.put_records(&[&record], "", now).await?;
    batch.commit().await?;
    Ok(row)
}

/// What rectangles of an asset are drawn on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    /// Width in pixels of the picture as it is shown.
    pub width: u32,
    /// Height in pixels of the picture as it is shown.
    pub height: u32,
    /// The rectangles there are, as a person sees them.
    pub drawn: Vec<(PresetId, Crop)>,
    /// The presets that they may be drawn for, in order.
    pub presets: Vec<Preset>,
}

/// The canvas of an asset.
///
/// # Errors
/// [`CropError`] where nothing can be drawn on it here.
pub async fn canvas(node: &Node, asset: &AssetId) -> Result<Canvas, CropError> {
    check_node(node)?;
    let (stored, original) = original(node, asset).await?;
    check_author(node, &stored)?;
    let (on, mode) = (sheet(node, &stored, &original).await?, node.config.mode());
    let (width, height) = size_shown(&on, mode);
    let format = original.format.as_deref();
    let seen = |drawn: Crop| match mode {
        Mode::Faithful => drawn,
        // The way back is the way there with the sides exchanged.
        Mode::Corrected => drawn.from_upright((on.height, on.width), on.orientation),
    };
    let mut found = node.catalogue.crops_of(&[asset.as_str()]).await?;
    found.sort_by_key(super::crops::rank);
    let mut drawn: Vec<(PresetId, Crop)> = Vec::new();
    for Cropped { row, .. } in found {
        drawn.retain(|(preset, _)| *preset != row.preset);
        drawn.push((row.preset, seen(row.crop)));
    }
    Ok(Canvas {
        width,
        height,
        drawn,
        presets: node.config.media.presets.renditions(format).to_vec(),
    })
}

/// What making the renditions of one asset is called, in locks and staging. Not that of a rebuild, which may take its time: files are
/// kept apart by the locks of those who write them.
pub const ACTIVITY: &str = "crop";

/// Makes what is missing or stale of an asset now. The caller holds the lock of [`ACTIVITY`].
///
/// # Errors
/// [`Error`], as [`rebuild`](rebuild::rebuild).
pub async fn follow(
    node: &Node,
    asset: AssetId,
    shutdown: &Shutdown,
) -> Result<rebuild::Report, Error> {
    let selection = rebuild::Selection {
        missing: true,
        stale: true,
        assets: vec![asset],
        ..rebuild::Selection::default()
    };
    let monitor = Arc::new(Silent);
    rebuild::rebuild(node, ACTIVITY, &selection, false, monitor, shutdown).await
}

/// Takes the rectangle of an asset for a preset back.
///
/// # Errors
/// [`CropError`]; then nothing was changed.
pub async fn clear(
    node: &Node,
    asset: &AssetId,
    preset: &PresetId,
    dry_run: bool,
) -> Result<(), CropError> {
    check_node(node)?;
    let cropped = of_preset(node, asset, preset).await?;
    let cropped = cropped.ok_or_else(|| CropError::NoCrop {
        asset: asset.clone(),
        preset: preset.clone(),
    })?;
    if let Some(stored) = live(node, asset).await? {
        check_author(node, &stored)?;
    }
    if dry_run {
        return Ok(());
    }
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await?;
    let known = batch
        .stored(std::slice::from_ref(&cropped.record.key))
        .await?;
    let known = known.get(&cropped.record.key);
    let record = known.map_or(&cropped.record, |stored| &stored.record);
    let own = &node.config.node.cluster_id;
    let status = RecordStatus::saved(own, record.status.as_ref(), now, true);
    let tombstone: Record = record::restamped(record, &status)?;
    batch.put_records(&[&tombstone], "", now).await?;
    batch.commit().await?;
    Ok(())
}

/// The rectangle that counts for a preset, if there is one.
async fn of_preset(
    node: &Node,
    asset: &AssetId,
    preset: &PresetId,
) -> Result<Option<Cropped>, CropError> {
    let found = node.catalogue.crops_of(&[asset.as_str()]).await?;
    let mut of_preset: Vec<_> = found
        .into_iter()
        .filter(|cropped| cropped.row.preset == *preset)
        .collect();
    of_preset.sort_by_key(super::crops::rank);
    Ok(of_preset.pop())
}

async fn live(node: &Node, asset: &AssetId) -> Result<Option<StoredRecord>, CropError> {
    let stored = node.catalogue.record(&asset.key()).await?;
    Ok(stored.filter(|stored| !stored.record.is_deleted()))
}

async fn original(node: &Node, asset: &AssetId) -> Result<(StoredRecord, Original), CropError> {
    let stored = live(node, asset).await?.ok_or_else(|| CropError::NoAsset {
        asset: asset.clone(),
    })?;
    let files = node.catalogue.files_of(&[asset.as_str()]).await?;
    let parsed = record::asset(&stored.record)?;
    let original = rebuild::original(&parsed, &files);
    let original = original.ok_or_else(|| CropError::NoPicture {
        asset: asset.clone(),
    })?;
    Ok((stored, original))
}

fn check_preset(node: &Node, format: Option<&str>, preset: &PresetId) -> Result<(), CropError> {
    let all = node.config.media.presets.renditions(format);
    if all.iter().any(|known| known.id == *preset) {
        return Ok(());
    }
    Err(CropError::NoPreset {
        preset: preset.to_string(),
        known: all.iter().map(|known| known.id.to_string()).collect(),
    })
}

fn check_node(node: &Node) -> Result<(), CropError> {
    match node.sidecar() {
        None => Ok(()),
        Some(sidecar) => Err(CropError::OfTheSidecar {
            sidecar: sidecar.name.clone(),
        }),
    }
}

fn check_author(node: &Node, stored: &StoredRecord) -> Result<(), CropError> {
    if rebuild::is_made_here(&node.config, stored) {
        return Ok(());
    }
    let master = (stored.record.status.as_ref()).map(|status| status.master.to_string());
    Err(CropError::NotMadeHere {
        asset: AssetId::new(&stored.record.key.id).expect("it was found by an asset id"),
        author: master.unwrap_or_else(|| stored.origin.clone()),
    })
}

/// What a rectangle is drawn on.
struct Sheet {
    /// As stored.
    width: u32,
    /// As stored.
    height: u32,
    /// By EXIF.
    orientation: u8,
}

/// The picture that a rectangle is drawn on: the original as it is stored; where a program reads it, one of the size that the
/// record says, else the one that the program makes.
async fn sheet(
    node: &Node,
    stored: &StoredRecord,
    original: &Original,
) -> Result<Sheet, CropError> {
    let none = || CropError::NoPicture {
        asset: original.asset.clone(),
    };
    let unreadable = |source| CropError::Unreadable {
        asset: original.asset.clone(),
        source,
    };
    let open = || -> Result<_, CropError> {
        let open = node.store.open_file(FileKind::Original, &original.place)?;
        Ok(BufReader::new(open.ok_or_else(none)?.file))
    };
    let is_by_program = super::crops::is_read_by_program(original);
    let is_rare = || -> Result<_, CropError> {
        let rare = media::beyond(&mut open()?);
        Ok(rare
            .map_err(media::Error::Read)
            .map_err(Error::Media)?
            .is_some())
    };
    let probed = if is_by_program || is_rare()? {
        if is_by_program && let Some((width, height)) = super::crops::size_in(&stored.record) {
            return Ok(Sheet {
                width,
                height,
                orientation: 1,
            });
        }
        let (of, store, adapters) = (original.clone(), node.store.clone(), node.adapters.clone());
        let format = original.format.as_deref();
        let moment = (node.config.media.presets.large(format)).and_then(Preset::moment);
        let part = Part {
            moment: moment.unwrap_or_default(),
            ..Part::FIRST
        };
        let read = move || of.picture((&store, &adapters), part, MOST_BYTES);
        let picture = super::blocking(read).await?;
        let picture = picture.map_err(media::Error::Read).map_err(unreadable)?;
        probe(Cursor::new(picture))
    } else {
        probe(open()?)
    };
    let probed = probed.map_err(unreadable)?.ok_or_else(none)?;
    Ok(Sheet {
        width: probed.width,
        height: probed.height,
        orientation: probed.orientation,
    })
}

/// The picture as a person sees it. In faithful mode it is not turned.
fn size_shown(on: &Sheet, mode: Mode) -> (u32, u32) {
    if mode == Mode::Corrected && (5..=8).contains(&on.orientation) {
        (on.height, on.width)
    } else {
        (on.width, on.height)
    }
}

fn check_inside(seen: Crop, on: &Sheet, mode: Mode) -> Result<(), CropError> {
    let (width, height) = size_shown(on, mode);
    let is_inside = |from: i64, side: u32, most: u32| {
        from >= 0
            && from
                .checked_add(side.into())
                .is_some_and(|end| end <= most.into())
    };
    if is_inside(seen.x, seen.width, width) && is_inside(seen.y, seen.height, height) {
        return Ok(());
    }
    Err(CropError::Outside {
        crop: seen,
        width,
        height,
    })
}

/// The key of a new row: the same on every try, so that a kill leaves no second one.
fn new_key(own: &NodeId, row: &AssetCrop) -> RecordKey {
    let about = [row.asset.as_str(), row.preset.as_str()].join("\0");
    RecordKey::new(crop::TABLE, derived(own, crop::TABLE, &about))
        .expect("letters and digits are an id")
}
