//! `emsync verify`: are this node and a peer, or a kept report, equal?

use std::path::Path;
use std::sync::Arc;

use super::args::{Global, Verify};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::node::Node;
use crate::pipeline;
use crate::reconcile::verify::kept::{self, Kept, Looked, Who};
use crate::reconcile::verify::{self, Against, Difference, LayerReport, Parity, Verdict};
use crate::renditions::gaps::{Unexplained, unexplained};
use crate::shutdown::Shutdown;

/// Differences that are printed for people; JSON has more.
const PRINTED: usize = 20;
/// Buckets that are printed for people; JSON has all.
const BUCKETS: usize = 8;

pub(super) async fn run(
    global: &Global,
    args: &Verify,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open_with(global, |limits| args.network.apply(limits)).await?;
    let progress = Progress::new(global);
    let code = match (&args.against, &args.peer) {
        (Some(file), _) => against(&node, file, args, &progress, shutdown).await,
        (None, Some(peer)) => with_peer(&node, peer, args, &progress, shutdown).await,
        (None, None) => alone(&node, args, &progress, shutdown).await,
    };
    progress.finish();
    let code = code?;
    node.catalogue.close().await;
    Ok(code)
}

async fn with_peer(
    node: &Node,
    peer: &str,
    args: &Verify,
    progress: &Arc<Progress>,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let settings = node.config.peer(peer)?;
    let before = node.catalogue.last_change().await?;
    let look = pipeline::Look {
        checksum: args.checksum,
        in_full: args.full_listing,
    };
    let parity = pipeline::verify_peer(node, settings, look, &**progress, shutdown).await?;
    if let Some(file) = &args.report {
        let learned = node.catalogue.peer_node(peer).await?;
        let learned = learned.map(|said| said.cluster_id);
        let cluster_id = settings.cluster_id.clone().or(learned);
        let who = Who {
            name: peer.to_owned(),
            cluster_id: cluster_id.map(|id| id.to_string()),
        };
        let here = pipeline::here(node, &**progress, shutdown);
        keep(
            node,
            &here,
            (before, Some(who)),
            &parity,
            (file, args.checksum),
        )
        .await?;
    }
    progress.finish();
    output::read_or_not(if args.json {
        output::json(&parity).map_err(Into::into)
    } else {
        print_table(peer, &parity).and(tell_damage(node, Some(peer)).await)
    })?;
    Ok(differs_unless(!parity.differs()))
}

/// The catalogue against the disk, and nobody else.
async fn alone(
    node: &Node,
    args: &Verify,
    progress: &Arc<Progress>,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let before = node.catalogue.last_change().await?;
    let here = pipeline::here(node, &**progress, shutdown);
    let parity = verify::alone(&here, args.checksum).await?;
    if let Some(file) = &args.report {
        keep(node, &here, (before, None), &parity, (file, args.checksum)).await?;
    }
    let gaps = unexplained(node, PRINTED, shutdown).await?;
    progress.finish();
    output::read_or_not(if args.json {
        json(&parity, &gaps)
    } else {
        print_alone(&parity)
            .and(tell_damage(node, None).await)
            .and_then(|()| tell_gaps(&gaps))
    })?;
    Ok(differs_unless(parity.differences_total == 0))
}

/// Writes the report; `before` is when this node had last changed before the comparison began.
async fn keep(
    node: &Node,
    here: &verify::Here<'_>,
    (before, peer): (Option<crate::model::Timestamp>, Option<Who>),
    parity: &Parity,
    (file, checksum): (&Path, bool),
) -> anyhow::Result<()> {
    let content = verify::describe(here).await?;
    let now = node.catalogue.last_change().await?;
    if now != before {
        return Err(verify::Error::Moving.into());
    }
    let own = &node.config.node;
    let looked = if checksum {
        Looked::Checksum
    } else {
        Looked::Stat
    };
    let whose = (Who::node(&own.name, &own.cluster_id), own.catalog.clone());
    let kept = Kept::new(whose, peer, looked, content, parity.clone());
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || kept.write(&file)).await??;
    Ok(())
}

async fn against(
    node: &Node,
    file: &Path,
    args: &Verify,
    progress: &Arc<Progress>,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let (path, catalog) = (file.to_owned(), node.config.node.catalog.clone());
    let report = tokio::task::spawn_blocking(move || kept::Read::open(&path, &catalog)).await??;
    let here = pipeline::here(node, &**progress, shutdown);
    let withheld = node.config.withheld();
    let found = verify::against(&here, &report, &withheld, args.checksum).await?;
    progress.finish();
    output::read_or_not(if args.json {
        output::json(&found).map_err(Into::into)
    } else {
        print_against(&found).and(tell_damage(node, None).await)
    })?;
    Ok(differs_unless(found.equal))
}

/// Says how damaged files come back.
async fn tell_damage(node: &Node, peer: Option<&str>) -> anyhow::Result<()> {
    let damaged = node.catalogue.damaged().await?;
    if damaged > 0 {
        let peer = peer.unwrap_or("PEER");
        output::line(&format!(
            "{} damaged or missing here: `emsync sync {peer}` fetches again what came from there, `emsync import DIR` takes again what came from a folder",
            output::counted(damaged, "file")
        ))?;
    }
    Ok(())
}

/// The comparison with the disk, with what is missing here and should not be.
fn json(parity: &Parity, gaps: &Unexplained) -> anyhow::Result<()> {
    let mut value = serde_json::to_value(parity)?;
    if let Some(members) = value.as_object_mut() {
        members.insert("missing_renditions".to_owned(), serde_json::to_value(gaps)?);
    }
    Ok(output::json(&value)?)
}

/// Says which renditions should be here and are not: no difference from anybody who lacks them too, and yet a gap.
fn tell_gaps(gaps: &Unexplained) -> anyhow::Result<()> {
    for path in &gaps.first {
        output::line(&format!("MISSING rendition: {path}"))?;
    }
    if gaps.total > 0 {
        output::line(&format!(
            "{} that an import makes and nothing explains: `emsync thumbs rebuild --missing` makes what is missing",
            output::counted(gaps.total, "missing rendition")
        ))?;
    }
    Ok(())
}

fn differs_unless(equal: bool) -> ExitCode {
    if equal {
        ExitCode::Ok
    } else {
        ExitCode::Differs
    }
}

/// The report as a table, with the first differences.
pub(super) fn print_table(peer: &str, parity: &Parity) -> anyhow::Result<()> {
    print_layers(parity)?;
    print_differences(&parity.differences, parity.differences_total)?;
    output::line(&match (parity.in_sync, parity.differs()) {
        (true, _) => format!("in sync with {peer} as of {}", parity.as_of),
        (false, true) => format!("NOT in sync with {peer} as of {}", parity.as_of),
        (false, false) => format!(
            "equal to {peer} in what was compared, which is not everything, as of {}",
            parity.as_of
        ),
    })?;
    Ok(())
}

fn print_alone(parity: &Parity) -> anyhow::Result<()> {
    print_layers(parity)?;
    print_differences(&parity.differences, parity.differences_total)?;
    output::line(&if parity.differences_total == 0 {
        format!("the disk is as the catalogue says, as of {}", parity.as_of)
    } else {
        format!(
            "the disk is NOT as the catalogue says, as of {}",
            parity.as_of
        )
    })?;
    Ok(())
}

fn print_layers(parity: &Parity) -> anyhow::Result<()> {
    let layers = &parity.layers;
    print_counts(&[
        ("records", &layers.records),
        ("originals", &layers.originals),
        ("generated", &layers.generated),
        ("deletes", &layers.deletes),
    ])
}

fn print_counts(rows: &[(&str, &LayerReport)]) -> anyhow::Result<()> {
    let head = [
        "",
        "here",
        "there",
        "missing",
        "extra",
        "differing",
        "explained",
    ];
    output::line(&format!(
        "{:<10} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6]
    ))?;
    for (name, layer) in rows {
        output::line(&match layer {
            LayerReport::Compared(counts) => {
                let numbers = [
                    counts.here,
                    counts.there,
                    counts.missing,
                    counts.extra,
                    counts.differing,
                    counts.explained,
                ];
                let [here, there, missing, extra, differing, explained] =
                    numbers.map(output::count);
                let left_out = match counts.left_out {
                    0 => String::new(),
                    some => format!(
                        "   not compared: {}, left out by a filter here or there",
                        output::count(some)
                    ),
                };
                format!(
                    "{name:<10} {here:>11} {there:>11} {missing:>9} {extra:>9} {differing:>9} {explained:>9}{left_out}"
                )
            }
            LayerReport::NotCompared { reason } => format!("{name:<10} not compared: {reason}"),
        })?;
    }
    Ok(())
}

fn print_differences(differences: &[Difference], total: u64) -> anyhow::Result<()> {
    for difference in differences.iter().take(PRINTED) {
        let kind = format!("{:?}", difference.kind).to_lowercase();
        output::line(&format!(
            "{kind} in {}: {}: {}",
            difference.layer, difference.item, difference.detail
        ))?;
    }
    let more = total.saturating_sub(PRINTED as u64);
    if more > 0 {
        output::line(&format!(
            "… and {} more; --json names the first thousand",
            output::count(more)
        ))?;
    }
    Ok(())
}

fn print_against(found: &Against) -> anyhow::Result<()> {
    let head = ["", "table", "here", "there"];
    output::line(&format!(
        "{:<10} {:<20} {:>11} {:>11}",
        head[0], head[1], head[2], head[3]
    ))?;
    for line in &found.layers {
        let verdict = match &line.verdict {
            Verdict::Equal => "equal".to_owned(),
            Verdict::Differs { buckets, items } => {
                let some = buckets.iter().take(BUCKETS).cloned().collect::<Vec<_>>();
                let more = if buckets.len() > BUCKETS { ", …" } else { "" };
                format!(
                    "differs in {} of 256 buckets ({}{more}), which hold {} here",
                    buckets.len(),
                    some.join(", "),
                    output::counted(*items, "item")
                )
            }
            Verdict::NotCompared { reason } => format!("not compared: {reason}"),
        };
        let table = line.table.as_deref().unwrap_or_default();
        let (here, there) = (output::count(line.here), output::count(line.there));
        output::line(&format!(
            "{:<10} {table:<20} {here:>11} {there:>11}  {verdict}",
            line.layer
        ))?;
    }
    output::line("on disk, against the catalogue here:")?;
    let rows: Vec<_> = found
        .disk
        .iter()
        .map(|(name, layer)| (*name, layer))
        .collect();
    print_counts(&rows)?;
    print_differences(&found.differences, found.differences_total)?;
    let about = &found.report;
    output::line(&format!(
        "{} to the report about {} ({}) as of {}",
        if found.equal { "equal" } else { "NOT equal" },
        about.node,
        about.cluster_id.as_deref().unwrap_or("no cluster id"),
        about.as_of
    ))?;
    Ok(())
}

/// The code of a report that cannot be used.
pub(super) fn code_of_report(error: &kept::KeptError) -> ExitCode {
    match error {
        kept::KeptError::Read { .. }
        | kept::KeptError::NoReport { .. }
        | kept::KeptError::Newer { .. } => ExitCode::Usage,
        kept::KeptError::OtherCatalog { .. } => ExitCode::Fatal,
        kept::KeptError::Write { .. } => ExitCode::Other,
    }
}
