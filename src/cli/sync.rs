//! `emsync seed`, `emsync sync`, `emsync pull` and `emsync push`: between a peer and here.

mod done;

use std::sync::Arc;

use super::args::{Global, PushSome, Sync, SyncHow, SyncSome};
use super::progress::Progress;
use super::{ExitCode, plan};
use crate::config::{self, Config};
use crate::edge;
use crate::node::Node;
use crate::pipeline::{self, Options, Outcome, Ways};
use crate::pull::Cutoff;
use crate::pull::metadata::Scope;
use crate::reconcile::verify::Parity;
use crate::shutdown::Shutdown;
use done::{Done, print};

pub(super) async fn seed(
    global: &Global,
    args: &Sync,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = open(global, &args.how).await?;
    let settings = node.config.peer(&args.peer)?.clone();
    if args.how.dry_run {
        let asked = (Scope::Everything, &args.how);
        return plan::show(global, &node, (&settings, Ways::In), asked, shutdown).await;
    }
    let _lock = node
        .turn(&format!("run-{}", settings.name), shutdown)
        .await?;
    let progress = Progress::new(global);
    let options = args.how.options(Scope::Everything);
    let cutoff = Arc::clone(&options.cutoff);
    let mut outcome = run(&node, &settings, options, &progress, shutdown).await?;
    let mut parity = None;
    if outcome.error.is_none() {
        match compare(global, &node, &settings, &cutoff, shutdown).await {
            Ok(compared) => parity = Some(compared),
            Err(error) => outcome.error = Some(error),
        }
    }
    let code = print(
        global,
        &args.how,
        &settings.name,
        Done::pulled(outcome),
        parity.as_ref(),
    )?;
    node.catalogue.close().await;
    Ok(code)
}

pub(super) async fn push(
    global: &Global,
    args: PushSome,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let some = SyncSome {
        peer: args.peer,
        full: args.full,
        how: SyncHow {
            transfers: args.transfers,
            network: args.network,
            until: args.until,
            dry_run: args.dry_run,
            json: args.json,
            ..SyncHow::default()
        },
    };
    sync(global, some, Ways::Out, shutdown).await
}

/// The peers that a command without one means, or the one that it names.
fn peers_of(node: &Node, named: Option<&str>, ways: Ways) -> anyhow::Result<Vec<config::Peer>> {
    let turned_on = |settings: &config::Peer| ways != Ways::Out || settings.push;
    let Some(name) = named else {
        let enabled: Vec<config::Peer> = node.config.enabled_peers().cloned().collect();
        anyhow::ensure!(
            !enabled.is_empty(),
            super::Usage("there is no enabled peer: add one with `emsync peer add`".to_owned())
        );
        let peers: Vec<config::Peer> = enabled.into_iter().filter(turned_on).collect();
        let file = node.config.file.display();
        anyhow::ensure!(
            !peers.is_empty(),
            super::Usage(format!(
                "no enabled peer is pushed to: put `push = true` into its [[peer]] section of {file}"
            ))
        );
        return Ok(peers);
    };
    let settings = node.config.peer(name)?.clone();
    anyhow::ensure!(
        turned_on(&settings),
        super::Usage(format!(
            "nothing is pushed to {name}: put `push = true` into its section, at {}",
            settings.place()
        ))
    );
    Ok(vec![settings])
}

/// Takes paused peers out of those that a command means without naming them, and says so.
async fn leave_out_paused(node: &Node, peers: &mut Vec<config::Peer>) -> anyhow::Result<()> {
    let paused = node.catalogue.paused().await?;
    peers.retain(|peer| {
        let since = paused.get(&peer.name);
        if let Some(since) = since {
            tracing::warn!(peer = peer.name, %since, "is paused, and left out");
        }
        since.is_none()
    });
    Ok(())
}

pub(super) async fn sync(
    global: &Global,
    args: SyncSome,
    ways: Ways,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = open(global, &args.how).await?;
    let mut peers = peers_of(&node, args.peer.as_deref(), ways)?;
    if args.peer.is_none() && !args.how.dry_run {
        leave_out_paused(&node, &mut peers).await?;
    }
    let mut worst = ExitCode::Ok;
    let scope = if args.full {
        Scope::Everything
    } else {
        Scope::Changes
    };
    // Made once, so that the limits hold for all peers together.
    let options = args.how.options(scope);
    for settings in &peers {
        let synced = if args.how.dry_run {
            plan::show(
                global,
                &node,
                (settings, ways),
                (scope, &args.how),
                shutdown,
            )
            .await
        } else {
            let options = options.clone();
            let how = (options, &args.how);
            sync_one(global, &node, (settings, ways), how, shutdown).await
        };
        let code = match synced {
            // One peer that cannot be reached, or is busy, is no reason to leave the others alone.
            Err(error) if peers.len() > 1 => {
                tracing::error!(peer = settings.name, "{error:#}");
                ExitCode::of(&error)
            }
            other => other?,
        };
        worst = if code == ExitCode::Ok { worst } else { code };
        if matches!(code, ExitCode::TransferLimit | ExitCode::TimeLimit) {
            break;
        }
    }
    node.catalogue.close().await;
    Ok(worst)
}

async fn sync_one(
    global: &Global,
    node: &Node,
    (settings, ways): (&config::Peer, Ways),
    (options, how): (Options, &SyncHow),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let _lock = node
        .turn(&format!("run-{}", settings.name), shutdown)
        .await?;
    let progress = Progress::new(global);
    let monitor = progress.clone();
    let exchange = pipeline::exchange(node, (settings, ways), options, monitor, shutdown);
    let done = edge::beside(node, shutdown, exchange).await;
    progress.finish();
    let pulled = done.pulled.map(|way| way.map_err(anyhow::Error::from));
    let pushed = done.pushed.map(|way| way.map_err(anyhow::Error::from));
    let done = match (pulled, pushed) {
        // A pull that could not begin is no reason not to send, and an error all the same.
        (Some(pulled), Some(pushed)) => Done::both(pulled, pushed)?,
        (Some(one), None) => Done::pulled(one?),
        (None, Some(one)) => Done::pushed(one?),
        (None, None) => return Ok(ExitCode::Ok),
    };
    print(global, how, &settings.name, done, None)
}

impl SyncHow {
    /// What it asks of the pipeline; its limits count from now on.
    pub(super) fn options(&self, scope: Scope) -> Options {
        Options {
            scope,
            max_delete: self.max_delete,
            checksum: self.checksum,
            cutoff: Arc::new(Cutoff::new(
                self.until.max_transfer,
                self.until.max_duration,
            )),
        }
    }
}

async fn open(global: &Global, how: &SyncHow) -> anyhow::Result<Node> {
    let said = |config: &mut Config| {
        let limits = &mut config.limits;
        limits.transfers = how.transfers.map_or(limits.transfers, usize::from);
        how.network.apply(limits);
        how.narrow.apply_to_all(&mut config.peers);
    };
    super::open_changed(global, said).await
}

async fn run(
    node: &Node,
    settings: &config::Peer,
    options: Options,
    progress: &Arc<Progress>,
    shutdown: &Shutdown,
) -> anyhow::Result<Outcome> {
    let pull = pipeline::sync_peer(node, settings, options, progress.clone(), shutdown);
    let outcome = edge::beside(node, shutdown, pull).await;
    progress.finish();
    Ok(outcome?)
}

/// The comparison at the end of a seed, which ends in the seed's time, too.
async fn compare(
    global: &Global,
    node: &Node,
    settings: &config::Peer,
    cutoff: &Cutoff,
    shutdown: &Shutdown,
) -> Result<Parity, pipeline::Error> {
    let progress = Progress::new(global);
    // Dropped where it stands when its time is over: a comparison changes nothing.
    let compared = tokio::select! {
        compared = pipeline::verify_peer(node, settings, pipeline::Look::default(), &*progress, shutdown) => compared,
        over = cutoff.expired() => Err(over.into()),
    };
    progress.finish();
    compared
}
