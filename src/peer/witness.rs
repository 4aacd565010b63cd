//! What a peer says beside its listings, asked before anything is deleted because a listing lacks it (wire spec 3.11): how many
//! assets it has, and whether it still has one record.

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;

use super::{Error, Peer};
use crate::model::RecordKey;
use crate::protocol::{replies, search};

const STATUS: &str = "mediadb/services/system/systemstatus.json";

/// Whether a peer has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its search finds it.
    There,
    /// Its search works and does not find it.
    Gone,
    /// It offers no such search.
    Unknown,
}

impl Peer {
    /// How many live assets the peer counts; `None` when it does not say.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn live_assets(&self) -> Result<Option<u64>, Error> {
        let url = self.0.base_url.join(STATUS);
        let response = self.send(self.0.lists.get(&url), &url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = self.list_body(response, &url).await?;
        Ok(replies::assets_of(&body))
    }

    /// Asks the peer's own search for one record, tombstones left out.
    ///
    /// # Errors
    /// Any [`Error`] of a list request.
    pub async fn has_record(&self, key: &RecordKey) -> Result<Presence, Error> {
        let path = if key.module.is_asset() {
            "mediadb/services/module/asset/search.json".to_owned()
        } else {
            format!("mediadb/services/lists/search/{}.json", key.module)
        };
        let url = self.0.base_url.join(&path);
        let request = self
            .0
            .lists
            .post(&url)
            .header(CONTENT_TYPE, "application/json")
            .body(search::encode_request(&key.id));
        let response = self.send(request, &url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Presence::Unknown);
        }
        let body = self.list_body(response, &url).await?;
        let ids = search::ids(&body).map_err(|source| self.reply(source, 0))?;
        Ok(if ids.contains(&key.id) {
            Presence::There
        } else {
            Presence::Gone
        })
    }
}
