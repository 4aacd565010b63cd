//! A portion of the walk at a time: read, decide, publish, commit. One catalogue batch per portion holds its records, file
//! rows and source rows; all of its bytes are durable before.

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::commit;
use super::damage::damaged;
use super::gone::forget;
use super::identify::{Fate, Item, identify};
use super::read::{self, Reading, Refusal, extension};
use super::walk::{self, Found, Portion, Walk};
use super::{Error, Import, blocking};
use crate::catalogue::Wanted;
use crate::crash::{self, Point};
use crate::model::FileKind;
use crate::model::preset::{MOST_PAGES, PresetTable};
use crate::monitor::Counter;
use crate::renditions::{Line, Original, read_by_name};
use crate::store::{self, Publish};

/// Takes in the whole folder, or what there is until we are asked to end.
pub(super) async fn run(import: &Arc<Import>, line: Option<&Line>) -> Result<(), Error> {
    let options = &import.options;
    let mut portions = walk::start(Walk {
        dir: import.dir.clone(),
        prefix: options.prefix.clone(),
        batch: options.batch,
        only: options.only.clone(),
        quiet: options.quiet.clone(),
    })?;
    while let Some(portion) = portions.recv().await {
        if import.stop.requested() {
            break;
        }
        let originals = take(import, portion).await?;
        let Some(line) = line else { continue };
        for want in line.shop().wants(originals).await? {
            if !line.feed(want).await {
                // They broke down; whoever joins them says why.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Takes in one portion; answers which of its originals are to be rendered.
async fn take(import: &Arc<Import>, portion: Portion) -> Result<Vec<Original>, Error> {
    let looked_at = portion.files.len() as u64;
    import.report().seen += looked_at;
    // Each may be one that was moved and is not looked at yet.
    import.unread().extend(&portion.restless);
    for reason in &portion.refused {
        import.refuse(reason);
    }
    let rels: Vec<_> = portion.files.iter().map(|file| file.rel.as_str()).collect();
    let rows = import.catalogue.source_files(&import.source, &rels).await?;
    let rows: HashMap<_, _> = rows
        .into_iter()
        .map(|row| (row.path.clone(), row))
        .collect();
    let assets: Vec<_> = rows.values().map(|row| row.asset.as_str()).collect();
    let damaged = damaged(import, FileKind::Original, &assets).await?;
    let (mut same, mut fresh) = (Vec::new(), Vec::new());
    for found in portion.files {
        match rows.get(&found.rel) {
            Some(row)
                if (row.size, row.modified_ns) == (found.size, found.modified_ns)
                    && !damaged.contains(&row.asset) =>
            {
                same.push(row.clone())
            }
            _ => fresh.push(found),
        }
    }
    import.report().unchanged += same.len() as u64;
    let read = read_all(import, fresh).await?;
    crash::point(Point::ImportRead)?;
    let items = identify(import, read, &rows).await?;
    if import.options.dry_run {
        count(import, &items);
    } else {
        let (items, failure) = publish(import, items).await?;
        crash::point(Point::ImportPublished)?;
        commit(import, portion.dirs, same, &items).await?;
        count(import, &items);
        if let Some(error) = failure {
            return Err(error.into());
        }
        import.monitor.advance(Counter::Records, looked_at);
        let presets = &import.options.renditions.presets;
        let originals = items.into_iter();
        return Ok(originals
            .filter_map(|item| original(item, presets))
            .collect());
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
            Err(reason) => {
                import.unread().insert(found.size);
                import.refuse(&format!("{}: {reason}", found.rel));
            }
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
    give_places(import, &mut items).await?;
    forget_what_is_in_the_way(import, &mut items).await?;
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

/// Decides where the originals, and the renditions that move along, are to lie.
async fn give_places(import: &Import, items: &mut [Item]) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for item in items.iter() {
        let want = |kind, path| Wanted {
            kind,
            path,
            asset: &item.asset,
            shares: None,
            one_file_at: None,
        };
        wanted.push(want(FileKind::Original, &item.found.path));
        if let Fate::Moved(moved) = &item.fate {
            let renamed = moved.renamed.iter();
            wanted.extend(renamed.map(|to| want(FileKind::Generated, &to.path)));
        }
    }
    let mut places = import.places(&wanted).await?.into_iter();
    let mut next = || places.next().expect("one answer for each file");
    for item in items {
        item.place = next();
        if let Fate::Moved(moved) = &mut item.fate {
            moved.renamed.iter_mut().for_each(|to| to.place = next());
        }
    }
    Ok(())
}

/// Rows of places that have to be cleared before the moved asset can be published: rows go before bytes, here too.
async fn forget_what_is_in_the_way(import: &Import, items: &mut [Item]) -> Result<(), Error> {
    let mut rows = Vec::new();
    for item in items.iter_mut() {
        let Fate::Moved(moved) = &mut item.fate else {
            continue;
        };
        if !moved.is_in_the_way(import, &item.found.path) {
            continue;
        }
        let placed = moved.left.iter();
        moved.in_the_way = placed
            .map(|row| (row.file.kind, row.file.place().clone()))
            .collect();
        rows.extend(moved.left.iter().map(|row| row.file.clone()));
        // After a kill between the rows and the bytes only the bytes are left, and stay in the way until they go.
        if let Some(old) = import.path_of(&moved.from.path) {
            let rules = import.store.rules();
            let places: Vec<_> = rules.places(&old, &item.asset).take(2).collect();
            let owned = import
                .catalogue
                .occupied(rules, FileKind::Original, &places)
                .await?;
            let without_row = places.into_iter().filter(|place| !owned.contains(place));
            let without_row = without_row.map(|place| (FileKind::Original, place));
            moved.in_the_way.extend(without_row);
        }
    }
    if !rows.is_empty() {
        let mut batch = import.catalogue.batch().await?;
        forget(&mut batch, rows.iter(), import.now()).await?;
        batch.commit().await?;
    }
    Ok(())
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
        content: staged.into(),
        kind: FileKind::Original,
        path: item.place.clone(),
        modified: item.reading.modified(),
        keep_replaced: !matches!(item.fate, Fate::Touched),
    }];
    if let Fate::Moved(moved) = &mut item.fate {
        parts.extend(moved.carry(&import.store, staging)?);
        crash::point(Point::ImportCarried)?;
        // Below its own former name, or above it, a file cannot be published while that is still a file. Its bytes are
        // staged by now, and a kill after this is the same move found again.
        if moved.is_in_the_way(import, &item.found.path) {
            for (kind, place) in &moved.in_the_way {
                match import.store.trash(*kind, place) {
                    // A kill came after the new name: it is the folder that is wanted.
                    Ok(_) | Err(store::Error::NotAFile { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            crash::point(Point::ImportMadeRoom)?;
        }
    }
    Ok(parts)
}

fn count(import: &Import, items: &[Item]) {
    for item in items {
        let mut report = import.report();
        match item.fate {
            Fate::Same => report.unchanged += 1,
            Fate::Added => report.added += 1,
            Fate::Replaced | Fate::Touched | Fate::Mended => report.changed += 1,
            Fate::Moved(_) => report.moved += 1,
        }
        let presets = &import.options.renditions.presets;
        let is_new = matches!(item.fate, Fate::Added | Fate::Replaced) && import.options.thumbs;
        let is_rendered = is_new && item.is_renderable(presets);
        if import.options.dry_run && is_rendered {
            let format = extension(item.found.path.name());
            let format = format.as_deref();
            let pages = item.reading.look.pages.unwrap_or(1).clamp(1, MOST_PAGES);
            let of_others = presets.renditions_of_page(format, 2).len() as u64;
            report.renditions += presets.renditions(format).len() as u64;
            report.renditions += of_others * u64::from(pages - 1);
        }
        drop(report);
        if is_new && !is_rendered {
            import.left_unread(&item.found.path);
        }
        if !matches!(item.fate, Fate::Same) {
            import.count_bytes(item.reading.size);
        }
    }
}

fn original(item: Item, presets: &PresetTable) -> Option<Original> {
    let is_new = matches!(item.fate, Fate::Added | Fate::Replaced) && item.is_renderable(presets);
    let modified = item.reading.modified();
    is_new.then_some(Original {
        modified,
        asset: item.asset,
        format: read_by_name(extension(item.found.path.name())),
        pages: item.reading.look.pages.unwrap_or(1),
        path: item.found.path,
        place: item.place,
        content: item.reading.sha256,
        size: item.reading.size,
    })
}
