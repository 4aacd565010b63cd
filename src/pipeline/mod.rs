//! One run over one peer: builds the channels, starts the stages, shuts them down in order. The other way is `push`.
//!
//! ```text
//! lanes small, large ─┐
//! media lane ─────────┼─▶ items (bounded) ─▶ publisher ─▶ store, catalogue
//! metadata pass, here │
//!
//! listing done ─▶ lanes end when nothing is left ─▶ media lane ends when nothing is left ─▶ last sender gone: publisher ends
//! then, of a complete listing, the audit; deletes and removals; and once more the lanes for what had to wait for a removal
//! a listing of everything that is due is not taken where digests tell that it would say nothing new
//! a peer that counts otherwise than its changes add up to is listed whole; last, the trash past its days goes
//! ```
//!
//! The run lock of the peer is held by the caller, so every lease of this peer that is still out belongs to a dead run.

mod back;
mod exchange;
mod heal;
mod outside;
mod paused;
mod preview;
mod push;
mod renditions;
mod round;
mod stages;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

pub use back::{Brought, StaysAway, away, bring_back};
pub use exchange::{Exchange, Ways, exchange, is_unheard, summary};
pub use heal::{Unhealed, fetch_again};
pub use outside::{Outside, outside, prune};
pub use preview::{Amount, Preview, preview_peer};
pub use push::{preview_push, push_peer};

use crate::catalogue::{Catalogue, JobCounts};
use crate::config::{self, MaxDelete};
use crate::crash::{self, Point};
use crate::error::Class;
use crate::monitor::{Counter, Monitor, RunReport};
use crate::node::{Node, snapshots};
use crate::peer::{Patience, Peer};
use crate::pull::metadata::Scope;
use crate::pull::{self, Cutoff, OtherPeer, Policy, Pull};
use crate::reconcile::deletes::{self, Applied};
use crate::reconcile::verify::{self, Depth, Parity, Verify};
use crate::shutdown::Shutdown;
use crate::{catalogue, peer, store, trash};
use round::{Round, due_scope};

/// How long a partial waits to be resumed. That of a version which was replaced meanwhile is never asked for again.
const PARTIALS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What can go wrong with a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Pulling failed.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// Pushing failed.
    #[error(transparent)]
    Push(#[from] crate::push::Error),
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
            Self::Push(error) => error.class(),
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

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Pull(store::Error::from(reached).into())
    }
}

impl From<peer::Error> for Error {
    fn from(error: peer::Error) -> Self {
        Self::Pull(error.into())
    }
}

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything, or what changed.
    pub scope: Scope,
    /// What a person said about the delete guard.
    pub max_delete: Option<MaxDelete>,
    /// Whether the files that are here are read and hashed first.
    pub checksum: bool,
    /// When to end although there is more to do.
    pub cutoff: Arc<Cutoff>,
}

impl Options {
    /// A run as the configuration has it.
    #[must_use]
    pub fn of(scope: Scope) -> Self {
        Self {
            scope,
            max_delete: None,
            checksum: false,
            cutoff: Arc::default(),
        }
    }
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
    paused::refuse(&node.catalogue, &settings.name).await?;
    let started = std::time::Instant::now();
    let mut pull = prepare(node, settings, monitor, shutdown).await?;
    pull.cutoff = Arc::clone(&options.cutoff);
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
    let error = tokio::select! {
        ended = passes(node, &pull, settings, &options, &mut applied) => ended.err(),
        never = end_in_time(&pull, &settings.name) => match never {},
    };
    let error = error.map(|error| because(&pull, error));
    crash::point(Point::RunEnding)?;
    let counts = match node.catalogue.job_counts(Some(&settings.name)).await {
        Err(uncounted) if error.is_some() => {
            tracing::warn!(%uncounted, "what is left is not counted");
            JobCounts::default()
        }
        counts => counts?,
    };
    let report = RunReport {
        deleted: applied.deleted,
        quarantined: counts.quarantined,
        transfers: pull.transfers(),
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..pull.counts.report()
    };
    note_end(node, run, error.as_ref(), &report).await?;
    snapshots::daily(node, shutdown).await;
    Ok(Outcome {
        report,
        deletes: applied,
        error,
    })
}

/// Notes how a run ended.
async fn note_end(
    node: &Node,
    run: i64,
    error: Option<&Error>,
    report: &RunReport,
) -> Result<(), Error> {
    let outcome = error.map_or_else(|| "ok".to_owned(), ToString::to_string);
    let text = serde_json::to_string(report).unwrap_or_default();
    let ended = node
        .catalogue
        .end_run(run, &outcome, &text, node.seams.clock.now())
        .await;
    match ended {
        // What ended the run is what a person has to know, not that it could not be written down.
        Err(unnoted) if error.is_some() => tracing::warn!(%unnoted, "the run's end is not noted"),
        ended => ended?,
    }
    Ok(())
}

/// How closely this node is compared with a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether our files are read and hashed again.
    pub checksum: bool,
    /// Whether the peer lists everything, even where its digests would tell what is equal.
    pub in_full: bool,
}

/// Compares this node with a peer.
///
/// # Errors
/// [`Error`]; then nothing is known.
pub async fn verify_peer(
    node: &Node,
    settings: &config::Peer,
    look: Look,
    monitor: &dyn Monitor,
    shutdown: &Shutdown,
) -> Result<Parity, Error> {
    let limits = &node.config.limits;
    let peer = Peer::new(settings, &settings.key()?, limits, node.throttle.clone())?;
    let selection = node.catalogue.select(&settings.filter).await;
    let selection = selection.map_err(verify::Error::from)?;
    let verify = Verify {
        peer: &peer,
        own: &node.own_towards(settings),
        catalogue: &node.catalogue,
        store: &node.store,
        state: &node.config.state,
        selection: &selection,
        patience: Patience {
            policy: crate::retry::Policy::of(limits),
            seams: &node.seams,
            stop: shutdown,
        },
        monitor,
        as_of: node.seams.clock.now(),
    };
    let depth = Depth {
        originals: settings.pull_originals,
        generated: settings.generated,
        checksum: look.checksum,
        in_full: look.in_full,
    };
    Ok(verify.run(depth).await?)
}

/// This node, for a comparison that needs nobody else.
#[must_use]
pub fn here<'a>(node: &'a Node, monitor: &'a dyn Monitor, stop: &'a Shutdown) -> verify::Here<'a> {
    verify::Here {
        catalogue: &node.catalogue,
        store: &node.store,
        monitor,
        stop,
        as_of: node.seams.clock.now(),
    }
}

async fn prepare(
    node: &Node,
    settings: &config::Peer,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Pull, Error> {
    let activity = format!("pull-{}", settings.name);
    let into = (&node.catalogue, activity.as_str());
    let pull = pull_with(node, settings, into, monitor, shutdown).await?;
    pull.staging.sweep()?;
    pull.staging
        .sweep_partials(PARTIALS_KEPT, node.seams.clock.now())?;
    Ok(pull)
}

/// A pull from a peer of this node, into a catalogue that may be a copy of its own.
pub(crate) async fn pull_with(
    node: &Node,
    settings: &config::Peer,
    (catalogue, activity): (&Catalogue, &str),
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Pull, Error> {
    let limits = node.config.limits.clone();
    let peer = Peer::new(settings, &settings.key()?, &limits, node.throttle.clone())?;
    let policy = Policy {
        originals: settings.pull_originals,
        generated: settings.generated,
    };
    let staging = node.store.staging(activity)?;
    let mut pull = Pull::new(
        (peer, policy),
        catalogue.clone(),
        (node.store.clone(), staging),
        node.own_towards(settings),
        (limits, Arc::clone(&node.config.media.presets)),
        node.seams.clone(),
        monitor,
        shutdown.child(),
    );
    pull.narrow_to(&settings.filter).await?;
    pull.others = other_peers(node, &settings.name).await?;
    pull.is_owner = node.sidecar().is_none();
    pull.transfers_at_once = node.at_once.transfers.clone();
    Ok(pull)
}

/// The enabled peers of this node, and those who hand in here, but the one of this name.
pub(crate) async fn other_peers(
    node: &Node,
    name: &str,
) -> Result<Vec<OtherPeer>, catalogue::Error> {
    let mut others = Vec::new();
    for peer in &node.config.peers {
        if peer.name != name && peer.enabled {
            let said = node.catalogue.peer_node(&peer.name).await?;
            others.push(OtherPeer {
                name: peer.name.clone(),
                cluster_id: (peer.cluster_id.clone()).or(said.map(|said| said.cluster_id)),
            });
        }
    }
    // Who hands in is the one to ask about what came so, although nothing is pulled from there.
    for key in node.catalogue.keys().await? {
        let is_known = others.iter().any(|other| other.name == key.name);
        if key.scope == catalogue::Scope::Write && key.name != name && !is_known {
            others.push(OtherPeer {
                name: key.name,
                cluster_id: None,
            });
        }
    }
    Ok(others)
}

async fn passes(
    node: &Node,
    pull: &Arc<Pull>,
    settings: &config::Peer,
    options: &Options,
    applied: &mut Applied,
) -> Result<(), Error> {
    let scope = due_scope(pull, options.scope).await?;
    find_damage(pull, (scope, options.checksum), false).await?;
    let open = node.catalogue.job_counts(Some(&settings.name)).await?;
    pull.monitor.expect(Counter::Files, open.open);
    pull.monitor.expect(Counter::Bytes, open.open_bytes);
    again(pull, settings, pull.limits.attempts.saturating_sub(1)).await?;
    let round = Round {
        node,
        pull,
        settings,
        max_delete: options.max_delete,
    };
    let is_due = scope != options.scope;
    if !(is_due && round.is_equal_after_changes(applied).await?) {
        round.run(scope, applied).await?;
    }
    if pull.learn_names().await? {
        // What was listed before the names were known was not asked for.
        round.run(Scope::Everything, applied).await?;
    }
    let unknown = &pull.selection().unknown;
    if !unknown.is_empty() {
        return Err(pull::Error::UnknownNames {
            peer: settings.name.clone(),
            names: unknown.join(", "),
        }
        .into());
    }
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
    let (retention, now) = (node.config.retention, pull.seams.clock.now());
    trash::expire(&node.store, &node.catalogue, retention, now)
        .await
        .map_err(pull::Error::from)?;
    Ok(())
}

/// Ends the run when its time is over or its peer is paused; the passes then come to their end by themselves.
async fn end_in_time(pull: &Pull, peer: &str) -> Infallible {
    let over = tokio::select! {
        over = pull.cutoff.expired() => over,
        paused = paused::wait(&pull.catalogue, peer) => paused,
    };
    pull.fail(over);
    std::future::pending().await
}

/// Why a run ended: what was interrupted because of something is no cause.
fn because(pull: &Pull, error: Error) -> Error {
    match error.class() {
        Class::Cancelled => pull.failure().map_or(error, Error::from),
        _ => error,
    }
}

/// Wishes for what is not on disk as its row says. Where everything is listed, everything is looked at before; a run that asks
/// for changes only goes by what was found before, unless it is to hash what is here.
async fn find_damage(
    pull: &Pull,
    (scope, checksum): (Scope, bool),
    dry: bool,
) -> Result<(), Error> {
    if scope == Scope::Everything || checksum {
        let here = verify::Here {
            catalogue: &pull.catalogue,
            store: &pull.store,
            monitor: &*pull.monitor,
            stop: &pull.stop,
            as_of: pull.seams.clock.now(),
        };
        let damaged = verify::look(&here, checksum, dry).await?;
        if damaged > 0 {
            tracing::warn!(
                files = damaged,
                "not on disk as the catalogue says; what came from this peer is fetched again"
            );
        }
    }
    pull::damage::wish(pull).await?;
    Ok(())
}

/// Takes back what a dead run had claimed, and gives what was set aside another try, as if it had failed so many times; answers how
/// much that is.
async fn again(pull: &Pull, settings: &config::Peer, failed: u32) -> Result<u64, Error> {
    let mut batch = pull.catalogue.batch().await?;
    batch
        .take_back_leases(&settings.name, pull.seams.clock.now())
        .await?;
    let revived = batch
        .try_again(&settings.name, failed, pull.seams.clock.now())
        .await?;
    batch.commit().await?;
    crash::point(Point::LeasesTaken)?;
    Ok(revived)
}
