//! `emsync trash …`: removed and replaced files.

use std::collections::HashSet;
use std::path::Path;

use super::args::{Global, Restore, Trash, TrashEmpty, TrashList, Tree};
use super::{ExitCode, Usage, output, prompt};
use crate::catalogue::Reason;
use crate::config::Retention;
use crate::model::{FileKind, Timestamp};
use crate::node::Node;
use crate::store::Trashed;
use crate::trash::{
    Entry, Error, Found, Listing, Plan, Restorer, Step, Wanted, Which, find, said, shown, sweep,
};

pub(super) async fn run(global: &Global, command: Trash) -> anyhow::Result<ExitCode> {
    let node = match &command {
        Trash::List(_) => super::open(global).await?,
        Trash::Restore(args) if !args.dry_run => super::open(global).await?,
        Trash::Empty(args) if !args.dry_run => super::open(global).await?,
        Trash::Restore(_) | Trash::Empty(_) => super::open_to_look(global).await?,
    };
    let code = match command {
        Trash::List(args) => list(&node, args).await?,
        Trash::Restore(args) => restore(&node, &args).await?,
        Trash::Empty(args) => empty(&node, &args).await?,
    };
    node.catalogue.close().await;
    Ok(code)
}

/// An entry as `--json` prints it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    id: String,
    when: String,
    kind: &'static str,
    path: &'a str,
    size: u64,
    asset: Option<&'a str>,
    reason: Option<Reason>,
    until: Option<String>,
}

async fn list(node: &Node, args: TrashList) -> anyhow::Result<ExitCode> {
    let wanted = Wanted {
        kind: args.kind.map(|tree| match tree {
            Tree::Originals => FileKind::Original,
            Tree::Generated => FileKind::Generated,
        }),
        asset: args.asset,
        pattern: args.pattern,
    };
    let retention = node.config.retention;
    let (mut files, mut bytes) = (0, 0_u64);
    let mut listing = Listing::open(&node.store, &node.catalogue).await?;
    while let Some(page) = listing.page(&wanted).await? {
        for found in page {
            let entry = match found {
                Found::Entry(entry) => entry,
                Found::Odd(error) => {
                    tracing::warn!("in the trash: {error}");
                    continue;
                }
            };
            files += 1;
            bytes = bytes.saturating_add(entry.item.stat.size);
            print(&entry, retention, args.json)?;
        }
    }
    if !args.json {
        let files = output::counted(files, "file");
        output::line(&format!("{files}, {}", output::bytes(bytes)))?;
    }
    Ok(ExitCode::Ok)
}

fn print(entry: &Entry, retention: Retention, json: bool) -> Result<(), output::Error> {
    let (item, former) = (&entry.item, entry.former.as_ref());
    let until = until(
        item.slot.when,
        former.map(|former| former.reason),
        retention,
    );
    let asset = former.map(|former| former.file.asset.as_str());
    if json {
        return output::json(&Printed {
            id: item.id(),
            when: item.slot.when.to_string(),
            kind: item.kind().dir(),
            path: item.path.as_str(),
            size: item.stat.size,
            asset,
            reason: former.map(|former| former.reason),
            until: until.map(|until| until.to_string()),
        });
    }
    let what = match former {
        Some(former) => format!("asset {}, {}", former.file.asset, said(former.reason)),
        None => "of no known asset".to_owned(),
    };
    let stays = until.map_or_else(
        || "until the trash is emptied".to_owned(),
        |until| format!("until {}", short(until)),
    );
    output::line(&format!(
        "{}  {}  {:>10}  {}  ({what}; stays {stays})",
        item.id(),
        short(item.slot.when),
        output::bytes(item.stat.size),
        shown(item.kind(), &item.path),
    ))
}

/// When the retention takes what went at `when`; `None` for never.
fn until(when: Timestamp, why: Option<Reason>, retention: Retention) -> Option<Timestamp> {
    let span = match why {
        Some(Reason::Replaced) => retention.versions,
        _ => retention.others,
    };
    span.map(|span| when.plus(span))
}

/// A moment to the second.
fn short(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('.').next().unwrap_or(&text).replace('T', " ")
}

/// What became of one item, as `--json` prints it.
#[derive(serde::Serialize)]
struct Outcome<'a> {
    item: &'a str,
    restored: bool,
    would_restore: bool,
    files: Vec<String>,
    lacking: Vec<String>,
    error: Option<String>,
}

async fn restore(node: &Node, args: &Restore) -> anyhow::Result<ExitCode> {
    let entries = find(&node.store, &node.catalogue, &args.items).await?;
    let (mut done, mut failed) = (HashSet::new(), Vec::new());
    for (name, entry) in args.items.iter().zip(entries) {
        let one = match entry {
            // With the asset of an item before.
            Ok(entry) if done.contains(&entry.item.id()) => Ok((Vec::new(), Vec::new())),
            Ok(entry) => match &args.to {
                Some(dir) => copy_out(node, &entry, dir, args.dry_run).await,
                None => put_back(node, &entry, args.dry_run, &mut done).await,
            },
            Err(error) => Err(error),
        };
        let ok = one.is_ok();
        let (files, lacking, error) = match one {
            Ok((files, lacking)) => (files, lacking, None),
            Err(error) => {
                let text = error.to_string();
                tracing::error!(item = name, "{text}");
                failed.push(error);
                (Vec::new(), Vec::new(), Some(text))
            }
        };
        if args.json {
            output::json(&Outcome {
                item: name,
                restored: ok && !args.dry_run,
                would_restore: ok && args.dry_run,
                files,
                lacking,
                error,
            })?;
        } else {
            for line in files {
                output::line(&line)?;
            }
            for line in lacking {
                tracing::warn!("not restored: {line}");
            }
        }
    }
    Ok(match failed.len() {
        0 => ExitCode::Ok,
        all if all == args.items.len() => {
            let last = failed.pop().expect("one at least");
            ExitCode::of(&anyhow::Error::new(last))
        }
        _ => ExitCode::Partial,
    })
}

type Said = (Vec<String>, Vec<String>);

async fn put_back(
    node: &Node,
    entry: &Entry,
    looks_only: bool,
    done: &mut HashSet<String>,
) -> Result<Said, Error> {
    let restorer = Restorer {
        store: &node.store,
        catalogue: &node.catalogue,
        own: &node.config.node.cluster_id,
        seams: &node.seams,
    };
    let plan = restorer.plan(entry).await?;
    if !looks_only {
        restorer.carry_out(&plan).await?;
    }
    let would = if looks_only { "would be " } else { "" };
    let back = |step: &Step| {
        let (name, asset) = (
            shown(step.item.kind(), &step.former.file.path),
            &step.former.file.asset,
        );
        format!("{name}: {would}back in asset {asset}")
    };
    Ok(match &plan {
        Plan::There => {
            let name = shown(entry.item.kind(), &entry.item.path);
            (vec![format!("{name}: is in its place already")], Vec::new())
        }
        Plan::Back(step) => {
            done.insert(step.item.id());
            (vec![back(step)], Vec::new())
        }
        Plan::Undelete {
            key,
            steps,
            lacking,
        } => {
            done.extend(steps.iter().map(|step| step.item.id()));
            let mut said = vec![format!("{key}: {would}alive again")];
            said.extend(steps.iter().map(back));
            (said, lacking.clone())
        }
    })
}

async fn copy_out(node: &Node, entry: &Entry, dir: &Path, looks_only: bool) -> Result<Said, Error> {
    let restorer = Restorer {
        store: &node.store,
        catalogue: &node.catalogue,
        own: &node.config.node.cluster_id,
        seams: &node.seams,
    };
    let name = shown(entry.item.kind(), &entry.item.path);
    let to = dir.join(&name);
    if looks_only {
        if to.symlink_metadata().is_ok() {
            let path = to.display().to_string();
            return Err(crate::store::Error::Taken { path }.into());
        }
        return Ok((
            vec![format!("{name}: would be copied to {}", to.display())],
            Vec::new(),
        ));
    }
    restorer.copy_out(&entry.item, dir).await?;
    Ok((
        vec![format!("{name}: copied to {}", to.display())],
        Vec::new(),
    ))
}

/// What an emptying did, as `--json` prints it.
#[derive(serde::Serialize)]
struct Emptied {
    dry_run: bool,
    files: u64,
    bytes: u64,
    left: u64,
    reasons: Vec<String>,
}

async fn empty(node: &Node, args: &TrashEmpty) -> anyhow::Result<ExitCode> {
    let now = node.seams.clock.now();
    let retention = node.config.retention;
    let which = match (args.all, args.older_than, retention.others) {
        (true, _, _) => Which::All,
        (_, Some(span), _) => Which::Before(now.minus(span)),
        (_, None, None) => anyhow::bail!(Usage(
            "limits.trash_days is 0, which keeps the trash; say --older-than SPAN or --all"
                .to_owned()
        )),
        (_, None, Some(_)) => Which::Expired(retention, now),
    };
    if which == Which::All
        && !args.yes
        && !args.dry_run
        && !prompt::confirmed("Destroy everything in the trash?")?
    {
        return Ok(ExitCode::Other);
    }
    let prints = args.dry_run && !args.json;
    let mut broken = None;
    let mut seen = |item: &Trashed| {
        if prints && broken.is_none() {
            let bytes = output::bytes(item.stat.size);
            let line = format!(
                "would destroy {} ({bytes}, {})",
                shown(item.kind(), &item.path),
                short(item.slot.when)
            );
            broken = output::line(&line).err();
        }
        Ok(())
    };
    let swept = sweep(&node.store, &node.catalogue, which, args.dry_run, &mut seen).await?;
    if let Some(error) = broken {
        return Err(error.into());
    }
    for reason in &swept.reasons {
        tracing::warn!("left in the trash: {reason}");
    }
    let code = if swept.left > 0 {
        ExitCode::Partial
    } else {
        ExitCode::Ok
    };
    if args.json {
        output::json(&Emptied {
            dry_run: args.dry_run,
            files: swept.files,
            bytes: swept.bytes,
            left: swept.left,
            reasons: swept.reasons,
        })?;
    } else {
        let (files, bytes) = (
            output::counted(swept.files, "file"),
            output::bytes(swept.bytes),
        );
        let would = if args.dry_run {
            "would be destroyed"
        } else {
            "destroyed"
        };
        let more = match which {
            Which::Expired(..) if swept.files == 0 => {
                "; what lies there is not past its time: --older-than SPAN or --all destroys more"
            }
            _ => "",
        };
        output::line(&format!("{files}, {bytes} {would}{more}"))?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_trash_that_is_kept_for_ever() {
        assert_eq!(until(Timestamp::EPOCH, None, Retention::days(0)), None);
        let day = Timestamp::from_millis(86_400_000);
        let mut retention = Retention::days(1);
        let replaced = Some(Reason::Replaced);
        assert_eq!(until(Timestamp::EPOCH, replaced, retention), Some(day));
        retention.versions = None;
        assert_eq!(until(Timestamp::EPOCH, replaced, retention), None);
        let deleted = Some(Reason::Deleted);
        assert_eq!(until(Timestamp::EPOCH, deleted, retention), Some(day));
        assert_eq!(short(Timestamp::EPOCH), "1970-01-01 00:00:00");
    }
}
