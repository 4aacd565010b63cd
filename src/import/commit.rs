//! One catalogue batch for a portion whose bytes are durable: categories, records, file rows, source rows, all or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::gone::{Place, clear};
use super::identify::{Fate, Item};
use super::renditions::is_preset;
use super::{Error, Import, LEFT, categories, fields};
use crate::catalogue::{FileRow, SourceFile};
use crate::model::{FileKind, MediaFile, MediaPath, Record, Timestamp};

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
    let keys: Vec<_> = items
        .iter()
        .map(|item| fields::asset_key(&item.asset))
        .collect();
    let before = batch.stored(&keys).await?;
    let mut records = Vec::new();
    for (item, key) in items
        .iter()
        .zip(&keys)
        .filter(|(item, _)| !matches!(item.fate, Fate::Same))
    {
        records.push(record(
            import,
            item,
            before.get(key).map(|stored| &stored.record),
            now,
        )?);
    }
    batch
        .put_records(&records.iter().collect::<Vec<_>>(), "", now)
        .await?;
    for row in &stale {
        let file = &row.file;
        batch
            .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
            .await?;
    }
    let mut left = Vec::new();
    for item in items {
        for file in files(item) {
            batch.put_file(&file, now).await?;
        }
        match &item.fate {
            Fate::Moved(moved) => left.push(SourceFile {
                modified_ns: LEFT,
                ..moved.from.clone()
            }),
            Fate::Added | Fate::Replaced => batch.forget_finding(&item.asset).await?,
            Fate::Same | Fate::Touched => {}
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
    for row in &left {
        import.claimed().remove(&row.path);
    }
    let replaced = items
        .iter()
        .filter(|item| matches!(item.fate, Fate::Replaced));
    let places = replaced.map(|item| Place {
        path: item.found.path.clone(),
        has_original: false,
        files: stale
            .iter()
            .filter(|row| row.file.asset == item.asset)
            .map(|row| row.file.path.clone())
            .collect(),
    });
    clear(import, places.collect()).await
}

/// Rows that end with this portion: what a moved asset left, and renditions of a replaced original that will not be made
/// anew. Those that will are replaced when they are, so that there is one to show until then.
async fn stale(import: &Import, items: &[Item]) -> Result<Vec<FileRow>, Error> {
    let replaced: HashMap<_, _> = items
        .iter()
        .filter(|item| matches!(item.fate, Fate::Replaced))
        .map(|item| {
            (
                item.asset.as_str(),
                import.renders() && item.is_renderable(),
            )
        })
        .collect();
    let assets: Vec<_> = replaced.keys().copied().collect();
    let mut rows = import.catalogue.files_of(&assets).await?;
    rows.retain(|row| {
        let is_made_anew =
            replaced.get(row.file.asset.as_str()) == Some(&true) && is_preset(row.file.path.name());
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
    let mut members = before.map(fields::members).transpose()?.unwrap_or_default();
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
    let waiting = if item.is_renderable() {
        fields::Preview::Waiting
    } else {
        fields::Preview::Icon
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
        Fate::Touched | Fate::Same => fields::touched(&mut members, item.reading.modified()),
        Fate::Moved(moved) => {
            refile(&mut members);
            fields::touched(&mut members, item.reading.modified());
            if !moved.is_complete {
                fields::preview(&mut members, waiting);
            }
        }
    }
    let status = fields::saved(&import.own, before, now, false);
    Ok(fields::stamped(
        members,
        &fields::asset_key(&item.asset),
        &status,
    ))
}

/// The file rows an item gains.
fn files(item: &Item) -> Vec<MediaFile> {
    let original = MediaFile {
        kind: FileKind::Original,
        path: item.found.path.clone(),
        asset: item.asset.clone(),
        size: item.reading.size,
        modified: item.reading.modified(),
        sha256: item.reading.sha256,
        md5: Some(item.reading.md5),
        authored: false,
    };
    match &item.fate {
        Fate::Same => Vec::new(),
        Fate::Moved(moved) => std::iter::once(original)
            .chain(moved.carried.iter().cloned())
            .collect(),
        Fate::Added | Fate::Replaced | Fate::Touched => vec![original],
    }
}
