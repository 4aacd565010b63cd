//! What a node needs in order to answer, and the way of a request: path → key → endpoint → reply. Every request passes here
//! once, is logged here once, and cannot harm another one from here on.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use futures_util::FutureExt as _;
use tower::ServiceExt as _;

use super::error::{Error, Shape};
use super::in_force::InForce;
use super::known::Known;
use super::listings::Listings;
use super::path::{self, Endpoint, HandIn};
use super::ready::{self, Looked};
use super::request::Asked;
use super::tls::Certificate;
use super::{auth, digests, feed, files, postponed, receive, search, status, uploads};
use crate::catalogue::Catalogue;
use crate::config::{GRANTING, Peer};
use crate::edge::Edge;
use crate::model::{CatalogId, Module, NodeId};
use crate::receive::Inbox;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::throttle::Throttle;

/// How a node shows itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its cluster id.
    pub node: NodeId,
    /// First element of every path, `assets` by default.
    pub site: String,
    /// Its own catalog.
    pub catalog: CatalogId,
    /// Tables to pass on although they grant things.
    pub relay_tables: Vec<Module>,
    /// Records per page of a listing, at least 1; EMDB's is 1,000.
    pub per_page: u64,
    /// How much further back than asked a listing reaches (wire spec 11.1.4).
    pub margin: Duration,
}

/// Who may have generated files, and how long caches may keep what anybody may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Whether those of assets that nothing restricts are anybody's.
    pub public_renditions: bool,
    /// How long what is anybody's is fresh, in whole seconds.
    pub max_age: Duration,
    /// How much longer it may be used while somebody asks whether it still is right, in whole seconds.
    pub stale: Duration,
}

/// A node that answers requests.
#[derive(Debug)]
pub struct Node {
    pub(super) settings: Settings,
    pub(super) catalogue: Catalogue,
    pub(super) known: Known,
    pub(super) store: Store,
    pub(super) seams: Seams,
    pub(super) throttle: Throttle,
    pub(super) listings: Listings,
    pub(super) withheld: Vec<Module>,
    pub(super) inbox: Option<Arc<Inbox>>,
    pub(super) certificate: Option<Certificate>,
    pub(super) in_force: InForce,
    pub(super) edge: Option<Edge>,
    /// Asked for once the node is about to end.
    pub(super) ending: Shutdown,
    pub(super) looked: Looked,
    page: Option<Router>,
}

impl Node {
    /// Puts a node together; touches nothing yet.
    #[must_use]
    pub fn new(
        mut settings: Settings,
        catalogue: Catalogue,
        store: Store,
        seams: Seams,
        throttle: Throttle,
    ) -> Self {
        settings.per_page = settings.per_page.max(1);
        let withheld = GRANTING
            .iter()
            .map(|name| Module::new(*name).expect("the names are table names"))
            .filter(|module| !settings.relay_tables.contains(module))
            .collect();
        Self {
            settings,
            known: Known::new(catalogue.clone()),
            catalogue,
            store,
            seams,
            throttle,
            listings: Listings::default(),
            withheld,
            inbox: None,
            certificate: None,
            in_force: InForce::default(),
            edge: None,
            ending: Shutdown::new(),
            looked: Looked::default(),
            page: None,
        }
    }

    /// The same, and it says of which assets it holds no files because of its peers' filters.
    #[must_use]
    pub fn holding_parts(self, peers: &[Peer]) -> Self {
        self.in_force.hold_parts(peers);
        self
    }

    /// The same, and it takes what other nodes hand in.
    #[must_use]
    pub fn receiving(mut self, inbox: impl Into<Arc<Inbox>>) -> Self {
        self.inbox = Some(inbox.into());
        self
    }

    /// The same, and some of its files are for anybody.
    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        self.in_force.share(sharing);
        self
    }

    /// What of it may change while it runs.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        self.in_force.clone()
    }

    /// The same, and it fetches what somebody reads and is not here.
    #[must_use]
    pub fn fetching(mut self, edge: Edge) -> Self {
        self.edge = Some(edge);
        self
    }

    /// The same, by https alone.
    #[must_use]
    pub fn secured(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The same, with a page for people at `/` and below `/ui`.
    #[must_use]
    pub fn showing(mut self, page: Router) -> Self {
        self.page = Some(page);
        self
    }

    /// The page, for a path that is its own: no endpoint, whatever the site is called.
    fn page_for(&self, endpoint: &Endpoint, path: &str) -> Option<Router> {
        let is_its_own =
            path == "/" || path == "/ui" || path.starts_with("/ui/") || path == "/metrics";
        let page = self.page.as_ref().filter(|_| is_its_own)?;
        (*endpoint == Endpoint::Nothing).then(|| page.clone())
    }
}

/// The node as a service. One handler takes every path, because EMDB's rules for paths (double slashes, an optional `.json`,
/// escaped elements) are not a router's.
pub fn router(node: Arc<Node>) -> Router {
    Router::new().fallback(answer).with_state(node)
}

async fn answer(State(node): State<Arc<Node>>, request: axum::extract::Request) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let endpoint = path::endpoint(&node.settings.site, uri.path());
    let shape = shape(&endpoint);
    let page = node.page_for(&endpoint, uri.path());
    let handled = async move {
        match page {
            Some(page) => Ok(page
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {})),
            None => handle(node, endpoint, request).await,
        }
    };
    let handled = AssertUnwindSafe(handled).catch_unwind();
    let reply = match handled.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => error.reply(shape, uri.path()),
        Err(_) => Error::Panicked.reply(shape, uri.path()),
    };
    // Never the query or a header: both may hold a key (I13).
    tracing::debug!(
        %method,
        path = uri.path(),
        status = reply.status().as_u16(),
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    reply
}

/// What the client of an endpoint can make of a refusal.
fn shape(endpoint: &Endpoint) -> Shape {
    match endpoint {
        Endpoint::Changes | Endpoint::Uploads | Endpoint::Search(_) => Shape::Listing,
        Endpoint::HandIn(HandIn::Changes) => Shape::Message,
        Endpoint::HandIn(HandIn::Offer) => Shape::Offer,
        _ => Shape::Bare,
    }
}

async fn handle(
    node: Arc<Node>,
    endpoint: Endpoint,
    request: axum::extract::Request,
) -> Result<Response, Error> {
    match endpoint {
        Endpoint::Nothing => return Err(Error::NotFound),
        Endpoint::Health => return status::health(&node, request.method()).await,
        Endpoint::Ready => return ready::ready(&node, request.method()).await,
        Endpoint::HandIn(what) => return hand_in(&node, what, request).await,
        _ => {}
    }
    let asked = Asked::read(request).await?;
    if !matches!(asked.method, Method::GET | Method::HEAD | Method::POST) {
        return Err(Error::Method);
    }
    match endpoint {
        Endpoint::SystemStatus => return status::system(&node).await,
        Endpoint::NoAccess => return Ok(status::no_access()),
        Endpoint::GetKey => return Ok(status::get_key()),
        _ => {}
    }
    if let Endpoint::File(kind, path) = endpoint {
        return files::file(&node, kind, &path, &asked).await;
    }
    let key = auth::authenticate(&node, &asked).await?;
    if matches!(endpoint, Endpoint::Changes | Endpoint::Uploads) {
        postponed::check(&node, &key).await?;
    }
    match endpoint {
        Endpoint::Changes => feed::changes(&node, &asked).await,
        Endpoint::Uploads => uploads::uploads(node, &asked).await,
        Endpoint::Digests => digests::digests(&node, &asked).await,
        Endpoint::Search(module) => search::search(&node, &module, &asked).await,
        _ => Err(Error::NotFound),
    }
}

/// Takes what somebody hands in who may.
async fn hand_in(
    node: &Node,
    what: HandIn,
    request: axum::extract::Request,
) -> Result<Response, Error> {
    let (asked, body) = receive::split(request);
    let key = auth::authenticate(node, &asked).await?;
    let inbox = receive::inbox(node, &key)?;
    if asked.method != Method::POST {
        return Err(Error::Method);
    }
    match what {
        HandIn::Changes => receive::changes(inbox, &key, body).await,
        HandIn::Offer => receive::offer(inbox, &key, body).await,
        HandIn::File => receive::file(node, inbox, &key, (asked.headers, body)).await,
    }
}
