//! What records were before they were changed: written by a trigger with the change itself, and kept as long as former versions of
//! originals are.

use super::{Batch, Catalogue, Error, during, unsigned};
use crate::config::Retention;
use crate::model::{Module, RecordKey, Timestamp};

/// Under this name stands the moment of a restore that is under way.
const RESTORING: &str = "restoring";

/// How a record stood at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Its key was not here.
    Absent,
    /// As it stands now.
    AsNow,
    /// Otherwise.
    Was {
        /// Its JSON.
        source: String,
        /// Whether that was a tombstone.
        deleted: bool,
        /// When another version took its place.
        gone_at: Timestamp,
    },
}

impl Catalogue {
    /// How a record stood at a moment, as far as that is kept.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn record_at(&self, key: &RecordKey, moment: Timestamp) -> Result<Then, Error> {
        let version: Option<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT source, deleted, created_at, gone_at FROM record_version
             WHERE module = $1 AND id = $2 AND gone_at > $3 ORDER BY gone_at, version LIMIT 1",
        )
        .bind(key.module.as_str())
        .bind(&key.id)
        .bind(moment.as_millis())
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("look what a record was"))?;
        if let Some((source, deleted, created_at, gone_at)) = version {
            if created_at > moment.as_millis() {
                return Ok(Then::Absent);
            }
            return Ok(Then::Was {
                source,
                deleted: deleted != 0,
                gone_at: Timestamp::from_millis(gone_at),
            });
        }
        let created_at: Option<i64> =
            sqlx::query_scalar("SELECT created_at FROM record WHERE module = $1 AND id = $2")
                .bind(key.module.as_str())
                .bind(&key.id)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("look when a record came here"))?;
        Ok(match created_at {
            Some(created_at) if created_at <= moment.as_millis() => Then::AsNow,
            _ => Then::Absent,
        })
    }

    /// Up to `limit` ids of assets that changed after a moment, or whose originals did, in order and after `after`. Only those can have
    /// stood otherwise then.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn assets_changed_since(
        &self,
        moment: Timestamp,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "SELECT id FROM (
                 SELECT id FROM record_version WHERE module = $1 AND gone_at > $2
                 UNION SELECT id FROM record WHERE module = $1 AND created_at > $2
                 UNION SELECT asset FROM former_file WHERE kind = 0 AND gone_at > $2)
             WHERE id > $3 ORDER BY id LIMIT $4",
        )
        .bind(Module::ASSET)
        .bind(moment.as_millis())
        .bind(after)
        .bind(super::signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("look which assets changed"))
    }

    /// Up to `limit` records that changed after a moment, in order and after `after`: of one table, or of every one but that of assets.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn records_changed_since(
        &self,
        (table, moment): (Option<&Module>, Timestamp),
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, Error> {
        let (module, id) = after.map_or(("", ""), |key| (key.module.as_str(), key.id.as_str()));
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT module, id FROM (
                 SELECT module, id FROM record_version WHERE gone_at > $1
                 UNION SELECT module, id FROM record WHERE created_at > $1)
             WHERE (module, id) > ($2, $3) AND module = COALESCE($4, module) AND module <> $5
             ORDER BY module, id LIMIT $6",
        )
        .bind(moment.as_millis())
        .bind(module)
        .bind(id)
        .bind(table.map(Module::as_str))
        .bind(Module::ASSET)
        .bind(super::signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("look which records changed"))?;
        let keys = rows.into_iter();
        keys.map(|(module, id)| super::records::key(module, id))
            .collect()
    }

    /// Whether an asset is here, or was as far as that is kept.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn was_ever_here(&self, asset: &str) -> Result<bool, Error> {
        let found: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM record WHERE module = $1 AND id = $2)
                 OR EXISTS (SELECT 1 FROM record_version WHERE module = $1 AND id = $2)",
        )
        .bind(Module::ASSET)
        .bind(asset)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("look for an asset"))?;
        Ok(found)
    }

    /// The moment that a restore was on its way to when it was cut short; `None` where none was.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn open_restore(&self) -> Result<Option<Timestamp>, Error> {
        let to: Option<i64> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(RESTORING)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("look for a restore that was cut short"))?;
        Ok(to.map(Timestamp::from_millis))
    }

    /// Whether versions are kept that went before `time`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn has_versions_before(&self, time: Timestamp) -> Result<bool, Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM record_version WHERE gone_at < $1)")
            .bind(time.as_millis())
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("look for old versions of records"))
    }

    /// How many former versions are kept.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_versions(&self) -> Result<u64, Error> {
        sqlx::query_scalar("SELECT COUNT(*) FROM record_version")
            .fetch_one(&self.db.readers)
            .await
            .map(unsigned)
            .map_err(during("count versions of records"))
    }

    /// Up to when the trash was looked through under this rule.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn trash_judged(&self, rule: &Retention) -> Result<Option<Timestamp>, Error> {
        let until: Option<i64> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(judged_under(rule))
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("look how far the trash was looked through"))?;
        Ok(until.map(Timestamp::from_millis))
    }
}

impl Batch {
    /// Notes that a restore is on its way to this moment, or that none is.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_restore(&mut self, to: Option<Timestamp>) -> Result<(), Error> {
        let to = to.map(Timestamp::as_millis);
        let doing = "note how a restore stands";
        self.put_meta(RESTORING, to, doing).await
    }

    /// Forgets versions that went before `time`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_versions_before(&mut self, time: Timestamp) -> Result<u64, Error> {
        let done = sqlx::query("DELETE FROM record_version WHERE gone_at < $1")
            .bind(time.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget old versions of records"))?;
        Ok(done.rows_affected())
    }

    /// Notes up to when the trash was looked through under a rule; what was noted under others is forgotten.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_trash_judged(
        &mut self,
        rule: &Retention,
        until: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query("DELETE FROM meta WHERE name LIKE 'trash judged%'")
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget how far the trash was looked through"))?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
            .bind(judged_under(rule))
            .bind(until.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("note how far the trash was looked through"))?;
        Ok(())
    }
}

fn judged_under(rule: &Retention) -> String {
    format!("trash judged: {}", rule.said())
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::model::{NodeId, Record, RecordStatus};
    use crate::protocol::record::stamped;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1_000)
    }

    fn record(headline: &str, preview: &str, second: i64, deleted: bool) -> Record {
        let status =
            RecordStatus::saved_by_master(&NodeId::new("own").unwrap(), None, at(second), deleted);
        let members =
            serde_json::json!({ "id": "a", "headline": headline, "previewstatus": preview });
        let serde_json::Value::Object(members) = members else {
            unreachable!()
        };
        stamped(members, &RecordKey::new("asset", "a").unwrap(), &status)
    }

    async fn put(catalogue: &Catalogue, record: &Record, second: i64) {
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_records(&[record], "", at(second)).await.unwrap();
        batch.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_version_is_kept_with_the_change_and_none_where_nothing_was_said_anew() {
        let (_dir, catalogue) = empty().await;
        let first = record("one", "0", 10, false);
        put(&catalogue, &first, 10).await;
        assert_eq!(catalogue.count_versions().await.unwrap(), 0, "it is new");
        put(&catalogue, &record("one", "2", 11, false), 11).await;
        put(&catalogue, &record("one", "2", 12, false), 12).await;
        assert_eq!(catalogue.count_versions().await.unwrap(), 0);
        put(&catalogue, &record("two", "2", 20, false), 20).await;
        put(&catalogue, &record("two", "2", 30, true), 30).await;
        assert_eq!(catalogue.count_versions().await.unwrap(), 2);

        let key = RecordKey::new("asset", "a").unwrap();
        let then = async |second| catalogue.record_at(&key, at(second)).await.unwrap();
        assert_eq!(then(9).await, Then::Absent);
        for (second, headline, gone_at) in [(10, "one", 20), (19, "one", 20), (20, "two", 30)] {
            let Then::Was {
                source,
                deleted,
                gone_at: gone,
            } = then(second).await
            else {
                panic!("{second}");
            };
            assert!(source.contains(headline), "{second}: {source}");
            assert_eq!((deleted, gone), (false, at(gone_at)), "{second}");
        }
        assert_eq!(then(30).await, Then::AsNow, "a tombstone");
        let changed = async |second| {
            let changed = catalogue.assets_changed_since(at(second), "", 9).await;
            changed.unwrap().len()
        };
        assert_eq!(
            (changed(5).await, changed(29).await, changed(30).await),
            (1, 1, 0)
        );

        assert!(catalogue.has_versions_before(at(21)).await.unwrap());
        let mut batch = catalogue.batch().await.unwrap();
        assert_eq!(batch.forget_versions_before(at(21)).await.unwrap(), 1);
        batch.commit().await.unwrap();
        assert!(!catalogue.has_versions_before(at(21)).await.unwrap());
        assert_eq!(catalogue.count_versions().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_was_looked_through_counts_for_one_rule_only() {
        let (_dir, catalogue) = empty().await;
        let (one, other) = (Retention::days(30), Retention::days(40));
        for (rule, second) in [(one, 1), (one, 2), (other, 3)] {
            let mut batch = catalogue.batch().await.unwrap();
            batch.note_trash_judged(&rule, at(second)).await.unwrap();
            batch.commit().await.unwrap();
            assert_eq!(
                catalogue.trash_judged(&rule).await.unwrap(),
                Some(at(second))
            );
        }
        assert_eq!(catalogue.trash_judged(&one).await.unwrap(), None);
    }
}
