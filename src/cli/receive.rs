//! `emsync receive …`: senders, and what waits of theirs.

use super::args::{Global, Receive};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::config::MaxDelete;
use crate::node::Node;
use crate::receive;
use crate::shutdown::Shutdown;
use crate::status::{Sender, senders};

pub(super) async fn run(
    global: &Global,
    command: Receive,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    match command {
        Receive::List(args) => {
            let node = super::open_to_look(global).await?;
            let senders = senders(&node).await?;
            if args.json {
                output::json(&senders)?;
            } else {
                for sender in &senders {
                    output::line(&line(sender))?;
                }
            }
            node.catalogue.close().await;
            Ok(ExitCode::Ok)
        }
        Receive::Apply {
            name,
            dry_run: true,
            ..
        } => {
            let node = super::open_to_look(global).await?;
            let held = known(&node, &name).await?.jobs.held;
            output::line(&format!(
                "would apply {}",
                output::counted(held, "held delete")
            ))?;
            node.catalogue.close().await;
            Ok(ExitCode::Ok)
        }
        Receive::Apply {
            name, max_delete, ..
        } => apply(global, (&name, max_delete), shutdown).await,
    }
}

async fn apply(
    global: &Global,
    (name, max_delete): (&str, Option<MaxDelete>),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    known(&node, name).await?;
    let _lock = node.lock(&format!("run-{name}"))?;
    let progress = Progress::new(global);
    let applied = receive::apply_held(&node, name, max_delete, &*progress, shutdown).await;
    progress.finish();
    let applied = applied?;
    let code = if applied.held > 0 {
        output::line(&format!(
            "{} held: more than the {} that are let go; look at them, then run with --max-delete {}",
            output::counted(applied.held, "delete"),
            output::count(applied.limit),
            applied.held
        ))?;
        ExitCode::Guard
    } else {
        output::line(&format!(
            "{} applied, {} in the trash",
            output::counted(applied.deleted, "delete"),
            output::counted(applied.files_trashed, "file")
        ))?;
        ExitCode::Ok
    };
    node.catalogue.close().await;
    Ok(code)
}

async fn known(node: &Node, name: &str) -> anyhow::Result<Sender> {
    let found = senders(node)
        .await?
        .into_iter()
        .find(|sender| sender.name == name);
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "no key {name:?} may hand changes in; `emsync receive list` names those that may"
        )
    })
}

/// One sender in a line.
pub(super) fn line(sender: &Sender) -> String {
    let jobs = &sender.jobs;
    let who = sender
        .cluster_id
        .as_deref()
        .unwrap_or("never heard of, or an EMDB");
    format!(
        "sender {} ({who}): {} awaited, {} set aside, {} held",
        sender.name,
        output::counted(jobs.open, "file"),
        output::count(jobs.quarantined),
        output::counted(jobs.held, "delete")
    )
}
