//! A scripted server that answers like a stock EnterMediaDB 10, its defects included, over a real socket on port 0.
//!
//! It holds records and files in memory and knows the endpoints a pulling client uses (wire spec 3.1 to 3.3, 3.8, 3.9, 3.11). Its
//! JSON is written by hand in EMDB's own member order with `\/`, not by the code under test. Stopped when dropped.

mod downloads;
mod replies;
mod search;

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
use emsync::protocol::lenient::parse_date;
use emsync::protocol::wire_path::unescape;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::fault::{Fault, FaultPlan, Link, Taps};

/// The key it accepts.
pub(crate) const KEY: &str = "syncusermd5420a1b2c3d";
const SITE: &str = "finder";

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    /// Table.
    pub(crate) module: String,
    /// Id.
    pub(crate) id: String,
    /// Its JSON, `emrecordstatus` included.
    pub(crate) source: Value,
}

impl Doc {
    /// A record owned and last saved by `cluster` at `modified`, with `members` beside its status.
    pub(crate) fn new(
        module: &str,
        id: &str,
        cluster: &str,
        modified: Timestamp,
        members: Value,
    ) -> Self {
        let mut source = members;
        source["id"] = json!(id);
        source["emrecordstatus"] = json!({
            "recorddeleted": false, "mastereditclusterid": cluster, "lastmodifiedclusterid": cluster,
            "recordmodificationdate": modified.to_string(), "masterrecordmodificationdate": modified.to_string(),
        });
        Self {
            module: module.to_owned(),
            id: id.to_owned(),
            source,
        }
    }

    /// The same as a tombstone.
    pub(crate) fn deleted(mut self) -> Self {
        self.source["emrecordstatus"]["recorddeleted"] = json!(true);
        self
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.source[member].as_str()
    }

    fn modified(&self) -> Option<Timestamp> {
        parse_date(self.source["emrecordstatus"]["recordmodificationdate"].as_str()?)
    }
}

/// The members of an asset whose original has this size and modification time (ms).
pub(crate) fn asset_members(path: &str, size: usize, mtime: i64) -> Value {
    json!({
        "sourcepath": path, "isfolder": false, "filesize": size, "fileformat": "bin", "importstatus": "complete",
        "editstatus": "6", "assetmodificationdate": Timestamp::from_millis(mtime).to_string(),
    })
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its content.
    pub(crate) bytes: Bytes,
    /// Its modification time, ms.
    pub(crate) mtime: i64,
}

/// What the server holds. Paths are below `originals/` or `generated/`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// Records, in the order of their last change.
    pub(crate) docs: Vec<Doc>,
    /// Files below `originals/`.
    pub(crate) originals: BTreeMap<String, File>,
    /// Files below `generated/`.
    pub(crate) generated: BTreeMap<String, File>,
    /// Generated files listed under paths of the lister's choice, by asset.
    crooked: BTreeMap<String, String>,
    /// Records that no listing shows and no count counts, while a search finds them: an index that lost sight of them.
    pub(crate) unlisted_ids: Vec<String>,
}

impl Content {
    /// Adds or replaces a record; a replaced one moves to the end of every listing, as in the index (wire spec 3.3).
    pub(crate) fn record(&mut self, doc: Doc) {
        self.docs
            .retain(|old| (&old.module, &old.id) != (&doc.module, &doc.id));
        self.docs.push(doc);
    }

    /// Removes a record without a trace: a hard delete (wire spec 7.1).
    pub(crate) fn hard_delete(&mut self, module: &str, id: &str) {
        self.docs
            .retain(|old| (old.module.as_str(), old.id.as_str()) != (module, id));
    }

    /// Adds or replaces an original.
    pub(crate) fn original(&mut self, path: &str, bytes: impl Into<Bytes>, mtime: i64) {
        let bytes = bytes.into();
        self.originals
            .insert(path.to_owned(), File { bytes, mtime });
    }

    /// Adds or replaces a generated file; `path` begins with its asset's source path.
    pub(crate) fn generated(&mut self, path: &str, bytes: impl Into<Bytes>, mtime: i64) {
        let bytes = bytes.into();
        self.generated
            .insert(path.to_owned(), File { bytes, mtime });
    }

    /// Lists a generated file for an asset whose `localpath` is whatever the server likes.
    pub(crate) fn listed_at(&mut self, asset: &str, localpath: &str) {
        self.crooked.insert(asset.to_owned(), localpath.to_owned());
    }

    /// Removes a file from either tree.
    pub(crate) fn remove_file(&mut self, path: &str) {
        self.originals.remove(path);
        self.generated.remove(path);
    }
}

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
        let shared = Arc::new(Shared {
            setup,
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

async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let form = String::from_utf8_lossy(&body).into_owned();
    let query = head.uri.query().unwrap_or_default();
    let logged = Logged {
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        fields: fields(query).chain(fields(&form)).collect(),
        body: form,
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
