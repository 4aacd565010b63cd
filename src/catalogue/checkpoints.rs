//! Where each pass stands: watermarks, the listing under way, what a peer said of itself, runs and parity reports.

use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{NodeId, RecordKey, Timestamp};

/// The end of the last listing that was taken whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// When that listing began, on our clock.
    pub watermark: Timestamp,
    /// The same moment on the peer's clock, which orders the peer's events (I14).
    pub server_watermark: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A listing under way. It moves on in the same transaction as the rows of the page it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When it began, on our clock.
    pub started_at: Timestamp,
    /// The peer's clock at that moment.
    pub server_now: Timestamp,
    /// Start of its window, on our clock.
    pub since: Timestamp,
    /// The peer's name for its cursor.
    pub session: String,
    /// Whether another process may go on with the cursor.
    pub resumable: bool,
    /// The last page whose rows are in.
    pub page: u64,
    /// Pages in all.
    pub pages: u64,
    /// Records in all, as announced on page 1.
    pub total: u64,
    /// Live assets here when it began.
    pub live_before: u64,
}

/// What an emsync peer said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNode {
    /// Its cluster id, pinned when first seen.
    pub cluster_id: NodeId,
    /// Its version.
    pub version: String,
}

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

impl Catalogue {
    /// The checkpoint of a feed of a peer.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn checkpoint(&self, peer: &str, feed: &str) -> Result<Option<Checkpoint>, Error> {
        let row: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT watermark, server_watermark, took_ms FROM checkpoint WHERE peer = $1 AND feed = $2")
                .bind(peer)
                .bind(feed)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read a checkpoint"))?;
        Ok(
            row.map(|(watermark, server_watermark, took_ms)| Checkpoint {
                watermark: Timestamp::from_millis(watermark),
                server_watermark: Timestamp::from_millis(server_watermark),
                took_ms: unsigned(took_ms),
            }),
        )
    }

    /// The listing of a peer that a run left unfinished, if any.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn listing(&self, peer: &str) -> Result<Option<Listing>, Error> {
        type Columns = (i64, i64, i64, String, i64, i64, i64, i64, i64);
        let row: Option<Columns> = sqlx::query_as(
            "SELECT started_at, server_now, since, session, resumable, page, pages, total, live_before FROM listing WHERE peer = $1",
        )
        .bind(peer)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read the listing under way"))?;
        Ok(row.map(
            |(
                started_at,
                server_now,
                since,
                session,
                resumable,
                page,
                pages,
                total,
                live_before,
            )| Listing {
                started_at: Timestamp::from_millis(started_at),
                server_now: Timestamp::from_millis(server_now),
                since: Timestamp::from_millis(since),
                session,
                resumable: resumable != 0,
                page: unsigned(page),
                pages: unsigned(pages),
                total: unsigned(total),
                live_before: unsigned(live_before),
            },
        ))
    }

    /// How many different records the pages of the listing under way held so far.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn seen(&self, peer: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM seen WHERE peer = $1")
            .bind(peer)
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("count what was seen"))?;
        Ok(unsigned(count))
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

impl Batch {
    /// Moves the checkpoint of a feed; the listing that led there is over.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_checkpoint(
        &mut self,
        peer: &str,
        feed: &str,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO checkpoint (peer, feed, watermark, server_watermark, took_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (peer, feed) DO UPDATE SET watermark = excluded.watermark,
             server_watermark = excluded.server_watermark, took_ms = excluded.took_ms",
        )
        .bind(peer)
        .bind(feed)
        .bind(checkpoint.watermark.as_millis())
        .bind(checkpoint.server_watermark.as_millis())
        .bind(signed(checkpoint.took_ms))
        .execute(&mut *self.tx)
        .await
        .map_err(during("move a checkpoint"))?;
        self.end_listing(peer).await
    }

    /// Notes how far the listing under way has come.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_listing(&mut self, peer: &str, listing: &Listing) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO listing (peer, started_at, server_now, since, session, resumable, page, pages, total, live_before)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (peer) DO UPDATE SET started_at = excluded.started_at,
             server_now = excluded.server_now, since = excluded.since, session = excluded.session, resumable = excluded.resumable,
             page = excluded.page, pages = excluded.pages, total = excluded.total, live_before = excluded.live_before",
        )
        .bind(peer)
        .bind(listing.started_at.as_millis())
        .bind(listing.server_now.as_millis())
        .bind(listing.since.as_millis())
        .bind(&listing.session)
        .bind(i64::from(listing.resumable))
        .bind(signed(listing.page))
        .bind(signed(listing.pages))
        .bind(signed(listing.total))
        .bind(signed(listing.live_before))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note a listing"))?;
        Ok(())
    }

    /// Forgets the listing under way and what it showed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_listing(&mut self, peer: &str) -> Result<(), Error> {
        for statement in [
            "DELETE FROM listing WHERE peer = $1",
            "DELETE FROM seen WHERE peer = $1",
        ] {
            sqlx::query(statement)
                .bind(peer)
                .execute(&mut *self.tx)
                .await
                .map_err(during("end a listing"))?;
        }
        Ok(())
    }

    /// Notes which records a page held; answers how many of them no earlier page had shown.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn see(&mut self, peer: &str, keys: &[RecordKey]) -> Result<u64, Error> {
        let mut fresh = 0;
        for chunk in keys.chunks(super::dialect::ROWS_A_STATEMENT) {
            let mut query = sqlx::QueryBuilder::<super::dialect::Engine>::new(
                "INSERT INTO seen (peer, module, id) ",
            );
            query.push_values(chunk, |mut row, key| {
                row.push_bind(peer)
                    .push_bind(key.module.as_str())
                    .push_bind(&key.id);
            });
            query.push(" ON CONFLICT DO NOTHING");
            fresh += query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note what was seen"))?
                .rows_affected();
        }
        Ok(fresh)
    }
}
