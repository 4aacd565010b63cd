//! What is being done and what waits: runs that go on, the queue by kind, what workers have in hand, and how fast it goes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use super::Web;
use super::error::Error;
use super::filters;
use super::shell::{Shell, html, when};
use super::throughput::Curve;
use crate::aside;
use crate::catalogue::{JobGroup, JobState, Session};
use crate::schedule::Current;
use crate::text::{bytes, count, elapsed};

/// Jobs in hand that are shown.
const SHOWN: usize = 50;

/// What is being done, and what waits.
#[derive(serde::Serialize)]
pub(super) struct Work {
    running: Vec<Current>,
    queue: Vec<JobGroup>,
}

async fn work(web: &Web) -> Result<Work, Error> {
    Ok(Work {
        running: web.scheduler.current(),
        queue: web.node.catalogue.job_groups().await?,
    })
}

/// The same as JSON.
pub(super) async fn api(State(web): State<Arc<Web>>) -> Result<Json<Work>, Error> {
    Ok(Json(work(&web).await?))
}

#[derive(Template)]
#[template(path = "work.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    running: Vec<Run>,
    queue: Vec<Row>,
    in_hand: Vec<InHand>,
    curves: [(&'static str, Curve); 3],
    transfers: usize,
    threads: usize,
}

struct Run {
    id: i64,
    event: String,
    phase: &'static str,
    facts: Vec<(&'static str, String)>,
}

struct Row {
    peer: String,
    kind: &'static str,
    state: &'static str,
    class: &'static str,
    jobs: u64,
    bytes: String,
}

struct InHand {
    subject: String,
    peer: String,
    kind: &'static str,
    attempts: u32,
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Error> {
    let work = work(&web).await?;
    let in_hand = web
        .node
        .catalogue
        .jobs_that_are(JobState::Leased, 0, SHOWN)
        .await?;
    let at_once = &web.node.at_once;
    html(&Page {
        shell: Shell::new(&web, &session, "work"),
        running: work.running.into_iter().map(run).collect(),
        queue: work.queue.into_iter().map(row).collect(),
        in_hand: in_hand
            .into_iter()
            .map(|job| InHand {
                kind: aside::kind(job.lane),
                subject: job.subject,
                peer: job.peer,
                attempts: job.attempts,
            })
            .collect(),
        curves: [
            ("Received", web.samples.received()),
            ("Sent", web.samples.sent()),
            ("Left", web.samples.left()),
        ],
        transfers: at_once.transfers.get(),
        threads: at_once.threads.or_cores(),
    })
}

fn run(current: Current) -> Run {
    let seen = current.seen;
    let of = |done: crate::monitor::Done, said: fn(u64) -> String| match done.of {
        0 => said(done.done),
        of => format!("{} of {}", said(done.done), said(of)),
    };
    let left = |seconds: u64| elapsed(seconds.saturating_mul(1000));
    Run {
        id: current.id,
        event: current.event,
        phase: seen.phase.unwrap_or("begins"),
        facts: vec![
            ("Since (UTC)", when(current.started_at)),
            ("Records", of(seen.records, count)),
            ("Files", of(seen.files, count)),
            ("Bytes", of(seen.bytes, bytes)),
            ("Renditions", of(seen.renditions, count)),
            ("Records sent", of(seen.records_sent, count)),
            ("Bytes sent", of(seen.bytes_sent, bytes)),
            ("At once", of(seen.transfers, count)),
            (
                "Left",
                seen.eta_s.map_or_else(|| "being counted".to_owned(), left),
            ),
        ],
    }
}

fn row(group: JobGroup) -> Row {
    let (state, class) = match group.state {
        JobState::Waiting => ("waiting", ""),
        JobState::Leased => ("in hand", "good"),
        JobState::Quarantined => ("set aside", "bad"),
        JobState::Held => ("held", "warn"),
    };
    Row {
        peer: group.peer,
        kind: aside::kind(group.lane),
        state,
        class,
        jobs: group.jobs,
        bytes: bytes(group.bytes),
    }
}
