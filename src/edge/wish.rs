//! What to fetch for a reader, and from whom: what a peer's listing wished for already, else what a row says that is not on disk, else
//! the original that a record states.

use super::Error;
use super::flights::Name;
use crate::catalogue::{FileRow, Job, Lane, NewJob, StoredRecord};
use crate::model::job::{FetchJob, Work, fetch_subject};
use crate::model::{AssetId, FileKind, ListedFile, RecordKey};
use crate::node::Node;
use crate::protocol::record;

/// The wish for the file of a name; `None` when nobody who could be asked is known to have it.
///
/// A file that its asset's record does not name any more, or whose record is deleted, is nobody's to fetch.
pub(super) async fn find(node: &Node, name: &Name) -> Result<Option<NewJob>, Error> {
    let rows = node
        .catalogue
        .files_at(name.kind, &[name.path.as_str()])
        .await?;
    if let Some(row) = FileRow::meant(&rows, name.asset.as_ref()) {
        return of_row(node, row).await;
    }
    for peer in node.config.enabled_peers() {
        let listed = listed(node, &peer.name, name, name.asset.as_ref()).await?;
        if listed.is_some() {
            return Ok(listed);
        }
    }
    of_record(node, name).await
}

/// The wish for a file whose row is here and whose bytes are not.
async fn of_row(node: &Node, row: &FileRow) -> Result<Option<NewJob>, Error> {
    let file = &row.file;
    let Some((stored, peer)) = owner(node, &file.asset.key()).await? else {
        return Ok(None);
    };
    let name = Name {
        kind: file.kind,
        path: file.path.clone(),
        asset: Some(file.asset.clone()),
    };
    // A listing may know of a newer version.
    let listed = listed(node, &peer, &name, Some(&file.asset)).await?;
    if listed.is_some() {
        return Ok(listed);
    }
    let is_named =
        record::asset(&stored.record).is_ok_and(|asset| asset.names(file.kind, &file.path));
    // As a peer would list it: only these very bytes will do.
    let is_theirs = is_named && !file.authored;
    Ok(is_theirs.then(|| {
        wish(
            node,
            peer,
            ListedFile::from(file),
            &file.asset,
            file.place.is_some(),
        )
    }))
}

/// The original that the record of the asked asset states.
async fn of_record(node: &Node, name: &Name) -> Result<Option<NewJob>, Error> {
    let (FileKind::Original, Some(asset)) = (name.kind, &name.asset) else {
        return Ok(None);
    };
    let Some((stored, peer)) = owner(node, &asset.key()).await? else {
        return Ok(None);
    };
    // What a filter leaves out is not wanted here; only a listing, or a row, can say that this one is.
    let narrowed = node.config.peer(&peer)?.filter.clone();
    let stated = record::asset(&stored.record)
        .ok()
        .filter(|_| narrowed.is_empty())
        .and_then(|asset| asset.stated_original())
        .filter(|stated| stated.path == name.path);
    Ok(stated.map(|file| wish(node, peer, file, asset, false)))
}

/// The record of an asset that lives, with the enabled peer that it came from.
async fn owner(node: &Node, key: &RecordKey) -> Result<Option<(StoredRecord, String)>, Error> {
    let Some(stored) = node.catalogue.record(key).await? else {
        return Ok(None);
    };
    let mut peers = node.config.enabled_peers();
    let peer = peers.find(|peer| peer.name == stored.origin && !stored.record.is_deleted());
    let name = peer.map(|peer| peer.name.clone());
    Ok(name.map(|name| (stored, name)))
}

/// What a listing of this peer wished for under the name.
async fn listed(
    node: &Node,
    peer: &str,
    name: &Name,
    asset: Option<&AssetId>,
) -> Result<Option<NewJob>, Error> {
    let jobs = node
        .catalogue
        .fetches_named(peer, name.kind, &name.path, asset)
        .await?;
    let same = |job: Job| NewJob {
        peer: job.peer,
        subject: job.subject,
        lane: job.lane,
        asset: job.asset,
        size: job.size,
        work: job.work,
    };
    Ok(jobs.into_iter().next().map(same))
}

fn wish(node: &Node, peer: String, file: ListedFile, asset: &AssetId, is_second: bool) -> NewJob {
    let size = file.size.unwrap_or(0);
    let lane = match size > node.config.limits.large_file {
        true => Lane::Large,
        false => Lane::Small,
    };
    NewJob {
        peer,
        subject: fetch_subject(file.kind, file.path.as_str(), is_second.then_some(asset)),
        lane,
        asset: asset.clone(),
        size,
        work: Work::Fetch(FetchJob {
            kind: file.kind,
            path: file.path.as_str().to_owned(),
            size: file.size,
            exact: file.exact,
            modified: file.modified,
            sha256: file.sha256,
            md5: file.md5,
            from: None,
            then: None,
        }),
    }
}
