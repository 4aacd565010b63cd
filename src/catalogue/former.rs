//! What files that went away were: written with the very row that goes, so that a file in the trash has a name, an owner and
//! a digest.
//!
//! A row goes when its bytes do: with the trash that is emptied, or past the retention. Renditions that are replaced leave
//! none, since the trash does not keep them.

use sqlx::{QueryBuilder, Row as _};

use super::dialect::{Engine, ROWS_A_STATEMENT, Row};
use super::files::{media_file, number};
use super::{Batch, Catalogue, Error, during, signed};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Module, RecordKey, Sha256, Timestamp};
use crate::protocol;

/// Why a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its asset was deleted by the node that owns it.
    Deleted,
    /// Its asset was deleted on this node.
    DeletedHere,
    /// Another content took its place.
    Replaced,
    /// Its record names another place.
    Moved,
    /// Its record is alive, and nobody lists it any more.
    Unlisted,
    /// Its bytes were others than its row says, with the size and the date of before.
    Rotten,
    /// It was shorter than its row says.
    Truncated,
    /// It was another file than its row says.
    Foreign,
    /// It could not be read.
    Unreadable,
}

impl Reason {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Deleted, "deleted"),
        (Self::DeletedHere, "deleted here"),
        (Self::Replaced, "replaced"),
        (Self::Moved, "moved"),
        (Self::Unlisted, "unlisted"),
        (Self::Rotten, "rotten"),
        (Self::Truncated, "truncated"),
        (Self::Foreign, "foreign"),
        (Self::Unreadable, "unreadable"),
    ];

    fn text(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("", |(_, text)| text)
    }

    fn of(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(_, known)| *known == text);
        known.map(|(reason, _)| *reason).ok_or_else(|| Error::Row {
            what: "reason why a file went",
            value: text.to_owned(),
        })
    }
}

/// A file that this node had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// Its row here.
    pub id: i64,
    /// What its file row said, its place on disk included.
    pub file: MediaFile,
    /// When its row went.
    pub gone_at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What [`media_file`] reads comes first.
const COLUMNS: &str =
    "kind, path, asset, size, modified, sha256, md5, authored, place, id, gone_at, reason";

impl Catalogue {
    /// What a trashed file may have been: rows with its place and size, those that went nearest to `when` first; at most
    /// `limit`. Its digest proves which.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn former_at(
        &self,
        (file_kind, place): (FileKind, &MediaPath),
        size: u64,
        when: Timestamp,
        limit: usize,
    ) -> Result<Vec<Former>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM former_file WHERE kind = ")
            .push_bind(number(file_kind))
            .push(" AND place = ")
            .push_bind(place.as_str())
            .push(" AND size = ")
            .push_bind(signed(size));
        query
            .push(" ORDER BY ABS(gone_at - ")
            .push_bind(when.as_millis())
            .push("), id LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read what a trashed file was"))?;
        rows.iter().map(former).collect()
    }

    /// Up to `limit` former files of an asset in the order they went, beginning after row `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn former_of(
        &self,
        asset: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Former>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM former_file WHERE asset = ")
            .push_bind(asset)
            .push(" AND id > ")
            .push_bind(after)
            .push(" ORDER BY id LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read the former files of an asset"))?;
        rows.iter().map(former).collect()
    }

    /// The assets that a former file under this name belonged to, the last first.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn former_owner(&self, path: &MediaPath) -> Result<Option<String>, Error> {
        sqlx::query_scalar(
            "SELECT asset FROM former_file WHERE kind IN (0, 1) AND place = $1 ORDER BY id DESC LIMIT 1",
        )
        .bind(path.as_str())
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("find who a former file belonged to"))
    }
}

impl Batch {
    /// Forgets what files were whose bytes are gone or are back.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_former(&mut self, ids: &[i64]) -> Result<(), Error> {
        for chunk in ids.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("DELETE FROM former_file WHERE id IN (");
            let mut list = query.separated(", ");
            for id in chunk {
                list.push_bind(*id);
            }
            query.push(")");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("forget former files"))?;
        }
        Ok(())
    }

    /// Keeps what a file was that was put away as it was found, which is not what its row says.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub(super) async fn keep_found(
        &mut self,
        found: &MediaFile,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO former_file (kind, path, place, asset, size, modified, sha256, md5, authored, gone_at, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, $9, $10)",
        )
        .bind(number(found.kind))
        .bind(found.path.as_str())
        .bind(found.place().as_str())
        .bind(found.asset.as_str())
        .bind(signed(found.size))
        .bind(found.modified.as_millis())
        .bind(&found.sha256.as_bytes()[..])
        .bind(i64::from(found.authored))
        .bind(now.as_millis())
        .bind(reason.text())
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep what a damaged file was"))?;
        Ok(())
    }

    /// Forgets what files were that went before `time`; answers how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_former_before(&mut self, time: Timestamp) -> Result<u64, Error> {
        let done = sqlx::query("DELETE FROM former_file WHERE gone_at < $1")
            .bind(time.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget old former files"))?;
        Ok(done.rows_affected())
    }

    /// Keeps what stands under an original's name, if that is another content than the one about to be noted there.
    pub(super) async fn keep_replaced(
        &mut self,
        file: &MediaFile,
        now: Timestamp,
    ) -> Result<(), Error> {
        if file.kind != FileKind::Original {
            return Ok(());
        }
        self.keep_former(
            (file.kind, " AND place = ", file.place()),
            (None, " AND sha256 <> ", &file.sha256),
            Reason::Replaced,
            now,
        )
        .await
    }

    /// Keeps what a row says that is about to be forgotten.
    pub(super) async fn keep_forgotten(
        &mut self,
        (file_kind, path): (FileKind, &MediaPath),
        asset: &AssetId,
        content: &Sha256,
        now: Timestamp,
    ) -> Result<(), Error> {
        let reason = self.reason(file_kind, path, asset).await?;
        self.keep_former(
            (file_kind, " AND path = ", path),
            (Some(asset), " AND sha256 = ", content),
            reason,
            now,
        )
        .await
    }

    async fn keep_former(
        &mut self,
        (file_kind, named, path): (FileKind, &str, &MediaPath),
        (asset, compared, content): (Option<&AssetId>, &str, &Sha256),
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut query = QueryBuilder::<Engine>::new(
            "INSERT INTO former_file (kind, path, place, asset, size, modified, sha256, md5, authored, gone_at, reason)
             SELECT kind, path, place, asset, size, modified, sha256, md5, authored, ",
        );
        query
            .push_bind(now.as_millis())
            .push(", ")
            .push_bind(reason.text())
            .push(" FROM file WHERE kind = ")
            .push_bind(number(file_kind))
            .push(named)
            .push_bind(path.as_str())
            .push(compared)
            .push_bind(&content.as_bytes()[..]);
        if let Some(asset) = asset {
            query.push(" AND asset = ").push_bind(asset.as_str());
        }
        query
            .build()
            .execute(&mut *self.tx)
            .await
            .map_err(during("keep what a file was"))?;
        Ok(())
    }

    /// Why a file of an asset goes, as its record in this transaction has it.
    async fn reason(
        &mut self,
        file_kind: FileKind,
        path: &MediaPath,
        asset: &AssetId,
    ) -> Result<Reason, Error> {
        let Ok(key) = RecordKey::new(Module::ASSET, asset.as_str()) else {
            return Ok(Reason::Unlisted);
        };
        let stored = self.stored(std::slice::from_ref(&key)).await?.remove(&key);
        let Some(stored) = stored else {
            return Ok(Reason::Deleted);
        };
        if stored.record.is_deleted() {
            return Ok(match stored.origin.as_str() {
                "" => Reason::DeletedHere,
                _ => Reason::Deleted,
            });
        }
        let Ok(asset) = protocol::record::asset(&stored.record) else {
            return Ok(Reason::Unlisted);
        };
        let is_named = match file_kind {
            FileKind::Original => asset.names_original(path),
            FileKind::Generated => path.below(&asset.source_path).is_some(),
        };
        Ok(if is_named {
            Reason::Unlisted
        } else {
            Reason::Moved
        })
    }
}

fn former(row: &Row) -> Result<Former, Error> {
    read(row).map_err(during("read a former file's columns"))?
}

fn read(row: &Row) -> sqlx::Result<Result<Former, Error>> {
    let (id, gone_at, reason): (i64, i64, String) =
        (row.try_get(9)?, row.try_get(10)?, row.try_get(11)?);
    Ok(media_file(row)?.and_then(|file| {
        Ok(Former {
            id,
            file,
            gone_at: Timestamp::from_millis(gone_at),
            reason: Reason::of(&reason)?,
        })
    }))
}
