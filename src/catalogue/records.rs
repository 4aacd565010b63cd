//! Records of every table, with their JSON untouched: stored, read by key or in order, counted, marked to be listed again.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _};

use super::dialect::{Connection, Engine, ROWS_A_STATEMENT, Row};
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{Module, NodeId, Record, RecordKey, RecordStatus, Sha256, Timestamp, Version};
use crate::protocol::crop;

/// A record with what this node noted about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record.
    pub record: Record,
    /// When this node stored it or one of its files.
    pub received_at: Timestamp,
    /// The peer it came from, empty when it was made here.
    pub origin: String,
    /// Whether it is an edit of ours that its master is known to have taken.
    pub pushed: bool,
}

impl StoredRecord {
    /// What the conflict rule needs to know of it.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            pushed: self.pushed,
            ..self.record.version()
        }
    }
}

/// Records by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counted {
    /// Live records.
    pub live: u64,
    /// Tombstones.
    pub deleted: u64,
}

pub(super) const COLUMNS: &str = "module, id, source, content, deleted, master, modified_by, modified, master_modified, received_at, origin, pushed";

/// The same, with nothing for the document.
pub(super) const LEAN_COLUMNS: &str = "module, id, '' AS source, content, deleted, master, modified_by, modified, master_modified, received_at, origin, pushed";

impl Catalogue {
    /// One record, tombstones included.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn record(&self, key: &RecordKey) -> Result<Option<StoredRecord>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM record WHERE module = ")
            .push_bind(key.module.as_str());
        query.push(" AND id = ").push_bind(&key.id);
        let row = query
            .build()
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("read a record"))?;
        row.as_ref().map(stored).transpose()
    }

    /// The records under these keys; those that are not there are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stored(
        &self,
        keys: &[RecordKey],
    ) -> Result<HashMap<RecordKey, StoredRecord>, Error> {
        let mut connection = self
            .db
            .readers
            .acquire()
            .await
            .map_err(during("read records"))?;
        read_stored(&mut connection, keys).await
    }

    /// Up to `limit` records in order of their keys, beginning after `after`; of one table, or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn records_after(
        &self,
        module: Option<&Module>,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query.push(COLUMNS).push(" FROM record WHERE 1 = 1");
        if let Some(module) = module {
            query.push(" AND module = ").push_bind(module.as_str());
        }
        if let Some(after) = after {
            query
                .push(" AND (module, id) > (")
                .push_bind(after.module.as_str())
                .push(", ")
                .push_bind(&after.id)
                .push(")");
        }
        query
            .push(" ORDER BY module, id LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read records in order"))?;
        rows.iter().map(stored).collect()
    }

    /// Up to `limit` live assets that came from a peer, or, where `origin` is empty, from none, after that id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn assets_from(
        &self,
        origin: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM record WHERE origin = ")
            .push_bind(origin)
            .push(" AND module = ")
            .push_bind(Module::ASSET)
            .push(" AND deleted = 0 AND id > ")
            .push_bind(after)
            .push(" ORDER BY id LIMIT ")
            .push_bind(signed(limit as u64));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read assets by where they came from"))?;
        rows.iter().map(stored).collect()
    }

    /// How many records of each table there are.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count_records(&self) -> Result<Vec<(Module, Counted)>, Error> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT module, SUM(1 - deleted), SUM(deleted) FROM record GROUP BY module ORDER BY module",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("count records"))?;
        rows.into_iter()
            .map(|(module, live, deleted)| {
                let module = Module::new(module.clone()).map_err(|_| Error::Row {
                    what: "table name",
                    value: module,
                })?;
                Ok((
                    module,
                    Counted {
                        live: unsigned(live),
                        deleted: unsigned(deleted),
                    },
                ))
            })
            .collect()
    }

    /// Live assets: what the delete guard measures by.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn live_assets(&self) -> Result<u64, Error> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM record WHERE module = $1 AND deleted = 0")
                .bind(Module::ASSET)
                .fetch_one(&self.db.readers)
                .await
                .map_err(during("count live assets"))?;
        Ok(unsigned(count))
    }
}

impl Batch {
    /// Stores records in place of what stood under their keys. `origin` is the peer they came from, empty for our own.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_records(
        &mut self,
        records: &[&Record],
        origin: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in records.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO record (module, id, source, content, deleted, master, modified_by, modified, master_modified,
                 received_at, changed_at, origin, pushed, created_at) ",
            );
            query.push_values(chunk, |mut row, record| {
                let status = record.status.as_ref();
                let modified = status.map(|status| status.modified);
                row.push_bind(record.key.module.as_str())
                    .push_bind(&record.key.id)
                    .push_bind(&record.source)
                    .push_bind(&record.content.as_bytes()[..])
                    .push_bind(i64::from(record.is_deleted()))
                    .push_bind(status.map(|status| status.master.as_str()))
                    .push_bind(status.map(|status| status.modified_by.as_str()))
                    .push_bind(modified.map(Timestamp::as_millis))
                    .push_bind(
                        status
                            .and_then(|status| status.master_modified)
                            .map(Timestamp::as_millis),
                    )
                    .push_bind(now.as_millis())
                    .push_bind(modified.unwrap_or(now).max(now).as_millis())
                    .push_bind(origin)
                    .push_bind(0_i64)
                    .push_bind(now.as_millis());
            });
            query.push(
                " ON CONFLICT (module, id) DO UPDATE SET source = excluded.source, content = excluded.content,
                  deleted = excluded.deleted, master = excluded.master, modified_by = excluded.modified_by,
                  modified = excluded.modified, master_modified = excluded.master_modified,
                  received_at = excluded.received_at, changed_at = excluded.changed_at, origin = excluded.origin,
                  pushed = excluded.pushed, unlisted_at = NULL",
            );
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("store records"))?;
        }
        self.note_crops(records).await?;
        if !records.is_empty() {
            self.touch(now);
        }
        Ok(())
    }

    /// The records under these keys as this transaction sees them: for decisions that must not be overtaken.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stored(
        &mut self,
        keys: &[RecordKey],
    ) -> Result<HashMap<RecordKey, StoredRecord>, Error> {
        read_stored(&mut self.tx, keys).await
    }

    /// Makes listings name these assets again, since one of their files changed here.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn relist(&mut self, assets: &[&str], now: Timestamp) -> Result<(), Error> {
        self.relist_of(Module::ASSET, assets, now).await
    }

    /// Makes listings name these records of a table again, and pushes send them again: somebody who had them may have other versions
    /// now.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub(super) async fn relist_of(
        &mut self,
        module: &str,
        ids: &[&str],
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in ids.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("UPDATE record SET received_at = ");
            query
                .push_bind(now.as_millis())
                .push(", changed_at = CASE WHEN changed_at > ")
                .push_bind(now.as_millis());
            query
                .push(" THEN changed_at ELSE ")
                .push_bind(now.as_millis())
                .push(" END WHERE module = ");
            query.push_bind(module).push(" AND id IN (");
            let mut list = query.separated(", ");
            for id in chunk {
                list.push_bind(*id);
            }
            query.push(")");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("list records again"))?;
        }
        Ok(())
    }

    /// Makes listings name the rectangles of these assets again, since what shows them was made here: it goes to the author of an
    /// asset along with them ([`crate::push`]).
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub(super) async fn relist_crops(
        &mut self,
        assets: &[&str],
        now: Timestamp,
    ) -> Result<(), Error> {
        for chunk in assets.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("UPDATE record SET received_at = ");
            query
                .push_bind(now.as_millis())
                .push(", changed_at = MAX(changed_at, ")
                .push_bind(now.as_millis())
                .push(") WHERE module = ")
                .push_bind(crop::TABLE)
                .push(" AND id IN (SELECT record FROM crop WHERE asset IN (");
            let mut list = query.separated(", ");
            for id in chunk {
                list.push_bind(*id);
            }
            query.push("))");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("list rectangles again"))?;
        }
        Ok(())
    }
}

async fn read_stored(
    connection: &mut Connection,
    keys: &[RecordKey],
) -> Result<HashMap<RecordKey, StoredRecord>, Error> {
    let mut by_module: HashMap<&Module, Vec<&str>> = HashMap::new();
    for key in keys {
        by_module.entry(&key.module).or_default().push(&key.id);
    }
    let mut found = HashMap::with_capacity(keys.len());
    for (module, ids) in by_module {
        for chunk in ids.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new("SELECT ");
            query
                .push(COLUMNS)
                .push(" FROM record WHERE module = ")
                .push_bind(module.as_str())
                .push(" AND id IN (");
            let mut list = query.separated(", ");
            for id in chunk {
                list.push_bind(*id);
            }
            query.push(")");
            let rows = query
                .build()
                .fetch_all(&mut *connection)
                .await
                .map_err(during("read records"))?;
            for row in &rows {
                let record = stored(row)?;
                found.insert(record.record.key.clone(), record);
            }
        }
    }
    Ok(found)
}

pub(super) fn key(module: String, id: String) -> Result<RecordKey, Error> {
    RecordKey::new(module, id).map_err(|error| Error::Row {
        what: "key",
        value: error.to_string(),
    })
}

pub(super) fn sha256(what: &'static str, bytes: &[u8]) -> Result<Sha256, Error> {
    let exact: [u8; 32] = bytes.try_into().map_err(|_| Error::Row {
        what,
        value: data_encoding::HEXLOWER.encode(bytes),
    })?;
    Ok(Sha256::from_bytes(exact))
}

pub(super) fn stored(row: &Row) -> Result<StoredRecord, Error> {
    read(row).map_err(during("read a record's columns"))?
}

fn read(row: &Row) -> sqlx::Result<Result<StoredRecord, Error>> {
    let node = |name: String| {
        NodeId::new(name.clone()).map_err(|_| Error::Row {
            what: "cluster id",
            value: name,
        })
    };
    let status = match (
        row.try_get::<Option<String>, _>(5)?,
        row.try_get::<Option<String>, _>(6)?,
        row.try_get::<Option<i64>, _>(7)?,
    ) {
        (Some(master), Some(modified_by), Some(modified)) => {
            let deleted = row.try_get::<i64, _>(4)? != 0;
            let master_modified = row
                .try_get::<Option<i64>, _>(8)?
                .map(Timestamp::from_millis);
            Some(node(master).and_then(|master| {
                let modified = Timestamp::from_millis(modified);
                Ok(RecordStatus {
                    deleted,
                    master,
                    modified_by: node(modified_by)?,
                    modified,
                    master_modified,
                })
            }))
        }
        _ => None,
    };
    let content: Vec<u8> = row.try_get(3)?;
    let source: String = row.try_get(2)?;
    let (module, id): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let received_at = Timestamp::from_millis(row.try_get(9)?);
    let origin: String = row.try_get(10)?;
    let pushed = row.try_get::<i64, _>(11)? != 0;
    Ok((|| {
        let record = Record {
            key: key(module, id)?,
            source,
            status: status.transpose()?,
            content: sha256("content digest", &content)?,
        };
        Ok(StoredRecord {
            record,
            received_at,
            origin,
            pushed,
        })
    })())
}
