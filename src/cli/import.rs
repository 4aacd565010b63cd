//! `emsync import`: a folder becomes assets and categories of this node, once or for as long as it is watched.

mod watch;

use super::args::{Global, Import};
use super::progress::Progress;
use super::{ExitCode, Usage, output};
use crate::import::{ACTIVITY, Folder, Look, Report, into_node, left_out, summary};
use crate::model::MediaPath;
use crate::node::snapshots;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    args: &Import,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let folder = folder(args)?;
    let node = super::open(global).await?;
    if args.watch {
        return watch::run(&node, global, (args, folder), shutdown).await;
    }
    let _lock = node.turn(ACTIVITY, shutdown).await?;
    let look = Look {
        dry_run: args.dry_run,
        max_delete: args.max_delete,
        ..Look::default()
    };
    let progress = Progress::new(global);
    let result = into_node(&node, &folder, &look, progress.clone(), shutdown).await;
    progress.finish();
    let report = result?;
    let printed = if args.json {
        output::json(&report)
    } else if !global.quiet {
        output::line(&summary(&report, args.dry_run))
    } else {
        Ok(())
    };
    output::read_or_not(printed.map_err(Into::into))?;
    if let Some(text) = left_out(&report) {
        tracing::error!("{text}");
    }
    if !args.dry_run {
        snapshots::daily(&node, shutdown).await;
    }
    node.catalogue.close().await;
    Ok(code(&report, shutdown.requested()))
}

fn folder(args: &Import) -> anyhow::Result<Folder> {
    let prefix = args.into.as_deref().map(MediaPath::new).transpose();
    Ok(Folder {
        // Whole, so that what is said of it shows where it was looked for: -C moves what it starts from.
        dir: std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone()),
        prefix: prefix.map_err(|error| Usage(format!("--into: {error}")))?,
        thumbs: !args.no_thumbs,
    })
}

/// An interrupted import has judged nothing gone, so it must not look like a whole one, nor must one that could not take a file in.
fn code(report: &Report, interrupted: bool) -> ExitCode {
    match (report.held, report.refused) {
        _ if interrupted => ExitCode::Interrupted,
        (0, 0) => ExitCode::Ok,
        (0, _) => ExitCode::Partial,
        _ => ExitCode::Guard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_import_does_not_pass_for_a_whole_one() {
        let held = Report {
            held: 12,
            refused: 1,
            ..Report::default()
        };
        let refused = Report {
            refused: 1,
            ..Report::default()
        };
        assert_eq!(code(&Report::default(), true), ExitCode::Interrupted);
        assert_eq!(code(&Report::default(), false), ExitCode::Ok);
        assert_eq!(code(&held, false), ExitCode::Guard);
        assert_eq!(code(&refused, false), ExitCode::Partial);
    }
}
