//! Peers that a person has paused: no run over one begins, and none goes on, until it is resumed. It outlives the process, and every
//! process goes by it.

use std::collections::BTreeMap;

use super::{Catalogue, Error, during};
use crate::model::Timestamp;

impl Catalogue {
    /// Pauses a peer; one that is paused stays so since then. Answers since when.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn pause(&self, peer: &str, now: Timestamp) -> Result<Timestamp, Error> {
        let since: i64 = sqlx::query_scalar(
            "INSERT INTO paused (peer, since_at) VALUES ($1, $2)
             ON CONFLICT (peer) DO UPDATE SET since_at = paused.since_at RETURNING since_at",
        )
        .bind(peer)
        .bind(now.as_millis())
        .fetch_one(&self.db.writer)
        .await
        .map_err(during("pause a peer"))?;
        Ok(Timestamp::from_millis(since))
    }

    /// Resumes a peer; answers whether it was paused.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn resume(&self, peer: &str) -> Result<bool, Error> {
        let gone = sqlx::query("DELETE FROM paused WHERE peer = $1")
            .bind(peer)
            .execute(&self.db.writer)
            .await
            .map_err(during("resume a peer"))?;
        Ok(gone.rows_affected() > 0)
    }

    /// Since when a peer is paused; `None` when it is not.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn paused_since(&self, peer: &str) -> Result<Option<Timestamp>, Error> {
        let since: Option<i64> = sqlx::query_scalar("SELECT since_at FROM paused WHERE peer = $1")
            .bind(peer)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("look whether a peer is paused"))?;
        Ok(since.map(Timestamp::from_millis))
    }

    /// Every paused peer, and since when.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn paused(&self) -> Result<BTreeMap<String, Timestamp>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT peer, since_at FROM paused")
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("look which peers are paused"))?;
        let paused = rows.into_iter();
        Ok(paused
            .map(|(peer, since)| (peer, Timestamp::from_millis(since)))
            .collect())
    }
}
