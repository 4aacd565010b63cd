//! The audit of a complete listing: which records here it lacks, and what follows from that (I4, H-23).
//!
//! ```text
//! the listing's keys are in `seen`, all pages of it are in
//! believed?   (guard: everything readable, the peer's own count agrees; and its search does not find what it did not list)
//!   no:  nothing is noted, a person is told
//!   yes: one batch: records it has again lose their note
//!                   records that an earlier believed listing lacked too become delete jobs, which pass the guard
//!                   records it lacks for the first time are noted
//! ```
//!
//! Where digests tell that both nodes have the same, that is as good as a listing that lacks nothing ([`Auditor::conclude_equal`]);
//! whatever seems to be missing is only ever concluded from listings.
//!
//! A kill before the batch means that this listing does not count. Nothing is deleted here.

use crate::catalogue::{self, Audit, Batch, Catalogue, Lane, NewJob, StoredRecord};
use crate::crash::{self, Point};
use crate::model::job::{AbsentJob, Work};
use crate::model::{AssetId, NodeId, Timestamp};
use crate::monitor::Monitor;
use crate::peer::{Patience, Peer, Presence};
use crate::reconcile::guard::{Doubt, Evidence, believe};

/// Confirmed records read at a time.
const PAGE: usize = 500;
/// Confirmed records that the peer's search is asked for before the listing is believed.
const SAMPLE: usize = 8;

/// A listing of everything that was taken whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// When it began, on our clock.
    pub started_at: Timestamp,
    /// Records in it that could not be read well enough to know which they are.
    pub unkeyed: u64,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audited {
    /// Records that this listing lacked for the first time.
    pub noted: u64,
    /// Records that two believed listings lacked: their deletes wait for the guard.
    pub confirmed: u64,
    /// Why nothing was concluded, if so.
    pub doubt: Option<Doubt>,
}

/// What the peer's own count and search say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Testimony {
    /// Live assets it counts.
    pub counted: Option<u64>,
    /// Whether its search found a record that it did not list.
    pub contradicts: bool,
}

/// The parts that an audit needs.
pub struct Auditor<'a> {
    /// The peer whose listing it is.
    pub peer: &'a str,
    /// This node.
    pub own: &'a NodeId,
    /// Our catalogue.
    pub catalogue: &'a Catalogue,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
    /// Whether a person said for this run how many may go.
    pub is_told: bool,
}

/// How many live assets the peer itself counts, as far as it tells.
pub async fn counted(peer: &Peer, patience: Patience<'_>) -> Option<u64> {
    let counted = peer
        .patiently(patience, &mut (), async |peer, ()| peer.live_assets().await)
        .await;
    counted.unwrap_or_else(|error| {
        tracing::warn!(peer = peer.name(), %error, "the peer's own count is not to be had");
        None
    })
}

impl Auditor<'_> {
    /// Asks the peer, and audits.
    ///
    /// # Errors
    /// The catalogue's; a peer that does not answer is a doubt.
    pub async fn run(
        &self,
        peer: &Peer,
        patience: Patience<'_>,
        complete: Complete,
        now: Timestamp,
    ) -> Result<Audited, catalogue::Error> {
        let mut testimony = Testimony {
            counted: counted(peer, patience).await,
            contradicts: false,
        };
        for stored in self.sample().await? {
            let mut key = stored.record.key;
            let asked = peer
                .patiently(patience, &mut key, async |peer, key| {
                    peer.has_record(key).await
                })
                .await;
            if let Ok(Presence::There) = asked {
                testimony.contradicts = true;
                break;
            }
        }
        self.conclude(complete, testimony, now).await
    }

    /// A few of the records that would be confirmed.
    async fn sample(&self) -> Result<Vec<StoredRecord>, catalogue::Error> {
        let audit = self.catalogue.audit(self.peer).await?;
        match audit.and_then(|audit| audit.listed_at) {
            None => Ok(Vec::new()),
            Some(upto) => {
                self.catalogue
                    .confirmed_absent((self.peer, self.own), upto, None, SAMPLE)
                    .await
            }
        }
    }

    /// Draws the conclusions, in one batch.
    ///
    /// # Errors
    /// The catalogue's; then this listing does not count.
    pub async fn conclude(
        &self,
        complete: Complete,
        testimony: Testimony,
        now: Timestamp,
    ) -> Result<Audited, catalogue::Error> {
        let last = self.catalogue.audit(self.peer).await?;
        let evidence = Evidence {
            absent: self.catalogue.count_absent(self.peer, self.own).await?,
            unkeyed: complete.unkeyed,
            listed: self.catalogue.seen_live_assets(self.peer).await?,
            counted: testimony.counted,
            usual_surplus: last.and_then(|audit| audit.surplus),
            is_told: self.is_told,
        };
        let believed = match believe(&evidence) {
            Ok(()) if testimony.contradicts => Err(Doubt::Contradicted),
            other => other,
        };
        let mut audited = Audited::default();
        let mut batch = self.catalogue.batch().await?;
        batch.note_seen(self.peer).await?;
        match believed {
            Err(doubt) => {
                audited.doubt = Some(doubt);
                let absent = evidence.absent;
                self.monitor.finding(&format!(
                    "{}: its listing lacks {absent} records that are here, and nothing is concluded from that: {doubt}",
                    self.peer
                ));
            }
            Ok(()) => {
                if let Some(upto) = last.and_then(|audit| audit.listed_at) {
                    audited.confirmed = self.confirm(&mut batch, upto, now).await?;
                }
                audited.noted = batch
                    .note_absent(self.peer, self.own, complete.started_at)
                    .await?;
            }
        }
        let is_usual = evidence.absent == 0 || last.is_none();
        let surplus = if is_usual { evidence.surplus() } else { None };
        let audit = Audit {
            listed_at: match audited.doubt {
                None => Some(complete.started_at),
                Some(_) => last.and_then(|audit| audit.listed_at),
            },
            tried_at: complete.started_at,
            surplus: surplus.or(last.and_then(|audit| audit.surplus)),
            here: self.catalogue.live_assets_of(self.peer).await?,
            counted: testimony.counted,
        };
        batch.put_audit(self.peer, &audit).await?;
        batch.end_listing(self.peer).await?;
        batch.commit().await?;
        crash::point(Point::Audited)?;
        tracing::info!(peer = self.peer, ?audited, "complete listing audited");
        Ok(audited)
    }

    /// The audit of a complete listing that was not taken, because digests told that both nodes have the same (`pull::alike`): so
    /// nothing is absent, and nothing was noted before. `false` where the peer counts more live assets beyond those than usual; then
    /// a listing must tell, and nothing is kept.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn conclude_equal(
        &self,
        started_at: Timestamp,
        live_assets: u64,
        counted: Option<u64>,
    ) -> Result<bool, catalogue::Error> {
        let last = self.catalogue.audit(self.peer).await?;
        let usual_surplus = last.and_then(|audit| audit.surplus);
        let evidence = Evidence {
            absent: 0,
            unkeyed: 0,
            listed: live_assets,
            counted,
            usual_surplus,
            is_told: self.is_told,
        };
        let surplus = evidence.surplus();
        if surplus.is_none() || usual_surplus.is_some_and(|usual| surplus > Some(usual)) {
            return Ok(false);
        }
        let audit = Audit {
            listed_at: Some(started_at),
            tried_at: started_at,
            surplus,
            here: self.catalogue.live_assets_of(self.peer).await?,
            counted,
        };
        let mut batch = self.catalogue.batch().await?;
        batch.put_audit(self.peer, &audit).await?;
        batch.commit().await?;
        crash::point(Point::Audited)?;
        tracing::info!(peer = self.peer, "digests tell the same as here; audited");
        Ok(true)
    }

    /// Makes a delete job of every record that was noted up to then and is absent again.
    async fn confirm(
        &self,
        batch: &mut Batch,
        upto: Timestamp,
        now: Timestamp,
    ) -> Result<u64, catalogue::Error> {
        let (mut confirmed, mut after) = (0, None);
        loop {
            let page = self
                .catalogue
                .confirmed_absent((self.peer, self.own), upto, after.as_ref(), PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(confirmed);
            };
            after = Some(last.record.key.clone());
            let jobs: Vec<NewJob> = page
                .iter()
                .filter_map(|stored| absent_job(self.peer, stored))
                .collect();
            confirmed += jobs.len() as u64;
            batch.enqueue(&jobs, now).await?;
        }
    }
}

/// What a job that deletes a record for its absence is about.
pub(crate) fn subject(key: &crate::model::RecordKey) -> String {
    format!("absent:{key}")
}

fn absent_job(peer: &str, stored: &StoredRecord) -> Option<NewJob> {
    let key = &stored.record.key;
    Some(NewJob {
        peer: peer.to_owned(),
        subject: subject(key),
        lane: Lane::Delete,
        // Every record id can be one.
        asset: AssetId::new(key.id.as_str()).ok()?,
        size: 0,
        work: Work::Absent(AbsentJob {
            module: key.module.to_string(),
            id: key.id.clone(),
            content: stored.record.content,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::TestMonitor;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// A count that says more than digests do is a reason to list, and no count is none to conclude anything.
    #[tokio::test]
    async fn digests_are_believed_as_long_as_the_peer_counts_no_more_than_usual() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&dir.path().join("c.db")).await.unwrap();
        let own = NodeId::new("own").unwrap();
        let monitor = TestMonitor::default();
        let auditor = Auditor {
            peer: "master",
            own: &own,
            catalogue: &catalogue,
            monitor: &monitor,
            is_told: false,
        };
        let usual = Audit {
            listed_at: None,
            tried_at: Timestamp::EPOCH,
            surplus: Some(2),
            here: 10,
            counted: Some(12),
        };
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_audit("master", &usual).await.unwrap();
        batch.commit().await.unwrap();
        for counted in [None, Some(13)] {
            let concluded = auditor.conclude_equal(NOW, 10, counted).await.unwrap();
            assert!(!concluded);
            assert_eq!(catalogue.audit("master").await.unwrap(), Some(usual));
        }
        assert!(auditor.conclude_equal(NOW, 10, Some(12)).await.unwrap());
        let kept = catalogue.audit("master").await.unwrap().unwrap();
        assert_eq!((kept.listed_at, kept.tried_at), (Some(NOW), NOW));
        assert_eq!((kept.surplus, kept.counted), (Some(2), Some(12)));
    }
}
