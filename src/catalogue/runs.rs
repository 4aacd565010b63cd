//! What is known of peers and of the work done with them: runs, parity reports, what a peer said of itself.
//!
//! Each is a row of its own that no other row depends on, so it is written at once, outside any batch.

use super::{Catalogue, Error, during, signed};
use crate::model::{NodeId, Timestamp};

/// One run of an activity over one peer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// The peer, empty for local activities.
    pub peer: String,
    /// `seed`, `sync`, `import`, ….
    pub activity: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it goes on, or when it was killed.
    pub ended_at: Option<Timestamp>,
    /// How it ended: `ok` or the error's text.
    pub outcome: Option<String>,
    /// Its counts as JSON.
    pub report: Option<String>,
}

/// The last parity report about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParity {
    /// When the comparison began.
    pub as_of: Timestamp,
    /// Whether everything was compared and equal.
    pub in_sync: bool,
    /// The whole report as JSON.
    pub report: String,
}

/// What an emsync peer said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNode {
    /// Its cluster id, pinned when first seen.
    pub cluster_id: NodeId,
    /// Its version.
    pub version: String,
}

impl Catalogue {
    /// The last `limit` runs, newest first.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn runs(&self, limit: usize) -> Result<Vec<Run>, Error> {
        type Columns = (
            String,
            String,
            i64,
            Option<i64>,
            Option<String>,
            Option<String>,
        );
        let rows: Vec<Columns> =
            sqlx::query_as("SELECT peer, activity, started_at, ended_at, outcome, report FROM run ORDER BY id DESC LIMIT $1")
                .bind(signed(limit as u64))
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read the runs"))?;
        Ok(rows
            .into_iter()
            .map(
                |(peer, activity, started_at, ended_at, outcome, report)| Run {
                    peer,
                    activity,
                    started_at: Timestamp::from_millis(started_at),
                    ended_at: ended_at.map(Timestamp::from_millis),
                    outcome,
                    report,
                },
            )
            .collect())
    }

    /// Notes that a run began; answers its number.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_run(
        &self,
        peer: &str,
        activity: &str,
        now: Timestamp,
    ) -> Result<i64, Error> {
        sqlx::query_scalar(
            "INSERT INTO run (peer, activity, started_at) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(peer)
        .bind(activity)
        .bind(now.as_millis())
        .fetch_one(&self.db.writer)
        .await
        .map_err(during("begin a run"))
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_run(
        &self,
        run: i64,
        outcome: &str,
        report: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE run SET ended_at = $1, outcome = $2, report = $3 WHERE id = $4")
            .bind(now.as_millis())
            .bind(outcome)
            .bind(report)
            .bind(run)
            .execute(&self.db.writer)
            .await
            .map_err(during("end a run"))?;
        Ok(())
    }

    /// When a run with a peer ended well last.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn last_success(&self, peer: &str) -> Result<Option<Timestamp>, Error> {
        let ended: Option<i64> = sqlx::query_scalar(
            "SELECT ended_at FROM run WHERE peer = $1 AND outcome = 'ok' AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 1",
        )
        .bind(peer)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("find the last run that ended well"))?;
        Ok(ended.map(Timestamp::from_millis))
    }

    /// The last parity report about a peer.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn parity(&self, peer: &str) -> Result<Option<StoredParity>, Error> {
        let row: Option<(i64, i64, String)> =
            sqlx::query_as("SELECT as_of, in_sync, report FROM parity WHERE peer = $1")
                .bind(peer)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read a parity report"))?;
        Ok(row.map(|(as_of, in_sync, report)| StoredParity {
            as_of: Timestamp::from_millis(as_of),
            in_sync: in_sync != 0,
            report,
        }))
    }

    /// Keeps a parity report about a peer in place of the last one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_parity(&self, peer: &str, parity: &StoredParity) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO parity (peer, as_of, in_sync, report) VALUES ($1, $2, $3, $4) ON CONFLICT (peer) DO UPDATE SET
             as_of = excluded.as_of, in_sync = excluded.in_sync, report = excluded.report",
        )
        .bind(peer)
        .bind(parity.as_of.as_millis())
        .bind(i64::from(parity.in_sync))
        .bind(&parity.report)
        .execute(&self.db.writer)
        .await
        .map_err(during("keep a parity report"))?;
        Ok(())
    }

    /// What an emsync peer said of itself; `None` for any other peer.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn peer_node(&self, peer: &str) -> Result<Option<PeerNode>, Error> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT cluster_id, version FROM peer_node WHERE peer = $1")
                .bind(peer)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read what a peer said of itself"))?;
        row.map(|(id, version)| {
            let cluster_id = NodeId::new(id.clone()).map_err(|_| Error::Row {
                what: "cluster id",
                value: id,
            })?;
            Ok(PeerNode {
                cluster_id,
                version,
            })
        })
        .transpose()
    }

    /// Keeps what an emsync peer said of itself.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_peer_node(
        &self,
        peer: &str,
        node: &PeerNode,
        now: Timestamp,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO peer_node (peer, cluster_id, version, seen_at) VALUES ($1, $2, $3, $4) ON CONFLICT (peer) DO UPDATE SET
             cluster_id = excluded.cluster_id, version = excluded.version, seen_at = excluded.seen_at",
        )
        .bind(peer)
        .bind(node.cluster_id.as_str())
        .bind(&node.version)
        .bind(now.as_millis())
        .execute(&self.db.writer)
        .await
        .map_err(during("keep what a peer said of itself"))?;
        Ok(())
    }
}
