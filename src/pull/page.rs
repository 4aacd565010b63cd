//! One page of a listing into the catalogue, in one transaction.

use std::collections::{BTreeSet, HashMap};

use super::plan::{self, Here, Listed};
use super::{Counts, Error, Pull};
use crate::catalogue::{Batch, Conflict, FileRow, Lane, Listing, NewJob, StoredRecord, Winner};
use crate::model::job::{DeleteJob, FetchJob, Work};
use crate::model::{
    Asset, AssetId, FileKind, ListedFile, Record, RecordKey, Resolution, Timestamp, resolve,
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
    assets: Vec<Asset>,
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
    let sorted = sort(pull, &good, &stored, now);
    if let Some(folders) = folders {
        folders.note(&sorted.assets);
    }
    batch.put_records(&sorted.save, peer, now).await?;
    for conflict in &sorted.conflicts {
        batch.put_conflict(conflict).await?;
    }
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    let wishes = pull.catalogue.wishes_of(peer, &ids).await?;
    let planned = plan_page(pull, &sorted.assets, &page.files).await?;
    planned.write(pull, &mut batch, now).await?;
    batch.enqueue(&sorted.deletes, now).await?;
    batch
        .withdraw(peer, &outdated(&wishes, &planned, &sorted))
        .await?;
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
        sort_asset(pull, &mut sorted, (id, record), local, resolution);
    }
    sorted
}

fn sort_asset<'a>(
    pull: &Pull,
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
    match read {
        Ok(asset) => sorted.assets.push(asset),
        Err(bad) => sorted.unusable.push(bad),
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
/// records that are good now.
fn outdated(wishes: &[(String, String)], planned: &Planned, sorted: &Sorted<'_>) -> Vec<String> {
    let deletes: BTreeSet<&str> = sorted
        .deletes
        .iter()
        .map(|job| job.subject.as_str())
        .collect();
    let planned_assets: BTreeSet<&str> = planned.assets.iter().map(String::as_str).collect();
    wishes
        .iter()
        .filter(|(asset, subject)| {
            let still_wished = planned.jobs.iter().any(|job| job.subject == *subject)
                || deletes.contains(subject.as_str());
            let about_files =
                planned_assets.contains(asset.as_str()) || subject.starts_with("delete:");
            let folder_member = planned.open_folders.contains(asset)
                && subject.starts_with(FileKind::Original.dir());
            (about_files || subject.starts_with("record:")) && !still_wished && !folder_member
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
    unlisted: Vec<(FileKind, crate::model::MediaPath)>,
    relisted: Vec<(FileKind, crate::model::MediaPath)>,
    bad: Vec<(String, BadFile)>,
}

impl Planned {
    async fn write(&self, pull: &Pull, batch: &mut Batch, now: Timestamp) -> Result<(), Error> {
        batch.enqueue(&self.jobs, now).await?;
        for (kind, path) in &self.unlisted {
            batch.mark_unlisted(*kind, path, Some(now)).await?;
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
        let bytes = self.jobs.iter().map(|job| job.size).sum();
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
async fn plan_page(pull: &Pull, assets: &[Asset], files: &[AssetFiles]) -> Result<Planned, Error> {
    let by_asset: HashMap<&str, &AssetFiles> = files
        .iter()
        .map(|files| (files.asset.as_str(), files))
        .collect();
    let mut entries = Vec::with_capacity(assets.len());
    let mut planned = Planned::default();
    for asset in assets {
        let listed = by_asset.get(asset.id.as_str());
        let mut good = |files: &[Result<ListedFile, BadFile>]| -> Vec<ListedFile> {
            planned.bad.extend(
                files
                    .iter()
                    .filter_map(|file| Some((asset.id.to_string(), file.as_ref().err()?.clone()))),
            );
            files.iter().flatten().cloned().collect()
        };
        let generated = listed.map(|listed| good(&listed.files));
        let originals = listed
            .and_then(|listed| listed.originals.as_deref())
            .map(&mut good);
        if asset.is_folder && originals.is_none() {
            planned.open_folders.insert(asset.id.to_string());
        }
        entries.push(Entry {
            asset,
            originals,
            generated,
        });
    }
    plan_entries(pull, &entries, &mut planned).await?;
    Ok(planned)
}

struct Entry<'a> {
    asset: &'a Asset,
    originals: Option<Vec<ListedFile>>,
    generated: Option<Vec<ListedFile>>,
}

async fn plan_entries(
    pull: &Pull,
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
        let plan = plan::plan(
            entry.asset,
            listed,
            Here {
                own,
                others,
                unrenderable,
            },
            pull.policy,
        );
        planned.assets.push(entry.asset.id.to_string());
        planned.jobs.extend(jobs(pull, &entry.asset.id, &plan));
        planned.unlisted.extend(plan.unlisted);
        planned.relisted.extend(plan.relisted);
    }
    Ok(())
}

/// Rows under listed names that another asset owns, by the asset that is listed with the name.
async fn owned_by_others(
    pull: &Pull,
    entries: &[Entry<'_>],
    own: &HashMap<String, Vec<FileRow>>,
) -> Result<HashMap<String, Vec<FileRow>>, Error> {
    let mut askers: HashMap<(FileKind, String), &str> = HashMap::new();
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
                askers.insert((file.kind, file.path.as_str().to_owned()), id);
            }
        }
    }
    let mut others: HashMap<String, Vec<FileRow>> = HashMap::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let paths: Vec<&str> = askers
            .keys()
            .filter(|(of, _)| *of == kind)
            .map(|(_, path)| path.as_str())
            .collect();
        for row in pull.catalogue.files_at(kind, &paths).await? {
            if let Some(asker) = askers.get(&(kind, row.file.path.as_str().to_owned())) {
                others.entry((*asker).to_owned()).or_default().push(row);
            }
        }
    }
    Ok(others)
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
    jobs.extend(plan.remove.iter().map(|remove| {
        let subject = format!("remove:{}/{}", remove.kind.dir(), remove.path);
        job(subject, Lane::Remove, 0, Work::Remove(remove.clone()))
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
    fn note(&mut self, assets: &[Asset]) {
        let room = MOST_FOLDERS.saturating_sub(self.0.len());
        self.0.extend(
            assets
                .iter()
                .filter(|asset| asset.is_folder)
                .take(room)
                .map(|asset| asset.id.to_string()),
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
            planned.bad.extend(
                uploaded
                    .files
                    .iter()
                    .filter_map(|file| Some((uploaded.id.clone(), file.as_ref().err()?.clone()))),
            );
            let originals = uploaded.files.iter().flatten().cloned().collect();
            entries.push(Entry {
                asset,
                originals: Some(originals),
                generated: None,
            });
        }
        plan_entries(pull, &entries, &mut planned).await?;
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
