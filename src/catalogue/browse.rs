//! Live records of one table by their place, for people and tools that look through a table page by page. Nothing that syncs
//! reads this way: a page by place repeats and skips rows while others are added.

use sqlx::QueryBuilder;

use super::dialect::Engine;
use super::records::{COLUMNS, stored};
use super::{Catalogue, Error, StoredRecord, during, signed, unsigned};
use crate::model::Module;

impl Catalogue {
    /// How many records of a table are no tombstones.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn live_records(&self, module: &Module) -> Result<u64, Error> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM record WHERE module = $1 AND deleted = 0")
                .bind(module.as_str())
                .fetch_one(&self.db.readers)
                .await
                .map_err(during("count live records"))?;
        Ok(unsigned(count))
    }

    /// Up to `limit` live records of a table in order of their ids, leaving out the first `skip`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn live_page(
        &self,
        module: &Module,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM record WHERE module = ")
            .push_bind(module.as_str())
            .push(" AND deleted = 0 ORDER BY id LIMIT ")
            .push_bind(signed(limit))
            .push(" OFFSET ")
            .push_bind(signed(skip));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read a page of live records"))?;
        rows.iter().map(stored).collect()
    }

    /// Up to `limit` live records of a table whose JSON holds `text`, in order of their ids, beginning after `after`. Whether it holds it
    /// in the member that is meant is for the caller to see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn live_with(
        &self,
        module: &Module,
        text: &str,
        after: &str,
        limit: u64,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM record WHERE module = ")
            .push_bind(module.as_str())
            .push(" AND deleted = 0 AND id > ")
            .push_bind(after);
        if !text.is_empty() {
            let escaped = text
                .replace('!', "!!")
                .replace('%', "!%")
                .replace('_', "!_");
            query
                .push(" AND source LIKE ")
                .push_bind(format!("%{escaped}%"))
                .push(" ESCAPE '!'");
        }
        let rows = query
            .push(" ORDER BY id LIMIT ")
            .push_bind(signed(limit))
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("look for live records"))?;
        rows.iter().map(stored).collect()
    }
}
