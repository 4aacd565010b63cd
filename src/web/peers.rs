//! The nodes this one exchanges with: all of them, one of them, and what can be done with it at once.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::Response;
use axum::{Extension, Json};

use super::Web;
use super::error::Error;
use super::narrow::Wanted;
use super::peer_form::{Fields, GENERATED};
use super::shell::{Said, Shell, done, html, when};
use crate::catalogue::Session;
use crate::config::edit::remove_peer;
use crate::config::members::{Member, change_peer};
use crate::config::peer::Described;
use crate::config::{KeySource, Peer};
use crate::node::Node;
use crate::peer::{self, Kind, Probe};
use crate::pull::metadata::FEED;

#[derive(Template)]
#[template(path = "peers.html", config = "src/web/askama.toml")]
struct All {
    shell: Shell,
    broken: Option<String>,
    peers: Vec<Row>,
}

struct Row {
    name: String,
    base_url: String,
    cluster_id: String,
    enabled: bool,
    is_paused: bool,
    push: bool,
    pulled_until: String,
}

#[derive(Template)]
#[template(path = "peer.html", config = "src/web/askama.toml")]
pub(super) struct One {
    shell: Shell,
    name: String,
    enabled: bool,
    paused_since: Option<String>,
    fields: Fields,
    wanted: Wanted,
    generated: [(&'static str, &'static str); 4],
    key: String,
    pulled_until: String,
    /// As the field for a date has it.
    pulled_until_field: String,
    probe: Option<Probed>,
}

/// What a test found.
struct Probed {
    is_good: bool,
    lines: Vec<String>,
    warnings: Vec<String>,
}

/// All peers.
pub(super) async fn all(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let (node, broken) = web.current_or_former();
    let mut peers = Vec::new();
    let paused = node.catalogue.paused().await?;
    for peer in &node.config.peers {
        peers.push(Row {
            name: peer.name.clone(),
            base_url: peer.base_url.to_string(),
            cluster_id: (peer.cluster_id.as_ref()).map_or_else(String::new, ToString::to_string),
            enabled: peer.enabled,
            is_paused: paused.contains_key(&peer.name),
            push: peer.push,
            pulled_until: pulled_until(&node, &peer.name)
                .await?
                .map_or_else(|| "never".to_owned(), when),
        });
    }
    html(&All {
        shell: Shell::new(&web, &session, "peers").saying(said.said.as_deref()),
        broken,
        peers,
    })
}

async fn pulled_until(node: &Node, peer: &str) -> Result<Option<crate::model::Timestamp>, Error> {
    let checkpoint = node.catalogue.checkpoint(peer, FEED).await?;
    Ok(checkpoint.map(|checkpoint| checkpoint.watermark))
}

/// One peer.
pub(super) async fn one(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let shell = Shell::new(&web, &session, "peers").saying(said.said.as_deref());
    html(&shown(&web, shell, &name, (None, None)).await?)
}

/// The page of one peer, with what a form sent instead of what the file has, where it could not be taken: its settings, or which files are
/// wanted of it.
pub(super) async fn shown(
    web: &Web,
    shell: Shell,
    name: &str,
    (sent, wanted): (Option<Fields>, Option<Wanted>),
) -> Result<One, Error> {
    let (node, _) = web.current_or_former();
    let peer = node.config.peer(name).map_err(|_| Error::NotFound)?;
    let until = pulled_until(&node, name).await?;
    let paused_since = node.catalogue.paused_since(name).await?;
    Ok(One {
        shell,
        name: peer.name.clone(),
        enabled: peer.enabled,
        paused_since: paused_since.map(when),
        fields: sent.unwrap_or_else(|| Fields::of(peer)),
        wanted: wanted.unwrap_or_else(|| Wanted::of(&peer.filter)),
        generated: GENERATED,
        key: key_said(peer),
        pulled_until: until.map_or_else(|| "never".to_owned(), when),
        pulled_until_field: until.map_or_else(String::new, |at| when(at).replacen(' ', "T", 1)),
        probe: None,
    })
}

/// Where the key is, never what it is.
fn key_said(peer: &Peer) -> String {
    match peer.key_source() {
        None => "none yet".to_owned(),
        Some(KeySource::Inline(_)) => "kept in emsync.toml".to_owned(),
        Some(KeySource::File(path)) => format!("kept in {}", path.display()),
        Some(KeySource::Env(variable)) => format!("taken from the variable {variable}"),
    }
}

/// Asks the peer who it is.
pub(super) async fn test(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let shell = Shell::new(&web, &session, "peers");
    let mut page = shown(&web, shell, &name, (None, None)).await?;
    let (node, _) = web.current_or_former();
    let peer = node.config.peer(&name).map_err(|_| Error::NotFound)?;
    page.probe = Some(tokio::select! {
        probed = probe(&node, peer) => match probed {
            Ok(probe) => told(&node, &probe),
            Err(why) => Probed {
                is_good: false,
                lines: vec![why],
                warnings: Vec::new(),
            },
        },
        () = web.shutdown.wait() => return Err(Error::Ending),
    });
    html(&page)
}

async fn probe(node: &Node, settings: &Peer) -> Result<Probe, String> {
    let key = settings.key().map_err(|error| error.report())?;
    let throttle = node.throttle.clone();
    let peer = peer::Peer::new(settings, &key, &node.config.limits, throttle)
        .map_err(|error| crate::error::chain(&error))?;
    let probed = peer
        .probe(&*node.seams.clock, settings.pull_originals)
        .await;
    probed.map_err(|error| crate::error::chain(&error))
}

fn told(node: &Node, probe: &Probe) -> Probed {
    let kind = match &probe.kind {
        Kind::Enter => "EnterMediaDB".to_owned(),
        Kind::Emsync(version) => format!("emsync {version}"),
    };
    let id = (probe.cluster_id.as_ref()).map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let skew = (probe.skew_ms).map_or_else(|| "unknown".to_owned(), |ms| format!("{ms} ms"));
    let records = crate::text::counted(probe.records, "record");
    let mut warnings: Vec<_> = probe.warnings.iter().map(peer::Warning::said).collect();
    if probe.cluster_id.as_ref() == Some(&node.config.node.cluster_id) {
        warnings.push("it has this node's own cluster id".to_owned());
    }
    Probed {
        is_good: warnings.is_empty(),
        lines: vec![
            format!("{kind}, cluster id {id}, catalog {}", probe.catalog),
            format!(
                "{records} to list, answered in {} ms, clock offset {skew}",
                probe.latency_ms
            ),
        ],
        warnings,
    }
}

/// Whether runs include it.
#[derive(serde::Deserialize)]
pub(super) struct Enabling {
    enabled: bool,
}

/// Includes the peer in runs that name none, or leaves it out.
pub(super) async fn enable(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
    Form(enabling): Form<Enabling>,
) -> Result<Response, Error> {
    let member = ("enabled", Member::Flag(enabling.enabled));
    change_peer(&web.node.config.file, &name, &[member])
        .map_err(|error| Error::Refused(error.report()))?;
    web.reload().await?;
    let what = if enabling.enabled {
        "enabled"
    } else {
        "disabled"
    };
    Ok(done(
        &format!("peers/{name}"),
        &format!("{name} is {what}."),
    ))
}

/// Whether runs over it wait.
#[derive(serde::Deserialize)]
pub(super) struct Pausing {
    paused: bool,
}

/// Ends the run over a peer that goes on, and lets none begin; or lets them again.
pub(super) async fn pause(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
    Form(pausing): Form<Pausing>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let said = if pausing.paused {
        let now = node.seams.clock.now();
        node.catalogue.pause(&name, now).await?;
        format!("{name} is paused: what is in flight is parked, and no run over it begins.")
    } else {
        node.catalogue.resume(&name).await?;
        format!("{name} is resumed: what was due meanwhile begins.")
    };
    web.scheduler.look();
    Ok(done(&format!("peers/{name}"), &said))
}

/// A peer as JSON.
#[derive(serde::Serialize)]
pub(super) struct Printed {
    #[serde(flatten)]
    peer: Described,
    paused_since: Option<String>,
    pulled_until: Option<String>,
}

/// All peers as JSON, without their keys.
pub(super) async fn api(State(web): State<Arc<Web>>) -> Result<Json<Vec<Printed>>, Error> {
    let (node, _) = web.current_or_former();
    let paused = node.catalogue.paused().await?;
    let mut peers = Vec::new();
    for peer in &node.config.peers {
        peers.push(Printed {
            peer: Described::of(peer),
            paused_since: paused.get(&peer.name).map(ToString::to_string),
            pulled_until: (pulled_until(&node, &peer.name).await?).map(|until| until.to_string()),
        });
    }
    Ok(Json(peers))
}

/// Takes the peer out of the configuration.
pub(super) async fn remove(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    remove_peer(&web.node.config.file, &name).map_err(|error| Error::Refused(error.report()))?;
    web.reload().await?;
    Ok(done(
        "peers",
        &format!("{name} is removed. What was pulled from it stays."),
    ))
}
