//! What other nodes hand in, as HTTP: bodies of some size, forms with a file, and the replies that EMDB's sender needs. What becomes
//! of it is for [`Inbox`] to say.
//!
//! Nothing of a body is read before the key is known to be one that may write.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use multer::{Constraints, Multipart, SizeLimit};

use super::error::{self, Error};
use super::node::Node;
use super::request::{Asked, STALL};
use crate::catalogue::{AccessKey, Scope};
use crate::receive::{self, Form, Inbox};

/// Most bytes of a page of changes or an offer; EMDB sends a thousand records with all their text at once (H-22).
const PAGE_BYTES: u64 = 512 << 20;
/// Most bytes of a part of a form that is not the file.
const FIELD_BYTES: u64 = 16 * 1024;
/// Most parts of a form.
const PARTS: usize = 64;

/// The inbox, for a key that may write.
pub(super) fn inbox<'a>(node: &'a Node, key: &AccessKey) -> Result<&'a Inbox, Error> {
    let inbox = node.inbox.as_ref().ok_or(Error::NotFound)?;
    if key.scope != Scope::Write {
        tracing::warn!(
            key = key.name,
            "wants to hand changes over, but may only read: make it a key with `--write`, or set pulldataonly on that node"
        );
        return Err(Error::ReadOnly);
    }
    Ok(inbox)
}

/// A page of changes (wire spec 3.4).
pub(super) async fn changes(inbox: &Inbox, key: &AccessKey, body: Body) -> Result<Response, Error> {
    let upload = inbox.upload(&key.name).await?;
    let body = upload
        .gather_page("the page", pieces(body), PAGE_BYTES)
        .await?;
    let reply = inbox.changes(&key.name, body).await?;
    Ok(error::json(StatusCode::OK, reply))
}

/// An offer of originals (wire spec 3.5).
pub(super) async fn offer(inbox: &Inbox, key: &AccessKey, body: Body) -> Result<Response, Error> {
    let upload = inbox.upload(&key.name).await?;
    let body = upload
        .gather_page("the offer", pieces(body), PAGE_BYTES)
        .await?;
    let reply = inbox.offer(&key.name, body).await?;
    Ok(error::json(StatusCode::OK, reply))
}

/// A file (wire spec 3.6, 3.7). The reply has no body: EMDB's sender reads none, and drops a connection that has one (H-46).
pub(super) async fn file(
    node: &Node,
    inbox: &Inbox,
    key: &AccessKey,
    request: (HeaderMap, Body),
) -> Result<Response, Error> {
    let upload = inbox.upload(&key.name).await?;
    let (headers, body) = request;
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(|kind| multer::parse_boundary(kind).ok());
    let boundary = boundary.ok_or_else(|| form("is none: multipart/form-data is expected"))?;
    // What is in front of the file is bounded by the parts' own limits, the file by what was asked for.
    let limits = SizeLimit::new().per_field(u64::MAX);
    let constraints = Constraints::new().size_limit(limits);
    let mut parts = Multipart::with_constraints(pieces(body), boundary, constraints);
    let (mut said, mut brought) = (Form::default(), None);
    for count in 0.. {
        let part = parts
            .next_field()
            .await
            .map_err(|error| form(error.to_string()))?;
        let Some(part) = part else { break };
        if count == PARTS {
            return Err(form("has too many parts"));
        }
        let name = part.name().unwrap_or_default().to_owned();
        if part.file_name().is_some() || name == "file" || name.starts_with("file.") {
            if brought.is_some() {
                return Err(form("brings more than one file"));
            }
            check_encoding(part.headers())?;
            let throttle = node.throttle.clone();
            let pieces = part.then(move |piece| {
                let throttle = throttle.clone();
                async move {
                    if let Ok(piece) = &piece {
                        throttle.fetched(piece.len()).await;
                    }
                    piece
                }
            });
            brought = Some(upload.gather(&said, pieces).await?);
            continue;
        }
        let text = text_of(part).await?;
        match name.as_str() {
            "savepath" => said.path = Some(text),
            "localpath" if said.path.is_none() => said.path = Some(text),
            "catalogid" => said.catalog = Some(text),
            "asset" => said.asset = Some(text),
            _ => {}
        }
    }
    let brought = brought.ok_or_else(|| form("brings no file"))?;
    upload.land(&said, brought).await?;
    Ok(error::empty(StatusCode::OK))
}

/// EMDB unpacks a part that says it is packed; no sender that is known does that.
fn check_encoding(headers: &HeaderMap) -> Result<(), Error> {
    match headers.get("content-encoding") {
        Some(encoding) if encoding != "identity" => Err(form("brings a packed file")),
        _ => Ok(()),
    }
}

async fn text_of(mut part: multer::Field<'_>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = part
        .chunk()
        .await
        .map_err(|error| form(error.to_string()))?
    {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > FIELD_BYTES {
            return Err(form("has a part that is too long"));
        }
    }
    String::from_utf8(bytes).map_err(|_| form("has a part that is not UTF-8"))
}

fn form(reason: impl Into<String>) -> Error {
    Error::Receive(receive::Error::Form {
        reason: reason.into(),
    })
}

/// A body, piece by piece; one that stops coming breaks off.
fn pieces(body: Body) -> impl Stream<Item = Result<Bytes, Broken>> + Send + 'static {
    let pieces = Box::pin(body.into_data_stream());
    futures_util::stream::unfold(Some(pieces), |pieces| async move {
        let mut pieces = pieces?;
        match tokio::time::timeout(STALL, pieces.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
            Ok(Some(Err(error))) => Some((Err(Broken(error.to_string())), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Broken("nothing came for too long".to_owned())), None)),
        }
    })
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

/// Splits a request whose body is not read yet from what says who sends it.
pub(super) fn split(request: Request) -> (Asked, Body) {
    let (parts, body) = request.into_parts();
    (Asked::without_body(parts), body)
}
