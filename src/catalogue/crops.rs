//! Which records hold the rectangles of an asset. Noted when such a record is stored; whether it still holds is asked of the
//! record itself.

use sqlx::QueryBuilder;

use super::among::Among;
use super::dialect::Engine;
use super::{Batch, Catalogue, Error, during};
use crate::model::{Record, RecordKey};
use crate::protocol::crop::{self, AssetCrop};

/// A rectangle that holds, and the record that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cropped {
    /// What it says.
    pub row: AssetCrop,
    /// The record.
    pub record: Record,
}

impl Catalogue {
    /// The rectangles of these assets, in order of their records' ids. A record that cannot be read says nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn crops_of<'a>(&self, assets: impl Into<Among<'a>>) -> Result<Vec<Cropped>, Error> {
        let assets = assets.into();
        let mut ids: Vec<String> = Vec::new();
        for part in assets.parts() {
            let mut query = QueryBuilder::<Engine>::new("SELECT record FROM crop");
            part.narrow(&mut query);
            let found: Vec<String> = query
                .build_query_scalar()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("look for rectangles"))?;
            ids.extend(found);
        }
        ids.sort_unstable();
        self.cropped(ids, Some(assets)).await
    }

    /// Up to `limit` rectangles in order of their records' ids, beginning after `after`; answers the last id looked at, too.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn crops_after(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Cropped>, Option<String>), Error> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT record FROM crop WHERE record > $1 ORDER BY record LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("list rectangles"))?;
        let last = ids.last().cloned();
        Ok((self.cropped(ids, None).await?, last))
    }

    async fn cropped(
        &self,
        ids: Vec<String>,
        of: Option<Among<'_>>,
    ) -> Result<Vec<Cropped>, Error> {
        let keys: Vec<_> = ids
            .iter()
            .filter_map(|id| RecordKey::new(crop::TABLE, id).ok())
            .collect();
        let mut stored = self.stored(&keys).await?;
        let live = keys.iter().filter_map(|key| {
            let record = stored.remove(key)?.record;
            let row = crop::read(&record).ok()?;
            let is_asked = of.is_none_or(|assets| assets.has(row.asset.as_str()));
            (is_asked && !record.is_deleted()).then_some(Cropped { row, record })
        });
        Ok(live.collect())
    }
}

impl Batch {
    /// Notes which of these records hold rectangles, and whose.
    pub(super) async fn note_crops(&mut self, records: &[&Record]) -> Result<(), Error> {
        for record in records {
            if record.key.module.as_str() != crop::TABLE || record.is_deleted() {
                continue;
            }
            let Ok(row) = crop::read(record) else {
                continue;
            };
            sqlx::query(
                "INSERT INTO crop (record, asset) VALUES ($1, $2)
                 ON CONFLICT (record) DO UPDATE SET asset = excluded.asset",
            )
            .bind(&record.key.id)
            .bind(row.asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("note a rectangle"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use crate::model::{NodeId, Record, RecordKey, RecordStatus, Timestamp};
    use crate::protocol::{crop, record};
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn row(id: &str, asset: &str, x: i64, deleted: bool) -> Record {
        let serde_json::Value::Object(members) = json!({
            "assetid": asset, "presetid": "p", "cropx": x, "cropy": 0, "cropwidth": 1, "cropheight": 1,
        }) else {
            unreachable!()
        };
        let own = NodeId::new("own").unwrap();
        let status = RecordStatus::saved_by_master(&own, None, NOW, deleted);
        record::stamped(members, &RecordKey::new(crop::TABLE, id).unwrap(), &status)
    }

    #[tokio::test]
    async fn rectangles_are_found_by_asset_as_long_as_their_records_say_so() {
        let (_dir, catalogue) = empty().await;
        let put = async |records: &[Record]| {
            let mut batch = catalogue.batch().await.unwrap();
            let records: Vec<_> = records.iter().collect();
            batch.put_records(&records, "", NOW).await.unwrap();
            batch.commit().await.unwrap();
        };
        let of = async |asset: &str| {
            let found = catalogue.crops_of(&[asset]).await.unwrap();
            let seen = found
                .into_iter()
                .map(|found| (found.record.key.id, found.row.crop.x));
            seen.collect::<Vec<_>>()
        };
        let is = |id: &str, x| (id.to_owned(), x);
        put(&[
            row("c1", "a", 1, false),
            row("c2", "a", 2, false),
            row("c3", "b", 3, false),
        ])
        .await;
        assert_eq!(of("a").await, [is("c1", 1), is("c2", 2)]);
        // One moves to another asset, one ends, one says something else.
        put(&[
            row("c1", "b", 4, false),
            row("c2", "a", 2, true),
            row("c3", "b", 5, false),
        ])
        .await;
        assert_eq!(of("a").await, []);
        assert_eq!(of("b").await, [is("c1", 4), is("c3", 5)]);
        let (page, last) = catalogue.crops_after("", 2).await.unwrap();
        assert_eq!((page.len(), last.as_deref()), (1, Some("c2")));
        let (page, last) = catalogue.crops_after("c2", 2).await.unwrap();
        assert_eq!((page.len(), last.as_deref()), (1, Some("c3")));
    }
}
