//! What this node holds, as digests: one pass over the catalogue in order, and a second one where a difference is to be named.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{Content, Files, LiveRecords, Tombstones};
use super::tally::{Line, Tally};
use super::{Error, Here, PAGE, RECORDS};
use crate::catalogue::by_ref;
use crate::model::{FileKind, Module, Record, RecordKey};

/// Digests of everything in the catalogue.
///
/// # Errors
/// [`Error::Moving`] when records or files changed meanwhile, since then the digests are of no one moment.
pub async fn describe(here: &Here<'_>) -> Result<Content, Error> {
    describe_in_pages(here, PAGE).await
}

pub(super) async fn describe_in_pages(here: &Here<'_>, page: usize) -> Result<Content, Error> {
    let before = here.catalogue.last_change().await?;
    let (records, deletes) = records(here, page.min(RECORDS)).await?;
    let originals = files(here, FileKind::Original, page).await?;
    let generated = files(here, FileKind::Generated, page).await?;
    if here.catalogue.last_change().await? != before {
        return Err(Error::Moving);
    }
    Ok(Content {
        records,
        deletes,
        originals,
        generated,
    })
}

type Tables<T> = BTreeMap<String, T>;

/// The two tallies of the table that is being read.
struct Table {
    module: Module,
    live: Tally,
    dead: Tally,
}

async fn records(
    here: &Here<'_>,
    page: usize,
) -> Result<(Tables<LiveRecords>, Tables<Tombstones>), Error> {
    let (mut live, mut dead) = (BTreeMap::new(), BTreeMap::new());
    let mut close = |table: Table| {
        let name = table.module.as_str();
        if table.live.items() > 0 {
            let (live_records, digested) = (table.live.items(), table.live.finish());
            let group = LiveRecords {
                live: live_records,
                digested,
            };
            live.insert(name.to_owned(), group);
        }
        if table.dead.items() > 0 {
            let (count, digested) = (table.dead.items(), table.dead.finish());
            dead.insert(name.to_owned(), Tombstones { count, digested });
        }
    };
    let mut open: Option<Table> = None;
    let mut after: Option<RecordKey> = None;
    loop {
        here.go_on()?;
        let stored = here
            .catalogue
            .records_after(None, after.as_ref(), page)
            .await?;
        let Some(last) = stored.last() else { break };
        after = Some(last.record.key.clone());
        for record in stored.iter().map(|stored| &stored.record) {
            let module = &record.key.module;
            if open.as_ref().is_none_or(|table| table.module != *module) {
                let next = Table {
                    module: module.clone(),
                    live: Tally::new(),
                    dead: Tally::new(),
                };
                open.replace(next).map(&mut close);
            }
            let table = open.as_mut().expect("it was opened just now");
            let tally = if record.is_deleted() {
                &mut table.dead
            } else {
                &mut table.live
            };
            tally.add(Line::record(record));
        }
    }
    open.map(&mut close);
    Ok((live, dead))
}

async fn files(here: &Here<'_>, kind: FileKind, page: usize) -> Result<Files, Error> {
    let (mut tally, mut bytes) = (Tally::new(), 0_u64);
    let mut after: Option<(String, String)> = None;
    loop {
        here.go_on()?;
        let rows = here
            .catalogue
            .files_after(kind, after.as_ref().map(by_ref), page)
            .await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key());
        for row in &rows {
            tally.add(Line::file(&row.file));
            bytes = bytes.saturating_add(row.file.size);
        }
    }
    Ok(Files {
        files: tally.items(),
        bytes,
        digested: tally.finish(),
    })
}

/// Which items of which layer are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group<'a> {
    /// Records of a table, live ones or tombstones.
    Records {
        /// The table.
        table: &'a str,
        /// Whether tombstones are meant.
        deleted: bool,
    },
    /// Files of a tree.
    Files(FileKind),
}

/// Up to `limit` items here that fall into `buckets`, in order.
pub(super) async fn items(
    here: &Here<'_>,
    group: Group<'_>,
    buckets: &BTreeSet<u8>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    match group {
        Group::Records { table, deleted } => {
            records_in(here, (table, deleted), buckets, limit).await
        }
        Group::Files(kind) => files_in(here, kind, buckets, limit).await,
    }
}

async fn records_in(
    here: &Here<'_>,
    (table, deleted): (&str, bool),
    buckets: &BTreeSet<u8>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    // A table that only the report has has no items here.
    let Ok(module) = Module::new(table) else {
        return Ok(Vec::new());
    };
    let is_meant = |record: &Record| {
        record.is_deleted() == deleted && buckets.contains(&Line::record(record).bucket())
    };
    let mut found = Vec::new();
    let mut after: Option<RecordKey> = None;
    while found.len() < limit {
        here.go_on()?;
        let stored = here
            .catalogue
            .records_after(Some(&module), after.as_ref(), RECORDS)
            .await?;
        let Some(last) = stored.last() else { break };
        after = Some(last.record.key.clone());
        let records = stored.iter().map(|stored| &stored.record);
        found.extend(
            records
                .filter(|record| is_meant(record))
                .map(|record| record.key.to_string()),
        );
    }
    found.truncate(limit);
    Ok(found)
}

async fn files_in(
    here: &Here<'_>,
    kind: FileKind,
    buckets: &BTreeSet<u8>,
    limit: usize,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut after: Option<(String, String)> = None;
    while found.len() < limit {
        here.go_on()?;
        let rows = here
            .catalogue
            .files_after(kind, after.as_ref().map(by_ref), PAGE)
            .await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key());
        let meant = rows
            .iter()
            .filter(|row| buckets.contains(&Line::file(&row.file).bucket()));
        found.extend(meant.map(|row| row.file.path.to_string()));
    }
    found.truncate(limit);
    Ok(found)
}
