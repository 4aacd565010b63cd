//! Which renditions this node makes itself.

use super::{Here, Listed, Plan, Policy};
use crate::config::Generated;
use crate::model::job::RegenerateJob;
use crate::model::preset::{Preset, PresetTable};
use crate::model::{Asset, FileKind};

/// What this node should derive itself: everything under `rebuild`; under `auto` where the author is done and lists nothing.
#[must_use]
pub fn wanted_renditions(
    asset: &Asset,
    listed: Listed<'_>,
    policy: Policy,
    presets: &PresetTable,
) -> Option<RegenerateJob> {
    let renderable = !asset.is_folder
        && !asset.unrenderable
        && (asset.format.as_deref()).is_some_and(|format| presets.renders(format));
    if !renderable {
        return None;
    }
    // An author that lists anything renders by its own presets, which need not be ours: what it made is copied, not completed.
    let authored_there = listed.generated.is_none_or(|files| !files.is_empty());
    let by_us = match policy.generated {
        Generated::Rebuild => true,
        Generated::Auto => !authored_there && !asset.unfinished,
        Generated::Copy | Generated::Off => false,
    };
    if !by_us {
        return None;
    }
    let made = presets.renditions(asset.format.as_deref()).iter();
    let presets: Vec<_> = made.map(|preset| preset.id.as_str().to_owned()).collect();
    if presets.is_empty() {
        return None;
    }
    let original = asset.original()?.as_str().to_owned();
    Some(RegenerateJob {
        original,
        output_dir: asset.source_path.as_str().to_owned(),
        presets,
    })
}

/// Of the wanted renditions, those that can be made right away because the original is here and current.
pub(super) fn missing_renditions(
    plan: &Plan,
    mut render: RegenerateJob,
    here: Here<'_>,
    policy: Policy,
    presets: &[Preset],
) -> Option<RegenerateJob> {
    let on_its_way = plan
        .fetch
        .iter()
        .any(|job| job.kind == FileKind::Original && job.path == render.original);
    let original_here = here.own.iter().any(|row| {
        let file = &row.file;
        file.kind == FileKind::Original && file.path.as_str() == render.original && row.is_here()
    });
    if on_its_way || !original_here || here.unrenderable {
        return None;
    }
    let made = |preset: &str| {
        let name = (presets.iter())
            .find(|known| known.id.as_str() == preset)
            .map(|known| &known.file_name);
        name.is_some_and(|name| {
            let path = format!("{}/{name}", render.output_dir);
            let row = here
                .own
                .iter()
                .find(|row| row.file.kind == FileKind::Generated && row.file.path.as_str() == path);
            row.filter(|row| !row.is_damaged())
                .is_some_and(|row| row.file.authored || policy.generated != Generated::Rebuild)
        })
    };
    let presets: Vec<String> = render
        .presets
        .iter()
        .filter(|preset| !made(preset))
        .cloned()
        .collect();
    render.presets = presets;
    (!render.presets.is_empty()).then_some(render)
}
