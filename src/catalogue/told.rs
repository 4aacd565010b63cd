//! Of whose ends somebody is to be told, and was not yet.

use super::events::{COLUMNS, Columns, run};
use super::{Catalogue, Error, EventRun, during};

impl Catalogue {
    /// Notes that whoever is to be told of a run's end was.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn told(&self, id: i64) -> Result<(), Error> {
        sqlx::query("UPDATE event_run SET is_told = 1 WHERE id = $1")
            .bind(id)
            .execute(&self.db.writer)
            .await
            .map_err(during("note that a run was told of"))?;
        Ok(())
    }

    /// Runs of whose end nobody was told who is to be, oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn untold(&self) -> Result<Vec<EventRun>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM event_run WHERE is_told = 0 ORDER BY id");
        let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("look for runs that nobody was told of"))?;
        rows.into_iter().map(run).collect()
    }
}
