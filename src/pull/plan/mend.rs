//! What to do about files that are damaged here: each is wanted as its row says it was.

use super::{Here, Listed, Plan, Policy, copies, fetch};
use crate::catalogue::FileRow;
use crate::config::Generated;
use crate::model::job::{FetchJob, RegenerateJob};
use crate::model::preset::{Preset, PresetTable};
use crate::model::{Asset, FileKind, ListedFile, MediaFile};

/// The wishes for what is damaged of an asset, when there is no listing of it at hand: each file as its row says it was.
#[must_use]
pub fn mend(
    asset: &Asset,
    own: &[FileRow],
    unrenderable: bool,
    policy: Policy,
    presets: &PresetTable,
) -> Plan {
    let mut plan = Plan::default();
    let mut made_by = Vec::new();
    for row in own.iter().filter(|row| row.is_damaged()) {
        let file = &row.file;
        let is_wanted = match file.kind {
            FileKind::Original => policy.originals,
            FileKind::Generated => copies(policy.generated) && !file.authored,
        };
        if !asset.names(file.kind, &file.path) {
            // It goes, or is brought here under its new name.
        } else if is_wanted {
            plan.fetch.push(fetch(&ListedFile::from(file), None));
        } else if file.authored && !unrenderable && policy.generated != Generated::Off {
            made_by.extend(preset_of(file, presets.renditions(asset.format.as_deref())));
        }
    }
    let original = asset.original().filter(|_| !made_by.is_empty());
    let render = original.map(|original| RegenerateJob {
        original: original.as_str().to_owned(),
        output_dir: asset.source_path.as_str().to_owned(),
        presets: made_by,
    });
    let Some(render) = render else { return plan };
    let is_it = |path: &str| path == render.original;
    let coming = plan
        .fetch
        .iter_mut()
        .find(|job| job.kind == FileKind::Original && is_it(&job.path));
    if let Some(coming) = coming {
        coming.then = Some(render);
    } else if (own.iter()).any(|row| {
        row.file.kind == FileKind::Original && is_it(row.file.path.as_str()) && row.is_here()
    }) {
        plan.regenerate = Some(render);
    }
    plan
}

/// The id of the preset that a rendition was made by.
fn preset_of(file: &MediaFile, presets: &[Preset]) -> Option<String> {
    let mut presets = presets.iter();
    let made_by = presets.find(|preset| preset.file_name == file.path.name());
    made_by.map(|preset| preset.id.as_str().to_owned())
}

/// Adds the wishes for damaged files of a kind that the listing says nothing about.
pub(super) fn add_what_is_not_listed(
    plan: &mut Plan,
    asset: &Asset,
    listed: Listed<'_>,
    here: Here<'_>,
    policy: Policy,
    presets: &PresetTable,
) {
    let mended = mend(asset, here.own, here.unrenderable, policy, presets);
    for job in mended.fetch {
        let is_listed = match job.kind {
            FileKind::Original => listed.originals.is_some(),
            FileKind::Generated => listed.generated.is_some(),
        };
        let is_wished =
            |wish: &FetchJob| (wish.kind, wish.path.as_str()) == (job.kind, job.path.as_str());
        if !is_listed && !plan.fetch.iter().any(is_wished) {
            plan.fetch.push(job);
        }
    }
    if listed.generated.is_none() {
        plan.regenerate = plan.regenerate.take().or(mended.regenerate);
    }
}
