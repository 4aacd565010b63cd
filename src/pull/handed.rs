//! What another node hands to us instead of being asked for it: its changes, and offers of originals (wire spec 3.4, 3.5).
//!
//! A page that is handed over is taken as one of a listing is: the same conflict rule, the same plan, wishes in the same job table.
//! Only that it proves nothing by what it lacks, and that its files come when their sender brings them (`landing`), not when the
//! pool claims them. Until then the wishes stay; and what is here already is not asked for.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::ahead::{self, Here};
use super::page::{authority, store};
use super::pool::{landed, send};
use super::publisher::Item;
use super::wishes::{Entry, Planned, plan_entries};
use super::{Error, InFlight, Pull, transfer};
use crate::catalogue::{Job, StoredRecord};
use crate::model::job::{FetchJob, Work};
use crate::model::{Asset, ListedFile, Record, RecordKey, Timestamp};
use crate::protocol::record::{self, BadRecord};
use crate::protocol::{ChangesPage, UploadedAsset, UploadsPage, conflict};

/// Takes a page of changes: rows and wishes commit together. Records dated later than any honest clock can be are set aside.
///
/// # Errors
/// [`Error`]; then nothing of it was taken.
pub async fn take(pull: &Pull, page: &mut ChangesPage) -> Result<(), Error> {
    let latest = pull.seams.clock.now().plus(pull.limits.max_clock_skew);
    for entry in &mut page.records {
        let refused = match entry {
            Ok(record) => why_refused(record, latest),
            Err(_) => None,
        };
        if let (Some(reason), Ok(record)) = (refused, &*entry) {
            *entry = Err(BadRecord::of(record, reason));
        }
    }
    let mut batch = pull.catalogue.batch().await?;
    // What went wrong with its files before is no reason not to ask for them again.
    batch
        .try_again(
            pull.peer.name(),
            pull.limits.attempts.saturating_sub(1),
            pull.seams.clock.now(),
        )
        .await?;
    let stored = store(pull, &mut batch, page, None).await?;
    batch.commit().await?;
    stored.count(pull);
    Ok(())
}

/// Why a record is not taken from somebody who hands it to us.
fn why_refused(record: &Record, latest: Timestamp) -> Option<String> {
    if record.key.module.as_str() == conflict::TABLE {
        return Some("is a node's own note of a conflict, which is not for others".to_owned());
    }
    let status = record.status.as_ref()?;
    let dates = [Some(status.modified), status.master_modified];
    let late = dates.into_iter().flatten().find(|date| *date > latest)?;
    Some(format!(
        "is dated {late}, which is yet to come: set the clock of {} right, and save the record there once",
        status.modified_by
    ))
}

/// Plans the originals that are on offer; answers with the assets that are offered before their records came.
///
/// Of an asset that is not here nothing is taken: its record comes first. EMDB asks for both in runs of their own, so that what is
/// uploaded there in between is offered too early, and offered once only, unless it hears that this offer came to nothing
/// (wire spec 8.2, 3).
///
/// # Errors
/// [`Error`].
pub async fn take_offer(pull: &Pull, offer: &UploadsPage) -> Result<Vec<String>, Error> {
    let keys: Vec<RecordKey> = (offer.assets.iter())
        .filter_map(|offered| RecordKey::new("asset", offered.id.as_str()).ok())
        .collect();
    let known = pull.catalogue.stored(&keys).await?;
    let said = pull.catalogue.peer_node(pull.peer.name()).await?;
    let id = (pull.peer.cluster_id()).or(said.as_ref().map(|node| &node.cluster_id));
    let assets: HashMap<&str, (Asset, &StoredRecord)> = (known.values())
        .filter(|stored| !stored.record.is_deleted())
        .filter_map(|stored| {
            let asset = record::asset(&stored.record).ok()?;
            Some((stored.record.key.id.as_str(), (asset, stored)))
        })
        .collect();
    let mut planned = Planned::default();
    let (mut entries, mut early) = (Vec::new(), Vec::new());
    for offered in &offer.assets {
        let Some((asset, stored)) = assets.get(offered.id.as_str()) else {
            if is_early(pull, &known, offered).await? {
                early.push(offered.id.clone());
            }
            continue;
        };
        let Some(authority) = authority(pull, id, &stored.record, &stored.origin) else {
            continue;
        };
        let mut entry = Entry {
            asset,
            authority,
            originals: None,
            generated: None,
        };
        let files = entry.usable(&offered.files, &mut planned.bad);
        entry.originals = Some(
            files
                .into_iter()
                .filter(is_there)
                .map(|file| asset.as_stated(file))
                .collect(),
        );
        entries.push(entry);
    }
    plan_entries(pull, None, &entries, &mut planned).await?;
    let mut batch = pull.catalogue.batch().await?;
    planned
        .write(pull, &mut batch, pull.seams.clock.now())
        .await?;
    batch.commit().await?;
    Ok(early)
}

/// Whether an asset that is no live one here is offered before its record came: it was neither deleted nor set aside, and has a file.
/// A file with a digest comes from an emsync node, which offers along with its records and remembers for itself what was not asked for.
async fn is_early(
    pull: &Pull,
    known: &HashMap<RecordKey, StoredRecord>,
    offered: &UploadedAsset,
) -> Result<bool, Error> {
    let Ok(key) = RecordKey::new("asset", offered.id.as_str()) else {
        return Ok(false);
    };
    let mut files = offered.files.iter().flatten();
    if known.contains_key(&key) || !files.any(|file| is_there(file) && file.sha256.is_none()) {
        return Ok(false);
    }
    let (peer, subject) = (pull.peer.name(), format!("record:{key}"));
    let set_aside = pull.catalogue.asset_of_job(peer, &subject).await?;
    Ok(set_aside.is_none())
}

/// Whether an offered file is one that its sender has: of no bytes and no digest is what EMDB does not have (H-36).
#[must_use]
pub fn is_there(file: &ListedFile) -> bool {
    file.size != Some(0) || file.sha256.is_some()
}

/// The open wishes for files of these assets: what is to be asked for once [`bring_ours`] is done.
///
/// # Errors
/// [`Error`].
pub async fn wanted(pull: &Pull, assets: &[&str]) -> Result<Vec<Job>, Error> {
    Ok(pull.catalogue.fetches_for(pull.peer.name(), assets).await?)
}

/// Fulfils what can be from what is here: files that were moved, twins, files that lie under their names already.
///
/// # Errors
/// [`Error`]; what was brought before stays.
pub async fn bring_ours(
    pull: &Pull,
    jobs: Vec<Job>,
    items: &mpsc::Sender<Item>,
) -> Result<(), Error> {
    let in_flight = InFlight::default();
    let here = ahead::look(pull, &jobs).await?;
    for (job, here) in jobs.into_iter().zip(here) {
        let Work::Fetch(fetch) = &job.work else {
            continue;
        };
        // Nothing of it is proven by a name and a size alone.
        if here == Here::Nothing || !is_provable(fetch) {
            continue;
        }
        let Some(arrived) = transfer::ours(pull, &job.asset, fetch).await? else {
            continue;
        };
        let ending = landed(&job, fetch, arrived.into_part(job.asset.clone(), fetch));
        let token = in_flight.enter();
        if !send(items, Item { job, ending, token }).await {
            return Err(Error::Worker);
        }
    }
    in_flight.over().await;
    Ok(())
}

fn is_provable(fetch: &FetchJob) -> bool {
    fetch.sha256.is_some() || fetch.md5.is_some() || fetch.from.is_some()
}
