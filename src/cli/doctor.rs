//! `emsync doctor`: looks this node over, makes a lost catalogue again, and takes a new media volume.

use std::sync::Arc;

use super::args::{Doctor, Global};
use super::progress::Progress;
use super::{ExitCode, Usage, output};
use crate::config::Config;
use crate::node::doctor::{Check, State, examine};
use crate::node::rebuild::{Options, Rebuilt, rebuild};
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{self, RealSys, Store};

#[derive(serde::Serialize)]
struct Printed<'a> {
    sound: bool,
    checks: &'a [Check],
}

/// What no snapshot and no disk can say, whatever is rebuilt.
const UNKNOWN: [&str; 5] = [
    "records edited or deleted here, by hand",
    "keys made or revoked: `emsync key list`, and make missing ones again",
    "conflicts and their losing sides",
    "items set aside, and how often they were tried",
    "why files went to the trash; the files themselves are there",
];

#[derive(serde::Serialize)]
struct PrintedRebuild<'a> {
    #[serde(flatten)]
    rebuilt: &'a Rebuilt,
    /// What happened after the snapshot and nobody can know.
    cannot_know: &'a [&'static str],
    /// Commands to run now.
    next: &'a [String],
}

pub(super) async fn run(
    global: &Global,
    args: &Doctor,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let config = super::config(global)?;
    if args.rebuild {
        let options = Options {
            dry_run: args.dry_run,
            snapshot: args.snapshot.clone(),
            checksum: args.checksum,
        };
        let printing = Printing {
            json: args.json,
            is_restore: false,
        };
        return run_rebuild(global, &config, (&options, printing), shutdown).await;
    }
    if args.new_volume {
        return take_volume(&config);
    }
    let checks = examine(&config, &Seams::os(), args.deep).await;
    let worst = checks.iter().map(|check| check.state).max();
    let code = match worst {
        Some(State::Fatal) => ExitCode::Fatal,
        Some(State::Failed) => ExitCode::Other,
        _ => ExitCode::Ok,
    };
    output::read_or_not(if args.json {
        let sound = code == ExitCode::Ok;
        let checks = &checks;
        output::json(&Printed { sound, checks }).map_err(Into::into)
    } else {
        print(&checks)
    })?;
    Ok(code)
}

/// Marks the media root, whatever lies there, as this node's, and makes the folders that it needs. That of another node stays as it is.
fn take_volume(config: &Config) -> anyhow::Result<ExitCode> {
    let (root, node) = (&config.media.root, &config.node);
    match Store::open(root, &node.catalog, Arc::new(RealSys)) {
        Ok(store) if store.node() != node.cluster_id.as_str() => {
            anyhow::bail!(Usage(format!(
                "{} was made for the node {}, and this is {}: nothing was changed",
                root.display(),
                store.node(),
                node.cluster_id
            )));
        }
        Err(error @ (store::Error::WrongMarker { .. } | store::Error::BadMarker { .. })) => {
            return Err(error.into());
        }
        _ => {}
    }
    Store::init(root, &node.catalog, &node.cluster_id)?;
    output::line(&format!(
        "{} is this node's media root from now on",
        root.display()
    ))?;
    output::line("now run, to find out what of the media is there and have the rest again:")?;
    for peer in config.enabled_peers() {
        output::line(&format!("  emsync seed {}", peer.name))?;
    }
    output::line("  emsync import DIR, with the folder that was imported here, if one was")?;
    output::line("  emsync scrub --all")?;
    Ok(ExitCode::Ok)
}

fn print(checks: &[Check]) -> anyhow::Result<()> {
    for check in checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "FAILED",
            State::Fatal => "FATAL",
        };
        output::line(&format!("{state:<8} {:<12} {}", check.name, check.detail))?;
        if let Some(advice) = &check.advice {
            output::line(&format!("{:<8} {:<12} -> {advice}", "", ""))?;
        }
    }
    Ok(())
}

/// How the end of a rebuild is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printing {
    /// As JSON.
    pub(super) json: bool,
    /// A person chose the copy, so what follows is to be proven as well.
    pub(super) is_restore: bool,
}

/// Makes the catalogue again, and says what came of it and what to do now.
pub(super) async fn run_rebuild(
    global: &Global,
    config: &Config,
    (options, printing): (&Options, Printing),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(global);
    let rebuilt = rebuild(config, options, &Seams::os(), &*progress, shutdown).await;
    progress.finish();
    let rebuilt = rebuilt?;
    let mut next = next(config, &rebuilt);
    if printing.is_restore {
        next.push("emsync doctor".to_owned());
        let peers = config.enabled_peers();
        next.extend(peers.map(|peer| format!("emsync verify {}", peer.name)));
    }
    output::read_or_not(if printing.json {
        let cannot_know: &[_] = if rebuilt.was_whole { &[] } else { &UNKNOWN };
        let printed = PrintedRebuild {
            rebuilt: &rebuilt,
            cannot_know,
            next: &next,
        };
        output::json(&printed).map_err(Into::into)
    } else {
        print_rebuilt(&rebuilt, &next)
    })?;
    Ok(ExitCode::Ok)
}

/// The commands that bring the node up to date again.
fn next(config: &Config, rebuilt: &Rebuilt) -> Vec<String> {
    if rebuilt.was_whole {
        return Vec::new();
    }
    let seeds = config
        .enabled_peers()
        .map(|peer| format!("emsync seed {}", peer.name));
    let imports = rebuilt
        .sources
        .iter()
        .map(|dir| format!("emsync import {dir:?}"));
    let mut next: Vec<String> = seeds.chain(imports).collect();
    if next.is_empty() {
        next.push("emsync import DIR, with the folder that was imported here".to_owned());
    }
    next
}

fn print_rebuilt(rebuilt: &Rebuilt, next: &[String]) -> anyhow::Result<()> {
    if rebuilt.was_whole {
        output::line(
            "the catalogue is sound: nothing to rebuild; --snapshot FILE goes back to a snapshot all the same",
        )?;
        return Ok(());
    }
    for snapshot in &rebuilt.passed_over {
        output::line(&format!("passed over {snapshot}"))?;
    }
    output::line(&match &rebuilt.began_with {
        Some(snapshot) => format!("began with {}", snapshot.path.display()),
        None => "began with nothing: there is no snapshot that can be used".to_owned(),
    })?;
    let kept = &rebuilt.kept;
    output::line(&format!(
        "kept {}, {}, {}",
        output::counted(kept.records, "record"),
        output::counted(kept.originals, "original"),
        output::counted(kept.generated, "generated file"),
    ))?;
    let forgotten = &rebuilt.forgotten;
    output::line(&format!(
        "forgot {} whose file is missing, {} whose file is another, {}, {}, {}, {}",
        output::counted(rebuilt.rows_missing, "row"),
        output::count(rebuilt.rows_changed),
        output::counted(forgotten.checkpoints, "checkpoint"),
        output::counted(forgotten.listings, "listing"),
        output::counted(forgotten.leases, "lease"),
        output::counted(forgotten.parity_reports, "parity report"),
    ))?;
    output::line(&format!(
        "{} on disk without a row: a seed adopts them by content, an import makes their rows anew",
        output::counted(rebuilt.files_without_row, "file")
    ))?;
    for path in &rebuilt.moved_aside {
        output::line(&format!("moved aside: {}", path.display()))?;
    }
    let since = rebuilt
        .began_with
        .as_ref()
        .and_then(|snapshot| snapshot.taken_at.as_deref())
        .map_or_else(
            || "cannot know:".to_owned(),
            |taken| format!("cannot know, of what happened after {taken}:"),
        );
    output::line(&since)?;
    for unknown in UNKNOWN {
        output::line(&format!("  {unknown}"))?;
    }
    output::line(if rebuilt.dry_run {
        "nothing was changed; after a rebuild, run:"
    } else {
        "now run:"
    })?;
    for command in next {
        output::line(&format!("  {command}"))?;
    }
    Ok(())
}
