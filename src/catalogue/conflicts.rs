//! Both sides of every conflict, whole, so that the loser can be restored (I7).

use super::{Batch, Catalogue, Error, StoredRecord, during, signed, unsigned};
use crate::model::{Record, RecordKey, Resolution, Sha256, Timestamp};

/// Which side was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Winner {
    /// Ours stayed.
    Local,
    /// The peer's was taken.
    Remote,
}

/// One conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The record.
    pub key: RecordKey,
    /// The peer the remote side came from.
    pub peer: String,
    /// When it was found.
    pub at: Timestamp,
    /// Which side was stored.
    pub winner: Winner,
    /// Our side as JSON.
    pub local_source: String,
    /// Their side as JSON.
    pub remote_source: String,
}

impl Conflict {
    /// Both sides as they were when `resolution` decided between what is here and what a peer has.
    #[must_use]
    pub fn between(
        peer: &str,
        local: &StoredRecord,
        theirs: &Record,
        resolution: Resolution,
        at: Timestamp,
    ) -> Self {
        tracing::warn!(peer, record = %theirs.key, ?resolution, "conflict");
        Self {
            key: theirs.key.clone(),
            peer: peer.to_owned(),
            at,
            winner: match resolution.keeps() {
                true => Winner::Local,
                false => Winner::Remote,
            },
            local_source: local.record.source.clone(),
            remote_source: theirs.source.clone(),
        }
    }
}

/// A conflict with the number it is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptConflict {
    /// Rises with every new one.
    pub id: i64,
    /// Both sides.
    pub conflict: Conflict,
}

type Columns = (i64, String, String, String, i64, String, String, String);

const COLUMNS: &str = "id, module, record, peer, at, winner, local_source, remote_source";

fn kept(columns: Columns) -> Result<KeptConflict, Error> {
    let (id, module, record, peer, at, winner, local_source, remote_source) = columns;
    let conflict = Conflict {
        key: super::records::key(module, record)?,
        peer,
        at: Timestamp::from_millis(at),
        winner: read_winner(&winner),
        local_source,
        remote_source,
    };
    Ok(KeptConflict { id, conflict })
}

fn read_winner(text: &str) -> Winner {
    match text {
        "local" => Winner::Local,
        _ => Winner::Remote,
    }
}

impl Catalogue {
    /// The newest `limit` conflicts of those before the number `before`, newest first; of all without one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn conflicts_before(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<KeptConflict>, Error> {
        let text =
            format!("SELECT {COLUMNS} FROM conflict WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(before.unwrap_or(i64::MAX))
            .bind(signed(limit as u64))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read conflicts"))?;
        rows.into_iter().map(kept).collect()
    }

    /// The newest `limit` conflicts, without their numbers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>, Error> {
        let kept = self.conflicts_before(None, limit).await?;
        Ok(kept.into_iter().map(|kept| kept.conflict).collect())
    }

    /// The conflict of this number.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn conflict(&self, id: i64) -> Result<Option<KeptConflict>, Error> {
        let text = format!("SELECT {COLUMNS} FROM conflict WHERE id = $1");
        let row: Option<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(text))
            .bind(id)
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("read a conflict"))?;
        row.map(kept).transpose()
    }

    /// When conflicts over one record were found, newest first: the peer and which side was stored; at most `limit`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn conflicts_over(
        &self,
        key: &RecordKey,
        limit: usize,
    ) -> Result<Vec<(String, Timestamp, Winner)>, Error> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT peer, at, winner FROM conflict WHERE module = $1 AND record = $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(key.module.as_str())
        .bind(&key.id)
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read the conflicts over a record"))?;
        let read = |(peer, at, text): (String, i64, String)| {
            (peer, Timestamp::from_millis(at), read_winner(&text))
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// How many conflicts are kept.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn count_conflicts(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM conflict")
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("count conflicts"))?;
        Ok(unsigned(count))
    }
}

impl Batch {
    /// Keeps both sides of a conflict; answers whether it is a new one. The same two sides seen again are the same conflict, and so is
    /// a version of theirs that was refused before, whatever became of ours since.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_conflict(&mut self, conflict: &Conflict) -> Result<bool, Error> {
        let (key, theirs) = (&conflict.key, &conflict.remote_source);
        let sides = match conflict.winner {
            Winner::Local => format!("{key}\n{theirs}"),
            Winner::Remote => format!("{key}\n{}\n{theirs}", conflict.local_source),
        };
        let kept = sqlx::query(
            "INSERT INTO conflict (module, record, peer, at, winner, local_source, remote_source, digest)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (digest) DO NOTHING",
        )
        .bind(conflict.key.module.as_str())
        .bind(&conflict.key.id)
        .bind(&conflict.peer)
        .bind(conflict.at.as_millis())
        .bind(if conflict.winner == Winner::Local { "local" } else { "remote" })
        .bind(&conflict.local_source)
        .bind(&conflict.remote_source)
        .bind(&Sha256::of(sides.as_bytes()).as_bytes()[..])
        .execute(&mut *self.tx)
        .await
        .map_err(during("keep a conflict"))?;
        Ok(kept.rows_affected() > 0)
    }

    /// Keeps both sides of a conflict, once for each version that is refused, however long it is listed. Who has such a version is
    /// to hear of what stayed: of `answer`, what the owner says to it with the place that comes from, or else of ours as it is. An
    /// EMDB that edits a record with its clock behind has been sent ours before, and holds on to its edit otherwise.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn settle_conflict(
        &mut self,
        conflict: &Conflict,
        answer: Option<(&Record, &str)>,
    ) -> Result<(), Error> {
        let is_new = self.put_conflict(conflict).await?;
        match answer {
            _ if !is_new => Ok(()),
            Some((anew, origin)) => self.put_records(&[anew], origin, conflict.at).await,
            None if conflict.winner == Winner::Local => {
                let RecordKey { module, id } = &conflict.key;
                self.relist_of(module.as_str(), &[id], conflict.at).await
            }
            None => Ok(()),
        }
    }
}
