//! A door of HTTP in front of a node: answers come later through it, too many requests at once are refused, and it counts.
//!
//! Only requests for media are counted and refused. One is inside from its arrival until its answer is about to go out, so
//! that whoever asks for one file after the other never has two inside.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The door, until it is dropped.
pub(crate) struct Door {
    /// Base URL of the node behind it, with the site.
    pub(crate) base: String,
    behind: Arc<Behind>,
    task: AbortHandle,
}

/// How a door behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// How much later answers come.
    pub(crate) later: Duration,
    /// How many files may be asked for at once; the others are refused, with 503 and 429 in turn.
    pub(crate) most: usize,
}

struct Behind {
    manners: Manners,
    origin: String,
    client: reqwest::Client,
    inside: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
    refused: AtomicUsize,
}

impl Door {
    /// Opens a door to the node at the base URL `node`.
    pub(crate) async fn to(node: &str, manners: Manners) -> Self {
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
            manners,
            origin: format!("http://{authority}"),
            client,
            inside: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(behind.clone());
        let serving = async move { axum::serve(listener, router).await };
        Self {
            base: format!("http://{address}/{site}"),
            behind,
            task: tokio::spawn(serving).abort_handle(),
        }
    }

    /// The most files that were asked for at once.
    pub(crate) fn most(&self) -> usize {
        self.behind.most.load(Ordering::SeqCst)
    }

    /// Requests for files that were let in, and those that were refused.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let read = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (read(&self.behind.asked), read(&self.behind.refused))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response<Body> {
    if !request.uri().path().contains("/asset/downloads/") {
        return behind.forward(request).await;
    }
    let inside = behind.inside.fetch_add(1, Ordering::SeqCst) + 1;
    behind.most.fetch_max(inside, Ordering::SeqCst);
    let answer = if inside > behind.manners.most {
        let refused = behind.refused.fetch_add(1, Ordering::SeqCst);
        let status = if refused.is_multiple_of(2) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::TOO_MANY_REQUESTS
        };
        let answer = Response::builder().status(status);
        answer.body(Body::empty()).unwrap()
    } else {
        behind.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(behind.manners.later).await;
        behind.forward(request).await
    };
    behind.inside.fetch_sub(1, Ordering::SeqCst);
    answer
}

impl Behind {
    async fn forward(&self, request: Request) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(own);
        }
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let answer = self
            .client
            .request(head.method, format!("{}{}", self.origin, head.uri))
            .headers(head.headers)
            .body(body)
            .send()
            .await
            .unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if ![CONNECTION, TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        response
            .body(Body::from(answer.bytes().await.unwrap()))
            .unwrap()
    }
}
