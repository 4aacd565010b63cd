//! One plan of faults for a scripted server, and the sockets that carry them out.
//!
//! A rule names a piece of the request path and which of the matching requests it hits. Order comes from handles, never from
//! sleeping: a stalled reply waits at a [`Gate`] that the test opens, and a cut connection closes once the promised bytes
//! have been handed to the operating system.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::http::{HeaderName, HeaderValue, Response, header};
use axum::serve::{IncomingStream, Listener};
use futures_util::stream::{self, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What goes wrong with one reply.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body, whose length was announced as if whole.
    CutAfter(usize),
    /// 503, with `Retry-After` in seconds if given.
    Unavailable(Option<u64>),
    /// 429, with `Retry-After` in seconds if given.
    TooManyRequests(Option<u64>),
    /// Every byte of the body is another one; the length is right.
    WrongBytes,
    /// The body is only so long, and is announced so: nothing on the connection shows it.
    ShortBody(usize),
    /// The ETag is another one.
    ChangedEtag,
    /// So many bytes of the body come, the rest when the test opens the gate.
    Stall(usize, Gate),
    /// 200 with a login page.
    LoginPage,
    /// The connection ends without an answer.
    Reset,
    /// A page of a listing holds the records of the page before.
    RepeatPage,
    /// The body stops in the middle, in good order: a proxy that gave up.
    TruncatedJson,
}

/// Where a stalled reply waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    reached: CancellationToken,
    open: CancellationToken,
}

impl Gate {
    /// Returns once a reply waits here.
    pub(crate) async fn reached(&self) {
        self.reached.cancelled().await;
    }

    /// Lets the waiting reply, and every later one, go on.
    pub(crate) fn open(&self) {
        self.open.cancel();
    }
}

/// Which requests go wrong, and how.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    rules: Mutex<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    path: String,
    hits: std::ops::RangeInclusive<u64>,
    seen: u64,
    fault: Fault,
}

impl FaultPlan {
    /// The `occurrence`-th request, counted from 1 and from now, whose path contains `path` meets `fault`.
    pub(crate) fn once(&self, path: &str, occurrence: u64, fault: Fault) {
        self.add(path, occurrence..=occurrence, fault);
    }

    /// Every request from now on whose path contains `path` meets `fault`.
    pub(crate) fn always(&self, path: &str, fault: Fault) {
        self.add(path, 1..=u64::MAX, fault);
    }

    /// Faults stop.
    pub(crate) fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    fn add(&self, path: &str, hits: std::ops::RangeInclusive<u64>, fault: Fault) {
        self.rules.lock().unwrap().push(Rule {
            path: path.to_owned(),
            hits,
            seen: 0,
            fault,
        });
    }

    /// Counts a request and returns the fault that it meets; the rule added first wins.
    pub(crate) fn meet(&self, path: &str) -> Option<Fault> {
        let mut met = None;
        for rule in self.rules.lock().unwrap().iter_mut() {
            if path.contains(&rule.path) {
                rule.seen += 1;
                if met.is_none() && rule.hits.contains(&rule.seen) {
                    met = Some(rule.fault.clone());
                }
            }
        }
        met
    }
}

/// How a reply's length is announced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// `Content-Length`, and true.
    Exact,
    /// Not at all: chunked.
    Chunked,
    /// `Content-Length`, and not true; the connection ends where the body does.
    Claimed(u64),
}

/// A reply before faults.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers besides those about length.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Bytes,
    /// How it is announced.
    pub(crate) length: Length,
}

impl Reply {
    /// Brings a fault over the reply.
    pub(crate) fn spoilt(mut self, fault: Option<&Fault>) -> Self {
        let whole = self.body.len();
        let mut refused = |status, after: &Option<u64>| {
            let after = after.map(|seconds| ("retry-after", seconds.to_string()));
            self = Self::plain(status, "text/plain", "");
            self.headers.extend(after);
        };
        match fault {
            Some(Fault::Unavailable(after)) => refused(503, after),
            Some(Fault::TooManyRequests(after)) => refused(429, after),
            Some(Fault::LoginPage) => {
                let page = "<!DOCTYPE html><html><body><form>Login</form></body></html>";
                self = Self::plain(200, "text/html;charset=UTF-8", page);
            }
            Some(Fault::WrongBytes) => {
                self.body = self.body.iter().map(|byte| byte ^ 0x55).collect()
            }
            Some(Fault::ShortBody(length)) => self.body.truncate(*length),
            Some(Fault::TruncatedJson) => self.body.truncate(whole / 2),
            Some(Fault::ChangedEtag) => {
                let etag = self.headers.iter_mut().find(|(name, _)| *name == "etag");
                etag.expect("the reply has an ETag").1.push('7');
            }
            Some(Fault::CutAfter(_) | Fault::Stall(..) | Fault::Reset | Fault::RepeatPage)
            | None => {}
        }
        self
    }

    /// A reply without anything special.
    pub(crate) fn plain(status: u16, kind: &str, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            length: Length::Exact,
        }
    }

    /// The reply as axum sends it over `link`.
    pub(crate) fn send(self, fault: Option<Fault>, link: Link) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            response = response.header(HeaderName::from_static(name), value);
        }
        let length = match self.length {
            Length::Exact => Some(self.body.len() as u64),
            Length::Claimed(length) => Some(length),
            Length::Chunked => None,
        };
        if let Some(length) = length {
            response = response.header(header::CONTENT_LENGTH, length);
        }
        let body = match (fault, self.length) {
            (Some(Fault::Reset), _) => {
                link.set(DEAD);
                Body::empty()
            }
            (Some(Fault::CutAfter(at)), _) => cut(self.body.slice(..at.min(self.body.len())), link),
            (Some(Fault::Stall(at, gate)), _) => stall(self.body, at, gate),
            (_, Length::Claimed(_)) => cut(self.body, link),
            (_, Length::Exact) => Body::from(self.body),
            (_, Length::Chunked) => chunks([self.body].into()),
        };
        response.body(body).unwrap()
    }
}

fn chunks(pieces: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, io::Error>)))
}

/// `bytes`, then the end of the connection.
fn cut(bytes: Bytes, link: Link) -> Body {
    let ending = stream::poll_fn(move |cx| {
        link.set(CUT_WHEN_FLUSHED);
        cx.waker().wake_by_ref();
        Poll::Pending::<Option<Result<Bytes, io::Error>>>
    });
    let first = (!bytes.is_empty()).then_some(Ok(bytes));
    Body::from_stream(stream::iter(first).chain(ending))
}

fn stall(body: Bytes, at: usize, gate: Gate) -> Body {
    let at = at.min(body.len());
    let (first, rest) = (body.slice(..at), body.slice(at..));
    let held = stream::once(async move {
        gate.reached.cancel();
        gate.open.cancelled().await;
        Ok::<_, io::Error>(rest)
    });
    let first = (!first.is_empty()).then_some(Ok(first));
    Body::from_stream(stream::iter(first).chain(held))
}

const ALIVE: u8 = 0;
const CUT_WHEN_FLUSHED: u8 = 1;
const DEAD: u8 = 2;

/// A handler's hold on the connection it answers on.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<AtomicU8>);

impl Link {
    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    fn broken(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) >= state
    }
}

impl Connected<IncomingStream<'_, Taps>> for Link {
    fn connect_info(stream: IncomingStream<'_, Taps>) -> Self {
        stream.io().link.clone()
    }
}

/// A listener whose connections can be broken by their handler.
#[derive(Debug)]
pub(crate) struct Taps(pub(crate) TcpListener);

impl Listener for Taps {
    type Io = Tap;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Tap, SocketAddr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        let link = Link(Arc::new(AtomicU8::new(ALIVE)));
        (Tap { stream, link }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One such connection.
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    link: Link,
}

impl Tap {
    fn check(&self, state: u8) -> io::Result<()> {
        match self.link.broken(state) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(DEAD)?;
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    /// Only called once everything before was written, so an end here ends exactly after the last byte.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(CUT_WHEN_FLUSHED)?;
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
