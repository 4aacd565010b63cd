//! What the node does by itself: every event with its next and its last run, and what can be done with it at once.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::response::Response;
use axum::{Extension, Json};

use super::Web;
use super::error::Error;
use super::runs::{History, history};
use super::shell::{Said, Shell, done, escaped, html, when};
use crate::catalogue::{EventRun, Session};
use crate::config::edit;
use crate::schedule::{self, Standing};

#[derive(Template)]
#[template(path = "schedule.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    broken: Option<String>,
    events: Vec<Row>,
    runs: Vec<History>,
}

struct Row {
    name: String,
    /// The same as a part of an address.
    query: String,
    action: &'static str,
    peer: String,
    when: String,
    window: String,
    enabled: bool,
    is_held: bool,
    next_at: Option<String>,
    running: Option<Going>,
    last: Option<History>,
}

/// A run that goes on.
struct Going {
    id: i64,
    phase: &'static str,
}

/// Runs that are shown with the events.
const SHOWN: usize = 20;

pub(super) fn told(error: schedule::Error) -> Error {
    match error {
        schedule::Error::Catalogue(error) => Error::Catalogue(error),
        other => Error::Refused(crate::error::chain(&other)),
    }
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let events = web.scheduler.events().await.map_err(told)?;
    let (_, broken) = web.current_or_former();
    let runs = web.node.catalogue.event_runs(None, None, SHOWN).await?;
    html(&Page {
        shell: Shell::new(&web, &session, "schedule").saying(said.said.as_deref()),
        broken,
        events: events.into_iter().map(row).collect(),
        runs: runs.iter().map(history).collect(),
    })
}

fn row(standing: Standing) -> Row {
    let event = standing.event;
    let start = event
        .start
        .map_or_else(String::new, |start| format!(" from {start}"));
    Row {
        query: escaped(&event.name),
        action: event.action.name(),
        when: format!("{}{start}", event.when),
        window: event
            .window
            .map_or_else(String::new, |window| window.to_string()),
        peer: match event.peer {
            Some(peer) => peer,
            None if event.action.is_with_peers() => "all enabled".to_owned(),
            None => {
                (event.folder.as_ref()).map_or_else(String::new, |of| of.dir.display().to_string())
            }
        },
        enabled: event.enabled,
        is_held: standing.is_held,
        next_at: standing.next_at.map(when),
        running: standing.running.map(|running| Going {
            id: running.id,
            phase: running.seen.phase.unwrap_or("begins"),
        }),
        last: standing
            .last
            .filter(|last| last.ended_at.is_some())
            .as_ref()
            .map(history),
        name: event.name,
    }
}

/// An event as JSON.
#[derive(serde::Serialize)]
pub(super) struct Printed {
    name: String,
    action: &'static str,
    peer: Option<String>,
    when: String,
    enabled: bool,
    is_held: bool,
    next_at: Option<String>,
    running: Option<schedule::Current>,
    last: Option<Run>,
}

/// A run as JSON.
#[derive(serde::Serialize)]
struct Run {
    id: i64,
    started_at: String,
    ended_at: Option<String>,
    outcome: Option<crate::catalogue::RunOutcome>,
    detail: Option<String>,
}

impl From<EventRun> for Run {
    fn from(run: EventRun) -> Self {
        Self {
            id: run.id,
            started_at: run.started_at.to_string(),
            ended_at: run.ended_at.map(|at| at.to_string()),
            outcome: run.outcome,
            detail: run.detail,
        }
    }
}

/// The same as JSON.
pub(super) async fn api(State(web): State<Arc<Web>>) -> Result<Json<Vec<Printed>>, Error> {
    let events = web.scheduler.events().await.map_err(told)?;
    let printed = |standing: Standing| Printed {
        action: standing.event.action.name(),
        when: standing.event.when.to_string(),
        enabled: standing.event.enabled,
        is_held: standing.is_held,
        peer: standing.event.peer,
        name: standing.event.name,
        next_at: standing.next_at.map(|at| at.to_string()),
        running: standing.running,
        last: standing.last.map(Run::from),
    };
    Ok(Json(events.into_iter().map(printed).collect()))
}

/// An event.
#[derive(serde::Deserialize)]
pub(super) struct Named {
    name: String,
}

/// Begins an event now, and shows its log.
pub(super) async fn run_now(
    State(web): State<Arc<Web>>,
    Form(named): Form<Named>,
) -> Result<Response, Error> {
    let run = web.scheduler.run_now(&named.name).await.map_err(told)?;
    Ok(done(
        &format!("schedule/runs/{run}"),
        &format!("{} begins.", named.name),
    ))
}

/// A run.
#[derive(serde::Deserialize)]
pub(super) struct Numbered {
    run: i64,
}

/// Asks a run to end.
pub(super) async fn cancel(
    State(web): State<Arc<Web>>,
    Form(Numbered { run }): Form<Numbered>,
) -> Response {
    let said = match web.scheduler.cancel(run) {
        true => "It is asked to end; what it has begun is finished or parked.",
        false => "It has ended already.",
    };
    done(&format!("schedule/runs/{run}"), said)
}

/// Whether an event runs by itself.
#[derive(serde::Deserialize)]
pub(super) struct Enabling {
    name: String,
    enabled: bool,
}

/// Lets an event run by itself, or not.
pub(super) async fn enable(
    State(web): State<Arc<Web>>,
    Form(Enabling { name, enabled }): Form<Enabling>,
) -> Result<Response, Error> {
    edit::enable_event(&web.node.config.file, &name, enabled)
        .map_err(|error| Error::Refused(error.report()))?;
    web.reload().await?;
    let what = if enabled {
        "runs by itself now"
    } else {
        "does not run by itself any more"
    };
    Ok(done("schedule", &format!("{name} {what}.")))
}

/// Takes an event out of the configuration.
pub(super) async fn remove(
    State(web): State<Arc<Web>>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, Error> {
    edit::remove_event(&web.node.config.file, &name)
        .map_err(|error| Error::Refused(error.report()))?;
    web.reload().await?;
    Ok(done(
        "schedule",
        &format!("{name} is removed. Its history stays."),
    ))
}
