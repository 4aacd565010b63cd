//! The page for people: what this node knows and does, in a browser, below `/ui/`.
//!
//! Every page is HTML that works without scripts; one script (`assets/page.js`) keeps parts of it fresh and lets a rectangle be
//! drawn with the mouse. Everything is in the program: templates are compiled, style, script and icon are included, nothing comes
//! from another host. Pages and their twins under `/ui/api/` show what the library answers to the command line as well.
//!
//! Nobody sees anything without a login. A request passes, in this order: [`headers`] (what the browser may do with the reply),
//! [`body`] (only our own page changes anything, and a body is small and prompt), [`session`] (who is it), its handler.
//!
//! The configuration's peers are read anew for each request that shows or uses them, since pages and commands edit the file while
//! this runs; everything else in it counts from the next start.

mod attempts;
mod body;
mod client;
mod error;
mod files;
mod headers;
mod home;
mod login;
mod origin;
pub mod password;
mod session;
mod shell;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};

pub use error::Error;

use crate::node::Node;
use attempts::Attempts;
use password::Checker;

/// Where the pages are.
pub const ROOT: &str = "/ui/";

/// What the page needs of the node.
#[derive(Debug)]
pub struct Web {
    node: Node,
    attempts: Attempts,
    passwords: Checker,
}

impl Web {
    /// Puts the page of a node together.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self {
            attempts: Attempts::default(),
            passwords: Checker::new(node.seams.clone()),
            node,
        }
    }

    fn proxy(&self) -> Option<IpAddr> {
        self.node.config.serve.trusted_proxy
    }
}

/// The page as a service, for requests that come with their [`Connection`](crate::serve::Connection).
pub fn router(web: Web) -> Router {
    let web = Arc::new(web);
    let open = Router::new()
        .route("/", get(async || Redirect::to(ROOT)))
        .route("/ui", get(async || Redirect::to(ROOT)))
        .route("/ui/login", get(login::form).post(login::enter))
        .route("/ui/static/{name}", get(files::included));
    let known = Router::new()
        .route("/ui/", get(home::page))
        .route("/ui/logout", post(login::leave))
        .route_layer(from_fn_with_state(Arc::clone(&web), session::required));
    open.merge(known)
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::Method)
        .with_state(web)
        .layer(from_fn(body::taken))
        .layer(from_fn(headers::add))
}
