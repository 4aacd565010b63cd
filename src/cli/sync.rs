//! `emsync seed` and `emsync sync`: from a peer to here.

use std::sync::Arc;

use super::args::{Global, Sync, SyncHow, SyncSome};
use super::progress::Progress;
use super::{ExitCode, output, plan, verify};
use crate::config::{self, Limits};
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
        return plan::show(global, &node, &settings, asked, shutdown).await;
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
    let code = print(global, &args.how, &settings.name, outcome, parity.as_ref())?;
    node.catalogue.close().await;
    Ok(code)
}

pub(super) async fn sync(
    global: &Global,
    args: &SyncSome,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = open(global, &args.how).await?;
    let peers: Vec<config::Peer> = match &args.peer {
        Some(name) => vec![node.config.peer(name)?.clone()],
        None => node.config.enabled_peers().cloned().collect(),
    };
    anyhow::ensure!(
        !peers.is_empty(),
        super::Usage("there is no enabled peer: add one with `emsync peer add`".to_owned())
    );
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
            plan::show(global, &node, settings, (scope, &args.how), shutdown).await
        } else {
            let options = options.clone();
            sync_one(global, &node, settings, (options, &args.how), shutdown).await
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
    settings: &config::Peer,
    (options, how): (Options, &SyncHow),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let _lock = node
        .turn(&format!("run-{}", settings.name), shutdown)
        .await?;
    let progress = Progress::new(global);
    let outcome = run(node, settings, options, &progress, shutdown).await?;
    print(global, how, &settings.name, outcome, None)
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
    outcome: Outcome,
    parity: Option<&Parity>,
) -> anyhow::Result<ExitCode> {
    let Outcome {
        report,
        deletes,
        error,
    } = outcome;
    let error = error.map(anyhow::Error::new);
    let code = match &error {
        Some(error) => ExitCode::of(error),
        None if deletes.held > 0 => ExitCode::Guard,
        None if report.quarantined > 0 => ExitCode::Partial,
        None if parity.is_some_and(|parity| !parity.in_sync) => ExitCode::Differs,
        None => ExitCode::Ok,
    };
    let printed = if how.json {
        let error = error.as_ref().map(|error| format!("{error:#}"));
        let in_sync = parity.map(|parity| parity.in_sync);
        let printed = Printed {
            peer,
            report,
            held: deletes.held,
            in_sync,
            parity,
            error,
        };
        output::json(&printed).map_err(Into::into)
    } else if !global.quiet {
        print_text(peer, &report, deletes.held, parity)
    } else {
        Ok(())
    };
    output::read_or_not(printed)?;
    if let Some(error) = error {
        tracing::error!(peer, "{error:#}");
    }
    Ok(code)
}

fn print_text(
    peer: &str,
    report: &RunReport,
    held: u64,
    parity: Option<&Parity>,
) -> anyhow::Result<()> {
    output::line(&summary(peer, report, held))?;
    parity.map_or(Ok(()), |parity| verify::print_table(peer, parity))
}

pub(super) fn summary(peer: &str, report: &RunReport, held: u64) -> String {
    let mut text = format!(
        "{peer}: {}, {} ({} received)",
        output::counted(report.records, "record"),
        output::counted(report.files_written, "file"),
        output::bytes(report.bytes_received),
    );
    let rest = [
        (report.files_adopted, "on disk already"),
        (report.files_moved, "moved"),
        (report.files_cloned, "cloned"),
        (report.deleted, "deleted"),
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
