//! `emsync verify`: are this node and a peer equal?

use super::args::{Global, Verify};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::pipeline;
use crate::reconcile::verify::{LayerReport, Parity};
use crate::shutdown::Shutdown;

/// Differences that are printed for people; JSON has more.
const PRINTED: usize = 20;

pub(super) async fn run(
    global: &Global,
    args: &Verify,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    let settings = node.config.peer(&args.peer)?;
    let progress = Progress::new(global);
    let parity = pipeline::verify_peer(&node, settings, args.checksum, &*progress, shutdown).await;
    progress.finish();
    let parity = parity?;
    output::read_or_not(if args.json {
        output::json(&parity).map_err(Into::into)
    } else {
        print_table(&args.peer, &parity)
    })?;
    node.catalogue.close().await;
    Ok(if parity.in_sync {
        ExitCode::Ok
    } else {
        ExitCode::Differs
    })
}

/// The report as a table, with the first differences.
pub(super) fn print_table(peer: &str, parity: &Parity) -> anyhow::Result<()> {
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
    let layers = &parity.layers;
    let rows = [
        ("records", &layers.records),
        ("originals", &layers.originals),
        ("generated", &layers.generated),
        ("deletes", &layers.deletes),
    ];
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
                format!(
                    "{name:<10} {here:>11} {there:>11} {missing:>9} {extra:>9} {differing:>9} {explained:>9}"
                )
            }
            LayerReport::NotCompared { reason } => format!("{name:<10} not compared: {reason}"),
        })?;
    }
    for difference in parity.differences.iter().take(PRINTED) {
        let kind = format!("{:?}", difference.kind).to_lowercase();
        output::line(&format!(
            "{kind} in {}: {}: {}",
            difference.layer, difference.item, difference.detail
        ))?;
    }
    let more = parity.differences_total.saturating_sub(PRINTED as u64);
    if more > 0 {
        output::line(&format!(
            "… and {} more; --json names the first thousand",
            output::count(more)
        ))?;
    }
    output::line(&if parity.in_sync {
        format!("in sync with {peer} as of {}", parity.as_of)
    } else {
        format!("NOT in sync with {peer} as of {}", parity.as_of)
    })?;
    Ok(())
}
