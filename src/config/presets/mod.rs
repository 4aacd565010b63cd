//! The presets of this node: EMDB's own set, the site's lists over it, the `[[preset]]` sections over both.

mod lists;
mod rows;
mod sections;

use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Problem};
use super::{file, path};
use crate::model::preset::{Lists, PresetTable, Shipped};
use sections::Sections;

/// Reads the site's lists, if there are any, and joins all three.
pub(super) fn resolve(written: &file::Written, dir: &Path) -> Result<Arc<PresetTable>, Error> {
    let shipped = match &written.media.presets {
        None => Shipped::default(),
        Some(at) => at.check(|text| set(text))?,
    };
    let (mut presets, mut parameters) = (Vec::new(), Vec::new());
    if let Some(at) = &written.media.preset_lists {
        let site = at.check(|text| path(text, dir))?;
        if !site.is_dir() {
            return Err(at.wrong(Problem::NoLists(site)));
        }
        presets = lists::table(&site, "convertpreset")?;
        parameters = lists::table(&site, "presetparameter")?;
    }
    let lists = Lists::new(presets, parameters, shipped);
    let sections = Sections::check(&written.presets)?;
    let table = PresetTable::new(sections.over(&lists)?);
    sections.judge(&table)?;
    for (preset, asks) in table.left_to_others() {
        tracing::warn!(preset = %preset.id, asks, "the files of a preset are copied where a peer has them, and not made here");
    }
    Ok(Arc::new(table))
}

fn set(text: &str) -> Result<Shipped, Problem> {
    match text {
        "webp" => Ok(Shipped::Webp),
        "jpg" => Ok(Shipped::Jpg),
        other => Err(Problem::Choice {
            value: other.to_owned(),
            allowed: "webp and jpg",
        }),
    }
}
