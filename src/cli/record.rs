//! `emsync record …`: records of this node.

use anyhow::Context as _;
use serde_json::Value;

use super::args::{Global, Record, RecordPut};
use super::{ExitCode, Usage, output};
use crate::edits::{self, Change, Edit};
use crate::model::{Module, RecordKey};
use crate::monitor::Silent;
use crate::node::Node;
use crate::reconcile::deletes::{self, Deletes};
use crate::trash;

/// Records read at a time.
const PAGE: usize = 1_000;

pub(super) async fn run(global: &Global, command: Record) -> anyhow::Result<ExitCode> {
    let looks_only = matches!(
        command,
        Record::Delete { dry_run: true, .. } | Record::Put(RecordPut { dry_run: true, .. })
    );
    let node = if looks_only {
        super::open_to_look(global).await?
    } else {
        super::open(global).await?
    };
    match command {
        Record::List {
            table,
            json,
            deleted,
        } => {
            let table = Module::new(table).map_err(usage)?;
            let mut after: Option<RecordKey> = None;
            loop {
                let page = node
                    .catalogue
                    .records_after(Some(&table), after.as_ref(), PAGE)
                    .await?;
                for stored in page
                    .iter()
                    .filter(|stored| deleted || !stored.record.is_deleted())
                {
                    if json {
                        output::exact(&one_line(&stored.record.source))?
                    } else {
                        output::line(&stored.record.key.id)?
                    }
                }
                after = page.last().map(|stored| stored.record.key.clone());
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Record::Get { table, id } => {
            let key = RecordKey::new(table, id).map_err(usage)?;
            let stored = node
                .catalogue
                .record(&key)
                .await?
                .with_context(|| format!("there is no record {key}"))?;
            output::exact(&one_line(&stored.record.source))?;
        }
        Record::Put(args) => put(&node, args).await?,
        Record::Delete { table, id, .. } if looks_only => {
            say_delete(&node, &RecordKey::new(table, id).map_err(usage)?).await?;
        }
        Record::Delete { table, id, .. } => {
            let key = RecordKey::new(table, id).map_err(usage)?;
            check_owner(&node, &key).await?;
            let deletes = Deletes {
                peer: "",
                own: &node.config.node.cluster_id,
                catalogue: &node.catalogue,
                store: &node.store,
                seams: &node.seams,
                monitor: &Silent,
                is_owner: node.sidecar().is_none(),
                master: None,
            };
            deletes.delete_here(&key).await?;
            output::line(&deleted(&node, "deleted", &key).await?)?;
        }
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

async fn put(node: &Node, args: RecordPut) -> anyhow::Result<()> {
    let key = RecordKey::new(&args.table, &args.id).map_err(usage)?;
    let change = if args.set.is_empty() {
        let text = match &args.file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| usage(format!("{}: {error}", file.display())))?,
            None => std::io::read_to_string(std::io::stdin()).context("standard input")?,
        };
        let members = serde_json::from_str(&text);
        Change::All(members.map_err(|error| {
            usage(format!(
                "the members of a record are one JSON object: {error}"
            ))
        })?)
    } else {
        let members = args.set.iter().map(|text| member(text));
        Change::Some(members.collect::<Result<_, _>>()?)
    };
    let edit = edits::put(node, &key, &change, args.dry_run).await?;
    say(node, &key, edit.as_ref(), args.dry_run)
}

/// `name=value`: a value that reads as JSON is taken as such, any other is text.
fn member(text: &str) -> Result<(String, Value), Usage> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| usage(format!("--set {text}: write NAME=VALUE")))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// Says what an edit changed, or would change.
pub(super) fn say(
    node: &Node,
    key: &RecordKey,
    edit: Option<&Edit>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let Some(edit) = edit else {
        return Ok(output::line(&format!("{key} is like that already"))?);
    };
    let verb = if dry_run { "would save" } else { "saved" };
    let whose = match edit.master == node.config.node.cluster_id {
        true => "owned here".to_owned(),
        false => format!("owned by {}", edit.master),
    };
    let changed = edit.changed.join(", ");
    Ok(output::line(&format!("{verb} {key} ({whose}): {changed}"))?)
}

/// Says what a delete would do, or why it would be refused.
async fn say_delete(node: &Node, key: &RecordKey) -> anyhow::Result<()> {
    let stored = node.catalogue.record(key).await?;
    let stored = stored.filter(|stored| !stored.record.is_deleted());
    let stored = stored.ok_or_else(|| deletes::Error::NotThere { key: key.clone() })?;
    if stored.record.status.is_none() {
        return Err(deletes::Error::Nobodys { key: key.clone() }.into());
    }
    check_owner(node, key).await?;
    output::line(&deleted(node, "would delete", key).await?)?;
    if key.module.is_asset() {
        for row in node.catalogue.files_of(&[key.id.as_str()]).await? {
            let name = trash::shown(row.file.kind, &row.file.path);
            let bytes = output::bytes(row.file.size);
            output::line(&format!("would move to the trash: {name} ({bytes})"))?;
        }
    }
    Ok(())
}

/// Beside an EMDB that one's records are deleted there: it takes no edit of its own that says it was made there (row 4).
async fn check_owner(node: &Node, key: &RecordKey) -> anyhow::Result<()> {
    let Some(sidecar) = node.sidecar() else {
        return Ok(());
    };
    let stored = node.catalogue.record(key).await?;
    let master = stored.and_then(|stored| Some(stored.record.status?.master));
    if master.as_ref() == Some(&node.config.node.cluster_id) {
        let (key, sidecar) = (key.clone(), sidecar.name.clone());
        return Err(edits::Error::OfTheSidecar { key, sidecar }.into());
    }
    Ok(())
}

/// A delete in one line, with whose record it is of, and whether that one will hear of it.
async fn deleted(node: &Node, verb: &str, key: &RecordKey) -> anyhow::Result<String> {
    let stored = node.catalogue.record(key).await?;
    let master = stored.and_then(|stored| Some(stored.record.status?.master));
    let Some(master) = master.filter(|master| *master != node.config.node.cluster_id) else {
        return Ok(format!("{verb} {key} (owned here)"));
    };
    let hears = match node
        .config
        .peers
        .iter()
        .any(|peer| peer.enabled && peer.push)
    {
        true => "which hears of it with the next push",
        false => "which does not hear of it: nothing is pushed from here",
    };
    Ok(format!("{verb} {key} (owned by {master}, {hears})"))
}

fn usage(error: impl std::fmt::Display) -> Usage {
    Usage(error.to_string())
}

/// The stored text; line breaks between its members, which JSON allows, are taken out.
fn one_line(source: &str) -> String {
    // A raw line break cannot stand inside a JSON string, so this changes no value.
    if source.contains(['\n', '\r']) {
        source.replace(['\n', '\r'], " ")
    } else {
        source.to_owned()
    }
}
