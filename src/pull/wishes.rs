//! What a listing says of the files of its assets, turned into wishes: jobs, marks of what is no longer listed, findings.
//!
//! This gathers what the decision needs (rows here, claims of other assets, findings, the checkpoint) and leaves it to `plan`;
//! what was planned is written in one batch. A wish that no longer holds is told by [`outdated`].

use std::collections::{BTreeSet, HashMap, HashSet};

use super::claims::owned_by_others;
use super::metadata::FEED;
use super::plan::{self, Authority, Here, Listed};
use super::{Error, Pull};
use crate::catalogue::{Batch, FileRow, Finding, Lane, NewJob, Sharer};
use crate::model::job::{Work, fetch_subject, remove_subject};
use crate::model::{Asset, AssetId, FileKind, ListedFile, MediaPath, RecordKey, Timestamp};
use crate::monitor::Counter;
use crate::protocol::{AssetFiles, BadFile};

/// The wishes of the assets of a page.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// Assets that were planned.
    assets: Vec<String>,
    /// Those of them whose members this listing does not name.
    open_folders: BTreeSet<String>,
    jobs: Vec<NewJob>,
    /// When the listing began that is planned.
    noted_at: Timestamp,
    unlisted: Vec<(FileKind, MediaPath, AssetId)>,
    relisted: Vec<(FileKind, MediaPath, AssetId)>,
    shared: Vec<Sharer>,
    pub(super) bad: Vec<(String, BadFile)>,
}

impl Planned {
    /// Takes over what another plan found listed or not, and nothing that it wishes for.
    pub(super) fn note_absences_of(&mut self, other: Self) {
        self.unlisted.extend(other.unlisted);
        self.relisted.extend(other.relisted);
    }

    /// Wishes, marks and findings into the batch.
    pub(super) async fn write(
        &self,
        pull: &Pull,
        batch: &mut Batch,
        now: Timestamp,
    ) -> Result<(), Error> {
        batch.enqueue(&self.jobs, now).await?;
        for (kind, path, asset) in &self.unlisted {
            batch
                .mark_unlisted(*kind, path, asset, Some(self.noted_at))
                .await?;
        }
        for (kind, path, asset) in &self.relisted {
            batch.mark_unlisted(*kind, path, asset, None).await?;
        }
        batch.note_sharers(&self.shared).await?;
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

/// An asset with what one listing says of its files; `None` where it says nothing.
pub(super) struct Entry<'a> {
    pub(super) asset: &'a Asset,
    pub(super) authority: Authority,
    pub(super) originals: Option<Vec<ListedFile>>,
    pub(super) generated: Option<Vec<ListedFile>>,
}

impl Entry<'_> {
    /// The listed files that lie with their asset. Where others are among them the listing is not whole, so that no absence
    /// follows from it; those that cannot be read at all go to `bad`.
    pub(super) fn usable(
        &mut self,
        files: &[Result<ListedFile, BadFile>],
        bad: &mut Vec<(String, BadFile)>,
    ) -> Vec<ListedFile> {
        let usable: Vec<ListedFile> = files
            .iter()
            .flatten()
            .filter(|file| self.asset.names(file.kind, &file.path))
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

/// Compares what the page lists for its assets with what is here.
pub(super) async fn plan_page(
    pull: &Pull,
    listed_at: Option<Timestamp>,
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
            if listed.partial {
                entry.authority = entry.authority.min(Authority::Replaces);
            }
            if let Some(originals) = &listed.originals {
                let usable = entry.usable(originals, &mut planned.bad);
                entry.originals.get_or_insert_default().extend(usable);
            }
        }
        if asset.is_folder && entry.originals.is_none() && pull.policy_for(asset).originals {
            planned.open_folders.insert(asset.id.to_string());
        }
        entries.push(entry);
    }
    plan_entries(pull, listed_at, &entries, &mut planned).await?;
    Ok(planned)
}

/// What is here of some assets.
pub(super) struct Own {
    rows: HashMap<String, Vec<FileRow>>,
    findings: HashMap<String, Finding>,
    /// Assets with renditions of ours on whose pictures crops are drawn.
    cropped: HashSet<AssetId>,
}

impl Own {
    pub(super) async fn load(pull: &Pull, assets: &[&str]) -> Result<Self, Error> {
        let mut rows: HashMap<String, Vec<FileRow>> = HashMap::new();
        for row in pull.catalogue.files_of(assets).await? {
            let of_asset = rows.entry(row.file.asset.to_string()).or_default();
            of_asset.push(row);
        }
        let findings = pull.catalogue.findings(assets).await?.into_iter();
        let findings = findings.map(|found| (found.asset.to_string(), found));
        let is_ours = |row: &FileRow| row.file.kind == FileKind::Generated && row.file.authored;
        let of_ours = rows.iter().filter(|(_, rows)| rows.iter().any(is_ours));
        let of_ours: Vec<_> = of_ours.map(|(asset, _)| asset.as_str()).collect();
        let crops = pull.catalogue.crops_of(&of_ours).await?.into_iter();
        Ok(Self {
            findings: findings.collect(),
            cropped: crops.map(|crop| crop.row.asset).collect(),
            rows,
        })
    }

    /// The asset's files.
    pub(super) fn of(&self, asset: &AssetId) -> &[FileRow] {
        self.rows.get(asset.as_str()).map_or(&[], Vec::as_slice)
    }

    /// Whether the original that is here was found unrenderable.
    pub(super) fn is_unrenderable(&self, asset: &AssetId) -> bool {
        let finding = self.findings.get(asset.as_str());
        finding.is_some_and(|found| {
            let mut rows = self.of(asset).iter();
            rows.any(|row| row.file.sha256 == found.content)
        })
    }
}

/// Plans each asset from its record, its listing and what is here. `listed_at` says when that listing began; without it nothing
/// is noted of what it lacks, and nothing goes for that.
pub(super) async fn plan_entries(
    pull: &Pull,
    listed_at: Option<Timestamp>,
    entries: &[Entry<'_>],
    planned: &mut Planned,
) -> Result<(), Error> {
    let ids: Vec<&str> = entries
        .iter()
        .map(|entry| entry.asset.id.as_str())
        .collect();
    let own = Own::load(pull, &ids).await?;
    let others = owned_by_others(pull, entries, &own.rows).await?;
    let checkpoint = pull.catalogue.checkpoint(pull.peer.name(), FEED).await?;
    let complete_until = checkpoint
        .filter(|_| listed_at.is_some())
        .map_or(Timestamp::EPOCH, |checkpoint| checkpoint.watermark);
    planned.noted_at = listed_at.unwrap_or(Timestamp::EPOCH);
    for entry in entries {
        let rows = own.of(&entry.asset.id);
        let listed = Listed {
            originals: entry.originals.as_deref(),
            generated: entry.generated.as_deref(),
        };
        let others = others
            .get(entry.asset.id.as_str())
            .map_or(&[][..], Vec::as_slice);
        let here = Here {
            own: rows,
            others,
            unrenderable: own.is_unrenderable(&entry.asset.id),
            authority: entry.authority,
            complete_until,
        };
        let mut plan = plan::plan(
            entry.asset,
            listed,
            here,
            pull.policy_for(entry.asset),
            &pull.presets,
        );
        if own.cropped.contains(&entry.asset.id) {
            // A crop that its author lost was drawn again here: what the author still lists is the file without it.
            let listed = || listed.generated.into_iter().flatten();
            plan.fetch.retain(|job| {
                let is_it = |row: &&FileRow| {
                    row.file.kind == job.kind && row.file.path.as_str() == job.path
                };
                let row = rows.iter().find(is_it).filter(|row| !row.is_damaged());
                !row.is_some_and(|row| {
                    let mut listed = listed().filter(|file| file.path == row.file.path);
                    listed.any(|file| row.file.was_made_after(file))
                })
            });
        }
        planned.assets.push(entry.asset.id.to_string());
        planned
            .jobs
            .extend(jobs(pull, &entry.asset.id, rows, &plan));
        let owned = |(kind, path)| (kind, path, entry.asset.id.clone());
        if listed_at.is_some() {
            planned
                .unlisted
                .extend(plan.unlisted.into_iter().map(owned));
            planned
                .relisted
                .extend(plan.relisted.into_iter().map(owned));
        }
        planned.shared.extend(plan.shared.into_iter().map(owned));
    }
    let sharers = name_apart(pull, &mut planned.jobs).await?;
    planned.shared.extend(sharers);
    Ok(())
}

/// Gives wishes for files of one name subjects of their own, where the peer says by their digests that they are two files. Of
/// one that says nothing two records of one name have one file, and one wish: answers who shares it.
pub(super) async fn name_apart(pull: &Pull, jobs: &mut [NewJob]) -> Result<Vec<Sharer>, Error> {
    let subjects: Vec<&str> = jobs
        .iter()
        .filter(|job| matches!(job.work, Work::Fetch(_)))
        .map(|job| job.subject.as_str())
        .collect();
    let wished = pull
        .catalogue
        .wishers_of(pull.peer.name(), &subjects)
        .await?;
    let mut wishers: HashMap<String, AssetId> = wished.into_iter().collect();
    let mut sharers = Vec::new();
    for job in jobs.iter_mut() {
        let Work::Fetch(fetch) = &job.work else {
            continue;
        };
        let first = wishers
            .entry(job.subject.clone())
            .or_insert_with(|| job.asset.clone());
        if *first == job.asset {
            continue;
        }
        if fetch.sha256.is_some() {
            job.subject = fetch_subject(fetch.kind, &fetch.path, Some(&job.asset));
        } else if let Ok(path) = MediaPath::new(fetch.path.as_str()) {
            let both = [first.clone(), job.asset.clone()];
            sharers.extend(both.map(|asset| (fetch.kind, path.clone(), asset)));
        }
    }
    Ok(sharers)
}

pub(super) fn jobs(
    pull: &Pull,
    asset: &AssetId,
    own: &[FileRow],
    plan: &plan::Plan,
) -> Vec<NewJob> {
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
            let subject = fetch_subject(fetch.kind, &fetch.path, None);
            job(subject, lane, size, Work::Fetch(fetch.clone()))
        })
        .collect();
    let removes = plan.remove.iter().map(|remove| (remove, Lane::Remove));
    // A file that vanished from its peer's listings is a delete like any other, and passes the guard (I4).
    let gone = plan.gone.iter().map(|remove| (remove, Lane::Delete));
    jobs.extend(removes.chain(gone).map(|(remove, lane)| {
        let row = own
            .iter()
            .find(|row| row.file.kind == remove.kind && row.file.path.as_str() == remove.path);
        let row = row.expect("only own files are removed");
        job(
            remove_subject(&row.file),
            lane,
            0,
            Work::Remove(remove.clone()),
        )
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

/// Wishes that no longer hold: files that records of this page do not name any more, deletes that were taken back, bad
/// records that are good now. An id alone says nothing: records of several tables may share it.
pub(super) fn outdated(
    wishes: &[(String, String)],
    keys: &[RecordKey],
    planned: &Planned,
    deletes: &[NewJob],
) -> Vec<String> {
    let wished: HashSet<&str> = (planned.jobs.iter().chain(deletes))
        .map(|job| job.subject.as_str())
        .collect();
    let listed: HashSet<String> = keys
        .iter()
        .flat_map(|key| {
            let delete = key.module.is_asset().then(|| format!("delete:{}", key.id));
            let absent = Some(format!("absent:{key}"));
            [Some(format!("record:{key}")), delete, absent]
        })
        .flatten()
        .collect();
    let planned_assets: HashSet<&str> = planned.assets.iter().map(String::as_str).collect();
    wishes
        .iter()
        .filter(|(asset, subject)| {
            let of_a_record = subject.starts_with("delete:")
                || subject.starts_with("absent:")
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
