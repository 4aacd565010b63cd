//! What the walk over the assets needs to know of each, read ahead of it.
//!
//! Reading takes as long as looking at what was read, so that both go on at the same time; but only as long as nothing is made:
//! that takes hours, and what was read before says nothing any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Error;
use crate::catalogue::{Among, Catalogue, Cropped, FileRow, Finding, PageFinding, StoredRecord};
use crate::model::preset::PresetTable;
use crate::model::{Asset, AssetId, Module, RecordKey};
use crate::protocol::record;
use crate::task;

/// Assets looked at at once.
pub(super) const PAGE: usize = 500;
/// Pages that may be behind the one that is looked at: as many as connections read side by side.
const AHEAD: usize = 2;

/// Some assets, with what the catalogue says of them.
pub(super) struct Page {
    /// Those asked for that have an original of a format, in order of their ids.
    pub(super) assets: Vec<(StoredRecord, Asset)>,
    /// The files of those that anything is made of.
    pub(super) files: HashMap<AssetId, Vec<FileRow>>,
    /// The rectangles for those.
    pub(super) crops: Vec<Cropped>,
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

/// What the records of a page say.
struct Listed {
    assets: Vec<(StoredRecord, Asset)>,
    /// Those that anything is made of.
    makes: Vec<AssetId>,
    /// How many records there are between the first and the last of them, where those are all that the catalogue has there.
    in_a_row: Option<usize>,
    last: RecordKey,
}

impl Listed {
    /// How what is known of those is asked for: of a page of little else as of a whole stretch.
    fn among<'a>(&self, makes: &'a [&'a str]) -> Among<'a> {
        match (makes, self.in_a_row) {
            ([first, .., last], Some(all)) if makes.len() * 2 > all => Among::Between(first, last),
            _ => Among::These(makes),
        }
    }
}

impl Reader {
    /// The next records; `None` after the last.
    async fn list(&self, after: Option<&RecordKey>) -> Result<Option<Listed>, Error> {
        let stored = self.stored(after).await?;
        let Some(last) = stored.last().map(|stored| stored.record.key.clone()) else {
            return Ok(None);
        };
        let read = stored.len();
        let (mut assets, mut makes) = (Vec::with_capacity(stored.len()), Vec::new());
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
                makes.push(asset.id.clone());
            }
            assets.push((stored, asset));
        }
        Ok(Some(Listed {
            assets,
            makes,
            in_a_row: self.only.is_none().then_some(read),
            last,
        }))
    }

    /// The same with all that is known of those that anything is made of.
    async fn complete(&self, listed: Listed) -> Result<Page, Error> {
        let ids: Vec<_> = listed.makes.iter().map(AssetId::as_str).collect();
        let those = listed.among(&ids);
        let (rows, crops, findings, page_findings) = tokio::try_join!(
            self.catalogue.files_of(those),
            self.catalogue.crops_of(those),
            self.catalogue.findings(those),
            self.catalogue.page_findings(those),
        )?;
        let mut files: HashMap<AssetId, Vec<FileRow>> = HashMap::new();
        for row in rows {
            files.entry(row.file.asset.clone()).or_default().push(row);
        }
        Ok(Page {
            assets: listed.assets,
            files,
            crops,
            findings,
            page_findings,
            last: listed.last,
        })
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
    ahead: Option<Ahead>,
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

    /// The next page; `None` after the last. Unless something `is_made` of the assets, those behind it are read meanwhile.
    pub(super) async fn next(&mut self, is_made: bool) -> Result<Option<Page>, Error> {
        let page = if is_made {
            self.ahead = None;
            match self.reader.list(self.after.as_ref()).await? {
                Some(listed) => Some(self.reader.complete(listed).await?),
                None => None,
            }
        } else {
            let begin = || Ahead::begin(&self.reader, self.after.clone());
            self.ahead.get_or_insert_with(begin).next().await?
        };
        if let Some(page) = &page {
            self.after = Some(page.last.clone());
        }
        Ok(page)
    }
}

/// Pages on their way, in order: while the records of one are read, what else is known of those before it is.
struct Ahead {
    pages: mpsc::Receiver<Reading<Page>>,
    /// Ended once there are no more, or when this is dropped.
    list: Reading<()>,
}

type Reading<T> = AbortOnDropHandle<Result<T, Error>>;

impl Ahead {
    fn begin(reader: &Arc<Reader>, after: Option<RecordKey>) -> Self {
        let (begun, pages) = mpsc::channel(AHEAD);
        let list = list(Arc::clone(reader), after, begun);
        let list = AbortOnDropHandle::new(tokio::spawn(list));
        Self { pages, list }
    }

    async fn next(&mut self) -> Result<Option<Page>, Error> {
        if let Some(page) = self.pages.recv().await {
            return task::outcome(page.await).map(Some);
        }
        // After the last, or because the records cannot be read.
        task::outcome((&mut self.list).await)?;
        Ok(None)
    }
}

async fn list(
    reader: Arc<Reader>,
    mut after: Option<RecordKey>,
    pages: mpsc::Sender<Reading<Page>>,
) -> Result<(), Error> {
    while let Ok(room) = pages.reserve().await {
        let Some(listed) = reader.list(after.as_ref()).await? else {
            break;
        };
        after = Some(listed.last.clone());
        let reader = Arc::clone(&reader);
        let page = tokio::spawn(async move { reader.complete(listed).await });
        room.send(AbortOnDropHandle::new(page));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::Shipped;
    use crate::model::{FileKind, MediaFile, MediaPath, NodeId, RecordStatus, Sha256, Timestamp};
    use serde_json::{Map, Value, json};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn id(n: usize) -> String {
        format!("a{n:05}")
    }

    /// So many assets, every fifth one a text that nothing is made of, each with its original.
    async fn filled(assets: usize) -> (tempfile::TempDir, Catalogue) {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
            .await
            .unwrap();
        let node = NodeId::new("node-a").unwrap();
        let status = RecordStatus::saved_by_master(&node, None, NOW, false);
        let record = |n: usize| {
            let format = if n.is_multiple_of(5) { "txt" } else { "jpg" };
            let members = json!({"fileformat": format, "sourcepath": path(n).as_str()});
            let members: Map<String, Value> = serde_json::from_value(members).unwrap();
            record::stamped(members, &AssetId::new(id(n)).unwrap().key(), &status)
        };
        let original = |n: usize| MediaFile {
            kind: FileKind::Original,
            path: path(n),
            place: None,
            asset: AssetId::new(id(n)).unwrap(),
            size: 1,
            modified: NOW,
            sha256: Sha256::of(&n.to_le_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let records: Vec<_> = (0..assets).map(record).collect();
        let originals: Vec<_> = (0..assets).map(original).collect();
        let mut batch = catalogue.batch().await.unwrap();
        let records: Vec<_> = records.iter().collect();
        batch.put_records(&records, "", NOW).await.unwrap();
        let originals: Vec<_> = originals.iter().collect();
        batch.put_files(&originals, NOW).await.unwrap();
        batch.commit().await.unwrap();
        (dir, catalogue)
    }

    fn path(n: usize) -> MediaPath {
        MediaPath::new(format!("d/{n}.jpg")).unwrap()
    }

    fn reader(catalogue: &Catalogue, only: Option<Vec<usize>>) -> Reader {
        let key = |n| AssetId::new(id(n)).unwrap().key();
        Reader {
            catalogue: catalogue.clone(),
            presets: Arc::new(PresetTable::shipped(Shipped::Webp)),
            converts: false,
            only: only.map(|only| only.into_iter().map(key).collect()),
            categories: HashSet::new(),
        }
    }

    /// What pages say, where something is made after some of them.
    async fn read(mut pages: Pages, is_made: impl Fn(usize) -> bool) -> Vec<(String, bool)> {
        let (mut said, mut at) = (Vec::new(), 0);
        while let Some(page) = pages.next(is_made(at)).await.unwrap() {
            said.extend(page.assets.iter().map(|(_, asset)| {
                let files = page.files.get(&asset.id).map_or(0, Vec::len);
                assert!(files <= 1, "{} has {files}", asset.id);
                (asset.id.to_string(), files == 1)
            }));
            at += 1;
        }
        said
    }

    #[tokio::test]
    async fn every_asset_comes_once_and_in_order_whatever_is_made_meanwhile() {
        let (_dir, catalogue) = filled(4 * PAGE + 3).await;
        let said = |n: usize| (id(n), !n.is_multiple_of(5));
        let all: Vec<_> = (0..4 * PAGE + 3).map(said).collect();
        for is_made in [|_| false, |_| true, |at| at % 2 == 1, |at| at == 3] {
            let pages = Pages::new(reader(&catalogue, None), None);
            assert_eq!(without_files_of_texts(read(pages, is_made).await), all);
        }
        let after = AssetId::new(id(PAGE + 6)).unwrap().key();
        let pages = Pages::new(reader(&catalogue, None), Some(after));
        let rest = without_files_of_texts(read(pages, |_| false).await);
        assert_eq!(rest, all[PAGE + 7..]);
    }

    /// Of a page that is asked for as one stretch they are read too, and of no use.
    fn without_files_of_texts(said: Vec<(String, bool)>) -> Vec<(String, bool)> {
        let said = said.into_iter().enumerate();
        said.map(|(at, (id, has))| {
            let n: usize = id[1..].parse().unwrap();
            assert!(has || n.is_multiple_of(5), "{id} at {at} has no original");
            (id, !n.is_multiple_of(5))
        })
        .collect()
    }

    #[tokio::test]
    async fn of_some_assets_the_files_of_these_alone_are_read() {
        let (_dir, catalogue) = filled(30).await;
        let only = vec![1, 2, 5, 28];
        let pages = Pages::new(reader(&catalogue, Some(only.clone())), None);
        let said = read(pages, |_| false).await;
        let expected: Vec<_> = only.into_iter().map(|n| (id(n), n != 5)).collect();
        assert_eq!(said, expected);
    }

    #[tokio::test]
    async fn a_catalogue_that_cannot_be_read_is_no_end() {
        let (_dir, catalogue) = filled(3).await;
        catalogue.close().await;
        let mut pages = Pages::new(reader(&catalogue, None), None);
        assert!(pages.next(false).await.is_err());
    }
}
