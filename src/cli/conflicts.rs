//! `emsync conflicts …`: what lost when two nodes edited one record, and the way back.

use serde_json::Value;

use super::args::{ConflictRestore, Conflicts, Global};
use super::{ExitCode, output, record};
use crate::catalogue::{KeptConflict, Winner};
use crate::edits::{self, Side};
use crate::model::RecordStatus;
use crate::node::Node;
use crate::protocol::conflict::row;

/// Conflicts read at a time.
const PAGE: usize = 500;

pub(super) async fn run(global: &Global, command: Conflicts) -> anyhow::Result<ExitCode> {
    let writes = matches!(&command, Conflicts::Restore(args) if !args.dry_run);
    let node = if writes {
        super::open(global).await?
    } else {
        super::open_to_look(global).await?
    };
    match command {
        Conflicts::List { json } => list(&node, json).await?,
        Conflicts::Show { id, json } => show(&find(&node, id).await?, json)?,
        Conflicts::Restore(args) => restore(&node, &args).await?,
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

async fn find(node: &Node, id: i64) -> Result<KeptConflict, edits::Error> {
    let kept = node.catalogue.conflict(id).await?;
    kept.ok_or(edits::Error::NoConflict { id })
}

async fn list(node: &Node, json: bool) -> anyhow::Result<()> {
    let mut before = None;
    loop {
        let page = node.catalogue.conflicts_before(before, PAGE).await?;
        for kept in &page {
            if json {
                output::json(&printed(kept))?;
            } else {
                output::line(&told(kept))?;
            }
        }
        before = page.last().map(|kept| kept.id);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

fn told(KeptConflict { id, conflict }: &KeptConflict) -> String {
    let kept = match conflict.winner {
        Winner::Local => "ours was kept",
        Winner::Remote => "theirs was taken",
    };
    format!(
        "{id}  {}  {}  {}  {kept}",
        conflict.at, conflict.key, conflict.peer
    )
}

/// EMDB's row, with what it has no members for.
fn printed(KeptConflict { id, conflict }: &KeptConflict) -> Value {
    let mut row = row(
        &conflict.key,
        conflict.at,
        &conflict.local_source,
        &conflict.remote_source,
    );
    row["id"] = (*id).into();
    row["peer"] = conflict.peer.clone().into();
    row["winner"] = serde_json::to_value(conflict.winner).unwrap_or_default();
    row
}

fn show(kept: &KeptConflict, json: bool) -> anyhow::Result<()> {
    let differences = edits::differences(&kept.conflict)?;
    if json {
        let mut printed = printed(kept);
        printed["differences"] = serde_json::to_value(&differences)?;
        return Ok(output::json(&printed)?);
    }
    output::line(&told(kept))?;
    for (name, which) in [("ours", Side::Local), ("theirs", Side::Remote)] {
        let side = edits::side(&kept.conflict, which)?;
        let saved = side
            .status
            .as_ref()
            .map_or_else(|| "saved by a node that does not say so".to_owned(), saved);
        output::line(&format!("{name:>8}: {saved}"))?;
    }
    for difference in &differences {
        output::line(&difference.member)?;
        for (name, value) in [("ours", &difference.local), ("theirs", &difference.remote)] {
            let value = value
                .as_ref()
                .map_or_else(|| "–".to_owned(), Value::to_string);
            output::line(&format!("{name:>8}: {value}"))?;
        }
    }
    Ok(())
}

fn saved(status: &RecordStatus) -> String {
    let verb = if status.deleted { "deleted" } else { "saved" };
    format!(
        "{verb} by {} at {}, owned by {}",
        status.modified_by, status.modified, status.master
    )
}

async fn restore(node: &Node, args: &ConflictRestore) -> anyhow::Result<()> {
    let kept = find(node, args.id).await?;
    let which = match (args.local, args.remote) {
        (true, _) => Side::Local,
        (_, true) => Side::Remote,
        _ => Side::loser_of(&kept.conflict),
    };
    let edit = edits::restore(node, &kept.conflict, which, args.dry_run).await?;
    record::say(node, &kept.conflict.key, edit.as_ref(), args.dry_run)
}
