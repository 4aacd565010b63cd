//! Whether renditions show the rectangles that were drawn for them.

use std::collections::HashMap;
use std::time::Duration;

use super::crops::{Crops, crops_for, is_drawn_on};
use super::rebuild::original;
use super::stale::{State, states};
use super::{Error, Original, decoder};
use crate::catalogue::{Cropped, FileRow};
use crate::media::Recipe;
use crate::model::{AssetId, FileKind};
use crate::monitor::Silent;
use crate::node::Node;
use crate::protocol::record;

/// What became of a rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The rendition shows it.
    Shown,
    /// The rendition is still to be made.
    Waits,
    /// Another rectangle of the same preset was saved later.
    Outdone,
    /// It was drawn on an earlier original.
    EarlierOriginal,
    /// The rendition was copied from its author, who applies rectangles itself.
    Copied,
    /// The same, and that author made it later than the rectangle was drawn: EMDB forgets rectangles when it makes renditions again.
    MayBeLost,
    /// No preset that is made here has this id.
    NoPreset,
    /// There is no picture of its asset here.
    NoPicture,
}

impl Shown {
    /// For people.
    #[must_use]
    pub const fn said(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Waits => "waits for `emsync thumbs rebuild`",
            Self::Outdone => "another one was drawn later",
            Self::EarlierOriginal => "not applied: drawn on an earlier original",
            Self::Copied => "for its author to apply",
            Self::MayBeLost => {
                "may be lost: its author made the rendition later; `emsync thumbs rebuild` looks, and draws it again if it is"
            }
            Self::NoPreset => "not applied: no such preset is made here",
            Self::NoPicture => "not applied: there is no picture here",
        }
    }
}

/// What became of each of these rectangles, by the ids of their records.
///
/// # Errors
/// [`Error`].
pub async fn shown(node: &Node, rectangles: &[Cropped]) -> Result<HashMap<String, Shown>, Error> {
    let assets: Vec<_> = rectangles.iter().map(|one| &one.row.asset).collect();
    let known = originals(node, &assets).await?;
    let all: Vec<_> = known.values().map(|(original, _)| original).collect();
    let crops = crops_for(&node.catalogue, &all, &Silent).await?;
    let mut found = HashMap::new();
    for cropped in rectangles {
        let row = &cropped.row;
        let shown = match known.get(&row.asset) {
            None => Shown::NoPicture,
            Some((original, _)) if !is_drawn_on(cropped, original) => Shown::EarlierOriginal,
            Some((original, files)) => {
                let of_asset = crops.get(&row.asset).cloned().unwrap_or_default();
                let Crops { crops, drawn_on } = of_asset;
                let table = &node.config.media.presets;
                let recipe = Recipe {
                    decoder: decoder(&node.adapters, original).await?,
                    drawn_on,
                    ..Recipe::by(table, original.format.as_deref(), crops, node.config.mode())
                };
                let is_outdone = recipe.crops.get(&row.preset) != Some(&row.crop);
                match states(original, &recipe, files).get(&row.preset) {
                    None => Shown::NoPreset,
                    Some(_) if is_outdone => Shown::Outdone,
                    Some(State::Current) => Shown::Shown,
                    Some(State::Copied) => copied(cropped, original, &recipe, files),
                    Some(State::Missing | State::Stale) => Shown::Waits,
                }
            }
        };
        found.insert(cropped.record.key.id.clone(), shown);
    }
    Ok(found)
}

/// In one crop EMDB writes the file first and the row then (media spec 4.2 and 8.5), so a file that is clearly younger than its
/// row was made without it.
fn copied(cropped: &Cropped, original: &Original, recipe: &Recipe, files: &[FileRow]) -> Shown {
    const CLEARLY: Duration = Duration::from_secs(10);
    let made_by = recipe
        .presets
        .iter()
        .find(|preset| preset.id == cropped.row.preset);
    let path = made_by.and_then(|preset| original.path.join(&preset.file_name).ok());
    let file = files
        .iter()
        .find(|row| row.file.kind == FileKind::Generated && Some(&row.file.path) == path.as_ref());
    let saved = cropped.record.status.as_ref().map(|status| status.modified);
    match (file, saved) {
        (Some(row), Some(saved)) if row.file.modified > saved.plus(CLEARLY) => Shown::MayBeLost,
        _ => Shown::Copied,
    }
}

/// The originals of assets that live and have theirs here, each with all files of its asset.
async fn originals(
    node: &Node,
    assets: &[&AssetId],
) -> Result<HashMap<AssetId, (Original, Vec<FileRow>)>, Error> {
    let keys: Vec<_> = assets.iter().map(|asset| asset.key()).collect();
    let ids: Vec<_> = assets.iter().map(|asset| asset.as_str()).collect();
    let stored = node.catalogue.stored(&keys).await?;
    let mut files: HashMap<AssetId, Vec<FileRow>> = HashMap::new();
    for row in node.catalogue.files_of(&ids).await? {
        files.entry(row.file.asset.clone()).or_default().push(row);
    }
    let live = stored.values().filter(|one| !one.record.is_deleted());
    let found = live.filter_map(|one| {
        let asset = record::asset(&one.record).ok()?;
        let files = files.remove(&asset.id)?;
        let original = original(&asset, &files)?;
        Some((asset.id, (original, files)))
    });
    Ok(found.collect())
}
