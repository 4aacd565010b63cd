//! The change feed: what changed since a moment, a page at a time (`listalldocs.json`, `nextall.json`; wire spec 3.1, 3.2).
//! The same shape travels in the other direction as the body of a push (3.4).

mod read;
mod write;

use serde::Serialize;

use super::listed::BadFile;
use super::record::BadRecord;
use super::{Error, form, lenient};
use crate::model::{AssetId, ListedFile, MediaPath, NodeId, Record, Succession, Timestamp};

pub use read::parse;
pub use write::{encode, encode_error};

/// Successions that one node tells another, at most.
pub const SUCCESSIONS_MOST: usize = 32;

/// What a client asks for; the same fields on every page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesRequest {
    /// Milliseconds back from the server's now to the start of the window. Negative lies in the future.
    pub ago_ms: i64,
    /// The start of the window on the client's clock; informative, servers ignore it.
    pub since: Option<Timestamp>,
    /// The page, from 1.
    pub page: u32,
    /// The cursor that page 1 named.
    pub session: Option<String>,
}

impl ChangesRequest {
    /// As a form body, or as a query.
    #[must_use]
    pub fn form_encode(&self) -> String {
        let mut body = String::new();
        form::push(&mut body, "lastpullago", &self.ago_ms.to_string());
        if let Some(since) = self.since {
            form::push(&mut body, "sincedate", &lenient::format_since(since));
        }
        if let Some(session) = &self.session {
            form::push(&mut body, "hitssessionid", session);
        }
        if self.page > 1 {
            form::push(&mut body, "page", &self.page.to_string());
        }
        body
    }

    /// From a form body or a query; unknown fields are ignored, and so is a `sincedate` that is no date.
    ///
    /// # Errors
    /// [`Error::Form`] when `lastpullago` is missing, or it or `page` is not a number. Values beyond the type are cut to it.
    pub fn form_decode(body: &str) -> Result<Self, Error> {
        let ago = form::field(body, "lastpullago").ok_or(Error::Form {
            field: "lastpullago",
            reason: "is missing",
        })?;
        let page = match form::field(body, "page") {
            None => 1,
            Some(page) => number("page", &page)?,
        };
        let since = form::field(body, "sincedate");
        let session = form::field(body, "hitssessionid").filter(|session| !session.is_empty());
        Ok(Self {
            ago_ms: number("lastpullago", &ago)?,
            since: since.and_then(|text| lenient::parse_date(&text)),
            page: u32::try_from(page.max(1)).unwrap_or(u32::MAX),
            session: session.map(std::borrow::Cow::into_owned),
        })
    }
}

fn number(field: &'static str, text: &str) -> Result<i64, Error> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::Form {
            field,
            reason: "is not a whole number",
        });
    }
    let limit = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Ok(text.parse().unwrap_or(limit))
}

/// Whether a listing holds anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does, or this is a page past its end.
    Ok,
    /// Nothing at all.
    Empty,
}

/// How emsync nodes recognise each other: the member `response.emsync`, which EMDB ignores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Version of the program.
    pub version: String,
    /// The node's cluster id.
    pub node: NodeId,
    /// What it can do beyond the common protocol.
    pub features: Vec<String>,
    /// Which nodes took the place of others, as far as it knows.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write::successions"
    )]
    pub successions: Vec<Succession>,
}

/// What a page says about itself and its listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageHead {
    /// Whether there is anything.
    pub status: Status,
    /// Records in the listing as a whole.
    pub total: u64,
    /// Records per page; EMDB's is 1,000.
    pub per_page: u64,
    /// This page, from 1.
    pub page: u64,
    /// Pages in the listing.
    pub pages: u64,
    /// Cursor to echo on every later page.
    pub session: String,
    /// The server's catalog, as it states it.
    pub catalog: String,
    /// Start of the window on the server's clock, in whole seconds.
    pub since: Option<Timestamp>,
    /// Set by emsync nodes only.
    pub hello: Option<Hello>,
}

/// The generated files a peer lists for one asset, and its originals where the peer is an emsync node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetFiles {
    /// The asset's id as stated.
    pub asset: String,
    /// Its source path as stated; every entry of `files` lies below it.
    pub source_path: String,
    /// Generated files.
    pub files: Vec<Result<ListedFile, BadFile>>,
    /// Originals with size and digest; `None` from EMDB, which does not list them here.
    pub originals: Option<Vec<Result<ListedFile, BadFile>>>,
    /// Whether the peer holds a part of its assets' files only, and not this one's: what it does not list proves nothing.
    pub partial: bool,
}

/// One page of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangesPage {
    /// What it says about itself.
    pub head: PageHead,
    /// Its records in the order they came.
    pub records: Vec<Result<Record, BadRecord>>,
    /// Files of the assets among them.
    pub files: Vec<AssetFiles>,
}

/// The files of one asset, to be written into a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetListing {
    /// The asset.
    pub asset: AssetId,
    /// Its source path; generated files outside of it are not written. `None` where the record states no usable one: then
    /// the entry is written without files.
    pub source_path: Option<MediaPath>,
    /// The asset's owner.
    pub master: NodeId,
    /// Generated files. Only those whose size and date are known are written: EMDB stops at the first one without.
    pub generated: Vec<ListedFile>,
    /// Originals, which only emsync nodes read; the same rule holds.
    pub originals: Vec<ListedFile>,
    /// Whether a filter leaves the asset out, so that nothing follows from files that are not listed.
    pub partial: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::captures::request_body;

    #[test]
    fn a_request_is_written_as_emdb_writes_it() {
        let mut request = ChangesRequest {
            ago_ms: 36_000_000,
            since: lenient::parse_date("2026-11-22T00:00:00.000Z"),
            page: 1,
            session: None,
        };
        assert_eq!(request.form_encode(), request_body("s012-list-page1"));
        request.page = 2;
        request.session = Some("hitsallchanges".to_owned());
        let theirs = request_body("s115-paging-nextall-page2-without-cookie");
        assert_eq!(ChangesRequest::form_decode(&theirs), Ok(request.clone()));
        assert_eq!(
            ChangesRequest::form_decode(&request.form_encode()),
            Ok(request)
        );
    }

    #[test]
    fn requests_need_a_number_and_clamp_a_huge_one() {
        let ago = |body: &str| ChangesRequest::form_decode(body).map(|request| request.ago_ms);
        assert_eq!(ago("lastpullago=99999999999999999999&x=y"), Ok(i64::MAX));
        assert_eq!(ago("lastpullago=-99999999999999999999"), Ok(i64::MIN));
        assert_eq!(ago("lastpullago=-5"), Ok(-5));
        for bad in [
            "",
            "lastpullago=",
            "lastpullago=abc",
            "lastpullago=1.5",
            "lastpullago=1&page=x",
        ] {
            assert!(ago(bad).is_err(), "{bad:?}");
        }
        let odd =
            ChangesRequest::form_decode("lastpullago=1&page=0&sincedate=x&hitssessionid=").unwrap();
        assert_eq!((odd.page, odd.since, odd.session), (1, None, None));
        let far = ChangesRequest::form_decode("lastpullago=1&page=99999999999999999999").unwrap();
        assert_eq!(far.page, u32::MAX);
    }
}
