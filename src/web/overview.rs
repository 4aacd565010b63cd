//! How this node stands, on one screen.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use tokio::sync::Mutex;

use super::Web;
use super::error::Error;
use super::filters;
use super::shell::{Said, Shell, html, when};
use crate::catalogue::{JobCounts, Moment, Session};
use crate::config::Config;
use crate::node::Node;
use crate::reconcile::verify::{Layer, LayerReport};
use crate::status::{LastRun, PeerStatus, Status, gather};
use crate::text::{bytes, count, counted};

/// What was found out last, and at which state of the catalogue: counting everything is not done twice for one state, however many
/// pages are open.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<(Moment, Vec<String>, Status)>>);

impl Known {
    /// How the node stands.
    pub(super) async fn status(&self, node: &Node) -> Result<Status, Error> {
        let mut known = self.0.lock().await;
        let moment = node.catalogue.moment();
        let peers = peers_of(&node.config);
        if let (Some(now), Some((then, of, status))) = (moment, &*known)
            && (now, &peers) == (*then, of)
        {
            return Ok(status.clone());
        }
        let status = gather(node).await?;
        *known = moment.map(|moment| (moment, peers, status.clone()));
        Ok(status)
    }
}

/// What a status says of the configuration's peers.
fn peers_of(config: &Config) -> Vec<String> {
    let of = |peer: &crate::config::Peer| {
        format!(
            "{} {} {} {}",
            peer.name, peer.base_url, peer.enabled, peer.push
        )
    };
    config.peers.iter().map(of).collect()
}

#[derive(Template)]
#[template(path = "overview.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    broken: Option<String>,
    status: Status,
    tiles: Vec<(&'static str, String, String)>,
    peers: Vec<Card>,
    last_run: Option<String>,
    running: Vec<Running>,
}

/// A run of the scheduler that goes on.
struct Running {
    id: i64,
    event: String,
    phase: &'static str,
    since: String,
}

/// One peer.
struct Card {
    name: String,
    base_url: String,
    class: &'static str,
    state: String,
    facts: Vec<(&'static str, String)>,
    quarantined: u64,
    held: u64,
    layers: Vec<Row>,
}

/// One layer of the last comparison.
struct Row {
    name: &'static str,
    layer: Option<Layer>,
    reason: String,
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let (node, broken) = web.current_or_former();
    let status = web.known.status(&node).await?;
    let running = web.scheduler.current().into_iter().map(|one| Running {
        id: one.id,
        event: one.event,
        phase: one.seen.phase.unwrap_or("begins"),
        since: when(one.started_at),
    });
    html(&Page {
        shell: Shell::new(&web, &session, "").saying(said.said.as_deref()),
        broken,
        tiles: tiles(&node, &status)?,
        peers: status.peers.iter().map(card).collect(),
        last_run: status.last_run.as_ref().map(summary),
        running: running.collect(),
        status,
    })
}

/// The same as JSON.
pub(super) async fn status(State(web): State<Arc<Web>>) -> Result<Json<Status>, Error> {
    let (node, _) = web.current_or_former();
    Ok(Json(web.known.status(&node).await?))
}

fn tiles(node: &Node, status: &Status) -> Result<Vec<(&'static str, String, String)>, Error> {
    let assets = status.records.get("asset").copied().unwrap_or_default();
    let others: u64 = (status.records.iter())
        .filter(|(table, _)| *table != "asset")
        .map(|(_, counted)| counted.live)
        .sum();
    let files = &status.files;
    let trash = format!("trash kept {}", node.config.retention.said());
    Ok(vec![
        (
            "Assets",
            count(assets.live),
            format!("{} deleted", count(assets.deleted)),
        ),
        (
            "Other records",
            count(others),
            format!("{} tables", status.records.len()),
        ),
        (
            "Originals",
            count(files.originals),
            bytes(files.originals_bytes),
        ),
        (
            "Generated",
            count(files.generated),
            bytes(files.generated_bytes),
        ),
        ("Disk free", bytes(node.store.free_bytes()?), trash),
        (
            "Read again",
            match status.scrub.oldest_verified_seconds {
                Some(seconds) => counted(seconds / (24 * 60 * 60), "day"),
                None => "–".to_owned(),
            },
            status.scrub.line(),
        ),
        (
            "For a person",
            count(status.conflicts + status.damaged),
            format!(
                "{} conflicts, {} damaged",
                count(status.conflicts),
                count(status.damaged)
            ),
        ),
    ])
}

fn card(peer: &PeerStatus) -> Card {
    let (class, state) = verdict(peer);
    Card {
        name: peer.name.clone(),
        base_url: peer.base_url.clone(),
        class,
        state,
        facts: facts(peer),
        quarantined: peer.jobs.quarantined + peer.to_send.quarantined,
        held: peer.jobs.held,
        layers: peer.layers.as_ref().map_or_else(Vec::new, |layers| {
            layers.named().into_iter().map(row).collect()
        }),
    }
}

/// Never "equal" without a comparison that is newer than the last change (I12).
fn verdict(peer: &PeerStatus) -> (&'static str, String) {
    if let Some(since) = peer.paused_since.as_ref().filter(|_| peer.enabled) {
        return ("warn", format!("Paused since {}", when(since)));
    }
    match (peer.enabled, peer.in_sync, &peer.as_of) {
        (false, ..) => ("dim", "Disabled".to_owned()),
        (_, Some(true), Some(as_of)) => ("good", format!("Equal as of {}", when(as_of))),
        (_, Some(false), Some(as_of)) if peer.equal_in_part => (
            "good",
            format!("Equal in what it holds as of {}", when(as_of)),
        ),
        (_, Some(false), Some(as_of)) => ("bad", format!("Differs as of {}", when(as_of))),
        (_, _, Some(as_of)) => ("warn", format!("Unknown since {}", when(as_of))),
        (_, _, None) => ("warn", "Unknown: never compared".to_owned()),
    }
}

fn facts(peer: &PeerStatus) -> Vec<(&'static str, String)> {
    let time = |time: &Option<String>| time.as_ref().map_or_else(|| "never".to_owned(), when);
    let mut facts = vec![
        ("Last success", time(&peer.last_success)),
        ("Pulled until", time(&peer.watermark)),
        ("To fetch", waiting(&peer.jobs)),
    ];
    if let Some(ms) = peer.skew_ms {
        facts.push(("Clock offset", format!("{:.1} s", ms as f64 / 1000.0)));
    }
    if peer.push {
        facts.push(("Sent until", time(&peer.pushed_until)));
        facts.push(("To send", waiting(&peer.to_send)));
    }
    facts
}

fn waiting(jobs: &JobCounts) -> String {
    match jobs.open {
        0 => "nothing".to_owned(),
        open => format!("{} jobs, {} left", count(open), bytes(jobs.open_bytes)),
    }
}

fn row((name, report): (&'static str, &LayerReport)) -> Row {
    let (layer, reason) = match report {
        LayerReport::Compared(layer) => (Some(*layer), String::new()),
        LayerReport::NotCompared { reason } => (None, reason.clone()),
    };
    Row {
        name,
        layer,
        reason,
    }
}

fn summary(run: &LastRun) -> String {
    let with = match run.peer.as_str() {
        "" => String::new(),
        peer => format!(" with {peer}"),
    };
    match (&run.outcome, &run.ended_at) {
        (Some(outcome), Some(at)) => format!("{}{with}: {outcome}, {}", run.activity, when(at)),
        _ => format!(
            "{}{with}: began {}, not ended",
            run.activity,
            when(&run.started_at)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(in_sync: Option<bool>, as_of: Option<&str>) -> PeerStatus {
        PeerStatus {
            name: "m".to_owned(),
            base_url: String::new(),
            enabled: true,
            paused_since: None,
            in_sync,
            equal_in_part: false,
            as_of: as_of.map(str::to_owned),
            layers: None,
            watermark: None,
            last_success: None,
            skew_ms: None,
            jobs: JobCounts::default(),
            push: false,
            pushed_until: None,
            to_send: JobCounts::default(),
        }
    }

    #[test]
    fn equal_is_said_only_of_a_comparison_that_holds() {
        let as_of = Some("2027-01-15T08:00:00.000Z");
        let of = |in_sync, as_of| verdict(&peer(in_sync, as_of)).1;
        assert_eq!(of(Some(true), as_of), "Equal as of 2027-01-15 08:00:00");
        assert_eq!(of(Some(false), as_of), "Differs as of 2027-01-15 08:00:00");
        assert_eq!(of(None, as_of), "Unknown since 2027-01-15 08:00:00");
        assert_eq!(of(None, None), "Unknown: never compared");
        let disabled = PeerStatus {
            enabled: false,
            ..peer(Some(true), as_of)
        };
        assert_eq!(verdict(&disabled).1, "Disabled");
        let paused = PeerStatus {
            paused_since: as_of.map(str::to_owned),
            ..peer(Some(true), as_of)
        };
        assert_eq!(verdict(&paused).1, "Paused since 2027-01-15 08:00:00");
    }
}
