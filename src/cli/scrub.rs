//! `emsync scrub`: everything that is here, read again and healed.

use std::sync::Arc;

use super::args::{Global, Scrub};
use super::progress::Progress;
use super::{ExitCode, output};
use crate::node::Node;
use crate::pull::Cutoff;
use crate::scrub::{self, ACTIVITY, Options, Report};
use crate::seams::Seams;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    args: &Scrub,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let mut config = super::config(global)?;
    if let Some(bandwidth) = &args.bwlimit {
        config.scrub.bandwidth = bandwidth.clone();
    }
    let node = if args.dry_run {
        Node::open_read_only(config, Seams::os()).await?
    } else {
        Node::open(config, Seams::os()).await?
    };
    let options = options(&node, args)?;
    let report = if args.dry_run {
        scrub::preview(&node, args.all).await?
    } else {
        let _lock = node.lock(ACTIVITY)?;
        let progress = Progress::new(global);
        let done = scrub::scrub(&node, &options, progress.clone(), shutdown).await;
        progress.finish();
        done?
    };
    let printed = if args.json {
        output::json(&report).map_err(Into::into)
    } else if !global.quiet {
        print(&report, args.dry_run)
    } else {
        Ok(())
    };
    output::read_or_not(printed)?;
    node.catalogue.close().await;
    Ok(match report.left_files {
        _ if args.dry_run => ExitCode::Ok,
        _ if shutdown.requested() => ExitCode::Interrupted,
        _ if options.cutoff.is_over() && report.left_files > 0 => ExitCode::TimeLimit,
        _ if !report.is_well() => ExitCode::Partial,
        _ => ExitCode::Ok,
    })
}

fn options(node: &Node, args: &Scrub) -> anyhow::Result<Options> {
    let named = args.heal_from.iter().map(|name| node.config.peer(name));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let usual = Options::of(node);
    let heal_from = match (args.no_heal, named.is_empty()) {
        (true, _) => None,
        (false, true) => usual.heal_from,
        (false, false) => Some(named.into_iter().cloned().collect()),
    };
    Ok(Options {
        all: args.all,
        heal_from,
        cutoff: Arc::new(Cutoff::new(None, args.max_duration)),
    })
}

fn print(report: &Report, dry_run: bool) -> anyhow::Result<()> {
    for line in lines(report, dry_run) {
        output::line(&line)?;
    }
    Ok(())
}

fn lines(report: &Report, dry_run: bool) -> Vec<String> {
    let due = format!(
        "{} ({})",
        output::counted(report.left_files, "file"),
        output::bytes(report.left_bytes)
    );
    if dry_run {
        return vec![format!("would read {due}")];
    }
    let mut lines = vec![format!(
        "read {} ({}); {}",
        output::counted(report.files, "file"),
        output::bytes(report.bytes),
        output::elapsed(report.elapsed_ms)
    )];
    if let Some(round) = &report.round {
        let mut found = String::new();
        for (number, what) in [
            (round.rotten, "rotten"),
            (round.truncated, "truncated"),
            (round.replaced, "replaced"),
            (round.missing, "missing"),
            (round.unreadable, "unreadable"),
            (round.changed, "changed meanwhile"),
            (round.healed, "healed"),
        ] {
            if number > 0 {
                found.push_str(&format!(", {} {what}", output::count(number)));
            }
        }
        lines.push(format!(
            "this round, begun {}: {} ({}){found}",
            round.begun_at,
            output::counted(round.files, "file"),
            output::bytes(round.bytes)
        ));
    }
    if report.left_files > 0 {
        lines.push(format!("still due: {due}; the next run goes on"));
    }
    if report.damaged > 0 {
        lines.push(format!(
            "{} damaged here and not healed: `emsync quarantine list` says why",
            output::counted(report.damaged, "file")
        ));
    }
    if report.suspected > 0 {
        lines.push(format!(
            "{} not looked at once more, since somebody writes or they cannot be reached; the next run does",
            output::counted(report.suspected, "suspected file")
        ));
    }
    lines
}
