//! The pages of an original after its first, each of which has files of its own (media spec 2.4).
//!
//! ```text
//! want of an original -> a task for some pages at a time -> settled as they come; the last one completes the asset
//! page that is broken, or not there -> a finding about that page; the others are made
//! files of pages that the record does not say any more -> rows forgotten, then bytes to the trash
//! ```
//!
//! An original is read once for each task, and a task holds the files of its pages until they are written: so memory does not grow
//! with the number of pages. A program shows one page at a time.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Seek as _};
use std::sync::Mutex;

use super::{Error, Original, Want, Workshop, blocking};
use crate::catalogue::{FileRow, PageFinding};
use crate::media::{Beyond, Recipe, beyond, count_pages};
use crate::model::preset::{MOST_PAGES, PresetTable, is_raw_format};
use crate::model::{AssetId, FileKind};
use crate::trash::{self, Place};

/// Pages of one task.
const AT_ONCE: usize = 16;

/// Assets whose renditions are made in several tasks, each with how many of them are still to be settled.
#[derive(Debug, Default)]
pub struct Unsettled(Mutex<HashMap<AssetId, usize>>);

impl Unsettled {
    fn expect(&self, asset: &AssetId, tasks: usize) {
        let mut unsettled = self.0.lock().expect("no panic while a number is noted");
        unsettled.insert(asset.clone(), tasks);
    }

    /// Notes that a task is settled: whether its asset has all of its renditions now.
    pub(super) fn is_last(&self, want: &Want) -> bool {
        if want.tasks == 1 {
            return true;
        }
        let mut unsettled = self.0.lock().expect("no panic while a number is noted");
        let Some(left) = unsettled.get_mut(&want.original.asset) else {
            return false;
        };
        *left -= 1;
        let is_last = *left == 0;
        if is_last {
            unsettled.remove(&want.original.asset);
        }
        is_last
    }
}

/// Adds to a recipe what every page after the first of an original has.
pub(super) fn with_pages(recipe: &Recipe, table: &PresetTable, original: &Original) -> Recipe {
    let format = original.format.as_deref();
    let mut recipe = recipe.clone();
    let further = (2..=original.pages.min(MOST_PAGES))
        .flat_map(|page| table.renditions_of_page(format, page));
    recipe.presets.extend(further);
    recipe
}

impl Workshop {
    /// The same in tasks of some pages each. Pages that the original does not have, whatever its record says, are a finding.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn in_tasks(&self, want: Want) -> Result<Vec<Want>, Error> {
        let Want {
            original, recipe, ..
        } = &want;
        if recipe.presets.iter().all(|preset| preset.page == 1) {
            return Ok(vec![want]);
        }
        let is_drawn = recipe.decoder.is_some();
        let counted = match is_drawn {
            // Only the program knows.
            true => None,
            false => self.count(original).await?,
        };
        let (last, why) = counted.unwrap_or((MOST_PAGES, String::new()));
        let mut by_page: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for preset in &recipe.presets {
            let of_page = by_page.entry(preset.page).or_default();
            of_page.push(preset.clone());
        }
        let missing = by_page.split_off(&(last + 1));
        if let Some((most, _)) = missing.last_key_value() {
            let finding = PageFinding {
                asset: original.asset.clone(),
                pages: last + 1..=*most,
                content: original.content,
                reason: why,
            };
            self.tell(&finding, original);
            self.part_with_pages(original, std::slice::from_ref(&finding))
                .await?;
            let mut batch = self.catalogue.batch().await?;
            batch.put_page_finding(&finding, self.now()).await?;
            batch.commit().await?;
        }
        let pages: Vec<_> = by_page.into_values().collect();
        let tasks: Vec<_> = pages
            .chunks(if is_drawn { 1 } else { AT_ONCE })
            .map(|pages| recipe.only(pages.concat()))
            .collect();
        if tasks.len() > 1 {
            self.unsettled.expect(&original.asset, tasks.len());
        }
        let count = tasks.len();
        let task = |recipe| Want {
            original: original.clone(),
            recipe,
            completes: want.completes,
            tasks: count,
        };
        Ok(tasks.into_iter().map(task).collect())
    }

    /// How many pages an original that is decoded here allows renditions of, and why no more; `None` when it cannot be read, which is
    /// said when it is to be rendered.
    async fn count(&self, original: &Original) -> Result<Option<(u32, String)>, Error> {
        let (store, place) = (self.store.clone(), original.place.clone());
        let is_raw = original.format.as_deref().is_some_and(is_raw_format);
        blocking(move || {
            let Some(open) = store.open_file(FileKind::Original, &place)? else {
                return Ok(None);
            };
            let mut input = BufReader::new(open.file);
            let Ok(pages) = count_pages(&mut input) else {
                return Ok(None);
            };
            let rare = match pages > 1 && !is_raw && input.rewind().is_ok() {
                true => beyond(&mut input).ok().flatten(),
                false => None,
            };
            Ok(Some(match rare {
                // The program that reads it is asked for the first.
                Some(Beyond { format, kind }) => {
                    let why = "is of a rare kind, of which only the first page is shown";
                    (1, format!("the {format} {why} ({kind})"))
                }
                None => {
                    let why = "of the pages that its record says";
                    (pages, format!("the original has {pages} {why}"))
                }
            }))
        })
        .await?
    }

    /// Says why a page has no rendition.
    pub(super) fn tell(&self, finding: &PageFinding, original: &Original) {
        let (path, pages, reason) = (&original.path, finding.said_pages(), &finding.reason);
        self.monitor
            .finding(&format!("{path}: no rendition of {pages}: {reason}"));
    }

    /// Takes away what an earlier content had of pages that allow none now, as is done of a whole original that allows none.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn part_with_pages(
        &self,
        original: &Original,
        findings: &[PageFinding],
    ) -> Result<(), Error> {
        let mut rows = self.catalogue.files_of(&[original.asset.as_str()]).await?;
        rows.retain(|row| {
            let name = row.file.path.below(&original.path);
            let page = name.and_then(|name| self.settings.presets.page_of(name));
            let is_hopeless = |page: u32| findings.iter().any(|it| it.pages.contains(&page));
            let is_ours = row.file.kind == FileKind::Generated && row.file.authored;
            is_ours && page.is_some_and(is_hopeless)
        });
        match rows.is_empty() {
            true => Ok(()),
            false => self.part_with(original, &rows).await,
        }
    }

    /// Takes away files of pages that no rendition is made of any more; the caller holds the lock of whoever else writes them.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn part_with(
        &self,
        original: &Original,
        rows: &[FileRow],
    ) -> Result<(), Error> {
        let now = self.now();
        let mut batch = self.catalogue.batch().await?;
        for file in rows.iter().map(|row| &row.file) {
            batch
                .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
                .await?;
        }
        batch.commit().await?;
        let place = Place {
            path: original.path.clone(),
            asset: original.asset.clone(),
            has_original: false,
            files: rows.iter().map(|row| row.file.place().clone()).collect(),
        };
        let (presets, monitor) = (&self.settings.presets, self.monitor.as_ref());
        trash::clear(&self.store, &self.catalogue, presets, vec![place], monitor).await?;
        Ok(())
    }
}

/// Files made here of pages of an original that the recipe has no preset for any more: its record says fewer, or a preset makes one
/// page alone now.
pub(super) fn surplus(
    original: &Original,
    recipe: &Recipe,
    table: &PresetTable,
    files: &[FileRow],
) -> Vec<FileRow> {
    let is_surplus = |row: &&FileRow| {
        let file = &row.file;
        let name = file.path.below(&original.path);
        file.kind == FileKind::Generated
            && file.authored
            && name.is_some_and(|name| {
                table.page_of(name).is_some()
                    && recipe.presets.iter().all(|preset| preset.file_name != name)
            })
    };
    files.iter().filter(is_surplus).cloned().collect()
}
