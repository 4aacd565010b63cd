//! `emsync status`: one screen about this node. "In sync" only where a comparison newer than the last change says so (I12).

use super::args::{Global, Json};
use super::receive;
use super::{ExitCode, output};
use crate::monitor::Transfers;
use crate::status::{LastRun, Status, gather};

pub(super) async fn run(global: &Global, args: &Json) -> anyhow::Result<ExitCode> {
    let node = super::open(global).await?;
    let status = gather(&node).await?;
    if args.json {
        output::json(&status)?;
    } else {
        print(&status)?;
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

fn print(status: &Status) -> anyhow::Result<()> {
    output::line(&format!("{} ({})", status.node, status.cluster_id))?;
    for (table, counted) in &status.records {
        let deleted = if counted.deleted > 0 {
            format!(", {} deleted", output::count(counted.deleted))
        } else {
            String::new()
        };
        output::line(&format!(
            "  {table:<20} {}{deleted}",
            output::count(counted.live)
        ))?;
    }
    let files = &status.files;
    output::line(&format!(
        "  {:<20} {} ({})",
        "originals",
        output::count(files.originals),
        output::bytes(files.originals_bytes)
    ))?;
    output::line(&format!(
        "  {:<20} {} ({})",
        "generated files",
        output::count(files.generated),
        output::bytes(files.generated_bytes)
    ))?;
    if status.evicted.files > 0 {
        output::line(&format!(
            "  {:<20} {} ({}) of these, which their peers have",
            "gone to make room",
            output::count(status.evicted.files),
            output::bytes(status.evicted.bytes)
        ))?;
    }
    for (number, what) in [
        (status.unrenderable, "unrenderable"),
        (status.damaged, "damaged files"),
        (status.conflicts, "conflicts"),
    ] {
        if number > 0 {
            output::line(&format!("  {what:<20} {}", output::count(number)))?;
        }
    }
    output::line(&format!("  {:<20} {}", "scrub", status.scrub.line()))?;
    for peer in &status.peers {
        let state = match (peer.in_sync, &peer.as_of) {
            (Some(true), Some(as_of)) => format!("in sync as of {as_of}"),
            (Some(false), Some(as_of)) if peer.equal_in_part => {
                format!("equal in what was compared, which is not everything, as of {as_of}")
            }
            (Some(false), Some(as_of)) => format!("NOT in sync as of {as_of}"),
            (_, Some(as_of)) => format!(
                "unknown: things changed since the comparison of {as_of}; run `emsync verify {}`",
                peer.name
            ),
            (_, None) => format!("unknown: never compared; run `emsync verify {}`", peer.name),
        };
        let jobs = &peer.jobs;
        output::line(&format!("peer {}: {state}", peer.name))?;
        if let Some(since) = &peer.paused_since {
            output::line(&format!(
                "  PAUSED since {since}; `emsync peer resume {}`",
                peer.name
            ))?;
        }
        let counts = [jobs.open, jobs.quarantined, jobs.held].map(output::count);
        output::line(&format!(
            "  {} waiting, {} set aside, {} deletes held",
            counts[0], counts[1], counts[2]
        ))?;
    }
    if let Some(to) = &status.restoring {
        output::line(&format!(
            "  {:<20} to {to} is under way, or was cut short: then ask for the same restore again",
            "restore"
        ))?;
    }
    for taken in &status.successions {
        output::line(&taken.line())?;
    }
    for sender in &status.senders {
        output::line(&receive::line(sender))?;
    }
    for peer in status.peers.iter().filter(|peer| peer.push) {
        let until = match &peer.pushed_until {
            Some(at) => format!("changes up to {at} were sent"),
            None => "nothing was sent yet".to_owned(),
        };
        let waiting = &peer.to_send;
        output::line(&format!(
            "push to {}: {until}; {} waiting ({}), {} set aside",
            peer.name,
            output::count(waiting.open),
            output::bytes(waiting.open_bytes),
            output::count(waiting.quarantined)
        ))?;
    }
    if let Some(run) = &status.last_run {
        output::line(&summary(run))?;
    }
    Ok(())
}

/// The run in one line, with how many files it fetched at once.
fn summary(run: &LastRun) -> String {
    let of = match run.peer.as_str() {
        "" => String::new(),
        peer => format!(" of {peer}"),
    };
    let ended = match (&run.ended_at, &run.outcome) {
        (Some(at), Some(outcome)) => format!("{outcome}, {at}"),
        _ => format!("not ended, began {}", run.started_at),
    };
    let transfers = run
        .report
        .as_ref()
        .and_then(|report| serde_json::from_value(report["transfers"].clone()).ok())
        .filter(|transfers: &Transfers| transfers.small.most + transfers.large.most > 0)
        .map_or_else(String::new, |transfers| {
            let [small, large] = [transfers.small, transfers.large];
            format!(
                "; up to {} at once, {} large (at most {})",
                output::counted(small.most, "small file"),
                output::count(large.most),
                output::count(transfers.ceiling)
            )
        });
    format!("last run: {}{of}: {ended}{transfers}", run.activity)
}
