//! `emsync seed`, `emsync sync`, `emsync pull` and `emsync push`: between a peer and here.

use std::sync::Arc;

use super::args::{Global, PushSome, Sync, SyncHow, SyncSome};
use super::progress::Progress;
use super::{ExitCode, output, plan, verify};
use crate::config::{self, Limits};
use crate::error::Class;
use crate::monitor::RunReport;
use crate::node::Node;
use crate::pipeline::{self, Options, Outcome};
use crate::pull::Cutoff;
use crate::pull::metadata::Scope;
use crate::reconcile::verify::Parity;
use crate::shutdown::Shutdown;

/// What `--json` prints: the counts of design section 8, and what only some runs have.
#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    report: RunReport,
    held: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_sync: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parity: Option<&'a Parity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

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

/// Which way things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// From the peer to here.
    In,
    /// From here to the peer.
    Out,
    /// First in, then out, where the peer is pushed to.
    Both,
}

impl Ways {
    pub(super) fn pulls(self) -> bool {
        self != Self::Out
    }

    pub(super) fn pushes(self, settings: &config::Peer) -> bool {
        self == Self::Out || self == Self::Both && settings.push
    }
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

pub(super) async fn sync(
    global: &Global,
    args: SyncSome,
    ways: Ways,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = open(global, &args.how).await?;
    let peers = peers_of(&node, args.peer.as_deref(), ways)?;
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
    let pulled = match ways.pulls() {
        true => Some(run(node, settings, options.clone(), &progress, shutdown).await),
        false => None,
    };
    let is_over = match &pulled {
        Some(Ok(Outcome {
            error: Some(error), ..
        })) => ends_the_command(error),
        _ => false,
    };
    let pushed = if ways.pushes(settings) && !is_over && !shutdown.requested() {
        // What is sent again is no part of taking everything once more.
        let options = Options {
            scope: match ways {
                Ways::Out => options.scope,
                _ => Scope::Changes,
            },
            ..options
        };
        let monitor = progress.clone();
        let pushed = pipeline::push_peer(node, settings, &options, monitor, shutdown).await;
        progress.finish();
        Some(pushed.map_err(anyhow::Error::from))
    } else {
        None
    };
    let done = match (pulled, pushed) {
        // A pull that could not begin is no reason not to send, and an error all the same.
        (Some(pulled), Some(pushed)) => Done::both(pulled, pushed)?,
        (Some(one), None) => Done::pulled(one?),
        (None, Some(one)) => Done::pushed(one?),
        (None, None) => return Ok(ExitCode::Ok),
    };
    print(global, how, &settings.name, done, None)
}

/// Whether a run ended because the whole command is to end.
fn ends_the_command(error: &pipeline::Error) -> bool {
    let error = match error {
        pipeline::Error::Pull(error) => error,
        other => return other.class() == Class::Cancelled,
    };
    error.class() == Class::Cancelled
}

/// What a command did with one peer.
struct Done {
    report: RunReport,
    held: u64,
    /// Why the pull ended early, if it did.
    pull: Option<anyhow::Error>,
    /// Why the push ended early, if it did.
    push: Option<anyhow::Error>,
    has_pushed: bool,
    has_pulled: bool,
}

impl Done {
    fn pulled(outcome: Outcome) -> Self {
        Self {
            report: outcome.report,
            held: outcome.deletes.held,
            pull: outcome.error.map(anyhow::Error::new),
            push: None,
            has_pushed: false,
            has_pulled: true,
        }
    }

    fn pushed(outcome: Outcome) -> Self {
        Self {
            report: outcome.report,
            held: 0,
            pull: None,
            push: outcome.error.map(anyhow::Error::new),
            has_pushed: true,
            has_pulled: false,
        }
    }

    /// Of two that could not begin, the first says why.
    fn both(
        pulled: anyhow::Result<Outcome>,
        pushed: anyhow::Result<Outcome>,
    ) -> anyhow::Result<Self> {
        let (pulled, pushed) = match (pulled, pushed) {
            (Ok(pulled), Ok(pushed)) => (Self::pulled(pulled), Self::pushed(pushed)),
            (Ok(pulled), Err(error)) => {
                return Ok(Self {
                    push: Some(error),
                    has_pushed: true,
                    ..Self::pulled(pulled)
                });
            }
            (Err(error), Ok(pushed)) => {
                return Ok(Self {
                    pull: Some(error),
                    ..Self::pushed(pushed)
                });
            }
            (Err(error), Err(_)) => return Err(error),
        };
        Ok(Self {
            report: pulled.report.plus(pushed.report),
            push: pushed.push,
            has_pushed: true,
            ..pulled
        })
    }

    /// Both errors, each with the way it happened on where there are two ways.
    fn errors(&self) -> Option<String> {
        match (&self.pull, &self.push) {
            (Some(pull), Some(push)) => Some(format!("pull: {pull:#}; push: {push:#}")),
            (Some(error), None) if self.has_pushed => Some(format!("pull: {error:#}")),
            (None, Some(error)) if self.has_pulled => Some(format!("push: {error:#}")),
            (Some(error), None) | (None, Some(error)) => Some(format!("{error:#}")),
            (None, None) => None,
        }
    }
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
    let said = |limits: &mut Limits| {
        limits.transfers = how.transfers.map_or(limits.transfers, usize::from);
        how.network.apply(limits);
    };
    super::open_with(global, said).await
}

async fn run(
    node: &Node,
    settings: &config::Peer,
    options: Options,
    progress: &Arc<Progress>,
    shutdown: &Shutdown,
) -> anyhow::Result<Outcome> {
    let outcome = pipeline::sync_peer(node, settings, options, progress.clone(), shutdown).await;
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

/// Prints what a run did, and says how to exit: an early end first, then the guard, then what was set aside, then parity.
fn print(
    global: &Global,
    how: &SyncHow,
    peer: &str,
    done: Done,
    parity: Option<&Parity>,
) -> anyhow::Result<ExitCode> {
    let report = done.report;
    let code = match (&done.pull, &done.push) {
        (Some(error), _) | (None, Some(error)) => ExitCode::of(error),
        _ if done.held > 0 => ExitCode::Guard,
        _ if report.quarantined > 0 => ExitCode::Partial,
        _ if parity.is_some_and(|parity| !parity.in_sync) => ExitCode::Differs,
        _ => ExitCode::Ok,
    };
    let error = done.errors();
    let printed = if how.json {
        let in_sync = parity.map(|parity| parity.in_sync);
        let printed = Printed {
            peer,
            report,
            held: done.held,
            in_sync,
            parity,
            error: error.clone(),
        };
        output::json(&printed).map_err(Into::into)
    } else if !global.quiet {
        print_text(peer, &done, parity)
    } else {
        Ok(())
    };
    output::read_or_not(printed)?;
    if let Some(error) = error {
        tracing::error!(peer, "{error}");
    }
    Ok(code)
}

fn print_text(peer: &str, done: &Done, parity: Option<&Parity>) -> anyhow::Result<()> {
    let ways = match (done.has_pulled, done.has_pushed) {
        (true, false) => Ways::In,
        (false, true) => Ways::Out,
        _ => Ways::Both,
    };
    output::line(&summary(peer, &done.report, done.held, ways))?;
    parity.map_or(Ok(()), |parity| verify::print_table(peer, parity))
}

pub(super) fn summary(peer: &str, report: &RunReport, held: u64, ways: Ways) -> String {
    let mut parts = Vec::new();
    if ways.pulls() {
        parts.push(format!(
            "{}, {} ({} received)",
            output::counted(report.records, "record"),
            output::counted(report.files_written, "file"),
            output::bytes(report.bytes_received),
        ));
    }
    if ways != Ways::In {
        parts.push(format!(
            "sent {}, {} ({})",
            output::counted(report.records_sent, "record"),
            output::counted(report.files_sent, "file"),
            output::bytes(report.bytes_sent),
        ));
    }
    let mut text = format!("{peer}: {}", parts.join(", "));
    let rest = [
        (report.files_adopted, "on disk already"),
        (report.files_moved, "moved"),
        (report.files_cloned, "cloned"),
        (report.deleted, "deleted"),
        (report.refused, "refused"),
        (report.quarantined, "set aside"),
        (report.unrenderable, "unrenderable"),
    ];
    for (number, what) in rest {
        if number > 0 {
            text.push_str(&format!(", {} {what}", output::count(number)));
        }
    }
    if held > 0 {
        text.push_str(&format!(
            "; {} held by the guard: look at them, then run with --max-delete {held}",
            output::counted(held, "delete")
        ));
    }
    format!("{text}; {}", output::elapsed(report.elapsed_ms))
}
