//! Wishes for files that were found damaged here, of the peer that their records came from. No listing is needed for them: a
//! row says what its file was.

use std::collections::HashMap;

use super::wishes::{Own, jobs, name_apart};
use super::{Error, Pull, plan};
use crate::model::{Module, RecordKey};
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
