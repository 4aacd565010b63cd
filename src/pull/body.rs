//! The body of one download into staging, hashed as it comes.
//!
//! Small bodies are gathered in memory and written when they are published, many together; large ones go through a bounded
//! channel to a thread that writes and hashes, so that neither waits on a runtime thread. Cancelling stops between two pieces and keeps the partial;
//! so does a body that breaks off. A body of another length than announced is an error, never a short file.

use std::pin::{Pin, pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::transfer::{WORTH_RESUMING, check_reserve, compared};
use super::{Error, Pull};
use crate::model::job::FetchJob;
use crate::model::{Digests, Hasher};
use crate::monitor::{Counter, Monitor};
use crate::peer::{self, Download};
use crate::store::{self, Content, Partial};

/// Bodies of uncertain size are gathered in memory up to this.
const GATHERED: u64 = 256 << 10;
/// Pieces between the connection and the writing thread; each is at most a few hundred kilobytes.
const PIECES_AHEAD: usize = 16;
/// Bytes of a large body between two looks at the disk's reserve.
const RESERVE_EVERY: u64 = 16 << 20;

/// Bytes that a small body may have, which is what it may take of the memory: its size where that is certain, else a little more,
/// for a record may be behind its file.
pub(super) fn most_in_memory(job: &FetchJob) -> u64 {
    match job.size {
        Some(size) if job.exact => size,
        size => size.unwrap_or(WORTH_RESUMING).max(GATHERED),
    }
}

/// Reads a small body into memory.
pub(super) async fn gather(
    pull: &Pull,
    job: &FetchJob,
    download: Download,
) -> Result<(Content, Digests, u64), Error> {
    let total = download.total;
    let limit = most_in_memory(job);
    let likely = total.unwrap_or(0).min(limit);
    let mut body = Vec::with_capacity(usize::try_from(likely).unwrap_or(0));
    let mut hasher = Hasher::new(job.needs_md5());
    let mut pieces = pin!(download.into_pieces());
    while let Some(piece) = next(pull, &mut pieces).await? {
        hasher.update(&piece);
        body.extend_from_slice(&piece);
        if body.len() as u64 > limit {
            return Err(Error::Size {
                path: job.path.clone(),
                expected: limit,
                actual: body.len() as u64,
            });
        }
    }
    let received = body.len() as u64;
    check_whole(job, total, received)?;
    pull.monitor.advance(Counter::Bytes, received);
    let content = pull.staging.hold(body).into();
    Ok((content, hasher.finish(), received))
}

/// Lets a large body flow to a thread that hashes what the partial already holds, then hashes and appends.
pub(super) async fn stream(
    pull: &Pull,
    job: &FetchJob,
    download: Download,
    partial: Partial,
) -> Result<(Content, Digests, u64), Error> {
    check_reserve(
        pull,
        download.total.unwrap_or(0).saturating_sub(partial.len()),
    )
    .await?;
    let total = download.total;
    let limit = if job.exact { job.size } else { None };
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let with_md5 = job.needs_md5();
    let writer = spawn_blocking(move || append_all(partial, receiver, with_md5));
    let mut received = 0;
    let mut looked_at = 0;
    let mut shown = Shown {
        monitor: &*pull.monitor,
        bytes: 0,
    };
    let mut pieces = pin!(download.into_pieces());
    let flow = async {
        while let Some(piece) = next(pull, &mut pieces).await? {
            received += piece.len() as u64;
            shown.more(piece.len() as u64);
            // A body need not say how long it is, and others fill the same disk meanwhile.
            if received - looked_at >= RESERVE_EVERY {
                looked_at = received;
                check_reserve(pull, 0).await?;
            }
            if limit.is_some_and(|limit| received > limit) {
                return Err(Error::Size {
                    path: job.path.clone(),
                    expected: limit.unwrap_or(0),
                    actual: received,
                });
            }
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }
    .await;
    drop(sender);
    let (partial, digests) = writer.await.map_err(|_| Error::Worker)??;
    // What the writer has is kept for the next try; what went wrong on the way says whether there is one.
    flow?;
    check_whole(job, total, digests.size)?;
    if compared(job, &digests).is_err() {
        partial.discard();
        compared(job, &digests)?;
        return Err(Error::Worker);
    }
    shown.landed();
    Ok((partial.finish().into(), digests, received))
}

/// Bytes of a large file that were shown as progress before it is known whether they count. Those of a failed try are added
/// to what lies ahead, so that the ETA stays true.
struct Shown<'a> {
    monitor: &'a dyn Monitor,
    bytes: u64,
}

impl Shown<'_> {
    fn more(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.monitor.advance(Counter::Bytes, bytes);
    }

    fn landed(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.monitor.expect(Counter::Bytes, self.bytes);
        }
    }
}

fn append_all(
    mut partial: Partial,
    mut pieces: mpsc::Receiver<Bytes>,
    with_md5: bool,
) -> Result<(Partial, Digests), store::Error> {
    let mut hasher = Hasher::new(with_md5);
    if !partial.is_empty() {
        partial.read_back(&mut |piece| hasher.update(piece))?;
    }
    while let Some(piece) = pieces.blocking_recv() {
        partial.append(&piece)?;
        hasher.update(&piece);
    }
    Ok((partial, hasher.finish()))
}

/// The next piece, unless we were asked to end.
async fn next<S>(pull: &Pull, pieces: &mut Pin<&mut S>) -> Result<Option<Bytes>, Error>
where
    S: Stream<Item = Result<Bytes, peer::Error>>,
{
    let piece = tokio::select! {
        piece = pieces.next() => piece.transpose()?,
        () = pull.stop.wait() => return Err(Error::Cancelled),
    };
    if let Some(piece) = &piece
        && let Err(limit) = pull.cutoff.take(piece.len() as u64)
    {
        pull.fail(limit);
        return Err(Error::Cancelled);
    }
    Ok(piece)
}

/// A body that ended early looks like any other end; only the announced length tells.
fn check_whole(job: &FetchJob, total: Option<u64>, actual: u64) -> Result<(), Error> {
    let expected = if job.exact { job.size.or(total) } else { total };
    match expected {
        Some(expected) if expected != actual => Err(Error::Size {
            path: job.path.clone(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}
