//! `emsync plan`, and `-n` of `seed` and `sync`: what a run would do, before anything moves.

use super::args::{Global, Plan, SyncHow};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::config;
use crate::node::Node;
use crate::pipeline::{self, Amount, Preview};
use crate::pull::metadata::Scope;
use crate::shutdown::Shutdown;

/// Deletes that are printed for people; JSON has more.
const PRINTED: usize = 20;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    preview: &'a Preview,
}

pub(super) async fn run(
    global: &Global,
    args: &Plan,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open_with(global, |limits| args.network.apply(limits)).await?;
    let settings = node.config.peer(&args.peer)?.clone();
    let scope = if args.full {
        Scope::Everything
    } else {
        Scope::Changes
    };
    let how = SyncHow {
        max_delete: args.max_delete,
        checksum: args.checksum,
        dry_run: true,
        json: args.json,
        ..SyncHow::default()
    };
    let code = show(global, &node, &settings, (scope, &how), shutdown).await?;
    node.catalogue.close().await;
    Ok(code)
}

/// Prints what a run with these settings would do; exit code 25 when the guard would hold its deletes.
pub(super) async fn show(
    global: &Global,
    node: &Node,
    settings: &config::Peer,
    (scope, how): (Scope, &SyncHow),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(global);
    let options = how.options(scope);
    let preview = pipeline::preview_peer(node, settings, options, progress.clone(), shutdown).await;
    progress.finish();
    let preview = preview?;
    output::read_or_not(if how.json {
        let printed = Printed {
            peer: &settings.name,
            preview: &preview,
        };
        output::json(&printed).map_err(Into::into)
    } else {
        print(&settings.name, &preview)
    })?;
    Ok(if preview.held {
        ExitCode::Guard
    } else {
        ExitCode::Ok
    })
}

fn print(peer: &str, preview: &Preview) -> anyhow::Result<()> {
    let listed = if preview.everything {
        "everything"
    } else {
        "what changed"
    };
    output::line(&format!(
        "{peer}: a sync would do this (listed {listed}; nothing was changed)"
    ))?;
    let row = |name: &str, text: String| output::line(&format!("  {name:<24} {text}"));
    row("records to store", output::count(preview.records))?;
    let amounts: [(&str, Amount); 5] = [
        ("originals to fetch", preview.originals),
        ("generated to fetch", preview.generated),
        ("on disk already", preview.adopted),
        ("to move", preview.moved),
        ("to clone", preview.cloned),
    ];
    for (name, amount) in amounts {
        row(
            name,
            format!(
                "{} ({})",
                output::counted(amount.files, "file"),
                output::bytes(amount.bytes)
            ),
        )?;
    }
    row(
        "renditions to make",
        output::counted(preview.renditions, "asset"),
    )?;
    row(
        "former names to remove",
        output::counted(preview.removals, "file"),
    )?;
    let verdict = if preview.held {
        format!(
            ", held: the guard allows {}; --max-delete {} lets them go",
            preview.delete_limit, preview.deletes
        )
    } else {
        String::new()
    };
    row(
        "deletes",
        format!("{}{verdict}", output::count(preview.deletes)),
    )?;
    for item in preview.delete_items.iter().take(PRINTED) {
        output::line(&format!("    {item}"))?;
    }
    let more = preview.delete_items.len().saturating_sub(PRINTED);
    if more > 0 {
        output::line(&format!(
            "    … and more; --json names the first {}",
            preview.delete_items.len()
        ))?;
    }
    if preview.newly_absent > 0 {
        row(
            "missing for the first time",
            format!(
                "{} (they go when the next complete listing lacks them too)",
                output::counted(preview.newly_absent, "record")
            ),
        )?;
    }
    if preview.quarantined > 0 {
        row(
            "set aside",
            format!("{} (tried again)", output::count(preview.quarantined)),
        )?;
    }
    Ok(())
}
