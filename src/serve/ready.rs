//! `/readyz`: whether this node can do its work right now, for load balancers and for whoever restarts it. `/healthz` only says that it is
//! there. Anybody may ask, so it is looked at once a second at most, and the reply says what is wrong in few words; the log has the rest.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::error::Error;
use super::node::Node;
use super::status::plain;
use crate::store::{self, Store};

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(1);
/// Where the file lies for a moment that shows whether the media can be written.
const ACTIVITY: &str = "ready";

/// What was found last, and when.
#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<Option<(Instant, &'static str)>>);

/// What is said when nothing is wrong.
const READY: &str = "ok";

/// 200 when the catalogue answers, the media can be written and the node is not about to end; else 503 and what it is.
pub(super) async fn ready(node: &Node, method: &Method) -> Result<Response, Error> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Error::Method);
    }
    let said = match node.ending.requested() {
        true => "about to end",
        false => node.looked.look(node).await,
    };
    let status = match said {
        READY => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut reply = plain(said);
    *reply.status_mut() = status;
    Ok(reply)
}

impl Looked {
    async fn look(&self, node: &Node) -> &'static str {
        let mut looked = self.0.lock().await;
        if let Some((at, said)) = *looked
            && at.elapsed() < HOLDS
        {
            return said;
        }
        let said = find_out(node).await;
        *looked = Some((Instant::now(), said));
        said
    }
}

async fn find_out(node: &Node) -> &'static str {
    if let Err(error) = node.catalogue.last_change().await {
        tracing::warn!(%error, "not ready");
        return "the catalogue cannot be read";
    }
    let store = node.store.clone();
    let written = spawn_blocking(move || is_written(&store)).await;
    match written {
        Ok(Ok(())) => READY,
        Ok(Err(error)) => {
            let error = crate::error::chain(&error);
            tracing::warn!(error, "not ready");
            "the media cannot be written"
        }
        Err(_) => "the media cannot be looked at",
    }
}

/// Whether the volume of the media is there, and takes a byte.
fn is_written(store: &Store) -> Result<(), store::Error> {
    store.check_marker()?;
    let mut staged = store.staging(ACTIVITY)?.create()?;
    staged.write_all(b"1")?;
    staged.discard();
    Ok(())
}
