//! Between a node and its master: it hands everything on as it is, but for the files that a plan of faults speaks of, and counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Response};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::fault::{FaultPlan, Length, Link, Reply, Taps};

/// Requests for media pass here.
const MEDIA: &str = "/asset/downloads/";
/// What the answer to one of them says of the file.
const TOLD: [&str; 7] = [
    "content-type",
    "etag",
    "last-modified",
    "accept-ranges",
    "content-range",
    "retry-after",
    "x-emsync-bytes",
];

/// The liar, until it is dropped.
pub(crate) struct Liar {
    /// Base URL of the node behind it, with the site.
    pub(crate) base: String,
    behind: Arc<Behind>,
    task: AbortHandle,
}

struct Behind {
    origin: String,
    client: reqwest::Client,
    faults: FaultPlan,
    asked: std::sync::Mutex<Vec<String>>,
}

impl Liar {
    /// Stands in front of the node at the base URL `node`.
    pub(crate) async fn before(node: &str) -> Self {
        super::node::use_one_tls_provider();
        let (authority, site) = node
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .gzip(false)
            .build()
            .unwrap();
        let behind = Arc::new(Behind {
            origin: format!("http://{authority}"),
            client,
            faults: FaultPlan::default(),
            asked: std::sync::Mutex::default(),
        });
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(behind.clone());
        let service = router.into_make_service_with_connect_info::<Link>();
        let serving = async move { axum::serve(Taps(listener), service).await };
        Self {
            base: format!("http://{address}/{site}"),
            behind,
            task: tokio::spawn(serving).abort_handle(),
        }
    }

    /// What goes wrong.
    pub(crate) fn faults(&self) -> &FaultPlan {
        &self.behind.faults
    }

    /// How often files were fetched whose path contains this; questions about them (HEAD) do not count.
    pub(crate) fn fetched(&self, path: &str) -> usize {
        let asked = self.behind.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.contains(path)).count()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    State(behind): State<Arc<Behind>>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let (status, headers, body) = behind.forward(request).await;
    if !path.contains(MEDIA) {
        let mut response = Response::builder().status(status);
        for (name, value) in &headers {
            if ![CONNECTION, TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        return response.body(Body::from(body)).unwrap();
    }
    let told = TOLD.into_iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().unwrap();
        Some((name, value.to_owned()))
    });
    let length = match headers.get(CONTENT_LENGTH) {
        Some(length) if is_head => Length::Claimed(length.to_str().unwrap().parse().unwrap()),
        _ => Length::Exact,
    };
    let reply = Reply {
        status,
        headers: told.collect(),
        body,
        length,
    };
    if is_head {
        return reply.send(None, link);
    }
    behind.asked.lock().unwrap().push(path.clone());
    let fault = behind.faults.meet(&path);
    reply.spoilt(fault.as_ref()).send(fault, link)
}

impl Behind {
    async fn forward(&self, request: Request) -> (u16, HeaderMap, Bytes) {
        let (mut head, body) = request.into_parts();
        for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(own);
        }
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let url = format!("{}{}", self.origin, head.uri);
        let request = self.client.request(head.method, url).headers(head.headers);
        let answer = request.body(body).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap())
    }
}
