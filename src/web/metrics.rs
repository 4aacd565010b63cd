//! `/metrics`, for a program that has no session: one of this machine, or one that shows a key of ours.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, FORWARDED};
use axum::response::{IntoResponse as _, Response};

use super::{Error, Web};
use crate::metrics;
use crate::serve::{self, Connection};

pub(super) async fn scrape(
    State(web): State<Arc<Web>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if !is_near(connection, &headers) && !has_key(&web, &headers).await? {
        return Err(Error::NotFound);
    }
    let (node, _) = web.current_or_former();
    let status = web.known.status(&node).await?;
    let text = metrics::render(&web.scheduler, &status).await;
    let text = text.map_err(|error| match error {
        metrics::Error::Catalogue(error) => Error::from(error),
        metrics::Error::Schedule(error) => Error::Refused(crate::error::chain(&error)),
    })?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// Whether it comes from this machine, and not for somebody else.
fn is_near(connection: Connection, headers: &HeaderMap) -> bool {
    let is_passed_on = headers.contains_key("x-forwarded-for") || headers.contains_key(FORWARDED);
    connection.address.ip().is_loopback() && !is_passed_on
}

async fn has_key(web: &Web, headers: &HeaderMap) -> Result<bool, Error> {
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some(key) = shown.and_then(|text| text.strip_prefix("Bearer ")) else {
        return Ok(false);
    };
    Ok(serve::key_holder(&web.node.catalogue, key.trim())
        .await?
        .is_some())
}
