//! How far the scrub has come: a cursor in each of the slices that all files are cut into, and the round they belong to.
//!
//! A slice is the files whose SHA-256 begins with one byte, so that the 256 of them are of one size, whatever folders there are,
//! and a file stays in its slice as long as its content does. Within a slice the order is that of digest, kind, path and asset.

use sqlx::{QueryBuilder, Row as _};

use super::dialect::{Engine, Row};
use super::files::{COLUMNS, file_row, number};
use super::{Batch, Catalogue, Error, FileRow, during, signed, unsigned};
use crate::model::{Sha256, Timestamp};

/// A slice of all files, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The first byte of the digests in it.
    pub number: u8,
    /// Every file in it was read since then, or is younger.
    pub verified_at: Timestamp,
    /// When the pass under way began.
    pub begun_at: Option<Timestamp>,
    /// The last file that it read.
    pub after: Option<SliceKey>,
}

/// What the files of a slice are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceKey {
    sha256: Vec<u8>,
    kind: i64,
    path: String,
    asset: String,
}

impl SliceKey {
    /// That of a file.
    #[must_use]
    pub fn of(row: &FileRow) -> Self {
        let file = &row.file;
        Self {
            sha256: file.sha256.as_bytes().to_vec(),
            kind: number(file.kind),
            path: file.path.to_string(),
            asset: file.asset.to_string(),
        }
    }
}

/// What is in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SliceSum {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them got here.
    pub oldest: Option<Timestamp>,
}

/// One round over all that was due when it began, and what came of it until now, over all of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ScrubRound {
    /// When it began.
    #[serde(serialize_with = "as_text")]
    pub begun_at: Timestamp,
    /// What was verified before this was due.
    #[serde(skip)]
    pub target: Timestamp,
    /// When everything of it was read.
    #[serde(serialize_with = "as_text_or_none")]
    pub ended_at: Option<Timestamp>,
    /// Files that were read to their ends.
    pub files: u64,
    /// Bytes that were read, of those.
    pub bytes: u64,
    /// Files that were replaced while they were looked at, by whoever may.
    pub changed: u64,
    /// Files with other bytes, and the size and date of before.
    pub rotten: u64,
    /// Files that are shorter.
    pub truncated: u64,
    /// Files that are another file.
    pub replaced: u64,
    /// Files that are gone.
    pub missing: u64,
    /// Files that cannot be read.
    pub unreadable: u64,
    /// Of all those, files that are here again.
    pub healed: u64,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

fn as_text_or_none<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.collect_str(at),
        None => to.serialize_none(),
    }
}

impl ScrubRound {
    /// Whether it is about everything that there was when it began.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        self.target == self.begun_at
    }

    /// Files that were found not to be as they should.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.rotten + self.truncated + self.replaced + self.missing + self.unreadable
    }
}

const ROUND: &str = "SELECT begun_at, target, ended_at, files, bytes, changed, rotten, truncated, replaced, missing, unreadable, healed
     FROM scrub_round WHERE id = 1";

impl Catalogue {
    /// Every slice, that which was verified longest ago first.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn scrub_slices(&self) -> Result<Vec<Slice>, Error> {
        let rows = sqlx::query(
            "SELECT slice, verified_at, begun_at, after_sha256, after_kind, after_path, after_asset
             FROM scrub_slice ORDER BY verified_at, slice",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read the slices of the scrub"))?;
        rows.iter()
            .map(|row| slice(row).map_err(during("read a slice's columns")))
            .collect()
    }

    /// Since when every file here was read or published; `None` where there is no file.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn oldest_verified(&self) -> Result<Option<Timestamp>, Error> {
        // Slices without files say nothing; mostly the first has some.
        for slice in self.scrub_slices().await? {
            let mut query = QueryBuilder::<Engine>::new("SELECT EXISTS (SELECT 1 FROM file WHERE ");
            within(&mut query, slice.number, None);
            query.push(")");
            let has_files: bool = query
                .build_query_scalar()
                .fetch_one(&self.db.readers)
                .await
                .map_err(during("look what was verified longest ago"))?;
            if has_files {
                return Ok(Some(slice.verified_at));
            }
        }
        Ok(None)
    }

    /// What is in a slice, behind `after`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn slice_sum(&self, slice: u8, after: Option<&SliceKey>) -> Result<SliceSum, Error> {
        let mut query = QueryBuilder::<Engine>::new(
            "SELECT COUNT(*), CAST(TOTAL(size) AS INTEGER), MIN(received_at) FROM file WHERE ",
        );
        within(&mut query, slice, after);
        let (files, bytes, oldest): (i64, i64, Option<i64>) = query
            .build_query_as()
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("sum a slice"))?;
        Ok(SliceSum {
            files: unsigned(files),
            bytes: unsigned(bytes),
            oldest: oldest.map(Timestamp::from_millis),
        })
    }

    /// Up to `limit` files of a slice in their order, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn slice_files(
        &self,
        slice: u8,
        after: Option<&SliceKey>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query.push(COLUMNS).push(" FROM file WHERE ");
        within(&mut query, slice, after);
        query
            .push(" ORDER BY sha256, kind, path, asset LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read the files of a slice"))?;
        rows.iter().map(file_row).collect()
    }

    /// The round that was begun last.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn scrub_round(&self) -> Result<Option<ScrubRound>, Error> {
        let row = sqlx::query(ROUND)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("read how the scrub stands"))?;
        row.map(|row| round(&row).map_err(during("read a round's columns")))
            .transpose()
    }

    /// Whether some row, of a sound file or not, is of this content.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn knows_content(&self, content: &Sha256) -> Result<bool, Error> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM file WHERE sha256 = $1 LIMIT 1")
            .bind(&content.as_bytes()[..])
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("look for a content"))?;
        Ok(found.is_some())
    }
}

impl Batch {
    /// Begins a round; what is known of an earlier one is forgotten.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_round(&mut self, now: Timestamp, target: Timestamp) -> Result<(), Error> {
        sqlx::query("DELETE FROM scrub_round")
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget a round"))?;
        sqlx::query("INSERT INTO scrub_round (id, begun_at, target) VALUES (1, $1, $2)")
            .bind(now.as_millis())
            .bind(target.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("begin a round"))?;
        Ok(())
    }

    /// Notes that everything of the round was read.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_round(&mut self, now: Timestamp) -> Result<(), Error> {
        sqlx::query("UPDATE scrub_round SET ended_at = $1 WHERE id = 1 AND ended_at IS NULL")
            .bind(now.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a round"))?;
        Ok(())
    }

    /// Begins a pass over a slice.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_slice(&mut self, slice: u8, now: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "UPDATE scrub_slice SET begun_at = $1, after_sha256 = NULL, after_kind = NULL, after_path = NULL, after_asset = NULL
             WHERE slice = $2",
        )
        .bind(now.as_millis())
        .bind(i64::from(slice))
        .execute(&mut *self.tx)
        .await
        .map_err(during("begin a slice"))?;
        Ok(())
    }

    /// Moves the cursor of a slice behind a file, of which and of those before so many were read, with so many bytes.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn advance_slice(
        &mut self,
        slice: u8,
        key: &SliceKey,
        (files, bytes): (u64, u64),
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE scrub_slice SET after_sha256 = $1, after_kind = $2, after_path = $3, after_asset = $4 WHERE slice = $5",
        )
        .bind(&key.sha256[..])
        .bind(key.kind)
        .bind(&key.path)
        .bind(&key.asset)
        .bind(i64::from(slice))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note how far the scrub has come"))?;
        sqlx::query("UPDATE scrub_round SET files = files + $1, bytes = bytes + $2 WHERE id = 1")
            .bind(signed(files))
            .bind(signed(bytes))
            .execute(&mut *self.tx)
            .await
            .map_err(during("count what was read"))?;
        Ok(())
    }

    /// Ends the pass over a slice: every file in it was read since `verified_at`, or is younger.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_slice(&mut self, slice: u8, verified_at: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "UPDATE scrub_slice SET verified_at = $1, begun_at = NULL, after_sha256 = NULL, after_kind = NULL, after_path = NULL,
             after_asset = NULL WHERE slice = $2",
        )
        .bind(verified_at.as_millis())
        .bind(i64::from(slice))
        .execute(&mut *self.tx)
        .await
        .map_err(during("end a slice"))?;
        Ok(())
    }
}

/// The condition that a file is in a slice, behind a key of it.
fn within(query: &mut QueryBuilder<Engine>, slice: u8, after: Option<&SliceKey>) {
    // What went to make room is read again when somebody wants it.
    query
        .push("evicted IS NULL AND sha256 >= ")
        .push_bind(vec![slice]);
    if let Some(next) = slice.checked_add(1) {
        query.push(" AND sha256 < ").push_bind(vec![next]);
    }
    if let Some(key) = after {
        query
            .push(" AND (sha256, kind, path, asset) > (")
            .push_bind(&key.sha256[..])
            .push(", ")
            .push_bind(key.kind)
            .push(", ")
            .push_bind(&key.path)
            .push(", ")
            .push_bind(&key.asset)
            .push(")");
    }
}

fn slice(row: &Row) -> sqlx::Result<Slice> {
    let number: i64 = row.try_get(0)?;
    let sha256: Option<Vec<u8>> = row.try_get(3)?;
    let after = match sha256 {
        Some(sha256) => Some(SliceKey {
            sha256,
            kind: row.try_get(4)?,
            path: row.try_get(5)?,
            asset: row.try_get(6)?,
        }),
        None => None,
    };
    Ok(Slice {
        number: u8::try_from(number).unwrap_or(u8::MAX),
        verified_at: Timestamp::from_millis(row.try_get(1)?),
        begun_at: row
            .try_get::<Option<i64>, _>(2)?
            .map(Timestamp::from_millis),
        after,
    })
}

fn round(row: &Row) -> sqlx::Result<ScrubRound> {
    let count = |at: usize| row.try_get::<i64, _>(at).map(unsigned);
    Ok(ScrubRound {
        begun_at: Timestamp::from_millis(row.try_get(0)?),
        target: Timestamp::from_millis(row.try_get(1)?),
        ended_at: row
            .try_get::<Option<i64>, _>(2)?
            .map(Timestamp::from_millis),
        files: count(3)?,
        bytes: count(4)?,
        changed: count(5)?,
        rotten: count(6)?,
        truncated: count(7)?,
        replaced: count(8)?,
        missing: count(9)?,
        unreadable: count(10)?,
        healed: count(11)?,
    })
}
