//! One push to one peer: what was stored here goes there. It runs under the lock of the peer's runs, like a pull.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use super::{Error, Options, Outcome, paused};
use crate::catalogue::JobCounts;
use crate::config::{self, Generated};
use crate::crash::{self, Point};
use crate::model::Module;
use crate::monitor::{Monitor, RunReport, Silent};
use crate::node::{Node, snapshots};
use crate::peer::Peer;
use crate::pull::metadata::Scope;
use crate::pull::{self, Cutoff};
use crate::push::preview::{PushPreview, preview};
use crate::push::{self, Parts, Policy, Push};
use crate::reconcile::deletes::Applied;
use crate::shutdown::Shutdown;

/// Sends to a peer what was stored here since the last push; with [`Scope::Everything`], whatever it has been sent before. The
/// caller holds the lock `run-<peer>`.
///
/// # Errors
/// [`Error`] when the run could not begin; what happens later is in the [`Outcome`].
pub async fn push_peer(
    node: &Node,
    settings: &config::Peer,
    options: &Options,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Outcome, Error> {
    paused::refuse(&node.catalogue, &settings.name).await?;
    let started = std::time::Instant::now();
    let cut = Arc::new(Cut {
        cutoff: Arc::clone(&options.cutoff),
        over: Mutex::new(None),
    });
    let anew = options.scope == Scope::Everything;
    let mut push = Push::new(parts(node, settings)?, anew, monitor, shutdown.child());
    let allowance = Arc::clone(&cut);
    push.may_send = Arc::new(move |bytes| allowance.takes(bytes));
    let push = Arc::new(push);
    let run = node
        .catalogue
        .begin_run(&settings.name, "push", node.seams.clock.now())
        .await?;
    let error = tokio::select! {
        ended = push::run(&push) => ended.err().map(Error::from),
        never = cut.end_in_time(&push) => match never {},
    };
    // What was interrupted because of a limit is no cause.
    let error = error.map(|error| cut.over().map_or(error, Error::from));
    crash::point(Point::RunEnding)?;
    let left = match node.catalogue.upload_counts(Some(&settings.name)).await {
        Err(uncounted) if error.is_some() => {
            tracing::warn!(%uncounted, "what is left is not counted");
            JobCounts::default()
        }
        counts => counts?,
    };
    let report = RunReport {
        quarantined: left.quarantined,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..push.counts.report()
    };
    super::note_end(node, run, error.as_ref(), &report).await?;
    snapshots::daily(node, shutdown).await;
    Ok(Outcome {
        report,
        deletes: Applied::default(),
        error,
    })
}

/// What a push would send; asks nobody and changes nothing.
///
/// # Errors
/// [`Error`].
pub async fn preview_push(
    node: &Node,
    settings: &config::Peer,
    options: &Options,
    shutdown: &Shutdown,
) -> Result<PushPreview, Error> {
    let anew = options.scope == Scope::Everything;
    let push = Push::new(
        parts(node, settings)?,
        anew,
        Arc::new(Silent),
        shutdown.child(),
    );
    Ok(preview(&Arc::new(push)).await?)
}

fn parts(node: &Node, settings: &config::Peer) -> Result<Parts, Error> {
    let limits = node.config.limits.clone();
    let peer = Peer::new(settings, &settings.key()?, &limits, node.throttle.clone())?;
    let policy = Policy {
        originals: settings.push_originals,
        // What lies beside is not sent there: it would be written over itself.
        generated: settings.generated != Generated::Off && !settings.sidecar,
    };
    let withheld = node.config.withheld().into_iter();
    Ok(Parts {
        peer: (peer, policy),
        catalogue: node.catalogue.clone(),
        store: node.store.clone(),
        own: (node.own_towards(settings), node.config.node.catalog.clone()),
        withheld: withheld.filter_map(|name| Module::new(name).ok()).collect(),
        limits,
        presets: Arc::clone(&node.config.media.presets),
        seams: node.seams.clone(),
    })
}

/// Where the run ends although there is more to do, and whether it came to that.
struct Cut {
    cutoff: Arc<Cutoff>,
    over: Mutex<Option<pull::Error>>,
}

impl Cut {
    /// Takes so many bytes, if there are as many left.
    fn takes(&self, bytes: u64) -> bool {
        match self.cutoff.take(bytes) {
            Ok(()) => true,
            Err(over) => {
                self.set(over);
                false
            }
        }
    }

    async fn end_in_time(&self, push: &Push) -> Infallible {
        let over = tokio::select! {
            over = self.cutoff.expired() => over,
            paused = paused::wait(&push.catalogue, push.peer.name()) => paused,
        };
        self.set(over);
        push.stop.request();
        std::future::pending().await
    }

    fn set(&self, error: pull::Error) {
        let mut over = self.over.lock().expect("no panic while it is held");
        over.get_or_insert(error);
    }

    fn over(&self) -> Option<pull::Error> {
        self.over.lock().expect("no panic while it is held").take()
    }
}
