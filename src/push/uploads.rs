//! The upload pool: what the peer waits for, as many files at once as there are permits.
//!
//! ```text
//! loop  claim as many jobs as there are free permits; each file runs as a task, a record that was set aside goes at once
//!       settle what has ended, all of it in one batch: done, tried again later, or set aside with its reason
//!       none left and none under way: end;  else wait for one that ends, the next due time, or the word to end
//! ```
//!
//! Asked to end, it claims no more, lets go of what is under way between two pieces, and releases the jobs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::{Counts, Error, Greeted, Push, outgoing, page};
use crate::catalogue::{Job, Lane};
use crate::error::Class;
use crate::model::Timestamp;
use crate::model::job::Work;
use crate::peer;

/// How long a claim lasts; only a run that lost its lock could overstay it.
const LEASE: Duration = Duration::from_secs(3_600);
/// Tries of what has no better prospects: a rejection, a file that is not there.
const TRIES_PERMANENT: u32 = 2;

/// What becomes of a job.
#[derive(Debug)]
enum Ending {
    /// It is done, or nobody wants it any more.
    Done,
    /// It is settled already, with what came of it.
    Settled,
    Retry(Timestamp, String),
    SetAside(String),
    Release,
}

/// Runs until nothing is left that can be done now.
pub(super) async fn run(push: &Arc<Push>, greeted: &Greeted) -> Result<(), Error> {
    let mut under_way: JoinSet<(Job, Ending)> = JoinSet::new();
    let mut failure = None;
    loop {
        let is_open = !push.stop.requested() && failure.is_none();
        if is_open {
            let records = claim(push, &mut under_way).await?;
            failure = send_records(push, greeted, records).await?;
        }
        let due = push
            .catalogue
            .next_due(push.peer.name(), Lane::Upload)
            .await?;
        let is_open = is_open && failure.is_none();
        if under_way.is_empty() && (!is_open || due.is_none()) {
            break;
        }
        let wait = due.map_or(Duration::MAX, |due| due.since(push.seams.clock.now()));
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(3_600));
        let may_claim = is_open && under_way.len() < push.limits.transfers;
        tokio::select! {
            Some(ended) = under_way.join_next() => {
                let mut all = vec![ended];
                while let Some(ended) = under_way.try_join_next() {
                    all.push(ended);
                }
                let ended = all.into_iter().filter_map(Result::ok).collect();
                failure = settle(push, ended).await?.or(failure);
                if failure.is_some() {
                    push.stop.request();
                }
            }
            () = tokio::time::sleep(wait), if may_claim => {}
            () = push.stop.wait(), if is_open => {}
        }
    }
    match failure {
        Some(error) => Err(error),
        None if push.stop.requested() => Err(Error::Cancelled),
        None => Ok(()),
    }
}

/// Claims what there are permits for, and begins with the files of it; answers the records.
async fn claim(
    push: &Arc<Push>,
    under_way: &mut JoinSet<(Job, Ending)>,
) -> Result<Vec<Job>, Error> {
    let free = push.limits.transfers.saturating_sub(under_way.len());
    if free == 0 {
        return Ok(Vec::new());
    }
    let (who, now) = ((push.peer.name(), Lane::Upload), push.seams.clock.now());
    let jobs = push.catalogue.claim(who, free, "push", now, LEASE).await?;
    let (records, files): (Vec<Job>, Vec<Job>) = jobs
        .into_iter()
        .partition(|job| matches!(job.work, Work::Send(_)));
    for job in files {
        let push = Arc::clone(push);
        under_way.spawn(async move {
            // Nothing outlives a panic but its job, which is tried again and then set aside like any other (I3).
            let ran = AssertUnwindSafe(send_file(&push, &job))
                .catch_unwind()
                .await;
            let ending = match ran.unwrap_or(Err(Error::Worker)) {
                Ok(ending) => ending,
                Err(error) => judge(&push, &job, error),
            };
            (job, ending)
        });
    }
    Ok(records)
}

/// Sends records that were set aside, one by one: there are few, or there is nothing to be sent at all.
async fn send_records(
    push: &Arc<Push>,
    greeted: &Greeted,
    jobs: Vec<Job>,
) -> Result<Option<Error>, Error> {
    let mut ended = Vec::new();
    for job in jobs {
        let Work::Send(send) = &job.work else {
            continue;
        };
        let sent = match push.stop.requested() {
            true => Err(Error::Cancelled),
            false => page::send_again(push, greeted, &job, send).await,
        };
        let ending = match sent {
            Ok(()) => Ending::Settled,
            Err(error) => judge(push, &job, error),
        };
        ended.push((job, ending));
    }
    match ended.is_empty() {
        true => Ok(None),
        false => settle(push, ended).await,
    }
}

async fn send_file(push: &Arc<Push>, job: &Job) -> Result<Ending, Error> {
    if !push.peer.turn(&push.stop).await {
        return Err(Error::Cancelled);
    }
    match &job.work {
        Work::Upload(upload) => {
            if !(push.may_send)(job.size) {
                push.stop.request();
                return Ok(Ending::Release);
            }
            if outgoing::send(push, job, upload).await? {
                push.peer.budget().earn();
                Counts::add(&push.counts.files, 1);
            }
            Ok(Ending::Done)
        }
        _ => {
            let reason = "a job of another kind got into the upload lane".to_owned();
            Ok(Ending::SetAside(reason))
        }
    }
}

/// Whether a failed job is tried again, and when.
fn judge(push: &Push, job: &Job, error: Error) -> Ending {
    if push.stop.requested() || error.class() == Class::Cancelled {
        return Ending::Release;
    }
    if error.stops_the_pass() {
        push.fail(error);
        return Ending::Release;
    }
    let tries = match error.class() {
        // Another look at the disk would find the same.
        _ if matches!(error, Error::Damaged { .. }) => 1,
        Class::Transient if !error.is_rejection() => push.limits.attempts,
        _ => push.limits.attempts.min(TRIES_PERMANENT),
    };
    let failed = job.attempts + 1;
    let retry_after = match &error {
        Error::Peer(error) => peer::Error::retry_after(error),
        _ => None,
    };
    let wait = (failed < tries)
        .then(|| push.retries().wait(failed, retry_after, &*push.seams.rng))
        .flatten();
    let (peer, asset, subject, reason) =
        (push.peer.name(), &job.asset, &job.subject, error.reason());
    let Some(wait) = wait else {
        tracing::warn!(peer, %asset, path = subject, attempt = failed, %reason, "set aside");
        push.monitor.finding(&format!("{subject}: {reason}"));
        return Ending::SetAside(reason);
    };
    tracing::warn!(peer, %asset, path = subject, attempt = failed, %reason, "trying again");
    // What is wrong with one file says nothing about its peer, so that no number of them holds up the others (I3).
    let of_the_peer = error.class() == Class::Transient && !error.is_rejection();
    if of_the_peer && !push.peer.budget().spend() {
        push.fail(Error::BudgetSpent {
            peer: peer.to_owned(),
        });
    }
    Ending::Retry(push.seams.clock.now().plus(wait), reason)
}

/// Settles jobs together; answers why the pass has to end, if it has.
async fn settle(push: &Push, ended: Vec<(Job, Ending)>) -> Result<Option<Error>, Error> {
    let mut batch = push.catalogue.batch().await?;
    let done: Vec<&Job> = ended
        .iter()
        .filter(|(_, ending)| matches!(ending, Ending::Done))
        .map(|(job, _)| job)
        .collect();
    batch.settle_all(&done).await?;
    for (job, ending) in &ended {
        match ending {
            Ending::Done | Ending::Settled => {}
            Ending::Retry(at, reason) => batch.retry_at(job, *at, reason).await?,
            Ending::SetAside(reason) => batch.quarantine(job, reason).await?,
            Ending::Release => batch.release(job).await?,
        }
    }
    batch.commit().await?;
    Ok(push.failure())
}
