//! Assets that name a file which another asset has: one file lies there, one row speaks of it, and when its owner goes or moves
//! on, one of the others inherits both. Without that the file would go although a record still names it.

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::files::number;
use super::{Batch, Error, during};
use crate::model::{AssetId, FileKind, MediaPath, Module, RecordKey, Sha256, Timestamp};
use crate::protocol;

/// An asset that names a file without having it: its tree, its name, the asset.
pub type Sharer = (FileKind, MediaPath, AssetId);

impl Batch {
    /// Notes who shares files.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_sharers(&mut self, sharers: &[Sharer]) -> Result<(), Error> {
        for chunk in sharers.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("INSERT INTO sharer (kind, path, asset) ");
            query.push_values(chunk, |mut row, (kind, path, asset)| {
                row.push_bind(number(*kind))
                    .push_bind(path.as_str())
                    .push_bind(asset.as_str());
            });
            query.push(" ON CONFLICT DO NOTHING");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note who shares files"))?;
        }
        Ok(())
    }

    /// Forgets what a deleted asset shared.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_sharer(&mut self, asset: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM sharer WHERE asset = $1")
            .bind(asset)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget what an asset shares"))?;
        Ok(())
    }

    /// Gives a file that its owner is about to lose to an asset that shares it, if it still has this content and one of those
    /// that were noted still names it; whether it did.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hand_over(
        &mut self,
        (kind, path): (FileKind, &MediaPath),
        owner: &AssetId,
        content: &Sha256,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let noted: Vec<String> = sqlx::query_scalar(
            "SELECT asset FROM sharer WHERE kind = $1 AND path = $2 AND asset <> $3 ORDER BY asset",
        )
        .bind(number(kind))
        .bind(path.as_str())
        .bind(owner.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(during("look for who shares a file"))?;
        for heir in noted {
            if self.still_names(&heir, (kind, path)).await?
                && self
                    .change_owner((kind, path), (owner, &heir), content, now)
                    .await?
            {
                self.relist(&[owner.as_str(), heir.as_str()], now).await?;
                self.touch(now);
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn still_names(
        &mut self,
        asset: &str,
        (kind, path): (FileKind, &MediaPath),
    ) -> Result<bool, Error> {
        let Ok(key) = RecordKey::new(Module::ASSET, asset) else {
            return Ok(false);
        };
        let stored = self.stored(std::slice::from_ref(&key)).await?.remove(&key);
        Ok(stored.is_some_and(|stored| {
            !stored.record.is_deleted()
                && protocol::record::asset(&stored.record)
                    .is_ok_and(|asset| asset.names(kind, path))
        }))
    }

    /// Nothing happens where the heir has a file of this name already, or the owner has it no more.
    async fn change_owner(
        &mut self,
        (kind, path): (FileKind, &MediaPath),
        (owner, heir): (&AssetId, &str),
        content: &Sha256,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let changed = sqlx::query(
            "UPDATE file SET asset = $1, received_at = $2, unlisted_at = NULL
             WHERE kind = $3 AND path = $4 AND asset = $5 AND sha256 = $6 AND NOT EXISTS
             (SELECT 1 FROM file AS own WHERE own.kind = $3 AND own.path = $4 AND own.asset = $1)",
        )
        .bind(heir)
        .bind(now.as_millis())
        .bind(number(kind))
        .bind(path.as_str())
        .bind(owner.as_str())
        .bind(&content.as_bytes()[..])
        .execute(&mut *self.tx)
        .await
        .map_err(during("hand a file over"))?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM sharer WHERE kind = $1 AND path = $2 AND asset = $3")
            .bind(number(kind))
            .bind(path.as_str())
            .bind(heir)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget who shared a file"))?;
        Ok(true)
    }
}
