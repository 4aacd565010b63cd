//! Originals and generated files over HTTP (wire spec 3.8, 3.9, 11.1.7): exact bytes under a strong tag, ranges, and nothing
//! at all when the file on disk is not the recorded one.
//!
//! Files are asked for by their names, wherever they lie. Of two files of one name the one is meant whose asset the header
//! `x-emsync-asset` names; a client that knows no such header gets the one that came first.
//!
//! Originals need a key. Generated files need one too, unless this node shares those of assets that nothing restricts
//! ([`Sharing`](super::node::Sharing)); whoever shows no key learns nothing of the others, not even whether they are there. What anybody
//! may have any cache may keep for a while; everything else is for who asked, and asked for again each time.
//!
//! The row says what the file is, the open handle gives the bytes; a file that is replaced meanwhile stays readable through
//! its handle. One piece of 256 KiB is in memory for each body under way. What the system has in memory is opened and read on
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

use super::auth;
use super::error::{self, Error};
use super::fresh::Freshness;
use super::node::Node;
use super::range::{Part, Version};
use super::request::Asked;
use crate::model::{AssetId, FileKind, MediaFile, MediaPath};
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
    // What EMDB keeps for itself is listed nowhere and served nowhere (H-42).
    if path.is_bookkeeping() {
        return Err(Error::NotFound);
    }
    let sought = Sought {
        kind,
        path,
        asset: asked.header(ASSET_HEADER).and_then(asset_from_header),
        reader: reader(node, kind, asked).await?,
    };
    let version_of = |file: &MediaFile| Version::new(&file.sha256, file.modified, file.size);
    let is_known = |file: &MediaFile| {
        let tags = all(asked, &IF_NONE_MATCH);
        let plain = asked.method != Method::POST;
        plain && version_of(file).is_known(tags.as_deref(), one(asked, &IF_MODIFIED_SINCE))
    };
    let needs_bytes = |file: &MediaFile| asked.method != Method::HEAD && !is_known(file);
    let Found { file, open, fresh } = recorded(node, &sought, needs_bytes).await?;
    let version = version_of(&file);
    let mut reply = Response::new(Body::empty());
    describe(reply.headers_mut(), &version, &fresh);
    if is_known(&file) {
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
            if let Some(edge) = &node.edge {
                edge.note_read(&file);
            }
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

/// Who wants a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Somebody with a key of ours.
    Holder,
    /// Anybody: a key that is none of ours, or none.
    Anybody {
        /// Whether there was one.
        shows_key: bool,
    },
}

impl Reader {
    /// What he gets to hear where he may not have something.
    fn refused(self) -> Error {
        match self {
            Self::Anybody { shows_key: false } => Error::NotFound,
            _ => Error::Refused,
        }
    }
}

/// Finds out who asks; refuses at once whoever can have nothing of this kind.
async fn reader(node: &Node, kind: FileKind, asked: &Asked) -> Result<Reader, Error> {
    match auth::authenticate(node, asked).await {
        Ok(_) => Ok(Reader::Holder),
        Err(Error::Refused) if kind == FileKind::Generated && node.sharing.public_renditions => {
            let shows_key = auth::presented(node, asked).is_some();
            Ok(Reader::Anybody { shows_key })
        }
        Err(error) => Err(error),
    }
}

/// How long who may keep a file: decided by its asset alone, so that one URL says the same to everybody.
async fn freshness(
    node: &Node,
    asset: &AssetId,
    kind: FileKind,
    reader: Reader,
) -> Result<Freshness, Error> {
    let shared = kind == FileKind::Generated && node.sharing.public_renditions;
    if shared && node.known.is_public(asset).await? {
        return Ok(Freshness::Shared(node.sharing));
    }
    match reader {
        Reader::Holder => Ok(Freshness::Private),
        Reader::Anybody { .. } => Err(reader.refused()),
    }
}

/// What a request is after.
struct Sought<'a> {
    kind: FileKind,
    path: &'a MediaPath,
    asset: Option<AssetId>,
    reader: Reader,
}

/// A file as its row has it.
struct Found {
    file: MediaFile,
    /// Not there when nothing of its bytes was wanted and they are not here.
    open: Option<OpenFile>,
    fresh: Freshness,
}

/// The row and the open file that belongs to it. A file that is just being replaced gets its bytes before its row; so a
/// difference counts only when it is still there after a second look. What is not here is fetched where this node does that, unless
/// `needs_bytes` says of a file that went to make room that its row is enough.
async fn recorded(
    node: &Node,
    sought: &Sought<'_>,
    needs_bytes: impl Fn(&MediaFile) -> bool,
) -> Result<Found, Error> {
    let (kind, path, asset) = (sought.kind, sought.path, sought.asset.as_ref());
    let (mut looked, mut fetched) = (0, false);
    loop {
        let Some(row) = node.known.file(kind, path, asset).await? else {
            if fetched {
                return Err(Error::NotFound);
            }
            fetch_unknown(node, sought).await?;
            fetched = true;
            continue;
        };
        let fresh = freshness(node, &row.file.asset, kind, sought.reader).await?;
        let is_here = row.is_here();
        if row.evicted && !needs_bytes(&row.file) {
            let (file, open) = (row.file, None);
            return Ok(Found { file, open, fresh });
        }
        looked += 1;
        let wrong = if row.is_damaged() {
            Error::Rotten {
                kind,
                path: path.clone(),
            }
        } else if row.evicted {
            missing(sought)
        } else {
            let file = row.file;
            match open(node, kind, file.place()).await? {
                Some(open) if open.size == file.size => {
                    let open = Some(open);
                    return Ok(Found { file, open, fresh });
                }
                Some(open) => Error::Damaged {
                    kind,
                    path: path.clone(),
                    expected: file.size,
                    actual: open.size,
                },
                None => missing(sought),
            }
        };
        if is_here && looked < 2 {
            continue;
        }
        match &node.edge {
            Some(edge) if !fetched => edge.bring(kind, path, asset).await?,
            _ => return Err(wrong),
        }
        (looked, fetched) = (0, true);
    }
}

fn missing(sought: &Sought<'_>) -> Error {
    Error::Missing {
        kind: sought.kind,
        path: sought.path.clone(),
    }
}

/// Fetches a file that has no row yet, if this node does that and the reader may have it.
async fn fetch_unknown(node: &Node, sought: &Sought<'_>) -> Result<(), Error> {
    let (kind, path, asset) = (sought.kind, sought.path, sought.asset.as_ref());
    let unknown = || match sought.reader {
        Reader::Holder => Error::NotFound,
        anybody => anybody.refused(),
    };
    let edge = node.edge.as_ref().ok_or_else(unknown)?;
    if sought.reader != Reader::Holder {
        let owner = edge.owner(kind, path, asset).await?;
        let owner = owner.ok_or_else(unknown)?;
        freshness(node, &owner, kind, sought.reader).await?;
    }
    Ok(edge.bring(kind, path, asset).await?)
}

async fn open(node: &Node, kind: FileKind, place: &MediaPath) -> Result<Option<OpenFile>, Error> {
    if let Some(open) = node.store.open_at_hand(kind, place) {
        return Ok(Some(open));
    }
    let (store, place) = (node.store.clone(), place.clone());
    let opened = tokio::task::spawn_blocking(move || store.open_file(kind, &place)).await;
    // A panic in there is a panic of this request.
    Ok(opened.map_err(|_| Error::Panicked)??)
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
