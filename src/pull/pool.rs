//! The download pool: two lanes, small and large files, each as wide as helps (`lanes`).
//!
//! ```text
//! loop  note whether upstream is done and nothing is in flight      (in this order, so that no follow-up job is missed)
//!       claim as many jobs as there are permits; each runs as a task that holds its permit until the publisher took it
//!       none left, upstream done, nothing in flight: end
//!       else wait for: new jobs, fewer in flight, the next due time, upstream done, or the end
//! ```
//!
//! Small files are claimed many at a time, since each claim is a durable write, and the next claim begins when half of them are
//! under way; what is claimed and not begun when the end comes is released. The lane is over when its last job is settled, not when its last byte arrived.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::ahead::{self, Here};
use super::lanes::Permit;
use super::publisher::{Ending, Item, Part};
use super::transfer;
use super::window::Change;
use super::{Error, InFlight, InFlightToken, Pull};
use crate::catalogue::{Job, Lane, NewJob};
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::job::{FetchJob, Work};
use crate::monitor::Counter;
use crate::{peer, store};

/// How long a claim lasts; only a run that lost its lock could overstay it.
pub const LEASE: Duration = Duration::from_secs(3_600);
/// Jobs of the small lane that are claimed ahead, and how many of them are left when more are claimed.
const CLAIMED_AHEAD: usize = 256;
const CLAIMED_AGAIN: usize = CLAIMED_AHEAD / 2;
/// How often a lane looks at what came over the line, and at the ceiling.
const LOOK: Duration = Duration::from_millis(500);
/// Tries of a file whose bytes keep coming out wrong, and of one that is not there.
const TRIES_CORRUPT: u32 = 3;
const TRIES_PERMANENT: u32 = 2;

/// One lane of the pool.
pub struct LaneOf {
    /// Which jobs.
    pub lane: Lane,
    /// Turns true when nobody will wish for more, but for retries and follow-ups.
    pub upstream_done: watch::Receiver<bool>,
    /// Where finished jobs go.
    pub items: mpsc::Sender<Item>,
}

/// A job that this run has claimed.
struct Claimed {
    job: Job,
    here: Here,
    token: InFlightToken,
}

/// Runs a lane to its end.
///
/// # Errors
/// The catalogue's.
pub async fn run(pull: Arc<Pull>, lane: LaneOf) -> Result<(), Error> {
    tokio::select! {
        ended = fetch_all(&pull, &lane) => ended,
        never = measure(&pull, lane.lane) => match never {},
    }
}

/// Tells the lane what came over the line and how wide it may be, over and over.
async fn measure(pull: &Pull, lane: Lane) -> Infallible {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lane = pull.lanes.of(lane);
    let mut before = pull.peer.fetched();
    loop {
        looks.tick().await;
        let most = pull.transfers_at_once.get();
        pull.lanes.keep_to(&*pull.monitor, lane, most);
        let fetched = pull.peer.fetched();
        if let Some(change) = lane.moved(fetched - before) {
            pull.lanes.tell(&*pull.monitor, lane, change);
        }
        before = fetched;
    }
}

async fn fetch_all(pull: &Arc<Pull>, lane: &LaneOf) -> Result<(), Error> {
    let places = pull.lanes.of(lane.lane);
    let in_flight = InFlight::default();
    let mut waiting: VecDeque<Claimed> = VecDeque::new();
    let mut claiming: Option<JoinHandle<Result<Vec<Claimed>, Error>>> = None;
    while !pull.stop.requested() {
        if let Some(claimed) = waiting.pop_front() {
            if lane.lane == Lane::Small && waiting.len() == CLAIMED_AGAIN && claiming.is_none() {
                let (pull, in_flight) = (pull.clone(), in_flight.clone());
                let more =
                    async move { claim(&pull, Lane::Small, CLAIMED_AHEAD, &in_flight).await };
                claiming = Some(tokio::spawn(more));
            }
            let permit = tokio::select! {
                permit = places.permit() => permit,
                () = pull.stop.wait() => { waiting.push_front(claimed); break; }
            };
            tokio::spawn(work(pull.clone(), claimed, permit, lane.items.clone()));
            continue;
        }
        if let Some(claiming) = claiming.take() {
            waiting.extend(claiming.await.unwrap_or(Err(Error::Worker))?);
        } else if !refill(pull, lane, &in_flight, &mut waiting).await? {
            return Ok(());
        }
    }
    let claimed = match claiming {
        Some(claiming) => claiming.await.unwrap_or(Err(Error::Worker)),
        None => Ok(Vec::new()),
    };
    let (claimed, ended) = claimed.map_or_else(
        |error| (Vec::new(), Err(error)),
        |claimed| (claimed, Ok(())),
    );
    waiting.extend(claimed);
    for Claimed { job, token, .. } in waiting {
        let ending = Ending::Release;
        if !send(&lane.items, Item { job, ending, token }).await {
            break;
        }
    }
    drained(&in_flight).await;
    ended
}

/// Claims up to so many jobs that are due.
async fn claim(
    pull: &Pull,
    lane: Lane,
    most: usize,
    in_flight: &InFlight,
) -> Result<Vec<Claimed>, Error> {
    let (who, now) = ((pull.peer.name(), lane), pull.seams.clock.now());
    let jobs = pull.catalogue.claim(who, most, "pull", now, LEASE).await?;
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    crash::point(Point::PoolClaimed)?;
    let here = ahead::look(pull, &jobs).await?;
    let claimed = jobs.into_iter().zip(here).map(|(job, here)| Claimed {
        job,
        here,
        token: in_flight.enter(),
    });
    Ok(claimed.collect())
}

/// Claims more, or waits until there may be more; `false` when there never will be.
async fn refill(
    pull: &Pull,
    lane: &LaneOf,
    in_flight: &InFlight,
    waiting: &mut VecDeque<Claimed>,
) -> Result<bool, Error> {
    let new_jobs = pull.wake.notified();
    let fewer = in_flight.fewer().notified();
    tokio::pin!(new_jobs, fewer);
    new_jobs.as_mut().enable();
    fewer.as_mut().enable();
    let mut upstream = lane.upstream_done.clone();
    let could_end = *upstream.borrow_and_update() && in_flight.count() == 0;
    let now = pull.seams.clock.now();
    let ahead = if lane.lane == Lane::Small {
        CLAIMED_AHEAD
    } else {
        // One more than may begin, or nobody would know that the lane is held up by its width.
        (pull.lanes.of(lane.lane).width() + 1).saturating_sub(in_flight.count())
    };
    // A look costs less than a claim, which waits for its turn to write.
    let due = pull.catalogue.next_due(pull.peer.name(), lane.lane).await?;
    if ahead > 0 && due.is_some_and(|due| due <= now) {
        waiting.extend(claim(pull, lane.lane, ahead, in_flight).await?);
        if !waiting.is_empty() {
            return Ok(true);
        }
    }
    if due.is_none() && could_end {
        return Ok(false);
    }
    let until_due = due
        .map_or(Duration::MAX, |due| due.since(now))
        .max(Duration::from_millis(1));
    tokio::select! {
        () = new_jobs => {}
        () = fewer => {}
        () = tokio::time::sleep(until_due.min(Duration::from_secs(3_600))), if ahead > 0 => {}
        result = upstream.changed(), if !could_end => if result.is_err() { return Ok(false) },
        () = pull.stop.wait() => {}
    }
    Ok(true)
}

/// Waits until every job of a lane is settled.
async fn drained(in_flight: &InFlight) {
    loop {
        let fewer = in_flight.fewer().notified();
        tokio::pin!(fewer);
        fewer.as_mut().enable();
        if in_flight.count() == 0 {
            return;
        }
        fewer.await;
    }
}

async fn work(
    pull: Arc<Pull>,
    Claimed { job, here, token }: Claimed,
    mut permit: Permit,
    items: mpsc::Sender<Item>,
) {
    // Nothing outlives a panic but its job, which is tried again and then set aside like any other (I3).
    let ran = AssertUnwindSafe(run_one(&pull, &job, here, &mut permit))
        .catch_unwind()
        .await;
    let mut landed = None;
    let ending = match ran.unwrap_or(Err(Error::Worker)) {
        Ok((ending, flight)) => {
            landed = flight;
            ending
        }
        Err(error) => {
            if let Error::Peer(error) = &error
                && error.is_push_back()
            {
                let change = permit.pushed_back();
                tell(&pull, &permit, change);
            }
            fail_one(&pull, &job, error).await
        }
    };
    if !send(&items, Item { job, ending, token }).await {
        // Nobody publishes any more: fetching on would only throw bytes away.
        pull.stop.request();
    }
    // Handed on is what counts: to fetch faster than files are published brings nothing.
    if let Some((waited, bytes)) = landed {
        let change = permit.arrived(waited, bytes);
        tell(&pull, &permit, change);
    }
    drop(permit);
}

fn tell(pull: &Pull, permit: &Permit, change: Option<Change>) {
    if let Some(change) = change {
        pull.lanes.tell(&*pull.monitor, permit.lane(), change);
    }
}

/// What a job brought, and of what was fetched for it how soon the answer began and how much it was.
type Ran = (Ending, Option<(Duration, u64)>);

async fn run_one(pull: &Pull, job: &Job, here: Here, permit: &mut Permit) -> Result<Ran, Error> {
    let Work::Fetch(fetch) = &job.work else {
        let reason = "a job of another kind got into a download lane".to_owned();
        return Ok((Ending::Quarantine(reason), None));
    };
    if !pull.peer.turn(&pull.stop).await {
        return Err(Error::Cancelled);
    }
    // What the peer asked us to wait says nothing of how fast it is.
    permit.begin();
    let arrived = transfer::fetch(pull, &job.asset, fetch, here).await?;
    crash::point(Point::FileStaged)?;
    pull.peer.budget().earn();
    let flight = arrived.flight();
    let ending = landed(job, fetch, arrived.into_part(job.asset.clone(), fetch));
    Ok((ending, flight))
}

/// What a job has come to whose file is here, with what follows from it.
pub(super) fn landed(job: &Job, fetch: &FetchJob, part: Part) -> Ending {
    let then = fetch.then.clone().map(|render| NewJob {
        peer: job.peer.clone(),
        subject: format!("render:{}", job.asset),
        lane: Lane::Media,
        asset: job.asset.clone(),
        size: 0,
        work: Work::Regenerate(render),
    });
    Ending::Landed {
        parts: vec![part],
        then: then.into_iter().collect(),
    }
}

/// Decides what a failure means for its job, and for the pass.
async fn fail_one(pull: &Pull, job: &Job, error: Error) -> Ending {
    let (error, of_the_file) = blame(pull, job, error).await;
    if pull.stop.requested() || error.class() == Class::Cancelled {
        return Ending::Release;
    }
    if error.stops_the_pass() {
        pull.fail(error);
        return Ending::Release;
    }
    let ending = pull.judge(job, &error);
    // A file that is missing or wrong says nothing about its peer, so that no number of them holds up the others (I3).
    if matches!(ending, Ending::Retry(..)) && !of_the_file && !pull.peer.budget().spend() {
        pull.fail(Error::BudgetSpent {
            peer: pull.peer.name().to_owned(),
        });
    }
    ending
}

/// Whether a failure is the file's own, or its peer's. EMDB answers 500 for an original to somebody it does not know
/// (H-50), and a login page may come with any status; so the login is probed before a file is blamed for those.
async fn blame(pull: &Pull, job: &Job, error: Error) -> (Error, bool) {
    let Error::Peer(
        error @ (peer::Error::Refused { .. }
        | peer::Error::Server { status: 500, .. }
        | peer::Error::Html { .. }),
    ) = error
    else {
        let of_the_file = error.class() != Class::Transient;
        return (error, of_the_file);
    };
    let probed = tokio::select! {
        probed = probe(pull) => probed,
        () = pull.stop.wait() => return (Error::Cancelled, false),
    };
    match (probed, error) {
        (Ok(()), peer::Error::Refused { peer, detail }) => {
            let path = job.subject.clone();
            (
                Error::Peer(peer::Error::Withheld { peer, path, detail }),
                true,
            )
        }
        (Ok(()), error) => (Error::Peer(error), true),
        (Err(refused @ peer::Error::Refused { .. }), _) => (Error::Peer(refused), false),
        // Nothing is known of the login, so a refusal must not end the pass for want of it.
        (Err(unknown), peer::Error::Refused { .. }) => (Error::Peer(unknown), false),
        (Err(_), error) => (Error::Peer(error), false),
    }
}

/// Whether the peer lets us in, by a list request that was sent after now.
///
/// One at a time, and one for all whose files failed before it: each costs an EMDB a session and a scroll of its index, for half an
/// hour and a quarter, and a user who may list but not download makes every original of an archive fail. One that comes to nothing
/// is an answer to all who waited for it, or they would wait for as many in turn.
async fn probe(pull: &Pull) -> Result<(), peer::Error> {
    let failed_at = Instant::now();
    let mut probed = pull.probed.lock().await;
    match *probed {
        Some((at, true)) if at >= failed_at => return Ok(()),
        Some((at, false)) if at >= failed_at => {
            let peer = pull.peer.name().to_owned();
            return Err(peer::Error::Unproven { peer });
        }
        _ => {}
    }
    let began = Instant::now();
    match pull.peer.clock().await {
        Ok(_) => {
            *probed = Some((began, true));
            Ok(())
        }
        Err(error) => {
            *probed = Some((Instant::now(), false))
                .filter(|_| !matches!(error, peer::Error::Refused { .. }));
            Err(error)
        }
    }
}

impl Pull {
    /// Whether a failed job is tried again, and when.
    pub fn judge(&self, job: &Job, error: &Error) -> Ending {
        if let Error::Store(store::Error::Blocked { .. }) = error
            && self.removals_ahead.load(Ordering::SeqCst)
        {
            // What stands in the way may be about to go; trying before that only costs time.
            self.blocked.fetch_add(1, Ordering::SeqCst);
            tracing::debug!(
                peer = self.peer.name(),
                path = job.subject,
                "waits for a removal"
            );
            return Ending::Quarantine(error.reason());
        }
        if matches!(error, Error::Sha256 { .. } | Error::Md5 { .. }) {
            self.monitor.advance(Counter::Mismatches, 1);
        }
        let tries = match error.class() {
            Class::Transient => self.limits.attempts,
            Class::Corrupt => self.limits.attempts.min(TRIES_CORRUPT),
            Class::Permanent | Class::Cancelled => self.limits.attempts.min(TRIES_PERMANENT),
        };
        let failed = job.attempts + 1;
        let retry_after = if let Error::Peer(error) = error {
            error.retry_after()
        } else {
            None
        };
        let wait = (failed < tries)
            .then(|| self.retries().wait(failed, retry_after, &*self.seams.rng))
            .flatten();
        let (peer, asset, path, reason) =
            (self.peer.name(), &job.asset, &job.subject, error.reason());
        match wait {
            Some(wait) => {
                self.monitor.advance(Counter::Retries, 1);
                tracing::warn!(peer, %asset, path, attempt = failed, %reason, "trying again");
                Ending::Retry(self.seams.clock.now().plus(wait), reason)
            }
            None => {
                tracing::warn!(peer, %asset, path, attempt = failed, %reason, "set aside");
                self.monitor.finding(&format!("{path}: {reason}"));
                Ending::Quarantine(reason)
            }
        }
    }
}

/// Hands an item on; the publisher only goes away when the pass has failed, and then the next run takes the lease back.
/// Whether it was taken.
pub async fn send(items: &mpsc::Sender<Item>, item: Item) -> bool {
    items.send(item).await.is_ok()
}
