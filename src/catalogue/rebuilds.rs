//! How far a rebuild of everything has come, so that one that was cut short goes on where it was.

use super::{Batch, Catalogue, Error, during};
use crate::model::{MediaFile, Timestamp};

/// A rebuild under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildState {
    /// When it was begun.
    pub begun_at: Timestamp,
    /// The last asset that is done; empty at the beginning.
    pub after: String,
}

impl Catalogue {
    /// Where the rebuild of this selection was left, if one was begun and not ended.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rebuild(&self, selection: &str) -> Result<Option<RebuildState>, Error> {
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT begun_at, after_id FROM rebuild WHERE selection = $1")
                .bind(selection)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("look for a rebuild"))?;
        Ok(row.map(|(begun_at, after)| RebuildState {
            begun_at: Timestamp::from_millis(begun_at),
            after,
        }))
    }
}

impl Batch {
    /// Notes how far a rebuild has come.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_rebuild(
        &mut self,
        selection: &str,
        state: &RebuildState,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO rebuild (selection, begun_at, after_id) VALUES ($1, $2, $3)
             ON CONFLICT (selection) DO UPDATE SET begun_at = excluded.begun_at, after_id = excluded.after_id",
        )
        .bind(selection)
        .bind(state.begun_at.as_millis())
        .bind(&state.after)
        .execute(&mut *self.tx)
        .await
        .map_err(during("note a rebuild"))?;
        Ok(())
    }

    /// Forgets a rebuild that has ended.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_rebuild(&mut self, selection: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM rebuild WHERE selection = $1")
            .bind(selection)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget a rebuild"))?;
        Ok(())
    }

    /// Notes what a file was made of that was made again with the same bytes: nobody else has to hear of that.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_made_of(&mut self, file: &MediaFile) -> Result<(), Error> {
        sqlx::query(
            "UPDATE file SET fingerprint = $1, authored = 1
             WHERE kind = $2 AND path = $3 AND asset = $4 AND sha256 = $5",
        )
        .bind(super::files::made_of(file))
        .bind(super::files::number(file.kind))
        .bind(file.path.as_str())
        .bind(file.asset.as_str())
        .bind(&file.sha256.as_bytes()[..])
        .execute(&mut *self.tx)
        .await
        .map_err(during("note what a file was made of"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::model::{AssetId, FileKind, Fingerprint, MediaPath, Sha256};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn a_rebuild_is_remembered_until_it_ends() {
        let (_dir, catalogue) = empty().await;
        assert_eq!(catalogue.rebuild("x").await.unwrap(), None);
        for after in ["", "a1"] {
            let state = RebuildState {
                begun_at: NOW,
                after: after.to_owned(),
            };
            let mut batch = catalogue.batch().await.unwrap();
            batch.put_rebuild("x", &state).await.unwrap();
            batch.commit().await.unwrap();
            assert_eq!(catalogue.rebuild("x").await.unwrap(), Some(state));
            assert_eq!(catalogue.rebuild("y").await.unwrap(), None);
        }
        let mut batch = catalogue.batch().await.unwrap();
        batch.end_rebuild("x").await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.rebuild("x").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_fingerprint_is_stored_with_a_file_and_only_noted_for_the_same_bytes() {
        let (_dir, catalogue) = empty().await;
        let asset = AssetId::new("a").unwrap();
        let path = MediaPath::new("a.jpg/image200x200.webp").unwrap();
        let mut file = MediaFile {
            kind: FileKind::Generated,
            path: path.clone(),
            place: None,
            asset: asset.clone(),
            size: 1,
            modified: NOW,
            sha256: Sha256::of(b"bytes"),
            md5: None,
            authored: true,
            fingerprint: Some(Fingerprint::from_bytes([1; 32])),
        };
        let of = async || {
            let row = catalogue.file(FileKind::Generated, &path, &asset).await;
            row.unwrap().unwrap().file
        };
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_file(&file, NOW).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(of().await, file);
        file.fingerprint = Some(Fingerprint::from_bytes([2; 32]));
        let mut batch = catalogue.batch().await.unwrap();
        batch.note_made_of(&file).await.unwrap();
        let other = MediaFile {
            sha256: Sha256::of(b"other"),
            fingerprint: Some(Fingerprint::from_bytes([3; 32])),
            ..file.clone()
        };
        batch.note_made_of(&other).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(of().await, file);
    }
}
