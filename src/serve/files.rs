//! Originals and generated files over HTTP (wire spec 3.8, 3.9, 11.1.7): exact bytes under a strong tag, ranges, and nothing
//! at all when the file on disk is not the recorded one.
//!
//! Files are asked for by their names, wherever they lie. Of two files of one name the one is meant whose asset the header
//! `x-emsync-asset` names; a client that knows no such header gets the one that came first.
//!
//! Who may have what, and where it lies, is found in `found`. The row says what the file is, the open handle gives the bytes; a file
//! that is replaced meanwhile stays readable through its handle. One piece of 256 KiB is in memory for each body under way. What the system has in memory is opened and read on
//! the spot, everything else on a thread that may wait for the disk.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::error::{self, Error};
use super::found::{Found, Reader, Sought, recorded};
use super::fresh::Freshness;
use super::node::Node;
use super::range::{Part, Version};
use super::request::Asked;
use crate::model::{FileKind, MediaFile, MediaPath};
use crate::protocol::wire_path::{ASSET_HEADER, AWAY, AWAY_HEADER, asset_from_header};
use crate::store::OpenFile;
use crate::throttle::Throttle;

/// Bytes read at a time.
const PIECE: usize = 256 * 1024;

/// One file, or a part of it.
pub(super) async fn file(
    node: &Node,
    kind: FileKind,
    path: &MediaPath,
    asked: &Asked,
) -> Result<Response, Error> {
    let reader = Reader::of(node, kind, asked).await?;
    // What EMDB keeps for itself is listed nowhere and served nowhere (H-42).
    if path.is_bookkeeping() {
        return Err(Error::NotFound);
    }
    let sought = Sought {
        kind,
        path,
        asset: asked.header(ASSET_HEADER).and_then(asset_from_header),
        reader,
    };
    let version_of = |file: &MediaFile| Version::new(&file.sha256, file.modified, file.size);
    let is_known = |version: &Version| {
        let tags = all(asked, &IF_NONE_MATCH);
        let plain = asked.method != Method::POST;
        plain && version.is_known(tags.as_deref(), one(asked, &IF_MODIFIED_SINCE))
    };
    let needs_bytes =
        |file: &MediaFile| asked.method != Method::HEAD && !is_known(&version_of(file));
    let Found { file, open, fresh } = recorded(node, &sought, needs_bytes).await?;
    if let (Some(edge), Some(_)) = (&node.edge, &open)
        && asked.method != Method::HEAD
    {
        edge.note_read(&file);
    }
    let version = version_of(&file);
    let mut reply = Response::new(Body::empty());
    describe(reply.headers_mut(), &version, &fresh);
    if is_known(&version) {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(reply);
    }
    let part = match asked.method {
        Method::GET => version.part(one(asked, &RANGE), one(asked, &IF_RANGE)),
        _ => Part::Whole,
    };
    let (first, length) = match part {
        Part::Whole => (0, version.size),
        Part::Span { first, last } => (first, last - first + 1),
        Part::Beyond => return Ok(beyond(&version, &fresh)),
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    label(headers, kind, path);
    if let Part::Span { first, last } = part {
        let range = format!("bytes {first}-{last}/{}", version.size);
        insert(headers, CONTENT_RANGE, &range);
        *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    match open {
        Some(open) if asked.method != Method::HEAD => {
            *reply.body_mut() = body(open, first, length, &file, node.throttle.clone()).await?;
        }
        Some(_) => {}
        None => {
            let headers = reply.headers_mut();
            headers.insert(AWAY_HEADER, HeaderValue::from_static(AWAY));
        }
    }
    Ok(reply)
}

/// The pieces of a body, no faster than this node may send.
fn paced(
    pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    throttle: Throttle,
) -> Body {
    Body::from_stream(pieces.then(move |piece| {
        let throttle = throttle.clone();
        async move {
            let piece = piece?;
            throttle.send(piece.len()).await;
            Ok::<_, std::io::Error>(piece)
        }
    }))
}

/// The bytes of a part: read at once where they fit one piece, else piece by piece as the client takes them.
async fn body(
    open: OpenFile,
    first: u64,
    length: u64,
    file: &MediaFile,
    throttle: Throttle,
) -> Result<Body, Error> {
    let open = Arc::new(open);
    if length <= PIECE as u64 {
        let bytes = piece(&open, first, length)
            .await
            .map_err(|source| Error::Read {
                kind: file.kind,
                path: file.path.clone(),
                source,
            })?;
        throttle.send(bytes.len()).await;
        return Ok(Body::from(bytes));
    }
    Ok(paced(pieces(open, first, first + length), throttle))
}

/// The bytes between two places of a file, piece by piece.
fn pieces(
    open: Arc<OpenFile>,
    first: u64,
    end: u64,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::try_unfold(first, move |at| {
        let open = Arc::clone(&open);
        async move {
            let length = (end - at).min(PIECE as u64);
            if length == 0 {
                return Ok(None);
            }
            Ok(Some((piece(&open, at, length).await?, at + length)))
        }
    })
}

/// Exactly so many bytes from `first` on; no more than a [`PIECE`].
async fn piece(open: &Arc<OpenFile>, first: u64, length: u64) -> std::io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; usize::try_from(length).expect("no more than a piece")];
    let had = open.read_at_hand(&mut bytes, first);
    if had == bytes.len() {
        return Ok(bytes.into());
    }
    let open = Arc::clone(open);
    let read = tokio::task::spawn_blocking(move || {
        let rest = &mut bytes[had..];
        open.file.read_exact_at(rest, first + had as u64)?;
        Ok(bytes.into())
    });
    read.await.map_err(std::io::Error::other)?
}

/// What stands in every reply about a file that is there.
fn describe(headers: &mut HeaderMap, version: &Version, fresh: &Freshness) {
    insert(headers, ETAG, &version.tag);
    if let Some(date) = version.last_modified() {
        insert(headers, LAST_MODIFIED, &date);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fresh.put(headers);
}

fn label(headers: &mut HeaderMap, kind: FileKind, path: &MediaPath) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let content_type = match kind {
        FileKind::Original => OCTETS,
        FileKind::Generated => content_type(path.name()),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if kind == FileKind::Original {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
}

fn beyond(version: &Version, fresh: &Freshness) -> Response {
    let mut reply = error::empty(StatusCode::RANGE_NOT_SATISFIABLE);
    describe(reply.headers_mut(), version, fresh);
    let range = format!("bytes */{}", version.size);
    insert(reply.headers_mut(), CONTENT_RANGE, &range);
    reply
}

/// Puts a header in whose text is made of digits, dates and hexadecimal.
fn insert(headers: &mut HeaderMap, name: axum::http::HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("digits, dates and hexadecimal are ASCII");
    headers.insert(name, value);
}

fn one<'a>(asked: &'a Asked, name: &axum::http::HeaderName) -> Option<&'a str> {
    asked.header(name.as_str())
}

/// A header that may come in several lines.
fn all(asked: &Asked, name: &axum::http::HeaderName) -> Option<String> {
    let lines = asked.headers.get_all(name).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

const OCTETS: &str = "application/octet-stream";

/// By extension, for what a browser shows or plays without running anything in it: no HTML, no SVG.
fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "ogv" => "video/ogg",
        "mov" => "video/quicktime",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "oga" => "audio/ogg",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        _ => OCTETS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_run_in_a_browser_is_labelled_as_such() {
        assert_eq!(content_type("image1024x768.WEBP"), "image/webp");
        for name in [
            "x.html", "x.svg", "x.js", "x.xml", "x", "html", ".htm", "x.json",
        ] {
            assert_eq!(content_type(name), OCTETS, "{name}");
        }
    }
}
