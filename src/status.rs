//! How this node stands, for the command line and the page. "In sync" only where a comparison newer than the last change says so (I12).

use std::collections::BTreeMap;

use crate::catalogue::{
    self, Counted, FileTotals, JobCounts, KnownSuccession, Run, Scope, ScrubRound,
};
use crate::config::Peer;
use crate::model::{NodeId, Timestamp};
use crate::node::Node;
use crate::reconcile::verify::Layers;
use crate::text;

/// How a node stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub node: String,
    /// What the cluster calls it.
    pub cluster_id: String,
    /// Whether it is equal to all its enabled peers; `None` where that is unknown of one, or there are none.
    pub in_sync: Option<bool>,
    /// When something changed here last.
    pub last_change: Option<String>,
    /// Records by table.
    pub records: BTreeMap<String, Counted>,
    /// Its files.
    pub files: FileTotals,
    /// What of them went to make room, and is fetched when somebody reads it.
    pub evicted: Evicted,
    /// Originals that allow no rendition.
    pub unrenderable: u64,
    /// Files that are not on disk as their rows say.
    pub damaged: u64,
    /// How the scrub stands.
    pub scrub: ScrubStatus,
    /// Conflicts that are kept.
    pub conflicts: u64,
    /// Its peers, in the order of the configuration.
    pub peers: Vec<PeerStatus>,
    /// Those who may hand changes in and are no peers.
    pub senders: Vec<Sender>,
    /// The moment that a restore was on its way to when it was cut short, or is on its way to now.
    pub restoring: Option<String>,
    /// Places that were taken of this node or of its peers.
    pub successions: Vec<PlaceTaken>,
    /// What was done last.
    pub last_run: Option<LastRun>,
}

/// Files that went to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Evicted {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// That a node took the place of this one, or of a peer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlaceTaken {
    /// The peer whose place it was; `None` where it was this node's.
    pub peer: Option<String>,
    /// The cluster id of the node that took it.
    pub successor: String,
    /// When, by that node's clock.
    pub at: String,
    /// The peer that says so; `None` where this node took the place itself.
    pub said_by: Option<String>,
    /// The enabled peer that the successor is, if it is one.
    pub successor_peer: Option<String>,
}

impl PlaceTaken {
    /// In one line, with what to do.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { successor, at, .. } = self;
        let whose = match &self.peer {
            Some(peer) => format!("peer {peer}: its place"),
            None => "this node's place".to_owned(),
        };
        let Some(said_by) = &self.said_by else {
            return format!("{whose} was taken by this node at {at}");
        };
        let next = match (&self.successor_peer, &self.peer) {
            (Some(name), _) => format!("`emsync sync {name}` brings what it says"),
            (None, _) => format!(
                "make sure of it, then `emsync peer add NAME --url … --cluster-id {successor} --key-file …`"
            ),
        };
        format!("{whose} was taken by {successor} at {at}, says {said_by}: {next}")
    }
}

/// How far everything here was read again.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ScrubStatus {
    /// Since when every file was read or published; `None` where there is no file.
    pub oldest_verified: Option<String>,
    /// The same as seconds before now.
    pub oldest_verified_seconds: Option<u64>,
    /// Whether that is longer ago than `scrub.days`.
    pub is_late: bool,
    /// The last round: what was read in it, found and healed.
    pub round: Option<ScrubRound>,
}

impl ScrubStatus {
    async fn of(node: &Node) -> Result<Self, catalogue::Error> {
        let (catalogue, now) = (&node.catalogue, node.seams.clock.now());
        let oldest = catalogue.oldest_verified().await?;
        let seconds = oldest.map(|at| now.since(at).as_secs());
        let late_from = u64::from(node.config.scrub.days) * 24 * 60 * 60;
        Ok(Self {
            oldest_verified: oldest.map(|at| at.to_string()),
            oldest_verified_seconds: seconds,
            is_late: seconds.is_some_and(|seconds| seconds > late_from),
            round: catalogue.scrub_round().await?,
        })
    }

    /// In one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Some(oldest) = &self.oldest_verified else {
            return "nothing to read yet".to_owned();
        };
        let late = if self.is_late {
            ": LATE, run `emsync scrub`"
        } else {
            ""
        };
        let mut line = format!("every byte read or written since {oldest}{late}");
        if let Some(round) = self.round.filter(|round| round.found() > 0) {
            line.push_str(&format!(
                "; {} found damaged in the last round, {} healed",
                text::count(round.found()),
                text::count(round.healed)
            ));
        }
        line
    }
}

/// A run, as it is known.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LastRun {
    /// With whom; empty for work of this node's own.
    pub peer: String,
    /// What was done.
    pub activity: String,
    /// When it began.
    pub started_at: String,
    /// `None` while it goes on, or when it was killed.
    pub ended_at: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Its counts.
    pub report: Option<serde_json::Value>,
}

/// Somebody who may hand changes in.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Sender {
    /// Their key's name.
    pub name: String,
    /// What the cluster calls them, when they are an emsync node that said so.
    pub cluster_id: Option<String>,
    /// What waits of theirs.
    pub jobs: JobCounts,
}

/// How this node stands towards a peer.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub base_url: String,
    /// Whether runs that name no peer include it.
    pub enabled: bool,
    /// Since when no run over it may begin, because a person paused it.
    pub paused_since: Option<String>,
    /// `None`: unknown, since nothing was compared after the last change.
    pub in_sync: Option<bool>,
    /// Not in sync, since something was left out of the comparison, but equal in all that was compared.
    pub equal_in_part: bool,
    /// When the last comparison began.
    pub as_of: Option<String>,
    /// What that comparison found, layer by layer.
    pub layers: Option<Layers>,
    /// Up to when its changes are here.
    pub watermark: Option<String>,
    /// When a run with it ended well last.
    pub last_success: Option<String>,
    /// Its clock minus ours at its last complete listing, in milliseconds.
    pub skew_ms: Option<i64>,
    /// What is to be done, or waits for a person.
    pub jobs: JobCounts,
    /// Whether our changes are sent to it, and what of them waits.
    pub push: bool,
    /// Up to when our changes were sent.
    pub pushed_until: Option<String>,
    /// What it is still to get.
    pub to_send: JobCounts,
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

/// Finds out how a node stands.
///
/// # Errors
/// [`catalogue::Error`].
pub async fn gather(node: &Node) -> Result<Status, catalogue::Error> {
    let damaged = node.catalogue.damaged().await?;
    let (files, bytes) = node.catalogue.evicted().await?;
    let last_change = node.catalogue.last_change().await?;
    let mut peers = Vec::new();
    for peer in &node.config.peers {
        peers.push(towards(node, peer, (damaged, last_change)).await?);
    }
    let is_peer = |name: &str| node.config.peers.iter().any(|peer| peer.name == name);
    let mut senders = senders(node).await?;
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
        scrub: ScrubStatus::of(node).await?,
        conflicts: node.catalogue.count_conflicts().await?,
        evicted: Evicted { files, bytes },
        peers,
        senders,
        restoring: (node.catalogue.open_restore().await?).map(|to| to.to_string()),
        successions: successions(node).await?,
        last_run: node.catalogue.runs(1).await?.pop().map(LastRun::from),
    })
}

/// The successions that concern this node: of its own place, and of its enabled peers'.
async fn successions(node: &Node) -> Result<Vec<PlaceTaken>, catalogue::Error> {
    let known = node.catalogue.successions().await?;
    let mut taken = Vec::new();
    if known.is_empty() {
        return Ok(taken);
    }
    let mut peers = Vec::new();
    for peer in node.config.enabled_peers() {
        let learned = node.catalogue.peer_node(&peer.name).await?;
        let id = peer
            .cluster_id
            .clone()
            .or(learned.map(|node| node.cluster_id));
        peers.extend(id.map(|id| (id, peer.name.clone())));
    }
    let named = |id: &NodeId| {
        peers
            .iter()
            .find(|(peer, _)| peer == id)
            .map(|(_, name)| name.clone())
    };
    for KnownSuccession {
        succession,
        said_by,
    } in known
    {
        let peer = named(&succession.former);
        if peer.is_none() && succession.former != node.config.node.cluster_id {
            continue;
        }
        taken.push(PlaceTaken {
            peer,
            successor_peer: named(&succession.successor),
            successor: succession.successor.to_string(),
            at: succession.at.to_string(),
            said_by,
        });
    }
    Ok(taken)
}

/// How it stands towards one peer.
async fn towards(
    node: &Node,
    peer: &Peer,
    (damaged, last_change): (u64, Option<Timestamp>),
) -> Result<PeerStatus, catalogue::Error> {
    let (catalogue, name) = (&node.catalogue, peer.name.as_str());
    let parity = catalogue.parity(name).await?;
    let valid = parity
        .as_ref()
        .filter(|parity| last_change.is_none_or(|change| parity.as_of > change));
    let checkpoint = catalogue
        .checkpoint(name, crate::pull::metadata::FEED)
        .await?;
    let layers = (parity.as_ref()).and_then(|parity| Layers::read(&parity.report));
    let in_sync = valid.map(|parity| parity.in_sync && damaged == 0);
    let agrees = layers.as_ref().is_some_and(Layers::agree);
    Ok(PeerStatus {
        equal_in_part: in_sync == Some(false) && damaged == 0 && agrees,
        name: peer.name.clone(),
        base_url: peer.base_url.to_string(),
        enabled: peer.enabled,
        paused_since: (catalogue.paused_since(name).await?).map(|at| at.to_string()),
        in_sync,
        as_of: parity.as_ref().map(|parity| parity.as_of.to_string()),
        layers,
        watermark: checkpoint.map(|checkpoint| checkpoint.watermark.to_string()),
        last_success: (catalogue.last_success(name).await?).map(|at| at.to_string()),
        skew_ms: checkpoint.map(|checkpoint| {
            checkpoint.server_watermark.as_millis() - checkpoint.watermark.as_millis()
        }),
        jobs: catalogue.job_counts(Some(name)).await?,
        push: peer.push,
        pushed_until: (catalogue.push_state(name).await?)
            .map(|state| state.watermark)
            .filter(|watermark| *watermark > Timestamp::EPOCH)
            .map(|watermark| watermark.to_string()),
        to_send: catalogue.upload_counts(Some(name)).await?,
    })
}

/// Everybody who may hand changes in, by name.
///
/// # Errors
/// [`catalogue::Error`].
pub async fn senders(node: &Node) -> Result<Vec<Sender>, catalogue::Error> {
    let mut senders = Vec::new();
    let keys = node.catalogue.keys().await?;
    for key in keys.into_iter().filter(|key| key.scope == Scope::Write) {
        let said = node.catalogue.peer_node(&key.name).await?;
        senders.push(Sender {
            cluster_id: said.map(|said| said.cluster_id.to_string()),
            jobs: node.catalogue.job_counts(Some(&key.name)).await?,
            name: key.name,
        });
    }
    Ok(senders)
}
