//! One run over one peer: builds the channels, starts the stages, shuts them down in order.
//!
//! ```text
//! lanes small, large ─┐
//! media lane ─────────┼─▶ items (bounded) ─▶ publisher ─▶ store, catalogue
//! metadata pass, here │
//!
//! listing done ─▶ lanes end when nothing is left ─▶ media lane ends when nothing is left ─▶ last sender gone: publisher ends
//! then, of a complete listing, the audit; deletes and removals; and once more the lanes for what had to wait for a removal
//! a peer that counts otherwise than its changes add up to is listed whole; last, the trash past its days goes
//! ```
//!
//! The run lock of the peer is held by the caller, so every lease of this peer that is still out belongs to a dead run.

mod renditions;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::catalogue::{Audit, Lane};
use crate::config::{self, Generated, MaxDelete};
use crate::error::Class;
use crate::monitor::{Counter, Monitor, Phase, RunReport};
use crate::node::Node;
use crate::peer::{Patience, Peer};
use crate::pull::metadata::{self, Scope};
use crate::pull::publisher::Item;
use crate::pull::{self, OtherPeer, Policy, Pull, pool, publisher};
use crate::reconcile::absence::{Audited, Auditor, Complete};
use crate::reconcile::deletes::{self, Applied, Deletes};
use crate::reconcile::guard;
use crate::reconcile::verify::{self, Depth, Parity, Verify};
use crate::shutdown::Shutdown;
use crate::{catalogue, peer, store, trash};

/// How long a partial waits to be resumed. That of a version which was replaced meanwhile is never asked for again.
const PARTIALS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What can go wrong with a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Pulling failed.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// Deleting failed.
    #[error(transparent)]
    Deletes(#[from] deletes::Error),
    /// Comparing failed.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The regenerator does not start.
    #[error("renditions")]
    Media(#[from] crate::media::Error),
    /// The peer's key cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The node failed.
    #[error(transparent)]
    Node(#[from] crate::node::Error),
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Pull(error) => error.class(),
            Self::Deletes(error) => error.class(),
            Self::Verify(error) => error.class(),
            Self::Media(error) => error.class(),
            Self::Config(error) => error.class(),
            Self::Node(error) => error.class(),
        }
    }
}

impl From<catalogue::Error> for Error {
    fn from(error: catalogue::Error) -> Self {
        Self::Pull(error.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Pull(error.into())
    }
}

impl From<peer::Error> for Error {
    fn from(error: peer::Error) -> Self {
        Self::Pull(error.into())
    }
}

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Everything, or what changed.
    pub scope: Scope,
    /// What a person said about the delete guard.
    pub max_delete: Option<MaxDelete>,
}

/// What a run did. A run that ended early did something, too.
#[derive(Debug)]
pub struct Outcome {
    /// Its counts.
    pub report: RunReport,
    /// What became of the deletes.
    pub deletes: Applied,
    /// Why it ended early, if it did.
    pub error: Option<Error>,
}

/// Pulls from a peer. The caller holds the lock `run-<peer>`.
///
/// # Errors
/// [`Error`] when the run could not begin; what happens later is in the [`Outcome`].
pub async fn sync_peer(
    node: &Node,
    settings: &config::Peer,
    options: Options,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Outcome, Error> {
    let started = std::time::Instant::now();
    let mut pull = prepare(node, settings, monitor, shutdown)?;
    pull.others = other_peers(node, settings).await?;
    let pull = Arc::new(pull);
    let activity = if options.scope == Scope::Everything {
        "seed"
    } else {
        "sync"
    };
    let run = node
        .catalogue
        .begin_run(&settings.name, activity, node.seams.clock.now())
        .await?;
    let mut applied = Applied::default();
    let error = passes(node, &pull, settings, options, &mut applied)
        .await
        .err();
    let counts = node.catalogue.job_counts(Some(&settings.name)).await?;
    let report = RunReport {
        deleted: applied.deleted,
        quarantined: counts.quarantined,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..pull.counts.report()
    };
    let outcome = error
        .as_ref()
        .map_or_else(|| "ok".to_owned(), ToString::to_string);
    let text = serde_json::to_string(&report).unwrap_or_default();
    node.catalogue
        .end_run(run, &outcome, &text, node.seams.clock.now())
        .await?;
    Ok(Outcome {
        report,
        deletes: applied,
        error,
    })
}

/// Compares this node with a peer.
///
/// # Errors
/// [`Error`]; then nothing is known.
pub async fn verify_peer(
    node: &Node,
    settings: &config::Peer,
    checksum: bool,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Parity, Error> {
    let limits = &node.config.limits;
    let peer = Peer::new(settings, &settings.key()?, limits)?;
    let verify = Verify {
        peer: &peer,
        own: &node.config.node.cluster_id,
        catalogue: &node.catalogue,
        store: &node.store,
        state: &node.config.state,
        patience: Patience {
            policy: crate::retry::Policy::of(limits),
            seams: &node.seams,
            stop: shutdown,
        },
        monitor,
    };
    let depth = Depth {
        originals: settings.pull_originals,
        generated: settings.generated,
        checksum,
    };
    Ok(verify.run(depth).await?)
}

fn prepare(
    node: &Node,
    settings: &config::Peer,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Pull, Error> {
    let limits = node.config.limits.clone();
    let peer = Peer::new(settings, &settings.key()?, &limits)?;
    let policy = Policy {
        originals: settings.pull_originals,
        generated: settings.generated,
    };
    let staging = node.store.staging(&format!("pull-{}", settings.name))?;
    staging.sweep()?;
    staging.sweep_partials(PARTIALS_KEPT, node.seams.clock.now())?;
    Ok(Pull::new(
        (peer, policy),
        node.catalogue.clone(),
        (node.store.clone(), staging),
        node.config.node.cluster_id.clone(),
        limits,
        node.seams.clone(),
        monitor,
        shutdown.child(),
    ))
}

async fn other_peers(
    node: &Node,
    settings: &config::Peer,
) -> Result<Vec<OtherPeer>, catalogue::Error> {
    let mut others = Vec::new();
    for peer in &node.config.peers {
        if peer.name != settings.name && peer.enabled {
            let said = node.catalogue.peer_node(&peer.name).await?;
            others.push(OtherPeer {
                name: peer.name.clone(),
                cluster_id: (peer.cluster_id.clone()).or(said.map(|said| said.cluster_id)),
            });
        }
    }
    Ok(others)
}

async fn passes(
    node: &Node,
    pull: &Arc<Pull>,
    settings: &config::Peer,
    options: Options,
    applied: &mut Applied,
) -> Result<(), Error> {
    let open = node.catalogue.job_counts(Some(&settings.name)).await?;
    pull.monitor.expect(Counter::Files, open.open);
    pull.monitor.expect(Counter::Bytes, open.open_bytes);
    again(pull, settings).await?;
    let round = Round {
        node,
        pull,
        settings,
        max_delete: options.max_delete,
    };
    let scope = round.scope(options.scope).await?;
    round.run(scope, applied).await?;
    if scope == Scope::Changes && round.has_drifted(applied).await? {
        // Somebody may just have been at work there, so the change window is looked at once more before everything is.
        round.run(Scope::Changes, applied).await?;
        if round.has_drifted(applied).await? {
            tracing::warn!(
                peer = settings.name,
                "the peer's count of assets is not what its changes add up to: listing everything"
            );
            round.run(Scope::Everything, applied).await?;
        }
    }
    let (days, now) = (pull.limits.trash_days, pull.seams.clock.now());
    trash::expire(&node.store, &node.catalogue, days, now)
        .await
        .map_err(pull::Error::from)?;
    Ok(())
}

/// One listing with all that follows from it.
struct Round<'a> {
    node: &'a Node,
    pull: &'a Arc<Pull>,
    settings: &'a config::Peer,
    max_delete: Option<MaxDelete>,
}

impl Round<'_> {
    /// What to list: everything where that is due, because it is long ago, or because the last time something was missing.
    async fn scope(&self, asked: Scope) -> Result<Scope, Error> {
        let catalogue = &self.node.catalogue;
        let Some(audit) = catalogue.audit(&self.settings.name).await? else {
            return Ok(Scope::Everything);
        };
        let age = self.pull.seams.clock.now().since(audit.tried_at);
        let was_believed = audit.listed_at == Some(audit.tried_at);
        let is_due = age >= self.pull.limits.full_listing
            || was_believed && catalogue.noted_absent(&self.settings.name).await? > 0;
        Ok(if is_due { Scope::Everything } else { asked })
    }

    /// Lists, fetches, audits, deletes.
    async fn run(&self, scope: Scope, applied: &mut Applied) -> Result<(), Error> {
        let pull = self.pull;
        pull.removals_ahead();
        let stages = Stages::start(self.node, pull)?;
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
        pull.monitor.phase(Phase::Reconcile);
        if let Some(started_at) = done.complete {
            self.audit(Complete {
                started_at,
                unkeyed: done.unkeyed,
            })
            .await?;
        }
        let said = (self.max_delete.or(self.settings.max_delete)).or(pull.limits.max_delete);
        let deletes = Deletes {
            peer: &self.settings.name,
            own: &pull.own,
            catalogue: &pull.catalogue,
            store: &pull.store,
            seams: &pull.seams,
            monitor: &*pull.monitor,
            master: Some((&pull.peer, pull.patience())),
        };
        let limit = guard::limit(done.live_before, said);
        applied.add(deletes.apply(limit, &pull.stop).await?);
        if done.complete.is_some() {
            self.measure().await?;
        }
        if pull.removals_done() > 0 && again(pull, self.settings).await? > 0 {
            // A file that stood where a folder is needed, or the reverse, is out of the way now.
            Stages::start(self.node, pull)?.finish(pull).await?;
        }
        Ok(())
    }

    async fn audit(&self, complete: Complete) -> Result<Audited, Error> {
        let pull = self.pull;
        let auditor = Auditor {
            peer: &self.settings.name,
            own: &pull.own,
            catalogue: &pull.catalogue,
            monitor: &*pull.monitor,
            is_told: self.max_delete.is_some(),
        };
        let now = pull.seams.clock.now();
        Ok(auditor
            .run(&pull.peer, pull.patience(), complete, now)
            .await?)
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
    async fn has_drifted(&self, applied: &Applied) -> Result<bool, Error> {
        let pull = self.pull;
        let audit = self.node.catalogue.audit(&self.settings.name).await?;
        let Some(Audit {
            here: here_then,
            counted: Some(then),
            ..
        }) = audit
        else {
            return Ok(false);
        };
        if applied.held > 0 || pull.stop.requested() {
            return Ok(false);
        }
        let counted = pull
            .peer
            .patiently(pull.patience(), &mut (), async |peer, ()| {
                peer.live_assets().await
            })
            .await;
        let Ok(Some(counted)) = counted else {
            return Ok(false);
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

/// Takes back what a dead run had claimed, and gives what was set aside another try; answers how much that is.
async fn again(pull: &Pull, settings: &config::Peer) -> Result<u64, Error> {
    let mut batch = pull.catalogue.batch().await?;
    batch.take_back_leases(&settings.name).await?;
    let revived = batch
        .try_again(&settings.name, pull.limits.attempts, pull.seams.clock.now())
        .await?;
    batch.commit().await?;
    Ok(revived)
}

/// The running stages and the words that end them.
struct Stages {
    lanes: [JoinHandle<Result<(), pull::Error>>; 2],
    media: JoinHandle<Result<(), pull::Error>>,
    publisher: JoinHandle<Result<(), pull::Error>>,
    listing_done: watch::Sender<bool>,
    files_done: watch::Sender<bool>,
    items: mpsc::Sender<Item>,
}

impl Stages {
    fn start(node: &Node, pull: &Arc<Pull>) -> Result<Self, Error> {
        pull.monitor.phase(Phase::Files);
        let (items, queue) = mpsc::channel(pull.limits.publish_batch);
        let (listing_done, listing) = watch::channel(false);
        let (files_done, files) = watch::channel(false);
        let renders = matches!(pull.policy.generated, Generated::Auto | Generated::Rebuild);
        let media = renditions::Settings {
            threads: node.config.media.thumb_threads,
            depth: pull.limits.handoff_depth,
            max_pixels: node.config.media.max_pixels,
        };
        let lane = |lane: Lane, width: usize| {
            let lane = pool::LaneOf {
                lane,
                width,
                upstream_done: listing.clone(),
                items: items.clone(),
            };
            tokio::spawn(or_stop(pull.clone(), pool::run(pull.clone(), lane)))
        };
        let lanes = [
            lane(Lane::Small, pull.limits.transfers),
            lane(Lane::Large, (pull.limits.transfers / 4).max(1)),
        ];
        let media = if renders {
            let media = renditions::run(pull.clone(), media, files, items.clone())?;
            tokio::spawn(or_stop(pull.clone(), media))
        } else {
            tokio::spawn(std::future::ready(Ok(())))
        };
        let publisher = tokio::spawn(publisher::run(pull.clone(), queue));
        Ok(Self {
            lanes,
            media,
            publisher,
            listing_done,
            files_done,
            items,
        })
    }

    /// Lets every stage end in order; the first cause of an early end is the error.
    async fn finish(self, pull: &Pull) -> Result<(), Error> {
        self.listing_done.send_replace(true);
        let mut results = Vec::new();
        for lane in self.lanes {
            results.push(joined(lane).await);
        }
        self.files_done.send_replace(true);
        results.push(joined(self.media).await);
        drop(self.items);
        results.push(joined(self.publisher).await);
        if let Some(cause) = pull.failure() {
            return Err(cause.into());
        }
        results.into_iter().collect::<Result<(), _>>()?;
        if pull.stop.requested() {
            Err(pull::Error::Cancelled.into())
        } else {
            Ok(())
        }
    }
}

/// Without one of its stages a pass would list on and leave the work undone; it ends, and the next run goes on.
async fn or_stop(
    pull: Arc<Pull>,
    stage: impl Future<Output = Result<(), pull::Error>>,
) -> Result<(), pull::Error> {
    let result = stage.await;
    if result.is_err() {
        pull.stop.request();
    }
    result
}

async fn joined(stage: JoinHandle<Result<(), pull::Error>>) -> Result<(), pull::Error> {
    stage.await.unwrap_or(Err(pull::Error::Worker))
}
