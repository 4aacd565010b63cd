//! The page over its own requests: a real node in a temporary directory, and a browser without scripts.

mod access;
mod limits;
mod pages;
mod peers;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;

use super::{Web, password, router};
use crate::catalogue::User;
use crate::config::{Config, Secret};
use crate::model::Timestamp;
use crate::node::Node;
use crate::schedule::Scheduler;
use crate::seams::{Clock, Os, Seams};
use crate::serve::Connection;
use crate::shutdown::Shutdown;

const NOW: i64 = 1_800_000_000_000;
const PASSWORD: &str = "correct horse";

/// A clock that stands still until it is set.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A node with its page, and a browser.
struct Site {
    dir: tempfile::TempDir,
    node: Node,
    page: Router,
    clock: Arc<Hands>,
    from: Connection,
    cookies: BTreeMap<String, String>,
}

/// What came back.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    #[track_caller]
    fn holds(self, what: &str) -> Self {
        assert!(self.text.contains(what), "no {what:?} in {}", self.text);
        self
    }

    #[track_caller]
    fn leads(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }
}

impl Site {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings than its name.
    async fn with(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "state = \"state\"\n[node]\nname = \"Here\"\ncluster_id = \"here-1\"\n[media]\nroot = \"media\"\n{settings}"
        );
        let file = dir.path().join("emsync.toml");
        std::fs::write(&file, &text).unwrap();
        let config = Config::load(&file).unwrap();
        Node::init(&config).await.unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(NOW)));
        let seams = Seams {
            clock: clock.clone(),
            rng: Arc::new(Os),
        };
        let node = Node::open(config, seams).await.unwrap();
        let stop = Shutdown::new();
        let scheduler = Scheduler::open(node.clone(), &stop).await.unwrap();
        let page = router(Web::new(node.clone(), scheduler.clone(), stop));
        Self {
            dir,
            node,
            page,
            clock,
            from: Connection {
                address: "127.0.0.1:50000".parse().unwrap(),
                is_secure: false,
            },
            cookies: BTreeMap::new(),
        }
    }

    async fn add_user(&self, name: &str) {
        let now = self.node.seams.clock.now();
        let user = User {
            name: name.to_owned(),
            password: password::kept(&Secret::new(PASSWORD), &self.node.seams).unwrap(),
            created_at: now,
            changed_at: now,
        };
        let mut batch = self.node.catalogue.batch().await.unwrap();
        assert!(batch.put_user(&user).await.unwrap());
        batch.commit().await.unwrap();
    }

    /// A site with somebody logged in.
    async fn entered(settings: &str) -> Self {
        let mut site = Self::with(settings).await;
        site.add_user("ann").await;
        site.log_in("ann", PASSWORD).await.is(303);
        site
    }

    async fn log_in(&mut self, name: &str, password: &str) -> Reply {
        self.post("/ui/login", &[("name", name), ("password", password)])
            .await
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let request = Request::post(path).header(ORIGIN, "http://here:7700");
        self.send(filled(request, fields)).await
    }

    async fn send(&mut self, mut request: Request<Body>) -> Reply {
        let headers = request.headers_mut();
        headers.insert(HOST, "here:7700".parse().unwrap());
        for (name, value) in &self.cookies {
            headers.append(COOKIE, format!("{name}={value}").parse().unwrap());
        }
        request.extensions_mut().insert(self.from);
        let reply = self.page.clone().oneshot(request).await.unwrap();
        let (head, body) = reply.into_parts();
        for cookie in head.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        Reply {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    fn later(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

fn filled(request: axum::http::request::Builder, fields: &[(&str, &str)]) -> Request<Body> {
    let escape = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.join("&")))
        .unwrap()
}
