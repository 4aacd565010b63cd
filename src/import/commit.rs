//! One catalogue batch for a portion whose bytes are durable: categories, records, file rows, source rows, all or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::gone::{clear, is_preset, marked_as_left, part_with};
use super::identify::{Fate, Item};
use super::read::extension;
use super::{Error, Import, categories, fields};
use crate::catalogue::{Batch, FileRow, SourceFile};
use crate::crash::{self, Point};
use crate::model::{FileKind, MediaFile, MediaPath, Record, Timestamp};
use crate::protocol::record;
use crate::renditions::preview::Preview;
use crate::trash::Place;

/// Makes a portion durable in the catalogue.
pub(super) async fn commit(
    import: &Arc<Import>,
    mut dirs: Vec<MediaPath>,
    mut rows: Vec<SourceFile>,
    items: &[Item],
) -> Result<(), Error> {
    let stale = stale(import, items).await?;
    let now = import.now();
    let mut batch = import.catalogue.batch().await?;
    dirs.extend(items.iter().filter_map(|item| item.found.path.parent()));
    categories::ensure(&mut batch, &import.own, &dirs, now).await?;
    let records = records(import, &mut batch, items, now).await?;
    batch
        .put_records(&records.iter().collect::<Vec<_>>(), "", now)
        .await?;
    part_with(&mut batch, stale.iter().map(|row| &row.file), now).await?;
    let new: Vec<_> = items.iter().flat_map(files).collect();
    batch
        .put_files(&new.iter().collect::<Vec<_>>(), now)
        .await?;
    let mut left = Vec::new();
    for item in items {
        match &item.fate {
            Fate::Moved(moved) => left.push(marked_as_left(&moved.from)),
            Fate::Added | Fate::Replaced => batch.forget_findings(&item.asset).await?,
            Fate::Same | Fate::Touched | Fate::Mended => {}
        }
        if let Some((dir, rel)) = &item.adopted {
            batch.forget_source_file(dir, rel).await?;
        }
    }
    rows.extend(items.iter().map(Item::row));
    batch
        .put_source_files(&import.source, import.walk, &rows)
        .await?;
    batch
        .put_source_files(&import.source, import.walk - 1, &left)
        .await?;
    batch.commit().await?;
    crash::point(Point::ImportCommitted)?;
    for row in &left {
        import.claimed().remove(&row.path);
    }
    // What cannot be moved away is reported, and verify tells of it: no row speaks of it any more.
    clear(import, emptied(items, &stale)).await?;
    Ok(())
}

/// Where renditions of a replaced original may lie that have no row any more.
fn emptied(items: &[Item], stale: &[FileRow]) -> Vec<Place> {
    let replaced = items
        .iter()
        .filter(|item| matches!(item.fate, Fate::Replaced));
    let of = |item: &Item| {
        let rows = stale
            .iter()
            .filter(|row| row.file.asset == item.asset && row.file.kind == FileKind::Generated);
        rows.map(|row| row.file.place().clone()).collect()
    };
    let place = |item: &Item| Place {
        path: item.found.path.clone(),
        asset: item.asset.clone(),
        has_original: false,
        files: of(item),
    };
    replaced.map(place).collect()
}

/// The records of the items, with what others wrote into them as this batch sees it.
async fn records(
    import: &Import,
    batch: &mut Batch,
    items: &[Item],
    now: Timestamp,
) -> Result<Vec<Record>, Error> {
    let keys: Vec<_> = items.iter().map(|item| item.asset.key()).collect();
    let before = batch.stored(&keys).await?;
    let changed = items
        .iter()
        .zip(&keys)
        .filter(|(item, _)| !matches!(item.fate, Fate::Same | Fate::Mended));
    changed
        .map(|(item, key)| {
            let before = before.get(key).map(|stored| &stored.record);
            record(import, item, before, now)
        })
        .collect()
}

/// Rows that end with this portion: what a moved asset left, and renditions of a replaced original that will not be made
/// anew. Those that will are replaced when they are, so that there is one to show until then.
async fn stale(import: &Import, items: &[Item]) -> Result<Vec<FileRow>, Error> {
    let presets = &import.options.renditions.presets;
    let replaced: HashMap<_, _> = items
        .iter()
        .filter(|item| matches!(item.fate, Fate::Replaced))
        .map(|item| {
            let is_made_anew = import.renders() && item.is_renderable(presets);
            let format = extension(item.found.path.name()).filter(|_| is_made_anew);
            (item.asset.as_str(), (is_made_anew, format))
        })
        .collect();
    let assets: Vec<_> = replaced.keys().copied().collect();
    let mut rows = import.catalogue.files_of(&assets).await?;
    rows.retain(|row| {
        let is_made_anew = (replaced.get(row.file.asset.as_str())).is_some_and(|(made, format)| {
            *made && is_preset(import, format.as_deref(), row.file.path.name())
        });
        row.file.kind == FileKind::Generated && !is_made_anew
    });
    for item in items {
        if let Fate::Moved(moved) = &item.fate {
            rows.extend(moved.left.iter().cloned());
        }
    }
    Ok(rows)
}

fn record(
    import: &Import,
    item: &Item,
    before: Option<&Record>,
    now: Timestamp,
) -> Result<Record, Error> {
    let mut members = before.map(record::members).transpose()?.unwrap_or_default();
    let path = &item.found.path;
    let old_dir = members
        .get("sourcepath")
        .and_then(|old| MediaPath::new(old.as_str()?).ok()?.parent());
    let refile = |members: &mut fields::Members| {
        let chain = |dir: Option<&MediaPath>| categories::chain(&import.own, dir);
        fields::filed(
            members,
            path,
            &chain(old_dir.as_ref()),
            &chain(path.parent().as_ref()),
        );
    };
    let waiting = if item.is_renderable(&import.options.renditions.presets) {
        Preview::Waiting
    } else {
        Preview::Icon
    };
    match &item.fate {
        Fate::Added => {
            fields::added(&mut members, &item.asset, now);
            refile(&mut members);
            fields::content(&mut members, &item.reading);
            fields::preview(&mut members, waiting);
        }
        Fate::Replaced => {
            fields::content(&mut members, &item.reading);
            fields::preview(&mut members, waiting);
        }
        Fate::Touched | Fate::Same | Fate::Mended => {
            fields::touched(&mut members, item.reading.modified())
        }
        Fate::Moved(moved) => {
            refile(&mut members);
            fields::touched(&mut members, item.reading.modified());
            if !moved.is_complete {
                fields::preview(&mut members, waiting);
            }
        }
    }
    let status = fields::saved(&import.own, before, now, false);
    Ok(fields::stamped(members, &item.asset.key(), &status))
}

/// The file rows an item gains.
fn files(item: &Item) -> Vec<MediaFile> {
    let original = MediaFile {
        kind: FileKind::Original,
        path: item.found.path.clone(),
        place: None,
        asset: item.asset.clone(),
        size: item.reading.size,
        modified: item.reading.modified(),
        sha256: item.reading.sha256,
        md5: Some(item.reading.md5),
        authored: false,
        fingerprint: None,
    }
    .at(item.place.clone());
    match &item.fate {
        Fate::Same => Vec::new(),
        Fate::Moved(moved) => std::iter::once(original)
            .chain(moved.carried.iter().cloned())
            .collect(),
        Fate::Added | Fate::Replaced | Fate::Touched | Fate::Mended => vec![original],
    }
}
