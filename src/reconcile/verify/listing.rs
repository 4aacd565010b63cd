//! What the peer lists, spooled so that it can be read back in order: of an emsync node that tells digests only what is not equal
//! (`ranges`), of everybody else all of it.

use super::ranges::{self, Told, Untold};
use super::{Error, Verify};
use crate::catalogue::{Spool, SpooledFile, SpooledRecord};
use crate::error::{Class, chain};
use crate::model::{ListedFile, NodeId, Record, RecordStatus, Timestamp};
use crate::monitor::Counter;
use crate::peer::{Cursor, Peer};
use crate::protocol::ChangesPage;
use crate::protocol::digests::Item;
use crate::protocol::record::asset;

/// How often a listing that contradicts itself is begun again.
const RESTARTS: u32 = 3;

/// What the peer lists.
pub(super) struct Listed {
    /// The listing, sorted.
    pub(super) spool: Spool,
    /// Whether the peer sends records byte for byte, so that their content can be compared as well as their dates.
    pub(super) verbatim: bool,
    /// Records that could not be read, as `table/id` and reason.
    pub(super) bad: Vec<(String, String)>,
    /// What digests told, if they were asked: then only what is not equal is listed here.
    pub(super) told: Option<Told>,
}

impl Listed {
    async fn nothing(verify: &Verify<'_>) -> Result<Self, Error> {
        let tag = verify.patience.seams.random_hex(8);
        Ok(Self {
            spool: Spool::create(verify.state, &tag).await?,
            verbatim: false,
            bad: Vec::new(),
            told: None,
        })
    }

    /// Whether the files of an asset are the same here and there, each with all its facts.
    pub(super) fn has_equal_files(&self, asset: &str) -> bool {
        (self.told.as_ref()).is_some_and(|told| !told.assets.contains(asset))
    }
}

/// Everything that is to be compared: by digests where the peer tells them, unless `in_full`.
pub(super) async fn of(verify: &Verify<'_>, in_full: bool) -> Result<Listed, Error> {
    let mut listed = listed(verify, in_full).await?;
    listed.bad.sort_unstable();
    Ok(listed)
}

async fn listed(verify: &Verify<'_>, in_full: bool) -> Result<Listed, Error> {
    if !in_full && is_told(verify).await? {
        match by_digests(verify).await {
            Ok(Some(listed)) => return Ok(listed),
            Ok(None) => {}
            Err(error @ (Error::Catalogue(_) | Error::Store(_) | Error::Cancelled)) => {
                return Err(error);
            }
            Err(error) if error.class() == Class::Cancelled => return Err(error),
            // Whatever is wrong with its digests, a listing shows what it has.
            Err(error) => {
                tracing::warn!(peer = verify.peer.name(), reason = %chain(&error), "digests are of no use; everything is listed");
            }
        }
    }
    spool(verify).await
}

/// Whether the peer is known as an emsync node, and says that it tells digests. EMDB is not asked.
async fn is_told(verify: &Verify<'_>) -> Result<bool, Error> {
    let known = verify.catalogue.peer_node(verify.peer.name()).await?;
    if known.is_none() {
        return Ok(false);
    }
    let (peer, patience) = (verify.peer, verify.patience);
    Ok(peer
        .patiently(patience, &mut (), Peer::tells_digests)
        .await?)
}

/// What differs by digests; `None` when they do not tell.
async fn by_digests(verify: &Verify<'_>) -> Result<Option<Listed>, Error> {
    for _ in 0..=RESTARTS {
        let mut listed = Listed::nothing(verify).await?;
        listed.verbatim = true;
        match ranges::compare(verify, &mut listed).await? {
            Ok(told) => {
                listed.told = Some(told);
                return Ok(Some(listed));
            }
            Err(Untold::Different) => {
                tracing::info!(
                    peer = verify.peer.name(),
                    "much differs; everything is listed"
                );
                return Ok(None);
            }
            Err(Untold::Moved) => {
                tracing::info!(
                    peer = verify.peer.name(),
                    "a node changed meanwhile; digests are asked again"
                );
            }
        }
    }
    Ok(None)
}

async fn spool(verify: &Verify<'_>) -> Result<Listed, Error> {
    for restart in 0.. {
        match listing(verify).await {
            Err(error) if restart < RESTARTS && begins_again(&error) => {
                tracing::warn!(peer = verify.peer.name(), reason = %error, "listing begins again");
            }
            other => return other,
        }
    }
    unreachable!("the last restart returns")
}

fn begins_again(error: &Error) -> bool {
    match error {
        Error::Incomplete { .. } => true,
        Error::Peer(error) => error.begins_again(),
        _ => false,
    }
}

async fn listing(verify: &Verify<'_>) -> Result<Listed, Error> {
    let seams = verify.patience.seams;
    let mut listed = Listed::nothing(verify).await?;
    let mut cursor = Cursor::everything(verify.peer, seams.clock.now());
    let (mut total, mut unread) = (0, 0);
    while cursor.more() {
        let page = verify
            .peer
            .patiently(verify.patience, &mut cursor, Peer::next_page)
            .await?
            .changes;
        if cursor.page() == 1 {
            total = page.head.total;
            listed.verbatim = page.head.hello.is_some();
            verify.monitor.expect(Counter::Records, total);
            if cursor.blind() && page.head.pages > 2 {
                return Err(Error::Blind {
                    peer: verify.peer.name().to_owned(),
                });
            }
        }
        verify
            .monitor
            .advance(Counter::Records, page.records.len() as u64);
        unread += page.records.iter().filter(|record| record.is_err()).count() as u64;
        listed.bad.extend(page.records.iter().filter_map(|record| {
            let bad = record.as_ref().err()?;
            Some((format!("{}/{}", bad.module, bad.id), bad.reason.clone()))
        }));
        listed.bad.extend(unusable(&page));
        let records: Vec<_> = page.records.iter().flatten().map(spooled).collect();
        listed.spool.put(&records, &files(&page)).await?;
        let partial = page.files.iter().filter(|entry| entry.partial);
        let partial: Vec<&str> = partial.map(|entry| entry.asset.as_str()).collect();
        listed.spool.put_partial(&partial).await?;
    }
    let found = listed.spool.count().await? + unread;
    if found < total {
        return Err(Error::Incomplete {
            peer: verify.peer.name().to_owned(),
            total,
            found,
        });
    }
    Ok(listed)
}

impl From<&Item> for SpooledRecord {
    fn from(item: &Item) -> Self {
        let owner = item.master_modified.to_string();
        Self {
            key: item.key.clone(),
            deleted: item.deleted,
            stamp: stamped(item.modified, &item.modified_by, &owner),
            content: item.content,
        }
    }
}

fn spooled(record: &Record) -> SpooledRecord {
    SpooledRecord {
        key: record.key.clone(),
        deleted: record.is_deleted(),
        stamp: record.status.as_ref().map(stamp).unwrap_or_default(),
        content: record.content,
    }
}

/// A record's dates and editor in one comparable text.
pub(super) fn stamp(status: &RecordStatus) -> String {
    let master_modified = status
        .master_modified
        .map(|time| time.to_string())
        .unwrap_or_default();
    stamped(status.modified, &status.modified_by, &master_modified)
}

fn stamped(modified: Timestamp, by: &NodeId, master_modified: &str) -> String {
    format!("{modified} by {by}, owner's {master_modified}")
}

/// What a page lists of live assets that cannot be compared: files whose entries are wrong, and assets whose records give
/// their files no name. Both are set aside when pulled, and neither is parity.
fn unusable(page: &ChangesPage) -> Vec<(String, String)> {
    let live: std::collections::HashMap<&str, &Record> = page
        .records
        .iter()
        .flatten()
        .filter(|record| record.key.module.is_asset() && !record.is_deleted())
        .map(|record| (record.key.id.as_str(), record))
        .collect();
    let files = page
        .files
        .iter()
        .filter(|entry| live.contains_key(entry.asset.as_str()))
        .flat_map(|entry| entry.files.iter().chain(entry.originals.iter().flatten()))
        .filter_map(|file| file.as_ref().err())
        .map(|bad| (bad.path.clone(), bad.to_string()));
    let assets = live
        .values()
        .filter_map(|record| Some((record.key.to_string(), asset(record).err()?.reason)));
    files.chain(assets).collect()
}

/// The files of a page: what is listed, and the originals that records state where the peer does not list them.
fn files(page: &ChangesPage) -> Vec<SpooledFile> {
    let mut found = Vec::new();
    let mut listed_originals = std::collections::HashSet::new();
    for entry in &page.files {
        let spooled = |file: &ListedFile| SpooledFile {
            file: file.clone(),
            asset: entry.asset.clone(),
        };
        found.extend(entry.files.iter().flatten().map(spooled));
        if let Some(originals) = &entry.originals {
            listed_originals.insert(entry.asset.as_str());
            found.extend(originals.iter().flatten().map(spooled));
        }
    }
    found.retain(|spooled| !spooled.file.path.is_bookkeeping());
    let live = page
        .records
        .iter()
        .flatten()
        .filter(|record| record.key.module.is_asset() && !record.is_deleted());
    let live: std::collections::HashMap<&str, &Record> = live
        .map(|record| (record.key.id.as_str(), record))
        .collect();
    // What EMDB still lists for a deleted asset (hazard: 7.2) is not wanted here.
    found.retain(|spooled| live.contains_key(spooled.asset.as_str()));
    for (id, record) in live {
        if !listed_originals.contains(id)
            && let Some(file) = asset(record).ok().and_then(|asset| asset.stated_original())
        {
            found.push(SpooledFile {
                file,
                asset: id.to_owned(),
            });
        }
    }
    found
}
