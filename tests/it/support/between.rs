//! A node between two nodes: it passes every request on, notes what was asked and how much came back, and tells of digests
//! whatever a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;

/// The path of the endpoint that tells digests.
const DIGESTS: &str = "/cluster/emsyncdigest.json";

/// What becomes of an answer about digests: what was asked, and the true answer.
pub(crate) type Lie = Box<dyn Fn(&str, Vec<u8>) -> (u16, Vec<u8>) + Send + Sync>;

/// Whether a request for a path is refused.
pub(crate) type Refusal = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// One request that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Its path.
    pub(crate) path: String,
    /// Its body.
    pub(crate) asked: String,
    /// Bytes of question and answer together, without heads.
    pub(crate) bytes: usize,
}

impl Passed {
    /// Whether it asked for a page of records: the listing of nothing, by which nodes greet each other, has none.
    pub(crate) fn is_listing(&self) -> bool {
        let lists =
            self.path.ends_with("/listalldocs.json") && !self.asked.contains("lastpullago=-");
        lists || self.path.ends_with("/nextall.json")
    }
}

/// The node, until its runtime ends.
#[derive(Clone)]
pub(crate) struct Between {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    behind: Arc<Behind>,
}

struct Behind {
    target: String,
    client: reqwest::Client,
    passed: Mutex<Vec<Passed>>,
    lie: Mutex<Option<Lie>>,
    refusal: Mutex<Option<Refusal>>,
}

impl Between {
    /// Begins to pass requests on to `target`, a URL without a path.
    pub(crate) async fn start(target: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let behind = Arc::new(Behind {
            target: target.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            passed: Mutex::default(),
            lie: Mutex::default(),
            refusal: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(behind.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, behind }
    }

    /// What went through since this was asked last.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        std::mem::take(&mut *self.behind.passed.lock().unwrap())
    }

    /// From now on requests that this says so of are answered with 503.
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        *self.behind.refusal.lock().unwrap() = refusal;
    }

    /// From now on answers about digests are what this makes of them.
    pub(crate) fn lie(&self, lie: Option<Lie>) {
        *self.behind.lie.lock().unwrap() = lie;
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let is_refused =
        (behind.refusal.lock().unwrap().as_ref()).is_some_and(|refusal| refusal(parts.uri.path()));
    if is_refused {
        return Response::builder().status(503).body(Body::empty()).unwrap();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{}{}", behind.target, parts.uri);
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("accept-encoding");
    let passed_on = behind
        .client
        .request(parts.method, url)
        .headers(headers)
        .body(body.clone());
    let answer = passed_on.send().await.unwrap();
    let (mut status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut bytes = answer.bytes().await.unwrap().to_vec();
    let asked = String::from_utf8_lossy(&body).into_owned();
    if parts.uri.path().ends_with(DIGESTS)
        && let Some(lie) = &*behind.lie.lock().unwrap()
    {
        (status, bytes) = lie(&asked, bytes);
    }
    behind.passed.lock().unwrap().push(Passed {
        path: parts.uri.path().to_owned(),
        bytes: body.len() + bytes.len(),
        asked,
    });
    let mut reply = Response::builder().status(status);
    for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
        reply = reply.header(name, value);
    }
    reply.body(Body::from(bytes)).unwrap()
}
