//! Pages that no rendition can be made of, of originals that allow some: a broken page, or one that is not there.

use std::ops::RangeInclusive;

use sqlx::QueryBuilder;

use super::among::Among;
use super::dialect::Engine;
use super::files::asset_id;
use super::{Batch, Catalogue, Error, during};
use crate::model::{AssetId, Sha256, Timestamp};

/// One finding. It holds for one content only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFinding {
    /// The asset.
    pub asset: AssetId,
    /// The pages, counted from 1: one, or all that the record says beyond those that the original has.
    pub pages: RangeInclusive<u32>,
    /// Its original, when it was tried.
    pub content: Sha256,
    /// What the decoder said.
    pub reason: String,
}

impl PageFinding {
    /// Whether it is about an asset whose original has this content.
    #[must_use]
    pub fn is_about(&self, of: (&AssetId, &Sha256)) -> bool {
        (&self.asset, &self.content) == of
    }

    /// The pages, for people.
    #[must_use]
    pub fn said_pages(&self) -> String {
        match (self.pages.start(), self.pages.end()) {
            (first, last) if first == last => format!("page {first}"),
            (first, last) => format!("pages {first} to {last}"),
        }
    }
}

impl Catalogue {
    /// The findings about pages of these assets, in order of asset and page.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn page_findings<'a>(
        &self,
        assets: impl Into<Among<'a>>,
    ) -> Result<Vec<PageFinding>, Error> {
        let mut found = Vec::new();
        for part in assets.into().parts() {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT asset, first_page, last_page, sha256, reason FROM page_finding",
            );
            part.narrow(&mut query);
            query.push(" ORDER BY asset, first_page");
            let rows: Vec<(String, u32, u32, Vec<u8>, String)> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read findings about pages"))?;
            for (asset, first, last, content, reason) in rows {
                found.push(PageFinding {
                    asset: asset_id(asset)?,
                    pages: first..=last,
                    content: super::records::sha256("file digest", &content)?,
                    reason,
                });
            }
        }
        Ok(found)
    }
}

impl Batch {
    /// Keeps a finding in place of an older one that begins at the same page.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_page_finding(
        &mut self,
        finding: &PageFinding,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO page_finding (asset, first_page, last_page, sha256, reason, at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (asset, first_page) DO UPDATE SET last_page = excluded.last_page, sha256 = excluded.sha256,
             reason = excluded.reason, at = excluded.at",
        )
        .bind(finding.asset.as_str())
        .bind(finding.pages.start())
        .bind(finding.pages.end())
        .bind(&finding.content.as_bytes()[..])
        .bind(&finding.reason)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep a finding about a page"))?;
        Ok(())
    }

    /// Forgets the finding about a page: it was rendered after all.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_page_finding(&mut self, asset: &AssetId, page: u32) -> Result<(), Error> {
        sqlx::query("DELETE FROM page_finding WHERE asset = $1 AND first_page = $2")
            .bind(asset.as_str())
            .bind(page)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget a finding about a page"))?;
        Ok(())
    }

    /// Forgets all findings about an asset and its pages: it is gone, or has another original.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_findings(&mut self, asset: &AssetId) -> Result<(), Error> {
        self.forget_finding(asset).await?;
        sqlx::query("DELETE FROM page_finding WHERE asset = $1")
            .bind(asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget findings about pages"))?;
        Ok(())
    }
}
