//! Looking through a table (wire spec 3.11): for people and tools that count.

use axum::http::StatusCode;
use axum::response::Response;

use super::error::{self, Error};
use super::node::Node;
use super::request::Asked;
use crate::model::{Module, RecordKey};
use crate::protocol::search::{self as message, SearchRequest};

/// One page of the live records of a table. A table that is withheld from listings looks empty.
pub(super) async fn search(node: &Node, module: &Module, asked: &Asked) -> Result<Response, Error> {
    let request = SearchRequest::parse(&asked.body)?;
    let (total, found) = if node.withheld.contains(module) {
        (0, Vec::new())
    } else if let Some(id) = &request.id {
        let key = RecordKey::new(module.as_str(), id.as_str()).ok();
        let stored = match key {
            Some(key) => node.catalogue.record(&key).await?,
            None => None,
        };
        let live = stored.filter(|stored| !stored.record.is_deleted());
        let total = u64::from(live.is_some());
        (
            total,
            live.filter(|_| request.page == 1).into_iter().collect(),
        )
    } else {
        let total = node.catalogue.live_records(module).await?;
        let (skip, most) = (request.skip(), request.per_page);
        let page = node.catalogue.live_page(module, skip, most).await?;
        (total, page)
    };
    let records: Vec<_> = found.iter().map(|stored| &stored.record).collect();
    let body = message::encode(module, &request, total, &records);
    Ok(error::json(StatusCode::OK, body))
}
