//! The change feed (wire spec 3.1, 3.2): page 1 cuts a window and names it, later pages name it back. The position comes from
//! `page` alone, so pages may be asked for in any order and as often as a client likes, without cookies (H-5).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;

use super::error::{self, Error};
use super::node::Node;
use super::request::Asked;
use crate::catalogue::{FileRow, StoredRecord, Window};
use crate::model::job::fetched_path;
use crate::model::{AssetId, FileKind, ListedFile, Record, Timestamp};
use crate::protocol::changes::SUCCESSIONS_MOST;
use crate::protocol::{AssetListing, ChangesRequest, Hello, PageHead, Status, changes, record};

/// What our peers may rely on beyond the common protocol.
const FEATURES: [&str; 3] = ["sha256", "originals", "digests"];
/// Random bytes in the name of a listing.
const SESSION_BYTES: usize = 16;

/// One page of changes.
pub(super) async fn changes(node: &Node, asked: &Asked) -> Result<Response, Error> {
    let request = ChangesRequest::form_decode(&asked.fields())?;
    let now = node.seams.clock.now();
    let (session, window) = listing(node, &request, now).await?;
    let page = if window.total == 0 {
        1
    } else {
        u64::from(request.page)
    };
    let stored = node
        .catalogue
        .window_page(&window, page, &node.withheld)
        .await?;
    if window.outgrown(&stored) {
        return Err(Error::CursorLost);
    }
    let partial = left_out(node, &stored, now).await?;
    let records: Vec<_> = stored.into_iter().map(|stored| stored.record).collect();
    let mut files = files_of(node, &records).await?;
    for listing in &mut files {
        listing.partial = partial.contains(&listing.asset);
    }
    let head = PageHead {
        status: if window.total == 0 {
            Status::Empty
        } else {
            Status::Ok
        },
        total: window.total,
        per_page: node.settings.per_page,
        page,
        pages: window.pages(),
        session,
        catalog: node.settings.catalog.to_string(),
        since: Some(back(now, request.ago_ms)),
        hello: Some(hello(node).await?),
    };
    let body = changes::encode(&head, &records, &files);
    Ok(error::json(StatusCode::OK, body))
}

/// The listing that a request continues, or a new one. Only a first page may begin one: a later page of a window that is cut
/// anew could leave records out without anybody noticing.
async fn listing(
    node: &Node,
    request: &ChangesRequest,
    now: Timestamp,
) -> Result<(String, Arc<Window>), Error> {
    if let Some(session) = &request.session
        && let Some(window) = node.listings.find(session, now)
    {
        return Ok((session.clone(), window));
    }
    if request.page > 1 {
        return Err(Error::CursorLost);
    }
    let window = Arc::new(cut(node, request.ago_ms, now).await?);
    let session = node.seams.random_hex(SESSION_BYTES);
    node.listings
        .keep(session.clone(), Arc::clone(&window), now);
    Ok((session, window))
}

/// Everything that changed in the last `ago_ms` milliseconds and, because more is harmless and less is not, in the margin
/// before.
pub(super) async fn cut(node: &Node, ago_ms: i64, now: Timestamp) -> Result<Window, Error> {
    let since = back(now.minus(node.settings.margin), ago_ms);
    let (per_page, withheld) = (node.settings.per_page, &node.withheld);
    Ok(node.catalogue.window(since, per_page, withheld).await?)
}

/// As EMDB reckons: not before 1970 (wire spec 3.1).
fn back(now: Timestamp, ago_ms: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(ago_ms).max(0))
}

async fn hello(node: &Node) -> Result<Hello, Error> {
    let known = node.catalogue.successions().await?.into_iter();
    let successions = known.map(|known| known.succession).take(SUCCESSIONS_MOST);
    Ok(Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.settings.node.clone(),
        features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        successions: successions.collect(),
    })
}

/// The assets of a page whose files the filter of their peer leaves out: of what this node lacks of them nothing follows.
pub(super) async fn left_out(
    node: &Node,
    page: &[StoredRecord],
    now: Timestamp,
) -> Result<HashSet<AssetId>, Error> {
    // What a node still waits for itself proves nothing either: a mirror that is behind may have mirrors, and take a master's place.
    let assets = page
        .iter()
        .filter_map(|stored| stored.record.key.as_asset());
    let ids: Vec<AssetId> = assets.collect();
    let ids: Vec<&str> = ids.iter().map(AssetId::as_str).collect();
    let mut left_out = HashSet::new();
    let shown = node.in_force.now();
    for peer in &shown.peers {
        let wishes = node.catalogue.wishes_of(peer, &ids).await?;
        let awaited = wishes
            .iter()
            .filter(|(_, subject)| fetched_path(subject, FileKind::Original).is_some());
        left_out.extend(awaited.filter_map(|(asset, _)| AssetId::new(asset.as_str()).ok()));
    }
    for (peer, filter) in &shown.filters {
        let selection = node.catalogue.select(filter).await?;
        let of_peer = page.iter().filter(|stored| stored.origin == *peer);
        let assets = of_peer.filter_map(|stored| record::asset(&stored.record).ok());
        let outside = assets.filter(|asset| !selection.keeps(asset, now));
        left_out.extend(outside.map(|asset| asset.id));
    }
    Ok(left_out)
}

/// One entry for each asset of a page. A tombstone owns no files, and neither does an asset whose record states no usable
/// source path; both are listed all the same.
async fn files_of(node: &Node, records: &[Record]) -> Result<Vec<AssetListing>, Error> {
    let mut rows = rows_of(node, records).await?;
    let listing = |record: &Record| {
        let (asset, status) = (record.key.as_asset()?, record.status.as_ref()?);
        let files = rows.remove(asset.as_str()).unwrap_or_default();
        let (originals, generated) = files
            .into_iter()
            .filter(|_| !status.deleted)
            .partition(|file| file.kind == FileKind::Original);
        Some(AssetListing {
            source_path: record::asset(record).ok().map(|asset| asset.source_path),
            asset,
            master: status.master.clone(),
            generated,
            originals,
            partial: false,
        })
    };
    Ok(records.iter().filter_map(listing).collect())
}

/// The files of the assets among `records`, by asset, without what EMDB keeps for itself (H-42).
pub(super) async fn rows_of(
    node: &Node,
    records: &[Record],
) -> Result<HashMap<String, Vec<ListedFile>>, Error> {
    let assets = records.iter().filter(|record| record.key.module.is_asset());
    let assets: Vec<_> = assets.map(|record| record.key.id.as_str()).collect();
    let mut by_asset: HashMap<String, Vec<ListedFile>> = HashMap::new();
    let then = node.catalogue.moment();
    let rows = node.catalogue.files_of(&assets).await?;
    node.known.listed(then, &rows);
    for FileRow { file, .. } in rows {
        if !file.path.is_bookkeeping() {
            let files = by_asset.entry(file.asset.to_string()).or_default();
            files.push(ListedFile::from(&file));
        }
    }
    Ok(by_asset)
}
