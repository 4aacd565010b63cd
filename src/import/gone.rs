//! What is gone from the folder: deleted under the guard, and places that assets have left.
//!
//! A file is gone when the walk did not see it, it is not on disk at the moment of the delete, and the directory that would
//! hold it can be read; and no file of its size was seen that could not be read, for that may be where it went. Anything else means
//! unknown, and unknown files stay (I4).
//!
//! ```text
//! 1 tombstone, file rows forgotten, source row marked as left     one catalogue batch
//! 2 original and renditions to the trash                          kill: the marked row brings the next import here again
//! 3 source row forgotten
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::presence::{Presence, presence};
use super::{Error, Import, LEFT, Only, categories, fields};
use crate::catalogue::{Batch, SourceFile};
use crate::crash::{self, Point};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Timestamp};
use crate::protocol::record::restamped;
use crate::reconcile::guard;
use crate::renditions::is_at;
use crate::trash::{self, Place};

/// Source rows worked on at once.
const PAGE: usize = 256;

/// After a whole walk: deletes what is gone, unless that is more than the guard allows, and clears places that were left.
pub(super) async fn settle(import: &Arc<Import>, live_before: u64) -> Result<(), Error> {
    let lost = count(import).await?;
    let limit = import
        .options
        .max_delete
        .unwrap_or_else(|| guard::limit(live_before, None));
    let is_held = !guard::lets_go(lost, limit);
    if is_held {
        import.report().held = lost;
        import.monitor.finding(&format!(
            "{lost} assets are gone from the folder, more than the guard of {limit} lets go"
        ));
    } else if import.options.dry_run {
        import.report().gone = lost;
    }
    if import.options.dry_run {
        return Ok(());
    }
    // What vanishes while we are at it is for the next import: the guard has not seen it.
    let mut budget = if is_held {
        0
    } else {
        usize::try_from(lost).unwrap_or(usize::MAX)
    };
    let mut unseen = Unseen::of(import);
    while let Some(page) = unseen.next(import).await? {
        import.check_identity()?;
        let (left, unseen): (Vec<_>, Vec<_>) =
            page.into_iter().partition(|row| row.modified_ns == LEFT);
        let mut gone = Vec::new();
        for row in unseen {
            if budget > 0 && is_gone(import, &row).await {
                budget -= 1;
                gone.push(row);
            }
        }
        delete(import, gone, left).await?;
        if import.stop.requested() {
            return Ok(());
        }
    }
    let has_left = {
        let report = import.report();
        report.gone + report.moved > 0
    };
    if is_held || (import.options.only != Only::Whole && !has_left) {
        Ok(())
    } else {
        categories::prune(import).await
    }
}

/// How many files are gone.
async fn count(import: &Import) -> Result<u64, Error> {
    import.check_identity()?;
    let (mut lost, mut unseen) = (0, Unseen::of(import));
    while let Some(page) = unseen.next(import).await? {
        for row in page.iter().filter(|row| row.modified_ns != LEFT) {
            lost += u64::from(is_gone(import, row).await);
        }
    }
    Ok(lost)
}

/// Source rows of what was looked at and not seen, a page at a time.
struct Unseen {
    /// Places still to be asked about, the next one last; `None` is the whole folder.
    places: Vec<Option<String>>,
    after: String,
}

impl Unseen {
    fn of(import: &Import) -> Self {
        let places = match &import.options.only {
            Only::Whole => vec![None],
            Only::Below(places) => places.iter().rev().cloned().map(Some).collect(),
        };
        Self {
            places,
            after: String::new(),
        }
    }

    async fn next(&mut self, import: &Import) -> Result<Option<Vec<SourceFile>>, Error> {
        let (catalogue, source, walk) = (&import.catalogue, &import.source, import.walk);
        while let Some(place) = self.places.last() {
            let page = match place {
                None => {
                    catalogue
                        .gone_files(source, walk, &self.after, PAGE)
                        .await?
                }
                Some(place) => {
                    let after = &self.after;
                    catalogue
                        .gone_below(source, walk, (place, after), PAGE)
                        .await?
                }
            };
            if let Some(last) = page.last() {
                self.after.clone_from(&last.path);
                return Ok(Some(page));
            }
            self.places.pop();
            self.after.clear();
        }
        Ok(None)
    }
}

/// Whether a file that the walk did not see is gone. One that a move which could not be published came from is not, nor one that
/// may have moved to where nothing could be read: the next import tries again.
async fn is_gone(import: &Import, row: &SourceFile) -> bool {
    let is_claimed = import.claimed().contains(&row.path);
    let is_unread = import.unread().contains(&row.size);
    !is_claimed && !is_unread && presence(&import.dir, &row.path, false).await == Presence::Gone
}

/// Deletes the assets of `gone`, and clears their places and those of `left`.
async fn delete(
    import: &Arc<Import>,
    gone: Vec<SourceFile>,
    left: Vec<SourceFile>,
) -> Result<(), Error> {
    if gone.is_empty() && left.is_empty() {
        return Ok(());
    }
    let mut files = bury(import, &gone).await?;
    let places = gone.iter().chain(&left).filter_map(|row| {
        Some(Place {
            path: import.path_of(&row.path)?,
            asset: row.asset.clone(),
            has_original: true,
            files: files.remove(row.asset.as_str()).unwrap_or_default(),
        })
    });
    let uncleared = clear(import, places.collect()).await?;
    crash::point(Point::ImportCleared)?;
    let mut batch = import.catalogue.batch().await?;
    let rows = gone.iter().chain(&left);
    // The marked row of what could not be moved away brings the next import here again.
    for row in rows.filter(|row| !uncleared.contains(&row.asset)) {
        batch.forget_source_file(&import.source, &row.path).await?;
    }
    batch.commit().await?;
    Ok(crash::point(Point::ImportForgotten)?)
}

/// Writes tombstones and forgets file rows; answers the generated files of each asset.
pub(super) async fn bury(
    import: &Import,
    gone: &[SourceFile],
) -> Result<HashMap<String, Vec<MediaPath>>, Error> {
    let mut generated: HashMap<String, Vec<MediaPath>> = HashMap::new();
    if gone.is_empty() {
        return Ok(generated);
    }
    let assets: Vec<_> = gone.iter().map(|row| row.asset.as_str()).collect();
    let files = import.catalogue.files_of(&assets).await?;
    let now = import.now();
    let mut batch = import.catalogue.batch().await?;
    let keys: Vec<_> = gone.iter().map(|row| row.asset.key()).collect();
    let stored = batch.stored(&keys).await?;
    let (mut tombstones, mut ended) = (Vec::new(), HashSet::new());
    for (row, key) in gone.iter().zip(&keys) {
        let Some(stored) = stored.get(key) else {
            continue;
        };
        let is_here = import
            .path_of(&row.path)
            .is_some_and(|path| is_at(stored, &path));
        if is_here {
            let status = fields::saved(&import.own, Some(&stored.record), now, true);
            tombstones.push(restamped(&stored.record, &status)?);
        }
        if is_here || stored.record.is_deleted() {
            ended.insert(row.asset.as_str());
            batch.forget_findings(&row.asset).await?;
        }
    }
    batch
        .put_records(&tombstones.iter().collect::<Vec<_>>(), "", now)
        .await?;
    let ended = || {
        let files = files.iter().map(|row| &row.file);
        files.filter(|file| ended.contains(file.asset.as_str()))
    };
    part_with(&mut batch, ended(), now).await?;
    for file in ended().filter(|file| file.kind == FileKind::Generated) {
        let of_asset = generated.entry(file.asset.to_string()).or_default();
        of_asset.push(file.place().clone());
    }
    let marked: Vec<_> = gone.iter().map(marked_as_left).collect();
    batch
        .put_source_files(&import.source, import.walk - 1, &marked)
        .await?;
    batch.commit().await?;
    crash::point(Point::ImportBuried)?;
    import.report().gone += tombstones.len() as u64;
    Ok(generated)
}

/// The source row of a place that its asset has left, until the place is cleared.
pub(super) fn marked_as_left(row: &SourceFile) -> SourceFile {
    SourceFile {
        modified_ns: LEFT,
        ..row.clone()
    }
}

/// Forgets file rows before their bytes go, which [`clear`] sees to; those that another asset shares are handed over to it, and
/// stay.
pub(super) async fn part_with(
    batch: &mut Batch,
    files: impl Iterator<Item = &MediaFile>,
    now: Timestamp,
) -> Result<(), Error> {
    for file in files {
        let named = (file.kind, &file.path);
        if !batch
            .hand_over(named, &file.asset, &file.sha256, now)
            .await?
        {
            forget(batch, std::iter::once(file), now).await?;
        }
    }
    Ok(())
}

/// Forgets file rows, before their bytes go.
pub(super) async fn forget(
    batch: &mut Batch,
    files: impl Iterator<Item = &MediaFile>,
    now: Timestamp,
) -> Result<(), Error> {
    for file in files {
        batch
            .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
            .await?;
    }
    Ok(())
}

/// Whether an import makes a generated file of this name of an original of this format.
pub(super) fn is_preset(import: &Import, format: Option<&str>, name: &str) -> bool {
    let table = &import.options.renditions.presets;
    let mut presets = table.renditions(format).iter();
    presets.any(|preset| preset.file_name == name)
}

/// Moves to the trash what lies at these places and has no row; answers the assets of which something could not be moved, and is
/// reported.
pub(super) async fn clear(import: &Import, places: Vec<Place>) -> Result<HashSet<AssetId>, Error> {
    let presets = &import.options.renditions.presets;
    let (store, catalogue) = (&import.store, &import.catalogue);
    Ok(trash::clear(store, catalogue, presets, places, import.monitor.as_ref()).await?)
}
