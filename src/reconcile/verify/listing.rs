//! The peer's complete listing, spooled so that it can be read back in order.

use super::{Error, Verify};
use crate::catalogue::{Spool, SpooledFile, SpooledRecord};
use crate::model::{ListedFile, Record, RecordStatus};
use crate::monitor::Counter;
use crate::peer::{Cursor, Peer};
use crate::protocol::ChangesPage;
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
}

pub(super) async fn spool(verify: &Verify<'_>) -> Result<Listed, Error> {
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
    let tag = seams.random_hex(8);
    let mut listed = Listed {
        spool: Spool::create(verify.state, &tag).await?,
        verbatim: false,
        bad: Vec::new(),
    };
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
    format!(
        "{} by {}, owner's {master_modified}",
        status.modified, status.modified_by
    )
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
