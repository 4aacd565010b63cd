//! One page of a listing into the catalogue, in one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::metadata::FEED;
use super::plan::{self, Authority, Claim, Here, Listed};
use super::{Counts, Error, Pull};
use crate::catalogue::{Batch, Conflict, FileRow, Lane, Listing, NewJob, StoredRecord, Winner};
use crate::model::job::{DeleteJob, FetchJob, Work};
use crate::model::{
    Asset, AssetId, FileKind, ListedFile, MediaPath, NodeId, Record, RecordKey, Resolution,
    Timestamp, resolve,
};
use crate::monitor::Counter;
use crate::peer::UploadsAsked;
use crate::protocol::record::asset;
use crate::protocol::{AssetFiles, BadFile, BadRecord, ChangesPage};

/// Folder assets of an EMDB peer, whose members only its upload listing names.
#[derive(Debug, Default)]
pub(super) struct Folders(BTreeSet<String>);

/// Folder assets remembered in one listing; more than that is no listing of a photo archive.
const MOST_FOLDERS: usize = 100_000;

/// What a page held that cannot be found again in the catalogue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Bad records without a usable address.
    pub(super) unkeyed: u64,
}

/// Sorts the records of a page by what becomes of them.
#[derive(Default)]
struct Sorted<'a> {
    save: Vec<&'a Record>,
    conflicts: Vec<Conflict>,
    /// Live assets whose stored version is the listed one: their files are planned.
    assets: Vec<(Asset, Authority)>,
    deletes: Vec<NewJob>,
    /// Records whose files cannot be told from their fields.
    unusable: Vec<BadRecord>,
    /// Stored assets whose owner found nothing to render in them.
    unrenderable: u64,
}

/// Applies a page: rows, wishes and progress commit together.
pub(super) async fn apply(
    pull: &Pull,
    page: &ChangesPage,
    listing: &Listing,
    folders: Option<&mut Folders>,
) -> Result<Taken, Error> {
    let now = pull.seams.clock.now();
    let peer = pull.peer.name();
    let mut taken = Taken::default();
    let mut batch = pull.catalogue.batch().await?;
    let good: Vec<&Record> = page.records.iter().flatten().collect();
    let keys: Vec<RecordKey> = good.iter().map(|record| record.key.clone()).collect();
    let stored = batch.stored(&keys).await?;
    let said = pull.catalogue.peer_node(peer).await?;
    let id = pull
        .peer
        .cluster_id()
        .or(said.as_ref().map(|node| &node.cluster_id));
    let sorted = sort(pull, id, &good, &stored, now);
    if let Some(folders) = folders {
        folders.note(&sorted.assets);
    }
    batch.put_records(&sorted.save, peer, now).await?;
    for conflict in &sorted.conflicts {
        batch.put_conflict(conflict).await?;
    }
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let wishes = pull.catalogue.wishes_of(peer, &ids).await?;
    let planned = plan_page(pull, listing, &sorted.assets, &page.files).await?;
    // First, or what is set aside below would be withdrawn with what was set aside before.
    batch
        .withdraw(peer, &outdated(&wishes, &keys, &planned, &sorted))
        .await?;
    planned.write(pull, &mut batch, now).await?;
    batch.enqueue(&sorted.deletes, now).await?;
    for bad in page
        .records
        .iter()
        .filter_map(|record| record.as_ref().err())
        .chain(&sorted.unusable)
    {
        let subject = format!("record:{}/{}", bad.module, bad.id);
        batch
            .quarantine_new(peer, &subject, &bad.id, &bad.source, &bad.reason, now)
            .await?;
        pull.monitor.finding(&bad.to_string());
        taken.unkeyed += u64::from(bad.key.is_none());
    }
    let bad_keys = page
        .records
        .iter()
        .filter_map(|record| record.as_ref().err()?.key.clone());
    batch
        .see(peer, &keys.into_iter().chain(bad_keys).collect::<Vec<_>>())
        .await?;
    batch.put_listing(peer, listing).await?;
    batch.commit().await?;
    Counts::add(&pull.counts.records, sorted.save.len() as u64);
    Counts::add(&pull.counts.unrenderable, sorted.unrenderable);
    pull.monitor
        .advance(Counter::Records, page.records.len() as u64);
    Ok(taken)
}

fn sort<'a>(
    pull: &Pull,
    peer_id: Option<&NodeId>,
    good: &[&'a Record],
    stored: &HashMap<RecordKey, StoredRecord>,
    now: Timestamp,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for record in good.iter().copied() {
        let local = stored.get(&record.key);
        let resolution = resolve(
            local.map(StoredRecord::version).as_ref(),
            &record.version(),
            &pull.own,
        );
        if let (Some(local), Resolution::SaveKeepingLoser | Resolution::KeepLocal) =
            (local, resolution)
        {
            sorted
                .conflicts
                .push(conflict(pull, local, record, resolution, now));
        }
        if resolution == Resolution::KeepLocal {
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
            return;
        }
        sorted.save.push(record);
        if read.as_ref().is_ok_and(|asset| asset.unrenderable) {
            sorted.unrenderable += 1;
        }
    }
    if record.is_deleted() {
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
fn authority(
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
    let of_another_peer = |other: &super::OtherPeer| {
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

fn conflict(
    pull: &Pull,
    local: &StoredRecord,
    record: &Record,
    resolution: Resolution,
    now: Timestamp,
) -> Conflict {
    tracing::warn!(peer = pull.peer.name(), asset = %record.key, ?resolution, "conflict");
    Conflict {
        key: record.key.clone(),
        peer: pull.peer.name().to_owned(),
        at: now,
        winner: if resolution == Resolution::KeepLocal {
            Winner::Local
        } else {
            Winner::Remote
        },
        local_source: local.record.source.clone(),
        remote_source: record.source.clone(),
    }
}

/// Wishes that no longer hold: files that records of this page do not name any more, deletes that were taken back, bad
/// records that are good now. An id alone says nothing: records of several tables may share it.
fn outdated(
    wishes: &[(String, String)],
    keys: &[RecordKey],
    planned: &Planned,
    sorted: &Sorted<'_>,
) -> Vec<String> {
    let wished: HashSet<&str> = (planned.jobs.iter().chain(&sorted.deletes))
        .map(|job| job.subject.as_str())
        .collect();
    let listed: HashSet<String> = keys
        .iter()
        .flat_map(|key| {
            let delete = key.module.is_asset().then(|| format!("delete:{}", key.id));
            [Some(format!("record:{}/{}", key.module, key.id)), delete]
        })
        .flatten()
        .collect();
    let planned_assets: HashSet<&str> = planned.assets.iter().map(String::as_str).collect();
    wishes
        .iter()
        .filter(|(asset, subject)| {
            let of_a_record = subject.starts_with("delete:")
                || subject.starts_with("record:") && !subject.starts_with("record:file/");
            let judged = if of_a_record {
                listed.contains(subject)
            } else {
                planned_assets.contains(asset.as_str())
            };
            let folder_member = planned.open_folders.contains(asset)
                && subject.starts_with(FileKind::Original.dir());
            judged && !wished.contains(subject.as_str()) && !folder_member
        })
        .map(|(_, subject)| subject.clone())
        .collect()
}

/// The wishes of the assets of a page.
#[derive(Debug, Default)]
struct Planned {
    /// Assets that were planned.
    assets: Vec<String>,
    /// Those of them whose members this listing does not name.
    open_folders: BTreeSet<String>,
    jobs: Vec<NewJob>,
    /// When the listing began that is planned.
    noted_at: Timestamp,
    unlisted: Vec<(FileKind, MediaPath)>,
    relisted: Vec<(FileKind, MediaPath)>,
    bad: Vec<(String, BadFile)>,
}

impl Planned {
    async fn write(&self, pull: &Pull, batch: &mut Batch, now: Timestamp) -> Result<(), Error> {
        batch.enqueue(&self.jobs, now).await?;
        for (kind, path) in &self.unlisted {
            batch
                .mark_unlisted(*kind, path, Some(self.noted_at))
                .await?;
        }
        for (kind, path) in &self.relisted {
            batch.mark_unlisted(*kind, path, None).await?;
        }
        for (asset, bad) in &self.bad {
            let subject = format!("record:file/{asset}/{}", bad.path);
            batch
                .quarantine_new(
                    pull.peer.name(),
                    &subject,
                    asset,
                    &bad.path,
                    &bad.to_string(),
                    now,
                )
                .await?;
            pull.monitor.finding(&bad.to_string());
        }
        let bytes = (self.jobs.iter()).fold(0_u64, |sum, job| sum.saturating_add(job.size));
        let files = self
            .jobs
            .iter()
            .filter(|job| matches!(job.work, Work::Fetch(_)))
            .count() as u64;
        pull.monitor.expect(Counter::Files, files);
        pull.monitor.expect(Counter::Bytes, bytes);
        Ok(())
    }
}

/// Compares what the page lists for its assets with what is here.
async fn plan_page(
    pull: &Pull,
    listing: &Listing,
    assets: &[(Asset, Authority)],
    files: &[AssetFiles],
) -> Result<Planned, Error> {
    let mut by_asset: HashMap<&str, Vec<&AssetFiles>> = HashMap::new();
    for files in files {
        by_asset.entry(&files.asset).or_default().push(files);
    }
    let mut entries = Vec::with_capacity(assets.len());
    let mut planned = Planned::default();
    for (asset, authority) in assets {
        let mut entry = Entry {
            asset,
            authority: *authority,
            originals: None,
            generated: None,
        };
        // Usually one entry; of several each counts, or the files of the others would look absent.
        for listed in by_asset.get(asset.id.as_str()).into_iter().flatten() {
            let usable = entry.usable(&listed.files, &mut planned.bad);
            entry.generated.get_or_insert_default().extend(usable);
            if let Some(originals) = &listed.originals {
                let usable = entry.usable(originals, &mut planned.bad);
                entry.originals.get_or_insert_default().extend(usable);
            }
        }
        if asset.is_folder && entry.originals.is_none() {
            planned.open_folders.insert(asset.id.to_string());
        }
        entries.push(entry);
    }
    plan_entries(pull, listing, &entries, &mut planned).await?;
    Ok(planned)
}

struct Entry<'a> {
    asset: &'a Asset,
    authority: Authority,
    originals: Option<Vec<ListedFile>>,
    generated: Option<Vec<ListedFile>>,
}

impl Entry<'_> {
    /// The listed files that lie with their asset. Where others are among them the listing is not whole, so that no absence
    /// follows from it; those that cannot be read at all go to `bad`.
    fn usable(
        &mut self,
        files: &[Result<ListedFile, BadFile>],
        bad: &mut Vec<(String, BadFile)>,
    ) -> Vec<ListedFile> {
        let usable: Vec<ListedFile> = files
            .iter()
            .flatten()
            .filter(|file| names(self.asset, file.kind, &file.path))
            .cloned()
            .collect();
        if usable.len() < files.len() {
            self.authority = self.authority.min(Authority::Replaces);
        }
        let unread = files.iter().filter_map(|file| file.as_ref().err().cloned());
        bad.extend(unread.map(|file| (self.asset.id.to_string(), file)));
        usable
    }
}

/// Whether a name is one that the record of an asset gives its files.
fn names(asset: &Asset, kind: FileKind, path: &MediaPath) -> bool {
    match kind {
        FileKind::Original => {
            path == asset.original_root() || path.below(asset.original_root()).is_some()
        }
        FileKind::Generated => path.below(&asset.source_path).is_some(),
    }
}

async fn plan_entries(
    pull: &Pull,
    listing: &Listing,
    entries: &[Entry<'_>],
    planned: &mut Planned,
) -> Result<(), Error> {
    let ids: Vec<&str> = entries
        .iter()
        .map(|entry| entry.asset.id.as_str())
        .collect();
    let mut own: HashMap<String, Vec<FileRow>> = HashMap::new();
    for row in pull.catalogue.files_of(&ids).await? {
        own.entry(row.file.asset.to_string()).or_default().push(row);
    }
    let findings: HashMap<String, crate::catalogue::Finding> = pull
        .catalogue
        .findings(&ids)
        .await?
        .into_iter()
        .map(|finding| (finding.asset.to_string(), finding))
        .collect();
    let others = owned_by_others(pull, entries, &own).await?;
    let checkpoint = pull.catalogue.checkpoint(pull.peer.name(), FEED).await?;
    let complete_until = checkpoint.map_or(Timestamp::EPOCH, |checkpoint| checkpoint.watermark);
    planned.noted_at = listing.started_at;
    for entry in entries {
        let own = own
            .get(entry.asset.id.as_str())
            .map_or(&[][..], Vec::as_slice);
        let finding = findings.get(entry.asset.id.as_str());
        let unrenderable =
            finding.is_some_and(|finding| own.iter().any(|row| row.file.sha256 == finding.content));
        let listed = Listed {
            originals: entry.originals.as_deref(),
            generated: entry.generated.as_deref(),
        };
        let others = others
            .get(entry.asset.id.as_str())
            .map_or(&[][..], Vec::as_slice);
        let here = Here {
            own,
            others,
            unrenderable,
            authority: entry.authority,
            complete_until,
        };
        let plan = plan::plan(entry.asset, listed, here, pull.policy);
        planned.assets.push(entry.asset.id.to_string());
        planned.jobs.extend(jobs(pull, &entry.asset.id, &plan));
        planned.unlisted.extend(plan.unlisted);
        planned.relisted.extend(plan.relisted);
        planned.bad.extend(plan.contested.into_iter().map(|path| {
            let reason = "is claimed by an asset of another node, with other content".to_owned();
            let path = path.to_string();
            (entry.asset.id.to_string(), BadFile { path, reason })
        }));
    }
    Ok(())
}

/// Rows under listed names that another asset owns, by the asset that is listed with the name.
async fn owned_by_others(
    pull: &Pull,
    entries: &[Entry<'_>],
    own: &HashMap<String, Vec<FileRow>>,
) -> Result<HashMap<String, Vec<(FileRow, Claim)>>, Error> {
    let mut askers: HashMap<(FileKind, String), Vec<&str>> = HashMap::new();
    for entry in entries {
        let id = entry.asset.id.as_str();
        let mine = own.get(id).map_or(&[][..], Vec::as_slice);
        let originals = plan::wanted_originals(
            entry.asset,
            Listed {
                originals: entry.originals.as_deref(),
                generated: None,
            },
        );
        for file in entry.generated.iter().flatten().chain(&originals) {
            if !mine
                .iter()
                .any(|row| row.file.kind == file.kind && row.file.path == file.path)
            {
                let name = (file.kind, file.path.as_str().to_owned());
                askers.entry(name).or_default().push(id);
            }
        }
    }
    let mut rows = Vec::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let paths: Vec<&str> = askers
            .keys()
            .filter(|(of, _)| *of == kind)
            .map(|(_, path)| path.as_str())
            .collect();
        rows.extend(pull.catalogue.files_at(kind, &paths).await?);
    }
    let mut others: HashMap<String, Vec<(FileRow, Claim)>> = HashMap::new();
    for (row, claim) in claims(pull, entries, rows).await? {
        let name = (row.file.kind, row.file.path.as_str().to_owned());
        for asker in askers.get(&name).into_iter().flatten() {
            let of_asker = others.entry((*asker).to_owned()).or_default();
            of_asker.push((row.clone(), claim));
        }
    }
    Ok(others)
}

/// Whether the owners of files still name them: by their records of this page, else by those that are stored.
async fn claims(
    pull: &Pull,
    entries: &[Entry<'_>],
    rows: Vec<FileRow>,
) -> Result<Vec<(FileRow, Claim)>, Error> {
    let on_page: HashMap<&str, &Asset> = entries
        .iter()
        .map(|entry| (entry.asset.id.as_str(), entry.asset))
        .collect();
    let keys: BTreeSet<RecordKey> = rows
        .iter()
        .filter(|row| !on_page.contains_key(row.file.asset.as_str()))
        .filter_map(|row| RecordKey::new("asset", row.file.asset.as_str()).ok())
        .collect();
    let stored = pull
        .catalogue
        .stored(&keys.into_iter().collect::<Vec<_>>())
        .await?;
    let owners: HashMap<&str, (Asset, Claim)> = stored
        .values()
        .filter(|owner| !owner.record.is_deleted())
        .filter_map(|owner| {
            let claim = if owner.origin == pull.peer.name() {
                Claim::SamePeer
            } else {
                Claim::Elsewhere
            };
            Some((
                owner.record.key.id.as_str(),
                (asset(&owner.record).ok()?, claim),
            ))
        })
        .collect();
    let claim = |row: &FileRow| {
        let owner = row.file.asset.as_str();
        let (asset, claim) = match (on_page.get(owner), owners.get(owner)) {
            (Some(asset), _) => (*asset, Claim::SamePeer),
            (None, Some((asset, claim))) => (asset, *claim),
            (None, None) => return Claim::Nobody,
        };
        if names(asset, row.file.kind, &row.file.path) {
            claim
        } else {
            Claim::Nobody
        }
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let claim = claim(&row);
            (row, claim)
        })
        .collect())
}

fn jobs(pull: &Pull, asset: &AssetId, plan: &plan::Plan) -> Vec<NewJob> {
    let job = |subject: String, lane: Lane, size: u64, work: Work| NewJob {
        peer: pull.peer.name().to_owned(),
        subject,
        lane,
        asset: asset.clone(),
        size,
        work,
    };
    let mut jobs: Vec<NewJob> = plan
        .fetch
        .iter()
        .map(|fetch| {
            let size = fetch.size.unwrap_or(0);
            let lane = if size >= pull.limits.large_file {
                Lane::Large
            } else {
                Lane::Small
            };
            job(subject(fetch), lane, size, Work::Fetch(fetch.clone()))
        })
        .collect();
    let removes = plan.remove.iter().map(|remove| (remove, Lane::Remove));
    // An original that vanished from its record is a delete like any other, and passes the guard (I4).
    let gone = plan.gone.iter().map(|remove| (remove, Lane::Delete));
    jobs.extend(removes.chain(gone).map(|(remove, lane)| {
        let subject = format!("remove:{}/{}", remove.kind.dir(), remove.path);
        job(subject, lane, 0, Work::Remove(remove.clone()))
    }));
    jobs.extend(plan.regenerate.iter().map(|render| {
        job(
            format!("render:{asset}"),
            Lane::Media,
            0,
            Work::Regenerate(render.clone()),
        )
    }));
    jobs
}

fn subject(fetch: &FetchJob) -> String {
    format!("{}/{}", fetch.kind.dir(), fetch.path)
}

impl Folders {
    fn note(&mut self, assets: &[(Asset, Authority)]) {
        let room = MOST_FOLDERS.saturating_sub(self.0.len());
        self.0.extend(
            assets
                .iter()
                .filter(|(asset, authority)| asset.is_folder && *authority == Authority::Decides)
                .take(room)
                .map(|(asset, _)| asset.id.to_string()),
        );
    }
}

/// Asks EMDB's upload listing for the members of folder assets, and plans them (11.2, 5).
///
/// It reaches a thousand records only, the oldest of its window, so the window is halved until it holds no more than that.
/// Folder assets that lie outside and name no primary file are findings: nobody can list them until they are touched.
pub(super) async fn take_folder_members(
    pull: &Pull,
    folders: &Folders,
    listing: &Listing,
) -> Result<(), Error> {
    if folders.0.is_empty() || !pull.policy.originals {
        return Ok(());
    }
    let mut asked = UploadsAsked {
        ago_ms: listing.started_at.as_millis() - listing.since.as_millis() + 60_000,
    };
    let uploads = loop {
        let page = pull
            .peer
            .patiently(pull.patience(), &mut asked, async |peer, asked| {
                peer.uploads(*asked).await
            })
            .await?;
        if page.pages <= 1 || asked.ago_ms < 60_000 {
            break page;
        }
        asked.ago_ms /= 2;
    };
    let mut left = folders.0.clone();
    for chunk in uploads.assets.chunks(500) {
        let keys: Vec<RecordKey> = chunk
            .iter()
            .filter(|uploaded| folders.0.contains(&uploaded.id))
            .filter_map(|uploaded| RecordKey::new("asset", uploaded.id.as_str()).ok())
            .collect();
        let stored = pull.catalogue.stored(&keys).await?;
        let assets: HashMap<&str, Asset> = stored
            .values()
            .filter(|stored| !stored.record.is_deleted())
            .filter_map(|stored| Some((stored.record.key.id.as_str(), asset(&stored.record).ok()?)))
            .collect();
        let mut planned = Planned::default();
        let mut entries = Vec::new();
        for uploaded in chunk {
            let Some(asset) = assets.get(uploaded.id.as_str()) else {
                continue;
            };
            left.remove(&uploaded.id);
            let mut entry = Entry {
                asset,
                authority: Authority::Decides,
                originals: None,
                generated: None,
            };
            entry.originals = Some(entry.usable(&uploaded.files, &mut planned.bad));
            entries.push(entry);
        }
        plan_entries(pull, listing, &entries, &mut planned).await?;
        let mut batch = pull.catalogue.batch().await?;
        planned
            .write(pull, &mut batch, pull.seams.clock.now())
            .await?;
        batch.commit().await?;
        pull.wake.notify_waiters();
    }
    for id in left {
        pull.monitor.finding(&format!("folder asset {id}: its peer cannot list its members any more; save the record there once"));
    }
    Ok(())
}
