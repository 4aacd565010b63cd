//! What a node says to anybody, without a key: that it is there, and how many assets it has (wire spec 2.5, 3.11).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::error::{self, Error};
use super::node::Node;
use crate::protocol::{changes, replies};

/// `ok` once the catalogue answers.
pub(super) async fn health(node: &Node, method: &Method) -> Result<Response, Error> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Error::Method);
    }
    node.catalogue.last_change().await?;
    Ok(plain("ok"))
}

/// A few words.
pub(super) fn plain(said: &'static str) -> Response {
    let mut reply = Response::new(Body::from(said));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// `system/systemstatus.json`.
pub(super) async fn system(node: &Node) -> Result<Response, Error> {
    let assets = node.catalogue.live_assets().await?;
    Ok(error::json(StatusCode::OK, replies::system_status(assets)))
}

/// `authentication/noaccess.json`: where EMDB sends those it refuses. We send nobody there, but somebody may ask.
pub(super) fn no_access() -> Response {
    let body = changes::encode_error("No view permissions for action", true);
    error::json(StatusCode::OK, body)
}

/// `authentication/getkey.json`: keys of ours come from the command line, there is no user who could ask for one.
pub(super) fn get_key() -> Response {
    error::json(StatusCode::OK, replies::invalid_login())
}
