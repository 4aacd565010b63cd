//! Records that their peer does not list any more: what a complete listing lacked, what was noted before, what is taken away.
//!
//! The listing's records stand in `seen` until the audit of it ends; only rows that came from that peer, live, stamped, and not
//! edited here are ever absent.

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::records::{COLUMNS, stored};
use super::{Batch, Catalogue, Error, StoredRecord, during, signed, unsigned};
use crate::model::{NodeId, RecordKey, Timestamp};

/// What is known of the complete listings of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// When the last one began that was believed.
    pub listed_at: Option<Timestamp>,
    /// When the last one began, believed or not.
    pub tried_at: Timestamp,
    /// Live assets that the peer counts beyond those it lists, when nothing was missing.
    pub surplus: Option<i64>,
    /// Live assets of this peer here when it ended.
    pub here: u64,
    /// Live assets that the peer counted then.
    pub counted: Option<u64>,
}

/// What makes a row of this peer absent from the listing in `seen`; `$1` is the peer, `$2` this node.
const ABSENT: &str = "origin = $1 AND deleted = 0 AND master IS NOT NULL AND modified_by <> $2 AND NOT EXISTS
     (SELECT 1 FROM seen WHERE seen.peer = $1 AND seen.module = record.module AND seen.id = record.id)";

/// A statement that is put together from constants of this module alone.
fn constant(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}

impl Catalogue {
    /// What is known of the complete listings of a peer.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn audit(&self, peer: &str) -> Result<Option<Audit>, Error> {
        type Columns = (Option<i64>, i64, Option<i64>, i64, Option<i64>);
        let row: Option<Columns> = sqlx::query_as(
            "SELECT listed_at, tried_at, surplus, here, counted FROM audit WHERE peer = $1",
        )
        .bind(peer)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read an audit"))?;
        Ok(
            row.map(|(listed_at, tried_at, surplus, here, counted)| Audit {
                listed_at: listed_at.map(Timestamp::from_millis),
                tried_at: Timestamp::from_millis(tried_at),
                surplus,
                here: unsigned(here),
                counted: counted.map(unsigned),
            }),
        )
    }

    /// How many live assets the listing in `seen` showed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn seen_live_assets(&self, peer: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM seen WHERE peer = $1 AND module = 'asset' AND live = 1",
        )
        .bind(peer)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count listed assets"))?;
        Ok(unsigned(count))
    }

    /// How many live assets here came from a peer.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn live_assets_of(&self, peer: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM record WHERE origin = $1 AND module = 'asset' AND deleted = 0",
        )
        .bind(peer)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count assets of a peer"))?;
        Ok(unsigned(count))
    }

    /// How many records of a peer were noted as absent and are not confirmed yet.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn noted_absent(&self, peer: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM record WHERE origin = $1 AND unlisted_at IS NOT NULL",
        )
        .bind(peer)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count absent records"))?;
        Ok(unsigned(count))
    }

    /// How many records of a peer the listing in `seen` lacks.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_absent(&self, peer: &str, own: &NodeId) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(constant(format!(
            "SELECT COUNT(*) FROM record WHERE {ABSENT}"
        )))
        .bind(peer)
        .bind(own.as_str())
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count absent records"))?;
        Ok(unsigned(count))
    }

    /// Up to `limit` records of a peer, in order of their keys and after `after`, that the listing in `seen` lacks and that were
    /// noted as absent when a listing that began at `upto` or earlier lacked them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn confirmed_absent(
        &self,
        (peer, own): (&str, &NodeId),
        upto: Timestamp,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let (module, id) = after.map_or(("", ""), |key| (key.module.as_str(), key.id.as_str()));
        let query = format!(
            "SELECT {COLUMNS} FROM record WHERE {ABSENT} AND unlisted_at <= $3 AND (module, id) > ($4, $5)
             ORDER BY module, id LIMIT $6"
        );
        let rows = sqlx::query(constant(query))
            .bind(peer)
            .bind(own.as_str())
            .bind(upto.as_millis())
            .bind(module)
            .bind(id)
            .bind(signed(limit as u64))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read absent records"))?;
        rows.iter().map(stored).collect()
    }
}

impl Batch {
    /// Keeps what an audit found.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_audit(&mut self, peer: &str, audit: &Audit) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO audit (peer, listed_at, tried_at, surplus, here, counted) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (peer) DO UPDATE SET listed_at = excluded.listed_at, tried_at = excluded.tried_at,
             surplus = excluded.surplus, here = excluded.here, counted = excluded.counted",
        )
        .bind(peer)
        .bind(audit.listed_at.map(Timestamp::as_millis))
        .bind(audit.tried_at.as_millis())
        .bind(audit.surplus)
        .bind(signed(audit.here))
        .bind(audit.counted.map(signed))
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep an audit"))?;
        Ok(())
    }

    /// Notes every record of a peer that the listing in `seen` lacks and that was not noted before; answers how many.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_absent(
        &mut self,
        peer: &str,
        own: &NodeId,
        at: Timestamp,
    ) -> Result<u64, Error> {
        let done = sqlx::query(constant(format!(
            "UPDATE record SET unlisted_at = $3 WHERE unlisted_at IS NULL AND {ABSENT}"
        )))
        .bind(peer)
        .bind(own.as_str())
        .bind(at.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("note absent records"))?;
        Ok(done.rows_affected())
    }

    /// Takes the note back from every record of a peer that the listing in `seen` has.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_seen(&mut self, peer: &str) -> Result<u64, Error> {
        let done = sqlx::query(
            "UPDATE record SET unlisted_at = NULL WHERE origin = $1 AND unlisted_at IS NOT NULL AND EXISTS
             (SELECT 1 FROM seen WHERE seen.peer = $1 AND seen.module = record.module AND seen.id = record.id)",
        )
        .bind(peer)
        .execute(&mut *self.tx)
        .await
        .map_err(during("note listed records"))?;
        Ok(done.rows_affected())
    }

    /// Takes the note back from these records: their peer has them after all.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_present(&mut self, keys: &[&RecordKey]) -> Result<(), Error> {
        for chunk in keys.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "UPDATE record SET unlisted_at = NULL WHERE unlisted_at IS NOT NULL AND (module, id) IN (",
            );
            let mut list = query.separated(", ");
            for key in chunk {
                list.push("(");
                list.push_bind_unseparated(key.module.as_str());
                list.push_unseparated(", ");
                list.push_bind_unseparated(&key.id);
                list.push_unseparated(")");
            }
            query.push(")");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note present records"))?;
        }
        Ok(())
    }

    /// Whether a record still is what it was when its absence was confirmed: from this peer, noted, with this content.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn is_absent(
        &mut self,
        peer: &str,
        key: &RecordKey,
        content: &crate::model::Sha256,
    ) -> Result<bool, Error> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM record WHERE module = $1 AND id = $2 AND origin = $3 AND content = $4 AND deleted = 0
             AND unlisted_at IS NOT NULL",
        )
        .bind(key.module.as_str())
        .bind(&key.id)
        .bind(peer)
        .bind(&content.as_bytes()[..])
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(during("look at an absent record"))?;
        Ok(found.is_some())
    }

    /// Takes a record away and keeps it aside with the reason, in place of an older one of its key.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn take_record_away(
        &mut self,
        key: &RecordKey,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO former_record (module, id, source, origin, gone_at, reason)
             SELECT module, id, source, origin, $3, $4 FROM record WHERE module = $1 AND id = $2
             ON CONFLICT (module, id) DO UPDATE SET source = excluded.source, origin = excluded.origin,
             gone_at = excluded.gone_at, reason = excluded.reason",
        )
        .bind(key.module.as_str())
        .bind(&key.id)
        .bind(now.as_millis())
        .bind(reason)
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep a record aside"))?;
        sqlx::query(
            "INSERT INTO record_version (module, id, source, deleted, created_at, gone_at)
             SELECT module, id, source, deleted, created_at, $3 FROM record WHERE module = $1 AND id = $2",
        )
        .bind(key.module.as_str())
        .bind(&key.id)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep a version of a record"))?;
        sqlx::query("DELETE FROM record WHERE module = $1 AND id = $2")
            .bind(key.module.as_str())
            .bind(&key.id)
            .execute(&mut *self.tx)
            .await
            .map_err(during("take a record away"))?;
        self.touch(now);
        Ok(())
    }
}
