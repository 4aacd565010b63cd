//! Which records a push takes, and how far it has come.
//!
//! The window ends where it is fixed when the push begins. One that a run left in the middle goes on there; what was stored
//! meanwhile is for the next. A kind of files that did not go along before makes everything new, or it would never be offered
//! for what was sent by then.

use std::time::Duration;

use super::{Error, Push};
use crate::catalogue::{Portion, PushState, PushWindow, StoredRecord};
use crate::model::{NodeId, Timestamp};

/// A page (H-21).
const PAGE: Portion = Portion {
    records: 100,
    bytes: 8 << 20,
};
/// Least overlap of two windows, whatever the configuration says.
const LEAST_OVERLAP: Duration = Duration::from_secs(5);

/// The push under way.
#[derive(Debug, Clone)]
pub(super) struct Under {
    /// As it is kept.
    pub(super) state: PushState,
    /// Its window; `after` is where the next page begins.
    pub(super) window: PushWindow,
    /// Whether a run before this one began it.
    pub(super) is_resumed: bool,
    /// Whether it sends everything, whatever was sent before.
    is_anew: bool,
}

/// Goes on with the push that a run left unfinished, or begins one; one that begins anew forgets what was sent before.
pub(super) async fn begin(push: &Push) -> Result<Under, Error> {
    let under = look(push).await?;
    if under.is_anew {
        let mut batch = push.catalogue.batch().await?;
        batch.forget_all_sent(push.peer.name()).await?;
        batch.put_push_state(push.peer.name(), &under.state).await?;
        batch.commit().await?;
    }
    Ok(under)
}

/// The push that would go on, or begin.
pub(super) async fn look(push: &Push) -> Result<Under, Error> {
    let peer = push.peer.name();
    let (offers, now) = (push.policy.bits(), push.seams.clock.now());
    let state = push.catalogue.push_state(peer).await?;
    let all_offered = |state: &PushState| offers & !state.offers == 0;
    let state = state.filter(|state| !push.anew && all_offered(state));
    let under = match state {
        Some(PushState {
            under_way: Some(window),
            watermark,
            ..
        }) => Under {
            state: PushState {
                offers,
                watermark,
                under_way: Some(window.clone()),
            },
            window,
            is_resumed: true,
            is_anew: false,
        },
        Some(PushState { watermark, .. }) => {
            let since = overlapping(push, watermark, now);
            fresh(offers, watermark, since, now)
        }
        None => Under {
            is_anew: true,
            ..fresh(offers, Timestamp::EPOCH, Timestamp::EPOCH, now)
        },
    };
    Ok(under)
}

fn fresh(offers: i64, watermark: Timestamp, since: Timestamp, until: Timestamp) -> Under {
    let window = PushWindow {
        since,
        until,
        after: None,
    };
    Under {
        state: PushState {
            offers,
            watermark,
            under_way: Some(window.clone()),
        },
        window,
        is_resumed: false,
        is_anew: false,
    }
}

/// Windows overlap: a record gets its stamp before its transaction commits, and our clock may have been set back since.
fn overlapping(push: &Push, watermark: Timestamp, now: Timestamp) -> Timestamp {
    watermark.min(now).minus(overlap(push))
}

fn overlap(push: &Push) -> Duration {
    push.limits.overlap.max(LEAST_OVERLAP)
}

/// The next page: records that are to be sent, less those that were sent as they are. The place moves past what it held; it is
/// empty at the end of the window only.
pub(super) async fn next(
    push: &Push,
    under: &mut Under,
    peer_id: Option<&NodeId>,
) -> Result<Vec<StoredRecord>, Error> {
    let trim = push.trim(peer_id);
    loop {
        let candidates = push
            .catalogue
            .push_candidates(&under.window, trim, PAGE)
            .await?;
        let Some(last) = candidates.last() else {
            return Ok(Vec::new());
        };
        under.window.after = Some(last.place.clone());
        let records: Vec<&StoredRecord> = candidates.iter().map(|found| &found.stored).collect();
        let sent = match under.is_anew {
            true => Vec::new(),
            false => {
                let peer = push.peer.name();
                push.catalogue.already_sent(peer, &records).await?
            }
        };
        let due: Vec<StoredRecord> = candidates
            .into_iter()
            .map(|found| found.stored)
            .filter(|stored| !sent.contains(&stored.record.key))
            .collect();
        if !due.is_empty() {
            return Ok(due);
        }
    }
}

impl Under {
    /// As it is to be kept, with its place.
    pub(super) fn kept(&self) -> PushState {
        PushState {
            under_way: Some(self.window.clone()),
            ..self.state.clone()
        }
    }
}

/// Moves the checkpoint: all that the window held was taken, or is set aside.
pub(super) async fn finish(push: &Push, under: &Under) -> Result<(), Error> {
    let peer = push.peer.name();
    let watermark = under.window.until;
    let state = PushState {
        watermark,
        under_way: None,
        ..under.state.clone()
    };
    let mut batch = push.catalogue.batch().await?;
    batch.put_push_state(peer, &state).await?;
    // As long as any window to come may reach back to them.
    batch.forget_sent(peer, watermark, overlap(push)).await?;
    batch.commit().await?;
    Ok(())
}
