//! The originals listing (wire spec 3.3), always in one page, because EMDB's client reads no second one (H-7) and its server
//! cannot make a third (H-47). Written as a stream: one page of the window is in memory at a time. What goes wrong after the
//! first byte breaks the connection, so that a cut listing is never mistaken for a whole one.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{Stream, stream};

use super::error::{self, Error};
use super::feed;
use super::node::Node;
use super::request::Asked;
use crate::catalogue::Window;
use crate::model::{Asset, FileKind, ListedFile};
use crate::protocol::record;
use crate::protocol::uploads::{self, UploadListing, UploadsRequest};

/// All originals of the assets in the window.
pub(super) async fn uploads(node: Arc<Node>, asked: &Asked) -> Result<Response, Error> {
    let request = UploadsRequest::form_decode(&asked.fields())?;
    let window = feed::cut(&node, request.ago_ms, node.seams.clock.now()).await?;
    if window.total == 0 {
        return Ok(error::json(StatusCode::OK, uploads::EMPTY.into()));
    }
    let mut head = uploads::encode_head(&node.settings.catalog, window.total);
    // Whoever asks for a further page has had everything already.
    if request.page > 1 {
        head.push_str(uploads::encode_tail());
        return Ok(error::json(StatusCode::OK, head.into_bytes()));
    }
    let body = stream_of(node, window, head);
    Ok(error::json_stream(Body::from_stream(body)))
}

/// How far a stream has come.
struct Writer {
    node: Arc<Node>,
    window: Window,
    /// The page that comes next; one past the last for the end of the text.
    page: u64,
    head: String,
    first: bool,
}

fn stream_of(
    node: Arc<Node>,
    window: Window,
    head: String,
) -> impl Stream<Item = Result<Bytes, Error>> {
    let writer = Writer {
        node,
        window,
        page: 1,
        head,
        first: true,
    };
    stream::try_unfold(writer, |mut writer| async move {
        let pages = writer.window.pages();
        if writer.page > pages + 1 {
            return Ok(None);
        }
        let text = if writer.page > pages {
            uploads::encode_tail().to_owned()
        } else {
            writer.page_text().await.inspect_err(|error| {
                tracing::warn!(%error, page = writer.page, "originals listing broken off");
            })?
        };
        writer.page += 1;
        Ok(Some((Bytes::from(text), writer)))
    })
}

impl Writer {
    async fn page_text(&mut self) -> Result<String, Error> {
        let node = &self.node;
        let stored = node
            .catalogue
            .window_page(&self.window, self.page, &node.withheld)
            .await?;
        if self.window.outgrown(&stored) {
            return Err(Error::CursorLost);
        }
        let records: Vec<_> = stored.into_iter().map(|stored| stored.record).collect();
        let mut rows = feed::rows_of(node, &records).await?;
        let mut text = std::mem::take(&mut self.head);
        // An asset without a usable source path has no place for an original.
        for asset in records
            .iter()
            .filter_map(|record| record::asset(record).ok())
        {
            let mut files = rows.remove(asset.id.as_str()).unwrap_or_default();
            files.retain(|file| !is_outdated(&asset, file));
            let listing = UploadListing {
                asset: &asset.id,
                root: asset.original_root(),
                is_folder: asset.is_folder,
                files: &files,
            };
            let catalog = &node.settings.catalog;
            text.push_str(&uploads::encode_asset(catalog, &listing, self.first));
            self.first = false;
        }
        Ok(text)
    }
}

/// Whether an original here is not the one that its record speaks of: a newer one is still to come. EMDB takes every original
/// that is listed with another date than its own, and would put this one in the place of the newer one, without a copy.
fn is_outdated(asset: &Asset, file: &ListedFile) -> bool {
    if asset.is_folder || file.kind != FileKind::Original {
        return false;
    }
    match (asset.md5, file.md5) {
        (Some(stated), Some(here)) => stated != here,
        _ => asset.size.is_some_and(|stated| file.size != Some(stated)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::super::tests::{NOW, Running, asset, assets, start};
    use super::*;
    use crate::model::Timestamp;

    /// A node with twelve assets, and the window that holds them all.
    async fn twelve() -> (Running, Arc<Node>, Window) {
        let running = start().await;
        running.put(&assets(12)).await;
        let node = Arc::new(running.node());
        let window = feed::cut(&node, NOW, Timestamp::from_millis(NOW))
            .await
            .unwrap();
        (running, node, window)
    }

    #[tokio::test]
    async fn a_failure_in_the_middle_breaks_the_listing_off() {
        let (running, node, window) = twelve().await;
        assert_eq!(window.pages(), 3);
        let body = stream_of(Arc::clone(&node), window, "head".to_owned());
        let mut body = std::pin::pin!(body);
        let first = body.next().await.unwrap().unwrap();
        assert!(first.starts_with(b"head{") && first.ends_with(b"}"));
        running.catalogue.close().await;
        assert!(matches!(body.next().await, Some(Err(Error::Catalogue(_)))));
        assert!(body.next().await.is_none(), "an end was written");
    }

    #[tokio::test]
    async fn no_page_is_read_before_it_is_asked_for() {
        let (running, node, window) = twelve().await;
        let body = stream_of(Arc::clone(&node), window, "head".to_owned());
        let mut body = std::pin::pin!(body);
        let first = body.next().await.unwrap().unwrap();
        assert!(!first.is_empty());
        // Of the page that comes next and of the last one: whatever was read ahead would not know.
        running.put(&[asset("n005", "Moved/second.jpg")]).await;
        running.put(&[asset("n011", "Moved/last.jpg")]).await;
        let mut rest = Vec::new();
        while let Some(piece) = body.next().await {
            rest.extend_from_slice(&piece.unwrap());
        }
        let rest = String::from_utf8(rest).unwrap();
        for moved in ["second.jpg", "last.jpg"] {
            assert!(rest.contains(moved), "read before it was asked for: {rest}");
        }
    }
}
