//! The body of a request, taken whole before anything is done: small, and within a time, so that nobody holds a connection open by
//! sending a byte now and then.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::Error;
use super::origin;

/// Most bytes of a form.
const MOST: usize = 64 * 1024;
/// Longest time that a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// Refuses what does not come from our own page, and hands on the rest with its body complete.
pub(super) async fn taken(request: Request, next: Next) -> Response {
    if !origin::is_ours(request.method(), request.headers()) {
        return Error::Foreign.into_response();
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, MOST)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => Error::Body.into_response(),
        Err(_) => Error::Slow.into_response(),
    }
}
