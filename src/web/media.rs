//! Files of assets for the page itself: what a browser shows as a picture is shown, anything else is only ever saved.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio_util::io::ReaderStream;

use super::error::Error;
use super::shell::escaped;
use super::{ROOT, Web};
use crate::catalogue::FileRow;
use crate::model::FileKind;

/// Bytes read at a time.
const PIECE: usize = 128 * 1024;
/// What browsers show, by extension. No SVG, which can hold scripts.
const SHOWN: [(&str, &str); 6] = [
    ("webp", "image/webp"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
];

/// The type of a file that browsers show.
pub(super) fn shown_as(row: &FileRow) -> Option<&'static str> {
    let (_, extension) = row.file.path.as_str().rsplit_once('.')?;
    let extension = extension.to_ascii_lowercase();
    let found = SHOWN.iter().find(|(known, _)| *known == extension);
    found.map(|(_, content_type)| *content_type)
}

/// Where a file is. Another content has another address.
pub(super) fn address(row: &FileRow) -> String {
    let file = &row.file;
    let path: Vec<_> = file.path.as_str().split('/').map(escaped).collect();
    let content = file.sha256.to_string();
    format!(
        "{ROOT}media/{}/{}/{}?v={}",
        file.kind.dir(),
        escaped(file.asset.as_str()),
        path.join("/"),
        content.get(..12).unwrap_or_default()
    )
}

/// The file, whole.
pub(super) async fn file(
    State(web): State<Arc<Web>>,
    Path((kind, asset, path)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let kinds = [FileKind::Original, FileKind::Generated];
    let kind = kinds.into_iter().find(|known| known.dir() == kind);
    let kind = kind.ok_or(Error::NotFound)?;
    let rows = web.node.catalogue.files_of(&[asset.as_str()]).await?;
    let row = rows
        .into_iter()
        .find(|row| row.file.kind == kind && row.file.path.as_str() == path)
        .filter(|row| row.is_here() && !row.file.path.is_bookkeeping())
        .ok_or(Error::NotFound)?;
    let tag = format!("\"{}\"", row.file.sha256);
    let kept = [
        (CACHE_CONTROL, "private, no-cache".to_owned()),
        (ETAG, tag.clone()),
    ];
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| *known == *tag)
    {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let (store, place) = (web.node.store.clone(), row.file.place().clone());
    let opened = tokio::task::spawn_blocking(move || store.open_file(kind, &place)).await;
    let opened = opened.map_err(|error| Error::Inside(error.to_string()))??;
    // What is being replaced has its bytes before its row; the next look has both.
    let open = opened
        .filter(|open| open.size == row.file.size)
        .ok_or(Error::NotFound)?;
    let content_type = shown_as(&row);
    let disposition = if content_type.is_some() {
        "inline"
    } else {
        "attachment"
    };
    let head = [
        (
            CONTENT_TYPE,
            content_type
                .unwrap_or("application/octet-stream")
                .to_owned(),
        ),
        (CONTENT_DISPOSITION, disposition.to_owned()),
        (CONTENT_LENGTH, open.size.to_string()),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox".to_owned(),
        ),
    ];
    let file = tokio::fs::File::from_std(open.file);
    let body = Body::from_stream(ReaderStream::with_capacity(file, PIECE));
    Ok((kept, head, body).into_response())
}
