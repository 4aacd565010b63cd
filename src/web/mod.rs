//! The page for people: what this node knows and does, in a browser, below `/ui/`.
//!
//! Every page is HTML that works without scripts; one script (`assets/page.js`) keeps parts of it fresh and lets a rectangle be
//! drawn with the mouse. Everything is in the program: templates are compiled, style, script and icon are included, nothing comes
//! from another host. Pages and their twins under `/ui/api/` show what the library answers to the command line as well.
//!
//! Nobody sees anything without a login. A request passes, in this order: `headers` (what the browser may do with the reply),
//! `body` (only our own page changes anything, and a body is small and prompt), `session` (who is it), its handler.
//!
//! Peers and events are read anew from the configuration for each request that shows or uses them, since pages and commands edit the
//! file while this runs. What a page writes there holds at once for runs, too; what somebody else writes, when the file is read again.

mod aside;
mod assets;
mod attempts;
mod body;
mod client;
mod conflicts;
mod crops;
mod error;
mod event_form;
mod files;
mod filters;
mod headers;
mod limits;
mod live;
mod login;
mod media;
mod metrics;
mod narrow;
mod origin;
mod overview;
pub mod password;
mod peer_form;
mod peers;
mod plan;
mod runs;
mod schedule;
mod session;
mod shell;
mod since;
mod throughput;
mod work;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};

pub use error::Error;

use crate::config::{self, Config};
use crate::node::Node;
use crate::schedule::Scheduler;
use crate::shutdown::Shutdown;
use attempts::Attempts;
use password::Checker;

/// Where the pages are.
pub const ROOT: &str = "/ui/";

/// What the page needs of the node.
#[derive(Debug)]
pub struct Web {
    node: Node,
    scheduler: Scheduler,
    shutdown: Shutdown,
    known: overview::Known,
    plans: plan::Plans,
    samples: throughput::Samples,
    attempts: Attempts,
    passwords: Checker,
}

impl Web {
    /// Puts the page of a node together; it ends what it streams, and what it has begun, when `shutdown` is asked for.
    #[must_use]
    pub fn new(node: Node, scheduler: Scheduler, shutdown: Shutdown) -> Self {
        Self {
            scheduler,
            shutdown,
            known: overview::Known::default(),
            plans: plan::Plans::default(),
            samples: throughput::Samples::default(),
            attempts: Attempts::default(),
            passwords: Checker::new(node.seams.clone()),
            node,
        }
    }

    /// The node, with the peers and events that stand in its configuration file now.
    fn current(&self) -> Result<Node, config::Error> {
        let node = self.scheduler.node();
        let written = Config::load(&node.config.file)?;
        let config = Config {
            peers: written.peers,
            events: written.events,
            ..Config::clone(&node.config)
        };
        Ok(Node {
            config: Arc::new(config),
            ..Node::clone(&node)
        })
    }

    /// The same; where the file cannot be used, with what counted before, and why.
    fn current_or_former(&self) -> (Node, Option<String>) {
        match self.current() {
            Ok(node) => (node, None),
            Err(error) => (Node::clone(&self.scheduler.node()), Some(error.report())),
        }
    }

    /// Has the scheduler use what stands in the file now.
    async fn reload(&self) -> Result<(), Error> {
        let reloaded = self.scheduler.reload().await;
        reloaded.map_err(|error| Error::Refused(crate::error::chain(&error)))
    }

    fn proxy(&self) -> Option<IpAddr> {
        self.scheduler.node().config.serve.trusted_proxy
    }
}

/// The page as a service, for requests that come with their [`Connection`](crate::serve::Connection). Called within a runtime, it starts
/// a task that notes how fast bytes move, and ends when the end is asked for.
pub fn router(web: Web) -> Router {
    let web = Arc::new(web);
    throughput::begin(&web);
    let open = Router::new()
        .route("/", get(async || Redirect::to(ROOT)))
        .route("/ui", get(async || Redirect::to(ROOT)))
        .route("/metrics", get(metrics::scrape))
        .route("/ui/login", get(login::form).post(login::enter))
        .route("/ui/static/{name}", get(files::included));
    let known = Router::new()
        .route("/ui/", get(overview::page))
        .route("/ui/api/status", get(overview::status))
        .route("/ui/events", get(live::events))
        .route("/ui/peers", get(peers::all))
        .route("/ui/new-peer", get(peer_form::new).post(peer_form::add))
        .route("/ui/peers/{name}", get(peers::one).post(peer_form::change))
        .route("/ui/peers/{name}/test", post(peers::test))
        .route("/ui/peers/{name}/enabled", post(peers::enable))
        .route("/ui/peers/{name}/paused", post(peers::pause))
        .route("/ui/peers/{name}/filter", post(narrow::act))
        .route("/ui/api/peers", get(peers::api))
        .route("/ui/api/assets", get(assets::api))
        .route("/ui/api/plan/{peer}", get(plan::api))
        .route("/ui/peers/{name}/remove", post(peers::remove))
        .route("/ui/peers/{name}/since", get(since::ask).post(since::set))
        .route("/ui/quarantine", get(aside::page).post(aside::act))
        .route("/ui/quarantine.csv", get(aside::csv))
        .route("/ui/api/quarantine", get(aside::api))
        .route("/ui/conflicts", get(conflicts::all))
        .route("/ui/api/conflicts", get(conflicts::api))
        .route(
            "/ui/conflicts/{id}",
            get(conflicts::one).post(conflicts::restore),
        )
        .route("/ui/assets", get(assets::browse))
        .route("/ui/assets/{id}", get(assets::one))
        .route("/ui/assets/{id}/crop", get(crops::editor).post(crops::save))
        .route("/ui/media/{kind}/{asset}/{*path}", get(media::file))
        .route("/ui/plan/{peer}", get(plan::page).post(plan::begin))
        .route("/ui/limits", get(limits::page).post(limits::change))
        .route("/ui/limits/hours", post(limits::hours))
        .route("/ui/work", get(work::page))
        .route("/ui/api/work", get(work::api))
        .route("/ui/schedule", get(schedule::page))
        .route("/ui/api/schedule", get(schedule::api))
        .route(
            "/ui/schedule/event",
            get(event_form::form).post(event_form::save),
        )
        .route("/ui/schedule/run", post(schedule::run_now))
        .route("/ui/schedule/cancel", post(schedule::cancel))
        .route("/ui/schedule/enabled", post(schedule::enable))
        .route("/ui/schedule/remove", post(schedule::remove))
        .route("/ui/schedule/runs", get(runs::all))
        .route("/ui/schedule/runs/{id}", get(runs::one))
        .route("/ui/schedule/runs/{id}/log", get(runs::log))
        .route("/ui/logout", post(login::leave))
        .route_layer(from_fn_with_state(Arc::clone(&web), session::required));
    open.merge(known)
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::Method)
        .with_state(web)
        .layer(from_fn(body::taken))
        .layer(from_fn(headers::add))
}
