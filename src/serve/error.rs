//! What can go wrong with a request, and what the client gets to see of it: the only place that turns errors into HTTP.
//! An internal cause is logged here and never sent.

use std::io;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::edge::Trouble;
use crate::error::Class;
use crate::model::{FileKind, MediaPath};
use crate::protocol::{self, changes, receiving, replies};
use crate::{catalogue, edge, receive, store};

/// A request that is not answered as asked, or a server that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener does not know where it listens.
    #[error("the listening socket has no address")]
    Listen {
        /// The system's answer.
        source: io::Error,
    },
    /// No key, or none of ours.
    #[error("key refused")]
    Refused,
    /// The key may read, and something was to be handed in.
    #[error("this key may not hand changes in: it needs one made with --write")]
    ReadOnly,
    /// What was handed in is not taken.
    #[error(transparent)]
    Receive(#[from] receive::Error),
    /// A former master asks before what it saved meanwhile was heard of.
    #[error(
        "this node has taken your place, and first pulls what was saved with you since; ask again"
    )]
    Postponed,
    /// There is nothing of this name.
    #[error("nothing of this name")]
    NotFound,
    /// Neither GET, HEAD nor POST.
    #[error("method not known here")]
    Method,
    /// The body is larger than any that is expected.
    #[error("the request is too large")]
    TooLarge,
    /// The body did not come in time.
    #[error("the request took too long to arrive")]
    Slow,
    /// The body broke off.
    #[error("the request broke off")]
    Body {
        /// What the connection says.
        source: axum::Error,
    },
    /// The request lacks something or says nonsense.
    #[error("{0}")]
    Request(protocol::Error),
    /// The listing that a later page belongs to is not known, or not any more.
    #[error("the listing is not known any more, begin again")]
    CursorLost,
    /// A file is not the recorded one.
    #[error("{}/{path} has {actual} bytes on disk, {expected} are recorded", kind.dir())]
    Damaged {
        /// Its tree.
        kind: FileKind,
        /// Its path.
        path: MediaPath,
        /// Bytes recorded.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A file is known not to be what is recorded.
    #[error("{}/{path} was found damaged; a sync fetches it again", kind.dir())]
    Rotten {
        /// Its tree.
        kind: FileKind,
        /// Its path.
        path: MediaPath,
    },
    /// A file is recorded and not there.
    #[error("{}/{path} is recorded but not on disk", kind.dir())]
    Missing {
        /// Its tree.
        kind: FileKind,
        /// Its path.
        path: MediaPath,
    },
    /// An open file could not be read.
    #[error("{}/{path} cannot be read", kind.dir())]
    Read {
        /// Its tree.
        kind: FileKind,
        /// Its path.
        path: MediaPath,
        /// The system's answer.
        source: io::Error,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file is not here, and could not be fetched.
    #[error(transparent)]
    Edge(#[from] edge::Error),
    /// A handler panicked; its own message went to the panic hook.
    #[error("a request ended in a panic")]
    Panicked,
}

impl From<protocol::Error> for Error {
    fn from(error: protocol::Error) -> Self {
        Self::Request(error)
    }
}

/// How the client of an endpoint takes a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A listing: EMDB moves its watermark past everything that is not a 200 (H-1), so a failure is a 200 that says so.
    Listing,
    /// A page that was handed in: its sender reads of a failure that there was one (wire spec 8.1, 3).
    Message,
    /// An offer of originals: its sender keeps its watermark for a 200 that says `error` (8.2, 3).
    Offer,
    /// Anything else: a status and no body, because EMDB never reads one and loses its connection over it (H-9).
    Bare,
}

impl Error {
    /// Whether the same request may work later.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Receive(error) => error.class(),
            Self::Edge(error) => error.class(),
            Self::Slow | Self::Body { .. } | Self::CursorLost | Self::Panicked => Class::Transient,
            Self::Read { .. } | Self::Postponed => Class::Transient,
            Self::Damaged { .. } | Self::Rotten { .. } => Class::Corrupt,
            Self::Listen { .. }
            | Self::Refused
            | Self::ReadOnly
            | Self::NotFound
            | Self::Method
            | Self::TooLarge
            | Self::Request(_)
            | Self::Missing { .. } => Class::Permanent,
        }
    }

    /// The reply to a request for `path`; logs what the client does not get to see.
    pub(super) fn reply(&self, shape: Shape, path: &str) -> Response {
        self.log();
        match (shape, self) {
            (Shape::Listing, Self::Request(error)) => json(
                StatusCode::INTERNAL_SERVER_ERROR,
                replies::failure(path, &error.to_string()),
            ),
            (Shape::Offer, Self::Receive(_) | Self::Panicked) => {
                json(StatusCode::OK, receiving::OFFER_REFUSED.into())
            }
            (Shape::Message, Self::Receive(_) | Self::Panicked) => json(
                StatusCode::INTERNAL_SERVER_ERROR,
                replies::failure(path, &self.told()),
            ),
            (Shape::Listing, Self::Method) => empty(self.status()),
            (Shape::Listing, error) => {
                let refused = matches!(error, Self::Refused);
                let body = changes::encode_error(&error.told(), refused);
                json(StatusCode::OK, body)
            }
            (Shape::Bare | Shape::Message | Shape::Offer, error) => {
                let mut reply = empty(error.status());
                if let Self::Edge(error) = error
                    && let Some(wait) = error.retry_after()
                {
                    // Whole seconds, and never none: who comes at once comes too early.
                    let seconds = wait.as_millis().div_ceil(1_000).max(1);
                    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
                    reply.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                reply
            }
        }
    }

    /// Whether the cause lies with us: to be logged and not to be told.
    fn is_ours(&self) -> bool {
        if let Self::Receive(error) = self {
            return !error.is_theirs();
        }
        matches!(
            self,
            Self::Listen { .. }
                | Self::Damaged { .. }
                | Self::Rotten { .. }
                | Self::Missing { .. }
                | Self::Read { .. }
                | Self::Catalogue(_)
                | Self::Store(_)
                | Self::Edge(edge::Error::Ours { .. })
                | Self::Panicked
        )
    }

    fn told(&self) -> String {
        if self.is_ours() {
            "not available now".to_owned()
        } else {
            self.to_string()
        }
    }

    fn log(&self) {
        let cause = std::error::Error::source(self).map(ToString::to_string);
        let cause = cause.as_deref();
        match (self.is_ours(), self.class()) {
            (true, Class::Transient) => tracing::warn!(error = %self, cause, "request failed"),
            (true, _) => tracing::error!(error = %self, cause, "request failed"),
            (false, _) => tracing::debug!(reason = %self, cause, "request not answered as asked"),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Refused | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::Receive(receive::Error::Unasked { .. }) => StatusCode::CONFLICT,
            Self::Receive(error) if error.is_theirs() => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::Damaged { .. } | Self::Rotten { .. } | Self::Missing { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::Edge(error) => status_of(error),
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Body { .. } | Self::Request(_) => StatusCode::BAD_REQUEST,
            // Names that cannot be opened are not there, as far as anybody outside is concerned.
            Self::Store(
                store::Error::Escapes { .. }
                | store::Error::NotAFile { .. }
                | store::Error::NameTooLong { .. },
            ) => StatusCode::NOT_FOUND,
            error if error.class() == Class::Transient => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a reader hears whose file could not be fetched.
fn status_of(error: &edge::Error) -> StatusCode {
    match error {
        edge::Error::Nowhere => StatusCode::NOT_FOUND,
        edge::Error::Upstream { trouble, .. } => match trouble {
            Trouble::Absent => StatusCode::NOT_FOUND,
            Trouble::Wrong | Trouble::Away => StatusCode::BAD_GATEWAY,
            Trouble::Stalled => StatusCode::GATEWAY_TIMEOUT,
            Trouble::Busy => StatusCode::SERVICE_UNAVAILABLE,
        },
        edge::Error::Full | edge::Error::Late | edge::Error::Ours { .. } | edge::Error::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// A status without a body, said in so many words: EMDB keeps the connection only then (H-9, H-46).
pub(super) fn empty(status: StatusCode) -> Response {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    // What is not there now may be in a moment, and a refusal is nobody else's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    reply
}

/// A JSON reply as EMDB labels it (wire spec 2.6), with its length and never compressed.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let length = HeaderValue::from(body.len());
    let mut reply = json_stream(Body::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_LENGTH, length);
    reply
}

/// A JSON reply of a length nobody knows yet.
pub(super) fn json_stream(body: Body) -> Response {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/json;charset=UTF-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(reply: Response) -> String {
        let bytes = axum::body::to_bytes(reply.into_body(), 10_000)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn inside() -> Error {
        Error::Store(store::Error::NoTree {
            path: "/very/secret".to_owned(),
        })
    }

    #[tokio::test]
    async fn a_listing_that_fails_inside_is_a_200_that_tells_no_cause() {
        for error in [inside(), Error::Panicked, Error::Slow, Error::CursorLost] {
            let reply = error.reply(Shape::Listing, "/x");
            assert_eq!(reply.status(), StatusCode::OK, "{error}");
            let body = body(reply).await;
            assert!(
                body.contains(r#""status":"error""#) && !body.contains("secret"),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_fails_has_a_status_and_no_body() {
        for (error, status) in [
            (Error::Refused, 403),
            (Error::NotFound, 404),
            (inside(), 503),
            (Error::Panicked, 503),
            (Error::TooLarge, 413),
        ] {
            let reply = error.reply(Shape::Bare, "/x");
            assert_eq!(reply.status().as_u16(), status, "{error}");
            assert_eq!(reply.headers()[CONTENT_LENGTH], "0");
            assert_eq!(body(reply).await, "");
        }
    }
}
