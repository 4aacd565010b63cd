//! Assets of ours that an earlier run left waiting for their renditions, for it was cut short or told not to make any; and those
//! whose renditions are damaged.

use std::collections::HashMap;
use std::sync::Arc;

use super::damage::damaged;
use super::{Error, Import};
use crate::catalogue::StoredRecord;
use crate::model::preset::is_image_format;
use crate::model::{AssetId, FileKind, Module};
use crate::protocol::record;
use crate::renditions::preview::{self, Preview};
use crate::renditions::{Line, Original, Workshop};

/// Records read at a time.
const PAGE: usize = 500;

/// Renders them, after the walk: by then nothing else is at work on any asset.
pub(super) async fn run(import: &Import, shop: &Arc<Workshop>) -> Result<(), Error> {
    let mut running: Option<Line> = None;
    let mut after = None;
    'pages: loop {
        let page = import
            .catalogue
            .records_after(Some(&Module::asset()), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.record.key.clone());
        let originals = waiting(import, &page).await?;
        for want in shop.wants(originals).await? {
            let line = match running.take() {
                Some(line) => line,
                None => Line::start(shop)?,
            };
            let is_running = line.feed(want).await && !import.stop.requested();
            running = Some(line);
            if !is_running {
                break 'pages;
            }
        }
    }
    match running {
        Some(line) => Ok(line.finish().await?),
        None => Ok(()),
    }
}

/// The originals among these assets that wait to be rendered, are here and sound, and are not known to be hopeless.
async fn waiting(import: &Import, page: &[StoredRecord]) -> Result<Vec<Original>, Error> {
    let mut paths = HashMap::new();
    let ids: Vec<_> = page
        .iter()
        .map(|stored| stored.record.key.id.as_str())
        .collect();
    let presets = &import.options.renditions.presets;
    let damaged = damaged(import, FileKind::Generated, &ids).await?;
    for StoredRecord { record, .. } in page {
        let is_ours = record
            .status
            .as_ref()
            .is_some_and(|status| !status.deleted && status.master == import.own);
        if !is_ours {
            continue;
        }
        let members = record::members(record)?;
        let text = |name: &str| members.get(name).and_then(serde_json::Value::as_str);
        let is_renderable = text("fileformat").is_some_and(|format| presets.renders(format))
            || text("detectedfileformat").is_some_and(is_image_format);
        if is_renderable
            && let Ok(asset) = record::asset(record)
            && (text(preview::MEMBER) == Some(Preview::Waiting.as_str())
                || damaged.contains(&asset.id))
            && let Some(path) = asset.original()
        {
            paths.insert(asset.id, (path, asset.format, asset.pages));
        }
    }
    let assets: Vec<_> = paths.keys().map(AssetId::as_str).collect();
    let hopeless = import.catalogue.findings(&assets).await?;
    let files = import.catalogue.files_of(&assets).await?;
    let sound = files.into_iter().filter(|row| !row.is_damaged());
    let files = sound.map(|row| row.file).filter(|file| {
        file.kind == FileKind::Original
            && (paths.get(&file.asset)).is_some_and(|(path, ..)| *path == file.path)
            && !hopeless
                .iter()
                .any(|known| known.asset == file.asset && known.content == file.sha256)
    });
    Ok(files
        .map(|file| {
            let known = paths.get(&file.asset).cloned();
            let (format, pages) = known.map_or((None, 1), |(_, format, pages)| (format, pages));
            Original::of(file.path.clone(), format, &file).with_pages(pages)
        })
        .collect())
}
