//! One page of a listing into the catalogue, in one transaction.
//!
//! What the page says of records is decided here, by the conflict rule; what it says of files is planned in `wishes`.

use std::collections::HashMap;

use super::folders::Folders;
use super::plan::Authority;
use super::wishes::{outdated, plan_page};
use super::{Counts, Error, OtherPeer, Pull, recropped};
use crate::catalogue::{Batch, Conflict, Lane, Listing, NewJob, StoredRecord};
use crate::model::job::{DeleteJob, Work};
use crate::model::{Asset, AssetId, NodeId, Record, RecordKey, Resolution, Timestamp, resolve};
use crate::monitor::Counter;
use crate::protocol::record::{answer, asset, unstamped};
use crate::protocol::{BadRecord, ChangesPage};

/// What a page held that cannot be found again in the catalogue.
#[derive(Debug)]
pub(super) struct Taken {
    /// Bad records without a usable address.
    pub(super) unkeyed: u64,
    /// Whether all of it was here.
    pub(super) is_known: bool,
}

/// Sorts the records of a page by what becomes of them.
#[derive(Default)]
struct Sorted<'a> {
    save: Vec<&'a Record>,
    /// Each with what our own record becomes because of it, and where that came from.
    conflicts: Vec<(Conflict, Option<(Record, String)>)>,
    /// Live assets whose stored version is the listed one: their files are planned.
    assets: Vec<(Asset, Authority)>,
    deletes: Vec<NewJob>,
    /// Assets whose delete waits for the end of the listing: which of their files it lacks counts all the same.
    waiting: Vec<(Asset, Authority)>,
    /// Records whose files cannot be told from their fields.
    unusable: Vec<BadRecord>,
    /// Stored assets whose owner found nothing to render in them.
    unrenderable: u64,
}

impl Sorted<'_> {
    /// Whether every record is here as it is listed.
    fn finds_nothing_new(&self) -> bool {
        self.save.is_empty()
            && self.conflicts.is_empty()
            && self.deletes.is_empty()
            && self.unusable.is_empty()
    }
}

/// Applies a page of a listing: rows, wishes and progress commit together.
pub(super) async fn apply(
    pull: &Pull,
    page: &ChangesPage,
    listing: &Listing,
    folders: Option<&mut Folders>,
) -> Result<Taken, Error> {
    let peer = pull.peer.name();
    let mut batch = pull.catalogue.batch().await?;
    let stored = store(pull, &mut batch, page, Some(listing.started_at)).await?;
    if let Some(folders) = folders {
        folders.note(pull, &stored.assets);
    }
    let good = page.records.iter().flatten();
    let read = good.map(|record| (record.key.clone(), !record.is_deleted()));
    // What cannot be read is there all the same, and as far as anybody knows it is live.
    let bad_keys = page
        .records
        .iter()
        .filter_map(|record| Some((record.as_ref().err()?.key.clone()?, true)));
    let shown: Vec<_> = read.chain(bad_keys).collect();
    batch.see(peer, &shown).await?;
    let shown: Vec<_> = shown.iter().map(|(key, _)| key).collect();
    batch.note_present(&shown).await?;
    batch.put_listing(peer, listing).await?;
    batch.commit().await?;
    stored.count(pull);
    pull.monitor
        .advance(Counter::Records, page.records.len() as u64);
    Ok(Taken {
        unkeyed: stored.unkeyed,
        is_known: stored.is_known,
    })
}

/// What became of a page.
pub(super) struct Stored {
    /// Live assets whose files were planned.
    pub(super) assets: Vec<(Asset, Authority)>,
    unkeyed: u64,
    is_known: bool,
    records: u64,
    unrenderable: u64,
}

impl Stored {
    /// Counts what was stored, once it is committed.
    pub(super) fn count(&self, pull: &Pull) {
        Counts::add(&pull.counts.records, self.records);
        Counts::add(&pull.counts.unrenderable, self.unrenderable);
    }
}

/// Puts the records of a page into a batch, with the wishes that follow from them. `listed_at` says when the listing began that the
/// page is one of; that a page lacks something which was handed to us, and is none of a listing, proves nothing.
pub(super) async fn store(
    pull: &Pull,
    batch: &mut Batch,
    page: &ChangesPage,
    listed_at: Option<Timestamp>,
) -> Result<Stored, Error> {
    let now = pull.seams.clock.now();
    let peer = pull.peer.name();
    let good: Vec<&Record> = page.records.iter().flatten().collect();
    let keys: Vec<RecordKey> = good.iter().map(|record| record.key.clone()).collect();
    let stored = batch.stored(&keys).await?;
    let said = pull.catalogue.peer_node(peer).await?;
    let id = pull
        .peer
        .cluster_id()
        .or(said.as_ref().map(|node| &node.cluster_id));
    let succeeded = pull.catalogue.succeeded().await?;
    let sorted = sort(pull, (id, &succeeded), &good, &stored, now);
    batch.put_records(&sorted.save, peer, now).await?;
    for (conflict, answer) in &sorted.conflicts {
        let answer = answer.as_ref();
        let answer = answer.map(|(anew, origin)| (anew, origin.as_str()));
        batch.settle_conflict(conflict, answer).await?;
    }
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let wishes = pull.catalogue.wishes_of(peer, &ids).await?;
    let mut planned = plan_page(pull, listed_at, &sorted.assets, &page.files).await?;
    if !sorted.waiting.is_empty() {
        planned.note_absences_of(plan_page(pull, listed_at, &sorted.waiting, &page.files).await?);
    }
    // First, or what is set aside below would be withdrawn with what was set aside before.
    batch
        .withdraw(peer, &outdated(&wishes, &keys, &planned, &sorted.deletes))
        .await?;
    planned.write(pull, batch, now).await?;
    recropped::wish(pull, batch, &sorted.save, now).await?;
    batch.enqueue(&sorted.deletes, now).await?;
    let unkeyed = set_bad_aside(pull, batch, page, &sorted.unusable, now).await?;
    Ok(Stored {
        unkeyed,
        is_known: sorted.finds_nothing_new() && good.len() == page.records.len(),
        records: sorted.save.len() as u64,
        unrenderable: sorted.unrenderable,
        assets: sorted.assets,
    })
}

/// Sets aside the records that cannot be used; answers how many of them no key can find again.
async fn set_bad_aside(
    pull: &Pull,
    batch: &mut Batch,
    page: &ChangesPage,
    unusable: &[BadRecord],
    now: Timestamp,
) -> Result<u64, Error> {
    let mut unkeyed = 0;
    for bad in page
        .records
        .iter()
        .filter_map(|record| record.as_ref().err())
        .chain(unusable)
    {
        let subject = format!("record:{}/{}", bad.module, bad.id);
        batch
            .quarantine_new(
                pull.peer.name(),
                &subject,
                &bad.id,
                &bad.source,
                &bad.reason,
                now,
            )
            .await?;
        pull.monitor.finding(&bad.to_string());
        unkeyed += u64::from(bad.key.is_none());
    }
    Ok(unkeyed)
}

fn sort<'a>(
    pull: &Pull,
    (peer_id, succeeded): (Option<&NodeId>, &[(NodeId, Timestamp)]),
    good: &[&'a Record],
    stored: &HashMap<RecordKey, StoredRecord>,
    now: Timestamp,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for record in good.iter().copied() {
        let local = stored.get(&record.key);
        let resolution = decide(pull, succeeded, local, record);
        if let Some(local) = local
            && resolution.is_conflict()
        {
            let conflict = Conflict::between(pull.peer.name(), local, record, resolution, now);
            let is_answered = resolution == Resolution::KeepLocalAnew && pull.is_owner;
            let anew = is_answered.then(|| answer(&local.record, record, &pull.own, now));
            let anew = anew.flatten().map(|anew| (anew, local.origin.clone()));
            sorted.conflicts.push((conflict, anew));
        }
        if resolution.keeps() {
            continue;
        }
        let Some(id) = record.key.as_asset() else {
            if resolution != Resolution::Skip {
                sorted.save.push(record);
            }
            continue;
        };
        sort_asset(
            (pull, peer_id),
            &mut sorted,
            (id, record),
            local,
            resolution,
        );
    }
    sorted
}

/// The conflict rule, and what follows from a node's having taken the place of another one.
fn decide(
    pull: &Pull,
    succeeded: &[(NodeId, Timestamp)],
    local: Option<&StoredRecord>,
    record: &Record,
) -> Resolution {
    let version = local.map(StoredRecord::version);
    let resolution = resolve(version.as_ref(), &record.version(), &pull.own);
    let Some(local) = local else {
        return resolution;
    };
    let masters = (&record.status, &local.record.status);
    let (Some(theirs), Some(ours)) = masters else {
        return resolution;
    };
    if theirs.master == pull.own {
        Counts::add(&pull.counts.ours, 1);
    }
    if theirs.master == ours.master {
        return resolution;
    }
    let is_same = same_members(&local.record, record);
    let is_held_off = succeeded.iter().any(|(node, _)| *node == theirs.master);
    if is_held_off && ours.master == pull.own {
        // Until it has pulled from here it goes on saying what it said before, and what it never heard of.
        Counts::add(&pull.counts.held_off, 1);
        return match is_same {
            true => Resolution::Skip,
            false => Resolution::KeepLocalAnew,
        };
    }
    match resolution {
        // Nothing but its master differs.
        Resolution::SaveKeepingLoser if is_same => Resolution::Save,
        other => other,
    }
}

/// Whether two versions say the same but for who saved them, and when.
fn same_members(one: &Record, other: &Record) -> bool {
    one.is_deleted() == other.is_deleted()
        && matches!((unstamped(one), unstamped(other)), (Ok(one), Ok(other)) if one == other)
}

fn sort_asset<'a>(
    (pull, peer_id): (&Pull, Option<&NodeId>),
    sorted: &mut Sorted<'a>,
    (id, record): (AssetId, &'a Record),
    local: Option<&StoredRecord>,
    resolution: Resolution,
) {
    let was_live = local.is_some_and(|local| !local.record.is_deleted());
    let read = asset(record);
    let marked = read.as_ref().is_ok_and(|asset| asset.marked_deleted);
    let was_marked =
        local.is_some_and(|local| asset(&local.record).is_ok_and(|asset| asset.marked_deleted));
    let goes = record.is_deleted() || (marked && !was_marked);
    if resolution != Resolution::Skip {
        if was_live && goes {
            // Not taken here: deletes pass the guard when the listing is whole.
            sorted.deletes.push(delete_job(pull, id, record));
            if let (Ok(asset), Some(authority)) =
                (read, authority(pull, peer_id, record, pull.peer.name()))
                && !record.is_deleted()
            {
                sorted.waiting.push((asset, authority));
            }
            return;
        }
        sorted.save.push(record);
        if read.as_ref().is_ok_and(|asset| asset.unrenderable) {
            sorted.unrenderable += 1;
        }
    }
    // A version of ours that comes back from a peer which does not know yet that it was deleted (row 4) has no files to bring.
    if record.is_deleted() || (resolution == Resolution::Skip && !was_live) {
        return;
    }
    let origin = match (resolution, local) {
        (Resolution::Skip, Some(local)) => local.origin.as_str(),
        _ => pull.peer.name(),
    };
    match (read, authority(pull, peer_id, record, origin)) {
        (Ok(asset), Some(authority)) => sorted.assets.push((asset, authority)),
        (Ok(_), None) => {}
        (Err(bad), _) => sorted.unusable.push(bad),
    }
}

/// What the peer's listing of an asset decides, whose record we have from `origin`; `None` for an asset that this node made:
/// nobody else authors its files (I8).
pub(super) fn authority(
    pull: &Pull,
    peer_id: Option<&NodeId>,
    record: &Record,
    origin: &str,
) -> Option<Authority> {
    let owner = record.status.as_ref().map(|status| &status.master);
    let from_here = origin == pull.peer.name();
    if owner == Some(&pull.own) {
        return match (origin, from_here) {
            ("", _) => None,
            (_, true) => Some(Authority::Replaces),
            (_, false) => Some(Authority::Supplies),
        };
    }
    let of_another_peer = |other: &OtherPeer| {
        let owns = other.cluster_id.is_some() && other.cluster_id.as_ref() == owner;
        owns || (!from_here && other.name == origin)
    };
    if owner.is_some() && owner == peer_id || !pull.others.iter().any(of_another_peer) {
        Some(Authority::Decides)
    } else {
        Some(Authority::Supplies)
    }
}

fn delete_job(pull: &Pull, asset: AssetId, record: &Record) -> NewJob {
    NewJob {
        peer: pull.peer.name().to_owned(),
        subject: format!("delete:{asset}"),
        lane: Lane::Delete,
        asset,
        size: 0,
        work: Work::Delete(DeleteJob {
            source: record.source.clone(),
            tombstone: record.is_deleted(),
        }),
    }
}
