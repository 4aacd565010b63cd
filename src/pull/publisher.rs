//! The only writer of files and of what became of jobs: bytes, then rows, then the job.
//!
//! ```text
//! wait for one item, take what else is there (up to a batch), then
//!   give each file its place                 its own name, unless another file has it (`catalogue::places`)
//!   publish all files of the batch           sync all, rename all, sync each directory once
//!   and, while the next batches are published (`settling`), for some batches at once
//!     one catalogue batch: rows of files that are durable, follow-up jobs, settle | retry | quarantine | release
//!     drop the items: their in-flight tokens tell the lanes that these jobs are over
//! ```
//!
//! Disk and catalogue so work at the same time. Since rows decide where files go, a batch that has a name or a place of one
//! without its rows waits for those first.
//!
//! A kill before the publish leaves staged files, which the next run sweeps, and leased jobs, which it takes back. A kill
//! between publish and commit leaves durable files without rows: the job runs again and finds its own file by its digest. The
//! channel in front holds `publish_batch` items; a slow disk fills it, and the workers wait with their permits in hand.
//! It ends when all senders are gone.

mod settling;
mod standing;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::ours::Way;
use super::{Error, InFlightToken, Pull};
use crate::catalogue::{Finding, Job, NewJob, Placed, Sharer, Wanted};
use crate::crash::{self, Point};
use crate::model::job::Work;
use crate::model::place::Why;
use crate::model::{FileKind, MediaFile, MediaPath, Timestamp};
use crate::store::{Content, Publish};
use settling::{Published, Settling};
pub use standing::Standing;

/// What became of a claimed job.
#[derive(Debug)]
pub struct Item {
    /// The job.
    pub job: Job,
    /// How it ended.
    pub ending: Ending,
    /// Keeps the job counted until it is settled.
    pub token: InFlightToken,
}

impl Item {
    fn parts(&self) -> &[Part] {
        match &self.ending {
            Ending::Landed { parts, .. } => parts,
            _ => &[],
        }
    }
}

/// How a job ended.
#[derive(Debug)]
pub enum Ending {
    /// Its files are staged, hashed and compared.
    Landed {
        /// The files, all or none of which settle the job.
        parts: Vec<Part>,
        /// Jobs that become possible with them.
        then: Vec<NewJob>,
    },
    /// There is nothing to make of its original.
    Unrenderable(Finding),
    /// It failed and is due again then.
    Retry(Timestamp, String),
    /// It failed for the last time.
    Quarantine(String),
    /// It was not done, since we are ending.
    Release,
}

/// A staged file and what its row will say.
#[derive(Debug)]
pub struct Part {
    /// The bytes.
    pub content: Content,
    /// The row.
    pub file: MediaFile,
    /// Bytes of it that came over the wire in this run.
    pub received: u64,
    /// Where its bytes came from.
    pub way: Way,
    /// Where it lies that it was made of; when it replaces that, nothing of it need be kept.
    pub made_of: Option<MediaPath>,
    /// The room that it takes in memory, given back once it is published.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Part {
    /// The file to be published at a place, and what its row will say.
    fn at(self, place: MediaPath, why: Option<Why>) -> (Publish, Brought) {
        let is_kept = self.file.kind == FileKind::Original && self.made_of.as_ref() != Some(&place);
        let publish = Publish {
            content: self.content,
            kind: self.file.kind,
            path: place.clone(),
            modified: self.file.modified,
            keep_replaced: is_kept,
        };
        let brought = Brought {
            file: self.file.at(place),
            why,
            received: self.received,
            way: self.way,
        };
        (publish, brought)
    }
}

/// Runs until every sender is gone.
///
/// # Errors
/// The catalogue's; then the pass must end, since nothing can be settled any more.
pub async fn run(pull: Arc<Pull>, mut items: mpsc::Receiver<Item>) -> Result<(), Error> {
    let mut settling = Settling::new(Arc::clone(&pull));
    let ended = bring_all(&pull, &mut items, &mut settling).await;
    if ended.is_err() {
        // Nothing can be settled any more: everybody ends, and the next run takes the leases back.
        pull.stop.request();
        items.close();
        while items.recv().await.is_some() {}
    }
    let settled = settling.over().await;
    ended.and(settled)
}

async fn bring_all(
    pull: &Pull,
    items: &mut mpsc::Receiver<Item>,
    settling: &mut Settling,
) -> Result<(), Error> {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            taken = items.recv_many(&mut batch, pull.limits.publish_batch) => {
                if taken == 0 {
                    return Ok(());
                }
                bring(pull, std::mem::take(&mut batch), settling).await?;
            }
            // Nothing to publish at the moment, so what waits need not wait for more.
            free = settling.free() => {
                free?;
                settling.begin();
            }
        }
    }
}

/// Publishes a batch, and has it settled when its turn comes.
async fn bring(pull: &Pull, mut items: Vec<Item>, settling: &mut Settling) -> Result<(), Error> {
    let (outcomes, shared) = publish(pull, &mut items, settling).await?;
    crash::point(Point::BytesPublished)?;
    let published = Published {
        items,
        outcomes,
        shared,
    };
    settling.take(published).await
}

/// A file that is durable under its name.
struct Brought {
    file: MediaFile,
    /// Why it lies elsewhere than its name says, when that was decided now.
    why: Option<Why>,
    received: u64,
    way: Way,
}

enum Outcome {
    /// Its files are durable under their names; empty for a job without files.
    Durable(Vec<Brought>),
    /// At least one of them is not.
    Failed(Error),
}

impl Outcome {
    /// What is durable of it.
    fn rows(&self) -> &[Brought] {
        match self {
            Self::Durable(rows) => rows,
            Self::Failed(_) => &[],
        }
    }
}

/// Gives the files of all items their places and publishes them in one call, and sorts the results by item; with them those
/// that were not needed, since another asset has the very file.
async fn publish(
    pull: &Pull,
    items: &mut [Item],
    settling: &mut Settling,
) -> Result<(Vec<Outcome>, Vec<Sharer>), Error> {
    let mut places = places(pull, items, settling).await?.into_iter();
    let mut rows: Vec<Vec<Brought>> = Vec::with_capacity(items.len());
    let (mut wishes, mut shared, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
    for item in items.iter_mut() {
        let Ending::Landed { parts, .. } = &mut item.ending else {
            rows.push(Vec::new());
            continue;
        };
        let mut of_item = Vec::with_capacity(parts.len());
        for mut part in parts.drain(..) {
            rooms.extend(part.room.take());
            let placed = places.next().expect("every part has its answer");
            let Placed::At { place, why } = placed else {
                tracing::debug!(path = %part.file.path, asset = %part.file.asset, "another asset has this very file");
                shared.push((part.file.kind, part.file.path, part.file.asset));
                continue;
            };
            let (publish, brought) = part.at(place, why);
            wishes.push(publish);
            of_item.push(brought);
        }
        rows.push(of_item);
    }
    if wishes.is_empty() {
        return Ok((rows.into_iter().map(Outcome::Durable).collect(), shared));
    }
    let store = pull.store.clone();
    let results = tokio::task::spawn_blocking(move || store.publish(wishes))
        .await
        .map_err(|_| Error::Worker)?;
    drop(rooms);
    let mut results = results.into_iter();
    let outcomes = rows
        .into_iter()
        .map(|of_item| {
            // All answers of an item are taken, also those after a failure: what comes next is the next item's.
            let answers = results.by_ref().take(of_item.len());
            let failed = answers.fold(None, |first, answer| first.or(answer.err()));
            failed.map_or(Outcome::Durable(of_item), |error| {
                Outcome::Failed(error.into())
            })
        })
        .collect();
    Ok((outcomes, shared))
}

/// Where the files of all items go, in their order. Rows decide that; so where files that may matter have
/// none yet, those are waited for.
async fn places(
    pull: &Pull,
    items: &[Item],
    settling: &mut Settling,
) -> Result<Vec<Placed>, Error> {
    let names = || {
        items
            .iter()
            .flat_map(Item::parts)
            .map(|part| (part.file.kind, &part.file.path))
    };
    if settling.meets(names()) {
        settling.over().await?;
    }
    let placed = places_by_rows(pull, items).await?;
    let given = names()
        .zip(&placed)
        .filter_map(|((kind, _), placed)| match placed {
            Placed::At { place, .. } => Some((kind, place)),
            Placed::Shared => None,
        });
    if settling.meets(given) {
        settling.over().await?;
        return places_by_rows(pull, items).await;
    }
    Ok(placed)
}

async fn places_by_rows(pull: &Pull, items: &[Item]) -> Result<Vec<Placed>, Error> {
    let mut wanted = Vec::new();
    for item in items {
        let fetch = match &item.job.work {
            Work::Fetch(fetch) => Some(fetch),
            _ => None,
        };
        wanted.extend(item.parts().iter().map(|Part { file, .. }| {
            Wanted {
                kind: file.kind,
                path: &file.path,
                asset: &file.asset,
                // Where the wish states no digest nobody could tell in the next listing that it is fulfilled: it would be fetched anew.
                shares: fetch
                    .filter(|fetch| fetch.sha256.is_some())
                    .map(|_| &file.sha256),
                one_file_at: fetch.and_then(|fetch| pull.one_file_at(fetch)),
            }
        }));
    }
    Ok(pull.catalogue.places(pull.store.rules(), &wanted).await?)
}

#[cfg(test)]
mod tests;
