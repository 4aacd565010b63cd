//! `emsync serve`: lets other nodes list and fetch, runs what the node does by itself, and lets people look and decide.

mod follow;
mod service;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::args::{Global, Serve};
use super::{ExitCode, Usage, output};
use crate::edge::{Edge, Patience};
use crate::node::Node;
use crate::receive::Inbox;
use crate::schedule::Scheduler;
use crate::serve::{self, Certificate, Settings};
use crate::shutdown::Shutdown;
use crate::web::{self, Web};
use follow::Parts;

/// Added to every window, so that what was committed while a listing was asked for is in the next one (11.1, 4).
const MARGIN: Duration = Duration::from_secs(60);
/// Records per page, as EMDB has it.
const PER_PAGE: u64 = 1_000;

pub(super) async fn run(
    global: &Global,
    args: &Serve,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = super::open_with(global, |limits| {
        if let Some(bandwidth) = &args.bwlimit {
            limits.bwlimit = bandwidth.clone();
        }
    })
    .await?;
    let _lock = node.lock("serve")?;
    let address = args.listen.unwrap_or(node.config.serve.listen);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let hangups = service::Hangups::listen();
    let bound = listener.local_addr()?;
    let tls = node.config.serve.tls.as_ref();
    let certificate = tls.map(Certificate::load).transpose()?;
    let url = super::base_url(bound, certificate.is_some(), &node.config.node.site);
    warn_of_readers(&node, bound.ip());
    let scheduler = Scheduler::open(node.clone(), shutdown).await?;
    let scheduler = scheduler.holding(args.bwlimit.clone());
    let inbox = Arc::new(Inbox::open(&node, shutdown)?);
    let edge = edge(&node, args, shutdown).await?;
    let mut served = shown(&node).receiving(Arc::clone(&inbox));
    let scheduler = scheduler.leading(Parts {
        in_force: served.in_force(),
        inbox,
        edge: edge.clone(),
        max_cache: args.max_cache,
        certificate: certificate.clone(),
    });
    let page = Web::new(node.clone(), scheduler.clone(), shutdown.clone());
    served = served.showing(web::router(page));
    served = with(served, edge.as_ref(), certificate);
    output::read_or_not(output::line(&url).map_err(Into::into))?;
    service::ready();
    let served = serve::run(listener, served, shutdown.clone());
    let runs = scheduler.run(service::alive);
    let reloads = service::reload(hangups, &scheduler, shutdown);
    let keeping = async {
        if let Some(edge) = &edge {
            edge.keep_room().await;
        }
    };
    let (served, runs, (), ()) = tokio::join!(
        ends_with(served, shutdown),
        ends_with(runs, shutdown),
        reloads,
        keeping
    );
    served?;
    runs?;
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

/// The same, as far as this node fetches for readers and speaks TLS.
fn with(served: serve::Node, edge: Option<&Edge>, certificate: Option<Certificate>) -> serve::Node {
    let served = match edge {
        Some(edge) => served.fetching(edge.clone()),
        None => served,
    };
    match certificate {
        Some(certificate) => served.secured(certificate),
        None => served,
    }
}

/// What fetches for readers, where this node does that.
async fn edge(node: &Node, args: &Serve, shutdown: &Shutdown) -> anyhow::Result<Option<Edge>> {
    let settings = &node.config.serve;
    let max_cache = args.max_cache;
    if !settings.pull_through {
        if max_cache.is_some() {
            let needed = "--max-cache needs pull_through = true under [serve]: what goes to make room is fetched again when somebody reads it";
            return Err(Usage(needed.to_owned()).into());
        }
        return Ok(None);
    }
    let room = follow::room(node, max_cache);
    if room.is_some() && node.sidecar().is_some() {
        tracing::warn!("max_cache is overlooked: the media are those of the EMDB beside this node");
    }
    let patience = Patience::default();
    Ok(Some(Edge::open(node, (patience, room), shutdown).await?))
}

/// One that ends, for whatever reason, ends the other.
async fn ends_with<T>(running: impl Future<Output = T>, shutdown: &Shutdown) -> T {
    let ended = running.await;
    shutdown.request();
    ended
}

/// Says so when keys and passwords can be read on their way.
fn warn_of_readers(node: &Node, listening: IpAddr) {
    let serve = &node.config.serve;
    if serve.tls.is_none() && serve.trusted_proxy.is_none() && !listening.is_loopback() {
        tracing::warn!(
            address = %listening,
            "serving without encryption: others on the network can read keys and passwords; set tls_cert and tls_key under [serve], \
             or listen on this machine alone and put a proxy with https in front"
        );
    }
}

/// What the HTTP node needs of this node, where others may hand changes in.
pub(super) fn served(node: &Node, shutdown: &Shutdown) -> anyhow::Result<serve::Node> {
    Ok(shown(node).receiving(Inbox::open(node, shutdown)?))
}

/// What it needs in order to show this node.
fn shown(node: &Node) -> serve::Node {
    let config = &node.config;
    let settings = Settings {
        node: config.node.cluster_id.clone(),
        site: config.node.site.clone(),
        catalog: config.node.catalog.clone(),
        relay_tables: config.relay_tables.clone(),
        per_page: PER_PAGE,
        margin: MARGIN,
    };
    let served = serve::Node::new(
        settings,
        node.catalogue.clone(),
        node.store.clone(),
        node.seams.clone(),
        node.throttle.clone(),
    );
    let served = served.holding_parts(&config.peers);
    served.sharing(follow::sharing(&config.serve))
}
