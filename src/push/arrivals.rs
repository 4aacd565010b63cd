//! A look at the peer's own listing after a push: what was sent and is there (wire spec 11.2, 7).
//!
//! The answer to a page says that it was understood, not which version of a record the peer kept. What it lists as it was sent is
//! there; an edit of ours that the record's master lists so is noted as pushed, which the conflict rule asks for. What it lists
//! otherwise it has refused, or somebody was faster: that is told, and the next pull decides it. What it does not list at all is
//! told too, of the tables that it lists (4.1).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Counts, Error, Greeted, Push};
use crate::catalogue::{Sent, StoredRecord};
use crate::model::{Record, RecordKey, Timestamp};
use crate::peer::{Cursor, Peer};

/// How long an EMDB server may take until it lists what it took (H-44).
const SETTLES: Duration = Duration::from_secs(2);
/// Windows begin so much earlier, since their start is measured in whole seconds on two clocks.
const MARGIN: Duration = Duration::from_secs(5);
/// Records that are read at a time.
const PAGE: usize = 500;
/// How often a listing that contradicts itself is begun again.
const RESTARTS: u32 = 3;
/// What EMDB lists unless told otherwise, less what a shipped one keeps in files (wire spec 4.1).
const LISTED: [&str; 4] = ["category", "asset", "librarycollection", "userprofile"];

/// Looks for everything that was sent and not looked for yet; `sent_at` is when the last page went.
pub(super) async fn look(push: &Push, greeted: &Greeted, sent_at: Instant) -> Result<(), Error> {
    let peer = push.peer.name();
    let Some(dated) = push.catalogue.earliest_unseen(peer).await? else {
        return Ok(());
    };
    if !greeted.is_emsync {
        tokio::select! {
            () = tokio::time::sleep_until(sent_at + SETTLES) => {}
            () = push.stop.wait() => return Err(Error::Cancelled),
        }
    }
    // Whoever has a record as it was sent lists it by no earlier date than that inside. The window is one of the peer's clock.
    let since = Timestamp::from_millis(dated.as_millis().saturating_sub(greeted.skew_ms));
    let since = since.minus(MARGIN);
    for restart in 0.. {
        match list(push, greeted, since).await {
            Err(Error::Peer(error)) if error.begins_again() && restart < RESTARTS => {
                tracing::warn!(peer, reason = %error, "listing begins again");
            }
            Err(error) => return Err(error),
            Ok(Listed::Whole) => return leave(push, Some(greeted)).await,
            Ok(Listed::Blind) => {
                tracing::warn!(
                    peer,
                    "what was sent is not looked for: the peer's session cookie is Secure but base_url is plain http"
                );
                return leave(push, None).await;
            }
        }
    }
    Ok(())
}

enum Listed {
    Whole,
    /// Pages from the third on could not be trusted (H-5).
    Blind,
}

async fn list(push: &Push, greeted: &Greeted, since: Timestamp) -> Result<Listed, Error> {
    let now = push.seams.clock.now();
    let ago_ms = now.as_millis().saturating_sub(since.as_millis()).max(0);
    let mut cursor = match since <= Timestamp::EPOCH {
        true => Cursor::everything(&push.peer, now),
        false => Cursor::new(&push.peer, ago_ms, since),
    };
    while cursor.more() {
        let page = push
            .peer
            .patiently(push.patience(), &mut cursor, Peer::next_page)
            .await?;
        if cursor.blind() && page.changes.head.pages > 2 {
            return Ok(Listed::Blind);
        }
        let listed: HashMap<&RecordKey, &Record> = (page.changes.records.iter().flatten())
            .map(|record| (&record.key, record))
            .collect();
        compare(push, greeted, &listed).await?;
    }
    Ok(Listed::Whole)
}

/// Holds what a page lists against what was sent.
async fn compare(
    push: &Push,
    greeted: &Greeted,
    listed: &HashMap<&RecordKey, &Record>,
) -> Result<(), Error> {
    let (peer, mut after) = (push.peer.name(), None);
    loop {
        let sent = push
            .catalogue
            .sent_unseen(peer, after.as_ref(), PAGE)
            .await?;
        let shown: Vec<&Sent> = (sent.iter())
            .filter(|sent| listed.contains_key(&sent.key))
            .collect();
        let keys: Vec<RecordKey> = shown.iter().map(|sent| sent.key.clone()).collect();
        let stored = push.catalogue.stored(&keys).await?;
        let mut batch = push.catalogue.batch().await?;
        for sent in shown {
            let theirs = listed[&sent.key];
            match stored.get(&sent.key) {
                Some(ours) if ours.record.content == sent.content => {
                    if is_same(&ours.record, theirs) {
                        let is_edit = is_taken_edit(push, greeted, ours);
                        batch.note_arrived(peer, sent, is_edit).await?;
                    } else {
                        batch.leave_sent(peer, &sent.key).await?;
                        refused(push, &sent.key, &otherwise(theirs));
                    }
                }
                // It changed here since, and is sent again.
                _ => batch.leave_sent(peer, &sent.key).await?,
            }
        }
        batch.commit().await?;
        match sent.last() {
            Some(last) if sent.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// By table, id and dates (7.3); how a server writes its numbers is no difference.
fn is_same(ours: &Record, theirs: &Record) -> bool {
    ours.key == theirs.key && ours.status == theirs.status
}

/// Whether a record is an edit of ours that its master is known to have once this peer lists it.
fn is_taken_edit(push: &Push, greeted: &Greeted, ours: &StoredRecord) -> bool {
    let status = ours.record.status.as_ref();
    status.is_some_and(|status| status.modified_by == push.own && status.master == greeted.id)
}

fn otherwise(theirs: &Record) -> String {
    match &theirs.status {
        Some(status) => format!(
            "it has a version that {} saved at {}; the next pull decides",
            status.modified_by, status.modified
        ),
        None => "it has a version without a status".to_owned(),
    }
}

fn refused(push: &Push, key: &RecordKey, why: &str) {
    let peer = push.peer.name();
    tracing::warn!(peer, record = %key, why, "not taken as it was sent");
    push.monitor
        .finding(&format!("{key}: not taken by {peer} as it was sent: {why}"));
    Counts::add(&push.counts.refused, 1);
}

/// What is left is not looked for again; after a whole listing, that it was not in it is told.
async fn leave(push: &Push, greeted: Option<&Greeted>) -> Result<(), Error> {
    let peer = push.peer.name();
    loop {
        let left = push.catalogue.sent_unseen(peer, None, PAGE).await?;
        if left.is_empty() {
            return Ok(());
        }
        let mut batch = push.catalogue.batch().await?;
        for sent in &left {
            batch.leave_sent(peer, &sent.key).await?;
            let is_listed = LISTED.contains(&sent.key.module.as_str());
            if greeted.is_some_and(|greeted| greeted.is_emsync || is_listed) {
                refused(push, &sent.key, "it does not list it");
            }
        }
        batch.commit().await?;
    }
}
