//! One media file of a peer, from its beginning or from where a partial ends (wire spec 3.8, 3.9).
//!
//! EMDB ignores `If-Range`, has no 416 and answers a range at the end with an empty 206 (H-41). So a range is only asked
//! for strictly inside the known size, and the caller compares the reply's `ETag` with the one the partial began under.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, RANGE,
    SET_COOKIE,
};

use super::{Error, Peer};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath};
use crate::protocol::wire_path;

/// A body on its way.
pub struct Download {
    /// First byte of the body within the file: what was asked for, or 0 when the peer sends the whole file; `None` for a part
    /// that does not say where it begins.
    pub from: Option<u64>,
    /// Bytes of the whole file, where the peer says so.
    pub total: Option<u64>,
    /// The peer's mark for this content, opaque.
    pub tag: Option<String>,
    /// How long it took from the request to the head of the answer.
    pub waited: Duration,
    response: reqwest::Response,
    peer: Peer,
    url: String,
}

impl Download {
    /// The body, piece by piece.
    pub fn into_pieces(self) -> impl Stream<Item = Result<Bytes, Error>> {
        futures_util::stream::unfold(Some(self), |download| async {
            let mut download = download?;
            match download.response.chunk().await {
                Ok(Some(piece)) => {
                    let inner = &download.peer.0;
                    inner.throttle.fetched(piece.len()).await;
                    inner
                        .fetched
                        .fetch_add(piece.len() as u64, Ordering::Relaxed);
                    Some((Ok(piece), Some(download)))
                }
                Ok(None) => None,
                Err(source) => {
                    let error = Error::Unreachable {
                        peer: download.peer.0.name.clone(),
                        url: download.url.clone(),
                        source,
                    };
                    Some((Err(error), None))
                }
            }
        })
    }
}

/// What a peer has of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// The very bytes, told by their SHA-256.
    TheBytes,
    /// A file of as many bytes.
    AsMany,
    /// Neither.
    Nothing,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("from", &self.from)
            .field("total", &self.total)
            .field("tag", &self.tag)
            .finish()
    }
}

impl Peer {
    /// Begins to fetch a file of an asset at byte `from`, which must be 0 or strictly inside the file.
    ///
    /// The asset is named in a header of our own: an emsync peer may have two files of one name, and EMDB does not look.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`], [`Error::Busy`], [`Error::Html`], [`Error::Encoded`], [`Error::Server`], [`Error::Unreachable`].
    /// An EMDB server says 500 to an original when it does not know us (H-50): the caller probes the login first.
    pub async fn download(
        &self,
        (kind, path): (FileKind, &MediaPath),
        asset: &AssetId,
        from: u64,
    ) -> Result<Download, Error> {
        let url = self.0.base_url.join(&match kind {
            FileKind::Original => wire_path::original_url(path),
            FileKind::Generated => wire_path::generated_url(path),
        });
        let asked = wire_path::asset_to_header(asset);
        let mut request = self
            .0
            .media
            .get(&url)
            .header(wire_path::ASSET_HEADER, asked);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let request = {
            let jar = self
                .0
                .media_cookies
                .lock()
                .expect("no panic while the cookies are held");
            Self::with_cookies(request, &jar)
        };
        let (response, waited) = self.send_and_time(request, &url).await?;
        self.keep_cookies(response.headers());
        let status = response.status();
        let peer = self.0.name.clone();
        if status == StatusCode::NOT_FOUND {
            return Err(Error::NotFound {
                peer,
                path: path.to_string(),
            });
        }
        // A part that nobody asked for would be taken for the whole.
        let expected =
            status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT && from > 0;
        if !expected {
            return Err(Error::Server {
                peer,
                status: status.as_u16(),
                what: format!("{}/{path}", kind.dir()),
            });
        }
        if text(response.headers(), CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            return Err(Error::Html {
                peer,
                path: path.to_string(),
            });
        }
        // Neither its length nor its bytes would be the file's.
        if let Some(encoding) = text(response.headers(), CONTENT_ENCODING.as_str())
            .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"))
        {
            return Err(Error::Encoded {
                peer,
                path: path.to_string(),
                encoding: encoding.to_owned(),
            });
        }
        let tag = text(response.headers(), ETAG.as_str()).map(str::to_owned);
        let (from, total) = extent(status, response.headers());
        Ok(Download {
            from,
            total,
            tag,
            waited,
            response,
            peer: self.clone(),
            url,
        })
    }

    /// Whether the peer has the very bytes of a file at this moment: by their SHA-256 where it tells one, as emsync nodes do, else by
    /// their number alone. Nothing is fetched.
    ///
    /// # Errors
    /// As [`download`](Self::download), but that a file which is not there is no error.
    pub async fn has(&self, file: &MediaFile) -> Result<Holding, Error> {
        let url = self.0.base_url.join(&match file.kind {
            FileKind::Original => wire_path::original_url(&file.path),
            FileKind::Generated => wire_path::generated_url(&file.path),
        });
        let asked = wire_path::asset_to_header(&file.asset);
        let request = self.0.media.head(&url);
        let request = request.header(wire_path::ASSET_HEADER, asked);
        let request = {
            let jar = self
                .0
                .media_cookies
                .lock()
                .expect("no panic while the cookies are held");
            Self::with_cookies(request, &jar)
        };
        let response = self.send(request, &url).await?;
        let headers = response.headers();
        self.keep_cookies(headers);
        let is_away = text(headers, wire_path::AWAY_HEADER).is_some();
        if response.status() != StatusCode::OK || is_away {
            return Ok(Holding::Nothing);
        }
        let tag = text(headers, ETAG.as_str()).unwrap_or_default();
        let length = text(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        Ok(if tag.trim_matches('"') == file.sha256.to_string() {
            Holding::TheBytes
        } else if length == Some(file.size) {
            Holding::AsMany
        } else {
            Holding::Nothing
        })
    }

    /// Bytes of media that came so far.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    pub(super) fn keep_cookies(&self, headers: &HeaderMap) {
        let secure = self.0.base_url.is_https();
        let mut jar = self
            .0
            .media_cookies
            .lock()
            .expect("no panic while the cookies are held");
        for cookie in headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
        {
            // A withheld cookie costs the server a login for each download and us nothing.
            let _ = jar.take(cookie, secure, self.0.insecure_session);
        }
    }
}

/// Where the body begins within the file, and how large the file is.
fn extent(status: StatusCode, headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    if status == StatusCode::OK {
        return (
            Some(0),
            text(headers, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()),
        );
    }
    let range =
        text(headers, CONTENT_RANGE.as_str()).and_then(|range| range.strip_prefix("bytes "));
    let Some((span, total)) = range.and_then(|range| range.split_once('/')) else {
        return (None, None);
    };
    let from = span.split('-').next().and_then(|from| from.parse().ok());
    (from, total.parse().ok())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// The forms of wire spec 3.8, as captured.
    #[test]
    fn the_extent_of_a_body_is_read_from_both_kinds_of_answer() {
        assert_eq!(
            extent(StatusCode::OK, &headers(&[("content-length", "4094")])),
            (Some(0), Some(4094))
        );
        assert_eq!(extent(StatusCode::OK, &headers(&[])), (Some(0), None));
        let partial = |range| {
            extent(
                StatusCode::PARTIAL_CONTENT,
                &headers(&[("content-range", range)]),
            )
        };
        assert_eq!(partial("bytes 100-4093/4094"), (Some(100), Some(4094)));
        assert_eq!(partial("bytes 4094-4093/4094"), (Some(4094), Some(4094)));
        assert_eq!(partial("bytes 5-9/*"), (Some(5), None));
        assert_eq!(partial("bytes x-9/10"), (None, Some(10)));
        assert_eq!(partial("nonsense"), (None, None));
    }
}
