//! `emsync import`: a folder becomes assets and categories of this node.

use super::args::{Global, Import};
use super::progress::Progress;
use super::{ExitCode, Usage, output};
use crate::import::{self, Options, Report};
use crate::model::MediaPath;
use crate::node::snapshots;
use crate::reconcile::guard;
use crate::renditions::Settings;
use crate::shutdown::Shutdown;
use crate::trash;

pub(super) async fn run(
    global: &Global,
    args: &Import,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    let _lock = node.turn("import", shutdown).await?;
    let said = args.max_delete.or(node.config.limits.max_delete);
    let options = Options {
        dir: args.dir.clone(),
        prefix: args
            .into
            .as_deref()
            .map(MediaPath::new)
            .transpose()
            .map_err(|error| Usage(format!("--into: {error}")))?,
        thumbs: !args.no_thumbs,
        renditions: Settings::of(&node),
        batch: node.config.limits.publish_batch,
        max_delete: Some(guard::limit(node.catalogue.live_assets().await?, said)),
        dry_run: args.dry_run,
    };
    let progress = Progress::new(global);
    let own = &node.config.node.cluster_id;
    let result = import::run(
        &node.catalogue,
        &node.store,
        own,
        &options,
        &node.seams,
        progress.clone(),
        shutdown,
    )
    .await;
    progress.finish();
    let report = result?;
    if !args.dry_run && !shutdown.requested() {
        let retention = node.config.retention;
        trash::expire(
            &node.store,
            &node.catalogue,
            retention,
            node.seams.clock.now(),
        )
        .await?;
    }
    let printed = if args.json {
        output::json(&report)
    } else if !global.quiet {
        output::line(&summary(&report, args.dry_run))
    } else {
        Ok(())
    };
    output::read_or_not(printed.map_err(Into::into))?;
    if !args.dry_run {
        snapshots::daily(&node, shutdown).await;
    }
    node.catalogue.close().await;
    Ok(code(&report, shutdown.requested()))
}

/// An interrupted import has judged nothing gone, so it must not look like a whole one.
fn code(report: &Report, interrupted: bool) -> ExitCode {
    match report.held {
        _ if interrupted => ExitCode::Interrupted,
        0 => ExitCode::Ok,
        _ => ExitCode::Guard,
    }
}

pub(super) fn summary(report: &Report, dry_run: bool) -> String {
    let verb = if dry_run { "would import" } else { "imported" };
    let mut text = format!(
        "{verb} {} ({}): {} added, {} changed, {} moved, {} gone, {} unchanged",
        output::counted(report.seen, "file"),
        output::bytes(report.bytes),
        output::count(report.added),
        output::count(report.changed),
        output::count(report.moved),
        output::count(report.gone),
        output::count(report.unchanged),
    );
    for (number, what) in [
        (report.refused, "refused"),
        (report.unrenderable, "unrenderable"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {what}", output::count(number)));
        }
    }
    if report.held > 0 {
        text.push_str(&format!(
            "; {} are held by the guard: see --max-delete",
            output::counted(report.held, "delete")
        ));
    }
    format!("{text}; {}", output::elapsed(report.elapsed_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_import_does_not_pass_for_a_whole_one() {
        let held = Report {
            held: 12,
            ..Report::default()
        };
        assert_eq!(code(&Report::default(), true), ExitCode::Interrupted);
        assert_eq!(code(&Report::default(), false), ExitCode::Ok);
        assert_eq!(code(&held, false), ExitCode::Guard);
    }
}
