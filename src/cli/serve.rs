//! `emsync serve`: lets other nodes list and fetch, runs what the node does by itself, and lets people look and decide.

mod service;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::args::{Global, Serve};
use super::{ExitCode, output};
use crate::node::Node;
use crate::receive::Inbox;
use crate::schedule::Scheduler;
use crate::serve::{self, Certificate, Settings};
use crate::shutdown::Shutdown;
use crate::web::{self, Web};

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
    let certificate = match &node.config.serve.tls {
        Some(files) => Some(Certificate::load(files)?),
        None => None,
    };
    let url = super::base_url(bound, certificate.is_some(), &node.config.node.site);
    warn_of_readers(&node, bound.ip());
    let scheduler = Scheduler::open(node.clone(), shutdown).await?;
    let scheduler = scheduler.holding(args.bwlimit.clone());
    let page = Web::new(node.clone(), scheduler.clone(), shutdown.clone());
    let mut served = served(&node, shutdown)?.showing(web::router(page));
    if let Some(certificate) = certificate {
        served = served.secured(certificate);
    }
    output::read_or_not(output::line(&url).map_err(Into::into))?;
    service::ready();
    let served = serve::run(listener, served, shutdown.clone());
    let runs = scheduler.run(service::alive);
    let reloads = service::reload(hangups, &scheduler, shutdown);
    let (served, runs, ()) = tokio::join!(
        ends_with(served, shutdown),
        ends_with(runs, shutdown),
        reloads
    );
    served?;
    runs?;
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
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

/// What the HTTP node needs of this node.
pub(super) fn served(node: &Node, shutdown: &Shutdown) -> anyhow::Result<serve::Node> {
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
    Ok(served.receiving(Inbox::open(node, shutdown)?))
}
