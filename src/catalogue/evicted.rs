//! Files of peers whose bytes go to make room, and when files were read last.
//!
//! The row goes first: it says that the bytes are about to go, then that they are gone. It stays, for it says what the file is; so a
//! listing that says the same wishes for nothing, and whoever reads the file has it fetched. Publishing it again makes it a file that is
//! here like any other.

use sqlx::QueryBuilder;

use super::dialect::Engine;
use super::files::{COLUMNS, file_row, made_of, number};
use super::{Batch, Catalogue, Error, FileRow, during, signed, unsigned};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Timestamp};

const GOING: i64 = 1;
const GONE: i64 = 2;

/// A peer whose files may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lender {
    /// Its name.
    pub peer: String,
    /// Whether it states the SHA-256 of its files. Of another one only originals with an MD5 can be told from what it has.
    pub states_sha256: bool,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Read {
    /// Its tree.
    pub kind: FileKind,
    /// Its name.
    pub path: MediaPath,
    /// Whose it is.
    pub asset: AssetId,
}

impl Catalogue {
    /// Bytes of files of these peers that are here and were not made here.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn lent_bytes(&self, lenders: &[Lender]) -> Result<u64, Error> {
        let mut query = QueryBuilder::<Engine>::new(
            "SELECT CAST(TOTAL(size) AS INTEGER) FROM file WHERE authored = 0 AND evicted IS NULL AND asset IN
             (SELECT id FROM record WHERE module = 'asset' AND origin IN (",
        );
        let mut list = query.separated(", ");
        for lender in lenders {
            list.push_bind(&lender.peer);
        }
        query.push("))");
        let bytes: i64 = query
            .build_query_scalar()
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("add up the files of peers"))?;
        Ok(unsigned(bytes))
    }

    /// Up to `limit` sound files that may go, those first that were not read, and did not come, for longest; only such as were not
    /// read since `before`.
    ///
    /// Never one that was made here, that its peer's last listing lacked, that a job speaks of, or an original that something was made
    /// of here. What its peer has of it is for the caller to ask.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn least_read(
        &self,
        lenders: &[Lender],
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query.push(COLUMNS).push(
            ", MAX(received_at, COALESCE((SELECT at FROM last_read WHERE last_read.kind = file.kind
             AND last_read.path = file.path AND last_read.asset = file.asset), 0)) AS used_at
             FROM file WHERE authored = 0 AND evicted IS NULL AND damaged_at IS NULL AND unlisted_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM job WHERE job.asset = file.asset)
             AND NOT (kind = 0 AND EXISTS (SELECT 1 FROM file AS made WHERE made.asset = file.asset AND made.authored = 1)) AND (0",
        );
        for lender in lenders {
            query.push(
                " OR asset IN (SELECT id FROM record WHERE module = 'asset' AND deleted = 0 AND origin = ",
            );
            query.push_bind(&lender.peer).push(")");
            if !lender.states_sha256 {
                query.push(" AND kind = 0 AND md5 IS NOT NULL");
            }
        }
        query.push(") AND used_at < ").push_bind(before.as_millis());
        query
            .push(" ORDER BY used_at, size DESC LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("look for files that may go"))?;
        rows.iter().map(file_row).collect()
    }

    /// Files whose bytes were about to go when somebody stopped.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn going(&self, limit: usize) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM file WHERE evicted = 1 LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read files that are about to go"))?;
        rows.iter().map(file_row).collect()
    }

    /// Up to `limit` files of living assets of a peer that went to make room, in order of kind, path and asset, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn evicted_of(
        &self,
        peer: &str,
        after: Option<&MediaFile>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query.push(COLUMNS).push(
            " FROM file WHERE evicted IS NOT NULL AND damaged_at IS NULL AND asset IN
             (SELECT id FROM record WHERE module = 'asset' AND deleted = 0 AND origin = ",
        );
        query.push_bind(peer).push(")");
        if let Some(after) = after {
            query.push(" AND (kind, path, asset) > (");
            query.push_bind(number(after.kind)).push(", ");
            query.push_bind(after.path.as_str()).push(", ");
            query.push_bind(after.asset.as_str()).push(")");
        }
        query
            .push(" ORDER BY kind, path, asset LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read files that went"))?;
        rows.iter().map(file_row).collect()
    }

    /// How many files went to make room, and their bytes.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn evicted(&self) -> Result<(u64, u64), Error> {
        let (files, bytes): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(TOTAL(size) AS INTEGER) FROM file WHERE evicted IS NOT NULL",
        )
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count files that went"))?;
        Ok((unsigned(files), unsigned(bytes)))
    }
}

impl Batch {
    /// Notes that the bytes of a file are about to go; `false` when its row has changed since it was read.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn let_go(&mut self, row: &FileRow) -> Result<bool, Error> {
        let file = &row.file;
        let done = sqlx::query(
            "UPDATE file SET evicted = $1 WHERE kind = $2 AND path = $3 AND asset = $4 AND place = $5 AND sha256 = $6
             AND received_at = $7 AND evicted IS NULL AND damaged_at IS NULL AND unlisted_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM job WHERE job.asset = file.asset)",
        )
        .bind(GOING)
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(file.place().as_str())
        .bind(&file.sha256.as_bytes()[..])
        .bind(row.received_at.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("let a file go"))?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that the bytes of a file are gone. `is_certain` says that nothing lies at its place: then that holds, too, where somebody
    /// took the bytes for his own meanwhile.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn is_gone(&mut self, file: &MediaFile, is_certain: bool) -> Result<(), Error> {
        sqlx::query(
            "UPDATE file SET evicted = $1 WHERE kind = $2 AND path = $3 AND asset = $4 AND place = $5 AND sha256 = $6
             AND (evicted = $7 OR $8 AND damaged_at IS NULL)",
        )
        .bind(GONE)
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(file.place().as_str())
        .bind(&file.sha256.as_bytes()[..])
        .bind(GOING)
        .bind(is_certain)
        .execute(&mut *self.tx)
        .await
        .map_err(during("note that a file is gone"))?;
        sqlx::query("DELETE FROM last_read WHERE kind = $1 AND path = $2 AND asset = $3")
            .bind(number(file.kind))
            .bind(file.path.as_str())
            .bind(file.asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget when a file was read"))?;
        Ok(())
    }

    /// Notes that a file which went is here again as it was, and was wanted just now; `false` for any other. Nothing that anybody lists
    /// or compares has changed by that.
    pub(super) async fn came_back(
        &mut self,
        file: &MediaFile,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE file SET evicted = NULL WHERE kind = $1 AND path = $2 AND asset = $3 AND place = $4 AND size = $5
             AND modified = $6 AND sha256 = $7 AND md5 IS $8 AND authored = $9 AND fingerprint IS $10
             AND evicted IS NOT NULL AND damaged_at IS NULL AND unlisted_at IS NULL",
        )
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(file.place().as_str())
        .bind(signed(file.size))
        .bind(file.modified.as_millis())
        .bind(&file.sha256.as_bytes()[..])
        .bind(file.md5.as_ref().map(|md5| &md5.as_bytes()[..]))
        .bind(i64::from(file.authored))
        .bind(made_of(file))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note that a file came back"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let read = Read {
            kind: file.kind,
            path: file.path.clone(),
            asset: file.asset.clone(),
        };
        self.note_reads(&[(read, now)]).await?;
        Ok(true)
    }

    /// Notes when files were read last.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_reads(&mut self, reads: &[(Read, Timestamp)]) -> Result<(), Error> {
        for chunk in reads.chunks(super::dialect::ROWS_A_STATEMENT) {
            let mut query =
                QueryBuilder::<Engine>::new("INSERT INTO last_read (kind, path, asset, at) ");
            query.push_values(chunk, |mut row, (read, at)| {
                row.push_bind(number(read.kind))
                    .push_bind(read.path.as_str())
                    .push_bind(read.asset.as_str())
                    .push_bind(at.as_millis());
            });
            query.push(
                " ON CONFLICT (kind, path, asset) DO UPDATE SET at = MAX(last_read.at, excluded.at)",
            );
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note what was read"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::conformance::empty;
    use super::*;
    use crate::model::{NodeId, RecordKey, RecordStatus, Sha256};
    use crate::protocol::record::stamped;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn file(path: &str, size: u64) -> MediaFile {
        MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: AssetId::new("a1").unwrap(),
            size,
            modified: NOW,
            sha256: Sha256::of(path.as_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    fn lender(states_sha256: bool) -> [Lender; 1] {
        [Lender {
            peer: "master".to_owned(),
            states_sha256,
        }]
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    async fn paths(catalogue: &Catalogue, lenders: &[Lender], before: Timestamp) -> Vec<String> {
        let rows = catalogue.least_read(lenders, before, 10).await.unwrap();
        rows.iter().map(|row| row.file.path.to_string()).collect()
    }

    #[tokio::test]
    async fn what_went_first_is_what_was_not_read_and_what_comes_back_is_no_change() {
        let (_dir, catalogue) = empty().await;
        let node = NodeId::new("m").unwrap();
        let status = RecordStatus::saved_by_master(&node, None, NOW, false);
        let key = RecordKey::new("asset", "a1").unwrap();
        let record = stamped(serde_json::Map::new(), &key, &status);
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_records(&[&record], "master", NOW).await.unwrap();
        for (path, size) in [("a", 3), ("b", 5), ("c", 7)] {
            batch.put_file(&file(path, size), NOW).await.unwrap();
        }
        let read = Read {
            kind: FileKind::Original,
            path: MediaPath::new("c").unwrap(),
            asset: AssetId::new("a1").unwrap(),
        };
        batch.note_reads(&[(read, later(9))]).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.lent_bytes(&lender(true)).await.unwrap(), 15);
        let before = later(60);
        assert_eq!(
            paths(&catalogue, &lender(true), before).await,
            ["b", "a", "c"]
        );
        assert_eq!(paths(&catalogue, &lender(true), later(9)).await, ["b", "a"]);
        assert!(paths(&catalogue, &lender(false), before).await.is_empty());

        let rows = catalogue
            .least_read(&lender(true), before, 1)
            .await
            .unwrap();
        let mut batch = catalogue.batch().await.unwrap();
        assert!(batch.let_go(&rows[0]).await.unwrap());
        assert!(
            !batch.let_go(&rows[0]).await.unwrap(),
            "it is going already"
        );
        batch.commit().await.unwrap();
        assert_eq!(catalogue.going(10).await.unwrap().len(), 1);
        let mut batch = catalogue.batch().await.unwrap();
        batch.is_gone(&rows[0].file, true).await.unwrap();
        batch.commit().await.unwrap();
        assert!(catalogue.going(10).await.unwrap().is_empty());
        assert_eq!(catalogue.evicted().await.unwrap(), (1, 5));
        assert_eq!(paths(&catalogue, &lender(true), before).await, ["a", "c"]);

        let (changed, listed) = (
            catalogue.last_change().await.unwrap(),
            catalogue.record(&key).await.unwrap().unwrap().received_at,
        );
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_file(&rows[0].file, later(20)).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.last_change().await.unwrap(), changed);
        let stored = catalogue.record(&key).await.unwrap().unwrap();
        assert_eq!(stored.received_at, listed, "it is not listed anew");
        assert_eq!(
            paths(&catalogue, &lender(true), before).await,
            ["a", "c", "b"]
        );
        // Another content under the name is a change like any other.
        let mut batch = catalogue.batch().await.unwrap();
        let rows = catalogue
            .least_read(&lender(true), before, 1)
            .await
            .unwrap();
        assert!(batch.let_go(&rows[0]).await.unwrap());
        let newer = MediaFile {
            sha256: Sha256::of(b"newer"),
            ..rows[0].file.clone()
        };
        batch.put_file(&newer, later(30)).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.last_change().await.unwrap(), Some(later(30)));
        assert_eq!(catalogue.evicted().await.unwrap(), (0, 0));
    }
}
