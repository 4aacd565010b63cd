//! Files this node has. A row is written after the bytes are durable and removed before they go.
//!
//! A row is found by the name of its file and the asset that owns it: two assets may each have a file of one name. No two
//! rows have one place on disk; where a new file goes is decided in `places`.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _};

use super::among::Among;
use super::dialect::{Engine, PACKED_FILES, ROWS_A_STATEMENT, Row, padded};
use super::places::folded;
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{AssetId, FileKind, Fingerprint, Md5, MediaFile, MediaPath, Sha256, Timestamp};

/// A file's row with what this node noted about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The file.
    pub file: MediaFile,
    /// When it got here.
    pub received_at: Timestamp,
    /// When a listing of its asset first lacked it, if the last one did.
    pub unlisted_at: Option<Timestamp>,
    /// When it was found not to be on disk as this says, if it was.
    pub damaged_at: Option<Timestamp>,
    /// Whether its bytes went to make room: nothing is wrong with it, and it is fetched again when somebody reads it.
    pub evicted: bool,
}

impl FileRow {
    /// Whether the disk is known not to have it as this says, although it should.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged_at.is_some()
    }

    /// Whether the disk should have it, and is not known to lack it: for whoever needs the bytes.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.damaged_at.is_none() && !self.evicted
    }

    /// Of all files of one name the one that is meant: the asked asset's own if it has one, else the one that lies under this very
    /// name, else the first that came with it. For whoever does not say which asset is meant, and for files that two records share.
    #[must_use]
    pub fn meant<'a>(of_one_name: &'a [Self], asset: Option<&AssetId>) -> Option<&'a Self> {
        of_one_name.iter().min_by_key(|row| {
            let is_other = Some(&row.file.asset) != asset;
            (is_other, row.file.place.is_some(), row.received_at)
        })
    }

    /// What rows are paged by: the name, and whose file it is.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.file.path.to_string(), self.file.asset.to_string())
    }
}

/// A [key](FileRow::key), borrowed.
#[must_use]
pub fn by_ref((path, asset): &(String, String)) -> (&str, &str) {
    (path, asset)
}

/// What [`media_file`] reads comes first.
pub(super) const COLUMNS: &str = "kind, path, asset, size, modified, sha256, md5, authored, place, received_at, unlisted_at, damaged_at, fingerprint, evicted";

/// What a file is found by, beside its kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    Path,
    Fold,
}

impl By {
    const fn column(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Fold => "fold",
        }
    }
}

impl Catalogue {
    /// The file of this name that the asset owns.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn file(
        &self,
        kind: FileKind,
        path: &MediaPath,
        asset: &AssetId,
    ) -> Result<Option<FileRow>, Error> {
        let rows = self.files_at(kind, &[path.as_str()]).await?;
        Ok(rows.into_iter().find(|row| row.file.asset == *asset))
    }

    /// All files of these assets, in order of asset, kind and path.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_of<'a>(&self, assets: impl Into<Among<'a>>) -> Result<Vec<FileRow>, Error> {
        let mut found = Vec::new();
        for part in assets.into().parts() {
            // In one row, since each that is handed over by itself costs more than it holds.
            let mut query = QueryBuilder::<Engine>::new(PACKED_FILES);
            query.push(" FROM file");
            part.narrow(&mut query);
            found.extend(self.packed_files(query, "read files of assets").await?);
        }
        found.sort_by(|one, other| in_order(&one.file).cmp(&in_order(&other.file)));
        Ok(found)
    }

    /// The files of these names and one kind, whoever owns them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_at(&self, kind: FileKind, paths: &[&str]) -> Result<Vec<FileRow>, Error> {
        self.files_by(By::Path, kind, paths).await
    }

    pub(super) async fn files_by(
        &self,
        by: By,
        kind: FileKind,
        texts: &[&str],
    ) -> Result<Vec<FileRow>, Error> {
        let mut found = Vec::new();
        for chunk in texts.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("SELECT ");
            query
                .push(COLUMNS)
                .push(" FROM file WHERE kind = ")
                .push_bind(number(kind))
                .push(" AND ")
                .push(by.column())
                .push(" IN (");
            let mut list = query.separated(", ");
            for text in padded(chunk) {
                list.push_bind(*text);
            }
            query.push(")");
            let rows = query
                .build()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read files by name"))?;
            for row in &rows {
                found.push(file_row(row)?);
            }
        }
        Ok(found)
    }

    /// Up to `limit` files of one kind in order of their paths and assets, beginning after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_after(
        &self,
        kind: FileKind,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new(PACKED_FILES);
        query
            .push(" FROM (SELECT * FROM file WHERE kind = ")
            .push_bind(number(kind));
        if let Some((path, asset)) = after {
            query.push(" AND (path, asset) > (").push_bind(path);
            query.push(", ").push_bind(asset).push(")");
        }
        query
            .push(" ORDER BY path, asset LIMIT ")
            .push_bind(signed(limit as u64))
            .push(")");
        let mut rows = self.packed_files(query, "read files in order").await?;
        // They come in order, but nobody promises that of what goes into an aggregate.
        rows.sort_by(|one, other| {
            let [one, other] = [one, other].map(|row| (&row.file.path, row.file.asset.as_str()));
            one.cmp(&other)
        });
        Ok(rows)
    }

    /// A few sound files with this content, whatever their names: candidates for a copy that needs no network.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn files_with(&self, content: &Sha256) -> Result<Vec<FileRow>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM file WHERE sha256 = ")
            .push_bind(&content.as_bytes()[..])
            .push(" AND damaged_at IS NULL AND evicted IS NULL LIMIT 4");
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("find files by content"))?;
        rows.iter().map(file_row).collect()
    }

    /// Which of these contents some sound file here has.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn contents_here(&self, contents: &[Sha256]) -> Result<HashSet<Sha256>, Error> {
        let mut found = HashSet::new();
        for chunk in contents.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT DISTINCT sha256 FROM file WHERE damaged_at IS NULL AND evicted IS NULL AND sha256 IN (",
            );
            let mut list = query.separated(", ");
            for content in chunk {
                list.push_bind(&content.as_bytes()[..]);
            }
            query.push(")");
            let rows: Vec<Vec<u8>> = query
                .build_query_scalar()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("look which contents are here"))?;
            let here: HashSet<Vec<u8>> = rows.into_iter().collect();
            found.extend(
                chunk
                    .iter()
                    .filter(|content| here.contains(&content.as_bytes()[..])),
            );
        }
        Ok(found)
    }
}

impl Batch {
    /// Notes a file that is durable at its place, instead of what lay there (kept in `former`), and makes its asset
    /// listed again.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_file(&mut self, file: &MediaFile, now: Timestamp) -> Result<(), Error> {
        if self.came_back(file, now).await? {
            return Ok(());
        }
        self.keep_replaced(file, now).await?;
        sqlx::query(
            "DELETE FROM file WHERE kind = $1 AND place = $2 AND NOT (path = $3 AND asset = $4)",
        )
        .bind(number(file.kind))
        .bind(file.place().as_str())
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(during("forget a replaced file"))?;
        sqlx::query(
            "INSERT INTO file (kind, path, asset, size, modified, sha256, md5, authored, received_at, unlisted_at, place, fold, fingerprint)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10, $11, $12)
             ON CONFLICT (kind, path, asset) DO UPDATE SET size = excluded.size, modified = excluded.modified,
             sha256 = excluded.sha256, md5 = excluded.md5, authored = excluded.authored, received_at = excluded.received_at,
             unlisted_at = NULL, damaged_at = NULL, evicted = NULL, place = excluded.place, fold = excluded.fold,
             fingerprint = excluded.fingerprint",
        )
        .bind(number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(signed(file.size))
        .bind(file.modified.as_millis())
        .bind(&file.sha256.as_bytes()[..])
        .bind(file.md5.as_ref().map(|md5| &md5.as_bytes()[..]))
        .bind(i64::from(file.authored))
        .bind(now.as_millis())
        .bind(file.place().as_str())
        .bind(folded(file.place().as_str()))
        .bind(made_of(file))
        .execute(&mut *self.tx)
        .await
        .map_err(during("store a file row"))?;
        self.relist(&[file.asset.as_str()], now).await?;
        if file.authored {
            self.relist_crops(&[file.asset.as_str()], now).await?;
        }
        self.touch(now);
        Ok(())
    }

    /// Forgets a file, before its bytes go, and keeps what it was; answers where they lie, if the row was there with this content and owner.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_file(
        &mut self,
        kind: FileKind,
        path: &MediaPath,
        asset: &AssetId,
        content: &Sha256,
        now: Timestamp,
    ) -> Result<Option<MediaPath>, Error> {
        self.keep_forgotten((kind, path), asset, content, now)
            .await?;
        let place: Option<String> = sqlx::query_scalar(
            "DELETE FROM file WHERE kind = $1 AND path = $2 AND asset = $3 AND sha256 = $4 RETURNING place",
        )
        .bind(number(kind))
        .bind(path.as_str())
        .bind(asset.as_str())
        .bind(&content.as_bytes()[..])
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("forget a file"))?;
        let Some(place) = place else {
            return Ok(None);
        };
        self.relist(&[asset.as_str()], now).await?;
        self.touch(now);
        media_path(place).map(Some)
    }

    /// Notes whether the last listing of its asset lacked a file.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn mark_unlisted(
        &mut self,
        kind: FileKind,
        path: &MediaPath,
        asset: &AssetId,
        at: Option<Timestamp>,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE file SET unlisted_at = $1 WHERE kind = $2 AND path = $3 AND asset = $4",
        )
        .bind(at.map(Timestamp::as_millis))
        .bind(number(kind))
        .bind(path.as_str())
        .bind(asset.as_str())
        .execute(&mut *self.tx)
        .await
        .map_err(during("mark a file as unlisted"))?;
        Ok(())
    }
}

/// What a file was made of, as it is stored.
pub(super) fn made_of(file: &MediaFile) -> Option<&[u8]> {
    file.fingerprint.as_ref().map(|made| &made.as_bytes()[..])
}

/// What files of several assets are ordered by.
pub(super) fn in_order(file: &MediaFile) -> (&str, i64, &str) {
    (file.asset.as_str(), number(file.kind), file.path.as_str())
}

/// The number a kind has in the file table.
pub(super) fn number(kind: FileKind) -> i64 {
    match kind {
        FileKind::Original => 0,
        FileKind::Generated => 1,
    }
}

/// The kind behind a number of the file table.
pub(super) fn kind(number: i64) -> FileKind {
    if number == 0 {
        FileKind::Original
    } else {
        FileKind::Generated
    }
}

pub(super) fn media_path(text: String) -> Result<MediaPath, Error> {
    MediaPath::new(text).map_err(|error| Error::Row {
        what: "path",
        value: error.path,
    })
}

/// The id of an asset as a row holds it.
pub(super) fn asset_id(text: String) -> Result<AssetId, Error> {
    AssetId::new(text).map_err(|error| Error::Row {
        what: "asset id",
        value: error.to_string(),
    })
}

pub(super) fn md5(bytes: Option<Vec<u8>>) -> Option<Md5> {
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(Md5::from_bytes)
}

pub(super) fn file_row(row: &Row) -> Result<FileRow, Error> {
    read(row).map_err(during("read a file's columns"))?
}

fn read(row: &Row) -> sqlx::Result<Result<FileRow, Error>> {
    let time = |at: usize| -> sqlx::Result<Option<Timestamp>> {
        Ok(row
            .try_get::<Option<i64>, _>(at)?
            .map(Timestamp::from_millis))
    };
    let received_at = Timestamp::from_millis(row.try_get(9)?);
    let (unlisted_at, damaged_at) = (time(10)?, time(11)?);
    let fingerprint: Option<Vec<u8>> = row.try_get(12)?;
    let fingerprint = fingerprint.and_then(|bytes| bytes.try_into().ok());
    let fingerprint = fingerprint.map(Fingerprint::from_bytes);
    let evicted: Option<i64> = row.try_get(13)?;
    Ok(media_file(row)?.map(|file| FileRow {
        file: MediaFile {
            fingerprint,
            ..file
        },
        received_at,
        unlisted_at,
        damaged_at,
        evicted: evicted.is_some(),
    }))
}

/// The file that a row speaks of whose first columns are kind, path, asset, size, modified, sha256, md5, authored, place.
pub(super) fn media_file(row: &Row) -> sqlx::Result<Result<MediaFile, Error>> {
    let (path, asset): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let place: String = row.try_get(8)?;
    let (size, modified): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
    let digest: Vec<u8> = row.try_get(5)?;
    let (kind_number, stated_md5, authored) = (
        row.try_get(0)?,
        row.try_get(6)?,
        row.try_get::<i64, _>(7)? != 0,
    );
    Ok((|| {
        Ok(MediaFile {
            kind: kind(kind_number),
            place: (place != path).then(|| media_path(place)).transpose()?,
            path: media_path(path)?,
            asset: asset_id(asset)?,
            size: unsigned(size),
            modified: Timestamp::from_millis(modified),
            sha256: super::records::sha256("file digest", &digest)?,
            md5: md5(stated_md5),
            authored,
            fingerprint: None,
        })
    })())
}
