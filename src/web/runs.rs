//! Runs of events: how each went, and what it says, live while it goes on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::watch::Receiver;

use super::Web;
use super::error::Error;
use super::shell::{Said, Shell, html, when};
use crate::catalogue::{EventRun, RunOutcome, Session};
use crate::text::elapsed;

/// A run, as a line of the history has it.
pub(super) struct History {
    pub(super) id: i64,
    pub(super) event: String,
    pub(super) cause: &'static str,
    pub(super) started_at: String,
    pub(super) took: String,
    pub(super) outcome: &'static str,
    pub(super) class: &'static str,
    pub(super) detail: String,
}

/// See [`History`].
pub(super) fn history(run: &EventRun) -> History {
    let took = run.ended_at.map_or_else(String::new, |ended| {
        elapsed(u64::try_from(ended.since(run.started_at).as_millis()).unwrap_or(u64::MAX))
    });
    let class = match run.outcome {
        None => "",
        Some(RunOutcome::Ok) => "good",
        Some(RunOutcome::Failed | RunOutcome::Differs) => "bad",
        Some(outcome) if outcome.needs_a_person() => "warn",
        Some(_) => "dim",
    };
    History {
        id: run.id,
        event: run.event.clone(),
        cause: run.cause.said(),
        started_at: when(run.started_at),
        took,
        outcome: run.outcome.map_or("goes on", RunOutcome::name),
        class,
        detail: run.detail.clone().unwrap_or_default(),
    }
}

/// Runs on a page.
const PAGE: usize = 100;

/// Of which event, and from where on.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Of {
    #[serde(default)]
    event: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "runs.html", config = "src/web/askama.toml")]
struct All {
    shell: Shell,
    event: String,
    runs: Vec<History>,
    next: Option<String>,
}

/// The history.
pub(super) async fn all(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(of): Query<Of>,
) -> Result<Response, Error> {
    let event = Some(of.event.as_str()).filter(|event| !event.is_empty());
    let runs = web
        .node
        .catalogue
        .event_runs(event, of.before, PAGE)
        .await?;
    let last = runs.last().filter(|_| runs.len() == PAGE).map(|run| run.id);
    html(&All {
        shell: Shell::new(&web, &session, "schedule"),
        next: last.map(|last| {
            let event = super::shell::escaped(&of.event);
            format!("/ui/schedule/runs?event={event}&before={last}")
        }),
        runs: runs.iter().map(history).collect(),
        event: of.event,
    })
}

#[derive(Template)]
#[template(path = "run.html", config = "src/web/askama.toml")]
struct One {
    shell: Shell,
    run: History,
    is_going_on: bool,
    lines: Vec<String>,
    report: Vec<(String, String)>,
}

/// One run with its log.
pub(super) async fn one(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(id): Path<i64>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let run = web
        .node
        .catalogue
        .event_run(id)
        .await?
        .ok_or(Error::NotFound)?;
    let lines = lines(&web, id, 0).await?;
    html(&One {
        shell: Shell::new(&web, &session, "schedule").saying(said.said.as_deref()),
        is_going_on: run.ended_at.is_none(),
        report: run.report.as_deref().map_or_else(Vec::new, counts),
        run: history(&run),
        lines,
    })
}

/// What a run counted that is not nothing, whatever its action; counts of parts by the names of both.
fn counts(report: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let report: serde_json::Value = serde_json::from_str(report).unwrap_or_default();
    count(&mut found, "", &report);
    found
}

fn count(found: &mut Vec<(String, String)>, name: &str, value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (member, value) in members {
                let gap = if name.is_empty() { "" } else { " " };
                count(
                    found,
                    &format!("{name}{gap}{}", member.replace('_', " ")),
                    value,
                );
            }
        }
        serde_json::Value::Number(number) if number.as_u64() != Some(0) => {
            let text = number
                .as_u64()
                .map_or_else(|| number.to_string(), crate::text::count);
            found.push((name.to_owned(), text));
        }
        _ => {}
    }
}

async fn lines(web: &Arc<Web>, run: i64, from: usize) -> Result<Vec<String>, Error> {
    let web = Arc::clone(web);
    let read = tokio::task::spawn_blocking(move || web.scheduler.logs().lines(run, from)).await;
    let read = read.map_err(|error| Error::Inside(error.to_string()))?;
    read.map_err(|error| Error::Inside(format!("the log of run {run}: {error}")))
}

/// From which line on.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct From {
    #[serde(default)]
    from: usize,
}

/// The log, line by line as it grows: each is a `line` with its number as id, the end is an `end`. A browser whose connection broke says
/// which line it had last, and gets those after it.
pub(super) async fn log(
    State(web): State<Arc<Web>>,
    Path(id): Path<i64>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    web.node
        .catalogue
        .event_run(id)
        .await?
        .ok_or(Error::NotFound)?;
    let last = headers
        .get("last-event-id")
        .and_then(|last| last.to_str().ok());
    let last = last.and_then(|last| last.parse::<usize>().ok());
    let follow = Follow {
        // Asked for before the lines are read, so that none comes between.
        grows: web.scheduler.logs().follow(id),
        web,
        run: id,
        next: last.map_or(from.from, |last| last.saturating_add(1)),
        read: VecDeque::new(),
        has_ended: false,
    };
    let stream = futures_util::stream::unfold(follow, async |mut follow| {
        Some((Ok(follow.event().await?), follow))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

struct Follow {
    web: Arc<Web>,
    run: i64,
    next: usize,
    read: VecDeque<String>,
    grows: Option<Receiver<usize>>,
    has_ended: bool,
}

impl Follow {
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.read.pop_front() {
                let id = self.next.to_string();
                self.next += 1;
                return Some(Event::default().event("line").id(id).data(line));
            }
            if self.has_ended {
                return None;
            }
            if let Some(grows) = &mut self.grows {
                grows.mark_unchanged();
            }
            let lines = lines(&self.web, self.run, self.next).await;
            self.read = lines.ok()?.into();
            if !self.read.is_empty() {
                continue;
            }
            let grown = match &mut self.grows {
                None => false,
                Some(grows) => tokio::select! {
                    grown = grows.changed() => grown.is_ok(),
                    () = self.web.shutdown.wait() => return None,
                },
            };
            if !grown {
                // The last lines may have come between the look and the end.
                let lines = lines_after_end(self).await?;
                if lines == 0 {
                    self.has_ended = true;
                    return Some(Event::default().event("end").data("of the run"));
                }
            }
        }
    }
}

async fn lines_after_end(follow: &mut Follow) -> Option<usize> {
    follow.grows = None;
    let lines = lines(&follow.web, follow.run, follow.next).await.ok()?;
    follow.read = lines.into();
    Some(follow.read.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_that_are_something_under_the_names_of_their_parts() {
        let report =
            r#"{"records":1204,"files":0,"peers":{"m":{"bytes_received":7}},"outcome":"ok"}"#;
        let expected = [("records", "1,204"), ("peers m bytes received", "7")];
        let expected: Vec<_> = expected
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        let mut found = counts(report);
        found.sort_by_key(|(name, _)| std::cmp::Reverse(name.clone()));
        assert_eq!(found, expected);
        assert_eq!(counts("no json"), []);
    }
}
