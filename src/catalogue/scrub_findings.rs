//! Files that did not read as their rows say: suspected, judged, put away.
//!
//! ```text
//! suspected   with the cursor that moves behind it, so that a kill forgets no suspicion
//! judged      the row says damaged, and why; its copy is on its way into the trash
//! put away    the copy is in the trash, and a row says what it was
//! ```
//!
//! The finding goes when the file is here again, or is forgotten, whoever does it: by triggers of the schema.

use sqlx::Row as _;

use super::dialect::Row;
use super::files::{asset_id, kind, media_path, number};
use super::{Batch, Catalogue, Error, Reason, during, signed, unsigned};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Sha256, Timestamp};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// Other bytes, and the size and date of before.
    Rotten,
    /// It lost its end.
    Truncated,
    /// Another file is in its place.
    Replaced,
    /// It is gone.
    Missing,
    /// It is there and cannot be read.
    Unreadable,
}

impl Damage {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Rotten, "rotten"),
        (Self::Truncated, "truncated"),
        (Self::Replaced, "replaced"),
        (Self::Missing, "missing"),
        (Self::Unreadable, "unreadable"),
    ];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(cause, _)| *cause == self);
        known.map_or("", |(_, name)| name)
    }

    fn of(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(cause, _)| *cause).ok_or_else(|| Error::Row {
            what: "cause of a finding",
            value: text.to_owned(),
        })
    }

    /// Why its copy is in the trash.
    fn reason(self) -> Reason {
        match self {
            Self::Rotten => Reason::Rotten,
            Self::Truncated => Reason::Truncated,
            Self::Replaced | Self::Missing => Reason::Foreign,
            Self::Unreadable => Reason::Unreadable,
        }
    }
}

/// How far a finding has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It did not read as its row says.
    Suspected,
    /// That is so, and it is known why.
    Judged,
    /// Its copy is in the trash, if there was one.
    PutAway,
}

impl Stage {
    fn number(self) -> i64 {
        match self {
            Self::Suspected => 0,
            Self::Judged => 1,
            Self::PutAway => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Suspected,
            1 => Self::Judged,
            _ => Self::PutAway,
        }
    }
}

/// A copy as it was found on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its bytes.
    pub size: u64,
    /// Its date.
    pub modified: Timestamp,
    /// Its digest; `None` when it cannot be read.
    pub sha256: Option<Sha256>,
}

/// A file that is not as its row says, or may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which tree.
    pub kind: FileKind,
    /// Its name.
    pub path: MediaPath,
    /// Whose it is.
    pub asset: AssetId,
    /// How far it has come.
    pub stage: Stage,
    /// When it was suspected, or judged.
    pub found_at: Timestamp,
    /// What happened to it, once that is known.
    pub cause: Option<Damage>,
    /// What was found in its place.
    pub found: Option<Found>,
}

const COLUMNS: &str = "kind, path, asset, stage, found_at, cause, size, modified, sha256";

impl Catalogue {
    /// Up to `limit` findings of a stage, in order and beginning after one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scrub_findings(
        &self,
        stage: Stage,
        after: Option<&Finding>,
        limit: usize,
    ) -> Result<Vec<Finding>, Error> {
        let (kind, path, asset) = after.map_or((-1, "", ""), |last| {
            (number(last.kind), last.path.as_str(), last.asset.as_str())
        });
        let query = format!(
            "SELECT {COLUMNS} FROM scrub_finding WHERE stage = $1 AND (kind, path, asset) > ($2, $3, $4)
             ORDER BY kind, path, asset LIMIT $5"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(stage.number())
            .bind(kind)
            .bind(path)
            .bind(asset)
            .bind(signed(limit as u64))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read findings of the scrub"))?;
        rows.iter().map(finding).collect()
    }

    /// The findings about files of an asset.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scrub_findings_of(&self, asset: &str) -> Result<Vec<Finding>, Error> {
        let query =
            format!("SELECT {COLUMNS} FROM scrub_finding WHERE asset = $1 ORDER BY kind, path");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(asset)
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read findings about an asset"))?;
        rows.iter().map(finding).collect()
    }

    /// How many findings there are: suspected, and judged.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_scrub_findings(&self) -> Result<(u64, u64), Error> {
        let (suspected, judged): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*) FILTER (WHERE stage = 0), COUNT(*) FILTER (WHERE stage > 0) FROM scrub_finding",
        )
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count findings of the scrub"))?;
        Ok((unsigned(suspected), unsigned(judged)))
    }
}

impl Batch {
    /// Notes that a file did not read as its row says.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn suspect(&mut self, file: &MediaFile, now: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO scrub_finding (kind, path, asset, stage, found_at) VALUES ($1, $2, $3, 0, $4)
             ON CONFLICT (kind, path, asset) DO NOTHING",
        )
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("note a suspicion"))?;
        Ok(())
    }

    /// Takes a suspicion back, since the file is as its row says now; `changed` where that is because somebody replaced it.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn acquit(&mut self, finding: &Finding, changed: bool) -> Result<(), Error> {
        sqlx::query("DELETE FROM scrub_finding WHERE kind = $1 AND path = $2 AND asset = $3")
            .bind(number(finding.kind))
            .bind(finding.path.as_str())
            .bind(finding.asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("take a suspicion back"))?;
        sqlx::query("UPDATE scrub_round SET changed = changed + $1 WHERE id = 1")
            .bind(i64::from(changed))
            .execute(&mut *self.tx)
            .await
            .map_err(during("count a suspicion that was none"))?;
        Ok(())
    }

    /// Notes that a suspected file is not as its row says, and why: from now on the row says damaged.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn judge(
        &mut self,
        file: &MediaFile,
        cause: Damage,
        found: Option<Found>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.note_damage(file, Some(now)).await?;
        sqlx::query(
            "UPDATE scrub_finding SET stage = 1, found_at = $1, cause = $2, size = $3, modified = $4, sha256 = $5
             WHERE kind = $6 AND path = $7 AND asset = $8",
        )
        .bind(now.as_millis())
        .bind(cause.name())
        .bind(found.map(|found| signed(found.size)))
        .bind(found.map(|found| found.modified.as_millis()))
        .bind(found.and_then(|found| found.sha256.map(|sha256| sha256.as_bytes().to_vec())))
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(during("judge a finding"))?;
        let count = format!(
            "UPDATE scrub_round SET {0} = {0} + 1 WHERE id = 1",
            cause.name()
        );
        sqlx::query(sqlx::AssertSqlSafe(count))
            .execute(&mut *self.tx)
            .await
            .map_err(during("count a finding"))?;
        Ok(())
    }

    /// Notes that the copy of a judged file is in the trash, with what it was; `was_moved` where there was one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_away(
        &mut self,
        file: &MediaFile,
        finding: &Finding,
        was_moved: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        if let (true, Some(found), Some(cause)) = (was_moved, finding.found, finding.cause) {
            let copy = MediaFile {
                size: found.size,
                modified: found.modified,
                // What cannot be read has no digest, and never comes back by one.
                sha256: found.sha256.unwrap_or(Sha256::from_bytes([0; 32])),
                ..file.clone()
            };
            self.keep_found(&copy, cause.reason(), now).await?;
        }
        sqlx::query(
            "UPDATE scrub_finding SET stage = 2 WHERE kind = $1 AND path = $2 AND asset = $3",
        )
        .bind(number(finding.kind))
        .bind(finding.path.as_str())
        .bind(finding.asset.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(during("note that a copy was put away"))?;
        Ok(())
    }
}

fn finding(row: &Row) -> Result<Finding, Error> {
    read(row).map_err(during("read a finding's columns"))?
}

fn read(row: &Row) -> sqlx::Result<Result<Finding, Error>> {
    let (path, asset): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let cause: Option<String> = row.try_get(5)?;
    let (size, modified): (Option<i64>, Option<i64>) = (row.try_get(6)?, row.try_get(7)?);
    let sha256: Option<Vec<u8>> = row.try_get(8)?;
    let sha256 = sha256.and_then(|bytes| bytes.try_into().ok());
    let (kind_number, stage, found_at) = (row.try_get(0)?, row.try_get(3)?, row.try_get(4)?);
    Ok((|| {
        Ok(Finding {
            kind: kind(kind_number),
            path: media_path(path)?,
            asset: asset_id(asset)?,
            stage: Stage::of(stage),
            found_at: Timestamp::from_millis(found_at),
            cause: cause.as_deref().map(Damage::of).transpose()?,
            found: size.zip(modified).map(|(size, modified)| Found {
                size: unsigned(size),
                modified: Timestamp::from_millis(modified),
                sha256: sha256.map(Sha256::from_bytes),
            }),
        })
    })())
}
