//! Crops that their author lost: EMDB forgets a user's rectangle when it makes a rendition again, and the row stays (media spec 4.4
//! and 8.5). A node that copies looks at the picture before it draws the rectangle again.

use std::collections::HashSet;
use std::io::Read as _;

use super::shown::{Shown, shown};
use super::{Error, Original, Settings, blocking};
use crate::catalogue::FileRow;
use crate::media::{Recipe, has_lost_crop};
use crate::model::preset::PresetId;
use crate::model::{FileKind, MediaPath};
use crate::node::Node;
use crate::store::Store;

/// The presets whose copied files lost their rectangles, of an original that is here.
///
/// # Errors
/// [`Error`]. An original that cannot be read, or is no picture, has lost nothing.
pub(super) async fn lost(
    node: &Node,
    settings: &Settings,
    (original, recipe): (&Original, &Recipe),
    files: &[FileRow],
) -> Result<HashSet<PresetId>, Error> {
    let drawn = node.catalogue.crops_of(&[original.asset.as_str()]).await?;
    let states = shown(node, &drawn).await?;
    let may_be = drawn.iter().filter(|one| {
        let state = states.get(&one.record.key.id);
        state == Some(&Shown::MayBeLost)
    });
    let presets = may_be.filter_map(|one| {
        let preset = recipe
            .presets
            .iter()
            .find(|preset| preset.id == one.row.preset)?;
        let path = original.path.join(&preset.file_name).ok()?;
        let is_it = |row: &&FileRow| row.file.kind == FileKind::Generated && row.file.path == path;
        let place = files.iter().find(is_it)?.file.place().clone();
        Some((preset.clone(), place))
    });
    let presets: Vec<_> = presets.collect();
    if presets.is_empty() {
        return Ok(HashSet::new());
    }
    let (original, recipe, store) = (original.clone(), recipe.clone(), node.store.clone());
    let (adapters, limits) = (settings.adapters.clone(), settings.limits);
    blocking(move || {
        let part = recipe.part();
        let picture = original.picture((&store, &adapters), part, limits.max_alloc_bytes);
        let Ok(picture) = picture else {
            return HashSet::new();
        };
        let has_lost = presets.into_iter().filter_map(|(preset, place)| {
            let current = content(&store, &place)?;
            let is_lost = has_lost_crop((&picture, &current), &recipe, &preset, &limits);
            is_lost.then_some(preset.id)
        });
        has_lost.collect()
    })
    .await
}

fn content(store: &Store, place: &MediaPath) -> Option<Vec<u8>> {
    // No rendition is as large.
    const MOST: u64 = 256 << 20;
    let open = store.open_file(FileKind::Generated, place).ok()??;
    let mut bytes = Vec::new();
    open.file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
