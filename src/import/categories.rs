//! Directories as categories: made with the first walk that sees them, taken back when the last of them is gone.

use std::collections::{BTreeSet, HashMap};

use super::presence::{Presence, presence};
use super::{Error, Import, fields, ids};
use crate::catalogue::Batch;
use crate::model::{MediaPath, Module, NodeId, RecordKey, Timestamp};
use crate::protocol::record::{self, restamped};

/// Records read at a time.
const PAGE: usize = 500;

/// Ids of the categories from the top down to this directory.
pub(super) fn chain(own: &NodeId, dir: Option<&MediaPath>) -> Vec<String> {
    let mut above: Vec<_> = dir
        .into_iter()
        .flat_map(with_ancestors)
        .map(|dir| ids::category(own, dir.as_str()))
        .collect();
    above.reverse();
    above
}

/// A directory and all above it, upwards.
fn with_ancestors(dir: &MediaPath) -> impl Iterator<Item = MediaPath> + use<> {
    std::iter::successors(Some(dir.clone()), MediaPath::parent)
}

/// Makes the categories of these directories, and of those above them, as far as they are missing or deleted.
pub(super) async fn ensure(
    batch: &mut Batch,
    own: &NodeId,
    dirs: &[MediaPath],
    now: Timestamp,
) -> Result<(), Error> {
    let dirs: BTreeSet<_> = dirs.iter().flat_map(with_ancestors).collect();
    let wanted: HashMap<RecordKey, MediaPath> = dirs
        .into_iter()
        .map(|dir| (key(&ids::category(own, dir.as_str())), dir))
        .collect();
    let keys: Vec<_> = wanted.keys().cloned().collect();
    let known = batch.stored(&keys).await?;
    let mut made = Vec::new();
    for (key, dir) in &wanted {
        let before = known.get(key).map(|stored| &stored.record);
        if before.is_none_or(crate::model::Record::is_deleted) {
            let members = fields::category(dir, &chain(own, Some(dir)), now);
            made.push(fields::stamped(
                members,
                key,
                &fields::saved(own, before, now, false),
            ));
        }
    }
    batch
        .put_records(&made.iter().collect::<Vec<_>>(), "", now)
        .await?;
    Ok(())
}

/// Deletes the categories that this import made of directories which are in no imported folder any more.
pub(super) async fn prune(import: &Import) -> Result<(), Error> {
    let sources = import.catalogue.sources().await?;
    let mut after = None;
    loop {
        let page = import
            .catalogue
            .records_after(Some(&Module::category()), after.as_ref(), PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.record.key.clone());
        let mut gone = Vec::new();
        for stored in &page {
            let Some(path) = own_path(import, &stored.record)? else {
                continue;
            };
            if is_nowhere(&sources, &path).await {
                let status = fields::saved(&import.own, Some(&stored.record), import.now(), true);
                gone.push(restamped(&stored.record, &status)?);
            }
        }
        if !gone.is_empty() {
            let mut batch = import.catalogue.batch().await?;
            batch
                .put_records(&gone.iter().collect::<Vec<_>>(), "", import.now())
                .await?;
            batch.commit().await?;
        }
    }
}

/// The directory behind a live category that an import made inside the folder at hand.
fn own_path(import: &Import, record: &crate::model::Record) -> Result<Option<MediaPath>, Error> {
    if record.is_deleted() {
        return Ok(None);
    }
    let members = record::members(record)?;
    let path = members
        .get("categorypath")
        .and_then(|path| MediaPath::new(path.as_str()?).ok());
    let is_ours = |path: &MediaPath| {
        ids::category(&import.own, path.as_str()) == record.key.id
            && import
                .options
                .prefix
                .as_ref()
                .is_none_or(|prefix| path == prefix || path.below(prefix).is_some())
    };
    Ok(path.filter(is_ours))
}

/// Whether every imported folder is there to be asked and has no such directory.
async fn is_nowhere(sources: &[crate::catalogue::SourceDir], path: &MediaPath) -> bool {
    for source in sources {
        let below = if source.prefix.is_empty() {
            Some(path.as_str())
        } else if source.prefix == path.as_str() || source.prefix.starts_with(&format!("{path}/")) {
            return false;
        } else {
            path.as_str()
                .strip_prefix(&source.prefix)
                .and_then(|rest| rest.strip_prefix('/'))
        };
        let Some(below) = below else { continue };
        if presence(source.dir.as_ref(), below, true).await != Presence::Gone {
            return false;
        }
    }
    true
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(Module::CATEGORY, id).expect("letters and digits are an id")
}
