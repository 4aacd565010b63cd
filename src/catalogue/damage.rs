//! Files that are not on disk as their rows say: noted by whoever looked, forgotten when the file is published again.
//!
//! The row stays, for it says what the file was and what is to be brought back; nobody is served from it meanwhile.

use super::files::{COLUMNS, file_row, number};
use super::{Batch, Catalogue, Error, FileRow, during, signed, unsigned};
use crate::model::{MediaFile, Timestamp};

impl Catalogue {
    /// Up to `limit` ids of assets with damaged files, in order, beginning after `after`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn damaged_assets(&self, after: &str, limit: usize) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "SELECT DISTINCT asset FROM file WHERE damaged_at IS NOT NULL AND asset > $1 ORDER BY asset LIMIT $2",
        )
        .bind(after)
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read assets with damaged files"))
    }

    /// Up to `limit` damaged files, in order of kind, name and asset, beginning after one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn damaged_files(
        &self,
        after: Option<&MediaFile>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let (kind, path, asset) = after.map_or((-1, "", ""), |last| {
            (number(last.kind), last.path.as_str(), last.asset.as_str())
        });
        let query = format!(
            "SELECT {COLUMNS} FROM file WHERE damaged_at IS NOT NULL AND (kind, path, asset) > ($1, $2, $3)
             ORDER BY kind, path, asset LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(kind)
            .bind(path)
            .bind(asset)
            .bind(signed(limit as u64))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read damaged files"))?;
        rows.iter().map(file_row).collect()
    }

    /// How many files are noted as damaged.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn damaged(&self) -> Result<u64, Error> {
        sqlx::query_scalar("SELECT COUNT(*) FROM file WHERE damaged_at IS NOT NULL")
            .fetch_one(&self.db.readers)
            .await
            .map(unsigned)
            .map_err(during("count damaged files"))
    }
}

impl Batch {
    /// Notes that a file is not on disk as its row says, or that it is after all; if the row still says so, for meanwhile the
    /// file may have been replaced.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_damage(
        &mut self,
        file: &MediaFile,
        at: Option<Timestamp>,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE file SET damaged_at = $1 WHERE kind = $2 AND path = $3 AND asset = $4
             AND place = $5 AND size = $6 AND modified = $7 AND sha256 = $8",
        )
        .bind(at.map(Timestamp::as_millis))
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(file.place().as_str())
        .bind(signed(file.size))
        .bind(file.modified.as_millis())
        .bind(&file.sha256.as_bytes()[..])
        .execute(&mut *self.tx)
        .await
        .map_err(during("note a damaged file"))?;
        Ok(())
    }
}
