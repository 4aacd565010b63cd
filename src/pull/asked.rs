//! One file that somebody waits for: fetched, compared and published as the pool does it, now.

use tokio::sync::mpsc;

use super::ahead::Here;
use super::publisher::Item;
use super::{Error, Pull, landing, transfer};
use crate::catalogue::Job;

/// Brings the file of a claimed wish. Returns when it is durable, with its row, and the wish is settled.
///
/// # Errors
/// [`Error`]; then the claim is the caller's to end, unless it is [`Error::Unsettled`].
pub async fn bring(pull: &Pull, job: Job, items: &mpsc::Sender<Item>) -> Result<(), Error> {
    let Some(fetch) = landing::fetch_of(&job).cloned() else {
        return Err(Error::Worker);
    };
    let arrived = transfer::fetch(pull, &job.asset, &fetch, Here::Perhaps).await?;
    let part = arrived.into_part(job.asset.clone(), &fetch);
    landing::settle(pull, (job, &fetch), part, items).await
}
