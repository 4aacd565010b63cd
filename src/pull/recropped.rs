//! Rectangles that came with a page: where this node makes the renditions of their assets, they are to be made again.
//!
//! Which of an asset's renditions that concerns is for the media lane to say, which goes by what each was made of. An asset that
//! is not here yet gets its renditions when it is, and they show the rectangle then.

use std::collections::BTreeSet;

use super::plan::{Listed, wanted_renditions};
use super::{Error, Pull};
use crate::catalogue::{Batch, Lane, NewJob};
use crate::config::Generated;
use crate::model::job::Work;
use crate::model::{Record, Timestamp};
use crate::protocol::{crop, record};

/// Wishes for what these records, which are stored by now, make stale.
pub(super) async fn wish(
    pull: &Pull,
    batch: &mut Batch,
    records: &[&Record],
    now: Timestamp,
) -> Result<(), Error> {
    if pull.policy.generated != Generated::Rebuild {
        return Ok(());
    }
    let rows = records
        .iter()
        .filter(|record| record.key.module.as_str() == crop::TABLE)
        .filter_map(|record| crop::read(record).ok());
    // A set, since several presets of one asset may have a rectangle.
    let keys: BTreeSet<_> = rows.map(|row| row.asset.key()).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let stored = batch.stored(&keys).await?;
    let jobs = stored.values().filter_map(|stored| {
        let record = &stored.record;
        let is_ours = record
            .status
            .as_ref()
            .is_some_and(|status| status.master == pull.own);
        let asset = record::asset(record)
            .ok()
            .filter(|_| !is_ours && !record.is_deleted())?;
        let render = wanted_renditions(
            &asset,
            Listed::default(),
            pull.policy_for(&asset),
            &pull.presets,
        )?;
        Some(NewJob {
            peer: pull.peer.name().to_owned(),
            subject: format!("render:{}", asset.id),
            lane: Lane::Media,
            asset: asset.id,
            size: 0,
            work: Work::Regenerate(render),
        })
    });
    let jobs: Vec<_> = jobs.collect();
    batch.enqueue(&jobs, now).await?;
    Ok(())
}
