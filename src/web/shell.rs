//! What stands around every page: the node's name, the way to the other pages, who is logged in.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};

use super::Web;
use super::error::Error;
use crate::catalogue::Session;

/// The pages, in the order they are shown.
const PAGES: [(&str, &str); 1] = [("", "Overview")];

/// The frame of one page.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) node: String,
    pub(super) user: String,
    here: &'static str,
    /// What was just done, told once.
    pub(super) said: String,
}

impl Shell {
    /// The frame of the page below this path.
    pub(super) fn new(web: &Web, session: &Session, here: &'static str) -> Self {
        Self {
            node: web.node.config.node.name.clone(),
            user: session.user.clone(),
            here,
            said: String::new(),
        }
    }

    pub(super) fn pages(&self) -> [(&'static str, &'static str); PAGES.len()] {
        PAGES
    }

    pub(super) fn is_at(&self, path: &str) -> bool {
        self.here == path
    }
}

/// A page as the browser gets it.
pub(super) fn html(page: &impl Template) -> Result<Response, Error> {
    Ok(Html(page.render()?).into_response())
}
