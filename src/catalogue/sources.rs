//! Folders that were imported, and what the last walk saw in them: how a second walk tells new, changed, moved and gone.

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::files::asset_id;
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{AssetId, Sha256, Timestamp};

/// An imported folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDir {
    /// Its absolute path.
    pub dir: String,
    /// What its paths are put under, empty for none.
    pub prefix: String,
    /// Number of the walk that last began.
    pub walk: i64,
}

/// A file as a walk saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path below the folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Digest of its content.
    pub sha256: Sha256,
    /// The asset made of it.
    pub asset: AssetId,
}

type Columns = (String, i64, i64, Vec<u8>, String);

impl Catalogue {
    /// All imported folders.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn sources(&self) -> Result<Vec<SourceDir>, Error> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT dir, prefix, walk FROM source ORDER BY dir")
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read the sources"))?;
        Ok(rows
            .into_iter()
            .map(|(dir, prefix, walk)| SourceDir { dir, prefix, walk })
            .collect())
    }

    /// What the last walk saw under these paths of a folder.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn source_files(&self, dir: &str, paths: &[&str]) -> Result<Vec<SourceFile>, Error> {
        let mut found = Vec::new();
        for chunk in paths.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT path, size, modified, sha256, asset FROM source_file WHERE dir = ",
            );
            query.push_bind(dir).push(" AND path IN (");
            let mut list = query.separated(", ");
            for path in chunk {
                list.push_bind(*path);
            }
            query.push(")");
            let rows: Vec<Columns> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read source files"))?;
            for row in rows {
                found.push(source_file(row)?);
            }
        }
        Ok(found)
    }

    /// Up to `limit` files of a folder that walk `walk` did not see, in order of their paths, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn gone_files(
        &self,
        dir: &str,
        walk: i64,
        after: &str,
        limit: usize,
    ) -> Result<Vec<SourceFile>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT path, size, modified, sha256, asset FROM source_file WHERE dir = $1 AND walk < $2 AND path > $3
             ORDER BY path LIMIT $4",
        )
        .bind(dir)
        .bind(walk)
        .bind(after)
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read files that are gone"))?;
        rows.into_iter().map(source_file).collect()
    }

    /// The same for one place: a file, or all files below a directory.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn gone_below(
        &self,
        dir: &str,
        walk: i64,
        (place, after): (&str, &str),
        limit: usize,
    ) -> Result<Vec<SourceFile>, Error> {
        // Two questions, each of which the primary key answers.
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT path, size, modified, sha256, asset FROM source_file
             WHERE dir = $1 AND walk < $2 AND path = $3 AND path > $4
             UNION ALL
             SELECT path, size, modified, sha256, asset FROM source_file
             WHERE dir = $1 AND walk < $2 AND path > $3 || '/' AND path < $3 || '0' AND path > $4
             ORDER BY path LIMIT $5",
        )
        .bind(dir)
        .bind(walk)
        .bind(place)
        .bind(after)
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read files that are gone from a place"))?;
        rows.into_iter().map(source_file).collect()
    }

    /// Files of a folder that an earlier walk saw with this content and walk `walk` has not seen: what a move left behind.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn left_behind(
        &self,
        dir: &str,
        walk: i64,
        content: &Sha256,
    ) -> Result<Vec<SourceFile>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT path, size, modified, sha256, asset FROM source_file WHERE dir = $1 AND walk < $2 AND sha256 = $3
             ORDER BY path LIMIT 64",
        )
        .bind(dir)
        .bind(walk)
        .bind(&content.as_bytes()[..])
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("look for a moved file"))?;
        rows.into_iter().map(source_file).collect()
    }

    /// How many files of a folder are known.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_source_files(&self, dir: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM source_file WHERE dir = $1")
            .bind(dir)
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("count source files"))?;
        Ok(unsigned(count))
    }
}

impl Batch {
    /// Remembers a folder and begins a walk of it; answers the walk's number.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_walk(
        &mut self,
        dir: &str,
        prefix: &str,
        now: Timestamp,
    ) -> Result<i64, Error> {
        sqlx::query_scalar(
            "INSERT INTO source (dir, prefix, added_at, walk) VALUES ($1, $2, $3, 1)
             ON CONFLICT (dir) DO UPDATE SET walk = source.walk + 1 RETURNING walk",
        )
        .bind(dir)
        .bind(prefix)
        .bind(now.as_millis())
        .fetch_one(&mut *self.tx)
        .await
        .map_err(during("begin a walk"))
    }

    /// Notes files as seen by a walk.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_source_files(
        &mut self,
        dir: &str,
        walk: i64,
        files: &[SourceFile],
    ) -> Result<(), Error> {
        for chunk in files.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO source_file (dir, path, size, modified, sha256, asset, walk) ",
            );
            query.push_values(chunk, |mut row, file| {
                row.push_bind(dir)
                    .push_bind(&file.path)
                    .push_bind(signed(file.size))
                    .push_bind(file.modified_ns)
                    .push_bind(&file.sha256.as_bytes()[..])
                    .push_bind(file.asset.as_str())
                    .push_bind(walk);
            });
            query.push(
                " ON CONFLICT (dir, path) DO UPDATE SET size = excluded.size, modified = excluded.modified,
                  sha256 = excluded.sha256, asset = excluded.asset, walk = excluded.walk",
            );
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note source files"))?;
        }
        Ok(())
    }

    /// Forgets a file of a folder: it moved, or it is gone.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_source_file(&mut self, dir: &str, path: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM source_file WHERE dir = $1 AND path = $2")
            .bind(dir)
            .bind(path)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget a source file"))?;
        Ok(())
    }
}

fn source_file((path, size, modified_ns, digest, asset): Columns) -> Result<SourceFile, Error> {
    Ok(SourceFile {
        path,
        size: unsigned(size),
        modified_ns,
        sha256: super::records::sha256("source digest", &digest)?,
        asset: asset_id(asset)?,
    })
}
