//! The only writer of files and of what became of jobs: bytes, then rows, then the job.
//!
//! ```text
//! wait for one item, take what else is there (up to a batch), then
//!   give each file its place                 its own name, unless another file has it (`catalogue::places`)
//!   publish all files of the batch           fsync each, rename all, fsync each directory once
//!   one catalogue batch: rows of files that are durable, follow-up jobs, settle | retry | quarantine | release
//!   drop the items: their in-flight tokens tell the lanes that these jobs are over
//! ```
//!
//! A kill before the publish leaves staged files, which the next run sweeps, and leased jobs, which it takes back. A kill
//! between publish and commit leaves durable files without rows: the job runs again and finds its own file by its digest. The
//! channel in front holds `publish_batch` items; a slow disk fills it, and the workers wait with their permits in hand.
//! It ends when all senders are gone.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::ours::Way;
use super::{Counts, Error, InFlightToken, Pull};
use crate::catalogue::{Batch, Finding, Job, Lane, NewJob, Placed, Sharer, Wanted};
use crate::crash::{self, Point};
use crate::model::job::{RemoveJob, Work, remove_subject};
use crate::model::place::{Why, mapped_text};
use crate::model::{FileKind, MediaFile, MediaPath, Timestamp};
use crate::monitor::Counter;
use crate::store::{Content, Publish};

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
    fn at(self, place: MediaPath) -> (Publish, Brought) {
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
    let mut batch = Vec::new();
    while items.recv_many(&mut batch, pull.limits.publish_batch).await > 0 {
        if let Err(error) = settle(&pull, std::mem::take(&mut batch)).await {
            // Nothing can be settled any more: everybody ends, and the next run takes the leases back.
            pull.stop.request();
            items.close();
            while items.recv().await.is_some() {}
            return Err(error);
        }
    }
    Ok(())
}

async fn settle(pull: &Arc<Pull>, mut items: Vec<Item>) -> Result<(), Error> {
    let (outcomes, shared) = publish(pull, &mut items).await?;
    crash::point(Point::BytesPublished)?;
    let now = pull.seams.clock.now();
    let mut batch = pull.catalogue.batch().await?;
    batch.note_sharers(&shared).await?;
    let mut tally = Tally::default();
    let landed: Vec<_> = items.iter().zip(&outcomes).filter_map(landed).collect();
    note_landed(&mut batch, &landed, &mut tally, now).await?;
    for (item, outcome) in items.iter().zip(&outcomes) {
        match (&item.ending, outcome) {
            (Ending::Landed { .. }, Outcome::Durable(_)) => {}
            (Ending::Landed { .. }, Outcome::Failed(error)) => {
                retry_or_quarantine(pull, &mut batch, item, error).await?
            }
            (Ending::Unrenderable(finding), _) => {
                batch.put_finding(finding, now).await?;
                batch.settle(&item.job).await?;
                tally.unrenderable += 1;
            }
            (Ending::Retry(at, reason), _) => batch.retry_at(&item.job, *at, reason).await?,
            (Ending::Quarantine(reason), _) => batch.quarantine(&item.job, reason).await?,
            (Ending::Release, _) => batch.release(&item.job).await?,
        }
    }
    batch.commit().await?;
    crash::point(Point::RowsSettled)?;
    tally.report(pull);
    drop(items);
    pull.wake.notify_waiters();
    for outcome in outcomes {
        if let Outcome::Failed(error) = outcome
            && error.stops_the_pass()
        {
            pull.fail(error);
        }
    }
    Ok(())
}

/// An item whose files are durable, and what they are.
struct Landed<'a> {
    job: &'a Job,
    rows: &'a [Brought],
    then: &'a [NewJob],
}

fn landed<'a>((item, outcome): (&'a Item, &'a Outcome)) -> Option<Landed<'a>> {
    match (&item.ending, outcome) {
        (Ending::Landed { then, .. }, Outcome::Durable(rows)) => Some(Landed {
            job: &item.job,
            rows,
            then,
        }),
        _ => None,
    }
}

/// Rows of durable files, the jobs that become possible with them, and the end of those that brought them.
async fn note_landed(
    batch: &mut Batch,
    landed: &[Landed<'_>],
    tally: &mut Tally,
    now: Timestamp,
) -> Result<(), Error> {
    let brought = || landed.iter().flat_map(|item| item.rows);
    let files: Vec<&MediaFile> = brought().map(|brought| &brought.file).collect();
    batch.put_files(&files, now).await?;
    brought().for_each(|brought| tally.count(brought));
    for item in landed {
        if item.rows.iter().any(|brought| brought.file.authored) {
            batch.forget_finding(&item.job.asset).await?;
            tally.rendered += 1;
        }
    }
    let then: Vec<NewJob> = landed.iter().flat_map(|item| item.then).cloned().collect();
    batch.enqueue(&then, now).await?;
    let jobs: Vec<&Job> = landed.iter().map(|item| item.job).collect();
    let withdrawn = batch.settle_all(&jobs).await?;
    for item in landed
        .iter()
        .filter(|item| withdrawn.contains(&item.job.id))
    {
        // Withdrawn while it was under way: what it brought is nobody's, unless it was wished for anew.
        batch.enqueue(&removals(item.job, item.rows), now).await?;
    }
    Ok(())
}

/// A file that is durable under its name.
struct Brought {
    file: MediaFile,
    received: u64,
    way: Way,
}

enum Outcome {
    /// Its files are durable under their names; empty for a job without files.
    Durable(Vec<Brought>),
    /// At least one of them is not.
    Failed(Error),
}

/// Gives the files of all items their places and publishes them in one call, and sorts the results by item; with them those
/// that were not needed, since another asset has the very file.
async fn publish(
    pull: &Arc<Pull>,
    items: &mut [Item],
) -> Result<(Vec<Outcome>, Vec<Sharer>), Error> {
    let mut places = places(pull, items).await?.into_iter();
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
            if let Some(why) = why {
                report_mapped(pull, &part.file, &place, why);
            }
            let (publish, brought) = part.at(place);
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

/// Where the files of all items go, in their order.
async fn places(pull: &Pull, items: &[Item]) -> Result<Vec<Placed>, Error> {
    let mut wanted = Vec::new();
    for item in items {
        let Ending::Landed { parts, .. } = &item.ending else {
            continue;
        };
        let fetch = match &item.job.work {
            Work::Fetch(fetch) => Some(fetch),
            _ => None,
        };
        wanted.extend(parts.iter().map(|Part { file, .. }| {
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

fn report_mapped(pull: &Pull, file: &MediaFile, place: &MediaPath, why: Why) {
    tracing::info!(path = %file.path, asset = %file.asset, %place, reason = %why, "mapped");
    let text = mapped_text((file.kind, &file.path), &file.asset, (place, why));
    pull.monitor.finding(&text);
}

/// Wishes to remove what a job brought; asked again when they are due.
fn removals(job: &Job, rows: &[Brought]) -> Vec<NewJob> {
    rows.iter()
        .map(|Brought { file, .. }| NewJob {
            peer: job.peer.clone(),
            subject: remove_subject(file),
            lane: Lane::Remove,
            asset: job.asset.clone(),
            size: 0,
            work: Work::Remove(RemoveJob {
                kind: file.kind,
                path: file.path.as_str().to_owned(),
                sha256: file.sha256,
            }),
        })
        .collect()
}

async fn retry_or_quarantine(
    pull: &Pull,
    batch: &mut Batch,
    item: &Item,
    error: &Error,
) -> Result<(), Error> {
    if error.stops_the_pass() {
        batch.release(&item.job).await?;
        return Ok(());
    }
    let ending = pull.judge(&item.job, error);
    match ending {
        Ending::Retry(at, reason) => batch.retry_at(&item.job, at, &reason).await?,
        Ending::Quarantine(reason) => batch.quarantine(&item.job, &reason).await?,
        _ => batch.release(&item.job).await?,
    }
    Ok(())
}

/// What a batch adds to the counters, once it is committed.
#[derive(Default)]
struct Tally {
    files: u64,
    adopted: u64,
    moved: u64,
    cloned: u64,
    bytes: u64,
    received: u64,
    rendered: u64,
    unrenderable: u64,
}

impl Tally {
    fn count(&mut self, brought: &Brought) {
        match brought.way {
            Way::Adopted => self.adopted += 1,
            Way::Moved => self.moved += 1,
            Way::Cloned => self.cloned += 1,
            Way::Fetched | Way::Made => {}
        }
        self.files += 1;
        // What came over the wire was shown as it came.
        self.bytes += brought.file.size.saturating_sub(brought.received);
        self.received += brought.received;
    }

    fn report(&self, pull: &Pull) {
        Counts::add(&pull.counts.files, self.files - self.adopted);
        Counts::add(&pull.counts.adopted, self.adopted);
        Counts::add(&pull.counts.moved, self.moved);
        Counts::add(&pull.counts.cloned, self.cloned);
        Counts::add(&pull.counts.received, self.received);
        Counts::add(&pull.counts.unrenderable, self.unrenderable);
        pull.monitor.advance(Counter::Files, self.files);
        pull.monitor.advance(Counter::Bytes, self.bytes);
        pull.monitor
            .advance(Counter::Renditions, self.rendered + self.unrenderable);
    }
}

#[cfg(test)]
mod tests;
