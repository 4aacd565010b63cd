//! Pages of a peer's change listing, one after the other (wire spec 3.1, 3.2), and of its upload listing (3.3).
//!
//! A [`Cursor`] is one listing: it owns the cookie jar that carries EMDB's session, asks for pages strictly in order, and
//! compares every page with the first. Asking again for the page it already asked for is safe on both kinds of server, so a
//! broken connection costs one request and not the listing.

use reqwest::header::{CONTENT_TYPE, SET_COOKIE};
use reqwest::{Response, StatusCode};

use super::{Error, Peer, server_date};
use crate::model::Timestamp;
use crate::protocol;
use crate::protocol::changes::{self, ChangesPage, ChangesRequest};
use crate::protocol::cookies::CookieJar;
use crate::protocol::uploads::{self, UploadsPage};

/// Largest page we take: a thousand records with full text each are a few megabytes, fifty have been seen.
const LARGEST_PAGE: usize = 256 << 20;
/// Added to the age of the epoch, so that a window of everything stays one whatever the peer's clock says.
const A_DAY: i64 = 86_400_000;
const LIST: &str = "mediadb/services/cluster/listalldocs.json";
const NEXT: &str = "mediadb/services/cluster/nextall.json";
const UPLOADS: &str = "mediadb/services/cluster/pullrecentuploads.json";

/// One listing of a peer.
#[derive(Debug)]
pub struct Cursor {
    ago_ms: i64,
    since: Timestamp,
    session: Option<String>,
    jar: CookieJar,
    page: u64,
    pages: u64,
    catalog: String,
}

/// A page with what only the exchange itself tells.
#[derive(Debug)]
pub struct Page {
    /// The page.
    pub changes: ChangesPage,
    /// The peer's clock when it answered, to about half a second; `None` when it did not say.
    pub server_now: Option<Timestamp>,
}

/// How far back an upload listing looks.
#[derive(Debug, Clone, Copy)]
pub struct UploadsAsked {
    /// Milliseconds before the peer's now.
    pub ago_ms: i64,
}

impl Cursor {
    /// A listing of everything that changed in the last `ago_ms` milliseconds; `since` is the same moment on our clock.
    #[must_use]
    pub fn new(peer: &Peer, ago_ms: i64, since: Timestamp) -> Self {
        Self {
            ago_ms,
            since,
            session: None,
            jar: peer.empty_jar(),
            page: 0,
            pages: 0,
            catalog: String::new(),
        }
    }

    /// A listing of everything there is.
    #[must_use]
    pub fn everything(peer: &Peer, now: Timestamp) -> Self {
        Self::new(
            peer,
            now.as_millis().saturating_add(A_DAY),
            Timestamp::EPOCH,
        )
    }

    /// A listing that another process began on a peer which keeps its cursor without cookies.
    #[must_use]
    pub fn resumed(
        peer: &Peer,
        since: Timestamp,
        ago_ms: i64,
        session: String,
        page: u64,
        pages: u64,
    ) -> Self {
        Self {
            session: Some(session),
            page,
            pages,
            ..Self::new(peer, ago_ms, since)
        }
    }

    /// Whether a further page lies ahead. Always so before the first.
    #[must_use]
    pub fn more(&self) -> bool {
        self.page == 0 || self.page < self.pages
    }

    /// The page that was fetched last; 0 before the first.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Whether the peer's session cookie may not travel on this connection, so that pages from the third on cannot be
    /// trusted (H-5, H-40).
    #[must_use]
    pub fn blind(&self) -> bool {
        self.jar.withheld()
    }

    fn request(&self) -> ChangesRequest {
        ChangesRequest {
            ago_ms: self.ago_ms,
            since: Some(self.since),
            page: u32::try_from(self.page + 1).unwrap_or(u32::MAX),
            session: self.session.clone(),
        }
    }

    /// The clock that stamps the peer's records: start of the window plus its length (wire spec 4.4). A window that reaches back
    /// to the epoch was cut off there and says nothing.
    fn server_clock(&self, changes: &ChangesPage) -> Option<Timestamp> {
        let began = changes
            .head
            .since
            .filter(|began| *began > Timestamp::EPOCH)?;
        // Whole seconds, so half a second is added as the likely rest.
        Some(Timestamp::from_millis(
            began
                .as_millis()
                .saturating_add(self.ago_ms)
                .saturating_add(500),
        ))
    }

    /// Compares a page with what the first one said, and moves on to it.
    fn accept(&mut self, peer: &Peer, changes: &ChangesPage) -> Result<(), Error> {
        let head = &changes.head;
        let page = self.page + 1;
        let differs = |expected: String, found: String| Error::Inconsistent {
            peer: peer.name().to_owned(),
            page,
            expected,
            found,
        };
        if head.page != page && head.total > 0 {
            return Err(differs(
                format!("page {page} comes next"),
                format!("it is page {}", head.page),
            ));
        }
        if page > 1 && changes.records.is_empty() {
            return Err(differs(
                format!("{} pages with records", self.pages),
                "it has none".to_owned(),
            ));
        }
        if page == 1 {
            self.pages = head.pages;
            self.session = Some(head.session.clone());
        } else if head.pages != self.pages {
            return Err(differs(
                format!("{} pages", self.pages),
                format!("{} pages", head.pages),
            ));
        }
        if !self.catalog.is_empty() && head.catalog != self.catalog {
            return Err(differs(
                format!("catalog {}", self.catalog),
                format!("catalog {}", head.catalog),
            ));
        }
        self.catalog.clone_from(&head.catalog);
        self.page = page;
        Ok(())
    }
}

impl Peer {
    /// Fetches the next page of a listing. After an error the cursor stands where it stood.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::CursorLost`] and [`Error::Inconsistent`] mean that the listing must begin again.
    pub async fn next_page(&self, cursor: &mut Cursor) -> Result<Page, Error> {
        let path = if cursor.page == 0 { LIST } else { NEXT };
        let (response, url) = self
            .post(path, cursor.request().form_encode(), &cursor.jar)
            .await?;
        let secure = self.0.base_url.is_https();
        for cookie in response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            cursor.jar.take(cookie, secure, self.0.insecure_session);
        }
        if cursor.page > 0 && response.status() == StatusCode::INTERNAL_SERVER_ERROR {
            return Err(Error::CursorLost {
                peer: self.0.name.clone(),
                page: cursor.page + 1,
            });
        }
        let date = server_date(response.headers());
        let body = self.list_body(response, &url).await?;
        let changes = changes::parse(&body).map_err(|source| self.reply(source, cursor.page))?;
        let server_now = cursor.server_clock(&changes).or(date);
        cursor.accept(self, &changes)?;
        Ok(Page {
            changes,
            server_now,
        })
    }

    /// The peer's clock, by an almost empty listing; `None` when it does not say. It also proves that the peer lets us in.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn clock(&self) -> Result<Option<Timestamp>, Error> {
        let mut cursor = Cursor::new(self, 1, Timestamp::EPOCH);
        Ok(self.next_page(&mut cursor).await?.server_now)
    }

    /// Fetches the first page of the upload listing: the members of folder assets among the newest records (11.2, 5).
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn uploads(&self, asked: UploadsAsked) -> Result<UploadsPage, Error> {
        let form = ChangesRequest {
            ago_ms: asked.ago_ms,
            since: None,
            page: 1,
            session: None,
        }
        .form_encode();
        let (response, url) = self.post(UPLOADS, form, &self.empty_jar()).await?;
        let body = self.list_body(response, &url).await?;
        uploads::parse(&body).map_err(|source| self.reply(source, 0))
    }

    pub(super) async fn post(
        &self,
        path: &str,
        form: String,
        jar: &CookieJar,
    ) -> Result<(Response, String), Error> {
        let url = self.0.base_url.join(path);
        let request = self
            .0
            .lists
            .post(&url)
            .header(
                CONTENT_TYPE,
                "application/x-www-form-urlencoded; charset=UTF-8",
            )
            .body(form);
        let response = self.send(Self::with_cookies(request, jar), &url).await?;
        Ok((response, url))
    }

    /// Reads a list reply whole, below the limit; sorts out the statuses that a list can have.
    pub(super) async fn list_body(&self, response: Response, url: &str) -> Result<Vec<u8>, Error> {
        self.body_below(LARGEST_PAGE, response, url).await
    }

    /// Reads a list reply of at most `limit` bytes.
    pub(super) async fn body_below(
        &self,
        limit: usize,
        mut response: Response,
        url: &str,
    ) -> Result<Vec<u8>, Error> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(Error::WrongPath {
                peer: self.0.name.clone(),
                url: url.to_owned(),
            });
        }
        if status != StatusCode::OK {
            return Err(Error::Server {
                peer: self.0.name.clone(),
                status: status.as_u16(),
                what: "a listing".to_owned(),
            });
        }
        let mut body = Vec::new();
        let broken = |source| Error::Unreachable {
            peer: self.0.name.clone(),
            url: url.to_owned(),
            source,
        };
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > limit {
                return Err(Error::PageTooLarge {
                    peer: self.0.name.clone(),
                    limit,
                });
            }
            self.0.throttle.fetched(piece.len()).await;
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// What an unusable answer means, told without our key in case the peer repeats it.
    pub(super) fn reply(&self, source: protocol::Error, after_page: u64) -> Error {
        let peer = self.0.name.clone();
        let source = source.map_texts(|said| self.without_key(said));
        match source {
            source if source.looks_like_login() => Error::Refused {
                peer,
                detail: source.to_string(),
            },
            protocol::Error::Status { .. } if after_page > 0 => Error::CursorLost {
                peer,
                page: after_page + 1,
            },
            source => Error::Reply { peer, source },
        }
    }
}
