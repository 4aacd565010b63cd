//! `emsync status`: one screen about this node. "In sync" only where a comparison newer than the last change says so (I12).

use std::collections::BTreeMap;

use super::args::{Global, Json};
use super::receive::{self, Waiting};
use super::{ExitCode, output};
use crate::catalogue::{Counted, FileTotals, JobCounts, Run};
use crate::model::Timestamp;
use crate::monitor::Transfers;
use crate::node::Node;

#[derive(serde::Serialize)]
struct Status {
    node: String,
    cluster_id: String,
    in_sync: Option<bool>,
    last_change: Option<String>,
    records: BTreeMap<String, Counted>,
    files: FileTotals,
    unrenderable: u64,
    damaged: u64,
    conflicts: u64,
    peers: Vec<PeerStatus>,
    /// Those who may hand changes in and are no peers.
    senders: Vec<Waiting>,
    last_run: Option<LastRun>,
}

#[derive(serde::Serialize)]
struct LastRun {
    peer: String,
    activity: String,
    started_at: String,
    /// `None` while it goes on, or when it was killed.
    ended_at: Option<String>,
    outcome: Option<String>,
    report: Option<serde_json::Value>,
}

impl From<Run> for LastRun {
    fn from(run: Run) -> Self {
        Self {
            peer: run.peer,
            activity: run.activity,
            started_at: run.started_at.to_string(),
            ended_at: run.ended_at.map(|time| time.to_string()),
            outcome: run.outcome,
            report: run.report.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

impl LastRun {
    /// The run in one line, with how many files it fetched at once.
    fn summary(&self) -> String {
        let of = match self.peer.as_str() {
            "" => String::new(),
            peer => format!(" of {peer}"),
        };
        let ended = match (&self.ended_at, &self.outcome) {
            (Some(at), Some(outcome)) => format!("{outcome}, {at}"),
            _ => format!("not ended, began {}", self.started_at),
        };
        let transfers = self
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
        format!("last run: {}{of}: {ended}{transfers}", self.activity)
    }
}

#[derive(serde::Serialize)]
struct PeerStatus {
    name: String,
    base_url: String,
    enabled: bool,
    /// `None`: unknown, since nothing was compared after the last change.
    in_sync: Option<bool>,
    as_of: Option<String>,
    watermark: Option<String>,
    jobs: JobCounts,
    /// Whether our changes are sent to it, and what of them waits.
    push: bool,
    pushed_until: Option<String>,
    to_send: JobCounts,
}

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

async fn gather(node: &Node) -> anyhow::Result<Status> {
    let damaged = node.catalogue.damaged().await?;
    let last_change = node.catalogue.last_change().await?;
    let mut peers = Vec::new();
    for peer in &node.config.peers {
        let parity = node.catalogue.parity(&peer.name).await?;
        let valid = parity
            .as_ref()
            .filter(|parity| last_change.is_none_or(|change| parity.as_of > change));
        let checkpoint = node
            .catalogue
            .checkpoint(&peer.name, crate::pull::metadata::FEED)
            .await?;
        peers.push(PeerStatus {
            name: peer.name.clone(),
            base_url: peer.base_url.to_string(),
            enabled: peer.enabled,
            in_sync: valid.map(|parity| parity.in_sync && damaged == 0),
            as_of: parity.as_ref().map(|parity| parity.as_of.to_string()),
            watermark: checkpoint.map(|checkpoint| checkpoint.watermark.to_string()),
            jobs: node.catalogue.job_counts(Some(&peer.name)).await?,
            push: peer.push,
            pushed_until: (node.catalogue.push_state(&peer.name).await?)
                .map(|state| state.watermark)
                .filter(|watermark| *watermark > Timestamp::EPOCH)
                .map(|watermark| watermark.to_string()),
            to_send: node.catalogue.upload_counts(Some(&peer.name)).await?,
        });
    }
    let is_peer = |name: &str| node.config.peers.iter().any(|peer| peer.name == name);
    let mut senders = receive::senders(node).await?;
    senders.retain(|sender| !is_peer(&sender.name));
    let known: Option<Vec<bool>> = peers
        .iter()
        .filter(|peer| peer.enabled)
        .map(|peer| peer.in_sync)
        .collect();
    Ok(Status {
        node: node.config.node.name.clone(),
        cluster_id: node.config.node.cluster_id.to_string(),
        in_sync: known
            .filter(|known| !known.is_empty())
            .map(|known| known.into_iter().all(|in_sync| in_sync)),
        last_change: last_change.map(|time: Timestamp| time.to_string()),
        records: node
            .catalogue
            .count_records()
            .await?
            .into_iter()
            .map(|(table, counted)| (table.to_string(), counted))
            .collect(),
        files: node.catalogue.file_totals().await?,
        unrenderable: node.catalogue.count_findings().await?,
        damaged,
        conflicts: node.catalogue.count_conflicts().await?,
        peers,
        senders,
        last_run: node.catalogue.runs(1).await?.pop().map(LastRun::from),
    })
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
    for (number, what) in [
        (status.unrenderable, "unrenderable"),
        (status.damaged, "damaged files"),
        (status.conflicts, "conflicts"),
    ] {
        if number > 0 {
            output::line(&format!("  {what:<20} {}", output::count(number)))?;
        }
    }
    for peer in &status.peers {
        let state = match (peer.in_sync, &peer.as_of) {
            (Some(true), Some(as_of)) => format!("in sync as of {as_of}"),
            (Some(false), Some(as_of)) => format!("NOT in sync as of {as_of}"),
            (_, Some(as_of)) => format!(
                "unknown: things changed since the comparison of {as_of}; run `emsync verify {}`",
                peer.name
            ),
            (_, None) => format!("unknown: never compared; run `emsync verify {}`", peer.name),
        };
        let jobs = &peer.jobs;
        output::line(&format!("peer {}: {state}", peer.name))?;
        let counts = [jobs.open, jobs.quarantined, jobs.held].map(output::count);
        output::line(&format!(
            "  {} waiting, {} set aside, {} deletes held",
            counts[0], counts[1], counts[2]
        ))?;
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
        output::line(&run.summary())?;
    }
    Ok(())
}
