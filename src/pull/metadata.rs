//! The metadata pass: every page of one listing into the catalogue, and the checkpoint after the last one.
//!
//! ```text
//! window: from the last checkpoint, less an overlap for latency, index refresh and clocks; or everything
//! go on with a listing that was left unfinished, where the peer's cursor outlives its session; else
//!     ask for the peer's clock, then for page 1, and for a wider window where that began after the last one ended
//! check who answers
//! for each page, in order:
//!     one batch: records (by the conflict rule), conflicts, bad records set aside, wishes for files, how far we are
//!     of a window that is mostly what we have (it begins before the last one ended): where digests tell that all of it is here, no more
//! check that the pages held as many different records as page 1 announced; if not, begin again
//! EMDB only: the members of folder assets, from the upload listing
//! one batch: the checkpoint; what a listing of everything showed stays noted, to be audited
//! ```
//!
//! The checkpoint moves last, so it never passes a record or file that is neither applied, nor queued, nor set aside (I2).
//! A kill between two pages costs the pages after the last one at most; importing a page twice changes nothing (I5).

use std::time::Duration;

use super::folders::{Folders, take_folder_members};
use super::{Error, Pull, alike, page};
use crate::catalogue::{Checkpoint, Listing};
use crate::crash::{self, Point};
use crate::greeting;
use crate::model::Timestamp;
use crate::monitor::{Counter, Phase};
use crate::peer::{Cursor, Page, Peer};

/// The feed's name in the checkpoint table.
pub const FEED: &str = "changes";
/// Least overlap of two windows, whatever the configuration says: dates of windows are whole seconds, and a record is listed
/// about a second after it was saved (H-44).
const LEAST_OVERLAP: Duration = Duration::from_secs(5);
/// How far off the start of a window may be, measured by dates of whole seconds on both sides.
const MEASURED_TO_MS: i64 = 2_000;
/// How often a listing that contradicts itself is begun again.
const RESTARTS: u32 = 3;

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything there is.
    Everything,
    /// What changed since the last checkpoint; everything when there is none.
    Changes,
}

/// A listing that was taken whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Live assets here when it began: what the delete guard measures by.
    pub live_before: u64,
    /// When it began, if it was one of everything: what it showed is still noted, to be audited.
    pub complete: Option<Timestamp>,
    /// Bad records in it without a usable address.
    pub unkeyed: u64,
}

/// Runs the pass.
///
/// # Errors
/// Any [`Error`]; the checkpoint then stands where it stood.
pub async fn run(pull: &Pull, scope: Scope) -> Result<Done, Error> {
    pull.monitor.phase(Phase::Records);
    alike::plan_by_rules(pull).await?;
    let unfinished = pull.catalogue.listing(pull.peer.name()).await?;
    // A listing of what changed is no part of one of everything.
    let mut unfinished = unfinished.filter(|listing| {
        listing.resumable && (scope == Scope::Changes || listing.since == Timestamp::EPOCH)
    });
    for restart in 0.. {
        let result = match unfinished.take() {
            Some(listing) => go_on(pull, listing).await,
            None => begin(pull, scope).await,
        };
        match result {
            Err(error) if begins_again(&error) && restart < RESTARTS => {
                tracing::warn!(
                    peer = pull.peer.name(),
                    reason = error.reason(),
                    "listing begins again"
                );
            }
            other => return other,
        }
    }
    unreachable!("the last restart returns")
}

/// Whether an error means that this listing is worthless, rather than the peer.
fn begins_again(error: &Error) -> bool {
    match error {
        Error::Incomplete { .. } => true,
        Error::Peer(error) => error.begins_again(),
        _ => false,
    }
}

async fn begin(pull: &Pull, scope: Scope) -> Result<Done, Error> {
    let now = pull.seams.clock.now();
    let checkpoint = pull.catalogue.checkpoint(pull.peer.name(), FEED).await?;
    let checkpoint = checkpoint.filter(|_| scope == Scope::Changes);
    let since = checkpoint.map_or(Timestamp::EPOCH, |checkpoint| {
        let since = window_start(&checkpoint, pull.limits.overlap);
        // What was too young then may be old enough now, without having changed.
        since.minus(pull.selection().filter.min_age.unwrap_or_default())
    });
    // A window of everything says nothing of the peer's clock, so that is asked for by itself.
    let clock = pull
        .peer
        .patiently(pull.patience(), &mut (), async |peer, ()| {
            peer.clock().await
        })
        .await?;
    let server_now = clock.unwrap_or(now);
    check_skew(pull, server_now)?;
    let (page, cursor) = first_page(pull, now, since, checkpoint).await?;
    check_identity(pull, &page).await?;
    let head = &page.changes.head;
    let listing = Listing {
        started_at: now,
        server_now,
        since,
        session: head.session.clone(),
        resumable: head.hello.is_some(),
        page: 0,
        pages: head.pages,
        total: head.total,
        live_before: pull.catalogue.live_assets().await?,
    };
    if cursor.blind() && head.pages > 2 {
        return Err(Error::Blind {
            peer: pull.peer.name().to_owned(),
            pages: head.pages,
        });
    }
    pull.monitor.expect(Counter::Records, head.total);
    let mut batch = pull.catalogue.batch().await?;
    batch.end_listing(pull.peer.name()).await?;
    if since == Timestamp::EPOCH {
        let rules = alike::rules(pull);
        batch.begin_everything_by(pull.peer.name(), &rules).await?;
    }
    batch.commit().await?;
    crash::point(Point::ListingBegun)?;
    take_pages(pull, listing, cursor, Some(page)).await
}

async fn go_on(pull: &Pull, listing: Listing) -> Result<Done, Error> {
    let ago_ms = pull.seams.clock.now().as_millis() - listing.since.as_millis();
    let cursor = Cursor::resumed(
        &pull.peer,
        listing.since,
        ago_ms,
        listing.session.clone(),
        listing.page,
        listing.pages,
    );
    tracing::info!(
        peer = pull.peer.name(),
        page = listing.page,
        pages = listing.pages,
        "going on with a listing"
    );
    pull.monitor.expect(Counter::Records, listing.total);
    pull.monitor.advance(
        Counter::Records,
        pull.catalogue.seen(pull.peer.name()).await?,
    );
    take_pages(pull, listing, cursor, None).await
}

/// Where a window begins: before the last one ended, by the overlap or by as long as that listing took (11.2, 2).
fn window_start(checkpoint: &Checkpoint, overlap: Duration) -> Timestamp {
    checkpoint
        .watermark
        .minus((overlap.max(LEAST_OVERLAP)).max(Duration::from_millis(checkpoint.took_ms)))
}

/// Asks for page 1; and again with a wider window when the peer's clock says that it began after the last one ended.
async fn first_page(
    pull: &Pull,
    now: Timestamp,
    since: Timestamp,
    checkpoint: Option<Checkpoint>,
) -> Result<(Page, Cursor), Error> {
    let ago_ms = now.as_millis().saturating_sub(since.as_millis()).max(0);
    let mut cursor = if since == Timestamp::EPOCH {
        Cursor::everything(&pull.peer, now)
    } else {
        Cursor::new(&pull.peer, ago_ms, since)
    };
    let page = next_page(pull, &mut cursor).await?;
    let (Some(checkpoint), Some(began)) = (checkpoint, page.changes.head.since) else {
        return Ok((page, cursor));
    };
    let gap = began.as_millis() - checkpoint.server_watermark.as_millis() + MEASURED_TO_MS;
    if gap <= 0 {
        return Ok((page, cursor));
    }
    tracing::warn!(
        peer = pull.peer.name(),
        gap_ms = gap,
        "a clock was set: asking for a wider window"
    );
    let overlap = pull.limits.overlap.max(LEAST_OVERLAP);
    let ago_ms = ago_ms
        .saturating_add(gap)
        .saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(0));
    cursor = Cursor::new(&pull.peer, ago_ms, since);
    Ok((next_page(pull, &mut cursor).await?, cursor))
}

/// Takes the pages from where the listing stands to its end, and checks that they held what page 1 announced.
async fn take_pages(
    pull: &Pull,
    mut listing: Listing,
    mut cursor: Cursor,
    first: Option<Page>,
) -> Result<Done, Error> {
    let is_emdb = !listing.resumable;
    let mut folders = Folders::default();
    let mut unkeyed = 0;
    let mut next = first;
    let mut known = next.is_some();
    loop {
        let fetched = match next.take() {
            Some(page) => page,
            None if cursor.more() => next_page(pull, &mut cursor).await?,
            None => break,
        };
        if !known {
            // A listing that goes on after a restart: whoever answers now must be whom it began with.
            check_identity(pull, &fetched).await?;
            known = true;
        }
        listing.page = cursor.page();
        let taken = page::apply(
            pull,
            &fetched.changes,
            &listing,
            is_emdb.then_some(&mut folders),
        )
        .await?;
        crash::point(Point::PageTaken)?;
        unkeyed += taken.unkeyed;
        pull.wake.notify_waiters();
        if taken.is_known && cursor.more() && is_all_here(pull, &listing, &fetched).await? {
            pull.monitor.advance(
                Counter::Records,
                (listing.total).saturating_sub(fetched.changes.records.len() as u64),
            );
            return finish(pull, &listing, unkeyed).await;
        }
    }
    let found = pull.catalogue.seen(pull.peer.name()).await? + unkeyed;
    if found < listing.total {
        return Err(Error::Incomplete {
            peer: pull.peer.name().to_owned(),
            total: listing.total,
            found,
        });
    }
    take_folder_members(pull, &folders, &listing).await?;
    finish(pull, &listing, unkeyed).await
}

/// Whether the rest of a window need not be listed, since its first page brought nothing new and all else is here as well. That is
/// so right after much was changed and taken: windows overlap. A listing of everything is taken page by page.
async fn is_all_here(pull: &Pull, listing: &Listing, first: &Page) -> Result<bool, Error> {
    let may_be_asked = listing.page == 1 && listing.since > Timestamp::EPOCH;
    if !may_be_asked || !first.tells_digests() || !alike::is_worth_it(pull, listing.total).await? {
        return Ok(false);
    }
    let alike = alike::ask(pull, alike::Extent::Theirs).await?;
    if alike.is_some() {
        tracing::info!(
            peer = pull.peer.name(),
            records = listing.total,
            "digests tell that all of it is here"
        );
    }
    Ok(alike.is_some())
}

/// Moves the checkpoint: everything that the listing named is applied, queued or set aside.
async fn finish(pull: &Pull, listing: &Listing, unkeyed: u64) -> Result<Done, Error> {
    crash::point(Point::CheckpointDue)?;
    let took = pull.seams.clock.now().since(listing.started_at);
    let checkpoint = Checkpoint {
        watermark: listing.started_at,
        server_watermark: listing.server_now,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    };
    let mut batch = pull.catalogue.batch().await?;
    let is_complete = listing.since == Timestamp::EPOCH;
    if is_complete {
        batch
            .forget_bad_records(pull.peer.name(), listing.started_at)
            .await?;
        batch.end_everything(pull.peer.name()).await?;
    }
    batch
        .put_checkpoint(pull.peer.name(), FEED, &checkpoint)
        .await?;
    if !is_complete {
        batch.end_listing(pull.peer.name()).await?;
    }
    batch.commit().await?;
    crash::point(Point::CheckpointMoved)?;
    tracing::info!(
        peer = pull.peer.name(),
        records = listing.total,
        elapsed_ms = checkpoint.took_ms,
        "listing taken"
    );
    Ok(Done {
        live_before: listing.live_before,
        complete: is_complete.then_some(listing.started_at),
        unkeyed,
    })
}

/// One page, asked for again while the peer is merely in trouble.
async fn next_page(pull: &Pull, cursor: &mut Cursor) -> Result<Page, Error> {
    Ok(pull
        .peer
        .patiently(pull.patience(), cursor, Peer::next_page)
        .await?)
}

/// See [`greeting::check_skew`].
fn check_skew(pull: &Pull, server_now: Timestamp) -> Result<(), Error> {
    let limit = pull.limits.max_clock_skew;
    let (clock, monitor) = (&*pull.seams.clock, &*pull.monitor);
    Ok(greeting::check_skew(
        &pull.peer, server_now, limit, clock, monitor,
    )?)
}

/// See [`greeting::check_identity`].
async fn check_identity(pull: &Pull, page: &Page) -> Result<(), Error> {
    let (hello, now) = (page.changes.head.hello.as_ref(), pull.seams.clock.now());
    greeting::check_identity(&pull.peer, &pull.own, hello, &pull.catalogue, now).await?;
    Ok(())
}
