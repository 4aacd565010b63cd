//! What the walk over the assets needs to know of each, read a page ahead of it.
//!
//! Reading takes as long as looking at what was read, so that both go on at the same time; but only as long as nothing is made:
//! that takes hours, and what was read before says nothing any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::Error;
use crate::catalogue::{Catalogue, FileRow, Finding, PageFinding, StoredRecord};
use crate::model::preset::PresetTable;
use crate::model::{Asset, AssetId, Module, RecordKey};
use crate::protocol::record;

/// Assets looked at at once.
pub(super) const PAGE: usize = 500;

/// Some assets, with what the catalogue says of them.
pub(super) struct Page {
    /// Those asked for that have an original of a format, in order of their ids.
    pub(super) assets: Vec<(StoredRecord, Asset)>,
    /// The files of those that anything is made of.
    pub(super) files: HashMap<AssetId, Vec<FileRow>>,
    pub(super) findings: Vec<Finding>,
    pub(super) page_findings: Vec<PageFinding>,
    /// The last record that was looked at.
    pub(super) last: RecordKey,
}

/// Which assets are read, and what of them.
pub(super) struct Reader {
    pub(super) catalogue: Catalogue,
    pub(super) presets: Arc<PresetTable>,
    /// Whether files of other kinds than pictures are made too.
    pub(super) converts: bool,
    /// Only these, in order; none for all.
    pub(super) only: Option<Vec<RecordKey>>,
    /// Only those in one of these categories; empty for any.
    pub(super) categories: HashSet<String>,
}

impl Reader {
    async fn read(self: Arc<Self>, after: Option<RecordKey>) -> Result<Option<Page>, Error> {
        let stored = self.stored(after.as_ref()).await?;
        let Some(last) = stored.last().map(|stored| stored.record.key.clone()) else {
            return Ok(None);
        };
        let (mut assets, mut ids) = (Vec::with_capacity(stored.len()), Vec::new());
        for stored in stored {
            if stored.record.is_deleted() {
                continue;
            }
            let Ok(asset) = record::asset(&stored.record) else {
                continue;
            };
            let Some(format) = asset.format.as_deref().filter(|_| !asset.is_folder) else {
                continue;
            };
            let is_in_one = || (asset.categories.iter()).any(|id| self.categories.contains(id));
            if !self.categories.is_empty() && !is_in_one() {
                continue;
            }
            if self.makes(format) {
                ids.push(asset.id.to_string());
            }
            assets.push((stored, asset));
        }
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        // Most of the time goes into the files: two connections read them side by side.
        let (some, others) = ids.split_at(ids.len() / 2);
        let (some, others, findings, page_findings) = tokio::try_join!(
            self.catalogue.files_of(some),
            self.catalogue.files_of(others),
            self.catalogue.findings(&ids),
            self.catalogue.page_findings(&ids),
        )?;
        let mut files: HashMap<AssetId, Vec<FileRow>> = HashMap::new();
        for row in some.into_iter().chain(others) {
            files.entry(row.file.asset.clone()).or_default().push(row);
        }
        Ok(Some(Page {
            assets,
            files,
            findings,
            page_findings,
            last,
        }))
    }

    /// The next assets, in order of their ids.
    async fn stored(&self, after: Option<&RecordKey>) -> Result<Vec<StoredRecord>, Error> {
        let Some(only) = &self.only else {
            let table = Module::asset();
            return Ok(self
                .catalogue
                .records_after(Some(&table), after, PAGE)
                .await?);
        };
        let first = only.partition_point(|key| after.is_some_and(|after| key <= after));
        let keys = &only[first..only.len().min(first + PAGE)];
        let mut stored = self.catalogue.stored(keys).await?;
        Ok(keys.iter().filter_map(|key| stored.remove(key)).collect())
    }

    /// Whether anything is made of originals of a format.
    fn makes(&self, format: &str) -> bool {
        self.presets.renders(format)
            || self.converts && !self.presets.conversions(format).is_empty()
    }
}

/// Page after page.
pub(super) struct Pages {
    reader: Arc<Reader>,
    after: Option<RecordKey>,
    ahead: Option<AbortOnDropHandle<Result<Option<Page>, Error>>>,
}

impl Pages {
    /// Those behind `after`.
    pub(super) fn new(reader: Reader, after: Option<RecordKey>) -> Self {
        Self {
            reader: Arc::new(reader),
            after,
            ahead: None,
        }
    }

    /// The next page; `None` after the last. Unless something `is_made` of the assets, the one behind it is read meanwhile.
    pub(super) async fn next(&mut self, is_made: bool) -> Result<Option<Page>, Error> {
        let ahead = self.ahead.take().filter(|_| !is_made);
        let begin = || self.begin();
        let read = ahead.unwrap_or_else(begin).await;
        let page = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        if let Some(page) = &page {
            self.after = Some(page.last.clone());
            self.ahead = (!is_made).then(|| self.begin());
        }
        Ok(page)
    }

    fn begin(&self) -> AbortOnDropHandle<Result<Option<Page>, Error>> {
        let read = Arc::clone(&self.reader).read(self.after.clone());
        AbortOnDropHandle::new(tokio::spawn(read))
    }
}
