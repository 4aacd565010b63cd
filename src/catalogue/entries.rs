//! What a stretch of a table holds, in the order of ids: each record with the files of its asset, and files whose asset has no
//! record. What a listing would name of it is decided in `protocol::digests`.

use sqlx::QueryBuilder;
use tokio_util::task::AbortOnDropHandle;

use super::dialect::{Engine, PACKED_FILES};
use super::files::in_order;
use super::records::{COLUMNS, LEAN_COLUMNS, stored};
use super::{Catalogue, Error, during, signed};
use crate::model::{MediaFile, Module, Record};
use crate::protocol::digests::Item;
use crate::task;

/// Records read at a time: each comes with its whole document (I10).
const PAGE: usize = 250;
/// The same where documents are left out.
const LEAN_PAGE: usize = 2_000;

/// One id of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The id.
    pub id: String,
    /// Its record, where there is one.
    pub record: Option<Record>,
    /// The files of the asset of this id, in order of kind and path.
    pub files: Vec<MediaFile>,
    /// What a listing names of it, where it names it.
    pub item: Option<Item>,
}

impl Entry {
    fn new(id: String, record: Option<Record>, files: Vec<MediaFile>) -> Self {
        let item = record.as_ref().and_then(|record| Item::of(record, &files));
        Self {
            id,
            record,
            files,
            item,
        }
    }

    /// Whether a listing names all of it, and nothing about it needs to be said.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        (self.item.as_ref()).is_some_and(|item| item.is_plain(self.files.len()))
    }
}

/// A stretch of a table that is read page by page: one is read while the one before it is used.
#[derive(Debug)]
pub(super) struct Entries {
    stretch: Stretch,
    more: bool,
    /// The next page, once one was asked for.
    ahead: Option<AbortOnDropHandle<Result<Page, Error>>>,
}

impl Entries {
    /// From the id `first` to just before `until`, or to the end of the table.
    pub(super) fn of(
        catalogue: &Catalogue,
        module: &Module,
        first: &str,
        until: Option<&str>,
    ) -> Self {
        let stretch = Stretch {
            catalogue: catalogue.clone(),
            module: module.clone(),
            from: (first.to_owned(), true),
            until: until.map(str::to_owned),
            is_lean: false,
        };
        Self {
            stretch,
            more: true,
            ahead: None,
        }
    }

    /// The same for whoever wants to know what is listed, and nothing else: only of an asset does the document say anything about
    /// that (which files it owns), and those of other tables are not even read.
    pub(super) fn only_listed(mut self) -> Self {
        self.stretch.is_lean = !self.stretch.module.is_asset();
        self
    }

    /// The next page; `None` after the last one. A page may be empty.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        if !std::mem::take(&mut self.more) {
            return Ok(None);
        }
        let begin = || self.stretch.clone().read();
        let read = self.ahead.take().unwrap_or_else(begin).await;
        let page = task::outcome(read)?;
        if let Some(last) = page.last {
            self.stretch.from = (last, false);
            self.ahead = Some(self.stretch.clone().read());
            self.more = true;
        }
        Ok(Some(joined(page.records, page.files)))
    }
}

/// Records and files, each in the order of ids.
#[derive(Debug)]
struct Page {
    records: Vec<Record>,
    files: Vec<MediaFile>,
    /// The last id, where more may follow.
    last: Option<String>,
}

/// What is still to be read.
#[derive(Debug, Clone)]
struct Stretch {
    catalogue: Catalogue,
    module: Module,
    /// Where the next page begins, and whether with this id or after it.
    from: (String, bool),
    until: Option<String>,
    /// Whether records come without their documents.
    is_lean: bool,
}

impl Stretch {
    fn page(&self) -> usize {
        if self.is_lean { LEAN_PAGE } else { PAGE }
    }

    /// Reads a page on another thread.
    fn read(self) -> AbortOnDropHandle<Result<Page, Error>> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let records = self.records().await?;
            let last = records.last().map(|record| record.key.id.clone());
            let last = last.filter(|_| records.len() == self.page());
            let files = if self.module.is_asset() {
                self.files(last.as_deref()).await?
            } else {
                Vec::new()
            };
            Ok(Page {
                records,
                files,
                last,
            })
        }))
    }

    fn push_range(&self, query: &mut QueryBuilder<Engine>, column: &str, last: Option<&str>) {
        let (from, with) = &self.from;
        let begins = if *with { " >= " } else { " > " };
        query
            .push(" AND ")
            .push(column)
            .push(begins)
            .push_bind(from.clone());
        if let Some(last) = last {
            query
                .push(" AND ")
                .push(column)
                .push(" <= ")
                .push_bind(last.to_owned());
        } else if let Some(until) = &self.until {
            query
                .push(" AND ")
                .push(column)
                .push(" < ")
                .push_bind(until.clone());
        }
    }

    async fn records(&self) -> Result<Vec<Record>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        let columns = if self.is_lean { LEAN_COLUMNS } else { COLUMNS };
        query.push(columns).push(" FROM record WHERE module = ");
        query.push_bind(self.module.as_str());
        self.push_range(&mut query, "id", None);
        query
            .push(" ORDER BY id LIMIT ")
            .push_bind(signed(self.page() as u64));
        let rows = query.build().fetch_all(&self.catalogue.db.readers).await;
        let rows = rows.map_err(during("read a stretch of a table"))?;
        rows.iter().map(|row| Ok(stored(row)?.record)).collect()
    }

    async fn files(&self, last: Option<&str>) -> Result<Vec<MediaFile>, Error> {
        let mut query = QueryBuilder::<Engine>::new(PACKED_FILES);
        query.push(" FROM file WHERE 1 = 1");
        self.push_range(&mut query, "asset", last);
        let rows = self
            .catalogue
            .packed_files(query, "read a stretch of files");
        let mut files: Vec<_> = rows.await?.into_iter().map(|row| row.file).collect();
        files.sort_by(|one, other| in_order(one).cmp(&in_order(other)));
        Ok(files)
    }
}

/// Records and files, each in the order of ids, as one.
fn joined(records: Vec<Record>, files: Vec<MediaFile>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(records.len());
    let mut files = files.into_iter().peekable();
    for record in records {
        let id = record.key.id.clone();
        while let Some(loose) = files.next_if(|file| file.asset.as_str() < id.as_str()) {
            let asset = loose.asset.to_string();
            let mut of_asset = vec![loose];
            while let Some(file) = files.next_if(|file| file.asset.as_str() == asset) {
                of_asset.push(file);
            }
            entries.push(Entry::new(asset, None, of_asset));
        }
        let mut of_asset = Vec::new();
        while let Some(file) = files.next_if(|file| file.asset.as_str() == id) {
            of_asset.push(file);
        }
        entries.push(Entry::new(id, Some(record), of_asset));
    }
    let rest: Vec<_> = files.collect();
    for loose in rest.chunk_by(|a, b| a.asset == b.asset) {
        entries.push(Entry::new(loose[0].asset.to_string(), None, loose.to_vec()));
    }
    entries
}
