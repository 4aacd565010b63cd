//! A portion of the walk at a time: read, decide, publish, commit. One catalogue batch per portion holds its records, file
//! rows and source rows; all of its bytes are durable before.

use std::collections::HashMap;
use std::sync::Arc;

use super::gone::{Place, clear};
use super::identify::{Fate, Item, identify};
use super::read::{self, Reading, Refusal};
use super::renditions::{Renditions, Want, is_preset};
use super::walk::{self, Found, Portion};
use super::{Error, Import, LEFT, blocking, categories, fields};
use crate::catalogue::{FileRow, SourceFile};
use crate::model::preset::image_presets;
use crate::model::{FileKind, MediaFile, MediaPath, Record, Timestamp};
use crate::monitor::Counter;
use crate::store::{self, Publish};

/// Takes in the whole folder, or what there is until we are asked to end.
pub(super) async fn run(
    import: &Arc<Import>,
    renditions: Option<&Renditions>,
) -> Result<(), Error> {
    let options = &import.options;
    let mut portions = walk::start(import.dir.clone(), options.prefix.clone(), options.batch)?;
    while let Some(portion) = portions.recv().await {
        if import.stop.requested() {
            break;
        }
        for want in take(import, portion).await? {
            let Some(renditions) = renditions else { break };
            if !renditions.feed(want).await {
                // They broke down; whoever joins them says why.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Takes in one portion; answers which of its originals are to be rendered.
async fn take(import: &Arc<Import>, portion: Portion) -> Result<Vec<Want>, Error> {
    let looked_at = portion.files.len() as u64;
    import.report().seen += looked_at;
    for reason in &portion.refused {
        import.refuse(reason);
    }
    let rels: Vec<_> = portion.files.iter().map(|file| file.rel.as_str()).collect();
    let rows = import.catalogue.source_files(&import.source, &rels).await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|row| (row.path.clone(), row))
        .collect();
    let (mut same, mut fresh) = (Vec::new(), Vec::new());
    for found in portion.files {
        match rows.get(&found.rel) {
            Some(row) if (row.size, row.modified_ns) == (found.size, found.modified_ns) => {
                same.push(row.clone())
            }
            _ => fresh.push(found),
        }
    }
    import.report().unchanged += same.len() as u64;
    let read = read_all(import, fresh).await?;
    let items = identify(import, read, &rows).await?;
    if import.options.dry_run {
        count(import, &items);
    } else {
        let (items, failure) = publish(import, items).await?;
        commit(import, portion.dirs, same, &items).await?;
        count(import, &items);
        if let Some(error) = failure {
            return Err(error.into());
        }
        import.monitor.advance(Counter::Records, looked_at);
        return Ok(items.into_iter().filter_map(want).collect());
    }
    Ok(Vec::new())
}

/// Reads files; those that cannot be taken are reported and left out.
async fn read_all(import: &Arc<Import>, files: Vec<Found>) -> Result<Vec<(Found, Reading)>, Error> {
    let shared = Arc::clone(import);
    let (files, answers) = blocking(move || {
        let answers = read::all(&shared.dir, &files, shared.staging.as_ref(), &shared.stop);
        (files, answers)
    })
    .await?;
    let mut read = Vec::with_capacity(files.len());
    for (found, answer) in files.into_iter().zip(answers) {
        match answer {
            Ok(reading) => read.push((found, reading)),
            Err(Refusal::Stopped) => import.report().seen -= 1,
            Err(Refusal::Store(error)) if error.stops_the_pass() => return Err(error.into()),
            Err(reason) => import.refuse(&format!("{}: {reason}", found.rel)),
        }
    }
    Ok(read)
}

/// Publishes the originals and what moved along with them. Items that cannot be placed are reported and left out; the
/// second answer is a failure after which nothing more can be published.
async fn publish(
    import: &Arc<Import>,
    mut items: Vec<Item>,
) -> Result<(Vec<Item>, Option<store::Error>), Error> {
    let shared = Arc::clone(import);
    let (items, answers) = blocking(move || {
        let mut batch = Vec::new();
        let mut parts = Vec::with_capacity(items.len());
        for item in &mut items {
            let staged = stage(&shared, item);
            parts.push(staged.map(|staged| {
                let count = staged.len();
                batch.extend(staged);
                count
            }));
        }
        let mut published = shared.store.publish(batch).into_iter();
        let answers: Vec<_> = parts
            .into_iter()
            .map(|part| {
                part.and_then(|count| published.by_ref().take(count).fold(Ok(()), Result::and))
            })
            .collect();
        (items, answers)
    })
    .await?;
    let mut failure = None;
    let mut durable = Vec::with_capacity(items.len());
    for (item, answer) in items.into_iter().zip(answers) {
        match answer {
            Ok(()) => durable.push(item),
            Err(error) if error.stops_the_pass() => failure = Some(error),
            Err(error) => {
                import.refuse(&format!("{}: cannot be published: {error}", item.found.rel))
            }
        }
    }
    Ok((durable, failure))
}

/// What of an item is to be published. Blocks.
fn stage(import: &Import, item: &mut Item) -> Result<Vec<Publish>, store::Error> {
    let (Some(staged), Some(staging)) = (item.reading.staged.take(), import.staging.as_ref())
    else {
        return Ok(Vec::new());
    };
    if matches!(item.fate, Fate::Same) {
        return Ok(Vec::new());
    }
    let mut parts = vec![Publish {
        staged,
        kind: FileKind::Original,
        path: item.found.path.clone(),
        modified: item.reading.modified(),
        keep_replaced: !matches!(item.fate, Fate::Touched),
    }];
    if let Fate::Moved(moved) = &mut item.fate
        && let Some(old) = import.path_of(&moved.from.path)
    {
        parts.extend(moved.carry(&import.store, staging, &item.found.path, &old)?);
    }
    Ok(parts)
}

/// Makes a portion durable in the catalogue.
async fn commit(
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
        .map(|item| (item.asset.as_str(), import.renders() && is_renderable(item)))
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
    let waiting = if is_renderable(item) {
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

fn is_renderable(item: &Item) -> bool {
    read::is_renderable(
        item.found.path.name(),
        item.reading.look.detected.as_deref(),
    )
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

fn count(import: &Import, items: &[Item]) {
    for item in items {
        let mut report = import.report();
        match item.fate {
            Fate::Same => report.unchanged += 1,
            Fate::Added => report.added += 1,
            Fate::Replaced | Fate::Touched => report.changed += 1,
            Fate::Moved(_) => report.moved += 1,
        }
        let is_rendered = matches!(item.fate, Fate::Added | Fate::Replaced) && is_renderable(item);
        if import.options.dry_run && import.options.thumbs && is_rendered {
            report.renditions += image_presets().len() as u64;
        }
        drop(report);
        if !matches!(item.fate, Fate::Same) {
            import.count_bytes(item.reading.size);
        }
    }
}

fn want(item: Item) -> Option<Want> {
    let is_new = matches!(item.fate, Fate::Added | Fate::Replaced) && is_renderable(&item);
    is_new.then_some(Want {
        asset: item.asset,
        path: item.found.path,
        content: item.reading.sha256,
        size: item.reading.size,
    })
}
