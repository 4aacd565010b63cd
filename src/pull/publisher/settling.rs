//! What became of published batches: one catalogue batch for some of them, while the next ones are published.
//!
//! Rows are what the catalogue is slow at: names and digests come in no order, so that each row changes pages of its own all over
//! the indexes. A thousand rows in one go change most of those pages once instead of four times. So batches wait for each other as
//! long as more are coming, up to [`FULL`] items or [`LATE`]; where nothing comes they are settled at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::super::ours::Way;
use super::super::{Counts, Error, Pull};
use super::{Brought, Ending, Item, Outcome};
use crate::catalogue::{Batch, Job, Lane, NewJob, Sharer};
use crate::crash::{self, Point};
use crate::model::job::{RemoveJob, Work, remove_subject};
use crate::model::place::{Why, fold, mapped_text};
use crate::model::{FileKind, MediaFile, MediaPath, Timestamp};
use crate::monitor::Counter;

/// A batch whose files are durable, as far as they can be; or some of them as one.
#[derive(Default)]
pub(super) struct Published {
    pub(super) items: Vec<Item>,
    /// One for each item.
    pub(super) outcomes: Vec<Outcome>,
    /// Files that were not needed, since another asset has the very file.
    pub(super) shared: Vec<Sharer>,
}

/// Items that are settled together at most, but for the last batch.
const FULL: usize = 1_024;
/// How long the first of them waits for others. Its lane counts it as under way meanwhile.
const LATE: Duration = Duration::from_millis(100);

/// Batches without rows: some whose rows are on their way, and some that wait for their turn.
pub(super) struct Settling {
    pull: Arc<Pull>,
    task: Option<JoinHandle<Result<(), Error>>>,
    waiting: Published,
    waiting_since: Instant,
    /// Names and places of all their files, folded: of those on their way, and of those that wait.
    names: [HashSet<(FileKind, String)>; 2],
}

impl Settling {
    pub(super) fn new(pull: Arc<Pull>) -> Self {
        Self {
            pull,
            task: None,
            waiting: Published::default(),
            waiting_since: Instant::now(),
            names: Default::default(),
        }
    }

    /// Takes a batch, and settles it with those that wait when they are enough.
    ///
    /// # Errors
    /// The catalogue's, about batches before.
    pub(super) async fn take(&mut self, published: Published) -> Result<(), Error> {
        if self.waiting.items.is_empty() {
            self.waiting_since = Instant::now();
        }
        self.names[1].extend(published.names());
        self.waiting.append(published);
        if self.waiting.items.len() >= FULL || self.waiting_since.elapsed() >= LATE {
            self.settled().await?;
            self.begin();
        }
        Ok(())
    }

    /// Waits until those that wait may be settled; for ever where none does. May be cancelled.
    ///
    /// # Errors
    /// The catalogue's.
    pub(super) async fn free(&mut self) -> Result<(), Error> {
        if self.waiting.items.is_empty() {
            std::future::pending::<()>().await;
        }
        self.settled().await
    }

    /// Begins to settle those that wait; none is on its way.
    pub(super) fn begin(&mut self) {
        let published = std::mem::take(&mut self.waiting);
        self.names[0] = std::mem::take(&mut self.names[1]);
        let pull = Arc::clone(&self.pull);
        self.task = Some(tokio::spawn(async move {
            let settled = settle(&pull, published).await;
            if settled.is_err() {
                // The publisher hears of it with its next batch, which may be long in coming.
                pull.stop.request();
            }
            settled
        }));
    }

    /// Waits until all of them have their rows.
    ///
    /// # Errors
    /// The catalogue's.
    pub(super) async fn over(&mut self) -> Result<(), Error> {
        self.settled().await?;
        if !self.waiting.items.is_empty() {
            self.begin();
            self.settled().await?;
        }
        Ok(())
    }

    /// Waits for the rows that are on their way. May be cancelled.
    async fn settled(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.task else {
            return Ok(());
        };
        let settled = task.await;
        self.task = None;
        self.names[0].clear();
        settled.unwrap_or(Err(Error::Worker))
    }

    /// Whether one of these is a name or a place of their files, by whatever spelling.
    pub(super) fn meets<'a>(
        &self,
        mut names: impl Iterator<Item = (FileKind, &'a MediaPath)>,
    ) -> bool {
        let has_any = !self.names.iter().all(HashSet::is_empty);
        has_any
            && names.any(|(kind, name)| {
                let name = (kind, fold(name.as_str()));
                self.names.iter().any(|names| names.contains(&name))
            })
    }
}

impl Published {
    fn append(&mut self, behind: Self) {
        self.items.extend(behind.items);
        self.outcomes.extend(behind.outcomes);
        self.shared.extend(behind.shared);
    }

    fn names(&self) -> HashSet<(FileKind, String)> {
        let durable = self.outcomes.iter().flat_map(Outcome::rows);
        let names = durable.flat_map(|Brought { file, .. }| {
            [&file.path, file.place()].map(|name| (file.kind, fold(name.as_str())))
        });
        names.collect()
    }
}

async fn settle(pull: &Pull, published: Published) -> Result<(), Error> {
    let Published {
        items,
        outcomes,
        shared,
    } = published;
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
    for Brought { file, why, .. } in outcomes.iter().flat_map(Outcome::rows) {
        if let Some(why) = why {
            report_mapped(pull, file, *why);
        }
    }
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

/// Says that a file lies elsewhere than its name says: once it does, for it may fail there as anywhere.
fn report_mapped(pull: &Pull, file: &MediaFile, why: Why) {
    let (path, place, asset) = (&file.path, file.place(), &file.asset);
    tracing::info!(%path, %asset, %place, reason = %why, "mapped");
    let text = mapped_text((file.kind, path), asset, (place, why));
    pull.monitor.finding(&text);
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

/// Wishes to remove what a job brought; asked again when they are due.
fn removals(job: &Job, rows: &[Brought]) -> Vec<NewJob> {
    rows.iter()
        .map(|Brought { file, .. }| NewJob {
            peer: job.peer.clone(),
            subject: remove_subject(file),
            lane: Lane::Remove,
            asset: job.asset.clone(),
            size: 0,
            work: Work::Remove(RemoveJob::of(file)),
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
        pull.monitor
            .advance(Counter::RenditionsFailed, self.unrenderable);
    }
}
