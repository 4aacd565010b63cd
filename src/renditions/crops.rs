//! The rectangles that hold for an original: those drawn on it. One that was drawn on an earlier original of its asset is never
//! applied, but reported (media spec 8.5).

use std::collections::{BTreeMap, HashMap};

use super::Original;
use crate::catalogue::{Catalogue, Cropped, Error};
use crate::model::preset::{PresetId, is_image_format};
use crate::model::{AssetId, Crop, Record, Timestamp};
use crate::monitor::Monitor;
use crate::protocol::{lenient, record};

/// The rectangles of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crops {
    /// By the preset each is for.
    pub crops: BTreeMap<PresetId, Crop>,
    /// Width and height of the picture that they are drawn on, where that is not the original as it is read here.
    pub drawn_on: Option<(u32, u32)>,
}

/// The rectangles that hold for these originals. Of several for one preset the one saved last counts.
///
/// # Errors
/// [`Error`].
pub async fn crops_for(
    catalogue: &Catalogue,
    originals: &[&Original],
    monitor: &dyn Monitor,
) -> Result<HashMap<AssetId, Crops>, Error> {
    let assets: Vec<_> = originals.iter().map(|one| one.asset.as_str()).collect();
    let found = catalogue.crops_of(&assets).await?;
    crops_among(catalogue, found, originals, monitor).await
}

/// The same of rectangles that are read already.
///
/// # Errors
/// [`Error`].
pub(super) async fn crops_among(
    catalogue: &Catalogue,
    mut found: Vec<Cropped>,
    originals: &[&Original],
    monitor: &dyn Monitor,
) -> Result<HashMap<AssetId, Crops>, Error> {
    found.sort_by_key(rank);
    let by_asset: HashMap<_, _> = originals.iter().map(|one| (&one.asset, *one)).collect();
    let mut crops: HashMap<AssetId, Crops> = HashMap::new();
    for cropped in &found {
        let row = &cropped.row;
        let Some(original) = by_asset.get(&row.asset) else {
            continue;
        };
        if is_drawn_on(cropped, original) {
            let of_asset = crops.entry(row.asset.clone()).or_default();
            of_asset.crops.insert(row.preset.clone(), row.crop);
        } else {
            monitor.finding(&format!(
                "{}: the crop for {} was drawn on an earlier original and is not applied; draw it anew with `emsync crop set`, or \
                 take it back with `emsync crop clear`",
                original.path, row.preset
            ));
        }
    }
    let by_program: Vec<_> = originals
        .iter()
        .filter(|it| is_read_by_program(it))
        .collect();
    let keys: Vec<_> = by_program.iter().map(|it| it.asset.key()).collect();
    let drawn = keys.iter().zip(&by_program);
    let drawn = drawn.filter(|(_, original)| crops.contains_key(&original.asset));
    let (keys, assets): (Vec<_>, Vec<_>) = drawn.map(|(key, it)| (key.clone(), &it.asset)).unzip();
    let stored = catalogue.stored(&keys).await?;
    for (key, asset) in keys.iter().zip(assets) {
        let size = stored.get(key).and_then(|stored| size_in(&stored.record));
        if let Some(of_asset) = crops.get_mut(asset) {
            of_asset.drawn_on = size;
        }
    }
    Ok(crops)
}

/// Whether the picture to start from is one that a program makes, in a size of its own.
pub(super) fn is_read_by_program(original: &Original) -> bool {
    let format = original.format.as_deref();
    format.is_some_and(|format| !is_image_format(format))
}

/// The size that a record says its asset has, in the unit that rectangles are drawn in: pixels, of a page points.
pub(super) fn size_in(record: &Record) -> Option<(u32, u32)> {
    let members = record::members(record).ok()?;
    let side = |name: &str| {
        let side = members.get(name).and_then(lenient::to_u64)?;
        u32::try_from(side).ok().filter(|side| *side > 0)
    };
    Some((side("width")?, side("height")?))
}

/// Of two rectangles for one preset the one of higher rank counts.
#[must_use]
pub fn rank(cropped: &Cropped) -> (Option<Timestamp>, String) {
    (saved_at(cropped), cropped.record.key.id.clone())
}

/// When a rectangle was saved last, as far as its record says.
fn saved_at(cropped: &Cropped) -> Option<Timestamp> {
    cropped.record.status.as_ref().map(|status| status.modified)
}

/// Whether a rectangle was drawn on this original: as the row says, else if it was saved after the original was.
#[must_use]
pub fn is_drawn_on(cropped: &Cropped, original: &Original) -> bool {
    match (cropped.row.drawn_on, saved_at(cropped)) {
        (Some(content), _) => content == original.content,
        (None, Some(saved)) => saved.whole_second() >= original.modified.whole_second(),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MediaPath, NodeId, RecordKey, RecordStatus, Sha256};
    use crate::protocol::crop::{AssetCrop, TABLE};

    const CROP: Crop = Crop {
        x: 0,
        y: 0,
        width: 1,
        height: 1,
    };

    fn cropped(drawn_on: Option<&[u8]>, saved: Option<i64>) -> Cropped {
        let own = NodeId::new("own").unwrap();
        Cropped {
            row: AssetCrop {
                asset: AssetId::new("a").unwrap(),
                preset: PresetId::new("p"),
                crop: CROP,
                drawn_on: drawn_on.map(Sha256::of),
            },
            record: Record {
                key: RecordKey::new(TABLE, "c").unwrap(),
                source: String::new(),
                status: saved.map(|at| {
                    RecordStatus::saved_by_master(&own, None, Timestamp::from_millis(at), false)
                }),
                content: Sha256::of(b""),
            },
        }
    }

    #[test]
    fn a_rectangle_holds_for_the_original_it_was_drawn_on() {
        let path = MediaPath::new("a.jpg").unwrap();
        let original = Original {
            asset: AssetId::new("a").unwrap(),
            place: path.clone(),
            path,
            format: None,
            pages: 1,
            content: Sha256::of(b"now"),
            size: 1,
            modified: Timestamp::from_millis(10_500),
        };
        for (drawn_on, saved, holds) in [
            (Some(b"now".as_slice()), Some(1), true),
            (Some(b"then".as_slice()), Some(99_000), false),
            (None, Some(9_999), false),
            (None, Some(10_000), true),
            (None, Some(11_000), true),
            (None, None, true),
        ] {
            let is_drawn_on = is_drawn_on(&cropped(drawn_on, saved), &original);
            assert_eq!(is_drawn_on, holds, "{drawn_on:?} {saved:?}");
        }
    }
}
