//! Style, script and icon of the page, as they are in the program.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::error::Error;

const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/page.css"),
    ),
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/page.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("assets/icon.svg"),
    ),
];

/// One of them. It may be kept, but is asked after each time, since another version of the program has others.
pub(super) async fn included(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let (_, content_type, bytes) = found.ok_or(Error::NotFound)?;
    let tag = format!("\"{}\"", crate::model::Sha256::of(bytes));
    let known = headers.get(IF_NONE_MATCH);
    let head = [(CACHE_CONTROL, "no-cache"), (CONTENT_TYPE, *content_type)];
    if known.is_some_and(|known| *known == *tag) {
        return Ok((StatusCode::NOT_MODIFIED, head, [(ETAG, tag)]).into_response());
    }
    Ok((head, [(ETAG, tag)], *bytes).into_response())
}
