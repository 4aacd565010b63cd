//! What can go wrong with a page, and what the browser gets to see of it. Causes inside this node are logged and not shown.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::response::{Html, IntoResponse, Response};

use crate::error::chain;
use crate::{catalogue, store};

/// Why a page is not shown as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is logged in.
    #[error("you are not logged in, or not any more")]
    LoggedOut,
    /// The request came from somewhere else.
    #[error("this request does not come from this page")]
    Foreign,
    /// Too many logins failed.
    #[error("too many failed logins; wait {seconds} s")]
    TooMany {
        /// How long to wait.
        seconds: u64,
    },
    /// There is nothing here.
    #[error("there is nothing here")]
    NotFound,
    /// The path is known, the method is not.
    #[error("this cannot be asked for so")]
    Method,
    /// The body is too large or broke off.
    #[error("the form is too large, or broke off")]
    Body,
    /// The body did not come in time.
    #[error("the form took too long to arrive")]
    Slow,
    /// What was asked for makes no sense, or cannot be done; said to who asked.
    #[error("{0}")]
    Refused(String),
    /// The node is about to end.
    #[error("the node is about to end")]
    Ending,
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A page could not be written.
    #[error(transparent)]
    Template(#[from] askama::Error),
    /// Something else of ours failed.
    #[error("{0}")]
    Inside(String),
}

#[derive(Template)]
#[template(path = "error.html", config = "src/web/askama.toml")]
struct Page<'a> {
    title: &'a str,
    says: &'a str,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::LoggedOut => StatusCode::UNAUTHORIZED,
            Self::Foreign => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Ending => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Catalogue(_) | Self::Store(_) | Self::Template(_) | Self::Inside(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let says = if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = chain(&self), "a page failed");
            "Something failed here; the log of emsync says what.".to_owned()
        } else {
            self.to_string()
        };
        let title = status.canonical_reason().unwrap_or("Error");
        let page = Page { title, says: &says }.render();
        let mut reply = (status, Html(page.unwrap_or(says))).into_response();
        if let Self::TooMany { seconds } = self {
            reply.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::Method) {
            let allow = axum::http::HeaderValue::from_static("GET, HEAD, POST");
            reply.headers_mut().insert(ALLOW, allow);
        }
        reply
    }
}
