//! Whose place this node took: the nodes that were masters of records which it owns since then.

use super::{Batch, Catalogue, Error, during};
use crate::model::{NodeId, Timestamp};

/// Under this name and the node's id it is kept when its place was taken.
const SUCCEEDED: &str = "succeeded:";

impl Catalogue {
    /// The nodes whose place was taken, and that are not known to have taken notice of it, each with when that was.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn succeeded(&self) -> Result<Vec<(NodeId, Timestamp)>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, value FROM meta WHERE name > $1 AND name < $2 ORDER BY name",
        )
        .bind(SUCCEEDED)
        .bind("succeeded;")
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read whose place was taken"))?;
        let rows = rows.into_iter().filter_map(|(name, at)| {
            let id = NodeId::new(name.strip_prefix(SUCCEEDED)?).ok()?;
            Some((id, Timestamp::from_millis(at)))
        });
        Ok(rows.collect())
    }
}

impl Batch {
    /// This node takes the place of another one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn succeed(&mut self, node: &NodeId, now: Timestamp) -> Result<(), Error> {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(format!("{SUCCEEDED}{node}"))
            .bind(now.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("take a node's place"))?;
        Ok(())
    }

    /// The other node has taken notice: what it says of our records counts again.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn readmit(&mut self, node: &NodeId) -> Result<(), Error> {
        sqlx::query("DELETE FROM meta WHERE name = $1")
            .bind(format!("{SUCCEEDED}{node}"))
            .execute(&mut *self.tx)
            .await
            .map_err(during("readmit a node"))?;
        Ok(())
    }
}
