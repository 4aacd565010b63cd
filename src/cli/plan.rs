//! `emsync plan`, and `-n` of `seed`, `sync`, `pull` and `push`: what a run would do, before anything moves.

use super::args::{Global, Plan, SyncHow};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::config;
use crate::node::Node;
use crate::pipeline::Ways;
use crate::pipeline::{self, Amount, Options, Preview};
use crate::pull::metadata::Scope;
use crate::push::preview::PushPreview;
use crate::shutdown::Shutdown;

/// Deletes that are printed for people; JSON has more.
const PRINTED: usize = 20;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    preview: Option<&'a Preview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<PushPreview>,
}

pub(super) async fn run(
    global: &Global,
    args: &Plan,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open_changed(global, |config| {
        args.network.apply(&mut config.limits);
        args.narrow.apply_to_all(&mut config.peers);
    });
    let node = node.await?;
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
    let ways = (&settings, Ways::Both);
    let code = show(global, &node, ways, (scope, &how), shutdown).await?;
    node.catalogue.close().await;
    Ok(code)
}

/// Prints what a run with these settings would do; exit code 25 when the guard would hold its deletes.
pub(super) async fn show(
    global: &Global,
    node: &Node,
    (settings, ways): (&config::Peer, Ways),
    (scope, how): (Scope, &SyncHow),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(global);
    let options = how.options(scope);
    let preview = match ways.pulls() {
        true => {
            let (options, monitor) = (options.clone(), progress.clone());
            Some(pipeline::preview_peer(node, settings, options, monitor, shutdown).await)
        }
        false => None,
    };
    progress.finish();
    let preview = preview.transpose()?;
    let push = match ways.pushes(settings) {
        true => {
            let scope = match ways {
                Ways::Out => scope,
                _ => Scope::Changes,
            };
            let options = Options { scope, ..options };
            Some(pipeline::preview_push(node, settings, &options, shutdown).await?)
        }
        false => None,
    };
    let peer = settings.name.as_str();
    output::read_or_not(if how.json {
        let printed = Printed {
            peer,
            preview: preview.as_ref(),
            push,
        };
        output::json(&printed).map_err(Into::into)
    } else {
        let printed = preview.as_ref().map(|preview| print(peer, preview));
        printed
            .transpose()
            .and_then(|_| push.map(|push| print_push(peer, &push)).transpose())
            .map(drop)
    })?;
    Ok(if preview.is_some_and(|preview| preview.held) {
        ExitCode::Guard
    } else {
        ExitCode::Ok
    })
}

fn row(name: &str, text: &str) -> Result<(), output::Error> {
    output::line(&format!("  {name:<24} {text}"))
}

fn amount(files: u64, bytes: u64) -> String {
    format!(
        "{} ({})",
        output::counted(files, "file"),
        output::bytes(bytes)
    )
}

fn print_push(peer: &str, push: &PushPreview) -> anyhow::Result<()> {
    output::line(&format!(
        "{peer}: a push would send this (the files only where the peer lacks them; nobody was asked)"
    ))?;
    row("records to send", &output::count(push.records))?;
    let originals = amount(push.originals, push.originals_bytes);
    row("originals to offer", &originals)?;
    let generated = amount(push.generated, push.generated_bytes);
    row("generated to offer", &generated)?;
    if push.waiting > 0 {
        row(
            "waiting to be sent",
            &amount(push.waiting, push.waiting_bytes),
        )?;
    }
    if push.quarantined > 0 {
        let tried = format!("{} (tried again)", output::count(push.quarantined));
        row("set aside", &tried)?;
    }
    Ok(())
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
    let row = |name: &str, text: String| row(name, &text);
    row("records to store", output::count(preview.records))?;
    let amounts: [(&str, Amount); 5] = [
        ("originals to fetch", preview.originals),
        ("generated to fetch", preview.generated),
        ("on disk already", preview.adopted),
        ("to move", preview.moved),
        ("to clone", preview.cloned),
    ];
    for (name, amount) in amounts {
        row(name, self::amount(amount.files, amount.bytes))?;
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
    let left_out = preview.left_out;
    if left_out.assets > 0 {
        let held = match left_out.held.files {
            0 => String::new(),
            files => format!(
                "; {} of them here stay, `emsync peer prune {peer}` moves them to the trash",
                self::amount(files, left_out.held.bytes)
            ),
        };
        row(
            "left out by the filter",
            format!("{}{held}", output::counted(left_out.assets, "asset")),
        )?;
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
