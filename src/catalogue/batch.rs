//! One write transaction. Its methods live beside the reads of the same table; this file begins and ends it.

use sqlx::Transaction;

use super::dialect::{BEGIN_WRITE, Engine};
use super::{Catalogue, Db, Error, during};
use crate::crash::{self, Point};
use crate::model::Timestamp;

/// A write transaction; dropped without [`commit`](Self::commit) it leaves nothing.
#[derive(Debug)]
pub struct Batch {
    pub(super) tx: Transaction<'static, Engine>,
    changed_at: Option<Timestamp>,
}

impl Batch {
    pub(super) async fn begin(db: &Db) -> Result<Self, Error> {
        let tx = db
            .writer
            .begin_with(BEGIN_WRITE)
            .await
            .map_err(during("begin a write"))?;
        Ok(Self {
            tx,
            changed_at: None,
        })
    }

    /// Notes that records or files changed at `now`, which makes every older parity report stale (I12).
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.changed_at = self.changed_at.max(Some(now));
    }

    /// Keeps a number of the node under its name, in place of an older one; `None` forgets it. `doing` says so in an error.
    pub(super) async fn put_meta(
        &mut self,
        name: &str,
        value: Option<i64>,
        doing: &'static str,
    ) -> Result<(), Error> {
        let query = match value {
            None => sqlx::query("DELETE FROM meta WHERE name = $1").bind(name),
            Some(value) => sqlx::query(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(name)
            .bind(value),
        };
        query.execute(&mut *self.tx).await.map_err(during(doing))?;
        Ok(())
    }

    /// Makes everything in this batch durable, or nothing of it.
    ///
    /// # Errors
    /// [`Error::Sql`]; then nothing was stored.
    pub async fn commit(mut self) -> Result<(), Error> {
        if let Some(at) = self.changed_at {
            sqlx::query(
                "INSERT INTO meta (name, value) VALUES ('last_change', $1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > meta.value",
            )
            .bind(at.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("note the last change"))?;
        }
        crash::point(Point::Committing)?;
        self.tx.commit().await.map_err(during("commit"))?;
        Ok(crash::point(Point::Committed)?)
    }
}

impl Catalogue {
    /// When a record or a file last changed here; `None` on a node that never held any.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn last_change(&self) -> Result<Option<Timestamp>, Error> {
        let value: Option<i64> =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = 'last_change'")
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read the last change"))?;
        Ok(value.map(Timestamp::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::error::Class;
    use crate::model::NodeId;

    /// The engine takes the whole transaction back itself when a statement finds no room.
    #[tokio::test]
    async fn a_disk_that_was_full_is_written_to_again_once_there_is_room() {
        let (_dir, catalogue) = empty().await;
        let limit = async |pages: u32| {
            let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            sqlx::query(sql)
                .execute(&catalogue.db.writer)
                .await
                .unwrap();
        };
        let (node, now) = (NodeId::new("n").unwrap(), Timestamp::from_millis(1));
        let fill = async || -> Result<(), Error> {
            let mut batch = catalogue.batch().await?;
            for _ in 0..200 {
                sqlx::query("INSERT INTO meta (name, value) VALUES (hex(randomblob(4000)), 1)")
                    .execute(&mut *batch.tx)
                    .await
                    .map_err(during("fill"))?;
            }
            batch.succeed(&node, &node, now).await?;
            batch.commit().await
        };
        limit(1).await;
        let error = fill().await.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        assert_eq!(error.class(), Class::Transient);
        limit(u32::MAX - 1).await;
        fill().await.unwrap();
    }
}
