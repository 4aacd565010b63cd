//! Tells open pages that something changed, over one connection for each (server-sent events). What it is they fetch themselves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::time::Instant;

use super::Web;
use crate::catalogue::Moment;

/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_secs(2);
/// How long a connection lasts; then the browser makes another, if it is still logged in.
const LASTS: Duration = Duration::from_secs(10 * 60);

/// The stream of one page.
pub(super) async fn events(
    State(web): State<Arc<Web>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let from = Watched {
        seen: web.node.catalogue.moment(),
        ends_at: Instant::now() + LASTS,
        web,
    };
    let stream = futures_util::stream::unfold(from, async |mut watched| {
        watched.changed().await?;
        let event = Event::default().event("changed").data("something");
        Some((Ok(event), watched))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

struct Watched {
    web: Arc<Web>,
    seen: Option<Moment>,
    ends_at: Instant,
}

impl Watched {
    /// Waits until something changed, or a run goes on; `None` at the end of the connection.
    async fn changed(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                () = self.web.shutdown.wait() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.web.node.catalogue.moment();
            let is_same = now.is_some() && now == self.seen;
            if !is_same || !self.web.scheduler.current().is_empty() {
                self.seen = now;
                return Some(());
            }
        }
    }
}
