//! Last Pull Date: how far the changes of a peer are here. It is set back to take them again from there, and that is asked for twice:
//! first it is told what it will cost.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::response::Response;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Web;
use super::error::Error;
use super::filters;
use super::shell::{Shell, done, html, when};
use crate::catalogue::Session;
use crate::model::Timestamp;
use crate::pull::metadata::FEED;

/// Where to.
#[derive(serde::Deserialize)]
pub(super) struct To {
    /// In UTC, as the field for a date has it; blank for the beginning.
    #[serde(default)]
    to: String,
}

#[derive(Template)]
#[template(path = "since.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    name: String,
    to: String,
    from: String,
    until: String,
    records: u64,
    is_everything: bool,
}

/// What it would cost.
pub(super) async fn ask(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
    Query(to): Query<To>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let moment = moment(&to.to)?;
    let checkpoint = node.catalogue.checkpoint(&name, FEED).await?;
    let Some(checkpoint) = checkpoint else {
        return Err(Error::Refused(format!(
            "nothing was pulled from {name} yet: the first pull takes everything"
        )));
    };
    if moment.is_some_and(|moment| moment >= checkpoint.watermark) {
        return Err(Error::Refused(format!(
            "the changes of {name} are here up to {} only: setting that forward would leave out what changed in between",
            when(checkpoint.watermark)
        )));
    }
    let since = moment.unwrap_or(Timestamp::EPOCH);
    html(&Page {
        shell: Shell::new(&web, &session, "peers"),
        records: node.catalogue.changed_since(&name, since).await?,
        from: when(since),
        until: when(checkpoint.watermark),
        is_everything: moment.is_none(),
        to: to.to,
        name,
    })
}

/// Does it, unless a run with the peer goes on.
pub(super) async fn set(
    State(web): State<Arc<Web>>,
    Path(name): Path<String>,
    Form(to): Form<To>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    node.config.peer(&name).map_err(|_| Error::NotFound)?;
    let moment = moment(&to.to)?;
    let _lock = node
        .lock_for_a_moment(&format!("run-{name}"))
        .map_err(|error| Error::Refused(crate::error::chain(&error)))?;
    let mut batch = node.catalogue.batch().await?;
    let is_done = batch.set_back(&name, FEED, moment).await?;
    batch.commit().await?;
    if !is_done {
        return Err(Error::Refused(format!(
            "the changes of {name} are not here up to then"
        )));
    }
    let from = moment.map_or_else(|| "the beginning".to_owned(), when);
    Ok(done(
        &format!("peers/{name}"),
        &format!("The next pull from {name} takes everything from {from} on."),
    ))
}

fn moment(text: &str) -> Result<Option<Timestamp>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::Refused(format!(
            "{text:?} is no time: write it as 2026-11-29T08:30:00, in UTC"
        ))
    };
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
    Ok(Some(Timestamp::from_millis(
        zoned.timestamp().as_millisecond(),
    )))
}
