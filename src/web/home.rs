//! Where a login leads.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::error::Error;
use super::shell::{Shell, html};
use crate::catalogue::Session;

#[derive(Template)]
#[template(path = "home.html", config = "src/web/askama.toml")]
struct Page<'a> {
    shell: Shell,
    cluster_id: &'a str,
}

/// Who this node is.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Error> {
    html(&Page {
        shell: Shell::new(&web, &session, ""),
        cluster_id: web.node.config.node.cluster_id.as_str(),
    })
}
