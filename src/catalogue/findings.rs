//! Originals that no rendition can be made of: findings, not failures (design section 8, Failures and exit codes).

use sqlx::QueryBuilder;

use super::among::Among;
use super::dialect::Engine;
use super::files::asset_id;
use super::{Batch, Catalogue, Error, during, unsigned};
use crate::model::{AssetId, Sha256, Timestamp};

/// One finding. It holds for one content only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The asset.
    pub asset: AssetId,
    /// Its original, when it was tried.
    pub content: Sha256,
    /// What the decoder said.
    pub reason: String,
}

impl Catalogue {
    /// The findings about these assets.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn findings<'a>(&self, assets: impl Into<Among<'a>>) -> Result<Vec<Finding>, Error> {
        let mut found = Vec::new();
        for part in assets.into().parts() {
            let mut query =
                QueryBuilder::<Engine>::new("SELECT asset, sha256, reason FROM finding");
            part.narrow(&mut query);
            let rows: Vec<(String, Vec<u8>, String)> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read findings"))?;
            for (asset, content, reason) in rows {
                let asset = asset_id(asset)?;
                found.push(Finding {
                    asset,
                    content: super::records::sha256("file digest", &content)?,
                    reason,
                });
            }
        }
        Ok(found)
    }

    /// How many originals are known to be unrenderable.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_findings(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM finding")
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("count findings"))?;
        Ok(unsigned(count))
    }
}

impl Batch {
    /// Keeps a finding in place of an older one about the same asset.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_finding(&mut self, finding: &Finding, now: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO finding (asset, sha256, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT (asset) DO UPDATE SET
             sha256 = excluded.sha256, reason = excluded.reason, at = excluded.at",
        )
        .bind(finding.asset.as_str())
        .bind(&finding.content.as_bytes()[..])
        .bind(&finding.reason)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep a finding"))?;
        Ok(())
    }

    /// Forgets the finding about an asset: it was rendered after all, or it is gone.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_finding(&mut self, asset: &AssetId) -> Result<(), Error> {
        sqlx::query("DELETE FROM finding WHERE asset = $1")
            .bind(asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget a finding"))?;
        Ok(())
    }
}
