//! One listing of a peer and everything that follows from it: files, audit, deletes, and what had to wait for them.
//!
//! Also what to list: a change window, or everything where that is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::stages::Stages;
use super::{Error, again};
use crate::catalogue::Audit;
use crate::config::{self, MaxDelete};
use crate::crash::{self, Point};
use crate::model::NodeId;
use crate::monitor::Phase;
use crate::node::Node;
use crate::peer::Peer;
use crate::pull::alike::{self, Extent, is_settled};
use crate::pull::metadata::{self, Done, Scope};
use crate::pull::{self, Pull};
use crate::reconcile::absence::{self, Audited, Auditor, Complete};
use crate::reconcile::deletes::{Applied, Deletes};
use crate::reconcile::guard;

/// What to list: everything where that is due, because it is long ago, or because the last time something was missing.
pub(super) async fn due_scope(pull: &Pull, asked: Scope) -> Result<Scope, Error> {
    let (catalogue, peer) = (&pull.catalogue, pull.peer.name());
    let Some(audit) = catalogue.audit(peer).await? else {
        return Ok(Scope::Everything);
    };
    let age = pull.seams.clock.now().since(audit.tried_at);
    let was_believed = audit.listed_at == Some(audit.tried_at);
    // Whether a node whose place was taken has taken notice is only to be seen from all that it lists.
    let is_due = alike::wants_otherwise(pull).await?
        || former(pull).await?.is_some()
        || age >= pull.limits.full_listing
        || was_believed && catalogue.noted_absent(peer).await? > 0;
    Ok(if is_due { Scope::Everything } else { asked })
}

/// The peer's cluster id, if this node took its place and it is not known to have taken notice.
async fn former(pull: &Pull) -> Result<Option<NodeId>, Error> {
    let said = pull.catalogue.peer_node(pull.peer.name()).await?;
    let id = (pull.peer.cluster_id().cloned()).or(said.map(|said| said.cluster_id));
    let succeeded = pull.catalogue.succeeded().await?;
    Ok(id.filter(|id| succeeded.iter().any(|(node, _)| node == id)))
}

/// What a node whose place was taken says of our records counts again, once it lists them as we do.
async fn readmit(pull: &Pull) -> Result<(), Error> {
    let Some(id) = former(pull).await? else {
        return Ok(());
    };
    let mut batch = pull.catalogue.batch().await?;
    batch.readmit(&id).await?;
    batch.commit().await?;
    let text = format!(
        "{} ({id}) has pulled from here since its place was taken: what it saves counts again",
        pull.peer.name()
    );
    tracing::info!("{text}");
    pull.monitor.finding(&text);
    Ok(())
}

/// Audits a listing that was one of everything; of any other nothing follows.
pub(super) async fn audit(pull: &Pull, done: &Done, is_told: bool) -> Result<Audited, Error> {
    let Some(started_at) = done.complete else {
        return Ok(Audited::default());
    };
    let complete = Complete {
        started_at,
        unkeyed: done.unkeyed,
    };
    let now = pull.seams.clock.now();
    Ok(auditor(pull, is_told)
        .run(&pull.peer, pull.patience(), complete, now)
        .await?)
}

fn auditor(pull: &Pull, is_told: bool) -> Auditor<'_> {
    Auditor {
        peer: pull.peer.name(),
        own: &pull.own,
        catalogue: &pull.catalogue,
        monitor: &*pull.monitor,
        is_told,
    }
}

/// How many deletes the guard lets go: by the word for this run, else the peer's, else the node's, else the rule.
pub(super) fn delete_limit(
    pull: &Pull,
    settings: &config::Peer,
    said: Option<MaxDelete>,
    done: &Done,
) -> u64 {
    let said = said.or(settings.max_delete).or(pull.limits.max_delete);
    guard::limit(done.live_before, said)
}

/// One listing with all that follows from it.
pub(super) struct Round<'a> {
    pub(super) node: &'a Node,
    pub(super) pull: &'a Arc<Pull>,
    pub(super) settings: &'a config::Peer,
    pub(super) max_delete: Option<MaxDelete>,
}

impl Round<'_> {
    /// Lists, fetches, audits, deletes.
    pub(super) async fn run(&self, scope: Scope, applied: &mut Applied) -> Result<(), Error> {
        let pull = self.pull;
        pull.removals_ahead();
        let stages = Stages::start(self.node, pull)?;
        let counts = [&pull.counts.held_off, &pull.counts.ours];
        let before = counts.map(|count| count.load(Ordering::Relaxed));
        let listed = metadata::run(pull, scope).await;
        if listed.is_err() {
            pull.stop.request();
        }
        let ended = stages.finish(pull).await;
        // A listing that was cut short because a file ended the pass is not the cause.
        if let Err(pull::Error::Cancelled) = listed {
            ended?;
            return Err(pull::Error::Cancelled.into());
        }
        let done = listed?;
        ended?;
        crash::point(Point::FilesDone)?;
        pull.monitor.phase(Phase::Reconcile);
        audit(pull, &done, self.max_delete.is_some()).await?;
        let deletes = Deletes {
            peer: &self.settings.name,
            own: &pull.own,
            catalogue: &pull.catalogue,
            store: &pull.store,
            seams: &pull.seams,
            monitor: &*pull.monitor,
            is_owner: pull.is_owner,
            master: Some((&pull.peer, pull.patience())),
        };
        let limit = delete_limit(pull, self.settings, self.max_delete, &done);
        // The limit is one of the run, however often it lists.
        let limit = limit.saturating_sub(applied.deleted);
        applied.add(deletes.apply(limit, &pull.stop).await?);
        crash::point(Point::DeletesDone)?;
        if done.complete.is_some() {
            self.measure().await?;
            let after = counts.map(|count| count.load(Ordering::Relaxed));
            if after[0] == before[0] && after[1] > before[1] {
                readmit(pull).await?;
            }
        }
        // A file that stood where a folder is needed, or the reverse, is out of the way now. What waited for that has not failed
        // yet: trouble of a moment must not cost it its only try.
        if pull.removals_done() > 0 && again(pull, self.settings, 0).await? > 0 {
            Stages::start(self.node, pull)?.finish(pull).await?;
            deletes.take_away(applied, &pull.stop).await?;
        }
        Ok(())
    }

    /// Does what a listing of everything is due for without one, where digests tell that there is nothing in it: first what changed,
    /// then the question whether both nodes have the same now. `false` where that is not so, or not to be told.
    ///
    /// Tombstones of the change window pass the guard as ever; from the digests nothing follows but that nothing is absent.
    pub(super) async fn is_equal_after_changes(
        &self,
        applied: &mut Applied,
    ) -> Result<bool, Error> {
        let (pull, catalogue) = (self.pull, &self.node.catalogue);
        let peer = pull.peer.name();
        let was_listed = catalogue.audit(peer).await?.is_some()
            && catalogue.checkpoint(peer, metadata::FEED).await?.is_some();
        if !was_listed || catalogue.peer_node(peer).await?.is_none() || !is_settled(pull).await? {
            return Ok(false);
        }
        let told = (pull.peer)
            .patiently(pull.patience(), &mut (), Peer::tells_digests)
            .await;
        if !told.unwrap_or(false) {
            return Ok(false);
        }
        self.run(Scope::Changes, applied).await?;
        let started_at = pull.seams.clock.now();
        let Some(alike) = alike::ask(pull, Extent::Both).await? else {
            return Ok(false);
        };
        let counted = absence::counted(&pull.peer, pull.patience()).await;
        let concluded = auditor(pull, self.max_delete.is_some())
            .conclude_equal(started_at, alike.live_assets, counted)
            .await?;
        if concluded {
            readmit(pull).await?;
        }
        Ok(concluded)
    }

    /// Notes how many assets are here once the deletes of a complete listing are done.
    async fn measure(&self) -> Result<(), Error> {
        let (catalogue, peer) = (&self.node.catalogue, &self.settings.name);
        if let Some(audit) = catalogue.audit(peer).await? {
            let here = catalogue.live_assets_of(peer).await?;
            let mut batch = catalogue.batch().await?;
            batch.put_audit(peer, &Audit { here, ..audit }).await?;
            batch.commit().await?;
        }
        Ok(())
    }

    /// Whether the peer's own count of assets moved otherwise than ours since they were last compared: something was deleted
    /// without a trace (H-23), or never listed (H-3, H-4).
    pub(super) async fn has_drifted(&self, applied: &Applied) -> Result<bool, Error> {
        let pull = self.pull;
        let audit = self.node.catalogue.audit(&self.settings.name).await?;
        let Some(Audit {
            here: here_then,
            counted: then,
            ..
        }) = audit
        else {
            return Ok(false);
        };
        if applied.held > 0 || pull.stop.requested() {
            return Ok(false);
        }
        let Some(counted) = absence::counted(&pull.peer, pull.patience()).await else {
            return Ok(false);
        };
        // The count was not to be had when everything was listed, so that nothing could be concluded from that listing.
        let Some(then) = then else {
            return Ok(true);
        };
        let here = self
            .node
            .catalogue
            .live_assets_of(&self.settings.name)
            .await?;
        let moved = |now: u64, then: u64| i128::from(now) - i128::from(then);
        let drift = moved(counted, then) - moved(here, here_then);
        // With other peers, an asset that came from one of them may be counted by this one.
        Ok(drift < 0 || drift > 0 && pull.others.is_empty())
    }
}
