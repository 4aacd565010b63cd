//! Failed work that was set aside, with its reason: tried again or dropped, one by one or all of a peer; as a table, JSON or CSV.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Form, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream::try_unfold;

use super::Web;
use super::error::Error;
use super::shell::{Shell, done, escaped, html, when};
use crate::aside::{self, Deed};
use crate::catalogue::{self, Aside, Catalogue, Lane, Session, Standing};

/// Jobs on a page.
const PAGE: usize = 100;
/// Jobs done something to at a time.
const BATCH: usize = 500;

/// Which of them.
#[derive(Debug, Default, Clone, serde::Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    peer: String,
    #[serde(default)]
    after: i64,
    said: Option<String>,
}

impl Which {
    fn aside(&self) -> Aside<'_> {
        Aside::Of(Some(self.peer.as_str()).filter(|peer| !peer.is_empty()))
    }
}

#[derive(Template)]
#[template(path = "quarantine.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    peer: String,
    peers: Vec<String>,
    jobs: Vec<Row>,
    next: Option<i64>,
}

struct Row {
    id: i64,
    peer: String,
    subject: String,
    asset: String,
    kind: &'static str,
    attempts: u32,
    reason: String,
    since: String,
    is_record: bool,
}

impl From<Standing> for Row {
    fn from(job: Standing) -> Self {
        Self {
            id: job.id,
            asset: escaped(&job.asset),
            kind: aside::kind(job.lane),
            attempts: job.attempts,
            reason: job.reason,
            since: when(job.since),
            is_record: job.lane == Lane::Record,
            peer: job.peer,
            subject: job.subject,
        }
    }
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    let jobs = node
        .catalogue
        .quarantined(which.aside(), which.after, PAGE)
        .await?;
    let next = (jobs.len() == PAGE)
        .then(|| jobs.last().map(|job| job.id))
        .flatten();
    html(&Page {
        shell: Shell::new(&web, &session, "quarantine").saying(which.said.as_deref()),
        peers: node
            .config
            .peers
            .iter()
            .map(|peer| peer.name.clone())
            .collect(),
        jobs: jobs.into_iter().map(Row::from).collect(),
        peer: which.peer,
        next,
    })
}

/// One job as JSON and CSV have it.
#[derive(serde::Serialize)]
pub(super) struct Printed {
    id: i64,
    peer: String,
    subject: String,
    asset: String,
    lane: Lane,
    attempts: u32,
    reason: String,
    since: String,
}

impl From<Standing> for Printed {
    fn from(job: Standing) -> Self {
        Self {
            id: job.id,
            peer: job.peer,
            subject: job.subject,
            asset: job.asset,
            lane: job.lane,
            attempts: job.attempts,
            reason: job.reason,
            since: job.since.to_string(),
        }
    }
}

/// A page of them as JSON.
pub(super) async fn api(
    State(web): State<Arc<Web>>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<Printed>>, Error> {
    let jobs = web
        .node
        .catalogue
        .quarantined(which.aside(), which.after, PAGE)
        .await?;
    Ok(Json(jobs.into_iter().map(Printed::from).collect()))
}

/// What is to be done, and to which.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    deed: String,
    /// One job; without it all of `peer`, or of everybody where that is blank.
    id: Option<i64>,
    #[serde(default)]
    peer: String,
}

/// Does it.
pub(super) async fn act(
    State(web): State<Arc<Web>>,
    Form(asked): Form<Asked>,
) -> Result<Response, Error> {
    let deed = match asked.deed.as_str() {
        "retry" => Deed::Retry,
        "drop" => Deed::Drop,
        _ => return Err(Error::Refused("neither retry nor drop".to_owned())),
    };
    let which = Which {
        peer: asked.peer,
        ..Which::default()
    };
    let said = match asked.id {
        Some(id) => one(&web, id, deed).await?,
        None => all(&web, which.aside(), deed).await?,
    };
    let path = match which.peer.as_str() {
        "" => "quarantine".to_owned(),
        peer => format!("quarantine?peer={}", escaped(peer)),
    };
    Ok(done(&path, &said))
}

async fn one(web: &Web, id: i64, deed: Deed) -> Result<String, Error> {
    let text = id.to_string();
    let mut found = web
        .node
        .catalogue
        .quarantined(Aside::Named(&text, None), 0, BATCH)
        .await?;
    found.retain(|job| job.id == id);
    let became = aside::act(&web.node, &found, deed).await?;
    Ok(match (found.first(), became.into_iter().next()) {
        (Some(job), Some(became)) => format!("{}: {}.", job.subject, became.says),
        _ => "It is not set aside any more.".to_owned(),
    })
}

async fn all(web: &Web, which: Aside<'_>, deed: Deed) -> Result<String, Error> {
    let (mut after, mut count) = (0, 0_u64);
    loop {
        let page = web.node.catalogue.quarantined(which, after, BATCH).await?;
        let became = aside::act(&web.node, &page, deed).await?;
        count += became.iter().filter(|became| became.done).count() as u64;
        match page.last() {
            Some(last) if page.len() == BATCH => after = last.id,
            _ => break,
        }
    }
    let what = match deed {
        Deed::Retry => "ready for the next sync",
        Deed::Drop => "dropped",
    };
    Ok(format!("{} {what}.", crate::text::count(count)))
}

/// All of them as CSV (RFC 4180), page by page, so that their number does not count.
pub(super) async fn csv(State(web): State<Arc<Web>>, Query(which): Query<Which>) -> Response {
    let head = Bytes::from_static(b"id,peer,subject,asset,kind,tries,since,reason\r\n");
    let state = Some((web, which.peer, 0_i64, Some(head)));
    let rows = try_unfold(state, async |state| {
        let Some((web, peer, after, head)) = state else {
            return Ok(None);
        };
        if let Some(head) = head {
            return Ok(Some((head, Some((web, peer, after, None)))));
        }
        let (rows, last) = rows(&web.node.catalogue, &peer, after).await?;
        let next = last.map(|last| (web, peer, last, None));
        Ok::<_, catalogue::Error>(Some((rows, next)))
    });
    let head = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"set-aside.csv\"",
        ),
    ];
    (head, Body::from_stream(rows)).into_response()
}

/// Rows after one, and where the next begin, if there are more.
async fn rows(
    catalogue: &Catalogue,
    peer: &str,
    after: i64,
) -> Result<(Bytes, Option<i64>), catalogue::Error> {
    let peer = Some(peer).filter(|peer| !peer.is_empty());
    let page = catalogue.quarantined(Aside::Of(peer), after, BATCH).await?;
    let mut text = String::new();
    for job in &page {
        let cells = [
            job.id.to_string(),
            cell(&job.peer),
            cell(&job.subject),
            cell(&job.asset),
            cell(aside::kind(job.lane)),
            job.attempts.to_string(),
            job.since.to_string(),
            cell(&job.reason),
        ];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    let last = page
        .last()
        .filter(|_| page.len() == BATCH)
        .map(|job| job.id);
    Ok((Bytes::from(text), last))
}

/// A text as a cell. One that a spreadsheet would take for a formula gets a mark that makes it a text: names come from elsewhere.
fn cell(text: &str) -> String {
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_any_text_and_no_formula() {
        assert_eq!(cell("a \"b\",\n"), "\"a \"\"b\"\",\n\"");
        assert_eq!(cell("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
    }
}
