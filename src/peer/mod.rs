//! The client of one remote node, EMDB or emsync (wire spec 11.2).
//!
//! Every request carries the key in headers, follows no redirect and waits its turn when the peer asked for a pause. Listings
//! have a cookie jar each, since the session cookie is EMDB's cursor; downloads share one, since it saves the server a login.
//! Lists and media use HTTP/1.1 connections of their own, so that a slow body never holds up a page.

mod digests;
mod error;
mod feed;
mod files;
mod login;
mod patience;
mod probe;
pub mod route;
mod sending;
mod watch;
mod witness;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, COOKIE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::Instant;

pub use error::Error;
pub use feed::{Cursor, Page, UploadsAsked};
pub use files::{Download, Holding};
pub use login::fetch_key;
pub use patience::Patience;
pub use probe::{Kind, Probe, SKEW_WARNED, Warning};
pub use sending::Outgoing;
pub use witness::Presence;

use crate::config::{self, BaseUrl, Limits};
use crate::model::{NodeId, Timestamp};
use crate::protocol;
use crate::protocol::auth::{Refusal, refusal};
use crate::protocol::cookies::CookieJar;
use crate::retry::Budget;
use crate::shutdown::Shutdown;
use crate::throttle::Throttle;
use route::Reach;

/// Longest pause a peer can impose on us with one answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A remote node. Clones are cheap and share connections, cookies and manners.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    key: config::Secret,
    base_url: BaseUrl,
    cluster_id: Option<NodeId>,
    insecure_session: bool,
    lists: Client,
    media: Client,
    uploads: Client,
    budget: Budget,
    throttle: Throttle,
    busy_until: Mutex<Option<Instant>>,
    media_cookies: Mutex<CookieJar>,
    /// Bytes of media that came.
    fetched: AtomicU64,
    /// How long a connection may stand still while a file is sent, and how long its answer may take then.
    still: watch::Limits,
}

impl Peer {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Key`] when the key cannot travel in a header, [`Error::Proxy`] when a variable names no proxy, [`Error::Client`] when
    /// the TLS back end does not start.
    pub fn new(
        settings: &config::Peer,
        key: &config::Secret,
        limits: &Limits,
        throttle: Throttle,
    ) -> Result<Self, Error> {
        let headers = headers(key).ok_or_else(|| Error::Key {
            peer: settings.name.clone(),
        })?;
        let client = |timeout: Option<Duration>, gzip: bool| {
            let mut headers = headers.clone();
            if !gzip {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            let client = route::builder(&settings.network, Reach::of(&settings.base_url))?
                .user_agent(concat!("emsync/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(limits.contimeout)
                .tcp_nodelay(true)
                .gzip(gzip);
            match timeout {
                Some(timeout) => client.read_timeout(timeout),
                None => client,
            }
            .build()
            .map_err(|source| Error::Client { source })
        };
        Ok(Self(Arc::new(Inner {
            name: settings.name.clone(),
            key: key.clone(),
            base_url: settings.base_url.clone(),
            cluster_id: settings.cluster_id.clone(),
            insecure_session: settings.insecure_session,
            lists: client(Some(limits.list_timeout), true)?,
            media: client(Some(limits.timeout), false)?,
            // The library counts the time that sending takes as time without an answer; `watch` does not.
            uploads: client(None, true)?,
            budget: Budget::default(),
            throttle,
            busy_until: Mutex::new(None),
            media_cookies: Mutex::new(jar_for(&settings.base_url)),
            fetched: AtomicU64::new(0),
            still: watch::Limits {
                piece: limits.timeout,
                answer: limits.list_timeout,
            },
        })))
    }

    /// A node that only sends to us: it has a name and no address, and whoever asks it for something finds it unreachable.
    ///
    /// # Errors
    /// [`Error::Client`] when the TLS back end does not start.
    pub fn sender(
        name: &str,
        cluster_id: Option<NodeId>,
        limits: &Limits,
        throttle: Throttle,
    ) -> Result<Self, Error> {
        let settings = config::Peer::nowhere(name, cluster_id);
        // No key is shown to anybody, since no request ever leaves.
        let key = config::Secret::new("none");
        Self::new(&settings, &key, limits, throttle)
    }

    /// The peer's name in our configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The cluster id we were told it has, if we were.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&NodeId> {
        self.0.cluster_id.as_ref()
    }

    /// Where it answers.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.0.base_url
    }

    /// What may still be asked again.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Returns when the peer may be asked again after it said it was busy; `false` when we were asked to end first.
    pub async fn turn(&self, shutdown: &Shutdown) -> bool {
        loop {
            let until = *self
                .0
                .busy_until
                .lock()
                .expect("no panic while the pause is held");
            match until {
                Some(until) if until > Instant::now() => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = shutdown.wait() => return false,
                },
                _ => return !shutdown.requested(),
            }
        }
    }

    /// Sends a request and sorts out every status that says the same whatever was asked for.
    async fn send(&self, request: RequestBuilder, url: &str) -> Result<Response, Error> {
        Ok(self.send_and_time(request, url).await?.0)
    }

    /// The same, with how long the head of the answer took once the request might go out.
    async fn send_and_time(
        &self,
        request: RequestBuilder,
        url: &str,
    ) -> Result<(Response, Duration), Error> {
        let unreachable = |source: reqwest::Error| Error::Unreachable {
            peer: self.0.name.clone(),
            url: url.to_owned(),
            source,
        };
        self.0.throttle.ask().await;
        let asked = Instant::now();
        let response = request.send().await.map_err(unreachable)?;
        let waited = asked.elapsed();
        let status = response.status();
        let location = response
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok());
        // What is wrong with a body of the right status is judged where it is read.
        if let Some(refusal) = refusal(status.as_u16(), location, None) {
            let peer = self.0.name.clone();
            let mut detail = explained(status, location, &refusal);
            if let Some(elsewhere) = location.and_then(|to| self.0.base_url.moved_to(url, to)) {
                detail.push_str("; it seems to have moved: is base_url = \"");
                detail.push_str(&elsewhere);
                detail.push_str("\" the one to write?");
            }
            let detail = self.without_key(&detail);
            return Err(Error::Refused { peer, detail });
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let retry_after = retry_after(response.headers());
                self.pause(retry_after);
                Err(Error::Busy {
                    peer: self.0.name.clone(),
                    status: status.as_u16(),
                    retry_after,
                })
            }
            _ => Ok((response, waited)),
        }
    }

    /// What the peer says, less our key: some repeat what they were shown (I13).
    fn without_key(&self, said: &str) -> String {
        said.replace(self.0.key.expose(), "***")
    }

    /// Holds every request to this peer back for as long as it asked.
    fn pause(&self, retry_after: Option<Duration>) {
        let Some(wait) = retry_after else { return };
        let until = Instant::now() + wait;
        let mut busy_until = self
            .0
            .busy_until
            .lock()
            .expect("no panic while the pause is held");
        *busy_until = (*busy_until).max(Some(until));
    }

    fn empty_jar(&self) -> CookieJar {
        jar_for(&self.0.base_url)
    }

    fn with_cookies(request: RequestBuilder, jar: &CookieJar) -> RequestBuilder {
        match jar.header() {
            Some(cookies) => request.header(COOKIE, cookies),
            None => request,
        }
    }
}

/// A refusal as a person would name it; the query of a redirect stays out, since it may hold a key.
fn explained(status: StatusCode, location: Option<&str>, refusal: &Refusal) -> String {
    if let Refusal::Redirect { .. } = refusal {
        let target = location.unwrap_or("nowhere");
        let target = target.split('?').next().unwrap_or(target);
        return format!("HTTP {} to {target}", status.as_u16());
    }
    format!("HTTP {}", status.as_u16())
}

fn jar_for(url: &BaseUrl) -> CookieJar {
    CookieJar::new(url.host(), crate::seams::Clock::now(&crate::seams::Os))
}

fn headers(key: &config::Secret) -> Option<HeaderMap> {
    let mut token = HeaderValue::from_str(key.expose()).ok()?;
    token.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(protocol::auth::TOKEN, token);
    headers.insert(
        protocol::auth::TOKEN_TYPE,
        HeaderValue::from_static(protocol::auth::ENTERMEDIA),
    );
    Some(headers)
}

/// `Retry-After` in seconds; the form with a date is rare and read as "a while". Never more than [`LONGEST_PAUSE`], or one
/// answer could keep a run alive for years.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = text
        .parse()
        .map_or(Duration::from_secs(30), Duration::from_secs);
    Some(wait.min(LONGEST_PAUSE))
}

/// The peer's clock, from the `Date` header: whole seconds, so half a second is added as the likely rest.
fn server_date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get("date")?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text)
        .ok()?;
    Some(Timestamp::from_millis(date.as_millisecond() + 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_makes_us_wait_longer_than_the_longest_pause() {
        let wait = |text: &str| {
            let headers = [(RETRY_AFTER, text.parse().unwrap())];
            retry_after(&headers.into_iter().collect())
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            wait("Wed, 21 Oct 2099 07:28:00 GMT"),
            Some(Duration::from_secs(30))
        );
        for long in ["86400", "18446744073709551615"] {
            assert_eq!(wait(long), Some(LONGEST_PAUSE), "{long}");
        }
    }
}
