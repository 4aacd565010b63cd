//! One plan of faults for a scripted server, and the sockets that carry them out.
//!
//! A rule names a piece of the request path and which of the matching requests it hits. Order comes from handles, never from
//! sleeping: a stalled reply waits at a [`Gate`] that the test opens, and a cut connection closes once the promised bytes
//! have been handed to the operating system. Besides rules there is chance: every request draws its fault from a seed, its
//! path and how often that path was asked for, so that the order in which requests happen to come in changes nothing.

mod wire;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Response, Version, header};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
pub(crate) use wire::{Link, Taps};

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
    /// Another answer altogether.
    Answer(Reply),
    /// The answer after a change.
    Change(fn(&mut Reply)),
    /// The body comes byte by byte, with a pause before each.
    Trickle(Duration),
    /// So many bytes of the body come, then the server's direction ends while the client's stays open.
    HalfClose(usize),
    /// The server speaks HTTP/1.0: no chunks, and the end of the connection ends the body.
    Http10,
    /// The server has forgotten every session.
    ForgetSessions,
    /// The body is this piece, so many times, without a length; the meter counts what is taken of it.
    Flood(Bytes, u64, Meter),
    /// A range is overlooked: the whole comes.
    IgnoreRange,
    /// The start of a range is overlooked: a part comes, from the first byte on.
    RangeFromZero,
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

/// How much of a flood was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes so far: those of the piece under way, and what the system holds between both ends, are among them.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::SeqCst);
    }
}

/// Which requests go wrong, and how.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    rules: Mutex<Vec<Rule>>,
    chance: Mutex<Option<ByChance>>,
}

#[derive(Debug)]
struct ByChance {
    seed: u64,
    percent: u64,
    menu: Vec<Fault>,
    seen: HashMap<String, u64>,
    met: u64,
}

impl ByChance {
    fn meet(&mut self, path: &str) -> Option<Fault> {
        let seen = self.seen.entry(path.to_owned()).or_default();
        *seen += 1;
        let mut chance = Chance::new(self.seed).fork(path).fork(&seen.to_string());
        if !chance.percent(self.percent) {
            return None;
        }
        self.met += 1;
        Some(chance.pick(&self.menu).clone())
    }
}

#[derive(Debug)]
struct Rule {
    path: String,
    hits: RangeInclusive<u64>,
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

    /// The first `most` requests from now on whose path contains `path` meet `fault`.
    pub(crate) fn burst(&self, path: &str, most: u64, fault: Fault) {
        self.add(path, 1..=most, fault);
    }

    /// Every request from the `first`-th on, counted from 1 and from now, whose path contains `path` meets `fault`.
    pub(crate) fn from(&self, path: &str, first: u64, fault: Fault) {
        self.add(path, first..=u64::MAX, fault);
    }

    /// Of every hundred requests `percent` meet a fault of the menu, those that `seed` names.
    pub(crate) fn by_chance(&self, seed: u64, percent: u64, menu: Vec<Fault>) {
        *self.chance.lock().unwrap() = Some(ByChance {
            seed,
            percent,
            menu,
            seen: HashMap::new(),
            met: 0,
        });
    }

    /// Faults stop; answers how many there were by chance.
    pub(crate) fn clear(&self) -> u64 {
        self.rules.lock().unwrap().clear();
        let chance = self.chance.lock().unwrap().take();
        chance.map_or(0, |chance| chance.met)
    }

    fn add(&self, path: &str, hits: RangeInclusive<u64>, fault: Fault) {
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
        met.or_else(|| self.chance.lock().unwrap().as_mut()?.meet(path))
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
            Some(Fault::Answer(reply)) => self = reply.clone(),
            Some(Fault::Change(change)) => change(&mut self),
            Some(Fault::Http10 | Fault::Flood(..)) => self.length = Length::Chunked,
            Some(
                Fault::CutAfter(_)
                | Fault::Stall(..)
                | Fault::Reset
                | Fault::RepeatPage
                | Fault::Trickle(_)
                | Fault::HalfClose(_)
                | Fault::ForgetSessions
                | Fault::IgnoreRange
                | Fault::RangeFromZero,
            )
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

    /// The same with a header more, or with another value of it.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
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
        if let Some(Fault::Http10) = fault {
            response = response.version(Version::HTTP_10);
        }
        let body = match (fault, self.length) {
            (Some(Fault::Reset), _) => wire::reset(&link),
            (Some(Fault::CutAfter(at)), _) => {
                wire::cut(self.body.slice(..at.min(self.body.len())), link)
            }
            (Some(Fault::Stall(at, gate)), _) => wire::stall(self.body, at, gate),
            (Some(Fault::Flood(piece, times, meter)), _) => wire::flood(piece, times, meter),
            (Some(Fault::Trickle(pause)), _) => wire::trickle(self.body, pause),
            (Some(Fault::HalfClose(at)), _) => {
                wire::half_close(self.body.slice(..at.min(self.body.len())), link)
            }
            (_, Length::Claimed(_)) => wire::cut(self.body, link),
            (_, Length::Exact) => Body::from(self.body),
            (_, Length::Chunked) => wire::chunks([self.body].into()),
        };
        response.body(body).unwrap()
    }
}
