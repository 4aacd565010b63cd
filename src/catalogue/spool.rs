//! A throw-away table for what a peer lists, so that a listing of any size and in any order can be read back sorted.
//!
//! Lives in a file of its own beside the catalogue and is removed when dropped; nothing in it outlives one comparison, so
//! it is written without any durability.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{QueryBuilder, Row as _};

use super::db::pool;
use super::dialect::{Engine, Pool, ROWS_A_STATEMENT};
use super::files::{kind, md5, media_path, number};
use super::leftovers::sweep;
use super::{Error, during, signed, unsigned};
use crate::model::{FileKind, ListedFile, RecordKey, Sha256, Timestamp};

/// The table.
#[derive(Debug)]
pub struct Spool {
    pool: Pool,
    path: PathBuf,
}

/// A record as a peer listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledRecord {
    /// Its address.
    pub key: RecordKey,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Its dates in one comparable text; empty for a record without a status.
    pub stamp: String,
    /// Digest of its content.
    pub content: Sha256,
}

/// A file as a peer listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledFile {
    /// The file.
    pub file: ListedFile,
    /// The asset it was listed for.
    pub asset: String,
}

/// Begins every question about files.
const FILES: &str =
    "SELECT kind, path, size, modified, sha256, md5, exact, asset FROM listed_file WHERE kind = ";
/// Begins the name of every table's file.
const PREFIX: &str = "verify-";

impl Spool {
    /// Makes an empty table in `dir`; `tag` must be unique.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub async fn create(dir: &Path, tag: &str) -> Result<Self, Error> {
        sweep(dir, PREFIX);
        let path = dir.join(format!("{PREFIX}{tag}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-8192")
            .pragma("locking_mode", "EXCLUSIVE");
        let pool = pool(1)
            .connect_with(options)
            .await
            .map_err(|source| Error::Open {
                path: path.clone(),
                source,
            })?;
        let spool = Self { pool, path };
        for statement in [
            "CREATE TABLE listed_record (module TEXT NOT NULL, id TEXT NOT NULL, deleted BIGINT NOT NULL, stamp TEXT NOT NULL,
             content BLOB NOT NULL, PRIMARY KEY (module, id)) WITHOUT ROWID",
            "CREATE TABLE listed_file (kind BIGINT NOT NULL, path TEXT NOT NULL, asset TEXT NOT NULL, size BIGINT, modified BIGINT,
             sha256 BLOB, md5 BLOB, exact BIGINT NOT NULL, PRIMARY KEY (kind, path, asset)) WITHOUT ROWID",
            "CREATE TABLE partial_asset (asset TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
        ] {
            sqlx::query(statement).execute(&spool.pool).await.map_err(during("make a spool"))?;
        }
        Ok(spool)
    }

    /// Adds a page of a listing; what was listed before under the same name is replaced.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put(&self, records: &[SpooledRecord], files: &[SpooledFile]) -> Result<(), Error> {
        let mut tx = self
            .pool
            .begin()
            .await
            .map_err(during("begin a spool page"))?;
        for chunk in records.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO listed_record (module, id, deleted, stamp, content) ",
            );
            query.push_values(chunk, |mut row, record| {
                row.push_bind(record.key.module.as_str())
                    .push_bind(&record.key.id)
                    .push_bind(i64::from(record.deleted))
                    .push_bind(&record.stamp)
                    .push_bind(&record.content.as_bytes()[..]);
            });
            query.push(
                " ON CONFLICT (module, id) DO UPDATE SET deleted = excluded.deleted, stamp = excluded.stamp, content = excluded.content",
            );
            query
                .build()
                .execute(&mut *tx)
                .await
                .map_err(during("spool records"))?;
        }
        for chunk in files.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO listed_file (kind, path, asset, size, modified, sha256, md5, exact) ",
            );
            query.push_values(chunk, |mut row, SpooledFile { file, asset }| {
                row.push_bind(number(file.kind))
                    .push_bind(file.path.as_str())
                    .push_bind(asset)
                    .push_bind(file.size.map(signed))
                    .push_bind(file.modified.map(Timestamp::as_millis))
                    .push_bind(file.sha256.as_ref().map(|digest| &digest.as_bytes()[..]))
                    .push_bind(file.md5.as_ref().map(|digest| &digest.as_bytes()[..]))
                    .push_bind(i64::from(file.exact));
            });
            query.push(
                " ON CONFLICT (kind, path, asset) DO UPDATE SET size = excluded.size, modified = excluded.modified,
                 sha256 = excluded.sha256, md5 = excluded.md5, exact = excluded.exact",
            );
            query
                .build()
                .execute(&mut *tx)
                .await
                .map_err(during("spool files"))?;
        }
        tx.commit().await.map_err(during("end a spool page"))
    }

    /// Notes assets of which the peer says that it holds only a part of their files.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_partial(&self, assets: &[&str]) -> Result<(), Error> {
        for chunk in assets.chunks(ROWS_A_STATEMENT) {
            let mut query =
                QueryBuilder::<Engine>::new("INSERT OR IGNORE INTO partial_asset (asset) ");
            query.push_values(chunk, |mut row, asset| {
                row.push_bind(*asset);
            });
            query
                .build()
                .execute(&self.pool)
                .await
                .map_err(during("spool partial assets"))?;
        }
        Ok(())
    }

    /// Which of these assets the peer holds a part of only.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn partial_of(&self, assets: &[&str]) -> Result<HashSet<String>, Error> {
        let mut found = HashSet::new();
        for chunk in assets.chunks(ROWS_A_STATEMENT) {
            let mut query =
                QueryBuilder::<Engine>::new("SELECT asset FROM partial_asset WHERE asset IN (");
            let mut list = query.separated(", ");
            for asset in chunk {
                list.push_bind(*asset);
            }
            query.push(")");
            let ids: Vec<String> = query
                .build_query_scalar()
                .fetch_all(&self.pool)
                .await
                .map_err(during("read spooled partial assets"))?;
            found.extend(ids);
        }
        Ok(found)
    }

    /// How many different records were listed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM listed_record")
            .fetch_one(&self.pool)
            .await
            .map_err(during("count a spool"))?;
        Ok(unsigned(count))
    }

    /// Up to `limit` records in order of their keys, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn records_after(
        &self,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<SpooledRecord>, Error> {
        let (module, id) = after.map_or(("", ""), |key| (key.module.as_str(), key.id.as_str()));
        let rows: Vec<(String, String, i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT module, id, deleted, stamp, content FROM listed_record WHERE (module, id) > ($1, $2) ORDER BY module, id LIMIT $3",
        )
        .bind(module)
        .bind(id)
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await
        .map_err(during("read spooled records"))?;
        rows.into_iter()
            .map(|(module, id, deleted, stamp, content)| {
                let content = super::records::sha256("content digest", &content)?;
                Ok(SpooledRecord {
                    key: super::records::key(module, id)?,
                    deleted: deleted != 0,
                    stamp,
                    content,
                })
            })
            .collect()
    }

    /// Up to `limit` files of one kind in order of their paths and assets, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_after(
        &self,
        of: FileKind,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<SpooledFile>, Error> {
        let (path, asset) = after.unwrap_or_default();
        let mut query = QueryBuilder::<Engine>::new(FILES);
        query.push_bind(number(of)).push(" AND (path, asset) > (");
        query.push_bind(path).push(", ").push_bind(asset);
        query.push(") ORDER BY path, asset LIMIT ");
        query.push_bind(signed(limit as u64));
        self.read_files(query).await
    }

    /// The files of these names and one kind, whatever asset they were listed for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_at(&self, of: FileKind, paths: &[&str]) -> Result<Vec<SpooledFile>, Error> {
        let mut found = Vec::new();
        for chunk in paths.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(FILES);
            query.push_bind(number(of)).push(" AND path IN (");
            let mut list = query.separated(", ");
            for path in chunk {
                list.push_bind(*path);
            }
            query.push(")");
            found.extend(self.read_files(query).await?);
        }
        Ok(found)
    }

    async fn read_files(&self, mut query: QueryBuilder<Engine>) -> Result<Vec<SpooledFile>, Error> {
        let rows = query
            .build()
            .fetch_all(&self.pool)
            .await
            .map_err(during("read spooled files"))?;
        rows.iter()
            .map(|row| read(row).map_err(during("read a spooled file"))?)
            .collect()
    }

    /// Removes the table.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Best effort: a leftover is swept when a comparison begins a day later.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read(row: &super::dialect::Row) -> sqlx::Result<Result<SpooledFile, Error>> {
    let (path, asset): (String, String) = (row.try_get(1)?, row.try_get(7)?);
    let (size, modified): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    let (sha256, stated_md5): (Option<Vec<u8>>, Option<Vec<u8>>) =
        (row.try_get(4)?, row.try_get(5)?);
    let (kind_number, exact): (i64, i64) = (row.try_get(0)?, row.try_get(6)?);
    Ok((|| {
        let file = ListedFile {
            kind: kind(kind_number),
            path: media_path(path)?,
            size: size.map(unsigned),
            modified: modified.map(Timestamp::from_millis),
            sha256: sha256
                .map(|bytes| super::records::sha256("file digest", &bytes))
                .transpose()?,
            md5: md5(stated_md5),
            exact: exact != 0,
        };
        Ok(SpooledFile { file, asset })
    })())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::leftovers::LEFT_BEHIND;

    #[tokio::test]
    async fn leftovers_of_killed_comparisons_are_swept_and_running_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str, age: Duration| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - age)
                .unwrap();
        };
        made("verify-old.db", LEFT_BEHIND * 2);
        made("verify-running.db", Duration::ZERO);
        made("emsync.db", LEFT_BEHIND * 2);
        let spool = Spool::create(dir.path(), "new").await.unwrap();
        let mut left: Vec<_> = (std::fs::read_dir(dir.path()).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["emsync.db", "verify-new.db", "verify-running.db"]);
        spool.close().await;
    }
}
