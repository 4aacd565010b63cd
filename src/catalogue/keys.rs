//! Keys that other nodes present to us: stored as digests only, each with a name and a scope.

use super::{Batch, Catalogue, Error, during};
use crate::model::{Sha256, Timestamp};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// List and fetch.
    Read,
    /// Also push records and files.
    Write,
}

/// A key, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its public id: the first part of the key's text.
    pub id: String,
    /// Who it was made for.
    pub name: String,
    /// SHA-256 of the key's whole text.
    pub hash: Sha256,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
}

type Columns = (String, String, Vec<u8>, String, i64);

impl Catalogue {
    /// All keys, by name. There is one for each peer of this node, so the list is short.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keys(&self) -> Result<Vec<AccessKey>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT id, name, hash, scope, created_at FROM access_key ORDER BY name",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read keys"))?;
        rows.into_iter().map(access_key).collect()
    }

    /// The key with this public id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn key(&self, id: &str) -> Result<Option<AccessKey>, Error> {
        let row: Option<Columns> = sqlx::query_as(
            "SELECT id, name, hash, scope, created_at FROM access_key WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read a key"))?;
        row.map(access_key).transpose()
    }
}

impl Batch {
    /// Stores a new key; `false` when the name is taken.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_key(&mut self, key: &AccessKey) -> Result<bool, Error> {
        let done = sqlx::query(
            "INSERT INTO access_key (id, name, hash, scope, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&key.id)
        .bind(&key.name)
        .bind(&key.hash.as_bytes()[..])
        .bind(if key.scope == Scope::Write { "write" } else { "read" })
        .bind(key.created_at.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("store a key"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes a key by name; `false` when there was none.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn remove_key(&mut self, name: &str) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM access_key WHERE name = $1")
            .bind(name)
            .execute(&mut *self.tx)
            .await
            .map_err(during("remove a key"))?;
        Ok(done.rows_affected() == 1)
    }
}

fn access_key((id, name, hash, scope, created_at): Columns) -> Result<AccessKey, Error> {
    Ok(AccessKey {
        id,
        name,
        hash: super::records::sha256("key digest", &hash)?,
        scope: if scope == "write" {
            Scope::Write
        } else {
            Scope::Read
        },
        created_at: Timestamp::from_millis(created_at),
    })
}
