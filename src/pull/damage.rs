//! Wishes for files that were found damaged here, of the peer that their records came from. No listing is needed for them: a
//! row says what its file was.

use std::collections::HashMap;

use super::wishes::{Own, jobs, name_apart};
use super::{Error, Pull, plan};
use crate::catalogue::{Lane, NewJob};
use crate::model::job::{FetchJob, Work, fetch_subject};
use crate::model::{FileKind, MediaFile, Module, RecordKey};
use crate::protocol::record::asset;

/// Assets read at a time.
const PAGE: usize = 500;

/// Wishes for every damaged file that nobody wishes for yet.
///
/// # Errors
/// The catalogue's.
pub async fn wish(pull: &Pull) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let assets = pull.catalogue.damaged_assets(&after, PAGE).await?;
        let Some(last) = assets.last() else {
            return Ok(());
        };
        after.clone_from(last);
        wish_for(pull, &assets).await?;
    }
}

async fn wish_for(pull: &Pull, assets: &[String]) -> Result<(), Error> {
    let ids: Vec<&str> = assets.iter().map(String::as_str).collect();
    let keys: Vec<RecordKey> = ids
        .iter()
        .filter_map(|id| RecordKey::new(Module::ASSET, *id).ok())
        .collect();
    let records = pull.catalogue.stored(&keys).await?;
    let own = Own::load(pull, &ids).await?;
    let mut wished = Vec::new();
    let theirs = records
        .values()
        .filter(|stored| stored.origin == pull.peer.name() && !stored.record.is_deleted());
    for asset in theirs.filter_map(|stored| asset(&stored.record).ok()) {
        let rows = own.of(&asset.id);
        let plan = plan::mend(
            &asset,
            rows,
            own.is_unrenderable(&asset.id),
            pull.policy_for(&asset),
            &pull.presets,
        );
        wished.extend(jobs(pull, &asset.id, rows, &plan));
    }
    let sharers = name_apart(pull, &mut wished).await?;
    let subjects: Vec<&str> = wished.iter().map(|job| job.subject.as_str()).collect();
    let known: HashMap<_, _> = pull
        .catalogue
        .wishers_of(pull.peer.name(), &subjects)
        .await?
        .into_iter()
        .collect();
    // A wish that a listing made knows more than the row does.
    wished.retain(|job| known.get(&job.subject) != Some(&job.asset));
    let mut batch = pull.catalogue.batch().await?;
    batch.note_sharers(&sharers).await?;
    batch.enqueue(&wished, pull.seams.clock.now()).await?;
    batch.commit().await?;
    Ok(())
}

/// What a wish for a damaged file is called that concerns no peer in particular.
#[must_use]
pub fn subject(file: &MediaFile) -> String {
    fetch_subject(file.kind, file.path.as_str(), Some(&file.asset))
}

/// The wish for a file as its row says it was, of any peer that has it.
#[must_use]
pub fn wish_of(peer: &str, file: &MediaFile, large_file: u64) -> NewJob {
    NewJob {
        peer: peer.to_owned(),
        subject: subject(file),
        lane: match file.size >= large_file {
            true => Lane::Large,
            false => Lane::Small,
        },
        asset: file.asset.clone(),
        size: file.size,
        work: Work::Fetch(FetchJob {
            kind: file.kind,
            path: file.path.as_str().to_owned(),
            size: Some(file.size),
            exact: true,
            modified: Some(file.modified),
            sha256: Some(file.sha256),
            md5: file.md5,
            from: None,
            then: None,
        }),
    }
}

/// Wishes for these damaged files, under the name of this pull: those that somebody else made are fetched, those that were made
/// here of originals that came from `origin` are made again.
///
/// # Errors
/// The catalogue's.
pub async fn again(pull: &Pull, origin: &str, files: &[MediaFile]) -> Result<Vec<NewJob>, Error> {
    let is_made_here = |file: &&MediaFile| file.kind == FileKind::Generated && file.authored;
    let fetched = files.iter().filter(|file| !is_made_here(file));
    let (peer, large) = (pull.peer.name(), pull.limits.large_file);
    let mut wished: Vec<NewJob> = fetched.map(|file| wish_of(peer, file, large)).collect();
    let made = files.iter().filter(is_made_here);
    let mut ids: Vec<&str> = made.map(|file| file.asset.as_str()).collect();
    ids.dedup();
    for ids in ids.chunks(PAGE) {
        let keys = ids.iter();
        let keys: Vec<RecordKey> = keys
            .filter_map(|id| RecordKey::new(Module::ASSET, *id).ok())
            .collect();
        let records = pull.catalogue.stored(&keys).await?;
        let own = Own::load(pull, ids).await?;
        let theirs = records
            .values()
            .filter(|stored| stored.origin == origin && !stored.record.is_deleted());
        for asset in theirs.filter_map(|stored| asset(&stored.record).ok()) {
            let rows = own.of(&asset.id);
            let is_unrenderable = own.is_unrenderable(&asset.id);
            let mut plan = plan::mend(&asset, rows, is_unrenderable, pull.policy, &pull.presets);
            plan.fetch.clear();
            wished.extend(jobs(pull, &asset.id, rows, &plan));
        }
    }
    Ok(wished)
}
