//! A request with its body read: everything an endpoint looks at. Bodies are small here and must come at once; what is larger is
//! handed in, and taken piece by piece (`receive`).

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use futures_util::StreamExt as _;

use super::error::Error;
use crate::protocol::form;

/// The type of a form.
const FORM: &str = "application/x-www-form-urlencoded";
/// Longest body.
pub(super) const BODY_BYTES: usize = 64 * 1024;
/// How much of a longer one is still taken in and thrown away, so that the client is done sending and reads the reply.
const DISCARDED_BYTES: usize = 1024 * 1024;
/// Longest time that nothing may come of a body that is taken piece by piece.
pub(super) const STALL: Duration = Duration::from_secs(120);
/// Longest wait for it.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// What was asked.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: String,
    pub(super) body: Vec<u8>,
    form: Option<String>,
}

impl Asked {
    /// Reads the body of a request.
    pub(super) async fn read(request: Request) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let whole = tokio::time::timeout(BODY_WAIT, read(body));
        let body = whole.await.map_err(|_| Error::Slow)??;
        Ok(Self {
            form: form_of(&parts.headers, &body),
            body,
            ..Self::without_body(parts)
        })
    }

    /// A request whose body is taken by somebody else.
    pub(super) fn without_body(parts: Parts) -> Self {
        Self {
            method: parts.method,
            headers: parts.headers,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: Vec::new(),
            form: None,
        }
    }

    /// A header that is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as a form: one, or the members of a JSON object.
    pub(super) fn form(&self) -> Option<&str> {
        self.form.as_deref().filter(|form| !form.is_empty())
    }

    /// The fields of form and query together; those of the form come first and so win.
    pub(super) fn fields(&self) -> String {
        format!("{}&{}", self.form().unwrap_or_default(), self.query)
    }
}

/// What a body says in fields. One that names no type is taken for a form.
fn form_of(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str());
    let kind = kind.unwrap_or(Ok(FORM)).ok()?;
    match kind.split(';').next().unwrap_or_default().trim() {
        kind if kind.eq_ignore_ascii_case(FORM) => String::from_utf8(body.to_vec()).ok(),
        kind if kind.eq_ignore_ascii_case("application/json") => form::of_json(body),
        _ => None,
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Error> {
    let (mut pieces, mut whole, mut length) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|source| Error::Body { source })?;
        length += piece.len();
        if length <= BODY_BYTES {
            whole.extend_from_slice(&piece);
        } else if length > DISCARDED_BYTES {
            break;
        }
    }
    if length > BODY_BYTES {
        return Err(Error::TooLarge);
    }
    Ok(whole)
}
