//! A scripted server that answers like a stock EnterMediaDB 10, its defects included, over a real socket on port 0.
//!
//! It holds records and files in memory and knows the endpoints of a client that pulls (wire spec 3.1 to 3.3, 3.8, 3.9, 3.11) and
//! of one that pushes ([`receive`]). Its JSON is written by hand in EMDB's own member order with `\/`, not by the code under test.
//! Stopped when dropped.

mod client;
mod content;
mod downloads;
mod multipart;
mod receive;
mod replies;
mod rule;
mod search;

pub(crate) use client::{Client, Peer, Ran};
pub(crate) use content::{Content, Doc, File, asset_members};
pub(crate) use multipart::Part;
pub(crate) use receive::Write;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use emsync::model::Timestamp;
use emsync::protocol::wire_path::unescape;
use emsync::seams::{Clock as _, Os};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::fault::{Fault, FaultPlan, Link, Taps};

/// The key it accepts.
pub(crate) const KEY: &str = "syncusermd5420a1b2c3d";
const SITE: &str = "finder";
/// Its cluster id, where a test does not give it another.
pub(crate) const OWN: &str = "node-a-cluster";
/// What it calls its catalog.
pub(crate) const CATALOG: &str = "finder/catalog";
/// The most that it takes of a request, bytes.
const LARGEST: usize = 64 << 20;

/// How the server is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Records per page; EMDB's is 1,000.
    pub(crate) page_size: usize,
    /// Whether the session cookie is `Secure`, as with the shipped `web.xml`.
    pub(crate) secure_cookie: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            page_size: 1_000,
            secure_cookie: true,
        }
    }
}

/// One request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    /// Method.
    pub(crate) method: Method,
    /// Raw path, from the site on.
    pub(crate) path: String,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Fields of query and form.
    pub(crate) fields: BTreeMap<String, String>,
    /// The body as text.
    pub(crate) body: String,
    /// The body as it came.
    pub(crate) bytes: Bytes,
    /// Its parts, in their order, where it is a form of several.
    pub(crate) parts: Vec<Part>,
    /// When it came.
    pub(crate) at: Instant,
    /// Where from: one connection, as long as that stays.
    pub(crate) from: SocketAddr,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Emdb {
    shared: Arc<Shared>,
    base: String,
    address: SocketAddr,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    own: String,
    write: Mutex<Write>,
    content: Mutex<Content>,
    sessions: Mutex<HashMap<String, Session>>,
    log: Mutex<Vec<Logged>>,
    came: Notify,
    faults: FaultPlan,
    clock_offset: AtomicI64,
    stopped_at: Mutex<Option<Timestamp>>,
    sessions_made: AtomicU64,
}

#[derive(Debug, Default)]
struct Session {
    logged_in: bool,
    tracker: Option<Tracker>,
}

/// A listing's cursor: an index scroll that only goes forward, and the chunks it has given so far.
#[derive(Debug, Clone)]
struct Tracker {
    found: Vec<Arc<Doc>>,
    chunks: HashMap<usize, Vec<Arc<Doc>>>,
    scrolled: usize,
}

impl Tracker {
    fn new(found: Vec<Doc>, size: usize) -> Self {
        let mut tracker = Self {
            found: found.into_iter().map(Arc::new).collect(),
            chunks: HashMap::new(),
            scrolled: 0,
        };
        tracker.scroll_into(1, size);
        tracker
    }

    fn scroll_into(&mut self, page: usize, size: usize) {
        let next = self.found.iter().skip(self.scrolled).take(size);
        let next: Vec<_> = next.cloned().collect();
        self.scrolled += next.len();
        self.chunks.insert(page, next);
    }

    /// A chunk not in memory is whatever the scroll gives next, *whatever page was asked for*, cut to the length that page
    /// should have (wire spec 3.2).
    fn page(&mut self, page: usize, size: usize) -> Result<Vec<Arc<Doc>>, String> {
        let length = self
            .found
            .len()
            .saturating_sub((page - 1).saturating_mul(size))
            .min(size);
        if length > 0 && !self.chunks.contains_key(&page) {
            self.scroll_into(page, size);
        }
        let chunk = self.chunks.get(&page).map_or(&[][..], Vec::as_slice);
        match chunk.get(..length) {
            Some(rows) => Ok(rows.to_vec()),
            None => Err(format!(
                "row request falls beyond one page of results {0}>={0}",
                chunk.len()
            )),
        }
    }
}

impl Emdb {
    /// Starts a server.
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_as(setup, OWN).await
    }

    /// Starts a server with a cluster id of the test's choice.
    pub(crate) async fn start_as(setup: Setup, own: &str) -> Self {
        let shared = Arc::new(Shared {
            setup,
            own: own.to_owned(),
            write: Mutex::default(),
            content: Mutex::default(),
            sessions: Mutex::default(),
            log: Mutex::default(),
            came: Notify::new(),
            faults: FaultPlan::default(),
            clock_offset: AtomicI64::new(0),
            stopped_at: Mutex::new(None),
            sessions_made: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}/{SITE}");
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<Link>();
        let serving = async move { axum::serve(Taps(listener), service).await };
        let task = tokio::spawn(serving).abort_handle();
        Self {
            shared,
            base,
            address,
            task,
        }
    }

    /// Base URL, with the site.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its cluster id.
    pub(crate) fn own(&self) -> &str {
        &self.shared.own
    }

    /// What it answers from now on to whoever sends it something.
    pub(crate) fn write(&self, write: Write) {
        *self.shared.write.lock().unwrap() = write;
    }

    /// Now, on its clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Its index shows all that was imported, as after a second or so.
    pub(crate) fn refresh(&self) {
        self.edit(Content::refresh);
    }

    /// Changes what it holds.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.shared.content.lock().unwrap())
    }

    /// Its faults.
    pub(crate) fn faults(&self) -> &FaultPlan {
        &self.shared.faults
    }

    /// Sets its clock so many milliseconds ahead of ours.
    pub(crate) fn set_clock_offset(&self, ms: i64) {
        self.shared.clock_offset.store(ms, Ordering::SeqCst);
    }

    /// Its clock stands at this moment from now on.
    pub(crate) fn stop_clock(&self, at: Timestamp) {
        *self.shared.stopped_at.lock().unwrap() = Some(at);
    }

    /// Returns once so many requests came whose path contains `path`.
    pub(crate) async fn asked(&self, path: &str, times: usize) {
        loop {
            let came = self.shared.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.requests(path).len() >= times {
                return;
            }
            came.await;
        }
    }

    /// Every request so far whose path contains `path`, in the order they came.
    pub(crate) fn requests(&self, path: &str) -> Vec<Logged> {
        let log = self.shared.log.lock().unwrap();
        log.iter()
            .filter(|request| request.path.contains(path))
            .cloned()
            .collect()
    }
}

impl Drop for Emdb {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        let stopped_at = *self.stopped_at.lock().unwrap();
        let ours = stopped_at.unwrap_or_else(|| Os.now()).as_millis();
        Timestamp::from_millis(ours + self.clock_offset.load(Ordering::SeqCst))
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, LARGEST).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    let kind = head.headers.get("content-type");
    let parts = multipart::parts(kind, &bytes);
    let query = fields(head.uri.query().unwrap_or_default());
    // A body of parts or of JSON has no fields of this kind.
    let form = match parts.is_empty() && !body.starts_with('{') {
        true => body.as_str(),
        false => "",
    };
    let logged = Logged {
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        fields: query.chain(fields(form)).collect(),
        body,
        bytes,
        parts,
        at: Instant::now(),
        from: link.from,
    };
    shared.log.lock().unwrap().push(logged.clone());
    shared.came.notify_waiters();
    let fault = shared.faults.meet(&logged.path);
    let mut asked = logged;
    match fault {
        Some(Fault::IgnoreRange) => drop(asked.headers.remove("range")),
        Some(Fault::RangeFromZero) if asked.headers.contains_key("range") => {
            drop(
                asked
                    .headers
                    .insert("range", HeaderValue::from_static("bytes=0-")),
            );
        }
        _ => {}
    }
    let reply = shared.reply(&asked, fault.as_ref());
    reply.spoilt(fault.as_ref()).send(fault, link)
}

fn fields(text: &str) -> impl Iterator<Item = (String, String)> {
    let plain = |text: &str| unescape(&text.replace('+', " ")).unwrap_or_default();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(move |(name, value)| (plain(name), plain(value)))
}
