//! `emsync fetch`: files that went to make room, brought back.

use std::sync::Arc;

use super::args::{Fetch, Global};
use super::progress::Progress;
use super::{ExitCode, Usage, output};
use crate::model::Filter;
use crate::pipeline::{self, Amount, Brought};
use crate::pull::Cutoff;
use crate::shutdown::Shutdown;

/// Files that stay away and are printed for people; JSON has more.
const PRINTED: usize = 20;

#[derive(serde::Serialize)]
struct Printed<'a> {
    peer: &'a str,
    #[serde(flatten)]
    brought: &'a Brought,
}

pub(super) async fn run(
    global: &Global,
    args: &Fetch,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let mut filter = Filter::default();
    args.narrow.apply(&mut filter);
    if filter.is_empty() && !args.all {
        let needed = "say which files: --include PATTERN, --category NAME and so on, or --all";
        return Err(Usage(needed.to_owned()).into());
    }
    let node = match args.dry_run {
        true => super::open_to_look(global).await?,
        false => super::open_with(global, |limits| args.network.apply(limits)).await?,
    };
    let settings = node.config.peer(&args.peer)?.clone();
    let cutoff = Arc::new(Cutoff::new(
        args.until.max_transfer,
        args.until.max_duration,
    ));
    let brought = if args.dry_run {
        Brought {
            meant: pipeline::away(&node, &settings, &filter).await?,
            ..Brought::default()
        }
    } else {
        let _lock = node
            .turn(&format!("run-{}", settings.name), shutdown)
            .await?;
        let progress = Progress::new(global);
        let to = (progress.clone() as Arc<_>, &cutoff);
        let brought = pipeline::bring_back(&node, (&settings, &filter), to, shutdown).await;
        progress.finish();
        brought?
    };
    let printed = if args.json {
        output::json(&Printed {
            peer: &settings.name,
            brought: &brought,
        })
        .map_err(Into::into)
    } else {
        print(args, &brought, node.config.serve.max_cache)
    };
    output::read_or_not(printed)?;
    node.catalogue.close().await;
    Ok(match brought.error {
        _ if shutdown.requested() => ExitCode::Interrupted,
        Some(error) => ExitCode::of(&error.into()),
        None if brought.stay_away.is_empty() => ExitCode::Ok,
        None => ExitCode::Partial,
    })
}

fn print(args: &Fetch, brought: &Brought, max_cache: Option<u64>) -> anyhow::Result<()> {
    let amount = |amount: Amount| {
        let files = output::counted(amount.files, "file");
        format!("{files} ({})", output::bytes(amount.bytes))
    };
    if args.dry_run {
        output::line(&format!("would bring back {}", amount(brought.meant)))?;
    } else {
        let (back, meant) = (amount(brought.back), amount(brought.meant));
        output::line(&format!("{}: {back} of {meant} are here again", args.peer))?;
    }
    for file in brought.stay_away.iter().take(PRINTED) {
        output::line(&format!(
            "not here: {} (asset {}): {}",
            file.path, file.asset, file.reason
        ))?;
    }
    if let Some(reason) = &brought.ended {
        output::line(&format!("ended early, ask again: {reason}"))?;
    }
    if let Some(most) = max_cache {
        output::line(&format!(
            "serve.max_cache is {}: what is beyond it goes again, the least recently read first; take it away first to keep everything",
            output::bytes(most)
        ))?;
    }
    Ok(())
}
