//! What lost when two nodes edited one record: which, in what the sides differ, and the way back to either.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::Value;

use super::Web;
use super::error::Error;
use super::shell::{Said, Shell, done, html, when};
use crate::catalogue::{KeptConflict, Session, Winner};
use crate::edits::{self, Side};
use crate::model::Record;
use crate::protocol::conflict::row;

/// Conflicts on a page.
const PAGE: usize = 100;

/// From where on.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Before {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "conflicts.html", config = "src/web/askama.toml")]
struct All {
    shell: Shell,
    conflicts: Vec<Row>,
    next: Option<i64>,
}

struct Row {
    id: i64,
    key: String,
    peer: String,
    at: String,
    kept: &'static str,
}

fn kept_said(winner: Winner) -> &'static str {
    match winner {
        Winner::Local => "ours was kept",
        Winner::Remote => "theirs was taken",
    }
}

impl From<&KeptConflict> for Row {
    fn from(KeptConflict { id, conflict }: &KeptConflict) -> Self {
        Self {
            id: *id,
            key: conflict.key.to_string(),
            peer: conflict.peer.clone(),
            at: when(conflict.at),
            kept: kept_said(conflict.winner),
        }
    }
}

/// All of them, the newest first.
pub(super) async fn all(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(before): Query<Before>,
) -> Result<Response, Error> {
    let page = web
        .node
        .catalogue
        .conflicts_before(before.before, PAGE)
        .await?;
    html(&All {
        shell: Shell::new(&web, &session, "conflicts"),
        conflicts: page.iter().map(Row::from).collect(),
        next: page
            .last()
            .filter(|_| page.len() == PAGE)
            .map(|kept| kept.id),
    })
}

/// The same as JSON, as EMDB has its rows.
pub(super) async fn api(
    State(web): State<Arc<Web>>,
    Query(before): Query<Before>,
) -> Result<Json<Vec<Value>>, Error> {
    let page = web
        .node
        .catalogue
        .conflicts_before(before.before, PAGE)
        .await?;
    let printed = page.iter().map(|KeptConflict { id, conflict }| {
        let (local, remote) = (&conflict.local_source, &conflict.remote_source);
        let mut row = row(&conflict.key, conflict.at, local, remote);
        row["id"] = (*id).into();
        row["peer"] = conflict.peer.clone().into();
        row["winner"] = serde_json::to_value(conflict.winner).unwrap_or_default();
        row
    });
    Ok(Json(printed.collect()))
}

#[derive(Template)]
#[template(path = "conflict.html", config = "src/web/askama.toml")]
struct One {
    shell: Shell,
    row: Row,
    ours: String,
    theirs: String,
    differences: Vec<Difference>,
}

struct Difference {
    member: String,
    ours: String,
    theirs: String,
}

async fn find(web: &Web, id: i64) -> Result<KeptConflict, Error> {
    let found = web.node.catalogue.conflict(id).await?;
    found.ok_or(Error::NotFound)
}

/// One of them, member by member.
pub(super) async fn one(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(id): Path<i64>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let kept = find(&web, id).await?;
    let unreadable = |error| Error::Refused(crate::error::chain(&error));
    let side = |which| edits::side(&kept.conflict, which).map_err(unreadable);
    let differences = edits::differences(&kept.conflict).map_err(unreadable)?;
    html(&One {
        shell: Shell::new(&web, &session, "conflicts").saying(said.said.as_deref()),
        row: Row::from(&kept),
        ours: saved(&side(Side::Local)?),
        theirs: saved(&side(Side::Remote)?),
        differences: differences
            .into_iter()
            .map(|difference| Difference {
                member: difference.member,
                ours: value(difference.local),
                theirs: value(difference.remote),
            })
            .collect(),
    })
}

fn saved(record: &Record) -> String {
    let Some(status) = &record.status else {
        return "saved by a node that does not say so".to_owned();
    };
    let verb = if status.deleted { "deleted" } else { "saved" };
    format!(
        "{verb} by {} at {}",
        status.modified_by,
        when(status.modified)
    )
}

fn value(value: Option<Value>) -> String {
    match value {
        None => "–".to_owned(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

/// Which side.
#[derive(serde::Deserialize)]
pub(super) struct Chosen {
    side: String,
}

/// Makes one side hold again, as a new edit.
pub(super) async fn restore(
    State(web): State<Arc<Web>>,
    Path(id): Path<i64>,
    Form(chosen): Form<Chosen>,
) -> Result<Response, Error> {
    let kept = find(&web, id).await?;
    let (which, whose) = match chosen.side.as_str() {
        "local" => (Side::Local, "Ours"),
        "remote" => (Side::Remote, "Theirs"),
        _ => return Err(Error::Refused("neither local nor remote".to_owned())),
    };
    let (node, _) = web.current_or_former();
    let edit = edits::restore(&node, &kept.conflict, which, false).await;
    let edit = edit.map_err(|error| Error::Refused(crate::error::chain(&error)))?;
    let said = match edit {
        Some(_) => format!("{whose} holds again, as a new edit made here."),
        None => "The record is like that already.".to_owned(),
    };
    Ok(done(&format!("conflicts/{id}"), &said))
}
